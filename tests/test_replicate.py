"""One model over two corpora: exactly known labels hold, and nothing holds by more than chance."""

import json
from functools import partial

import numpy as np
import planted
import pytest
from planted import HOSTILE, TOPICS, WIDTH, printed
from scipy.stats import binom
from test_explorer import CHROMIUM, playwright, visiting
from two_runs import copy_of, record, run_in
from typer.testing import CliRunner

import descry
from descry.cli.app import app
from descry.cli.errors import told
from descry.errors import InputError
from descry.two_corpora.contents import contents, write
from descry.two_corpora.held import held, of_others, paired
from descry.two_corpora.replicate import (
    HALF_OF_OTHER,
    HALVES_OF_FIRST,
    NO_DESCRIPTOR,
    NO_LAYER,
    NOT_ASKED,
    OTHER,
    RANDOM_WEIGHTS,
    TABLES,
)

BATTERY, DELIVERY = "Battery", "Delivery"
OPENINGS = [
    "In the second summer of the camper van the {} turned into a matter that",
    "Ask anyone on our street about this {} and you will soon hear that",
    "The leaflet promised a great deal about the {} and I must admit that",
    "While my sister packed the boxes we spoke about the {} and agreed that",
    "On the whole trip along the coast the {} never gave us a reason why",
    "What surprised me after so many years is how much of the {} is because",
    "As a nurse on night shifts I look at the {} differently and so",
    "Between two cups of tea we looked into the {} once more and found",
    "The seller answered my letter about the {} within a day and wrote that",
    "Since the holidays I have kept a list of notes on the {} where",
    "Three weeks into the new job I finally understood the {} of this and",
    "It took me one long evening with a lamp to see the {} as something",
]


def other_run(folder, monkeypatch, changed=lambda data: data, dropped=None, **how):
    """The same model over other reviews, without a descriptor if one is dropped."""
    with monkeypatch.context() as patch:
        patch.setattr(planted, "OPENINGS", OPENINGS)
        patch.setattr(planted, "run_exemplars", large_sets)
        patch.setattr(planted, "HOSTILE_REVIEW", planted.HOSTILE_REVIEW.replace("Sour", "Salty"))

        def before():
            if dropped is not None:
                rename(planted.ANNOTATIONS, dropped)

        return run_in(folder, changed, before=before, **how)


large_sets = partial(planted.run_exemplars, top_percent=20.0)  # halves have labels, too


def rename(path, name):
    """A descriptor of annotations.h5 by another name."""
    import h5py

    with h5py.File(path, "r+") as file:
        names = [one.decode() for one in file["descriptor"][:]]
        names[names.index(name)] = "Something else"
        del file["descriptor"]
        file.create_dataset("descriptor", data=names, dtype=h5py.string_dtype())


def exchanged(data):
    """The first neuron and the last, which is noise, in each other's place."""
    found = data.copy()
    found[:, 0, [0, WIDTH - 1]] = data[:, 0, [WIDTH - 1, 0]]
    return found


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planted, "run_exemplars", large_sets)
        folder = tmp_path_factory.mktemp("replicate") / "first"
        return run_in(folder, rule="enrichment", fdr=0.01)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("replicate") / "other"
        return other_run(folder, patch, exchanged, dropped=DELIVERY)


@pytest.fixture(scope="module")
def found(first, other):
    return descry.replicate(first, other, draws=200)


def test_exactly_the_planted_labels_hold(found):
    rows = {
        (row["layer"], row["neuron"], row["descriptor"]): row for row in found.labels.to_pylist()
    }
    planted_labels = {(0, t, topic) for t, topic in enumerate(TOPICS)}
    assert planted_labels <= rows.keys()
    holding = {key for key, row in rows.items() if row["holds"]}
    assert holding == {(0, t, name) for t, name in enumerate(TOPICS) if t and name != DELIVERY}
    gone = rows[0, 0, next(iter(TOPICS))]
    assert gone["holds"] is False and gone["other_p"] > 0.05 and gone["untested"] is None
    assert gone["other_count"] < gone["count"] and gone["other_lift"] < gone["lift"]
    assert rows[0, list(TOPICS).index(DELIVERY), DELIVERY]["untested"] == NO_DESCRIPTOR
    assert found.untested == {NO_DESCRIPTOR: 1}
    kept = rows[0, 1, BATTERY]
    assert (kept["sign"], kept["replicated"]) == (1, True)
    assert kept["other_chance"] <= 2 / (WIDTH - 1)  # of the other neurons, noise or of other topics
    assert kept["other_count"] == kept["count"] == 12  # 20% of 60, all of its topic


