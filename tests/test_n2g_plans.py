"""Questions of many plans go through a model together, each prompt once a round."""

import neurons
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.n2g.batching import together


class Sums:
    """Activations from which it is seen who asked for which prompt."""

    def __init__(self):
        self.calls = []

    def __call__(self, prompts, asked):
        self.calls.append((list(prompts), [list(some) for some in asked]))
        return [
            np.array([[token * 100 + neuron for neuron in some] for token in prompt])
            for prompt, some in zip(prompts, asked, strict=True)
        ]


def asking(rounds):
    """A plan that asks for some prompts a round, and returns all it was told."""
    told = []
    for prompts in rounds:
        found = yield prompts
        assert [len(values) for values in found] == [len(prompt) for prompt in prompts]
        told += [values.tolist() for values in found]
    return told


prompts = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
plans = st.tuples(st.integers(0, 3), st.lists(st.lists(prompts, max_size=3), max_size=4))


@given(st.lists(plans, max_size=5))
def test_every_plan_is_told_its_own_neurons_activations(some):
    found = together([(neuron, asking(rounds)) for neuron, rounds in some], Sums())
    assert found == [
        [[token * 100 + neuron for token in prompt] for asked in rounds for prompt in asked]
        for neuron, rounds in some
    ]


@given(st.lists(plans, max_size=5))
def test_a_round_asks_for_a_prompt_once_whoever_wants_it(some):
    sums = Sums()
    together([(neuron, asking(rounds)) for neuron, rounds in some], sums)
    assert len(sums.calls) <= max((len(rounds) for _, rounds in some), default=0)
    for asked, who in sums.calls:
        assert len(set(asked)) == len(asked)
        assert all(chosen == sorted(set(chosen)) and chosen for chosen in who)


def test_one_prompt_of_two_neurons_is_computed_once():
    sums = Sums()
    found = together([(2, asking([[(1, 2)]])), (0, asking([[(1, 2)], [(3,)]]))], sums)
    assert sums.calls == [([(1, 2)], [[0, 2]]), ([(3,)], [[0]])]
    assert found == [[[102, 202]], [[100, 200], [300]]]


def test_a_plan_may_ask_nothing():
    sums = Sums()
    assert together([(0, asking([])), (1, asking([[], [(1,)]]))], sums) == [[], [[101]]]
    assert len(sums.calls) == 1


def test_synthetic_neurons_refuse_a_prompt_that_is_too_long():
    with pytest.raises(AssertionError):
        neurons.Neurons(limit=2)([(3, 3, 3)], [[0]])
