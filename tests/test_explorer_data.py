"""The explorer's data: packs, what they say of a run, and the folder they are put into."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path

import h5py
import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniature import ROOT
from planted import (
    BROAD,
    EXEMPLARS,
    HOSTILE,
    HOSTILE_REVIEW,
    LABELS,
    LAYERS,
    NAMES,
    RESULTS,
    SITE,
    TOPICS,
    WIDTH,
    Toy,
    own_topic,
    packs_of,
    run_annotate,
    run_evaluate,
    run_exemplars,
    run_label,
    run_report,
    run_score,
    write_gold,
)

from descry.annotators.annotations import read_annotations
from descry.corpus.splits import HALVES, SPLITS
from descry.errors import InputError
from descry.io.atomic import atomic_folder
from descry.io.json_files import read_json
from descry.io.number_format import fixed
from descry.io.parquet import read_table
from descry.labels.results import read_labels
from descry.reporting.explorer import APP, similar, site
from descry.reporting.explorer.packs import Pack, numbers, plain, script, whole_numbers
from descry.reporting.explorer.search_index import PATTERN, SHARE, Index, index, word_packs
from descry.reporting.explorer.sentences import SentenceIndex
from descry.workflow.code import Code

NAN = float("nan")
NEURONS = LAYERS * WIDTH


@pytest.fixture
def packs(run):
    return packs_of(SITE)


@pytest.fixture
def corpus(run):
    return read_table(planted.CORPUS, "corpus").to_pylist()


# Packs

FLOATS = st.floats(-1e300, 1e300, allow_subnormal=False)


@given(st.lists(FLOATS | st.floats(-10, 10, allow_subnormal=False), min_size=1))
def test_numbers_keep_six_digits_by_which_they_are_rounded_as_by_all(values):
    for value, found in zip(values, numbers(np.array(values)), strict=True):
        exact, short = Decimal(value), Decimal(repr(found))
        last = Decimal(f"1e{exact.adjusted() - 5}") if value else Decimal(0)
        assert abs(short - exact) <= last
        assert found == value or len(short.normalize().as_tuple().digits) <= 6
        for digits in range(5):
            context = Context(prec=digits + 1, rounding=ROUND_HALF_UP)
            assert context.create_decimal_from_float(found) == context.create_decimal(exact)
            assert f"{plain(value) or value:.{digits}e}" == f"{value:.{digits}e}"


def test_a_number_is_not_rounded_twice():
    for value, shown in ((7.4478, "7.4"), (0.06449, "0.1"), (2.25, "2.3")):
        assert fixed(numbers(np.array([value]), 3)[0], 1) == fixed(value, 1) == shown


def test_what_is_undefined_is_null():
    assert numbers(np.array([[1.0, NAN], [np.inf, 0.5]])) == [[1.0, None], [None, 0.5]]
    assert whole_numbers(np.array([0.1234, NAN]), 1000) == [123, None]
    assert whole_numbers(np.array([0.1234, 2.0]), 100) == [12, 200]
    assert numbers(np.array([12345, 7])) == [12345, 7]
    assert plain({"a": [NAN, 12345.0, 0.123456, "text", True, None, 3]}) == {
        "a": [None, 12345, 0.123456, "text", True, None, 3]
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner),
)


@given(VALUES)
def test_a_pack_is_one_line_that_hands_over_base64_whatever_is_in_it(value):
    text = script(Pack("neurons-3", value))
    name, packed = planted.PACK.fullmatch(text).groups()
    assert name == "neurons-3"
    assert json.loads(planted.gzip.decompress(base64.b64decode(packed))) == value
    assert text == script(Pack("neurons-3", value))


# Words


def brute(texts):
    """The rows of each word that is not too common, and the words that are."""
    found = {}
    for row, text in enumerate(texts):
        for word in set(re.findall(PATTERN, text.lower())):
            found.setdefault(word, []).append(row)
    most = SHARE * len(texts)
    rare = {word: rows for word, rows in sorted(found.items()) if len(rows) <= most}
    return rare, sorted(found.keys() - rare)


def postings(packs):
    """The rows of each word, as the page reads them."""
    found = {}
    for value in packs:
        for k, word in enumerate(value["words"]):
            steps = value["rows"][value["start"][k] : value["start"][k + 1]]
            found[word] = np.cumsum(steps).tolist()
    return found


TEXTS = st.lists(
    st.text("aAbcéÉİ_1² .-'ǅ") | st.text(st.characters(exclude_categories=["Cs"])), min_size=1
)


@given(TEXTS)
def test_the_index_of_words_is_that_of_a_plain_search(texts):
    found = index(texts)
    rare, common = brute(texts)
    assert postings(pack.value for pack in word_packs(found)) == rare
    assert (found.words, found.common) == (list(rare), common)


def test_words_are_runs_of_letters_and_digits_in_lower_case():
    found = index(["Don't PAY €30_for it!", "ÉTÉ x 30", *["-"] * 8])
    assert found.words == ["30", "don", "for", "it", "pay", "été"]
    assert postings(pack.value for pack in word_packs(found))["30"] == [0, 1]


def test_the_index_is_parted_into_packs_of_about_a_size():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 5000, 30)) for _ in range(4000)]
    packs = word_packs(index(texts))
    assert len(packs) > 3
    assert [pack.name for pack in packs] == [f"words-{k}" for k in range(len(packs))]
    lengths = [len(json.dumps(pack.value, separators=(",", ":"))) for pack in packs]
    assert all(80_000 < length < 110_000 for length in lengths[:-1])
    assert postings(pack.value for pack in packs) == brute(texts)[0]
    words = [word for pack in packs for word in pack.value["words"]]
    assert words == sorted(brute(texts)[0])


def test_without_any_word_there_is_no_pack():
    assert index(["?", "a"]).words == []
    assert word_packs(Index([], np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64), [])) == []


# Similar neurons, and the neurons that a sentence excites


@pytest.mark.parametrize(("neurons", "sentences", "size"), [(40, 30, 6), (9, 50, 3), (300, 40, 4)])
def test_similar_neurons_are_those_of_all_pairs(neurons, sentences, size):
    rng = np.random.default_rng(size)
    sets = np.array([rng.permutation(sentences)[:size] for _ in range(neurons)], dtype=np.int32)
    found = similar.similar(sets, sentences, 5)
    for n, own in enumerate(found):
        members = [set(row) for row in sets.tolist()]
        shared = {m: len(members[n] & other) for m, other in enumerate(members) if m != n}
        best = sorted((m for m in shared if shared[m]), key=lambda m: (-shared[m], m))[:5]
        assert [m for m, _ in own] == best
        assert [j for _, j in own] == [shared[m] / len(members[n] | members[m]) for m in best]


def test_random_sets_have_in_common_what_is_expected():
    size, sentences, draws = 40, 200, 400
    rng = np.random.default_rng(0)
    sets = [set(rng.permutation(sentences)[:size].tolist()) for _ in range(2 * draws)]
    pairs = zip(sets[::2], sets[1::2], strict=True)
    mean = np.mean([len(one & other) / len(one | other) for one, other in pairs])
    assert similar.by_chance(size, sentences) == pytest.approx(mean, rel=0.05)


def test_a_sentence_has_the_neurons_that_rank_it_highest():
    rng = np.random.default_rng(0)
    sets = np.array([rng.permutation(20)[:6] for _ in range(15)], dtype=np.int32)
    activations = -np.sort(-rng.normal(size=sets.shape)).astype(np.float32)
    found = SentenceIndex.by(sets, activations, 20, [3, 4, 5] * 5)
    leading = list(found.of(slice(0, 20), 4))
    assert list(found.of(slice(7, 9), 4)) == leading[7:9]
    for row in range(20):
        places = [(k + 1, n) for n in range(15) for k in range(6) if sets[n, k] == row]
        expected = [[n, k, fixed(activations[n, k - 1], 3 + n % 3)] for k, n in sorted(places)]
        assert leading[row] == expected[:4]
        assert found.excites[row] == len(places)


# What the packs say of the planted run


def test_without_a_title_the_page_is_headed_by_its_target(run):
    assert planted.run_report(title=None)["run"]["title"] == "What the neurons of bert respond to"


def test_what_was_not_seen_or_read_of_a_sentence_stands_with_it(packs):
    records = packs["sentences-0"]
    assert [row.get("cut", 0) for row in records] == planted.CUT[: len(records)].tolist()
    assert [row.get("unread", 0) for row in records] == planted.UNREAD[: len(records)]
    cut = {"target_tokens": 8, "target_sentences": 24, "annotator_sentences": 1}
    assert packs["run"]["metrics"]["cut"] == cut


def test_there_is_a_pack_for_everything(packs):
    layers = {f"map-highest-{row}" for row in range(LAYERS)}
    labels = {"table-highest", "map-highest", "phrases", "shown"} | layers
    assert packs.keys() == {"run", "commit", "neurons-0", "sentences-0", "words-0"} | labels


def test_the_run_is_counted_and_named(packs):
    run = packs["run"]
    assert run["title"] == "A <b>miniature</b>"
    assert (run["reviews"], run["sentences"]) == ("reviews.jsonl", 60)
    assert sum(run["halves"].values()) == 60
    assert sorted(run["categories"]) == [[f"topic {t}", 12] for t in range(5)]
    target = {"model": "toy/bert", "revision": "abc123", "dtype": "float32", "width": WIDTH}
    target |= {"weights": "0" * 64, "tokenizer": "1" * 64, "layers": [0, 1]}
    target |= {"most": 8, "cut": 24, "quantization": None, "sinks": 0}
    assert run["target"] == target | {"site": "ffn_output", "position": "cls"}
    assert run["annotator"] == planted.ANNOTATOR.as_json() == run["describers"][0]
    assert run["judge"] is run["graphs"] is None
    assert run["rule"]["sizes"] == {"all": 6, "calibration": 3, "validation": 3}
    assert (run["rule"]["name"], run["rule"]["threshold"]) == ("composition", 0.35)
    assert [item["descriptor"] for item in run["broad"]] == [BROAD]
    assert (run["ends"], run["pack"]) == (["highest"], {"neurons": 32, "sentences": 64})
    assert run["similar_null"] == pytest.approx(6 / (2 * 60 - 6), abs=1e-5)
    assert run["exemplars_shown"] == 3


def test_what_made_each_result_stands_in_the_order_of_the_stages(packs):
    made = packs["run"]["made"]
    assert list(made) == [
        "corpus", "describe", "cluster", "activations", "exemplars", "graphs", "annotate", "judge",
        "label", "writes", "facets", "evaluate", "score", "interventions",
    ]  # fmt: skip
    assert made["label"]["params"]["threshold"] == 0.35
    assert "results/exemplars.h5" in made["label"]["inputs"]
    assert made["label"]["versions"].keys() >= {"descry", "numpy"}
    assert all(value.keys() <= {"params", "inputs", "versions"} for value in made.values())


def test_each_descriptor_says_where_it_comes_from_and_how_frequent_it_is(packs):
    found = packs["run"]["descriptors"]
    assert [entry["name"] for entry in found] == list(TOPICS)
    labels = read_labels(LABELS)
    for column, entry in enumerate(found):
        for split in SPLITS:
            table = labels.splits[split]
            assert entry["neurons"]["highest"][split] == table.assigned[:, :, column].sum()
            assert entry["base"][split] == pytest.approx(table.base_rate[0, 0, column], rel=1e-3)
        assert (entry["mentions"], entry["phrases"]) == (12, 1)
        assert entry["shares"]["all"] == pytest.approx(0.2)
        assert entry["checked"] == {}
    assert found[0]["edited_from"] == ["cost"]
    assert packs["phrases"]["1"] == [["Battery words", 12]]


def test_what_gold_labels_say_of_the_annotator_is_there(run, corpus):
    write_gold(own_topic([row["id"] for row in corpus[:30]]))
    run_evaluate()
    packs = run_report()
    checked = packs["run"]["descriptors"][1]["checked"]["gold"]
    assert (checked["sentences"], checked["precision"], checked["recall"]) == (30, 1, 1)
    assert packs["run"]["metrics"]["annotator"]["gold"]["mean_precision"] == 1
    topics = planted.topics_of(read_table(planted.CORPUS, "corpus"))
    for row, sentence in enumerate(packs["sentences-0"]):
        assert sentence.get("gold") == ([topics[row]] if row < 30 else None)


def test_the_table_has_the_labels_of_every_neuron(packs):
    table, labels = packs["table-highest"], read_labels(LABELS)
    whole, halves = labels.splits["all"], [labels.splits[half] for half in HALVES]
    scored = read_table(planted.SCORED, "evaluate").to_pylist()
    for n in range(NEURONS):
        at = divmod(n, WIDTH)
        span = slice(table["start"][n], table["start"][n + 1])
        columns = table["descriptor"][span]
        assert sorted(columns) == np.flatnonzero(whole.assigned[at]).tolist()
        confirmed = np.all([half.p[at][columns] < 0.05 for half in halves], axis=0)
        evidence = list(zip(~confirmed, whole.p[at][columns], strict=True))
        assert evidence == sorted(evidence)
        assert table["replicated"][span] == confirmed.astype(int).tolist()
        assert table["f"][span] == np.rint(1000 * whole.f[at][columns]).tolist()
        assert table["count"][span] == whole.count[at][columns].tolist()
        np.testing.assert_allclose(table["expected"][span], whole.expected[at][columns], rtol=2e-3)
        times = 100 * whole.count[at][columns] / whole.expected[at][columns]
        assert table["times"][span] == np.rint(times).tolist()
        names = {"p": "p", "q": "q", "unmatched": "q_unmatched"}
        for name, of in names.items():
            expected = getattr(whole, of)[at][columns]
            np.testing.assert_allclose(table[name][span], expected, rtol=2e-3)
        for column, auroc in zip(columns, table["auroc"][span], strict=True):
            name = labels.descriptors[column]
            own = [r for r in scored if (r["layer"], r["neuron"], r["descriptor"]) == (*at, name)]
            known = [row["auroc"] for row in own if row["auroc"] is not None]
            assert auroc == (round(1000 * np.mean(known)) if known else None)
    assert len(table["start"]) == NEURONS + 1
    assert (table["size"], table["sizes"], table["silent"]) == (6, {}, {})


def test_the_maps_count_neurons_and_have_the_numbers_of_each(packs):
    whole, found = read_labels(LABELS).splits["all"], packs["map-highest"]
    assert found["labelled"] == whole.assigned.sum(axis=1).tolist()
    assert np.sum(found["expected"], axis=0) == pytest.approx(np.sum(found["labelled"], axis=0))
    for name, expected in (("f", whole.f.mean(axis=1)), ("lift", whole.lift.mean(axis=1))):
        np.testing.assert_allclose(found[name], expected, rtol=1e-3)
    np.testing.assert_allclose(found["highest"], whole.lift.max(axis=1), rtol=1e-3)
    for row in range(LAYERS):
        layer = packs[f"map-highest-{row}"]
        assert layer["f"] == np.rint(1000 * whole.f[row]).ravel().tolist()
        assert layer["lift"] == np.rint(100 * whole.lift[row]).ravel().tolist()


def test_the_copy_with_random_weights_stands_beside_the_map(run):
    assert not planted.packs_of(SITE)["run"]["copy"]
    planted.run_untrained(seed=1)
    packs = run_report()
    assert packs["run"]["copy"]
    with h5py.File(planted.UNTRAINED) as file:
        sets = file["all/row"][:]
    yes = read_annotations(planted.ANNOTATIONS).only(list(TOPICS)).answer == 1
    for row in range(LAYERS):
        count = yes[sets[row]].sum(axis=1)
        f = count / count.sum(axis=1, keepdims=True)
        layer = packs[f"map-untrained-{row}"]
        assert layer["f"] == np.rint(1000 * f).ravel().tolist()
        assert layer["lift"] == np.rint(100 * f / (yes.sum(axis=0) / yes.sum())).ravel().tolist()


def test_a_neuron_has_its_sentences_of_each_half_and_the_lowest(packs):
    with h5py.File(EXEMPLARS) as file:
        groups = {half: file[half] for half in HALVES} | {"lowest": file["bottom"]}
        sets = {
            name: {key: values[:] for key, values in group.items()}
            for name, group in groups.items()
        }
        spread = {name: values[:] for name, values in file["distribution"].items()}
    for n, neuron in enumerate(packs["neurons-0"]):
        at = divmod(n, WIDTH)
        for name, values in sets.items():
            rows, activations = zip(*neuron["sets"][name], strict=True)
            assert list(rows) == values["row"][at][:3].tolist()
            np.testing.assert_allclose(activations, values["activation"][at][:3], rtol=1e-3)
        assert neuron["distribution"]["counts"] == spread["counts"][at].tolist()
        assert neuron["distribution"]["mean"] == pytest.approx(spread["mean"][at], rel=1e-3)
        both = [row for half in HALVES for row, _ in neuron["sets"][half]]
        assert packs["shown"]["rows"][6 * n : 6 * n + 6] == both
    assert packs["shown"]["size"] == 6


def test_a_neuron_has_its_labels_with_the_numbers_of_each_split(packs):
    labels = read_labels(LABELS)
    names = ("f", "count", "lift", "expected", "p", "q", "q_unmatched", "assigned")
    for n, neuron in enumerate(packs["neurons-0"]):
        at = divmod(n, WIDTH)
        found = neuron["ends"]["highest"]["labels"]
        assert sorted(column for column, _ in found) == list(range(5))  # fewer than six
        p = [(-values["all"][7], values["all"][4]) for _, values in found]
        assert p == sorted(p)  # labels first, which both halves confirm here
        for column, values in found:
            for split in SPLITS:
                expected = [getattr(labels.splits[split], name)[at][column] for name in names]
                assert values[split] == pytest.approx([float(x) for x in expected], rel=6e-3)


def test_a_planted_neuron_has_its_label_formula_and_scores(packs):
    battery = packs["neurons-0"][1]["ends"]["highest"]
    assert battery["labels"][0][0] == 1
    formulas = {row["split"]: row["formula"] for row in battery["composed"]}
    assert formulas == dict.fromkeys(SPLITS, "Battery")
    scores = {(row["chosen"], row["column"]): row for row in battery["scores"]}
    assert scores["calibration", 1]["auroc"] == 1
    assert scores["calibration", 1]["gold"] is None


def test_what_the_strata_explain_is_shown_however_unsure_it_is(run, monkeypatch):
    monkeypatch.setattr("descry.reporting.explorer.neurons._SUREST", 0)
    labels = read_labels(LABELS)
    before = [neuron["ends"]["highest"]["labels"] for neuron in run_report()["neurons-0"]]
    assigned = np.any([split.assigned for split in labels.splits.values()], axis=0)
    for n, shown in enumerate(before):
        at = divmod(n, WIDTH)
        assert sorted(c for c, _ in shown) == np.flatnonzero(assigned[at]).tolist()
    planted.explain("L1:3", "Battery")
    after = [neuron["ends"]["highest"]["labels"] for neuron in run_report()["neurons-0"]]
    column = labels.descriptors.index("Battery")
    n = WIDTH + 3
    assert column not in [c for c, _ in before[n]]
    assert [c for c, _ in after[n]] == [*(c for c, _ in before[n]), column]
    assert after[:n] == before[:n]


def test_a_neuron_has_what_it_follows_in_words(packs):
    rows = read_table(planted.FOLLOWED, "evaluate").to_pylist()
    names = [one["name"] for one in packs["run"]["followed"]]
    assert names == list(dict.fromkeys(row["covariate"] for row in rows))
    assert {"words", "tokens", "category"} <= set(names)
    chance = {row["covariate"]: row["rho_chance"] for row in rows}
    for one in packs["run"]["followed"]:
        assert one["chance"] == pytest.approx(chance[one["name"]], rel=1e-3)
    for row in rows:
        neuron = packs["neurons-0"][row["layer"] * WIDTH + row["neuron"]]
        rho, exemplars, matched, corpus = neuron["follows"][names.index(row["covariate"])]
        assert rho == pytest.approx(row["rho"], rel=1e-3, abs=1e-12)
        if row["covariate"] == "words":
            assert (exemplars, corpus) == (f"{row['exemplars']:.3g}", f"{row['corpus']:.3g}")
        elif row["covariate"] == "category":
            assert exemplars == f"{100 * row['exemplars']:.1f}% {row['value']}"
            assert matched == f"{100 * row['matched']:.1f}%"


def test_trials_and_similar_neurons_stand_by_the_neuron(run):
    run_score(Toy(lambda _: planted.log_probabilities(True)), scorers=["detection"])
    found = run_report()["neurons-0"]
    trials = {n: neuron["trials"] for n, neuron in enumerate(found) if neuron["trials"]}
    assert {row["neuron"] for rows in trials.values() for row in rows} >= {"L0:1"}
    assert all(row["neuron"] == f"L{n // WIDTH}:{n % WIDTH}" for n in trials for row in trials[n])
    with h5py.File(EXEMPLARS) as file:
        sets = [set(row) for row in file["all/row"][:].reshape(NEURONS, -1).tolist()]
    for n, neuron in enumerate(found):
        for other, jaccard in neuron["similar"]:
            expected = len(sets[n] & sets[other]) / len(sets[n] | sets[other])
            assert jaccard == pytest.approx(expected, rel=1e-3)


def test_a_sentence_has_its_text_answers_and_neurons(packs, corpus):
    b = read_annotations(planted.ANNOTATIONS)
    with h5py.File(EXEMPLARS) as file:
        sets = file["all/row"][:].reshape(NEURONS, -1)
    for row, (sentence, record) in enumerate(zip(packs["sentences-0"], corpus, strict=True)):
        for name in ("id", "text", "category", "split", "source", "line", "summary"):
            assert sentence[name] == record[name]
        assert not {"reviewer", "asin", "time"} & sentence.keys()
        yes = np.flatnonzero(b.answer[row, 1:] == 1).tolist()
        odds = [round(10 * float(b.score[row, 1 + column])) for column in yes]
        assert sentence["yes"] == [[c, tenths] for c, tenths in zip(yes, odds, strict=True)]
        assert (sentence["asked"], sentence["none"]) == (True, [])
        assert sentence["excites"] == (sets == row).sum()
        for n, rank, _ in sentence["neurons"]:
            assert sets[n, rank - 1] == row


def test_answers_that_are_missing_or_without_a_score_are_told_apart(run):
    topic = planted.topics_of(read_table(planted.CORPUS, "corpus"))
    battery, sound = NAMES.index("Battery"), NAMES.index("Sound")
    with planted.answers_changed() as answer:
        answer[0, battery] = -1
    with h5py.File(planted.ANNOTATIONS, "r+") as file:
        file["score"][sound] = NAN
        file["asked"][1] = False
    run_label()
    run_evaluate()
    found = run_report()
    names = [entry["name"] for entry in found["run"]["descriptors"]]
    battery, sound = names.index("Battery"), names.index("Sound")
    assert found["sentences-0"][0]["none"] == [battery]
    assert (found["sentences-0"][1]["asked"], found["sentences-0"][1]["none"]) == (False, [])
    rows = np.flatnonzero(topic == 2).tolist()
    assert all([sound, None] in found["sentences-0"][row]["yes"] for row in rows)
    assert found["phrases"]["examples"][str(sound)] == rows[:10]


def test_examples_are_the_sentences_of_the_highest_score(packs):
    b = read_annotations(planted.ANNOTATIONS)
    for column in range(5):
        rows = packs["phrases"]["examples"][str(column)]
        score = np.where(b.answer[:, 1 + column] == 1, b.score[:, 1 + column], -np.inf)
        assert rows == np.argsort(-score)[:10].tolist()


def test_a_search_finds_the_sentences_with_a_word(packs, corpus):
    found = postings([packs["words-0"]])
    for word in ("battery", "aunt", "everybody"):
        expected = [r for r, row in enumerate(corpus) if word in row["text"].lower().split()]
        assert found[word] == expected
    assert "the" in packs["run"]["common"]
    assert "the" not in found
    assert packs["run"]["words"] == [packs["words-0"]["words"][0]]
    assert packs["run"]["first_ids"] == [corpus[0]["id"]]


def test_a_run_without_labels_has_all_packs(run):
    run_label(threshold=0.999, compose=0)
    run_evaluate()
    packs = run_report()
    assert packs["run"]["labelled"] == {"highest": 0}
    assert packs["table-highest"]["start"] == [0] * (NEURONS + 1)
    assert all(len(n["ends"]["highest"]["labels"]) == 6 for n in packs["neurons-0"])
    assert all(n["ends"]["highest"]["composed"] == [] for n in packs["neurons-0"])


def test_sets_that_were_not_asked_about_have_no_numbers(run):
    run_annotate(Toy(), scope="exemplars", neurons=2, sample=0)
    run_label()
    run_evaluate()
    packs = run_report()
    assert None in packs["map-highest-1"]["f"] or None in packs["map-highest-0"]["f"]


def test_exemplars_without_the_lowest_are_to_be_made_again(run):
    with h5py.File(EXEMPLARS, "r+") as file:
        del file["bottom"]
    with pytest.raises(InputError, match=r"no lowest activations: run `descry stage e.* again$"):
        run_report()


# Hostile texts


def test_hostile_texts_are_data_and_nothing_else(run, packs):
    assert packs["run"]["descriptors"][-1]["name"] == HOSTILE
    assert HOSTILE_REVIEW in {sentence["text"] for sentence in packs["sentences-0"]}
    for path in (SITE / "data").iterdir():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)?(-\d+)?\.js", path.name)
        assert not {"<", "\x1b", "alert"} & set(path.read_text())
    for path in SITE.rglob("*"):
        if path.is_file() and path.parent.name != "data":
            there = path.relative_to(SITE)
            own = APP / there if there == Path("index.html") else APP / there.relative_to("app")
            assert path.read_bytes() == own.read_bytes()
    assert (SITE / "index.html").is_file()
    assert not (SITE / "app/index.html").exists()


# The folder


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("cores", [1, 5])
def test_the_same_run_gives_the_same_bytes_on_any_number_of_cores(run, monkeypatch, cores):
    before = contents(SITE)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    run_report()
    assert contents(SITE) == before


def test_the_commit_is_a_note_beside_the_data(run):
    assert packs_of(SITE)["commit"] == {"sha": None, "clean": None, "unknown": None}
    without = contents(SITE)
    for command in ("init -q", "add reviews.jsonl", "commit -qm first"):
        subprocess.run(["git", *command.split()], check=True)
    sha = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert run_report()["commit"] == {"sha": sha.strip(), "clean": True, "unknown": None}
    Path("reviews.jsonl").write_text("")
    assert run_report()["commit"]["clean"] is False
    Path(".git/index").write_bytes(b"spoilt")
    damaged = run_report()["commit"]
    assert (damaged["clean"], bool(damaged["unknown"])) == (None, True)
    note = Path("data/commit.js")
    assert {p: b for p, b in contents(SITE).items() if p != note} == {
        p: b for p, b in without.items() if p != note
    }
    assert f"{SITE / note}\n" in (ROOT / ".dvcignore").read_text()


def test_what_fails_on_the_way_leaves_the_old_site_and_nothing_beside(run, monkeypatch):
    before, beside = contents(SITE), sorted(RESULTS.iterdir())

    def failing(pack):
        if pack.name == "shown":
            raise RuntimeError("stopped here")
        return script(pack)

    monkeypatch.setattr(site, "script", failing)
    with pytest.raises(RuntimeError, match="stopped here"):
        run_report()
    assert contents(SITE) == before
    assert sorted(RESULTS.iterdir()) == beside


KILLED = """
import os, signal, sys
from pathlib import Path
from descry.io.atomic import atomic_folder
with atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_the_old_folder_and_the_next_run_takes_up_the_rest(tmp_path):
    place = tmp_path / "made/site"
    for text in ("first", "second"):
        with atomic_folder(place) as folder:
            (folder / text).write_text(text)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(place)])
    assert killed.returncode == -signal.SIGKILL
    assert contents(place) == {Path("second"): b"second"}
    assert len(list(place.parent.iterdir())) == 2
    with atomic_folder(place) as folder:
        (folder / "third").write_text("third")
    assert contents(place) == {Path("third"): b"third"}
    assert list(place.parent.iterdir()) == [place]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"file/site: cannot be written"),
        atomic_folder(tmp_path / "file/site"),
    ):
        pass