def test_the_shares_and_what_stands_beside_them(found):
    s, shares = found.summary, {row["test"]: row for row in found.shares.to_pylist()}
    assert s["labels"] == s["labels_tested"] + 1 and s["held"] == 3
    assert shares[OTHER]["value"] == s["value"] == 3 / s["labels_tested"]
    assert shares[OTHER]["low"] < s["value"] < shares[OTHER]["high"]
    assert shares[HALVES_OF_FIRST]["labels"] == shares[HALF_OF_OTHER]["labels"] > 0
    assert shares[HALVES_OF_FIRST]["value"] == 1 > shares[HALF_OF_OTHER]["value"]
    assert s["beyond"] == pytest.approx(1 - shares[HALF_OF_OTHER]["value"])
    assert s["beyond_low"] <= s["beyond"] <= s["beyond_high"]
    assert RANDOM_WEIGHTS not in shares
    assert found.warnings == []
    layers = found.layers.to_pylist()
    assert [row["layer"] for row in layers] == [0, 1]
    assert sum(row["labels"] for row in layers) == s["labels"]
    by_name = {row["descriptor"]: row for row in found.descriptors.to_pylist()}
    assert (by_name[BATTERY]["labels"], by_name[BATTERY]["held"]) == (1, 1)
    assert (by_name[DELIVERY]["labels"], by_name[DELIVERY]["untested"]) == (1, 1)


def test_the_test_is_that_of_the_other_corpus_own_labels(found, other):
    """Where nothing is left out p is what stage label has of the other run."""
    own = {
        (row["layer"], row["neuron"], row["descriptor"]): row["p"]
        for row in descry.open(other).read("labels.parquet").to_pylist()
        if row["split"] == "all"
    }
    tested = [row for row in found.labels.to_pylist() if row["untested"] is None]
    assert len(tested) > 2
    for row in tested:
        p = own[row["layer"], row["neuron"], row["descriptor"]]
        assert row["other_p"] == pytest.approx(p, rel=1e-12)


def test_a_copy_with_random_weights_stands_beside(first, other, tmp_path):
    whole = copy_of(other, tmp_path / "whole")

    planted.made_in(whole.parent, lambda: planted.run_untrained(seed=3))
    shares = {row["test"]: row for row in descry.replicate(first, whole).shares.to_pylist()}
    assert shares[RANDOM_WEIGHTS]["labels"] == shares[OTHER]["labels"]
    assert shares[RANDOM_WEIGHTS]["value"] < 0.5


def test_sentences_that_the_first_corpus_has_too_are_left_out(first, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(planted, "OPENINGS", planted.OPENINGS[:6] + OPENINGS[6:])
        patch.setattr(planted, "run_exemplars", large_sets)
        other = run_in(tmp_path / "mixed")
    found = descry.replicate(first, other)
    (warning,) = found.warnings
    assert "30 of the 60 sentences there are in the first corpus" in warning
    kept = {row["neuron"]: row for row in found.labels.to_pylist() if row["layer"] == 0}
    assert all(row["other_count"] <= 12 for row in kept.values())
    # Of its exemplars those are counted that the first corpus does not have.
    run, again = descry.open(other), {*descry.open(first).corpus["id"].to_pylist()}
    for t, topic in enumerate(TOPICS):
        rows = run.neuron(f"L0:{t}").exemplars.select(["id", "descriptors"]).to_pylist()
        new = [row for row in rows if row["id"] not in again and topic in row["descriptors"]]
        assert kept[t]["other_count"] == len(new)


def test_layers_and_neurons_that_are_not_there_are_counted(first, tmp_path, monkeypatch):
    other = other_run(tmp_path / "one", monkeypatch, lambda data: data[:, 1:], layers=(1,))
    found = descry.replicate(first, other)
    of_first = sum(row["layer"] == 0 for row in found.labels.to_pylist())
    assert found.untested[NO_LAYER] == of_first >= len(TOPICS)


def test_neurons_whose_exemplars_were_not_asked_about_are_counted(first, other, tmp_path):
    import h5py

    some = copy_of(other, tmp_path / "some")
    with h5py.File(some / "annotations.h5", "r+") as file:
        asked = np.ones(60, dtype=bool)
        asked[:30] = False
        file["asked"][:] = (
            asked if file["asked"].dtype == bool else asked.astype(file["asked"].dtype)
        )
    found = descry.replicate(first, descry.open(some, check=False))
    assert found.untested[NOT_ASKED] > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": "9" * 64}, "of another model"),
        ({"site": "ffn_hidden"}, "of other neurons"),
        ({"untrained": 0}, "of another model"),
    ],
)
def test_what_cannot_be_compared_is_one_line(first, other, tmp_path, change, says):
    spoilt = copy_of(other, tmp_path / "spoilt")
    record(spoilt / "activations.h5", **change)
    with pytest.raises(InputError, match=says):
        descry.replicate(first, descry.open(spoilt, check=False))


