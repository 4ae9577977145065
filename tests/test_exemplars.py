"""Exemplar sets: how large they are, and which sentences are in them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from descry.errors import InputError
from descry.exemplars import exemplar_sets, exemplar_size


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


@settings(deadline=None)
@given(sentences=st.integers(1, 10**6), hundredths=st.integers(1, 10_000))
def test_size_is_the_exact_share_rounded_up(sentences, hundredths):
    exact = math.ceil(Fraction(sentences * hundredths, 10_000))
    assert exemplar_size(sentences, hundredths / 100, 1) == exact


def test_too_small_a_set_names_the_keys_to_change():
    with pytest.raises(InputError, match=r"exemplars\.top_percent: 1% of 200 .* is 2.*min_size"):
        exemplar_size(200, 1.0, 5)


def test_the_smallest_set_allowed_is_allowed():
    assert exemplar_size(500, 1.0, 5) == 5


@st.composite
def activations_and_size(draw):
    shape = draw(st.tuples(st.integers(1, 30), st.integers(1, 4)))
    few = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.5, 3.0])  # few values: many ties
    any_float = st.floats(-1e6, 1e6, width=32)
    values = draw(hnp.arrays(np.float32, shape, elements=few | any_float))
    return values, draw(st.integers(1, shape[0]))


@settings(deadline=None)
@given(activations_and_size())
def test_sets_are_those_of_a_stable_sort(case):
    activations, size = case
    rows, values = exemplar_sets(activations, size)
    expected = np.argsort(-activations, axis=0, kind="stable")[:size].T
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(activations.T, expected, axis=1))


def test_highest_first_and_ties_by_the_lower_row():
    rows, values = exemplar_sets(np.array([[1.0], [5.0], [3.0], [3.0], [5.0], [3.0]]), 4)
    assert rows.tolist() == [[1, 4, 2, 3]]
    assert values.tolist() == [[5.0, 5.0, 3.0, 3.0]]


def test_a_silent_neuron_takes_the_first_rows():
    rows, _ = exemplar_sets(np.zeros((8, 1), dtype=np.float32), 3)
    assert rows.tolist() == [[0, 1, 2]]


def test_a_neuron_that_is_always_negative_has_its_least_negative_sentences():
    rows, values = exemplar_sets(np.array([[-3.0], [-1.0], [-2.0]], dtype=np.float32), 2)
    assert rows.tolist() == [[1, 2]]
    assert values.tolist() == [[-1.0, -2.0]]


def test_types_are_those_that_are_stored():
    rows, values = exemplar_sets(np.zeros((4, 2), dtype=np.float64), 2)
    assert (rows.dtype, values.dtype) == (np.int32, np.float32)
