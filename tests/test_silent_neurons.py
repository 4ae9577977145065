"""Neurons that never change, fire on too few sentences or treat many alike: no set, no label.

A miniature run in which some neurons of the second layer are replaced by such neurons.
"""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import (
    ACTIVATIONS,
    ANNOTATIONS,
    BROAD,
    CACHE,
    COMPOSED,
    CORPUS,
    EXEMPLARS,
    GOLD,
    LABELS,
    LAYERS,
    NEURONS,
    RESULTS,
    SCORED,
    SITE,
    TOPICS,
    WIDTH,
    Toy,
    activations_of,
    answers_changed,
    build,
    lines_of,
    log_probabilities,
    made_in,
    own_topic,
    packs_of,
    printed,
    run_annotate,
    run_evaluate,
    run_exemplars,
    run_label,
    run_report,
    run_score,
    run_untrained,
    topics_of,
    write_activations,
    write_gold,
)

from descry.activations.exemplar_files import read_exemplars, read_neuron_exemplars, read_silent
from descry.activations.top_k import (
    ENDS,
    FEW,
    HIGHEST,
    LOWEST,
    NEVER,
    SHARED,
    TIED,
    exemplar_sets,
    never_changes,
)
from descry.annotators.annotations import read_annotations
from descry.cli.console.neuron import show_neuron
from descry.cli.console.overview import show_table
from descry.corpus.splits import SPLITS
from descry.errors import InputError
from descry.io.hdf5 import writing_hdf5
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.labels.results import read_labels
from descry.provenance.audit.chain import audit
from descry.provenance.audit.project import Project
from descry.provenance.audit.tree import tree

CONSTANT, STILL, SPIKE, FEW_FIRE, SATURATED, LEVELS, SMALLER = range(7)  # neurons of layer 1
WORDS = {
    CONSTANT: "never changes",
    STILL: "never changes",
    SPIKE: "fires on 1 sentence",
    FEW_FIRE: "fires on 2 sentences",
    SATURATED: "its highest activation is shared by 30 sentences",
    LEVELS: "too many sentences have the same activation",
}
SIZE, SMALL = 6, 4  # of a set in the whole corpus, and of the neuron's that fires on so few


def silenced(data, topic):
    """The activations, with such neurons in the second layer."""
    rows = len(data)
    layer = data[:, 1]
    layer[:, CONSTANT] = 0.25
    layer[:, STILL] = np.float32(0.1) * (1 + np.arange(rows) % 3 * np.float32(1e-7))
    layer[:, SPIKE : SMALLER + 1] = 0
    layer[17, SPIKE] = 3
    layer[[5, 40], FEW_FIRE] = [1, 2]
    layer[::2, SATURATED] = 1
    layer[[3, 4], LEVELS] = 9
    layer[10:50, LEVELS] = 5
    layer[np.flatnonzero(topic == 1)[:SMALL], SMALLER] = [4, 3, 2, 1]
    return data


def by_length(prompt):
    return log_probabilities(len(prompt.sentence) % 2 == 0)


def make():
    build(lowest=True)
    table = read_table(CORPUS, "corpus")
    topic = topics_of(table)
    data = activations_of(table, np.random.default_rng(0), lowest=True)
    write_activations(table, silenced(data, topic))
    write_gold(own_topic(table["id"].to_pylist()))
    run_exemplars(lowest=True)
    run_untrained(seed=1, lowest=True)
    run_label()
    run_evaluate()
    run_score(Toy(by_length), scorers=["detection"])
    run_report()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_in(tmp_path_factory.mktemp("silent"), make)


@pytest.fixture
def run(made, monkeypatch):
    """The run, which no test changes."""
    monkeypatch.chdir(made)


# Sets


def oracle(column, places, min_size):
    """The members of a set, by its definition."""
    order = sorted(range(len(column)), key=lambda row: (-column[row], row))
    chosen, others = order[:places], order[places:]
    outside = {column[row] for row in others}
    if not others:  # all are in: those at the floor are so because there is room
        floor = min(column)
        outside = {floor} if column.count(floor) > 1 else set()
    found = [row for row in chosen if column[row] not in outside]
    return found if len(found) >= min_size else []


FLOATS = st.sampled_from([0.0, -0.0, 1.0, 2.0]) | st.floats(-9, 9, width=16)


@given(st.lists(FLOATS, min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 5))
def test_a_set_holds_no_sentence_that_one_outside_is_equal_to(column, places, min_size):
    order = np.array(sorted(range(len(column)), key=lambda row: (-column[row], row)), np.int32)
    known = order[None, : places + 1]
    values = np.array(column, dtype=np.float32)[known]
    changes = np.array([False])
    rows, kept = exemplar_sets(known, values, changes, places, min_size)
    members = rows[rows >= 0].tolist()
    assert members == oracle(column, places, min_size)
    assert kept[0, : len(members)].tolist() == [column[row] for row in members]
    assert np.isnan(kept[0, len(members) :]).all()