def test_the_same_corpus_another_end_and_no_common_descriptor_are_refused(first, other, tmp_path):
    with pytest.raises(InputError, match="made of the same corpus"):
        descry.replicate(first, copy_of(first, tmp_path / "same"))
    with pytest.raises(InputError, match="no sets of the lowest"):
        descry.replicate(first, other, end="lowest")
    with pytest.raises(InputError, match="end: 'top'"):
        descry.replicate(first, other, end="top")
    none = copy_of(other, tmp_path / "none")
    for name in planted.NAMES:
        if name != DELIVERY:
            rename(none / "annotations.h5", name)
    with pytest.raises(InputError, match="has none of the 6 descriptors"):
        descry.replicate(first, descry.open(none, check=False))
    gone = copy_of(other, tmp_path / "gone")
    (gone / "activations.h5").unlink()
    with pytest.raises(InputError, match=r"activations\.h5"):
        descry.replicate(first, gone)


def test_another_unit_is_refused(first, other, tmp_path):
    positions = copy_of(other, tmp_path / "positions")
    (positions / "positions.parquet").write_bytes((positions / "corpus.parquet").read_bytes())
    inputs = descry.open(other).provenance("exemplars.h5")["inputs"]
    record(positions / "exemplars.h5", inputs=inputs | {"results/positions.parquet": "0" * 64})
    with pytest.raises(InputError, match=r"its labels are of positions, .* of corpus"):
        descry.replicate(first, descry.open(positions, check=False))


def test_other_parameters_and_annotators_are_named(first, other, tmp_path):
    changed = copy_of(other, tmp_path / "changed")
    record(changed / "activations.h5", params__dtype="bfloat16")
    found = descry.replicate(first, descry.open(changed, check=False))
    (warning,) = found.warnings
    assert "differ in more than the corpus: activations.dtype" in warning


def test_in_the_terminal_and_as_json(first, other, capsys, monkeypatch):
    done = CliRunner().invoke(app, ["replicate", str(other), "--results", str(first), "--json"])
    value = json.loads(done.stdout)
    assert value["summary"]["held"] == 3 and value["untested"] == {NO_DESCRIPTOR: 1}
    assert {row["test"] for row in value["shares"]} == {OTHER, HALVES_OF_FIRST, HALF_OF_OTHER}
    CliRunner().invoke(app, ["replicate", str(other), "--results", str(first)])
    from descry.cli.console.replicate import show_replication

    show_replication(descry.replicate(first, other), 3)
    out = printed(capsys)
    assert "not tested: 1, the other run has no such descriptor" in out
    assert "labels of a half, in the other half" in out and "L0:0 Price" in out
    failed = CliRunner().invoke(app, ["replicate", str(first), "--results", str(first)])
    line, status = told(failed.exception)
    assert status == 2 and "\n" not in line and "same corpus" in line


def test_a_hostile_descriptor_steers_no_terminal(first, tmp_path, monkeypatch, capsys):
    other = other_run(tmp_path / "quiet", monkeypatch, lambda data: np.roll(data, 1, axis=2))
    from descry.cli.console.replicate import show_replication

    show_replication(descry.replicate(first, other), 20)
    assert HOSTILE not in capsys.readouterr().out


# The page


