"""Rank correlation within strata against scipy, and its null against exchanges."""

import numpy as np
import pytest
from scipy.stats import kstest, rankdata, spearmanr

from descry.two_models.rank_correlation import Order, centred_ranks, correlation, to_unit


def strata_of(rng, sentences, strata):
    return rng.integers(0, strata, sentences).astype(np.int32)


def ranks_of(values, order):
    return centred_ranks(values[:, order.rows], order)


def test_without_strata_it_is_spearmans():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 80))
    second = second + first * np.arange(5)[:, None]
    second[1] = np.maximum(second[1], 0)  # ties
    order = Order.of(np.zeros(80, dtype=int), np.ones(80, dtype=bool))
    rho, p = correlation(ranks_of(first, order), ranks_of(second, order), order)
    for k in range(5):
        assert rho[k] == pytest.approx(spearmanr(first[k], second[k]).statistic, abs=1e-6)
    units = to_unit(ranks_of(first, order)), to_unit(ranks_of(second, order))
    assert np.diag(units[0] @ units[1].T) == pytest.approx(rho, abs=1e-6)
    assert (np.diff(p) < 0).all()  # the more of the first is in the second, the surer


def test_within_strata_it_is_the_correlation_of_ranks_less_the_means_of_the_strata():
    rng = np.random.default_rng(1)
    strata, chosen = strata_of(rng, 60, 4), rng.random(60) < 0.7
    values = rng.normal(size=(2, 60))
    order = Order.of(strata, chosen)
    rho, _ = correlation(*(ranks_of(one[None], order) for one in values), order)
    sides = []
    for one in values:
        ranks = rankdata(one[chosen])
        for stratum in range(4):
            own = strata[chosen] == stratum
            ranks[own] -= ranks[own].mean()
        sides.append(ranks)
    assert rho[0] == pytest.approx(np.corrcoef(*sides)[0, 1], abs=1e-6)
    assert sorted(order.rows) == np.flatnonzero(chosen).tolist()


def test_what_both_follow_is_no_correlation_within_its_strata():
    rng = np.random.default_rng(2)
    length = rng.integers(0, 20, 4000)
    first, second = length + rng.normal(size=(2, 1, 4000))
    every = np.ones(4000, dtype=bool)
    alone = Order.of(np.zeros(4000, dtype=int), every)
    assert correlation(ranks_of(first, alone), ranks_of(second, alone), alone)[0] > 0.9
    within = Order.of(length, every)
    rho, p = correlation(ranks_of(first, within), ranks_of(second, within), within)
    assert abs(rho[0]) < 0.06 and p[0] > 0.001


@pytest.mark.parametrize("strata", [1, 6])
def test_p_is_uniform_where_sentences_are_exchanged_within_strata(strata):
    rng = np.random.default_rng(3)
    of = strata_of(rng, 300, strata)
    order = Order.of(of, np.ones(300, dtype=bool))
    # Both follow the stratum, one is skewed and has ties: neither is to show.
    first = np.maximum(rng.normal(size=(2000, 300)) ** 3 + of, 0)
    second = rng.normal(size=(2000, 300)) + 2 * of
    _, p = correlation(ranks_of(first, order), ranks_of(second, order), order)
    assert kstest(p, "uniform").pvalue > 0.01
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_a_neuron_that_never_changes_is_correlated_with_nothing():
    order = Order.of(np.zeros(9, dtype=int), np.ones(9, dtype=bool))
    same, other = np.ones((1, 9)), np.arange(9.0)[None]
    rho, p = correlation(ranks_of(same, order), ranks_of(other, order), order)
    assert np.isnan(rho[0]) and np.isnan(p[0])
    assert not to_unit(ranks_of(same, order)).any()
