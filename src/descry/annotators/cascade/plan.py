"""Plans: what a sample and a cut would cost, by what is known so far.

A guarantee rests on no plan: a bad one costs more questions.
"""

from typing import NamedTuple

import numpy as np

from descry.annotators.cascade.bounds import within

_RATES = np.geomspace(0.005, 1.0, 36)  # that are tried
_PLACES = 120  # cuts that are tried
_LEAST = 1e-5  # probability of Yes that no cell is below
_RIDGE = 100.0  # scikit-learn's C


class Tail(NamedTuple):
    """The rate at which to draw, and how many cells from the front to ask about."""

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
    scale = max(float(odds.std()), 1e-9)
    x = np.clip((odds - odds.mean()) / scale, -8, 8)
    said = (known == 0) | (known == 1)
    yes = float((known[said] == 1).mean()) if said.any() else 0.0
    if yes in (0.0, 1.0):
        found = _expit(odds)
    else:
        intercept, slope = logistic(x[said], known[said])
        # A proxy that says nothing, or the contrary: the same of every cell.
        found = _expit(intercept + slope * x) if slope > 0 else np.full(len(odds), yes)
    return np.asarray(np.round(np.clip(found, _LEAST, 1 - _LEAST), 6))


def logistic(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of a logistic regression with a ridge on the slope, by Newton's method.

    To the last digits, as another machine must come to the same plan; scikit-learn's takes eight
    times as long, and there is one in every round of every descriptor.

    Args:
        x: float64 [answers].
        y: 1 or 0, of both kinds, [answers].
    """
    design = np.stack([np.ones(len(x)), x], axis=1)
    penalty = np.array([0.0, 1 / _RIDGE])
    share = float(y.mean())
    beta = np.array([np.log(share / (1 - share)), 0.0])

    def loss(at: np.ndarray) -> float:
        z = design @ at
        return float((np.logaddexp(0, z) - y * z).sum() + (penalty * at**2).sum() / 2)

    for _ in range(100):
        p = _expit(design @ beta)
        gradient = design.T @ (p - y) + penalty * beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty + 1e-12)
        step, before = np.linalg.solve(hessian, gradient), loss(beta)
        while loss(beta - step) > before + 1e-12 and np.abs(step).max() > 1e-12:
            step = step / 2
        beta = beta - step
        if np.abs(step).max() < 1e-10:
            break
    return float(beta[0]), float(beta[1])


def _expit(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))


def tail(bad: np.ndarray, free: np.ndarray, allowed: np.ndarray, delta: float) -> Tail:
    """Find the cheapest sample and cut that leave out no more than allowed after the cut.

    Args:
        bad: how many each cell counts for, expected: float64 [cells], the front first.
        free: bool [cells], those that are known already.
        allowed: float64 [cells + 1], what may be left out if that many cells from the front on are
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
    return np.asarray(expected + 0.5 * np.sqrt(expected) + 0.75)
