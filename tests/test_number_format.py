"""Numbers as people read them: rounded once, with enough digits for small activations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.io.number_format import fixed, places, small


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (7.4478, 1, "7.4"),
        (-0.53152, 3, "-0.532"),
        (0.125, 2, "0.13"),  # a tie goes away from zero, as in JavaScript
        (-0.125, 2, "-0.13"),
        (0.375, 2, "0.38"),
        (2.5, 0, "3"),
        (1.005, 2, "1.00"),  # the float is a little less
        (-0.0, 3, "0.000"),
        (1e20, 1, "100000000000000000000.0"),
        (None, 3, "undefined"),
        (float("nan"), 3, "nan"),
    ],
)
def test_a_number_is_rounded_once(value, digits, shown):
    assert fixed(value, digits) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.000"),
        (0.00042, "4e-4"),
        (0.00096, "1e-3"),
        (0.001, "0.001"),
        (0.51, "0.510"),
        (2.6e-300, "3e-300"),
        (None, "undefined"),
    ],
)
def test_small_ones_are_powers(value, shown):
    assert small(value) == shown


@given(st.floats(1e-8, 1e3))
def test_three_digits_of_the_deviation_are_seen(deviation):
    shown = fixed(deviation, places(deviation, 1.0))
    assert float(shown) == pytest.approx(deviation, rel=0.005 if deviation < 1 else 0.001)


def test_small_activations_have_enough_digits():
    assert fixed(0.0451234, places(0.00003, 0.0452)) == "0.0451234"
    assert places(0.0, 0.0004512) == 6  # where they do not vary
    assert places(0.0, 0.0) == places(float("nan"), float("nan")) == places(25.0, 100.0) == 3
