"""Scores: against scikit-learn and numpy, undefined where they are, and beside their null."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from descry.evaluation import (
    Score,
    agreement,
    beside_null,
    jaccard,
    jaccard_by_descriptor,
    pearson,
    precision,
    recall,
    top,
)

NAN = float("nan")
SIDES = st.tuples(st.integers(1, 6), st.integers(1, 5))


def bools(*rows):
    return np.array(rows, dtype=bool)


def pairs(kind, elements=None):
    """Two arrays of one shape."""
    arrays = SIDES.map(lambda shape: hnp.arrays(kind, shape, elements=elements))
    return arrays.flatmap(lambda array: st.tuples(array, array))


@st.composite
def answers_of_two(draw):
    """A labeller's answers and scores, and the answers of people."""
    size = draw(st.integers(1, 25))
    judged = hnp.arrays(np.int8, size, elements=st.integers(-1, 1))
    score = hnp.arrays(np.float64, size, elements=st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0]))
    return draw(judged), draw(score), draw(judged)


def sklearn_scores(answer, score, gold):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where scikit-learn warns it gives NaN
        return {
            "precision": metrics.precision_score(gold, answer, zero_division=np.nan),
            "recall": metrics.recall_score(gold, answer, zero_division=np.nan),
            "f1": metrics.f1_score(gold, answer, zero_division=np.nan),
            "kappa": metrics.cohen_kappa_score(gold, answer),
            "auroc": metrics.roc_auc_score(gold, score),
        }


@settings(deadline=None)
@given(answers_of_two())
def test_agreement_is_scikit_learns_and_undefined_where_that_is(case):
    answer, score, gold = case
    both = (answer >= 0) & (gold >= 0)
    found = agreement(answer, score, gold)
    assert found.sentences == both.sum()
    if both.any():
        expected = sklearn_scores(answer[both], score[both], gold[both])
        actual = {name: getattr(found, name) for name in expected}
        assert actual == pytest.approx(expected, nan_ok=True)


def test_agreement_counts_the_sentences_that_both_have_answered():
    answer, gold = np.array([1, 1, 0, -1, 1]), np.array([1, 0, 1, 1, -1])
    found = agreement(answer, np.zeros(5), gold)
    assert (found.sentences, found.truth_yes, found.labeller_yes) == (3, 2, 2)


def test_agreement_over_no_sentence_is_undefined():
    found = agreement(np.array([-1, 1]), np.array([NAN, 1.0]), np.array([1, -1]))
    numbers = [found.precision, found.recall, found.f1, found.kappa, found.auroc]
    assert found.sentences == 0
    assert np.isnan(numbers).all()


def test_missing_scores_do_not_spoil_the_auroc():
    found = agreement(np.array([1, 0, -1]), np.array([2.0, -1.0, NAN]), np.array([1, 0, 1]))
    assert found.auroc == 1.0


def test_answers_in_words_have_no_auroc_but_every_other_score():
    answer, gold = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
    found = agreement(answer, np.array([2.0, NAN, NAN, NAN]), gold)
    assert np.isnan(found.auroc)
    assert (found.precision, found.recall, found.f1, found.kappa) == (0.5, 0.5, 0.5, 0.0)


def test_precision_and_recall_of_each_neuron():
    predicted = bools([1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0])
    truth = bools([1, 0, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0])
    np.testing.assert_allclose(precision(predicted, truth), [1 / 2, 1, 0])
    np.testing.assert_allclose(recall(predicted, truth), [1 / 3, 1, 0])


def test_precision_of_no_prediction_is_undefined():
    assert np.isnan(precision(bools([0, 0]), bools([1, 0]))).all()
    assert np.isnan(precision(bools([0, 0]), bools([0, 0]))).all()


def test_recall_of_no_truth_is_undefined():
    assert np.isnan(recall(bools([1, 0]), bools([0, 0]))).all()


@settings(deadline=None)
@given(pairs(bool))
def test_precision_and_recall_are_scikit_learns(case):
    predicted, truth = case
    for ours, theirs in (
        (precision, metrics.precision_score),
        (recall, metrics.recall_score),
    ):
        rows = zip(truth, predicted, strict=True)
        expected = [theirs(t, p, zero_division=np.nan) for t, p in rows]
        np.testing.assert_allclose(ours(predicted, truth), expected)


@settings(deadline=None)
@given(pairs(bool))
def test_jaccard_is_that_of_sets(case):
    first, second = case
    expected = []
    for one, other in zip(first, second, strict=True):
        one, other = set(np.flatnonzero(one)), set(np.flatnonzero(other))
        expected.append(len(one & other) / len(one | other) if one | other else NAN)
    np.testing.assert_allclose(jaccard(first, second), expected)


@settings(deadline=None)
@given(pairs(bool))
def test_jaccard_by_descriptor_compares_sets_of_neurons(case):
    first, second = case
    columns = [jaccard(first[:, [c]].T, second[:, [c]].T)[0] for c in range(first.shape[1])]
    np.testing.assert_array_equal(jaccard_by_descriptor(first, second), columns)


def test_jaccard_of_two_empty_sets_is_undefined():
    found = jaccard(bools([0, 0], [0, 1], [1, 1]), bools([0, 0], [0, 0], [1, 1]))
    np.testing.assert_array_equal(found, [NAN, 0, 1])