@given(st.lists(FLOATS, min_size=2, max_size=30), st.randoms())
def test_no_set_depends_on_the_order_of_the_sentences(column, random):
    shuffled = random.sample(range(len(column)), len(column))
    there = {shuffled[row] for row in oracle([column[row] for row in shuffled], 5, 1)}
    assert there == set(oracle(column, 5, 1))


@pytest.mark.parametrize(
    ("lowest", "highest", "never"),
    [(0, 0, True), (-2, -2, True), (0.1, 0.1 + 1e-8, True), (0, 1e-30, False), (1, 1.001, False)],
)
def test_a_neuron_never_changes_if_only_last_digits_do(lowest, highest, never):
    values = np.array([[lowest], [highest]], dtype=np.float32)
    assert never_changes(*values).tolist() == [never]


def test_sets_in_every_split_and_end_are_those_of_the_definition(run):
    with h5py.File(ACTIVATIONS) as file:
        data = file["activations"][:]
    table = read_table(CORPUS, "corpus")
    halves = np.array(table["split"].to_pylist())
    for split, end in ((split, end) for split in SPLITS for end in ENDS):
        rows = np.flatnonzero((halves == split) | (split == "all"))
        sets = read_exemplars(EXEMPLARS, split, end)
        for neuron in range(SPIKE, WIDTH):
            column = data[rows, 1, neuron] * (1 if end == HIGHEST else -1)
            expected = rows[oracle(column.tolist(), sets.shape[2], 3)].tolist()
            found = sets[1, neuron]
            assert found[: len(expected)].tolist() == expected
            assert (found[len(expected) :] == -1).all()
        assert (sets[1, [CONSTANT, STILL]] == -1).all()
        assert (sets[0] >= 0).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_why_there_is_no_set_is_said_in_words_and_counted(run, dtype):
    words = read_silent(EXEMPLARS).words
    assert words == {WIDTH + neuron: why for neuron, why in WORDS.items()}
    assert read_silent(EXEMPLARS).counts == {NEVER: 2, FEW: 2, SHARED: 1, TIED: 1}
    lowest = read_silent(EXEMPLARS, LOWEST)
    assert lowest.words[WIDTH + SPIKE] == "its lowest activation is shared by 59 sentences"
    assert lowest.counts == {NEVER: 2, SHARED: 5}


def test_a_smaller_set_is_made_of_the_sentences_above_the_floor(run):
    found = read_neuron_exemplars(EXEMPLARS, 1, SMALLER, ENDS)
    assert found.sets[HIGHEST][1].tolist() == [4, 3, 2, 1]
    assert len(found.sets[LOWEST][0]) == 0
    assert list(found.silent) == [LOWEST]


