"""Packed columns hold what the matrix holds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from descry.annotators.bitset import Answers, BitMatrix

SHAPES = st.tuples(st.integers(0, 40), st.integers(0, 20))
FLAGS = hnp.arrays(bool, SHAPES)
MATRICES = hnp.arrays(np.int8, SHAPES, elements=st.integers(-1, 1))


@given(FLAGS)
def test_every_column_comes_back(flags):
    bits = BitMatrix.of(flags)
    assert (len(bits), bits.sentences) == flags.shape[::-1]
    for column, expected in enumerate(flags.T):
        assert bits.column(column).tolist() == expected.tolist()


@given(FLAGS)
def test_they_take_an_eighth_and_are_read_by_numpy_alone(flags):
    packed = BitMatrix.of(flags).packed
    assert packed.shape == (flags.shape[1], -(-len(flags) // 8))
    assert packed.dtype == np.uint8
    plain = np.unpackbits(packed, axis=1, count=len(flags)).astype(bool)
    np.testing.assert_array_equal(plain, flags.T)


@given(FLAGS)
def test_totals_are_sums(flags):
    assert BitMatrix.of(flags).totals.tolist() == flags.sum(axis=0).tolist()


@given(FLAGS, st.data())
def test_some_columns_and_some_sentences(flags, data):
    columns = data.draw(st.lists(st.integers(0, flags.shape[1] - 1)) if flags.size else st.just([]))
    among = data.draw(hnp.arrays(bool, len(flags)))
    found = BitMatrix.of(flags).keep(columns).among(among)
    np.testing.assert_array_equal(
        found.packed, BitMatrix.of(flags[:, columns] & among[:, None]).packed
    )


@given(FLAGS.filter(len), st.data())
def test_flags_of_rows_in_any_order(flags, data):
    rows = data.draw(
        hnp.arrays(np.int32, st.integers(0, 9), elements=st.integers(0, len(flags) - 1))
    )
    np.testing.assert_array_equal(BitMatrix.of(flags).at(rows), flags[rows].T)


@given(MATRICES)
def test_answers_are_yes_no_or_none(matrix):
    answers = Answers.of(matrix)
    assert answers.matrix.dtype == np.int8
    np.testing.assert_array_equal(answers.matrix, matrix)
    assert answers.yes.totals.tolist() == (matrix == 1).sum(axis=0).tolist()
    assert answers.answered.totals.tolist() == (matrix != -1).sum(axis=0).tolist()


@given(MATRICES, st.data())
def test_answers_of_some_descriptors_about_some_sentences(matrix, data):
    among = data.draw(hnp.arrays(bool, len(matrix)))
    columns = data.draw(
        st.lists(st.integers(0, matrix.shape[1] - 1)) if matrix.size else st.just([])
    )
    expected = np.where(among[:, None], matrix[:, columns], -1)
    np.testing.assert_array_equal(Answers.of(matrix).keep(columns).among(among).matrix, expected)
