"""Each stage, on a miniature run whose labels are known."""

import json
import re
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from planted import (
    ACTIVATIONS,
    ALIGNMENT,
    ANNOTATIONS,
    ANNOTATOR,
    BRIEF,
    BROAD,
    CACHE,
    CANDIDATES,
    COMPOSED,
    CORPUS,
    CORRELATION,
    CURVES,
    EXEMPLARS,
    GOLD,
    HOSTILE,
    HOSTILE_PAIR,
    HOSTILE_REVIEW,
    JUDGEMENTS,
    LABELS,
    LAYERS,
    METRICS,
    NAMES,
    NEURONS,
    NULLS,
    PER_DESCRIPTOR,
    RESULTS,
    REVIEWS,
    SCORED,
    SPEC,
    TOPICS,
    UNTRAINED,
    WIDTH,
    Absent,
    Toy,
    answers_changed,
    applies,
    in_words,
    lines_of,
    log_probabilities,
    own_topic,
    printed,
    read_csv,
    run_annotate,
    run_corpus,
    run_evaluate,
    run_exemplars,
    run_judge,
    run_label,
    run_report,
    run_untrained,
    write_gold,
)
from sklearn import metrics as sk

from descry.activations.exemplar_files import read_exemplars
from descry.annotators.annotations import read_annotations, read_judgements
from descry.annotators.base import Answer, Identity
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p2
from descry.cli.console.neuron import show_neuron
from descry.cli.console.overview import show_table
from descry.cli.console.terminal import show_chain
from descry.corpus.splits import SPLITS, split_rows
from descry.errors import InputError
from descry.io.hdf5 import hdf5_provenance
from descry.io.json_files import read_json, write_json
from descry.io.parquet import read_table, table_provenance, write_table
from descry.io.yaml_files import read_yaml
from descry.labels.results import read_labels, surest
from descry.provenance.audit.chain import audit
from descry.provenance.audit.project import Project
from descry.provenance.audit.tree import tree
from descry.stages import describe
from descry.stages import evaluate as evaluate_stage
from descry.stages.cluster import Cluster, cluster_topics
from descry.stages.describe import Describe, describe_sentences

# corpus


def test_the_corpus_has_all_reviews_with_their_place(run):
    table = read_table(CORPUS, "corpus")
    assert len(table) == 60
    lines = REVIEWS.read_text(encoding="utf-8").splitlines()
    given = [json.loads(line)["reviewText"] for line in lines]
    for row in table.to_pylist():
        assert (row["source"], row["text"]) == ("reviews.jsonl", given[row["line"] - 1])
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())


# exemplars


def test_exemplars_of_a_half_are_of_that_half(run):
    halves = np.array(read_table(CORPUS, "corpus")["split"].to_pylist())
    for half in ("calibration", "validation"):
        assert set(halves[read_exemplars(EXEMPLARS, half)].ravel()) == {half}


@pytest.mark.parametrize(("split", "size"), [("all", 6), ("calibration", 3), ("validation", 3)])
def test_exemplars_are_the_rows_of_the_highest_activations(run, split, size):
    rows = read_exemplars(EXEMPLARS, split)
    assert rows.shape == (LAYERS, WIDTH, size)
    with h5py.File(ACTIVATIONS) as file, h5py.File(EXEMPLARS) as found:
        data, values = file["activations"][:], found[f"{split}/activation"][:]
    halves = np.array(read_table(CORPUS, "corpus")["split"].to_pylist())
    within = np.flatnonzero(halves == split) if split != "all" else np.arange(60)
    for layer, neuron in np.ndindex(LAYERS, WIDTH):
        column = data[:, layer, neuron]
        expected = np.sort(column[within])[::-1][:size]
        np.testing.assert_array_equal(column[rows[layer, neuron]], expected)
        np.testing.assert_array_equal(values[layer, neuron], expected)


@pytest.mark.parametrize("change", ["a sentence fewer", "other halves"])
def test_activations_of_another_corpus_are_refused(run, change):
    table = read_table(CORPUS, "corpus")
    other = table.slice(1)
    if change == "other halves":
        transposed = pa.array(reversed(table["split"].to_pylist()))
        other = table.set_column(table.column_names.index("split"), "split", transposed)
    write_table(CORPUS, other, table_provenance(table))
    EXEMPLARS.unlink()
    with pytest.raises(InputError, match=r"activations\.h5: not of this corpus"):
        run_exemplars()
    assert not EXEMPLARS.exists()


def test_fewer_sentences_than_a_set_needs_are_refused(run):
    with pytest.raises(InputError, match=r"2% of 60 sentences is 2.* needs 3 .*min_size"):
        run_exemplars(top_percent=2.0)


@pytest.mark.parametrize("path", [CORPUS, ACTIVATIONS])
def test_a_missing_file_names_the_command_that_makes_it(run, path):
    path.unlink()
    with pytest.raises(InputError, match=f"no such file: make it with `descry stage {path.stem}`"):
        run_exemplars()


# describe


def run_describe(*annotators, output=CANDIDATES, replay=False, **changes):
    example = {"sentence": "It is cheap.", "concepts": ["Price"]}
    section = {"annotators": [SPEC] * len(annotators), "max_descriptors": 3}
    section |= {
        "max_words": 2,
        "examples": [example],
        "template": None,
        "seed": 0,
        "max_failures": 0.0,
    } | changes
    given = iter(annotators)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describe, "create", lambda *_, **__: next(given))
        how = {"cache_folder": CACHE, "replay": replay, "progress": lambda *_: None}
        files = {"corpus": CORPUS, "candidates": output}
        return describe_sentences(Describe(**section), **files, **how)


def topic_words(prompt):
    words = [word for word in TOPICS.values() if word in prompt.sentence]
    return {"text": ", ".join([*words, "a thing"]), "finish": "stop"}


def another(annotator, name):
    annotator.identity = Identity(name, name, "v1", "none", "none")
    return annotator


def test_raw_descriptors_are_the_union_of_all_annotators_answers(run):
    shout = another(Toy(lambda _: {"text": "[Noise]", "finish": "stop"}), "shout")
    counts = run_describe(Toy(topic_words), shout)
    table = read_table(CANDIDATES, "describe")
    rows = Counter(table["annotator"].to_pylist())
    assert rows == {ANNOTATOR.name: 60 + 59, "shout": 60}  # one review has no topic's word
    assert counts == {
        "sentences": 60, "cached": 0, "asked": 120, "failed": 0, "cut": 0,
        "no topics": 0, "phrases left out": 0, "answers with copied phrases": 0,
        "descriptors": 179, "distinct": 7,
    }  # fmt: skip
    texts = dict(
        zip(*(read_table(CORPUS, "corpus")[c].to_pylist() for c in ("id", "text")), strict=True)
    )
    for row in table.to_pylist():
        assert row["phrase"] in ("a thing", "noise") or row["phrase"] in texts[row["id"]]
    made = table_provenance(table)
    assert [who["name"] for who in made["annotators"]] == [ANNOTATOR.name, "shout"]
    assert made["failed"] == 0