def test_a_folder_has_the_page_and_the_tables(found, tmp_path):
    write(found, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {f"{name}.csv" for name in ("summary", *TABLES)}
    assert names == tables | {"index.html", "replication.json"}
    assert len(planted.read_csv(tmp_path / "out/labels.csv")) == found.labels.num_rows
    page = (tmp_path / "out/index.html").read_bytes()
    assert str(found.pair.first.results).encode() not in page
    write(found, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == page


def test_the_page_has_exemplars_of_both_corpora_of_labels_that_do_not_hold_first(found):
    value = contents(found)
    assert not {"first", "other"} & set(value)
    assert next(iter(value["exemplars"])) == "L0:0"
    (number, here), (_, there) = value["exemplars"]["L0:0"]
    assert number == 12 and len(here) == len(there) == 5
    (price, said), (_, otherwise) = (
        value["sentences"][side][str(row)][1:] for side, row in ((0, here[0][0]), (1, there[0][0]))
    )
    assert "price" in price and value["names_of"][0][said[-1]] == next(iter(TOPICS))
    assert [value["names_of"][1][column] for column in otherwise] != [next(iter(TOPICS))]


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_the_page_says_which_labels_hold_and_strangers_texts_are_text(found, tmp_path):
    page = tmp_path / "page.html"
    write(found, page)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with visiting(browser, tmp_path.as_uri()) as visitor:
            shown = visitor.tab
            shown.goto(page.as_uri())
            visitor.wait("")
            text = visitor.text()
            for words in ("60 sentences", "Other neurons", "not tested: the other run has no such"):
                assert words in text
            assert "NaN" not in text and "undefined" not in text
            assert shown.locator(".gauge").count() == 3
            rows = shown.locator("section[aria-labelledby=labels] tbody tr")
            shown.select_option("select[name=kind]", "fails")
            (line,) = [words for words in rows.all_inner_texts() if "L0:0\tPrice" in words]
            assert "does not hold" in line
            shown.fill("input[name=q]", "nothing of the kind")
            assert rows.all_inner_texts() == ["Nothing here."]
            shown.goto(f"{page.as_uri()}#L0:{len(TOPICS) - 1}")
            visitor.wait(f"#L0:{len(TOPICS) - 1}")
            assert "Exemplars in the other corpus: 12, 5 shown" in shown.inner_text("#details")
            assert shown.locator("#details tbody th").all_text_contents() == [HOSTILE]
            assert shown.locator("main script, main img, main image").count() == 0
        assert visitor.complaints == [] and visitor.outside() == []
        browser.close()


# The share under the null


def test_by_chance_a_share_of_alpha_holds():
    """Neurons that have nothing to do with their labels on the other corpus: p is uniform."""
    from descry.annotators.bitset import Answers
    from descry.labels.assignment import SetCounter
    from descry.labels.matched import matched_enrichment
    from descry.labels.strata import Strata

    rng = np.random.default_rng(0)
    hits = labels = 0
    chances = []
    for _ in range(20):
        length = rng.integers(0, 5, 600)
        answers = (rng.random((600, 12)) < 0.1 + 0.06 * length[:, None]).astype(np.int8)
        score = length[None] + rng.normal(size=(80, 600))
        sets = np.argsort(-score, axis=1)[:, :40]  # neurons follow length, and so do answers
        strata = Strata(length.astype(np.int32), tuple(map(str, range(5))))
        every = np.ones(600, dtype=bool)
        test = matched_enrichment(SetCounter(Answers.of(answers), every), [sets], strata, every)
        assigned = rng.random((1, 80, 12)) < 0.1
        found = held(assigned, test.p[None], np.zeros_like(test.p)[None], 2)
        hits, labels = hits + found.held, labels + found.labels
        chances.append(found.chance)
    assert binom.cdf(hits, labels, 0.05) > 0.001 and binom.sf(hits, labels, 0.05) > 0.001
    assert np.mean(chances) == pytest.approx(0.05, abs=0.01)


def test_chance_is_that_of_the_other_neurons_of_the_layer_alone():
    p = np.array([[[0.01], [0.9], [0.01], [np.nan], [0.9], [0.9]]])
    found = of_others(p, 2)
    assert found[0, :, 0].tolist() == [0.5, 1.0, 0.5, 0.0, 0.0, 0.0]
    assigned = np.array([[[True], [True], [False], [True], [False], [True]]])
    row = held(assigned, p, np.where(np.isnan(p), np.nan, 0.5 - p), 2)
    assert (row.labels, row.held, row.value) == (3, 1, pytest.approx(1 / 3))
    assert row.chance == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert row.more == pytest.approx(1 / 3)
    none = held(np.zeros_like(assigned), p, p, 2)
    assert none.labels == 0 and np.isnan([none.value, none.chance, none.more]).all()


def test_the_mean_over_exchanges_of_neurons_is_what_permuting_them_gives():
    rng = np.random.default_rng(1)
    p, assigned = rng.random((1, 12, 4)) ** 2, rng.random((1, 12, 4)) < 0.4
    found = held(assigned, p, p, 3)
    drawn = []
    for _ in range(4000):
        order = np.concatenate([4 * layer + rng.permutation(4) for layer in range(3)])
        moved = np.broadcast_to((order != np.arange(12))[None, :, None], assigned.shape)
        drawn.append([(p[:, order] < 0.05)[assigned & moved].sum(), (assigned & moved).sum()])
    hits, number = np.sum(drawn, axis=0)
    assert found.chance == pytest.approx(hits / number, abs=0.01)


def test_pairs_are_of_labels_that_both_tests_know():
    p = np.array([[[0.01, 0.9], [0.01, np.nan]]])
    other = np.array([[[0.9, np.nan], [0.01, 0.01]]])
    assert paired(np.ones_like(p, dtype=bool), p, other).tolist() == [[1, 0, 1], [1, 1, 1]]
