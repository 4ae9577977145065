"""From exemplar sets and B to labels: frequencies, thresholds, broad descriptors, the inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tallies import tally_of

from descry.annotators.bitset import Answers
from descry.errors import InputError
from descry.labels.assignment import (
    SetCounter,
    asked_sets,
    assign,
    broad_descriptors,
    inverse_map,
    ranks,
    ratio,
    shares,
)
from descry.models.neurons import Neurons

NAN = float("nan")


def b(*rows):
    return np.array(rows, dtype=np.int8)


@st.composite
def sets_and_answers(draw):
    sentences, descriptors = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    answers = draw(hnp.arrays(np.int8, (sentences, descriptors), elements=st.integers(-1, 1)))
    size = draw(st.integers(1, sentences))
    rows = st.permutations(range(sentences)).map(lambda order: order[:size])
    return np.array(draw(st.lists(rows, min_size=1, max_size=4)), dtype=np.int32), answers


@st.composite
def asked_and_sampled(draw):
    """The same, where only some of the sentences are asked about, and some of those sampled."""
    exemplars, answers = draw(sets_and_answers())
    flags = hnp.arrays(bool, len(answers))
    asked, sampled = draw(flags), draw(flags)
    answers[~(asked | sampled)] = -1
    return exemplars, answers, asked | sampled, sampled


def in_a_loop(rows, answers, by):
    """f of one set of rows, written as the paper says it."""
    shares = []
    for c in range(answers.shape[1]):
        yes = sum(answers[row, c] == 1 for row in rows)
        if by == "occurrences":
            whole = sum(answers[row, d] == 1 for row in rows for d in range(answers.shape[1]))
        else:
            whole = sum(answers[row, c] != -1 for row in rows)
        shares.append(yes / whole if whole else NAN)
    return shares


def test_occurrences_are_a_share_of_all_occurrences_in_the_set():
    found = tally_of(np.array([[0, 1, 2]]), b([1, 1], [1, 0], [1, 0], [0, 1]))
    assert found.f("occurrences").tolist() == [[3 / 4, 1 / 4]]
    assert found.count.tolist() == [[3, 1]]
    assert found.base("occurrences").tolist() == [3 / 5, 2 / 5]


def test_sentences_are_a_share_of_the_answered_sentences_of_the_set():
    found = tally_of(np.array([[0, 1, 2]]), b([1, 1], [1, -1], [-1, 0], [0, 0]))
    assert found.f("sentences").tolist() == [[1.0, 1 / 2]]
    assert found.base("sentences").tolist() == [2 / 3, 1 / 3]


def test_a_missing_answer_is_no_occurrence():
    found = tally_of(np.array([[0, 1]]), b([1, -1], [-1, 1]))
    assert found.f("occurrences").tolist() == [[0.5, 0.5]]


def test_a_set_with_nothing_to_count_is_undefined():
    exemplars = np.array([[0], [1]])
    by_occurrence = tally_of(exemplars, b([0, 0], [1, 0])).f("occurrences")
    by_sentence = tally_of(exemplars, b([-1, 0], [1, 0])).f("sentences")
    np.testing.assert_array_equal(by_occurrence, [[NAN, NAN], [1, 0]])
    np.testing.assert_array_equal(by_sentence, [[NAN, 0], [1, 0]])


@settings(deadline=None)
@given(sets_and_answers(), st.sampled_from(["occurrences", "sentences"]))
def test_frequencies_are_those_of_a_plain_loop(case, by):
    exemplars, answers = case
    found = tally_of(exemplars, answers)
    np.testing.assert_array_equal(found.f(by), [in_a_loop(rows, answers, by) for rows in exemplars])
    np.testing.assert_array_equal(found.count, [(answers[r] == 1).sum(axis=0) for r in exemplars])
    np.testing.assert_array_equal(found.answered, [(answers[r] >= 0).sum(0) for r in exemplars])
    np.testing.assert_array_equal(found.base(by), in_a_loop(range(len(answers)), answers, by))
    np.testing.assert_array_equal(found.base_count, (answers == 1).sum(axis=0))
    np.testing.assert_array_equal(found.base_answered, (answers >= 0).sum(axis=0))


@given(asked_and_sampled(), st.integers(1, 5))
def test_sets_may_be_counted_in_blocks(case, step):
    exemplars, answers, asked, sampled = case
    blocks = [exemplars[start : start + step] for start in range(0, len(exemplars), step)]
    found = SetCounter(Answers.of(answers), asked).tally(blocks, sampled)
    for name, values in vars(tally_of(exemplars, answers, asked, sampled)).items():
        np.testing.assert_array_equal(getattr(found, name), values)


@given(sets_and_answers(), st.data())
def test_some_descriptors_are_counted_as_if_there_were_no_others(case, data):
    exemplars, answers = case
    columns = data.draw(st.lists(st.sampled_from(range(answers.shape[1])), unique=True))
    found = tally_of(exemplars, answers).keep(columns)
    for name, values in vars(tally_of(exemplars, answers[:, columns])).items():
        np.testing.assert_array_equal(getattr(found, name), values)


def test_base_rates_are_those_of_the_sample():
    answers, sampled = b([1, 1], [1, 0], [1, 0], [0, 1]), np.array([False, True, True, True])
    for by, base in (("occurrences", [2 / 3, 1 / 3]), ("sentences", [2 / 3, 1 / 3])):
        found = tally_of(np.array([[0, 1]]), answers, sampled=sampled)
        assert found.base(by).tolist() == base
        whole = tally_of(np.array([[0, 1]]), answers)
        assert (found.f(by) == whole.f(by)).all()
        assert (found.lift(by) == found.f(by) / base).all()


def test_without_a_sample_base_rates_and_lift_are_undefined():
    sampled = np.zeros(2, dtype=bool)
    found = tally_of(np.array([[0, 1]]), b([1, 0], [1, 1]), sampled=sampled)
    assert found.f("sentences").tolist() == [[1.0, 0.5]]
    assert np.isnan(found.base("sentences")).all()
    assert np.isnan(found.lift("sentences")).all()


def test_a_neuron_that_was_not_asked_about_as_a_whole_is_undefined():
    exemplars, asked = np.array([[0, 1], [1, 2], [2, 3]]), np.array([True, True, False, False])
    answers = b([1, 0], [1, 0], [-1, -1], [-1, -1])
    found = tally_of(exemplars, answers, asked)
    f = found.f("sentences")
    np.testing.assert_array_equal(f, [[1, 0], [NAN, NAN], [NAN, NAN]])
    assert found.count.tolist() == [[2, 0], [1, 0], [0, 0]]
    assert found.answered.tolist() == [[2, 2], [0, 0], [0, 0]]
    assert assign(f, 0.5, None).tolist() == [[True, False], [False, False], [False, False]]
    assert asked_sets(exemplars, asked).tolist() == [True, False, False]
    assert found.asked.tolist() == [True, False, False]


@settings(deadline=None)
@given(asked_and_sampled(), st.sampled_from(["occurrences", "sentences"]))
def test_frequencies_of_a_part_of_the_corpus_are_those_of_a_plain_loop(case, by):
    exemplars, answers, asked, sampled = case
    found = tally_of(exemplars, answers, asked, sampled)
    undefined = [NAN] * answers.shape[1]
    expected = [
        in_a_loop(rows, answers, by) if all(asked[rows]) else undefined for rows in exemplars
    ]
    np.testing.assert_array_equal(found.f(by), expected)
    np.testing.assert_array_equal(found.base(by), in_a_loop(np.flatnonzero(sampled), answers, by))


def test_shares_are_undefined_of_nothing():
    count, answered = np.array([[1, 3], [0, 0]]), np.array([[4, 3], [0, 2]])
    np.testing.assert_array_equal(
        shares(count, answered, "occurrences"), [[0.25, 0.75], [NAN, NAN]]
    )
    np.testing.assert_array_equal(shares(count, answered, "sentences"), [[0.25, 1], [NAN, 0]])
    np.testing.assert_array_equal(ratio(np.array([1, 1]), np.array([[0], [2]])),
                                  [[NAN, NAN], [0.5, 0.5]])  # fmt: skip


@settings(deadline=None)
@given(sets_and_answers())
def test_occurrence_shares_of_a_set_add_up_to_one(case):
    f = tally_of(*case).f("occurrences")
    counted = f[~np.isnan(f).any(axis=1)]
    np.testing.assert_allclose(counted.sum(axis=1), 1.0)


def test_lift_is_f_over_the_base_rate_and_undefined_where_that_is_0():
    found = tally_of(np.array([[0, 1]]), b([1, 0], [1, 0], [0, 0], [0, 0]))
    np.testing.assert_array_equal(found.lift("sentences"), [[2.0, NAN]])


def test_a_threshold_must_be_exceeded():
    assert assign(np.array([[0.35, 0.3500001, 0.0]]), 0.35, None).tolist() == [[False, True, False]]


def test_undefined_is_never_assigned():
    f = np.array([[NAN, NAN, 0.9]])
    assert assign(f, 0.0, None).tolist() == [[False, False, True]]
    assert assign(f, 0.0, 3).tolist() == [[False, False, True]]


def test_top_k_keeps_the_most_frequent_of_those_above_the_threshold():
    f = np.array([[0.2, 0.5, 0.4, 0.6], [0.1, 0.1, 0.1, 0.9]])
    assert assign(f, 0.3, 2).tolist() == [[False, True, False, True], [False, False, False, True]]


def test_top_k_breaks_ties_by_the_earlier_descriptor():
    assert assign(np.array([[0.4, 0.4, 0.4]]), 0.1, 2).tolist() == [[True, True, False]]


def test_ranks_start_at_0_ties_in_order_and_undefined_last():
    f = np.array([[0.1, 0.7, NAN, 0.7], [NAN, NAN, 0.0, -1.0]])
    assert ranks(f).tolist() == [[2, 0, 3, 1], [2, 3, 0, 1]]


@settings(deadline=None)
@given(hnp.arrays(np.float64, (3, 5), elements=st.sampled_from([NAN, 0.0, 0.25, 0.5, 1.0])))
def test_ranks_of_a_neuron_are_a_permutation(f):
    assert np.sort(ranks(f), axis=1).tolist() == [[0, 1, 2, 3, 4]] * 3


def test_the_broadest_descriptor_is_dropped():
    answers = b([1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 1])
    exemplars = np.array([[0, 2], [1, 3]])
    assert broad_descriptors(tally_of(exemplars, answers), "sentences", 0.5, 0.8) == [(0, 1.0)]


def test_nothing_is_dropped_where_no_descriptor_is_broad():
    answers, exemplars = b([1, 0], [0, 1]), np.array([[0], [1]])
    assert broad_descriptors(tally_of(exemplars, answers), "occurrences", 0.3, 0.8) == []


def test_frequencies_are_counted_anew_after_each_drop():
    # f = 3/5 and 2/5 at first: the second is broad only when the first is gone.
    answers, exemplars = b([1, 1, 0], [1, 0, 0], [1, 1, 0]), np.array([[0, 1, 2]])
    assert broad_descriptors(tally_of(exemplars, answers), "occurrences", 0.5, 0.8) == [
        (0, 1.0),
        (1, 1.0),
    ]


def test_the_last_descriptor_is_dropped_like_any_other():
    answers, exemplars = b([1, 1], [1, 1]), np.array([[0], [1]])
    every = [(0, 1.0), (1, 1.0)]
    assert broad_descriptors(tally_of(exemplars, answers), "sentences", 0.1, 0.0) == every
    assert broad_descriptors(tally_of(exemplars, b([1], [1])), "sentences", 0.1, 0.0) == [(0, 1.0)]


def test_breadth_is_a_share_of_the_neurons_that_have_a_set():
    answers, exemplars = b([1, 0], [0, 1]), np.array([[0], [0], [0], [-1], [-1]])
    assert broad_descriptors(tally_of(exemplars, answers), "sentences", 0.1, 0.9) == [(0, 1.0)]


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 5))), st.integers(0, 99))
def test_inverse_map_is_the_inverse_the_lowest_p_first(assigned, seed):
    neurons = Neurons((0,), assigned.shape[0]).names
    descriptors = [f"d{i}" for i in range(assigned.shape[1])]
    p = np.random.default_rng(seed).random(assigned.shape).round(1)
    tagged = inverse_map(assigned, p, neurons, descriptors)
    assert list(tagged) == descriptors
    back = [[neuron in tagged[name] for name in descriptors] for neuron in neurons]
    assert back == assigned.tolist()
    assert sum(map(len, tagged.values())) == assigned.sum()
    for column, names in enumerate(tagged.values()):
        rows = [neurons.index(name) for name in names]
        assert rows == sorted(rows, key=lambda row: (p[row, column], row))


# Neurons

SIX = Neurons((0, 1, 2, 3, 4, 5), 384)
SOME = Neurons((3, 5), 4)


@pytest.mark.parametrize(
    ("neurons", "row", "index", "name"),
    [(SIX, 0, 0, "L0:0"), (SIX, 5, 24, "L5:24"), (SOME, 0, 3, "L3:3"), (SOME, 1, 0, "L5:0")],
)
def test_neurons_are_named_by_the_models_layer_and_their_index(neurons, row, index, name):
    assert neurons.name(row, index) == name
    assert neurons.find(name) == (row, index)


def test_names_stand_layer_by_layer():
    assert SOME.names == ["L3:0", "L3:1", "L3:2", "L3:3", "L5:0", "L5:1", "L5:2", "L5:3"]
    assert (len(SOME), len(SIX)) == (8, 6 * 384)


@given(st.sets(st.integers(0, 99), min_size=1, max_size=5), st.integers(1, 5))
def test_every_name_is_found_where_it_stands(layers, width):
    neurons = Neurons(tuple(sorted(layers)), width)
    places = [neurons.find(name) for name in neurons.names]
    assert places == list(np.ndindex(len(layers), width))
    assert len(set(neurons.names)) == len(neurons)


def test_a_name_may_be_written_small():
    assert SOME.find("l5:2") == (1, 2)


@pytest.mark.parametrize("name", ["L4:0", "L0:0", "L6:0", "L3:4", "L5:99999"])
def test_a_neuron_that_is_not_there_is_named_with_those_that_are(name):
    known = "the neurons are L3:0 to L5:3, of the layers 3, 5"
    with pytest.raises(InputError, match=f"^{name}: no such neuron: {known}$"):
        SOME.find(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "L3",
        "3:0",
        "L3:",
        "L3:-1",
        "L-3:1",
        "L3:1 ",
        " L3:1",
        "L3:1\n",
        "L3.1",
        "neuron",
        "L٣:١",
        "L03:0",
    ],
)
def test_what_is_no_name_is_told_how_to_write_one(name):
    with pytest.raises(InputError, match=r"not a neuron: write it as L3:0; the neurons are L3:0"):
        SOME.find(name)


@pytest.mark.parametrize("name", [f"L{'9' * 5000}:0", f"L0:{'9' * 5000}", "L0:" + "0" * 5000])
def test_a_number_of_any_length_is_no_neuron(name):
    with pytest.raises(InputError, match=r"the neurons are L0:0 to L5:383$"):
        SIX.find(name)


@pytest.mark.parametrize("layers", [(0, 1, 2), (4,), (3, 4)])
def test_layers_are_listed_only_where_some_between_are_missing(layers):
    last = layers[-1]
    with pytest.raises(InputError, match=f"the neurons are L{layers[0]}:0 to L{last}:7$"):
        Neurons(layers, 8).find("L9:0")