def test_each_raw_descriptor_has_the_key_of_its_answer(run):
    annotator = Toy(topic_words)
    run_describe(annotator)
    keys = {annotator.identity.request(prompt).key for prompt in annotator.asked}
    table = read_table(CANDIDATES, "describe")
    assert set(table["key"].to_pylist()) == keys
    with PromptCache(CACHE) as cache:
        for row in table.to_pylist()[:5]:
            (record,) = cache.recorded([row["key"]]).values()
            assert record["sentence"] == row["id"]


def test_without_an_example_the_first_annotator_gives_one(run):
    annotator, second = Toy(topic_words), another(Toy(topic_words), "second")
    run_describe(annotator, second, examples=1)
    first, *rest = annotator.asked
    example = table_provenance(read_table(CANDIDATES, "describe"))["examples"][0]
    assert example["sentence"] == first.sentence
    assert example["concepts"][-1] == "a thing"
    assert "For example" not in first.text
    for prompt in (*rest, *second.asked):
        shown = (
            f"For example, {first.sentence}\nExpected Concepts: [{', '.join(example['concepts'])}]."
        )
        assert shown in prompt.text
    assert (len(rest), len(second.asked)) == (60, 60)
    again = Absent()
    run_describe(again, another(Absent(), "second"), examples=1, replay=True)


def test_three_examples_are_drawn_and_asked_for_zero_shot(run):
    annotator = Toy(topic_words)
    run_describe(annotator, examples=3)
    asked, rest = annotator.asked[:3], annotator.asked[3:]
    shown = table_provenance(read_table(CANDIDATES, "describe"))["examples"]
    assert [shot["sentence"] for shot in shown] == [prompt.sentence for prompt in asked]
    assert len({prompt.sentence for prompt in asked}) == 3
    assert all("For example" not in prompt.text for prompt in asked)
    assert all(prompt.text.count("For example") == 3 for prompt in rest)
    run_describe(Toy(topic_words), examples=1)
    assert table_provenance(read_table(CANDIDATES, "describe"))["examples"] == shown[:1]
    run_describe(none := Toy(topic_words), examples=0)
    assert all("For example" not in prompt.text for prompt in none.asked)


def test_an_answer_that_repeats_an_example_fails_for_that_reason(run):
    shot = {"sentence": "It came in a large brown box.", "concepts": ["Delivery"]}
    prose = {"text": "It came in a large brown box, and I like it a lot.", "finish": "stop"}
    with pytest.raises(InputError, match="repeats an example of p1"):
        run_describe(another(Toy(lambda _: prose), "prose"), examples=[shot])


def test_copied_phrases_are_counted_and_many_are_warned_of(run):
    parrot = {"text": "Price, Sound", "finish": "stop"}
    shot = {"sentence": "It is cheap, with good sound.", "concepts": ["Price", "Sound"]}
    counts = run_describe(
        Toy(lambda _: parrot), another(Toy(topic_words), "honest"), examples=[shot]
    )
    texts = read_table(CORPUS, "corpus")["text"].to_pylist()
    copies = [("price" not in t.lower()) + ("sound" not in t.lower()) for t in texts]
    made = table_provenance(read_table(CANDIDATES, "describe"))["copied"]
    answers = sum(number > 0 for number in copies)
    assert made[ANNOTATOR.name] == {"asked": 60, "answers": answers, "phrases": sum(copies)}
    assert made["honest"] == {"asked": 60, "answers": 0, "phrases": 0}
    assert counts["answers with copied phrases"] == answers
    (warning,) = counts["warnings"]
    assert warning.startswith(f"{ANNOTATOR.name} copies: ")
    assert "describe.examples: 3" in warning


def test_no_example_no_run(run):
    CANDIDATES.unlink()
    for said, why in (
        ("I cannot.", r"1 refusal, such as 'I cannot\.' to sentence [0-9a-f]{16}"),
        ("<think>So, sound", "1 unclosed think block, such as '<think>So, sound' to sentence"),
        ("None\n", r"no topics, such as 'None\\n'"),
    ):
        toy = another(Toy(lambda _, said=said: {"text": said, "finish": "stop"}), said.strip()[:6])
        with pytest.raises(InputError, match=rf"example of p1.*{why}.*by hand") as caught:
            run_describe(toy, examples=1)
        assert str(caught.value).isprintable()
        assert "see that it answers" not in str(caught.value)
    lost = another(Toy(lambda _: Answer(None, fault="connection lost")), "lost")
    with pytest.raises(InputError, match=r"1 connection lost.*: see that it answers.*or write"):
        run_describe(lost, examples=1)
    assert not CANDIDATES.exists()


def test_answers_without_topics_and_phrases_left_out_are_counted(run):
    def some(prompt):
        if TOPICS["Sound"] in prompt.sentence:
            return {"text": "No salient topics.", "finish": "stop"}
        return {"text": "- size\n- the way in which it is built", "finish": "stop"}

    counts = run_describe(Toy(some))
    assert (counts["no topics"], counts["failed"], counts["phrases left out"]) == (12, 0, 48)
    assert read_table(CANDIDATES, "describe")["phrase"].to_pylist() == ["size"] * 48


def test_answers_without_any_topic_at_all_end_in_one_line_of_cluster(run):
    counts = run_describe(Toy(lambda _: {"text": "[]", "finish": "stop"}))
    assert (counts["no topics"], counts["descriptors"]) == (60, 0)
    with pytest.raises(InputError, match="no raw descriptor: no answer to p1 names a topic"):
        files = {"candidates": CANDIDATES, "descriptors": Path("descriptors.json")}
        cluster_topics(Cluster.model_construct(edits=None), **files)


def test_topics_that_failed_are_counted_and_left_out(run):
    def some(prompt):
        cut_off = TOPICS["Sound"] in prompt.sentence
        return topic_words(prompt) | {"finish": "length" if cut_off else "stop"}

    counts = run_describe(Toy(some), max_failures=0.2)
    assert (counts["asked"], counts["failed"]) == (60, 12)
    table = read_table(CANDIDATES, "describe")
    assert "sound" not in table["phrase"].to_pylist()
    assert table_provenance(table)["failed"] == 12
    with PromptCache(CACHE) as cache:
        assert Counter(record["reason"] for _, record in cache.failures()) == {"cut off": 12}


# annotate


def planted():
    """B as the toy annotator has it: bool [sentence, descriptor]."""
    texts = read_table(CORPUS, "corpus")["text"].to_pylist()
    return np.array([[applies(prompt) for prompt in p2([text], NAMES)] for text in texts])


