"""Which sentences are asked about: all, or the exemplars of some neurons and a random sample."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.annotators.sampling import exemplar_scope, whole
from descry.corpus.splits import sentence_id
from descry.errors import InputError
from descry.labels.assignment import asked_sets
from descry.models.neurons import Neurons, choose

LAYERS, WIDTH = 2, 3
MODEL = Neurons(tuple(range(LAYERS)), WIDTH)
EVERY = [(layer, index) for layer in range(LAYERS) for index in range(WIDTH)]


def ids(number):
    return [sentence_id(f"sentence {i}") for i in range(number)]


def sets(number, seed=0, size=2):
    """Exemplar sets of three splits."""
    rows = np.random.default_rng(seed)
    return [rows.integers(0, number, (LAYERS, WIDTH, size), dtype=np.int32) for _ in range(3)]


def exemplars(found, neurons):
    """The rows of some neurons' exemplars in any split."""
    return {int(row) for rows in found for layer, index in neurons for row in rows[layer, index]}


# Neurons


def test_neurons_are_taken_by_name():
    assert choose(["L1:2", "L0:0"], MODEL, 0) == [(1, 2), (0, 0)]


def test_without_names_or_number_all_neurons_are_meant():
    assert choose(None, MODEL, 0) == EVERY


@pytest.mark.parametrize("name", ["L2:0", "L0:3", "L00:1", "L0:01", "0:1", ""])
def test_an_unknown_neuron_is_named_with_the_known(name):
    with pytest.raises(InputError, match=f"^{name}: (no such|not a) neuron: .* L0:0 to L1:2$"):
        choose(["L0:0", name], MODEL, 0)


def test_neurons_of_some_layers_are_named_by_the_models_layers():
    some = Neurons((3, 5), 2)
    assert choose(["L5:1", "L3:0"], some, 0) == [(1, 1), (0, 0)]
    assert choose(None, some, 0) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    with pytest.raises(InputError, match=r"^L0:0: no such neuron: .*, of the layers 3, 5$"):
        choose(["L0:0"], some, 0)


def test_which_of_some_layers_neurons_are_drawn_is_decided_by_their_names():
    every, some = Neurons(tuple(range(12)), 4), Neurons((3, 7), 4)
    ours = {every.name(*place) for place in choose(24, every, 0)} & set(some.names)
    assert 0 < len(ours) < len(some)
    assert {some.name(*place) for place in choose(len(ours), some, 0)} == ours


@given(st.integers(1, 20), st.integers(0, 5))
def test_so_many_neurons_are_drawn_as_asked(number, seed):
    drawn = choose(number, MODEL, seed)
    assert len(drawn) == len(set(drawn)) == min(number, len(EVERY))
    assert set(drawn) <= set(EVERY)
    assert drawn == sorted(drawn)
    assert drawn == choose(number, MODEL, seed)


def test_one_neuron_more_keeps_those_drawn_before():
    drawn = [set(choose(number, MODEL, 3)) for number in range(1, 7)]
    assert all(fewer < more for fewer, more in pairwise(drawn))


def test_the_seed_draws_the_neurons():
    assert len({tuple(choose(3, Neurons(tuple(range(12)), 768), seed)) for seed in range(5)}) == 5


# Sentences


def test_the_whole_corpus_stands_for_itself():
    found = whole(4)
    assert found.asked.all()
    assert found.sampled.all()
    assert len(found.asked) == len(found.sampled) == 4


@given(
    st.integers(1, 40),
    st.sampled_from([None, 1, 3, ["L0:1"], ["L1:0", "L1:2"]]),
    st.integers(0, 50),
    st.integers(0, 9),
)
def test_the_exemplars_of_the_neurons_and_a_sample_are_asked_and_nothing_else(
    number, neurons, sample, seed
):
    found = sets(number, seed)
    scope = exemplar_scope(ids(number), found, MODEL, neurons, sample, seed)
    meant = exemplars(found, choose(neurons, MODEL, seed))
    sampled = set(np.flatnonzero(scope.sampled))
    assert len(sampled) == min(sample, number)
    assert set(np.flatnonzero(scope.asked)) == meant | sampled


@given(st.integers(0, 9))
def test_the_chosen_neurons_are_asked_about_as_a_whole_in_every_split(seed):
    found = sets(30, seed)
    scope = exemplar_scope(ids(30), found, MODEL, 2, 0, seed)
    rows = [layer * WIDTH + index for layer, index in choose(2, MODEL, seed)]
    for split in found:
        assert asked_sets(split.reshape(LAYERS * WIDTH, -1), scope.asked)[rows].all()


def test_the_sets_of_both_ends_are_asked_about():
    highest, lowest = sets(60, 0), sets(60, 1)
    scope = exemplar_scope(ids(60), [*highest, *lowest], MODEL, ["L0:1"], 0, 0)
    meant = exemplars(highest, [(0, 1)]) | exemplars(lowest, [(0, 1)])
    assert set(np.flatnonzero(scope.asked)) == meant
    assert not meant <= exemplars(highest, [(0, 1)])


def test_the_sample_is_drawn_by_the_seed_and_by_nothing_else():
    scopes = [
        exemplar_scope(ids(200), sets(200, neurons_seed), MODEL, neurons, 20, seed)
        for neurons_seed, neurons, seed in ((0, 1, 0), (1, None, 0), (0, 1, 1))
    ]
    one, again, other = (scope.sampled.tolist() for scope in scopes)
    assert one == again != other


@given(st.permutations(range(30)), st.integers(0, 30))
def test_whether_a_sentence_is_in_the_sample_does_not_depend_on_the_order(order, sample):
    names = ids(30)
    plain = exemplar_scope(names, sets(30), MODEL, 1, sample, 0).sampled
    transposed = exemplar_scope([names[i] for i in order], sets(30), MODEL, 1, sample, 0).sampled
    assert transposed.tolist() == plain[order].tolist()


@given(st.sets(st.integers(0, 29), max_size=10), st.integers(0, 20))
def test_sentences_that_go_are_replaced_in_the_sample_and_no_other_leaves(gone, sample):
    names = ids(30)
    stay = [i for i in range(30) if i not in gone]
    drawn = exemplar_scope(names, sets(30), MODEL, 1, sample, 0).sampled
    before = {names[i] for i in np.flatnonzero(drawn)}
    fewer = [names[i] for i in stay]
    drawn = exemplar_scope(fewer, sets(20), MODEL, 1, sample, 0).sampled
    after = {fewer[i] for i in np.flatnonzero(drawn)}
    assert before - {names[i] for i in gone} <= after
