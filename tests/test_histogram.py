"""Moments are scipy's and counts numpy's, whatever the blocks; nothing is lost or warned of."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from descry.activations.histogram import BINS, Distribution

RNG = np.random.default_rng(0)
SHAPES = {
    "normal": RNG.normal(size=3000),
    "far from 0": RNG.normal(1e4, 1.0, 3000),
    "far from 0, narrow": RNG.normal(-1e3, 0.01, 3000),
    "skewed": RNG.gamma(0.5, size=3000),
    "mostly 0": np.maximum(RNG.normal(-2, 1, 3000), 0),
    "two values": RNG.integers(0, 2, 3000) * 3.0 - 1.0,
    "large": RNG.normal(size=3000) * 1e5,
    "small": RNG.normal(size=3000) * 1e-4,
    "one outlier": np.where(np.arange(3000) == 2000, 40.0, RNG.normal(size=3000)),
}
SAMPLES = np.stack(list(SHAPES.values()), axis=1).astype(np.float32)
MOMENTS = ("mean", "deviation", "skewness", "kurtosis")


def distribution(values, *cuts, first=None):
    """Taken in in blocks that end at the cuts; bins laid out by the first rows."""
    ends = [0, *cuts, len(values)]
    made = Distribution.around(values[: first or ends[1]])
    for start, end in pairwise(ends):
        made.add(values[start:end])
    return made


def assert_same(one, other):
    """Every attribute is the same, to the last bit."""
    for name, values in vars(one).items():
        np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)


def edges(found, neuron):
    """Of the inner bins of a neuron."""
    return found.low[neuron] + found.step[neuron] * np.arange(BINS + 1, dtype=np.float64)


# Moments


@pytest.mark.parametrize("cuts", [(), (1000,), (1, 2, 500, 2999)], ids=str)
def test_moments_are_those_of_numpy_and_scipy(cuts):
    found = distribution(SAMPLES, *cuts, first=1000).moments()
    exact = SAMPLES.astype(np.float64)
    np.testing.assert_allclose(found["mean"], exact.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["deviation"], exact.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["skewness"], stats.skew(exact), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["kurtosis"], stats.kurtosis(exact), rtol=1e-4, atol=1e-4)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}
    assert tuple(found) == MOMENTS


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 3)),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_mean_and_deviation_of_any_sample(values):
    found = distribution(values).moments()
    exact = values.astype(np.float64)
    np.testing.assert_allclose(found["mean"], exact.mean(axis=0), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found["deviation"], exact.std(axis=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("away", [1e2, 1e4])
def test_moments_are_stable_where_the_first_block_was_elsewhere(away):
    later = RNG.normal(away, 1.0, (5000, 1)).astype(np.float32)
    values = np.concatenate([np.zeros((10, 1), dtype=np.float32), later])
    found = distribution(values, 10).moments()
    exact = values.astype(np.float64)
    assert found["mean"] == pytest.approx(exact.mean(), rel=1e-5)
    assert found["deviation"] == pytest.approx(exact.std(), rel=1e-4)
    assert found["skewness"] == pytest.approx(stats.skew(exact), rel=1e-3)
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(exact), rel=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1e4, -12345.678, 1e-3, 1e-30, 3e4])
@pytest.mark.parametrize("number", [1, 7, 5000])
def test_a_neuron_that_never_changes_has_no_skewness(value, number):
    values = np.full((number, 2), value, dtype=np.float32)
    values[:, 1] = np.arange(number) % 2
    found = distribution(values, *range(1000, number, 1000))
    moments = {name: float(value[0]) for name, value in found.moments().items()}
    assert moments["mean"] == pytest.approx(np.float32(value), rel=1e-6)
    assert moments["deviation"] == pytest.approx(0.0, abs=1e-6 * abs(value))
    assert np.isnan([moments["skewness"], moments["kurtosis"]]).all()
    assert found.lowest[0] == found.highest[0] == np.float32(value)
    assert found.counts[0].sum() == number


def test_of_nothing_nothing_is_known_and_nothing_is_warned_of():
    found = Distribution.around(SAMPLES)
    assert found.number == 0
    assert np.isnan(found.moments()["skewness"]).all()


# Histogram


@pytest.mark.parametrize("first", [50, 3000])
def test_counts_are_those_of_numpy_between_the_same_edges(first):
    found = distribution(SAMPLES, first=first)
    for neuron, values in enumerate(SAMPLES.T.astype(np.float64)):
        at = edges(found, neuron)
        inner, _ = np.histogram(values, at)
        inner[-1] -= (values == at[-1]).sum()  # numpy's last bin has its upper edge
        outer = (values < at[0]).sum(), (values >= at[-1]).sum()
        expected = np.array([outer[0], *inner, outer[1]])
        # A value within a rounding of an edge may be on either side of it.
        width = 1e-6 * np.abs(values).max() + 1e-4 * found.step[neuron]
        near = sum((np.abs(values - edge) < width).sum() for edge in at)
        assert np.abs(np.cumsum(found.counts[neuron] - expected)).max() <= near
        if not near:
            np.testing.assert_array_equal(found.counts[neuron], expected)


def test_bins_begin_half_the_range_below_the_first_block_and_end_half_above():
    block = np.array([[0.0, 5.0], [8.0, 5.5]], dtype=np.float32)
    found = Distribution.around(block)
    assert found.low.tolist() == [-4.0, 4.75]
    assert (found.low + BINS * found.step).tolist() == [12.0, 5.75]
    found.add(np.array([[-4.0, 4.0], [11.99, 5.0], [12.0, 5.75], [-4.01, 6.0]], dtype=np.float32))
    places = [{int(i): int(row[i]) for i in np.flatnonzero(row)} for row in found.counts]
    assert places == [{0: 1, 1: 1, BINS: 1, BINS + 1: 1}, {0: 1, 17: 1, BINS + 1: 2}]


@pytest.mark.parametrize("far", [1e3, 1e6, 1e20])
def test_values_far_outside_are_counted_in_the_open_bins(far):
    block = RNG.normal(size=(100, 2)).astype(np.float32)
    found = distribution(np.concatenate([block, np.float32([[far, -far], [-far, far]])]), 100)
    assert found.counts[:, [0, -1]].tolist() == [[1, 1], [1, 1]]
    assert found.counts.sum(axis=1).tolist() == [102, 102]
    assert found.lowest.tolist() == [np.float32(-far)] * 2
    assert found.highest.tolist() == [np.float32(far)] * 2


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(2, 60), st.integers(1, 4)),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    st.integers(1, 60),
    st.sets(st.integers(1, 60), max_size=5),
)
def test_nothing_is_lost(values, first, cuts):
    found = distribution(values, *sorted(c for c in cuts if c < len(values)), first=first)
    assert (found.counts.sum(axis=1) == found.number).all()
    assert found.number == len(values)
    np.testing.assert_array_equal(found.lowest, values.min(axis=0))
    np.testing.assert_array_equal(found.highest, values.max(axis=0))


# Blocks and neurons


@given(st.sets(st.integers(1, 2999), max_size=6))
def test_however_it_is_cut_counts_are_the_same_and_moments_nearly(cuts):
    one = distribution(SAMPLES, first=500)
    other = distribution(SAMPLES, *sorted(cuts), first=500)
    for name in ("low", "step", "counts", "lowest", "highest"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name, values in one.moments().items():
        np.testing.assert_allclose(values, other.moments()[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", range(1, len(SHAPES) + 1))
def test_blocks_of_neurons_change_not_one_bit(width):
    cuts = 1024, 2048
    whole = distribution(SAMPLES, *cuts)
    for start in range(0, len(SHAPES), width):
        some = slice(start, start + width)
        assert_same(distribution(np.ascontiguousarray(SAMPLES[:, some]), *cuts), whole.part(some))
        assert_same(distribution(SAMPLES[:, some], *cuts), whole.part(some))


def test_a_part_is_that_of_its_neurons_alone():
    part = distribution(SAMPLES).part(slice(2, 5))
    assert {name: values.shape[-1] for name, values in part.moments().items()} == dict.fromkeys(
        MOMENTS, 3
    )
    np.testing.assert_array_equal(
        part.moments()["kurtosis"], distribution(SAMPLES).moments()["kurtosis"][2:5]
    )


@given(st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_joined_they_are_as_one(owner):
    blocks = np.array_split(SAMPLES, 6)
    parts = [Distribution.around(blocks[0]) for _ in range(3)]
    for block, index in zip(blocks, owner, strict=True):
        parts[index].add(block)
    joined, *others = parts
    for part in others:
        joined.join(part)
    whole = Distribution.around(blocks[0])
    for block in blocks:
        whole.add(block)
    assert joined.number == whole.number == 3000
    for name in ("counts", "lowest", "highest", "sums"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


HUGE = 1e30


def test_sums_of_the_largest_activations_are_kept_as_they_are():
    one = Distribution.around(np.float32([[0, 1, -3]]))
    one.add(np.tile(np.float32([[HUGE, 1 / HUGE, -HUGE]]), (4096, 1)))
    again = Distribution.restored(one.state())
    np.testing.assert_array_equal(again.sums, one.sums)
    assert np.sign(again.sums.astype(np.float64))[:, 2].tolist() == [-1, 1, -1, 1]


def test_the_summary_has_neurons_first():
    found = distribution(SAMPLES).summary()
    extremes = ["lowest", "highest", "at_lowest", "at_highest"]
    assert list(found) == [*MOMENTS, "low", "step", "counts", *extremes]
    assert {values.shape[0] for values in found.values()} == {len(SHAPES)}
    assert found["counts"].shape[1] == BINS + 2