def test_b_holds_what_the_annotator_says_of_every_sentence_and_descriptor(run):
    counts = run_annotate(Toy())
    b, yes = read_annotations(ANNOTATIONS), planted()
    np.testing.assert_array_equal(b.answer, yes)
    np.testing.assert_allclose(b.score, np.where(yes, 2.4, -2.8), rtol=1e-6)
    assert b.asked.all()
    assert b.sampled.all()
    assert (b.descriptors, b.annotator) == (NAMES, ANNOTATOR.as_json())
    assert counts == {
        "sentences": 60, "cached": 1, "asked": 359, "failed": 0, "cut": 0, "yes": yes.sum(),
        "other word likelier": 0, "near ties": 0,
    }  # fmt: skip


def test_annotations_name_the_files_they_depend_on(run):
    run_annotate(Toy())
    assert [Path(p).stem for p in read_annotations(ANNOTATIONS).made["inputs"]] == [
        "corpus",
        "descriptors",
    ]
    run_annotate(Toy(), scope="exemplars")
    made = read_annotations(ANNOTATIONS).made
    assert [Path(p).stem for p in made["inputs"]] == ["corpus", "descriptors", "exemplars"]
    assert (made["stage"], made["params"]["scope"]) == ("annotate", "exemplars")


def test_answers_in_words_count_though_they_have_no_score(run):
    counts = run_annotate(Toy(in_words))
    b = read_annotations(ANNOTATIONS)
    # The one answer that was in the cache is stored as log-probabilities.
    assert np.isnan(b.score).sum() == 359
    np.testing.assert_array_equal(b.answer, planted())
    assert (counts["failed"], counts["near ties"]) == (0, 0)
    run_label()
    assert (
        read_labels(LABELS).splits["all"].assigned[0, 2].tolist()
        == [False, False, True] + [False] * 2
    )
    write_gold(own_topic(b.ids))
    found = run_evaluate()["annotator"]["gold"]
    assert (found["precision"], found["mean_auroc"]) == (1.0, None)
    text = "\n".join(lines_of(tree(audit(Project(RESULTS, CACHE), "L0:2", 2, 2))))
    assert text.count("answer Yes, in words, by toy") == 2
    assert run_report()["run"]["metrics"]["annotator"]["gold"]["mean_auroc"] is None


def test_an_answer_below_min_mass_is_none(run):
    def doubtful(prompt):
        if prompt.descriptor == "Sound" and TOPICS["Sound"] in prompt.sentence:
            return {"yes": -3.0, "no": -4.0, "rest": -0.1, "instead": "It"}
        return log_probabilities(applies(prompt))

    with pytest.raises(InputError, match="neither Yes nor No"):
        run_annotate(Toy(doubtful))
    counts = run_annotate(Toy(doubtful), max_failures=0.05)
    b, yes = read_annotations(ANNOTATIONS), planted()
    column = NAMES.index("Sound")
    np.testing.assert_array_equal(b.answer[:, column], np.where(yes[:, column], -1, 0))
    np.testing.assert_array_equal(np.isnan(b.score[:, column]), yes[:, column])
    assert (counts["failed"], b.made["failed"]) == (12, 12)
    counts = run_annotate(Toy(doubtful), min_mass=0.05)
    np.testing.assert_array_equal(read_annotations(ANNOTATIONS).answer, yes)
    assert (counts["failed"], counts["other word likelier"]) == (0, 12)


def test_a_stricter_min_mass_asks_nothing_again(run):
    run_annotate(Toy(lambda _: {"yes": -2.0, "no": -2.5}))
    counts = run_annotate(Absent(), min_mass=0.5, max_failures=1.0)
    assert (counts["asked"], counts["failed"]) == (0, 359)
    assert (read_annotations(ANNOTATIONS).answer == -1).sum() == 359


def test_answers_on_the_edge_are_counted(run):
    counts = run_annotate(Toy(lambda _: {"yes": -0.7, "no": -0.75, "instead": " yes"}))
    made = read_annotations(ANNOTATIONS).made
    for found in (counts, made):
        assert (found["near ties"], found["other word likelier"]) == (359, 359)


def test_in_replay_the_model_is_not_needed(run):
    with pytest.raises(InputError, match=r"replay: 359 of 360 answers to p2 .*\(model toy\)"):
        run_annotate(Absent(), replay=True)
    run_annotate(Toy())
    before = ANNOTATIONS.read_bytes()
    ANNOTATIONS.unlink()
    run_annotate(Absent(), replay=True)
    assert ANNOTATIONS.read_bytes() == before


def test_from_the_cache_the_same_bytes_are_written(run):
    def shortened(prompt):
        if prompt.descriptor == "Sound" and TOPICS["Sound"] in prompt.sentence:
            return Answer(None, fault="time-out")
        return Answer(log_probabilities(applies(prompt)), tokens=(512, 1), cut=7)

    files = []
    for _ in range(2):
        run_annotate(Toy(shortened), max_failures=0.05)
        files.append(ANNOTATIONS.read_bytes())
    assert files[0] == files[1]


# annotate, of some neurons


def of_neurons(*places):
    """The rows of some neurons' exemplars, in any split."""
    sets = [read_exemplars(EXEMPLARS, split) for split in SPLITS]
    return {int(row) for rows in sets for place in places for row in rows[place]}


def test_only_exemplars_of_the_neurons_and_the_sample_are_asked_about(run):
    annotator = Toy()
    counts = run_annotate(annotator, scope="exemplars", neurons=["L0:2", "L1:3"], sample=7)
    b, texts = read_annotations(ANNOTATIONS), read_table(CORPUS, "corpus")["text"].to_pylist()
    meant = of_neurons((0, 2), (1, 3)) | set(np.flatnonzero(b.sampled))
    assert set(np.flatnonzero(b.asked)) == meant
    assert (b.sampled.sum(), counts["sentences"]) == (7, len(meant))
    pairs = {(prompt.sentence, prompt.descriptor) for prompt in annotator.asked}
    pairs.add(HOSTILE_PAIR)  # is in the cache
    assert {sentence for sentence, _ in pairs} <= {texts[row] for row in meant} | {HOSTILE_REVIEW}
    assert {(texts[row], name) for row in meant for name in NAMES} <= pairs
    np.testing.assert_array_equal(b.answer[b.asked], planted()[b.asked])
    assert (b.answer[~b.asked] == -1).all()
    assert np.isnan(b.score[~b.asked]).all()


