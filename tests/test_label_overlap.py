"""Labels of two models beside those of halves: counts by hand, intervals and p by simulation."""

import numpy as np
import pytest
from scipy.stats import kstest

from descry.corpus.splits import HALVES, SPLITS
from descry.two_models.label_overlap import (
    COMPARISONS,
    HALVES_FIRST,
    OTHER_HALF,
    SAME_HALF,
    WHOLE,
    Counted,
    Overlap,
    interval,
    label_row,
    resampled,
    signs_p,
)


def tables(rng, chances, pairs=300, descriptors=6):
    """Labels that come by lot with a chance of each pair and descriptor, in every split anew."""
    return {split: rng.random((pairs, descriptors)) < chances for split in SPLITS}


def test_counts_are_those_of_sets():
    rng = np.random.default_rng(0)
    overlap = Overlap(tables(rng, 0.3, 20), tables(rng, 0.3, 20))
    a, b = overlap.first, overlap.second
    pairs = {
        WHOLE: [(a["all"], b["all"])],
        SAME_HALF: [(a[half], b[half]) for half in HALVES],
        OTHER_HALF: [(a[HALVES[0]], b[HALVES[1]]), (a[HALVES[1]], b[HALVES[0]])],
        HALVES_FIRST: [(a[HALVES[0]], a[HALVES[1]])],
    }
    for name, sides in pairs.items():
        found = overlap.by_pair(name)
        sets = [
            [({*np.flatnonzero(x[n])}, {*np.flatnonzero(y[n])}) for x, y in sides]
            for n in range(20)
        ]
        assert found.kept.tolist() == [sum(len(x & y) for x, y in some) for some in sets]
        either = [sum(len(x | y) for x, y in some) for some in sets]
        defined = np.array(either) > 0
        assert found.jaccard[defined] == pytest.approx(
            (found.kept / np.maximum(either, 1))[defined]
        )
        of = overlap.by_descriptor(name)
        assert of.kept.sum() == found.kept.sum() and of.first.sum() == found.first.sum()


def test_the_change_that_both_halves_show_is_what_halves_share_more_than_other_halves():
    rng = np.random.default_rng(1)
    overlap = Overlap(tables(rng, 0.4), tables(rng, 0.4))
    kept = {name: overlap.by_pair(name).kept.sum() for name in COMPARISONS}
    assert (
        overlap.change.sum()
        == sum(kept[f"halves_{x}"] for x in ("first", "second")) - kept[OTHER_HALF]
    )


def test_what_chance_keeps_is_the_mean_of_the_hypergeometric_distribution_of_each_layer():
    rng = np.random.default_rng(2)
    layers = np.repeat([0, 1, 2], 100)
    chances = np.array([0.02, 0.4, 0.1])[layers][:, None] * np.linspace(0.5, 1.5, 6)
    overlap = Overlap(tables(rng, chances), tables(rng, chances))
    chance = overlap.chance(layers, 400, 0)
    a, b = overlap.first["all"], overlap.second["all"]
    expected = [
        [a[own, d].sum() * b[own, d].sum() / 100 for d in range(6)]
        for own in (layers == layer for layer in range(3))
    ]
    assert chance.by_descriptor[WHOLE] == pytest.approx(np.sum(expected, axis=0), abs=0.4)
    by_layer = np.bincount(layers, chance.by_pair[WHOLE])
    assert by_layer == pytest.approx(np.sum(expected, axis=1), abs=0.4)
    assert chance.whole.mean() == pytest.approx(by_layer.sum())


def row_of(overlap, draws=200):
    layers = np.zeros(len(overlap.first["all"]), dtype=int)
    counted = {name: np.stack(overlap.by_pair(name), axis=1) for name in COMPARISONS}
    chance = overlap.chance(layers, 5, 0)
    return label_row(
        {name: Counted(*of.sum(axis=0)) for name, of in counted.items()},
        {name: Counted(*resampled(of, draws, 0).T) for name, of in counted.items()},
        {name: of.sum() for name, of in chance.by_pair.items()},
    )


def test_beyond_is_0_where_models_are_the_same_to_labels_and_its_interval_says_so():
    """Whole and same half are not: the sentences are shared."""
    rng = np.random.default_rng(3)
    covered, values, ps = 0, [], []
    for _ in range(150):
        # Neurons differ in how easily they get which label; sentences of a half are shared.
        chances = rng.beta(0.3, 0.7, size=(200, 6))
        lots = {split: rng.random((200, 6)) for split in SPLITS}
        noise = [{split: rng.normal(0, 0.05, (200, 6)) for split in SPLITS} for _ in range(2)]
        sides = [{s: lots[s] + of[s] < chances for s in SPLITS} for of in noise]
        overlap = Overlap(*sides)
        row = row_of(overlap)
        covered += row["beyond_low"] <= 0 <= row["beyond_high"]
        values.append(row["beyond"])
        ps.append(signs_p(overlap.change.sum(axis=1), 400, 0))
        assert row["same_half"] > row["other_half"] + 0.1
    assert np.mean(values) == pytest.approx(0, abs=3 * np.std(values) / 150**0.5)
    assert covered / 150 > 0.88
    assert (np.array(ps) < 0.05).mean() < 0.12


def test_beyond_is_seen_where_labels_moved():
    rng = np.random.default_rng(4)
    chances = rng.beta(0.2, 0.6, size=(300, 6))
    overlap = Overlap(tables(rng, chances), tables(rng, chances[::-1]))
    row = row_of(overlap)
    assert row["beyond_low"] > 0.1
    assert signs_p(overlap.change.sum(axis=1), 999, 0) == pytest.approx(0.001)


def test_p_of_signs_is_uniform_where_signs_are_by_lot():
    rng = np.random.default_rng(5)
    values = rng.integers(1, 4, size=(300, 80)) * rng.choice([-1, 1], size=(300, 80))
    ps = np.array([signs_p(one, 199, k) for k, one in enumerate(values)])
    assert kstest(ps, "uniform").pvalue > 0.001
    assert signs_p(np.zeros(5, dtype=int), 10, 0) == 1.0


def test_resampled_sums_are_those_of_a_bootstrap_whatever_is_held_at_a_time(monkeypatch):
    rng = np.random.default_rng(6)
    values = rng.integers(0, 5, size=(500, 2))
    found = resampled(values, 2000, 0)
    assert found.mean(axis=0) == pytest.approx(values.sum(axis=0), rel=0.01)
    assert found.std(axis=0) == pytest.approx(values.std(axis=0) * 500**0.5, rel=0.06)
    assert (resampled(values, 2000, 0) == found).all()
    assert (resampled(values[:0], 3, 0) == 0).all()


def test_an_interval_of_nothing_is_undefined():
    assert np.isnan(interval(np.full(4, np.nan))).all()
    assert interval(np.array([0.0, 1.0, np.nan])) == pytest.approx((0.025, 0.975))
