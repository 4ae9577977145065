"""The highest descriptors of each neuron, against sorting in plain Python."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from descry.evaluation.tiers import Tiers

values = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.tuples(st.integers(1, 4), st.integers(1, 6)),
    elements=st.integers(0, 3).map(float),  # equal ones are common, and 0 is none
)


@given(values, st.integers(1, 5))
def test_a_tier_holds_the_descriptors_of_one_value_the_highest_first(strength, most):
    found = Tiers.of_values(strength, most)
    for neuron, row in enumerate(strength):
        highest = sorted({*row[row > 0]}, reverse=True)[:most]
        of = [highest.index(value) if value in highest else most for value in row]
        assert found.of[neuron].tolist() == of
        assert found.sizes[neuron].tolist() == [of.count(tier) for tier in range(most)]


@given(values.filter(lambda strength: strength.shape[1] <= 4), st.integers(1, 3))
def test_hits_are_the_mean_over_all_orders_of_equal_descriptors(strength, most):
    rng = np.random.default_rng(0)
    true = rng.random(strength.shape)
    hits = Tiers.of_values(strength, most).hits(true, most)
    for neuron, row in enumerate(strength):
        orders = [
            order
            for order in permutations(np.flatnonzero(row > 0))
            if all(row[a] >= row[b] for a, b in pairwise(order))
        ]
        for k in range(1, most + 1):
            mean = np.mean([sum(true[neuron, d] for d in order[:k]) for order in orders])
            assert hits[k - 1, neuron] == pytest.approx(mean)


@given(values, st.integers(1, 3))
def test_chances_add_up_to_how_many_there_are(strength, k):
    tiers = Tiers.of_values(strength, 5)
    chances = tiers.chances(k)
    assert chances.sum(axis=1) == pytest.approx(tiers.number(k))
    assert chances.min() >= 0
    assert chances.max(initial=0) <= 1