def test_neurons_that_were_not_asked_about_get_no_label(run):
    run_annotate(Toy(), scope="exemplars", neurons=["L0:1", "L0:2"], sample=20)
    counts = run_label()
    assert (counts["neurons"], counts["broad descriptors dropped"]) == (2, 0)
    for split in read_labels(LABELS).splits.values():
        undefined = np.isnan(split.f).all(axis=2)
        assert not undefined[0, 1:3].any()
        assert split.assigned[0, 2].tolist() == [False, False, False, True, False, False]
        assert not split.assigned[undefined].any()
    asked = read_annotations(ANNOTATIONS).asked
    whole = asked[read_exemplars(EXEMPLARS, "all")].all(axis=2)
    np.testing.assert_array_equal(np.isnan(read_labels(LABELS).splits["all"].f).all(axis=2), ~whole)
    tagged = read_json(NEURONS, "label")["neurons"]
    assert {name for names in tagged["all"].values() for name in names} == {"L0:1", "L0:2"}


def test_base_rates_are_those_of_the_sample(run):
    run_annotate(Toy(), scope="exemplars", neurons=["L0:1", "L0:2"], sample=20)
    run_label(frequency="sentences")
    b, labels = read_annotations(ANNOTATIONS), read_labels(LABELS)
    rows = split_rows(read_table(CORPUS, "corpus")["split"].to_pylist())
    yes = planted()
    for name, split in labels.splits.items():
        part = rows[name][b.sampled[rows[name]]]
        np.testing.assert_allclose(split.base_rate[0, 2], yes[part].mean(axis=0))
    f, base = labels.splits["all"].f[0, 2, 3], labels.splits["all"].base_rate[0, 2, 3]
    assert (f, labels.splits["all"].lift[0, 2, 3]) == (1.0, pytest.approx(1 / base))


def test_breadth_is_not_judged_by_a_few_neurons(run):
    run_annotate(Toy(), scope="exemplars", neurons=["L0:2", "L0:3"], sample=0)
    run_label(broad=0.6)
    assert table_provenance(read_table(LABELS, "label"))["dropped"] == []


def test_gold_that_does_not_count_as_it_stands_is_in_the_metrics(run, ids):
    write_gold({ids[0]: ["Battery", "Prize"], "f" * 16: []})
    with Path("gold.jsonl").open("a") as file:
        file.write(json.dumps({"id": ids[0], "labels": ["price"]}) + "\n")
    assert run_evaluate()["gold_file"] == {
        "lines": 3,
        "sentences": 2,
        "united": 1,
        "unknown": 1,
        "no_descriptor": {"Prize": 1},
    }


@pytest.mark.parametrize("sample", [0, 1, 1000])
def test_the_later_stages_take_annotations_of_some_neurons(run, capsys, ids, sample):
    run_annotate(Toy(), scope="exemplars", neurons=2, sample=sample)
    run_label()
    write_gold(own_topic(ids))
    defined = run_evaluate()["halves"]["jaccard"]["defined"]
    assert (defined > 8) == (sample == 1000)
    shares = [row["share_all"] for row in read_csv(PER_DESCRIPTOR)]
    assert (set(shares) == {""}) == (sample == 0)
    assert run_report()["run"]["metrics"]["annotator"]["gold"]["precision"] == 1
    show_table(RESULTS, 3)
    show_neuron(RESULTS, "L0:0", 2)
    show_chain(tree(audit(Project(RESULTS, CACHE), "L0:0", 2, 2)))
    assert "L0:0" in printed(capsys)


def test_exemplars_of_a_larger_corpus_are_refused(run):
    with h5py.File(EXEMPLARS, "r+") as file:
        file["validation/row"][1, 2, 0] = 60
    with pytest.raises(
        InputError, match=r"exemplars\.h5: not of this corpus: run `descry stage exemplars`"
    ):
        run_annotate(Toy(), scope="exemplars")


def test_an_unknown_neuron_to_ask_about_is_an_error(run):
    with pytest.raises(InputError, match="L2:0: no such neuron: the neurons are L0:0 to L1:7"):
        run_annotate(Toy(), scope="exemplars", neurons=["L2:0"])


# judge


def test_without_a_judge_the_file_says_so(run):
    assert run_judge(None) == {"judge": 0}
    assert read_judgements(JUDGEMENTS) is None
    with h5py.File(JUDGEMENTS) as file:
        made = hdf5_provenance(file)
        assert (made["stage"], made["params"]["annotator"], list(file)) == ("judge", None, [])
    found = run_evaluate()
    assert set(found["judge"]) == {"undefined"}
    assert set(found["annotator"]) == {"gold", "shares_target"}


def test_judgements_that_are_not_there_name_the_command_that_makes_them(run):
    JUDGEMENTS.unlink()
    with pytest.raises(
        InputError, match=r"judgements\.h5: no such file: make it with `descry stage judge`"
    ):
        run_evaluate()


def test_the_judge_writes_what_annotate_would(run):
    counts = run_judge(Toy(), scope="exemplars", neurons=["L0:2"], sample=5)
    found = read_judgements(JUDGEMENTS)
    assert (found.made["stage"], counts["failed"]) == ("judge", 0)
    run_annotate(Absent(), scope="exemplars", neurons=["L0:2"], sample=5)
    b = read_annotations(ANNOTATIONS)
    for name in ("answer", "score", "asked", "sampled"):
        np.testing.assert_array_equal(getattr(found, name), getattr(b, name))
    assert (found.ids, found.descriptors, found.annotator) == (b.ids, b.descriptors, b.annotator)
    with PromptCache(CACHE) as cache:
        assert {f"{stage}:{ANNOTATOR.name}" for stage in ("judge", "annotate")} == set(cache.runs())


def test_the_judge_is_asked_in_replay_no_more_than_the_annotator(run):
    with pytest.raises(InputError, match="replay: 359 of 360 answers to p2"):
        run_judge(Absent(), replay=True)


def transposed(prompt):
    """A judge who hears of batteries wherever there is sound."""
    words = TOPICS | {"Battery": "battery|sound", "Sound": "nothing"}
    if prompt.descriptor == BROAD:
        return log_probabilities(True)
    return log_probabilities(bool(re.search(words[prompt.descriptor], prompt.sentence)))


def test_labels_are_held_against_the_judge(run):
    run_annotate(Toy())
    run_label()
    who = another(Toy(transposed), "judge")
    run_judge(who, scope="exemplars", neurons=[f"L0:{i}" for i in range(4)])
    found = run_evaluate()["judge"]
    # Of the four neurons the one of Sound has a label that the judge does not see.
    for score in ("precision", "recall", "jaccard", "precision_at_k_1"):
        assert (found[score]["value"], found[score]["defined"]) == (0.75, 4)
    rows = [row for row in read_csv(CURVES) if row["against"] == "judge"]
    assert len(rows) == 4 * 3 + 2 * 3


