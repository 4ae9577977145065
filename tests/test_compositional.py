"""Composed labels: against every formula there is, and what neurons made by hand must get."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from descry.annotators.bitset import BitMatrix
from descry.labels.compositional import OPS, Composer, Formula, iou

NAMES = ["price", "cost", "food", "noise", "spare"]
EXHAUSTIVE = 10_000


def formulas(descriptors, length):
    """Every formula of at most so many descriptors, none of them twice."""
    for size in range(1, length + 1):
        for chosen in permutations(range(descriptors), size):
            for ops in product(OPS, repeat=size - 1):
                yield Formula(chosen[0], tuple(zip(ops, chosen[1:], strict=True)))


def found(exemplars, answers, length=3, beam=EXHAUSTIVE, penalty=1.0):
    composer = Composer(BitMatrix.of(answers == 1), length=length, beam=beam, penalty=penalty)
    return composer.compose(np.array(exemplars))


def holds(formula, answers):
    """The sentences that a formula holds for."""
    return formula.holds(answers.T == 1)


def ious(formulas, exemplars, answers):
    return iou(formulas, exemplars, BitMatrix.of(answers == 1))


def score(formula, rows, answers, penalty=1.0):
    """A formula's score by sets."""
    held = set(np.flatnonzero(holds(formula, answers)))
    return len(held & set(rows)) / len(held | set(rows)) * penalty ** (formula.length - 1)


def made_of(formula, sentences=200, descriptors=4, seed=0):
    """B, and a neuron whose exemplars are the sentences that a formula holds for."""
    random = np.random.default_rng(seed)
    answers = (random.random((sentences, descriptors)) < 0.4).astype(np.int8)
    return np.flatnonzero(holds(formula, answers))[None], answers


@st.composite
def cases(draw):
    """Exemplars and B."""
    sentences, descriptors = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    answers = draw(hnp.arrays(np.int8, (sentences, descriptors), elements=st.integers(-1, 1)))
    size = draw(st.integers(1, sentences))
    order = st.permutations(range(sentences))
    return [draw(order)[:size] for _ in range(draw(st.integers(1, 3)))], answers


@given(cases(), st.integers(1, 3), st.sampled_from([1.0, 0.95, 0.5]))
def test_an_exhaustive_beam_finds_the_best_formula_and_of_those_the_shortest(case, length, penalty):
    exemplars, answers = case
    for rows, formula in zip(exemplars, found(*case, length, penalty=penalty), strict=True):
        if not (answers[rows] == 1).any():
            assert formula is None
            continue
        every = [
            (-score(other, rows, answers, penalty), other.length)
            for other in formulas(answers.shape[1], length)
        ]
        actual = (-score(formula, rows, answers, penalty), formula.length)
        assert actual == pytest.approx(min((round(s, 9), n) for s, n in every))


@given(cases(), st.integers(1, 3), st.integers(1, 3))
def test_a_composed_label_is_at_least_as_good_as_any_single_descriptor(case, length, beam):
    exemplars, answers = case
    actual = ious(found(*case, length, beam), np.array(exemplars), answers)
    for rows, value in zip(exemplars, actual, strict=True):
        singles = [score(Formula(c), rows, answers) for c in range(answers.shape[1])]
        assert np.isnan(value) if max(singles) == 0 else value >= max(singles)


@given(cases())
def test_iou_is_that_of_sets(case):
    exemplars, answers = case
    chosen = [Formula(0, (("and not", answers.shape[1] - 1),))] * len(exemplars)
    expected = [score(chosen[0], rows, answers) for rows in exemplars]
    np.testing.assert_allclose(ious(chosen, np.array(exemplars), answers), expected)


@pytest.mark.parametrize(
    "formula",
    [
        Formula(2),
        Formula(0, (("and", 1),)),
        Formula(1, (("and not", 0),)),
        Formula(0, (("or", 3),)),
        Formula(0, (("and", 1), ("and", 2))),
        Formula(0, (("or", 1), ("or", 2))),
        Formula(1, (("or", 3), ("and not", 2))),
        Formula(0, (("and", 2), ("or", 1))),
        Formula(3, (("and not", 0), ("and not", 2))),
        Formula(0, (("or", 1), ("and", 2), ("and not", 3))),
    ],
)
def test_a_neuron_that_is_a_formula_gets_it(formula):
    exemplars, answers = made_of(formula)
    actual = found(exemplars, answers, length=4, beam=20)
    assert actual == [formula]
    np.testing.assert_array_equal(ious(actual, exemplars, answers), [1.0])


def test_a_list_of_descriptors_is_a_formula_of_ands():
    exemplars, answers = made_of(Formula(3, (("and", 0), ("and", 1))))
    [formula] = found(exemplars, answers)
    assert formula.text(NAMES) == "price AND cost AND noise"


