"""Exemplar sets: how large they are, and which sentences lead them."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from descry import exemplars
from descry.errors import InputError
from descry.exemplars import NOBODY, Leaders, exemplar_size, leaders, merged


@pytest.mark.parametrize(("sentences", "size"), [(43_474, 435), (86_948, 870)])
def test_one_percent_of_the_papers_corpus_is_the_papers_set(sentences, size):
    assert exemplar_size(sentences, 1.0, 5) == size


@pytest.mark.parametrize(
    ("sentences", "percent", "size"),
    [
        (50, 2.0, 1),
        (10000, 0.07, 7),
        (5000, 0.14, 7),
        (10000, 0.14, 14),
        (10, 100.0, 10),
        (1, 0.1, 1),
    ],
)
def test_whole_shares_are_not_rounded_up_by_floating_point(sentences, percent, size):
    assert exemplar_size(sentences, percent, 1) == size


@given(sentences=st.integers(1, 10**6), hundredths=st.integers(1, 10_000))
def test_size_is_the_exact_share_rounded_up(sentences, hundredths):
    exact = math.ceil(Fraction(sentences * hundredths, 10_000))
    assert exemplar_size(sentences, hundredths / 100, 1) == exact


def test_too_small_a_set_names_the_keys_to_change():
    with pytest.raises(InputError, match=r"exemplars\.top_percent: 1% of 200 .* is 2.*min_size"):
        exemplar_size(200, 1.0, 5)


def test_the_smallest_set_allowed_is_allowed():
    assert exemplar_size(500, 1.0, 5) == 5


# Leaders of a whole

FEW = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.5, 3.0])  # few values: many ties
FLOATS = FEW | st.floats(-1e6, 1e6, width=32)


@st.composite
def columns_and_size(draw, dtype=np.float32, elements=FLOATS, sentences=30):
    """Activations [neurons, sentences], and a size that may be larger than there are sentences."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, sentences)))
    values = draw(hnp.arrays(dtype, shape, elements=elements))
    return values, draw(st.integers(1, shape[1] + 3))


def sorted_leaders(columns, size):
    """The same by a stable sort of everything."""
    rows = np.argsort(-columns, axis=1, kind="stable")[:, :size]
    return rows, np.take_along_axis(columns, rows, axis=1)


def assert_same(found, expected):
    """Rows and values are the same: of values the bits, so that 0.0 is not -0.0."""
    np.testing.assert_array_equal(found[0], expected[0])
    bits = (np.asarray(values, dtype=np.float32).view(np.uint32) for _, values in (found, expected))
    np.testing.assert_array_equal(*bits)


@given(columns_and_size())
def test_leaders_are_those_of_a_stable_sort(case):
    assert_same(leaders(*case), sorted_leaders(*case))


@given(columns_and_size(np.float16, FEW | st.floats(-6e4, 6e4, width=16)))
def test_leaders_of_half_precision_are_those_of_a_stable_sort(case):
    assert_same(leaders(*case), sorted_leaders(*case))


def column(*values):
    return np.array([values], dtype=np.float32)


def test_highest_first_and_ties_by_the_lower_row():
    rows, values = leaders(column(1.0, 5.0, 3.0, 3.0, 5.0, 3.0), 4)
    assert rows.tolist() == [[1, 4, 2, 3]]
    assert values.tolist() == [[5.0, 5.0, 3.0, 3.0]]


def test_a_tie_with_the_last_goes_to_the_lower_rows_wherever_they_stand():
    rows, _ = leaders(column(2.0, 0.0, 2.0, 9.0, 2.0, 0.0, 2.0), 3)
    assert rows.tolist() == [[3, 0, 2]]


def test_plus_and_minus_zero_tie():
    rows, values = leaders(column(-0.0, 0.0, -1.0, -0.0, 0.0), 3)
    assert rows.tolist() == [[0, 1, 3]]
    assert np.signbit(values).tolist() == [[True, False, True]]


def test_a_silent_neuron_takes_the_first_rows():
    assert leaders(np.zeros((1, 8), dtype=np.float32), 3)[0].tolist() == [[0, 1, 2]]


def test_a_neuron_that_is_always_negative_has_its_least_negative_sentences():
    rows, values = leaders(column(-3.0, -1.0, -2.0), 2)
    assert rows.tolist() == [[1, 2]]
    assert values.tolist() == [[-1.0, -2.0]]


def test_the_leaders_of_the_negated_are_the_lowest_the_lowest_first():
    rows, values = leaders(-column(4.0, -2.0, 1.0, -2.0, 1.0), 3)
    assert rows.tolist() == [[1, 3, 2]]
    assert (-values).tolist() == [[-2.0, -2.0, 1.0]]


