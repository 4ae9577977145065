"""Numbers as people read them: one rounding for the terminal and the page.

A number is rounded once, from all its digits, ties away from zero, as JavaScript's `toFixed` does:
app/elements.js follows the same rules.
"""

import math
from decimal import ROUND_HALF_UP, Decimal

PLACES = 3  # behind the point of an activation, at least
_MOST = 12


def fixed(value: float | None, places: int = PLACES) -> str:
    """Format a number with a number of decimals; `undefined` if there is no number."""
    if value is None or not math.isfinite(value):
        return "undefined" if value is None else str(float(value))
    exact = Decimal(float(value) + 0.0)  # -0.0 has a sign
    return f"{exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):f}"


def small(value: float | None) -> str:
    """Format a p or q value; small values as powers of ten."""
    if value is None or not math.isfinite(value) or not 0 < value < 0.001:
        return fixed(value)
    exact = Decimal(float(value))
    digit = exact.scaleb(-exact.adjusted()).quantize(Decimal(1), ROUND_HALF_UP)
    exponent = exact.adjusted() + digit.adjusted()
    return f"{str(digit)[0]}e{exponent}"


def places(deviation: float, highest: float) -> int:
    """Return how many decimals show three digits of the deviation of a neuron's activations.

    Args:
        highest: highest activation, which counts where activations do not vary.
    """
    size = next((abs(x) for x in (deviation, highest) if math.isfinite(x) and x), 1.0)
    exponent = int(f"{size:.2e}".partition("e")[2])
    return min(max(PLACES, 2 - exponent), _MOST)
