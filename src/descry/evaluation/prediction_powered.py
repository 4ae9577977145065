"""Means of what people say, where they were asked about few and an annotator about all.

Prediction-powered inference (Angelopoulos et al. 2023; with the weight of the predictions tuned,
PPI++, Angelopoulos, Duchi and Zrnic 2023) for a sample with known inclusion probabilities: the mean
of the predictions, and what the sample says they are off, each drawn one weighted by one over its
probability (Hajek's mean, which a sample that happens to be large or small does not move).
Predictions may be wrong, or worth nothing: then the interval is
that of the sample alone.
"""

from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A mean, its variance over other draws of the sample, and how many were drawn."""

    value: float
    variance: float
    drawn: int

    def interval(self, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
        """Its 95% interval by Student's t, kept within bounds; NaN of fewer than two draws."""
        from scipy.stats import t

        if self.drawn < 2:
            return float("nan"), float("nan")
        reach = float(t.ppf(0.975, self.drawn - 1)) * self.variance**0.5
        return max(low, self.value - reach), min(high, self.value + reach)


def estimate(
    predicted: np.ndarray,
    weight: np.ndarray,
    drawn: np.ndarray,
    said: np.ndarray,
    probability: np.ndarray,
    noise: np.ndarray | None = None,
) -> Estimate:
    """The weighted sum of what people would say of all.

    One more residual of 1 counts in the variance than there are, with the mean weight: a sample
    without any error does not show that there are none.

    Args:
        predicted: of all, from 0 to 1, float64 [all].
        weight: of each in the sum, float64 [all]: 1 / all for a mean.
        drawn: which were drawn, each by a lot of its own, int [drawn].
        said: what people said of those, from 0 to 1, float64 [drawn].
        probability: with which each of those was to be drawn, above 0, float64 [drawn].
        noise: variance of `said`, where it is an estimate itself, float64 [drawn].
    """
    if not len(drawn):
        return Estimate(float("nan"), float("nan"), 0)
    known, own = predicted[drawn], weight[drawn]
    spread = (1 - probability) / probability**2 * own**2
    tuned = _slope(spread, known, said)
    off = said - tuned * known
    mean = float((own * off / probability).sum() / (own / probability).sum())
    value = tuned * float((weight * predicted).sum()) + mean * float(weight.sum())
    fitted = len(drawn) / max(1, len(drawn) - 2)  # the mean and the slope are of the same sample
    variance = float((spread * (off - mean) ** 2).sum() * fitted + spread.mean())
    if noise is not None:
        variance += float((own**2 * noise / probability).sum())
    return Estimate(value, variance, len(drawn))


def _slope(spread: np.ndarray, predicted: np.ndarray, said: np.ndarray) -> float:
    """How much of the predictions to use: what makes the variance least, from 0 to 1."""
    total = spread.sum()
    if not total:
        return 0.0
    about = predicted - (spread * predicted).sum() / total
    power = float((spread * about**2).sum())
    return float(np.clip((spread * about * said).sum() / power, 0, 1)) if power else 0.0


def probabilities(importance: np.ndarray, number: float) -> np.ndarray:
    """Inclusion probabilities in proportion to importance, for a mean number of draws.

    Args:
        importance: above 0, float64 [all].
    """
    found = np.zeros(len(importance))
    left = np.ones(len(importance), dtype=bool)
    while left.any():
        rest = number - (~left).sum()
        found[left] = importance[left] * max(rest, 0) / importance[left].sum()
        over = left & (found >= 1)
        if not over.any():
            break
        found[over] = 1.0
        left &= ~over
    return np.minimum(found, 1.0)
