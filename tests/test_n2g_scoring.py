"""Scores of predicted activations: those of scikit-learn and scipy, and the two baselines."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from neurons import tokens_of
from scipy.stats import pearsonr
from sklearn.metrics import precision_recall_fscore_support, r2_score
from test_n2g_trie import path

from descry.n2g.graph import make_graph
from descry.n2g.scoring import BASELINES, Score, average, baseline, graph_scores, score

NAN = math.nan
shares = st.sampled_from([-0.4, 0.0, 0.2, 0.5, 0.7, 1.0])  # one is the threshold itself
arrays = hnp.arrays(np.float64, 12, elements=shares)


def same(found, expected):
    assert found == pytest.approx(expected, nan_ok=True)


@given(arrays, arrays)
def test_firing_is_scored_as_by_scikit_learn(truth, predicted):
    found = score(truth, predicted, firing=0.5)
    expected = precision_recall_fscore_support(
        truth >= 0.5, predicted >= 0.5, average="binary", zero_division=np.nan
    )
    same(found[3:5], expected[:2])
    same(found.f1, expected[2] if (truth >= 0.5).any() or (predicted >= 0.5).any() else NAN)
    assert found[:3] == (12, (truth >= 0.5).sum(), (predicted >= 0.5).sum())


@given(arrays, arrays)
def test_correlation_is_scipys_and_not_the_share_of_variance(truth, predicted):
    found = score(truth, predicted, firing=0.5)
    if np.ptp(truth) == 0:
        assert math.isnan(found.pearson) and math.isnan(found.r2)
        return
    same(found.r2, r2_score(truth, predicted))
    same(found.pearson, pearsonr(truth, predicted)[0] if np.ptp(predicted) else NAN)


def test_a_wrong_scale_costs_no_correlation_but_variance():
    truth = np.array([0.0, 0.5, 1.0])
    found = score(truth, truth / 2 + 1, firing=0.5)
    assert found.pearson == pytest.approx(1.0)
    assert found.r2 < 0


def test_precision_is_undefined_where_nothing_is_predicted_not_perfect():
    found = score(np.array([1.0, 0.0]), np.zeros(2), firing=0.5)
    same((found.precision, found.recall, found.f1), (NAN, 0.0, 0.0))


def test_recall_is_undefined_where_nothing_fires():
    found = score(np.zeros(2), np.array([1.0, 0.0]), firing=0.5)
    same((found.precision, found.recall, found.f1), (0.0, NAN, 0.0))


def test_of_no_activations_nothing_is_defined():
    same(tuple(score(np.empty(0), np.empty(0), firing=0.5)), (0, 0, 0, *[NAN] * 5))


# The baselines

TRAIN = [((1, 2, 3), np.array([0.1, 0.9, 0.2])), ((2, 2), np.array([0.4, -0.6]))]


def looked_up(train, held, name):
    return baseline(train, held, BASELINES[name], firing=0.5)[0].tolist()


def test_a_token_has_its_highest_activation_in_the_training_texts():
    assert looked_up(TRAIN, [((2, 3, 9), np.zeros(3))], "token highest") == [0.9, 0.2, 0.0]


def test_or_its_mean():
    found = looked_up(TRAIN, [((2, 3, 9), np.zeros(3))], "token mean")
    assert found == pytest.approx([0.7 / 3, 0.2, 0.0])


def test_with_the_token_before_it_is_another_entry():
    found = looked_up(TRAIN, [((1, 2, 2, 3, 3), np.zeros(5))], "token and one before")
    assert found == [0.1, 0.9, -0.6, 0.2, 0.0]


def test_at_the_beginning_of_a_text_there_is_none_before():
    held = [((2,), np.zeros(1)), ((3,), np.zeros(1))]
    assert looked_up(TRAIN, held, "token and one before") == [0.4, 0.0]


def test_what_was_always_negative_stays_so():
    train = [((7,), np.array([-0.5]))]
    assert looked_up(train, [((7, 8), np.zeros(2))], "token highest") == [-0.5, 0.0]


def test_a_text_with_one_activation_has_the_highest_of_its_tokens():
    train = [((1, 2), np.array([0.8])), ((2, 3), np.array([0.3]))]
    held = [((3, 4), np.array([0.0])), ((2, 3), np.array([0.0])), ((9, 9), np.array([0.0]))]
    assert looked_up(train, held, "token highest") == [0.3, 0.8, 0.0]


def test_the_cut_is_chosen_on_training_texts_that_predict_each_other():
    train = [((1, 2), np.array([0.8, 0.1])), ((1, 2), np.array([0.6, 0.3])), ((9,), np.ones(1))]
    _, cut = baseline(train, [], BASELINES["token mean"], firing=0.5)
    # Predicted: .6 and .3, .8 and .1, 0 of a token that no other text has: it fires unforeseen.
    assert cut == pytest.approx((0.6 + 0.3) / 2)


sequences = st.lists(st.integers(1, 3), min_size=2, max_size=5).map(tuple)


@given(st.lists(sequences, max_size=4), sequences, st.sampled_from(list(BASELINES)))
def test_a_table_is_that_of_a_plain_loop(others, text, name):
    rng = np.random.default_rng(0)
    prior, what = BASELINES[name]
    train = [(tokens, rng.random(len(tokens))) for tokens in [*others, text]]
    table = {}
    for tokens, values in train:
        for k, value in enumerate(values.tolist()):
            table.setdefault(tokens[max(0, k - prior) : k + 1], []).append(value)
    of = max if what == "highest" else np.mean
    expected = [of(table[text[max(0, k - prior) : k + 1]]) for k in range(len(text))]
    assert looked_up(train, [train[-1]], name) == pytest.approx(expected)


# A graph and its baselines


def graph(*paths, highest=4.0):
    return make_graph(0, highest, list(paths), [], max_gap=None)


def test_a_graph_and_its_baselines_are_held_against_the_same_activations():
    train = [(tokens_of("not good"), np.array([-1.0, 4.0])), (tokens_of("so good"), np.zeros(2))]
    held = [
        (tokens_of("it not good"), np.array([0.0, 0.0, 3.0])),
        (tokens_of("good"), np.array([-2.0])),
    ]
    found = graph_scores(graph(path("good not", 1.0)), train, held, firing=0.5)
    assert list(found) == ["graph", *BASELINES]
    assert {(one.number, one.fires) for one in found.values()} == {(4, 1)}
    assert found["graph"].predicted == found["graph"].f1 == 1
    truth, predicted = [0, 0, 0.75, -0.5], [0, 0, 1, 0]
    assert found["graph"].pearson == pytest.approx(pearsonr(truth, predicted)[0])
    assert found["graph"].r2 == pytest.approx(r2_score(truth, predicted))


def test_the_activations_of_a_neuron_that_was_never_active_do_not_fire():
    found = graph_scores(graph(highest=0.0), [], [((5,), np.array([9.0]))], firing=0.5)
    assert [one.fires for one in found.values()] == [0, 0, 0, 0]


def test_without_held_out_texts_nothing_is_defined():
    found = graph_scores(graph(), [((5,), np.array([1.0]))], [], firing=0.5)
    assert {one.number for one in found.values()} == {0}


# Averages


def scored(fires, precision, f1):
    return Score(10, fires, 1, precision, 0.5, f1, NAN, 0.0)


def test_means_are_over_the_neurons_that_fire():
    found = average([scored(2, 1.0, 0.4), scored(0, 0.0, 0.0), scored(1, NAN, 0.0)])
    same(tuple(found), (20, 3, 2, 1.0, 0.5, 0.2, NAN, 0.0))


def test_where_none_fires_no_mean_is_defined():
    same(tuple(average([scored(0, 0.0, 0.0)])), (0, 0, 0, *[NAN] * 5))
