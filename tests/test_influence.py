"""The influence of sentences on scores: the derivative, and intervals of means that cover."""

from dataclasses import astuple

import numpy as np
import pytest

from descry.evaluation import influence
from descry.evaluation.alignment import align, expected
from descry.evaluation.influence import GROUPS, grouped_influence

SENTENCES = 120


@pytest.fixture
def case():
    """Activations with ties, exemplars, answers some of which are missing, and pairs."""
    rng = np.random.default_rng(0)
    columns = np.round(rng.normal(size=(3, SENTENCES)), 1).astype(np.float32)
    answers = (rng.random((SENTENCES, 4)) < 0.3).astype(np.int8)
    answers[rng.random(answers.shape) < 0.1] = -1
    exemplars = np.argsort(-columns, axis=1, kind="stable")[:, :12]
    exemplars[1, 9:] = -1
    return columns, exemplars, answers, (np.array([0, 1, 2, 2]), np.array([0, 3, 1, 2]))


def scores(*case):
    return np.array(astuple(align(*case)))


def test_influence_is_what_little_more_of_a_sentence_changes(case, monkeypatch):
    columns, exemplars, answers, pairs = case
    monkeypatch.setattr(influence, "GROUPS", SENTENCES)  # each sentence alone
    found = grouped_influence(*case)
    times = 200  # as often is every sentence there, and one of them once more
    for row in range(0, SENTENCES, 7):
        rows = np.append(np.tile(np.arange(SENTENCES), times), row)
        sets = [np.flatnonzero(np.isin(rows, members[members >= 0])) for members in exemplars]
        size = max(map(len, sets))
        padded = np.array([np.pad(s, (0, size - len(s)), constant_values=-1) for s in sets])
        more = scores(np.ascontiguousarray(columns[:, rows]), padded, answers[rows], pairs)
        change = (more - scores(*case)) * times
        np.testing.assert_allclose(change, found[:, :, row], atol=2e-4)


def test_influences_add_up_to_nothing_and_group_by_row_modulo_the_groups(case, monkeypatch):
    grouped = grouped_influence(*case)
    np.testing.assert_allclose(grouped.sum(axis=2), 0, atol=1e-12)
    monkeypatch.setattr(influence, "GROUPS", SENTENCES)
    alone = grouped_influence(*case)
    for group in range(GROUPS):
        np.testing.assert_allclose(grouped[:, :, group], alone[:, :, group::GROUPS].sum(axis=2))


def test_influence_is_undefined_where_the_score_is(case):
    columns, exemplars, answers, pairs = case
    answers[:, 0], columns[2] = 0, 1.0
    found = np.isnan(grouped_influence(columns, exemplars, answers, pairs)).all(axis=2)
    assert (found == np.isnan(scores(columns, exemplars, answers, pairs))).all()
    without = grouped_influence(None, exemplars, answers, pairs)
    assert np.isnan(without[2:]).all()
    assert np.isfinite(without[:2]).all()


def test_what_labels_score_by_chance_is_their_mean_over_shuffles_of_the_answers(case):
    columns, exemplars, answers, pairs = case
    rng, drawn = np.random.default_rng(1), []
    for _ in range(1000):
        shuffled = answers.copy()
        for column in range(answers.shape[1]):
            known = answers[:, column] >= 0
            shuffled[known, column] = rng.permutation(answers[known, column])
        drawn.append(scores(columns, exemplars, shuffled, pairs))
    by_theory = np.array(astuple(expected(*case)))
    spread = np.std(drawn, axis=0) / len(drawn) ** 0.5
    assert (np.abs(np.mean(drawn, axis=0) - by_theory) < 4.5 * spread + 1e-9).all()