def test_the_annotator_is_held_against_the_judge(run, ids):
    run_annotate(Toy())
    write_gold(own_topic(ids))
    run_judge(
        another(Toy(transposed), "judge"), scope="exemplars", neurons=[f"L0:{i}" for i in range(4)]
    )
    found = run_evaluate()["annotator"]
    judged = read_judgements(JUDGEMENTS)
    yes = judged.answer[judged.asked] == 1
    battery, sound = (
        yes[:, NAMES.index("Battery")],
        planted()[judged.asked][:, NAMES.index("Sound")],
    )
    rows = {(row["against"], row["descriptor"]): row for row in read_csv(PER_DESCRIPTOR)}
    assert len(rows) == 2 * len(TOPICS)
    row = rows["judge", "Battery"]
    assert (row["sentences"], row["truth_yes"]) == (str(judged.asked.sum()), str(battery.sum()))
    assert (float(row["precision"]), row["annotator_yes"]) == (1.0, str((battery & ~sound).sum()))
    assert float(row["recall"]) == pytest.approx((battery & ~sound).sum() / battery.sum(), abs=1e-6)
    assert (rows["judge", "Sound"]["truth_yes"], rows["judge", "Sound"]["recall"]) == ("0", "")
    answer = planted()[judged.asked][:, NAMES.index("Battery")]
    kappa = sk.cohen_kappa_score(battery, answer)
    assert float(row["kappa"]) == pytest.approx(kappa, abs=1e-6)
    # All pairs together, of the descriptors that the judge, or people, ever say Yes to.
    assert found["judge"]["answers"] == found["judge"]["descriptors"] * judged.asked.sum()
    assert found["gold"]["answers"] == 5 * 60
    packs = run_report()
    assert packs["run"]["judge"]["name"] == judged.annotator["name"]
    assert packs["run"]["descriptors"][1]["checked"].keys() == {"gold", "judge"}


def test_the_judge_is_held_against_gold_where_both_are_there(run, ids):
    run_annotate(Toy())
    run_label()
    write_gold(own_topic(ids))
    assert "judge_against_gold" not in run_evaluate()
    run_judge(another(Toy(transposed), "judge"))
    found = run_evaluate()["judge_against_gold"]
    # The judge hears Battery where there is Sound; one review has no topic's word.
    assert (found["descriptors"], found["answers"]) == (5, 300)
    assert (found["mean_precision"], found["mean_recall"]) == (0.875, pytest.approx(0.8, abs=0.02))
    write_gold({})
    assert set(run_evaluate()["judge_against_gold"]) == {"undefined"}


def test_a_judge_who_never_says_yes_is_no_measure(run):
    run_annotate(Toy())
    run_judge(another(Toy(lambda _: log_probabilities(False)), "judge"))
    found = run_evaluate()
    assert found["annotator"]["judge"] == {
        "undefined": "no judge label for these sentences and descriptors"
    }
    assert found["judge"]["precision"]["value"] == 0.0
    assert found["judge"]["recall"]["value"] is None


def test_the_judge_is_compared_only_where_both_were_asked(run):
    run_annotate(Toy(), scope="exemplars", neurons=["L0:0", "L0:1", "L0:2"], sample=0)
    run_label()
    run_judge(
        another(Toy(transposed), "judge"), scope="exemplars", neurons=["L0:1", "L0:2", "L0:3"]
    )
    found = run_evaluate()["judge"]
    # Both neurons have the label that is on all; the judge sees the other one of the first only.
    for score, value in {"precision": 0.75, "recall": 0.75, "jaccard": 2 / 3}.items():
        assert found[score]["value"] == pytest.approx(value, abs=1e-6)
        assert found[score]["defined"] == 2


# label


@pytest.mark.parametrize("planted", range(len(TOPICS)))
@pytest.mark.parametrize("split", SPLITS)
def test_a_planted_neuron_gets_its_label_and_no_other(run, split, planted):
    labels = read_labels(LABELS)
    assigned = labels.splits[split].assigned[0, planted]
    assert [labels.descriptors[c] for c in np.flatnonzero(assigned)] == [list(TOPICS)[planted]]


def test_the_numbers_of_a_planted_label(run):
    split = read_labels(LABELS).splits["all"]
    numbers = (split.f, split.count, split.base_rate, split.lift)
    # All six exemplars are of the topic, as are 12 of the 60 sentences.
    assert [float(x[0, 2, 2]) for x in numbers] == pytest.approx([1.0, 6, 0.2, 5.0])


def test_labels_have_a_row_per_split_neuron_and_descriptor(run):
    table = read_table(LABELS, "label")
    columns = ["end", "split", "layer", "neuron", "descriptor", "f", "count", "base_rate", "lift"]
    tested = ["expected", "p", "q", "p_unmatched", "q_unmatched", "assigned"]
    assert table.column_names == [*columns, *tested]
    rows = zip(*(table[name].to_pylist() for name in columns[:5]), strict=True)
    expected = [
        ("highest", split, layer, neuron, name)
        for split in SPLITS
        for layer in range(LAYERS)
        for neuron in range(WIDTH)
        for name in TOPICS
    ]
    assert list(rows) == expected


def test_neurons_json_is_the_inverse_of_the_label_table(run):
    expected = {split: {name: [] for name in TOPICS} for split in SPLITS}
    for row in read_table(LABELS, "label").to_pylist():
        if row["assigned"]:
            neuron = f"L{row['layer']}:{row['neuron']}"
            expected[row["split"]][row["descriptor"]].append(neuron)
    found = read_json(NEURONS, "label")
    for split, tagged in found["neurons"].items():
        assert {name: sorted(own) for name, own in tagged.items()} == expected[split]
    assert set(found) == {"made", "neurons"}


def test_a_broad_descriptor_is_dropped_and_the_reason_kept(run):
    dropped = table_provenance(read_table(LABELS, "label"))["dropped"]
    reason = "f > 0.35 on 100% of neurons (label.broad)"
    assert dropped == [{"descriptor": BROAD, "end": "highest", "reason": reason}]


def test_a_neuron_whose_exemplars_have_no_descriptor_is_undefined_not_0(run):
    with answers_changed() as answer:
        answer[read_exemplars(EXEMPLARS, "all")[0, 0]] = 0
    run_label(broad=1.0)
    row = read_table(LABELS, "label").slice(0, 1).to_pylist()[0]
    assert (row["f"], row["lift"], row["count"], row["assigned"]) == (None, None, 0, False)


def test_labels_by_sentences_and_top_k(run):
    run_label(frequency="sentences", top_k=1, broad=1.0)
    labels = read_labels(LABELS)
    # The broad descriptor is as frequent as the planted one, but so it is everywhere.
    assert labels.descriptors[0] == BROAD
    assert labels.splits["all"].f[0, 1].tolist() == [1, 0, 1, 0, 0, 0]
    assert labels.splits["all"].assigned[0, 1].tolist() == [False, False, True, False, False, False]