def test_the_penalty_prefers_the_shorter():
    answers = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.int8)
    whole = [[0, 1, 2, 3]]  # IoU 3 / 4 without the OR
    assert found(whole, answers, penalty=1.0) == [Formula(0, (("or", 1),))]
    assert found(whole, answers, penalty=0.8) == [Formula(0, (("or", 1),))]
    assert found(whole, answers, penalty=0.75) == [Formula(0)]
    assert found(whole, answers, length=1) == [Formula(0)]


def test_ties_go_to_the_shorter_then_to_the_earlier_descriptor():
    twins = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.int8)
    assert found([[0]], twins) == [Formula(0)]
    assert found([[0, 1]], twins) == [Formula(0, (("or", 2),))]


def test_ties_do_not_hang_on_the_beam():
    random = np.random.default_rng(0)
    answers = np.repeat(random.integers(0, 2, (60, 2), dtype=np.int8), 2, axis=1)
    exemplars = np.flatnonzero(answers[:, 0] & ~answers[:, 2])[None]
    assert found(exemplars, answers, beam=1) == found(exemplars, answers)


def test_what_is_found_of_a_neuron_does_not_hang_on_the_others():
    random = np.random.default_rng(0)
    answers = random.integers(-1, 2, (300, 5), dtype=np.int8)
    exemplars = np.array([random.permutation(300)[:30] for _ in range(8)])
    together = found(exemplars, answers, beam=3)
    assert together == found(exemplars, answers, beam=3)
    assert together[::-1] == found(exemplars[::-1], answers, beam=3)
    assert together == [found(rows[None], answers, beam=3)[0] for rows in exemplars]


@given(cases(), st.data())
def test_sentences_of_another_split_count_as_if_they_were_not_there(case, data):
    exemplars, answers = case
    own = data.draw(hnp.arrays(bool, len(answers)))
    own[np.unique(exemplars)] = True
    yes = BitMatrix.of(answers == 1).among(own)
    within = np.searchsorted(np.flatnonzero(own), np.array(exemplars))
    formulas = Composer(yes, length=3, beam=3, penalty=0.9).compose(np.array(exemplars))
    assert formulas == found(within, answers[own], beam=3, penalty=0.9)
    expected = ious(formulas, within, answers[own])
    np.testing.assert_array_equal(iou(formulas, np.array(exemplars), yes), expected)


def test_a_descriptor_that_is_never_true_is_left_out():
    answers = np.array([[1, 0], [1, 0], [0, 0]], dtype=np.int8)
    assert found([[0, 1], [0, 2]], answers) == [Formula(0), Formula(0)]


def test_a_descriptor_that_is_always_true_is_used_alone():
    answers = np.array([[1, 1], [1, 0], [1, 0]], dtype=np.int8)
    assert found([[0, 1, 2]], answers) == [Formula(0)]
    assert found([[0, 1], [1, 2]], answers) == [Formula(0), Formula(0, (("and not", 1),))]


def test_exemplars_without_a_descriptor_have_no_formula():
    answers = np.array([[0, -1], [0, 0], [1, 1]], dtype=np.int8)
    exemplars = np.array([[0, 1], [1, 2]])
    formulas = found(exemplars, answers)
    assert formulas[0] is None
    np.testing.assert_array_equal(ious(formulas, exemplars, answers), [np.nan, 1 / 2])


def test_iou_of_nothing_is_undefined():
    answers = np.zeros((3, 1), dtype=np.int8)
    nobody = np.empty((1, 0), dtype=np.int64)
    np.testing.assert_array_equal(ious([Formula(0)], nobody, answers), [np.nan])
    np.testing.assert_array_equal(ious([Formula(0)], np.array([[1]]), answers), [0])


def test_no_answer_counts_as_no():
    answers = np.array([[1, -1], [1, 1], [-1, 0], [1, 0]], dtype=np.int8)
    assert holds(Formula(0, (("and not", 1),)), answers).tolist() == [True, False, False, True]
    assert holds(Formula(0, (("and", 1),)), answers).tolist() == [False, True, False, False]
    assert holds(Formula(0, (("or", 1),)), answers).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ((), "price"),
        ((("and", 1),), "price AND cost"),
        ((("and not", 1),), "price AND NOT cost"),
        ((("or", 1), ("and not", 2)), "(price OR cost) AND NOT food"),
        ((("and not", 1), ("or", 2)), "(price AND NOT cost) OR food"),
        ((("or", 1), ("or", 2)), "price OR cost OR food"),
        ((("and", 1), ("and not", 2)), "price AND cost AND NOT food"),
        ((("or", 1), ("and", 2), ("or", 3)), "((price OR cost) AND food) OR noise"),
    ],
)
def test_a_formula_in_words(rest, text):
    formula = Formula(0, rest)
    assert formula.text(NAMES) == text
    assert formula.length == 1 + len(rest)
    assert formula.descriptors == tuple(range(formula.length))