def test_what_exemplars_says_counts_them(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for path in (CORPUS, ACTIVATIONS):
        path.write_bytes((made / path).read_bytes())
    counts = run_exemplars()
    assert {name: counts[name] for name in (NEVER, FEW, SHARED, TIED, "smaller sets")} == {
        NEVER: 2, FEW: 2, SHARED: 1, TIED: 1, "smaller sets": 1,
    }  # fmt: skip
    with h5py.File(ACTIVATIONS, "r+") as file:
        values = file["activations"][:].astype(np.float16)
        del file["activations"]
        file.create_dataset("activations", data=values, chunks=(len(values), 1, WIDTH))
    assert run_exemplars()[NEVER] == 2


def test_an_exemplars_file_of_before_is_not_taken_for_one_without_silent_neurons(run, tmp_path):
    path = tmp_path / "old.h5"
    with writing_hdf5(path, {"stage": "exemplars"}) as file:
        file["layer"] = [0]
        file["all/row"] = np.zeros((1, 2, 3), dtype=np.int32)
        file["distribution/lowest"] = np.zeros((1, 2))
    with pytest.raises(InputError, match=r"old\.h5: .*run `descry stage exemplars` again"):
        read_silent(path)


# Labels


def test_a_neuron_without_a_set_has_no_label_and_no_numbers(run):
    for split, found in read_labels(LABELS).splits.items():
        silent = (read_exemplars(EXEMPLARS, split) < 0).all(axis=2)
        assert silent[1, [*WORDS]].all()
        for name in ("f", "lift", "p", "q"):
            assert np.isnan(getattr(found, name)[silent]).all()
        assert not found.count[silent].any()
        assert not found.assigned[silent].any()
        assert not np.isnan(found.p[~silent]).any()
    composed = read_table(COMPOSED, "label").to_pylist()
    whole = {r["neuron"]: r for r in composed if (r["split"], r["layer"]) == ("all", 1)}
    assert all(whole[neuron]["formula"] is None for neuron in WORDS)


def test_a_smaller_set_is_labelled_by_its_own_size(run):
    labels = read_labels(LABELS)
    column = labels.descriptors.index(list(TOPICS)[1])
    whole = labels.splits["all"]
    assert whole.count[1, SMALLER, column] == SMALL
    assert (whole.f[1, SMALLER, column], bool(whole.assigned[1, SMALLER, column])) == (1.0, True)
    same = (slice(None), slice(None), column)
    assert whole.p[1, SMALLER, column] > whole.p[same][0, 1]  # 4 of 4 is less sure than 6 of 6


def test_label_counts_them(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    names = ("LABELS", "COMPOSED", "NEURONS")
    for name, path in zip(names, (LABELS, COMPOSED, NEURONS), strict=True):
        monkeypatch.setattr(f"planted.{name}", tmp_path / path.name)
    counts = run_label()
    assert counts["neurons"] == LAYERS * WIDTH - len(WORDS)
    assert {name: counts[name] for name in (NEVER, FEW, SHARED, TIED)} == {
        NEVER: 2, FEW: 2, SHARED: 1, TIED: 1,
    }  # fmt: skip


def test_no_label_has_a_lift_of_one_or_less(run):
    for end in ENDS:
        for found in read_labels(LABELS, end).splits.values():
            assert found.assigned.any()
            assert (found.lift[found.assigned] > 1).all()


def test_an_extreme_annotator_leaves_nothing_to_tell_neurons_apart(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    sheet = tmp_path / "b.h5"
    sheet.write_bytes(ANNOTATIONS.read_bytes())
    for name, path in {"ANNOTATIONS": sheet, "LABELS": tmp_path / "labels.parquet"}.items():
        monkeypatch.setattr(f"planted.{name}", path)
    with answers_changed(sheet) as answer:
        answer[:] = 1
    with pytest.raises(InputError, match=r"no descriptor tells neurons apart: .*Quality 100%"):
        run_label(threshold=0.12)
    with answers_changed(sheet) as answer:
        answer[:] = np.random.default_rng(0).random(answer.shape) < 1 / 3
    with pytest.raises(InputError, match=r"no descriptor tells .* says Yes to: .*Battery 33%"):
        run_label(threshold=0.02, broad=0.5)


# What comes after


def test_metrics_count_them_and_scores_are_of_the_others(run):
    metrics = read_json(RESULTS / "metrics.json", "evaluate")
    assert metrics["without_exemplars"][HIGHEST] == {NEVER: 2, FEW: 2, SHARED: 1, TIED: 1}
    assert metrics["halves"]["jaccard"]["value"] > 0.3
    assert metrics["gold"]["precision_at_k_1"]["value"] > 0.3
    scored = read_table(SCORED, "evaluate").to_pylist()
    assert not {(1, neuron) for neuron in WORDS} & {(r["layer"], r["neuron"]) for r in scored}
    assert not [row for row in scored if row["lift"] <= 1]
    assert GOLD.read_text()


def test_show_says_why_there_is_none(run, capsys):
    show_neuron(RESULTS, "L1:0", 3)
    said = printed(capsys)
    assert "L1:0: no exemplars, no label: never changes" in said
    assert "skewness undefined" in said
    assert "nan" not in said
    show_neuron(RESULTS, "L1:2", 3)
    assert "fires on 1 sentence" in printed(capsys)
    show_table(RESULTS, 3)
    assert f"neurons without exemplars: 2 {NEVER}, 2 {FEW}" in printed(capsys)
    show_neuron(RESULTS, f"L1:{SMALLER}", 9)
    assert f"{SMALL} of {SMALL} exemplars" in printed(capsys)


def test_audit_says_why_there_is_none(made, run):
    for neuron, why in WORDS.items():
        found = audit(Project(made / RESULTS, made / CACHE), f"L1:{neuron}", 5, 2)
        assert (found.labels, found.silent[HIGHEST]) == ([], why)
        assert any(line == f"no exemplars, no label: {why}" for line in lines_of(tree(found)))
        json.dumps(found.spread, allow_nan=False)


def test_the_explorer_says_why_there_is_none(made):
    packs = packs_of(made / SITE)
    (neurons,) = (value for name, value in packs.items() if name.startswith("neurons-"))
    for neuron, why in WORDS.items():
        found = neurons[WIDTH + neuron]
        assert found["ends"][HIGHEST]["silent"] == why
        assert (found["ends"][HIGHEST]["size"], found["similar"]) == (0, [])
        assert found["sets"]["calibration"] == found["sets"]["validation"] == []
    assert neurons[0]["ends"][HIGHEST]["silent"] is None
    assert neurons[WIDTH + SMALLER]["ends"][HIGHEST]["size"] == SMALL
    assert packs["run"]["metrics"]["without_exemplars"][HIGHEST][NEVER] == 2
    (sentences,) = (value for name, value in packs.items() if name.startswith("sentences-"))
    excited = {n for sentence in sentences for n, *_ in sentence["neurons"]}
    assert not excited & {WIDTH + neuron for neuron in WORDS}
    assert sum(sentence["excites"] for sentence in sentences) == 9 * SIZE + SMALL


def test_exemplars_of_silent_neurons_are_not_asked_about(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    output = tmp_path / "b.h5"
    names = [f"L1:{neuron}" for neuron in WORDS]
    run_annotate(Toy(), output=output, scope="exemplars", neurons=names, sample=2)
    assert read_annotations(output).asked.sum() < 2 + 7 * 2 * 3 + 1  # of halves and the other end
    assert BROAD in read_annotations(output).descriptors