def test_top_takes_the_k_most_frequent_ties_by_the_earlier():
    f = np.array([[0.1, 0.4, 0.4, 0.1], [0.7, 0.1, 0.1, 0.1]])
    assert top(f, 1).tolist() == [[False, True, False, False], [True, False, False, False]]
    assert top(f, 3).tolist() == [[True, True, True, False], [True, True, True, False]]


def test_top_takes_only_descriptors_that_occur():
    f = np.array([[0.0, 1.0, 0.0], [NAN, NAN, NAN]])
    assert top(f, 3).tolist() == [[False, True, False], [False, False, False]]


@settings(deadline=None)
@given(hnp.arrays(np.int8, st.tuples(st.integers(0, 12), st.integers(1, 4)),
                  elements=st.integers(-1, 1)))  # fmt: skip
def test_pearson_is_numpys_over_the_rows_with_every_answer(answers):
    whole = answers[(answers >= 0).all(axis=1)]
    varied = [c for c in range(answers.shape[1]) if len(set(whole[:, c])) == 2]
    expected = np.full((answers.shape[1],) * 2, NAN)
    if varied:
        expected[np.ix_(varied, varied)] = np.corrcoef(whole[:, varied], rowvar=False)
    np.testing.assert_allclose(pearson(answers), expected, atol=1e-12)


def test_pearson_of_a_constant_column_is_undefined():
    found = pearson(np.array([[1, 1], [1, 0], [1, 1]], dtype=np.int8))
    np.testing.assert_allclose(found, [[NAN, NAN], [NAN, 1.0]])


def test_perfect_agreement_scores_1():
    sets = bools([1, 0, 0], [0, 1, 0], [0, 0, 1])
    score = beside_null(jaccard, sets, sets, 10, 0)
    assert (score.value, score.deviation, score.defined) == (1.0, 0.0, 3)
    assert score.null < 1
    assert score.corrected == pytest.approx(1.0)


@settings(deadline=None)
@given(pairs(bool), st.integers(0, 9))
def test_where_all_neurons_are_alike_the_null_is_the_value(case, seed):
    first, second = case
    score = beside_null(jaccard, first, np.tile(second[0], (len(second), 1)), 3, seed)
    assert score.null == pytest.approx(score.value, nan_ok=True)


@settings(deadline=None)
@given(pairs(bool), st.randoms(use_true_random=False))
def test_the_order_of_neurons_does_not_matter(case, random):
    first, second = case
    order = random.sample(range(len(first)), len(first))
    plain, moved = (
        beside_null(jaccard, a, b, 2, 0)
        for a, b in ((first, second), (first[order], second[order]))
    )
    assert moved.value == pytest.approx(plain.value, nan_ok=True)
    assert moved.deviation == pytest.approx(plain.deviation, nan_ok=True)
    assert moved.defined == plain.defined


def test_the_null_is_drawn_by_the_seed():
    first, second = np.random.default_rng(0).random((2, 40, 6)) < 0.3
    once, again, other = (beside_null(jaccard, first, second, 3, seed) for seed in (1, 1, 2))
    assert once == again
    assert once.null != other.null
    assert once.value == other.value


def test_more_shuffles_keep_the_earlier_ones():
    first, second = np.random.default_rng(0).random((2, 40, 6)) < 0.3
    nulls = [beside_null(jaccard, first, second, n, 0).null for n in (1, 2)]
    alone = np.random.default_rng([0, 1]).permutation(40)
    assert nulls[1] == pytest.approx((nulls[0] + np.nanmean(jaccard(first, second[alone]))) / 2)


def test_random_sets_score_at_their_null():
    first, second = np.random.default_rng(0).random((2, 2000, 20)) < 0.3
    for scorer, chance in ((precision, 0.3), (recall, 0.3), (jaccard, 0.09 / 0.51)):
        score = beside_null(scorer, first, second, 5, 0)
        assert score.null == pytest.approx(chance, abs=0.02)
        assert score.value == pytest.approx(score.null, abs=0.02)
        assert score.corrected == pytest.approx(0.0, abs=0.03)


def test_means_are_over_the_defined_values_only():
    score = beside_null(jaccard, bools([0, 0], [1, 0]), bools([0, 0], [1, 1]), 1, 0)
    assert (score.value, score.deviation, score.defined) == (0.5, 0.0, 1)


def test_a_score_defined_nowhere_is_undefined():
    score = beside_null(jaccard, bools([0], [0]), bools([0], [0]), 2, 0)
    assert score.defined == 0
    assert np.isnan([score.value, score.deviation, score.null, score.corrected]).all()


@pytest.mark.parametrize(
    ("value", "null", "corrected"),
    [(0.7, 0.4, 0.5), (1.0, 0.99, 1.0), (0.2, 0.2, 0.0), (0.0, 0.5, -1.0), (1.0, 1.0, NAN)],
)
def test_chance_corrected_is_the_share_of_the_way_from_null_to_1(value, null, corrected):
    score = Score(value, 0.0, null, 1)
    assert score.corrected == pytest.approx(corrected, nan_ok=True)
