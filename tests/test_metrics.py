"""Scores: against scikit-learn and plain loops, over all orders, and undefined where they are."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from descry.evaluation.metrics import Cuts, Score, influences, pearson, rate, without_one

NAN = float("nan")
CUTS = Cuts((0.0, 0.25, 0.5), 3, 2)
BY_NEURON = ("precision", "recall", "jaccard")
VALUES = st.sampled_from([NAN, 0.0, 0.1, 0.3, 0.3, 0.6, 1.0])


@st.composite
def sides(draw, most=6):
    """f of two sides: of some neurons and descriptors, or of more than a word has bits."""
    shape = draw(st.integers(1, most)), draw(st.sampled_from([1, 2, 5, 8, 9, 64, 65, 130]))
    array = hnp.arrays(np.float64, shape, elements=VALUES, fill=VALUES)
    return draw(array), draw(array)


def rated(first, second, cuts=CUTS):
    first, second = (cuts.tag(np.asarray(f, dtype=np.float64)) for f in (first, second))
    return rate(first, second)


def found(first, second, cuts=CUTS):
    """Every score's values by name and place."""
    return dict(zip(cuts.scores, rated(first, second, cuts).values(), strict=True))


def share(part, whole):
    return part / whole if whole else NAN


def jaccard(one, other):
    return share(len(one & other), len(one | other))


def above(f, t):
    return [{c for c, x in enumerate(row) if x > t} for row in f]


def leading(f, k):
    """The k most frequent of each neuron that occur: a set for each order of equal ones."""
    found = []
    for row in f:
        above = [c for c, x in enumerate(row) if x > 0]
        orders = [sorted(order, key=lambda c: -row[c])[:k] for order in permutations(above)]
        found.append([set(order) for order in orders])
    return found


def test_every_score_has_its_place():
    assert Cuts((0.1, 0.2), 2, 1).scores == [
        Score("precision", 0.1), Score("precision", 0.2),
        Score("recall", 0.1), Score("recall", 0.2),
        Score("jaccard", 0.1), Score("jaccard", 0.2),
        Score("jaccard_by_descriptor", 0.1), Score("jaccard_by_descriptor", 0.2),
        Score("precision_at_k", 1), Score("precision_at_k", 2),
        Score("recall_at_k", 1), Score("recall_at_k", 2),
    ]  # fmt: skip


@settings(max_examples=60)
@given(sides())
def test_precision_and_recall_of_each_neuron_are_scikit_learns(case):
    first, second = case
    scores = found(first, second)
    for t in CUTS.thresholds:
        rows = list(zip(second > t, first > t, strict=True))
        for name in ("precision", "recall"):
            theirs = getattr(metrics, f"{name}_score")
            expected = [theirs(true, said, zero_division=np.nan) for true, said in rows]
            np.testing.assert_allclose(scores[name, t], expected)


@given(sides())
def test_jaccard_is_that_of_sets_of_labels_and_by_descriptor_of_sets_of_neurons(case):
    first, second = case
    scores = found(first, second)
    for t in CUTS.thresholds:
        for name, turn in (("jaccard", np.asarray), ("jaccard_by_descriptor", np.transpose)):
            both = zip(above(turn(first), t), above(turn(second), t), strict=True)
            expected = [jaccard(one, other) for one, other in both]
            np.testing.assert_allclose(scores[name, t], expected)