def test_enrichment_labels_the_planted_neurons_and_none_of_the_others(run):
    counts = run_label(rule="enrichment", fdr=0.01)
    assert counts["broad descriptors dropped"] == 0
    labels = read_labels(LABELS)
    assert labels.descriptors == NAMES
    tagged = [
        (layer, neuron, labels.descriptors[column])
        for layer, neuron, column in np.argwhere(labels.splits["all"].assigned)
    ]
    assert tagged == [(0, neuron, name) for neuron, name in enumerate(TOPICS)]
    halves = run_evaluate()["halves"]
    assert set(halves["jaccard"]) == set(halves["precision_at_k_1"])
    at = [float(row["at"]) for row in read_csv(CURVES) if row["score"] == "jaccard"]
    assert at == [0.01, 0.05]


def test_p_and_q_of_enrichment_stand_beside_every_label(run):
    run_label(rule="composition", strata=None)
    split = read_labels(LABELS).splits["all"]
    # Six of six exemplars, of twelve in sixty sentences.
    plain = scipy.stats.hypergeom(60, 12, 6)
    assert float(split.p_unmatched[0, 2, 2]) == pytest.approx(plain.sf(5))
    # Of one stratum p is the mid-p.
    assert float(split.p[0, 2, 2]) == pytest.approx(plain.sf(5) - plain.pmf(6) / 2)
    for p, q in ((split.p, split.q), (split.p_unmatched, split.q_unmatched)):
        expected = scipy.stats.false_discovery_control(p.ravel())
        np.testing.assert_allclose(q.ravel(), expected)


def test_composed_labels_say_their_neuron_in_both_halves(run):
    table = read_table(COMPOSED, "label")
    assert table.column_names == [
        "end", "split", "layer", "neuron", "formula", "length", "iou",
        "other_iou", "other_single", "other_null",
    ]  # fmt: skip
    rows = table.to_pylist()
    assert [(row["split"], row["layer"], row["neuron"]) for row in rows] == [
        (split, layer, neuron)
        for split in SPLITS
        for layer in range(LAYERS)
        for neuron in range(WIDTH)
    ]
    for row in rows:
        assert (row["other_iou"] is None) == (row["split"] == "all")
        assert row["length"] in (1, 2)
        if row["layer"] == 0 and row["neuron"] < len(TOPICS):
            assert row["formula"] == list(TOPICS)[row["neuron"]]
            # All exemplars are of the topic, and half of its sentences are exemplars.
            assert row["iou"] == pytest.approx(0.5)
            if row["split"] != "all":
                assert row["other_iou"] == row["other_single"] == pytest.approx(0.5)
                assert row["other_null"] < 0.5
    assert table_provenance(table)["params"]["compose"] == 2
    means = read_json(METRICS, "evaluate")["composed"]["highest"]["chosen by calibration"]
    half = [row for row in rows if row["split"] == "calibration"]
    for name, column in (("value", "other_iou"), ("single", "other_single"), ("chosen", "iou")):
        known = [row[column] for row in half if row[column] is not None]
        assert means[name] == pytest.approx(np.mean(known), abs=1e-6)


def test_without_composed_labels_the_table_is_empty(run):
    run_label(compose=0)
    assert len(read_table(COMPOSED, "label")) == 0
    assert run_evaluate()["composed"] == {}
    run_report()


def evidence(run):
    """Each label with whether both halves confirm it and its p, by plain loops over the rows."""
    rows = {
        (row["split"], row["layer"], row["neuron"], row["descriptor"]): row
        for row in read_table(LABELS, "label").to_pylist()
    }
    found = []
    for (split, *pair), row in rows.items():
        if split == "all" and row["assigned"]:
            halves = [rows[half, *pair]["p"] for half in ("calibration", "validation")]
            found.append((max(halves) >= 0.05, row["p"], -row["f"], *pair))
    return sorted(found, key=lambda it: it[:3])


def test_labels_that_both_halves_confirm_come_first_and_then_the_lowest_p(run):
    run_label(threshold=0.1)
    expected = evidence(run)
    found = surest(LABELS).to_pylist()
    assert [(r["layer"], r["neuron"], r["descriptor"]) for r in found] == [
        it[3:] for it in expected
    ]
    assert [row["replicated"] for row in found] == [not it[0] for it in expected]
    assert len({row["replicated"] for row in found}) == 2
    of_arrays = read_labels(LABELS)
    assert of_arrays.replicated.sum() == sum(row["replicated"] for row in found)
    for layer, neuron in {it[3:5] for it in expected}:
        own = [it[5] for it in expected if it[3:5] == (layer, neuron)]
        order = of_arrays.by_evidence()[layer, neuron]
        assert [of_arrays.descriptors[c] for c in order[: len(own)]] == own


def test_the_neurons_of_a_descriptor_come_in_the_order_of_their_evidence(run):
    run_label(threshold=0.1)
    table = read_table(LABELS, "label").to_pylist()
    for split, tagged in read_json(NEURONS, "label")["neurons"].items():
        for descriptor, names in tagged.items():
            p = {
                f"L{row['layer']}:{row['neuron']}": row["p"]
                for row in table
                if (row["split"], row["descriptor"]) == (split, descriptor)
            }
            assert [p[name] for name in names] == sorted(p[name] for name in names)


# evaluate


def test_each_score_stands_beside_its_null(run):
    halves = read_json(METRICS, "evaluate")["halves"]
    assert {"jaccard", "jaccard_by_descriptor", "precision_at_k_1", "recall_at_k_3"} <= set(halves)
    for score in halves.values():
        assert list(score) == [
            "value", "low", "high", "null", "corrected", "p", "deviation", "defined",
        ]  # fmt: skip
        assert score["low"] <= score["value"] <= score["high"]
    assert halves["jaccard"]["value"] > halves["jaccard"]["null"]


def test_the_null_of_a_score_is_the_highest_of_its_nulls(run):
    curves, nulls = read_csv(CURVES), read_csv(NULLS)
    every = ["random sets", "permuted descriptors", "shuffled neurons"]
    assert len(nulls) == len(every) * len(curves)
    for row in curves:
        key = ("against", "score", "at")
        own = [chance for chance in nulls if all(chance[name] == row[name] for name in key)]
        assert [chance["null"] for chance in own] == every
        for name, numbers in (("null", "mean"), ("p", "p")):
            known = [float(chance[numbers]) for chance in own if chance[numbers]]
            assert (row[name] == "") == (not known)
            assert not known or float(row[name]) == max(known)


