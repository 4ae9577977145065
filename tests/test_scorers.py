"""Scores of answers about neurons' descriptions: against scikit-learn, scipy and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from descry.activations.nan_stats import mean
from descry.evaluation.scorers import (
    Found,
    accuracy,
    auroc,
    balanced_accuracy,
    detected,
    intruded,
    pearson,
    simulated,
    spearman,
    summary,
)

NAN = math.nan
KINDS = np.array([True, True, True, False, False])


def same(found, expected):
    assert found == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30))
def test_balanced_accuracy_is_scikit_learns(pairs):
    yes, active = (np.array(column) for column in zip(*pairs, strict=True))
    found = balanced_accuracy(yes.astype(float), active)
    if active.all() or not active.any():
        assert math.isnan(found)
    else:
        same(found, balanced_accuracy_score(active, yes))


values = st.integers(-3, 3).map(float)  # few of them: many ties


@given(st.lists(st.tuples(values, st.booleans()), min_size=2, max_size=30))
def test_auroc_is_scikit_learns_ties_included(pairs):
    odds, active = (np.array(column) for column in zip(*pairs, strict=True))
    found = auroc(odds, active)
    if active.all() or not active.any():
        assert math.isnan(found)
    else:
        same(found, roc_auc_score(active, odds))


@given(st.lists(st.tuples(values, st.floats(-5, 5, width=16)), min_size=3, max_size=30))
def test_correlations_are_scipys(pairs):
    ratings, activations = (np.array(column) for column in zip(*pairs, strict=True))
    if np.ptp(ratings) == 0 or np.ptp(activations) == 0:
        assert math.isnan(pearson(ratings, activations))
        assert math.isnan(spearman(ratings, activations))
        return
    same(spearman(ratings, activations), stats.spearmanr(ratings, activations).statistic)
    if np.std(activations) > 1e-3:  # else scipy warns of lost digits
        same(pearson(ratings, activations), stats.pearsonr(ratings, activations).statistic)


# By hand


def test_balanced_accuracy_weighs_both_kinds_alike():
    found = balanced_accuracy(np.array([1, 1, 0, 0, 1.0]), KINDS)
    assert found == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_who_always_says_yes_is_right_half_the_time():
    for said in (0.0, 1.0):
        assert balanced_accuracy(np.full(5, said), KINDS) == 0.5
    assert auroc(np.zeros(5), KINDS) == 0.5


def test_a_perfect_annotator_and_its_opposite():
    right, activations = KINDS.astype(float), np.array([9, 8, 7, 1, 0.5])
    assert detected(right[:, None], right[:, None], KINDS)[::2] == (1, 1, 5)
    assert detected(1 - right[:, None], -right[:, None], KINDS)[::2] == (0, 0, 5)
    found = simulated(np.column_stack([activations, -activations]), activations)
    same(found, Found(1, -1, 1, -1, 5))
    assert intruded(np.array([2.0, 0, 1]), np.array([2, 0, 1])).value == 1
    assert intruded(np.array([1.0, 1, 0]), np.array([2, 0, 1])).value == 0


def test_answers_that_did_not_come_are_left_out_and_never_taken_for_wrong():
    yes = np.array([1, NAN, NAN, 0, NAN])
    assert balanced_accuracy(yes, KINDS) == 1
    assert auroc(yes, KINDS) == 1
    assert accuracy(np.array([2, NAN, NAN]), np.array([2, 0, 1])) == 1
    ratings, activations = np.array([1, 2, 3, NAN]), np.array([1, 2, 3, -50.0])
    same((pearson(ratings, activations), spearman(ratings, activations)), (1, 1))
    assert detected(yes[:, None], yes[:, None], KINDS).answers == 2


def test_words_without_a_score_have_no_auroc():
    found = detected(np.ones((5, 2)), np.full((5, 2), NAN), KINDS)
    same(found, Found(0.5, 0.5, NAN, NAN, 5))


@pytest.mark.parametrize(
    "yes", [[NAN] * 5, [1, 0, 1, NAN, NAN], [NAN, NAN, NAN, 1, 0]], ids=["none", "one", "other"]
)
def test_with_answers_about_one_kind_only_detection_is_undefined(yes):
    assert math.isnan(balanced_accuracy(np.array(yes), KINDS))
    assert math.isnan(auroc(np.array(yes), KINDS))


@pytest.mark.parametrize(
    ("ratings", "activations"),
    [
        ([], []),
        ([1, 2], [1, 2]),
        ([1, 2, NAN], [1, 2, 3]),
        ([5, 5, 5], [1, 2, 3]),
        ([1, 2, 3], [4, 4, 4]),
    ],
)
def test_a_correlation_of_nothing_is_undefined(ratings, activations):
    ratings, activations = np.array(ratings, float), np.array(activations, float)
    assert math.isnan(pearson(ratings, activations))
    assert math.isnan(spearman(ratings, activations))


def test_without_a_description_there_is_no_score():
    same(detected(np.empty((5, 0)), np.empty((5, 0)), KINDS), Found())
    same(simulated(np.empty((5, 0)), np.ones(5)), Found())
    same(intruded(np.array([]), np.array([])), Found())


def test_the_second_description_is_the_null():
    yes = np.column_stack([KINDS, ~KINDS]).astype(float)
    same(detected(yes, yes, KINDS), Found(1, 0, 1, 0, 5))


# Means


def test_means_are_over_the_defined_scores():
    scores = [Found(1, 0.5, NAN, NAN, 3), Found(0.5, NAN, 0.75, 0.25, 3), Found()]
    found = summary(scores, ("balanced_accuracy", "auroc"), 0.5)
    first, second = found["balanced_accuracy"], found["auroc"]
    assert (first["value"], first["null"], first["defined"]) == (0.75, 0.5, 2)
    assert (first["chance"], first["deviation"]) == (0.5, 0.25)
    assert (second["value"], second["null"], second["defined"]) == (0.75, 0.25, 1)


@pytest.mark.parametrize("scores", [[], [Found(), Found()]])
def test_means_of_nothing_are_undefined(scores):
    (found,) = summary(scores, ("accuracy",), 0.2).values()
    same([found[name] for name in ("value", "null", "deviation")], [NAN] * 3)
    assert found["defined"] == 0
    assert math.isnan(mean(np.array([])))
