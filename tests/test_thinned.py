"""Stage evaluate on a part of the sentences: the part's files, and what they give."""

import json

import h5py
import numpy as np
import pytest
from planted import (
    ACTIVATIONS,
    ANNOTATIONS,
    CORPUS,
    CURVES,
    EXEMPLARS,
    JUDGEMENTS,
    METRICS,
    SCORED,
    UNTRAINED,
    run_evaluate,
)

from descry.activations.exemplar_files import has_exemplars, read_exemplars, read_tokens
from descry.activations.store import DATA, read_block
from descry.annotators.annotations import read_annotations, read_judgements
from descry.corpus.splits import SPLITS
from descry.evaluation import thinned as module
from descry.evaluation.thinned import Files, ThinnedMatrix, drawn, thinned
from descry.io.parquet import read_table

WHOLE = Files(CORPUS, EXEMPLARS, UNTRAINED, ANNOTATIONS, JUDGEMENTS)
MOST = 40  # of 60 sentences


@pytest.fixture
def part(run):
    with thinned(WHOLE, MOST, 0, frozenset()) as found:
        yield found


def test_sentences_are_drawn_by_seed_and_those_named_are_among_them(run, monkeypatch):
    ids = read_table(CORPUS, "corpus")["id"].to_pylist()
    named = frozenset([ids[0], ids[7]])
    rows = drawn(CORPUS, MOST, 0, named)
    assert len({*rows.tolist()}) == MOST
    assert {0, 7} <= {*rows.tolist()}
    assert (np.diff(rows) > 0).all()
    assert {*drawn(CORPUS, 10, 0, named).tolist()} < {*rows.tolist()}
    assert drawn(CORPUS, MOST, 1, named).tolist() != rows.tolist()
    monkeypatch.setattr(module, "ROW_GROUP", 7)
    np.testing.assert_array_equal(drawn(CORPUS, MOST, 0, named), rows)


def test_no_more_sentences_than_asked_for_are_all(run):
    for most in (60, 61, None):
        with thinned(WHOLE, most, 0, frozenset()) as found:
            assert found is WHOLE


def test_the_corpus_of_a_part_has_its_rows(part, monkeypatch):
    whole = read_table(CORPUS, "corpus")
    assert read_table(part.corpus, "corpus").equals(whole.take(part.rows), check_metadata=True)


def test_the_answers_of_a_part_are_those_about_its_sentences(part):
    whole, some = read_annotations(ANNOTATIONS), read_annotations(part.annotations)
    assert (some.descriptors, some.annotator) == (whole.descriptors, whole.annotator)
    assert some.made == whole.made
    assert some.ids == [whole.ids[row] for row in part.rows.tolist()]
    for name in ("answer", "score", "asked", "sampled", "cut"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[part.rows])
    assert read_judgements(part.judgements) is None


def test_the_sets_of_a_part_are_the_members_that_are_left(part):
    for split in SPLITS:
        whole, some = read_exemplars(EXEMPLARS, split), read_exemplars(part.exemplars, split)
        assert some.shape[:2] == whole.shape[:2]
        flat = (of.reshape(-1, of.shape[2]) for of in (whole, some))
        for own, left in zip(*flat, strict=True):
            kept = [row for row in own.tolist() if row in part.rows.tolist()]
            number = int((left >= 0).sum())
            assert part.rows[left[:number]].tolist() == kept
            assert (left[number:] == -1).all()
        assert some.shape[2] <= whole.shape[2]
    np.testing.assert_array_equal(read_tokens(part.exemplars), read_tokens(EXEMPLARS)[part.rows])
    assert has_exemplars(part.untrained) == has_exemplars(UNTRAINED)


def test_the_activations_of_a_part_are_read_a_chunk_at_a_time(tmp_path):
    values = np.random.default_rng(0).random((50, 2, 6), np.float32)
    rows, most = np.array([0, 3, 21, 22, 49]), []

    class Counted:
        shape, dtype, chunks = values.shape, values.dtype, (8, 1, 6)

        def __getitem__(self, place):
            most.append(len(values[place]))
            return values[place]

    some = ThinnedMatrix(Counted(), rows)
    assert some.shape == (5, 2, 6)
    np.testing.assert_array_equal(read_block(some, 1, slice(2, 5)), values[rows, 1, 2:5])
    assert max(most) <= 8
    assert len(most) == 3  # chunks without any of the rows are not read


def test_scores_of_a_part_are_said_to_be(run):
    run_evaluate()
    whole = json.loads(METRICS.read_text())
    assert "part" not in whole
    run_evaluate(sentences=MOST)
    some = json.loads(METRICS.read_text())
    assert some["part"] == {"sentences": MOST, "of": 60}
    assert some["cut"] == whole["cut"]
    assert some["answers"] == whole["answers"]
    assert some["headline"]["replicated"] == whole["headline"]["replicated"]
    assert some["made"]["inputs"] == whole["made"]["inputs"]
    assert CURVES.read_text().count("\n") > 1


def test_the_auroc_of_a_label_is_that_over_the_part(run):
    run_evaluate(sentences=MOST)
    with thinned(WHOLE, MOST, 0, frozenset()) as part, h5py.File(ACTIVATIONS) as file:
        b, rows = read_annotations(part.annotations), part.rows
        halves = read_table(part.corpus, "corpus")["split"].to_pylist()
        for row in read_table(SCORED, "evaluate").to_pylist():
            other = np.array([half != row["chosen"] for half in halves])
            values = file[DATA][:, row["layer"], row["neuron"]][rows][other]
            yes = b.yes(row["descriptor"])[other]
            if not 0 < yes.sum() < len(yes):
                assert row["auroc"] is None
                continue
            pairs = values[yes][:, None] - values[~yes][None]
            expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
            assert row["auroc"] == pytest.approx(expected)


def test_the_whole_corpus_is_never_read_at_once(run, monkeypatch):
    import pyarrow.parquet as pq

    whole = pq.read_table

    def refusing(path, *args, **how):
        assert path != CORPUS, f"{path} is read whole"
        return whole(path, *args, **how)

    monkeypatch.setattr(pq, "read_table", refusing)
    run_evaluate(sentences=MOST)