def test_random_weights_are_one_more_null(run):
    alone = read_csv(NULLS)
    assert "random weights" not in {row["null"] for row in alone}
    run_untrained(seed=1)
    run_evaluate()
    nulls = read_csv(NULLS)
    added = [row for row in nulls if row["null"] == "random weights"]
    assert [row for row in nulls if row["null"] != "random weights"] == alone
    assert len(added) == len(read_csv(CURVES))
    assert {(row["low"], row["high"], row["p"]) for row in added} == {("", "", "")}
    for row in read_csv(CURVES):
        key = ("against", "score", "at")
        own = [n for n in nulls if all(n[name] == row[name] for name in key) and n["mean"]]
        assert row["null"] == max((n["mean"] for n in own), key=float, default="")


def test_where_random_weights_are_not_enabled_the_file_says_so(run):
    with h5py.File(UNTRAINED) as file:
        made = hdf5_provenance(file)
        assert (made["stage"], made["params"]["enabled"], list(file)) == ("untrained", False, [])
    UNTRAINED.unlink()
    with pytest.raises(InputError, match=r"untrained\.h5: no such file: .*stage untrained`"):
        run_evaluate()


def test_the_jaccard_of_the_halves_is_that_of_the_label_table(run):
    labels = read_labels(LABELS)
    one, other = (labels.splits[s].assigned for s in ("calibration", "validation"))
    union = (one | other).sum(axis=2)
    shares = (one & other).sum(axis=2)[union > 0] / union[union > 0]
    found = read_json(METRICS, "evaluate")["halves"]["jaccard"]
    assert found["value"] == pytest.approx(shares.mean(), abs=1e-6)
    assert found["defined"] == len(shares)


def test_without_a_file_of_gold_labels_all_is_as_with_an_empty_one(run):
    GOLD.write_text("")
    empty = run_evaluate()
    GOLD.unlink()
    none = run_evaluate(gold=None)
    assert GOLD.as_posix() not in none.pop("made")["inputs"]
    assert GOLD.as_posix() in empty.pop("made")["inputs"]
    assert none == empty


def test_the_summary_has_plain_numbers_of_the_labels_and_scores(run, ids):
    write_gold(own_topic(ids))
    found = run_evaluate()
    summary = read_yaml(BRIEF)
    assert set(summary) == {
        "labels",
        "labelled_neurons",
        "descriptors",
        "auroc",
        *evaluate_stage.BRIEF,
        *(f"replicated{part}" for part in ("", "_low", "_high", "_base")),
        *(f"supported{part}" for part in ("", "_low", "_high", "_base")),
    }
    assert all(isinstance(value, int | float) for value in summary.values())
    assert next(iter(summary)) == "replicated"
    assert summary["replicated"] == found["headline"]["replicated"]["value"]
    assert summary["supported_base"] == found["headline"]["supported"]["gold"]["base"]
    assert summary["halves_jaccard_corrected"] == found["halves"]["jaccard"]["corrected"]
    assert summary["halves_precision_at_2"] == found["halves"]["precision_at_k_2"]["value"]
    assert summary["gold_recall"] == found["gold"]["recall"]["value"]
    means = found["alignment"]["highest"].values()
    assert summary["auroc"] == pytest.approx(
        np.mean([half["auroc"]["value"] for half in means]), 1e-5
    )
    labels = read_table(LABELS, "label").to_pylist()
    whole = [row for row in labels if row["split"] == "all" and row["assigned"]]
    whole = [row for row in whole if row["end"] == "highest"]
    assert summary["labels"] == len(whole)
    assert summary["labelled_neurons"] == len({(row["layer"], row["neuron"]) for row in whole})
    write_gold({})
    run_evaluate()
    of_gold = {name for name in summary if name.startswith(("gold_", "supported"))}
    assert read_yaml(BRIEF).keys() == summary.keys() - of_gold


def test_without_gold_labels_scores_against_them_are_undefined(run):
    found = read_json(METRICS, "evaluate")
    assert set(found["gold"]) == set(found["annotator"]["gold"]) == {"undefined"}
    assert all(row["against"] == "halves" for row in read_csv(CURVES))
    for row in read_csv(PER_DESCRIPTOR):
        assert row["against"] == "gold"
        assert (row["truth_yes"], row["precision"], row["kappa"], row["auroc"]) == ("0", "", "", "")


def test_curves_have_a_row_per_score_and_threshold_or_k(run):
    rows = read_csv(CURVES)
    at = {row["score"]: [] for row in rows}
    for row in rows:
        at[row["score"]].append(float(row["at"]))
        for name in ("value", "deviation", "null", "corrected"):
            assert row[name] == "" or np.isfinite(float(row[name]))
    by_threshold = ["precision", "recall", "jaccard", "jaccard_by_descriptor"]
    assert at == {name: [0.2, 0.35, 0.5] for name in by_threshold} | {
        "precision_at_k": [1, 2, 3],
        "recall_at_k": [1, 2, 3],
    }


def test_descriptor_shares_of_each_split(run):
    rows = read_csv(PER_DESCRIPTOR)
    assert [row["descriptor"] for row in rows] == list(TOPICS)
    for row in rows:
        shares = [float(row[f"share_{split}"]) for split in SPLITS]
        assert shares == pytest.approx([0.2, 0.2, 0.2])


def test_correlation_has_a_row_per_pair_of_descriptors(run):
    rows = {(row["first"], row["second"]): float(row["pearson"]) for row in read_csv(CORRELATION)}
    assert list(rows) == [(first, second) for first in TOPICS for second in TOPICS]
    # One topic a review, five topics of one size: the correlation of two is -1/4.
    for (first, second), value in rows.items():
        assert value == pytest.approx(1.0 if first == second else -0.25)


def test_a_gold_file_that_is_not_there_is_an_error(run):
    GOLD.unlink()
    with pytest.raises(InputError, match=r"gold\.jsonl: no such file: set evaluate\.gold"):
        run_evaluate()


@pytest.fixture
def ids(run):
    return read_table(CORPUS, "corpus")["id"].to_pylist()