def test_fewer_sentences_than_asked_for_lead_all():
    rows, values = leaders(column(1.0, 2.0), 5)
    assert (rows.tolist(), values.tolist()) == ([[1, 0]], [[2.0, 1.0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_types_are_those_that_are_stored(dtype):
    rows, values = leaders(np.zeros((2, 4), dtype=dtype), 2)
    assert (rows.dtype, values.dtype) == (np.int32, np.float32)


# Leaders of parts


@given(columns_and_size(), st.integers(1, 4), st.data())
def test_the_leaders_of_parts_give_those_of_the_whole(case, number, data):
    columns, size = case
    owner = data.draw(hnp.arrays(np.int8, columns.shape[1], elements=st.integers(0, number - 1)))
    parts = []
    for part in set(owner.tolist()):
        rows = np.flatnonzero(owner == part)
        within, values = leaders(np.ascontiguousarray(columns[:, rows]), size)
        parts.append((rows[within], values))
    assert_same(merged(parts, size), leaders(columns, size))


def test_a_tie_between_parts_goes_to_the_lower_row():
    later = np.array([[2, 6]]), column(3.0, 1.0)
    earlier = np.array([[1, 5]]), column(3.0, 1.0)
    rows, values = merged([later, earlier], 3)
    assert (rows.tolist(), values.tolist()) == ([[1, 2, 5]], [[3.0, 3.0, 1.0]])


def test_places_that_nobody_took_come_last():
    full = np.array([[4, 3]]), column(-7.0, -8.0)
    free = np.array([[0, NOBODY]]), column(-9.0, -np.inf)
    rows, values = merged([free, full], 4)
    assert rows.tolist() == [[4, 3, 0, NOBODY]]
    assert values.tolist() == [[-7.0, -8.0, -9.0, -np.inf]]


# Leaders of what comes block by block


def cuts(length, most):
    """Ways to cut so many rows into blocks, as slices."""
    inner = st.sets(st.integers(1, max(1, length - 1)), max_size=most)
    return inner.map(
        lambda places: [slice(*ends) for ends in pairwise(sorted({0, length, *places}))]
    )


@st.composite
def streams(draw):
    """Activations, a size, blocks, what happens after each, and how many rows are a slab."""
    columns, size = draw(columns_and_size(sentences=60))
    order = draw(st.sampled_from(["as drawn", "rising", "falling"]))
    if order != "as drawn":
        columns = np.sort(columns, axis=1)[:, :: 1 if order == "rising" else -1].copy()
    blocks = draw(cuts(columns.shape[1], 12))
    pauses = st.sampled_from(["go on", "go on", "settle", "begin anew"])
    after = draw(st.lists(pauses, min_size=len(blocks), max_size=len(blocks)))
    return columns, size, blocks, after, draw(st.integers(1, 8))


def numbered(length):
    """Rows of a half: ever higher, with gaps."""
    return np.arange(length, dtype=np.int32) * 3 + 1


def kept_of(columns, size, blocks, after, slab):
    """The leaders of a stream, saved and gone on with by another where it is so said."""
    rows = numbered(columns.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exemplars, "_SLAB", slab)
        kept = Leaders(len(columns), size)
        for block, then in zip(blocks, after, strict=True):
            kept.add(columns[:, block].T, rows[block])
            if then != "go on":
                state = kept.settle()
            if then == "begin anew":
                kept = Leaders(len(columns), size)
                kept.restore(*state)
    return kept


def padded(columns, size):
    """The leaders of the whole, with the places that are free."""
    rows, values = leaders(columns, size)
    free = ((0, 0), (0, size - rows.shape[1]))
    rows = np.pad(numbered(columns.shape[1])[rows], free, constant_values=NOBODY)
    return rows, np.pad(values, free, constant_values=-np.inf)


@given(streams())
def test_leaders_of_blocks_are_those_of_the_whole_however_it_is_cut_and_paused(stream):
    columns, size, *_ = stream
    assert_same(kept_of(*stream).settle(), padded(columns, size))


@given(streams())
def test_settling_twice_changes_nothing(stream):
    kept = kept_of(*stream)
    rows, values = (part.copy() for part in kept.settle())
    assert_same(kept.settle(), (rows, values))


@given(streams())
def test_leaders_take_no_more_room_than_at_first(stream):
    columns, size, *_, slab = stream
    kept = kept_of(*stream)
    room = len(columns), size + max(size, slab)
    assert kept.rows.shape == kept.values.shape == room
    assert (kept.rows.dtype, kept.values.dtype) == (np.int32, np.float32)
    assert (kept.fill <= room[1]).all()


@pytest.mark.parametrize("size", [1, 100, 1500])
@pytest.mark.parametrize("block", [1, 333, 1024, 5000])
def test_long_streams_that_rise_fall_and_repeat(size, block):
    rows = np.arange(5000)
    waves = np.random.default_rng(0).integers(-3, 3, 5000)
    columns = np.array([rows, -rows, rows % 7, 0 * rows, waves], dtype=np.float32)
    kept = Leaders(len(columns), size)
    room = kept.rows, kept.values
    for start in range(0, 5000, block):
        part = slice(start, start + block)
        kept.add(columns[:, part].T, numbered(5000)[part])
    assert kept.rows is room[0]
    assert kept.values is room[1]
    assert room[0].shape == (5, size + max(size, 1024))
    assert_same(kept.settle(), padded(columns, size))


def test_an_equal_activation_that_comes_later_does_not_lead():
    kept = Leaders(1, 2)
    kept.add(np.array([[1.0], [1.0]], dtype=np.float32), np.array([0, 1]))
    kept.restore(*kept.settle())
    kept.add(np.array([[1.0], [2.0], [1.0]], dtype=np.float32), np.array([2, 3, 4]))
    rows, values = kept.settle()
    assert (rows.tolist(), values.tolist()) == ([[3, 0]], [[2.0, 1.0]])


def test_an_empty_block_changes_nothing():
    kept = Leaders(2, 3)
    kept.add(np.ones((2, 2), dtype=np.float32), np.array([0, 1]))
    kept.add(np.ones((0, 2), dtype=np.float32), np.array([], dtype=np.int32))
    assert kept.settle()[0].tolist() == [[0, 1, NOBODY]] * 2