# Wiring


def test_the_page_is_code_of_the_stage(monkeypatch):
    monkeypatch.chdir(ROOT)
    source = Path("src/descry")
    found = Code(source).imported(source / "stages/report.py")
    app = Path("src/descry/reporting/explorer/app")
    assert {p for p in found if p.is_relative_to(app)} == {p for p in app.rglob("*") if p.is_file()}
    assert app / "index.html" in found
    assert Path("src/descry/reporting/explorer/search_index.py") in found
    assert not any("__pycache__" in path.parts for path in found)


def test_labels_that_were_not_evaluated_are_refused(run):
    run_label(broad=1.0)
    with pytest.raises(InputError, match=r"descriptors\.csv: not of these labels: .*descry stage"):
        run_report()


def test_labels_of_an_end_without_sets_are_refused(run):
    run_exemplars(lowest=True)
    run_label()
    run_exemplars()
    with pytest.raises(InputError, match=r"exemplars\.h5: no sets of the lowest .*`descry stage l"):
        run_report()


def test_the_scores_are_those_of_the_files(packs):
    metrics = read_json(planted.METRICS, "evaluate")
    run = packs["run"]
    assert run["metrics"].keys() == metrics.keys() - {"made"}
    value = metrics["halves"]["jaccard"]["value"]
    assert run["metrics"]["halves"]["jaccard"]["value"] == pytest.approx(value, rel=1e-3)
    curves = planted.read_csv(planted.CURVES)
    assert len(run["curves"]) == len(curves)
    assert run["curves"][0]["against"] == "halves"
    assert run["curves"][0]["defined"] == int(curves[0]["defined"])
    assert {row["null"] for row in run["nulls"]} >= {"random sets"}
    assert {row["end"] for row in run["alignment"]} == {"highest"}
    assert sorted(run["correlation"]["order"]) == list(range(5))
    matrix = np.array(run["correlation"]["matrix"])
    assert (np.diag(matrix) == 1).all()
    assert run["scores"] == {"undefined": "no annotator (score.annotator)"}