def test_the_annotator_is_scored_as_by_scikit_learn(run, ids):
    gold = own_topic(ids)
    for i in ids[::4]:
        gold[i] = ["price"]  # people disagree; case does not matter
    write_gold(gold | {"another corpus": ["Sound"]})
    found = run_evaluate()["annotator"]["gold"]
    b = read_annotations(ANNOTATIONS).only(list(TOPICS))
    folded = [{name.casefold() for name in gold[i]} for i in ids]
    scores = []
    for c, name in enumerate(b.descriptors):
        truth = [name.casefold() in names for names in folded]
        answer = b.answer[:, c] == 1
        scores.append(
            {
                "precision": sk.precision_score(truth, answer),
                "recall": sk.recall_score(truth, answer),
                "f1": sk.f1_score(truth, answer),
                "kappa": sk.cohen_kappa_score(truth, answer),
                "auroc": sk.roc_auc_score(truth, b.score[:, c]),
            }
        )
    for name in scores[0]:
        assert found[f"mean_{name}"] == pytest.approx(np.mean([s[name] for s in scores]), abs=1e-6)
    truth = np.array([[n.casefold() in names for n in b.descriptors] for names in folded])
    pairs = truth.ravel(), (b.answer == 1).ravel()
    for name in ("precision", "recall", "f1"):
        assert found[name] == pytest.approx(getattr(sk, f"{name}_score")(*pairs), abs=1e-6)
    assert found["kappa"] == pytest.approx(sk.cohen_kappa_score(*pairs), abs=1e-6)
    for name in ("precision", "recall", "kappa"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert (found["descriptors"], found["answers"]) == (5, 300)


def test_gold_equal_to_the_answers_scores_1(run, ids):
    write_gold(own_topic(ids))
    found = run_evaluate()
    assert {found["annotator"]["gold"][name] for name in ("precision", "recall", "kappa")} == {1.0}
    for name in ("precision", "recall", "jaccard"):
        assert found["gold"][name]["value"] == 1.0
    means = {
        row["null"]: float(row["mean"])
        for row in read_csv(NULLS)
        if (row["against"], row["score"], row["at"]) == ("gold", "jaccard", "0.35")
    }
    # The annotator is right about any set of sentences: by that null its labels say nothing.
    assert means["random sets"] == 1.0
    assert max(means["permuted descriptors"], means["shuffled neurons"]) < 1.0


def test_a_descriptor_that_people_never_use_is_not_judged(run, ids):
    gold = {i: [n for n in names if n != "Sound"] for i, names in own_topic(ids).items()}
    write_gold(gold)
    assert run_evaluate()["annotator"]["gold"]["descriptors"] == 4
    (row,) = (row for row in read_csv(PER_DESCRIPTOR) if row["descriptor"] == "Sound")
    assert (row["sentences"], row["kappa"]) == ("0", "")


def test_sentences_that_people_have_not_judged_count_for_nothing(run, ids):
    gold = own_topic(ids)
    write_gold({i: gold[i] for i in ids[::4]})
    found = run_evaluate()
    assert found["annotator"]["gold"]["answers"] == 5 * 15
    # Nothing judged contradicts the annotator; a neuron with no judged exemplar is left out.
    for score in ("precision", "recall", "jaccard", "precision_at_k_1"):
        assert found["gold"][score]["value"] == 1.0
    assert found["gold"]["precision_at_k_1"]["defined"] < LAYERS * WIDTH


@pytest.mark.parametrize(
    "bad",
    [
        "not JSON",
        "[]",
        '{"id": "a"}',
        '{"labels": []}',
        '{"id": "a", "labels": null}',
        '{"id": "a", "labels": [1]}',
        '{"id": "a", "labels": "Sound"}',
        '{"id": 7, "labels": []}',
    ],
)
def test_malformed_gold_names_the_line(run, bad):
    good = '{"id": "b", "labels": ["Sound"]}'
    GOLD.write_text(f"{good}\n{good}\n{bad}\n{good}\n")  # a repeated id is one line more
    with pytest.raises(InputError, match=r'gold\.jsonl: line 3: not \{"id"'):
        run_evaluate()


def test_gold_that_is_not_utf8_is_an_error(run):
    GOLD.write_bytes(b'{"id": "a", "labels": ["caf\xe9"]}\n')
    with pytest.raises(InputError, match=r"gold\.jsonl: not UTF-8 text \(byte 27\)"):
        run_evaluate()


# all of them


def test_run_twice_they_write_the_same_bytes(run):
    def contents():
        return {p: p.read_bytes() for p in RESULTS.rglob("*") if p.is_file()}

    before = contents()
    run_corpus()
    run_exemplars()
    run_label()
    run_evaluate()
    run_report()
    assert contents() == before


def test_results_name_no_place_outside_the_run(run):
    tables = LABELS, COMPOSED, SCORED, CURVES, NULLS, ALIGNMENT
    for path in (METRICS, NEURONS, EXEMPLARS, UNTRAINED, CORPUS, *tables):
        assert str(run.parent).encode() not in path.read_bytes()


# terminal


HARMLESS = HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
HARMLESS_REVIEW = HOSTILE_REVIEW.replace("\x1b", "\N{REPLACEMENT CHARACTER}")


def test_show_prints_the_surest_labels(run, capsys):
    show_table(RESULTS, 5)
    text = printed(capsys)
    assert "of 16 neurons have a label; both halves confirm" in text
    assert "labels; the surest 5" in text
    for i in range(4):
        assert re.search(rf"L0:{i} {list(TOPICS)[i]} 6 1\.\d \S+ \S+ yes", text)
    assert f"L0:4 {HARMLESS} 6 1.2 " in text


def test_show_says_first_how_far_to_believe_the_labels(run, capsys):
    metrics = read_json(METRICS, "evaluate")
    share = {"labels": 12, "value": 0.75, "low": 0.5, "high": 0.9, "base": 0.04, "every": 0.05}
    false = {"labels": 7, "random_sets": None, "random_weights": 3}
    metrics["headline"] = {"replicated": share, "supported": {"gold": share}, "false_labels": false}
    owed = {"neurons": 9, "descriptors": 4, "annotator": 9, "truth": 8, "both": 7}
    owed |= {"errs_by_lot": 1.5}
    metrics |= {"shared_errors": {"gold": owed}, "warnings": ["they share a model"]}
    write_json(METRICS, metrics)
    show_table(RESULTS, 1)
    text = printed(capsys)
    score = "0.750 0.500 to 0.900 0.040 12 labels"
    parts = (
        f"replicated: the other half confirms them {score} of the halves",
        f"supported: gold labels confirm them {score}",
        "random sets of the same strata: mean of",
        "3 a copy with random weights",
        "labels of 4 descriptors (gold labels: 8) 9 1.5 an annotator as good that errs by lot",
        "the two halves' labels: Jaccard",
        "warning: they share a model",
        "the surest 1",
    )
    places = [text.find(part) for part in parts]
    assert -1 not in places and places == sorted(places)


def test_show_prints_a_neuron_and_its_exemplars(run, capsys):
    show_neuron(RESULTS, "L0:2", 3)
    text = printed(capsys)
    assert re.search(r"Sound all 6 1\.\d 1\.000 5\.0 \S+ \S+ \S+ label Sound calibration 3", text)
    assert "label, confirmed" in text
    assert "3 of 6 exemplars" in text
    assert "Quality" not in text  # dropped


def test_show_prints_a_neuron_without_label(run, capsys):
    run_label(threshold=0.99)
    show_neuron(RESULTS, "L1:0", 1)
    assert " no label " in printed(capsys)


def test_hostile_texts_are_shown_as_text_in_the_terminal(run, capsys):
    show_neuron(RESULTS, "L0:4", 1)
    text = printed(capsys)
    assert HARMLESS in text
    assert HARMLESS_REVIEW[:60] in text