@st.composite
def tied(draw):
    """f of two sides, of few enough descriptors to go through all their orders."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    array = hnp.arrays(np.float64, shape, elements=VALUES)
    return draw(array), draw(array)


@settings(max_examples=60, deadline=None)
@given(tied(), st.integers(1, 4), st.integers(1, 4))
def test_at_k_scores_are_the_average_over_all_orders_of_equal_descriptors(case, max_k, truth_top):
    first, second = case
    cuts = Cuts((0.5,), max_k, truth_top)
    scores, true = found(first, second, cuts), leading(second, truth_top)
    for k in range(1, max_k + 1):
        pairs = [list(product(*both)) for both in zip(leading(first, k), true, strict=True)]
        precision = [np.mean([share(len(a & b), len(a)) for a, b in of]) for of in pairs]
        recall = [np.mean([share(len(a & b), len(b)) for a, b in of]) for of in pairs]
        np.testing.assert_allclose(scores["precision_at_k", k], precision)
        np.testing.assert_allclose(scores["recall_at_k", k], recall)


@given(sides(), sides())
def test_the_highest_are_told_by_the_order_that_is_given(case, other):
    first, second = case
    order = np.resize(other[0], first.shape)
    tags = CUTS.tag(first, order), CUTS.tag(second)
    split = 3 * len(CUTS.thresholds)
    at_k, at_t = rated(order, second).by_neuron[split:], rated(first, second).by_neuron[:split]
    np.testing.assert_array_equal(rate(*tags).by_neuron, np.concatenate([at_t, at_k]))


@given(sides())
def test_means_are_over_the_defined_values_only(case):
    values = found(*case).values()
    expected = [v[~np.isnan(v)].mean() if (~np.isnan(v)).any() else NAN for v in values]
    np.testing.assert_allclose(rated(*case).means, expected)


def test_precision_and_recall_of_known_labels():
    scores = found([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0]],
                   [[1, 0, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0]])  # fmt: skip
    np.testing.assert_allclose(scores["precision", 0.5], [1 / 2, 1, 0])
    np.testing.assert_allclose(scores["recall", 0.5], [1 / 3, 1, 0])
    np.testing.assert_allclose(scores["jaccard", 0.5], [1 / 4, 1, 0])


def test_a_threshold_must_be_exceeded():
    scores = found([[0.25, 0.26]], [[1.0, 1.0]])
    assert scores["recall", 0.25].tolist() == [0.5]


@given(hnp.arrays(np.float64, (4, 3), elements=st.sampled_from([0.3, 0.6])))
def test_labels_held_against_themselves_score_1(f):
    scores = found(f, f, Cuts((0.0, 0.25), 3, 3))
    for (name, at), values in scores.items():
        assert name.endswith("_at_k") or (values == 1.0).all()
        assert (name, at) != ("precision_at_k", 3) or (values == 1.0).all()
        assert name != "recall_at_k" or at < 3 or values == pytest.approx(1.0)


def test_of_no_prediction_precision_is_undefined_and_recall_is_0():
    scores = found(np.full((2, 3), NAN), np.ones((2, 3)))
    for name in ("precision", "precision_at_k"):
        assert np.isnan([v for (n, _), v in scores.items() if n == name]).all()
    for name in ("recall", "jaccard", "jaccard_by_descriptor", "recall_at_k"):
        assert not np.any([v for (n, _), v in scores.items() if n == name])


def test_of_no_truth_recall_is_undefined_and_precision_is_0():
    scores = found(np.ones((2, 3)), np.zeros((2, 3)))
    assert np.isnan(scores["recall", 0.5]).all()
    assert np.isnan(scores["recall_at_k", 1]).all()
    assert not scores["precision", 0.5].any()
    assert not scores["precision_at_k", 1].any()


def test_where_neither_side_has_a_label_every_score_is_undefined():
    assert np.isnan(rated(np.zeros((2, 3)), np.full((2, 3), NAN)).means).all()


def test_labels_that_are_always_true_have_a_precision_of_the_share_that_is():
    scores = found(np.ones((4, 4)), np.eye(4))
    assert (scores["precision", 0.5] == 0.25).all()
    assert (scores["recall", 0.5] == 1.0).all()
    assert (scores["jaccard_by_descriptor", 0.5] == 0.25).all()


@given(sides(), st.randoms(use_true_random=False))
def test_the_order_of_neurons_does_not_matter(case, random):
    first, second = case
    order = random.sample(range(len(first)), len(first))
    plain, moved = rated(first, second), rated(first[order], second[order])
    np.testing.assert_allclose(moved.means, plain.means)
    np.testing.assert_array_equal(moved.by_neuron, plain.by_neuron[:, order])
    np.testing.assert_array_equal(moved.by_descriptor, plain.by_descriptor)


@given(sides(), st.randoms(use_true_random=False))
def test_the_order_of_descriptors_does_not_matter(case, random):
    first, second = case
    order = random.sample(range(first.shape[1]), first.shape[1])
    plain, moved = rated(first, second), rated(first[:, order], second[:, order])
    np.testing.assert_allclose(moved.by_neuron, plain.by_neuron, atol=1e-12)
    np.testing.assert_array_equal(moved.by_descriptor, plain.by_descriptor[:, order])


@given(sides(), st.randoms(use_true_random=False))
def test_neurons_that_are_taken_score_as_they_did(case, random):
    first, second = case
    chosen = [random.randrange(len(first)) for _ in range(5)]
    both = (CUTS.tag(f).take(np.array(chosen)) for f in case)
    again = rate(*both)
    np.testing.assert_array_equal(again.by_neuron, rated(first, second).by_neuron[:, chosen])
    np.testing.assert_array_equal(
        again.by_descriptor, rated(first[chosen], second[chosen]).by_descriptor
    )


@given(sides())
def test_without_each_neuron_scores_are_those_of_the_others(case):
    found = without_one(*(CUTS.tag(f) for f in case))
    rows = np.arange(len(case[0]))
    expected = [rated(*(f[rows != row] for f in case)).means for row in rows]
    np.testing.assert_allclose(found.T, expected, atol=1e-12)


@given(sides())
def test_influences_on_the_scores_themselves_add_up_to_nothing(case):
    tags = [CUTS.tag(f) for f in case]
    np.testing.assert_allclose(influences(*tags, rate(*tags)).sum(axis=1), 0.0, atol=1e-12)


def test_influences_tell_how_scores_change_if_a_few_labels_do():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 3000, 8)) ** 2
    before = rate(*(CUTS.tag(f) for f in (first, second)))
    first[:50] = 0.3 * rng.random((50, 8))
    tags = [CUTS.tag(f) for f in (first, second)]
    change = rate(*tags).means - before.means
    np.testing.assert_allclose(influences(*tags, before).sum(axis=1), change, rtol=0.04, atol=3e-5)


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
