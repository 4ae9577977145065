"""What a sample and a cut would cost: plans from what is known so far, which bind nothing.

A guarantee rests on no plan: a bad one costs more questions.
"""

from typing import NamedTuple

import numpy as np

from descry.annotators.cascade.bounds import within

_RATES = np.geomspace(0.005, 1.0, 36)  # that are tried
_PLACES = 120  # cuts that are tried
_LEAST = 1e-4  # probability of Yes that no cell is below


class Tail(NamedTuple):
    """At what rate to draw, and how many cells from the front on to ask."""

    rate: float
    front: int
    cost: float


def likely(odds: np.ndarray, known: np.ndarray) -> np.ndarray:
    """How likely the oracle says Yes to each cell: float64 [cells], rising with the log-odds.

    By a logistic regression on the answers there are; by the log-odds themselves where these are
    not of both kinds.

    Args:
        odds: of the proxy, float64 [cells].
        known: int8 [cells], 1 Yes, 0 No, others unknown.
    """
    from sklearn.linear_model import LogisticRegression

    scale = max(float(odds.std()), 1e-9)
    x = np.clip((odds - odds.mean()) / scale, -8, 8)[:, None]
    said = (known == 0) | (known == 1)
    if len(np.unique(known[said])) < 2:
        chance = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
        return np.asarray(np.round(np.clip(chance, _LEAST, 1 - _LEAST), 6))
    # Newton's method, to the last digits: another machine must come to the same plan.
    fitted = LogisticRegression(C=10.0, solver="newton-cholesky", tol=1e-10).fit(
        x[said], known[said]
    )
    if fitted.coef_[0, 0] <= 0:  # a proxy that says nothing, or the contrary
        return np.full(len(odds), np.clip((known[said] == 1).mean(), _LEAST, 1 - _LEAST))
    found = fitted.predict_proba(x)[:, 1]
    return np.asarray(np.round(np.clip(found, _LEAST, 1 - _LEAST), 6))


def tail(bad: np.ndarray, free: np.ndarray, allowed: np.ndarray, delta: float) -> Tail:
    """The cheapest sample and cut by which no more than allowed are left out behind the cut.

    Args:
        bad: how many each cell counts for, expected: float64 [cells], the front first.
        free: bool [cells], those that are known already.
        allowed: float64 [cells + 1], what may be left out if so many cells from the front on are
            asked.
        delta: of the bound.
    """
    number = len(bad)
    places = np.unique(np.geomspace(1, number + 1, _PLACES).astype(np.int64) - 1)
    unknown = np.where(free, 0.0, 1.0)
    asked = np.concatenate([[0.0], np.cumsum(unknown)])[places]
    behind = np.concatenate([np.cumsum((bad * unknown)[::-1])[::-1], [0.0]])[places]
    best = Tail(1.0, 0, float(unknown.sum()))
    for rate in _RATES.tolist():
        good = within(_unlucky(rate * behind), allowed[places], rate, delta)
        cost = np.where(good, asked + rate * (unknown.sum() - asked), np.inf)
        place = int(np.argmin(cost))
        if cost[place] < best.cost:
            best = Tail(rate, int(places[place]), float(cost[place]))
    return best


def _unlucky(expected: np.ndarray) -> np.ndarray:
    """Somewhat more than expected: a draw that has too many costs more than a larger sample."""
    return np.asarray(expected + 0.5 * np.sqrt(expected))
