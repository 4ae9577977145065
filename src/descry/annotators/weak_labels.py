"""From first scores to answers, without any label: what a corpus teaches about a descriptor.

1. Sentences with a clear first score are soft positives. One ridge regression from whole sentences
   to them learns the wording that the descriptor lacks; the final score is the mean of both.
2. A mixture of two normal distributions of one variance, fitted to a descriptor's scores over the
   corpus, says how likely a score belongs to the upper one: the log-odds of Yes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CLEAR = 1.25  # a first score so far above the corpus mean counts as a soft positive
RIDGE = 0.02  # penalty per sentence, on features of mean squared norm 1
OWN = 0.5  # weight of the first score in the final one
UPPER = 0.3  # share of sentences that the mixture's upper group starts from


def standard(x: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and deviation 1; 0 where all its values are equal."""
    return np.asarray((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9))


def smooth(first: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Final scores: [sentences, descriptors].

    Args:
        first: standard first scores, of the same shape.
        vectors: of whole sentences, [sentences, dimension].
    """
    x = vectors - vectors.mean(axis=0)
    x = x / max(float(np.sqrt((x**2).sum(axis=1).mean())), 1e-9)
    target = np.maximum(first - CLEAR, 0)
    gram = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1], dtype=x.dtype)
    fitted = x @ np.linalg.solve(gram, x.T @ (target - target.mean(axis=0)))
    return standard(standard(fitted) + OWN * first)


def log_odds(scores: np.ndarray) -> np.ndarray:
    """How likely each score is of the upper of two groups: float64 [sentences], rising with it.

    With one variance for both groups the log-odds are linear in the score, so the answer Yes has
    one threshold, fitted to the corpus without any label.
    """
    found = _two_groups(scores, UPPER)
    if found is None:
        return np.full(len(scores), -1.0)  # nothing stands out: No
    distance = (scores - found.low) ** 2 - (scores - found.high) ** 2
    return np.asarray(found.prior + distance / (2 * found.variance), dtype=np.float64)


def boundary(scores: np.ndarray, starts: Sequence[float]) -> float:
    """Where the log-odds of `log_odds` are 0; above all scores where nothing stands out.

    Args:
        scores: float [sentences].
        starts: shares of sentences that the mixture's upper group starts from: the likeliest is
            taken, of equal ones the first.
    """
    each = [found for upper in starts if (found := _two_groups(scores, upper))]
    found = max(each, key=lambda one: round(one.likelihood, 4), default=None)
    if found is None or found.low == found.high:
        return float(scores.max(initial=-1.0)) + 1.0
    middle = (found.low + found.high) / 2
    return float(middle - found.prior * found.variance / (found.high - found.low))


class _Groups(NamedTuple):
    """A mixture of two normal distributions: their means, their one variance, the log-odds of the
    upper one before a score is seen, and how likely it makes a score.
    """

    low: float
    high: float
    variance: float
    prior: float
    likelihood: float


def _two_groups(scores: np.ndarray, upper: float) -> _Groups | None:
    """The mixture that fits scores best; None where they do not differ."""
    from sklearn.mixture import GaussianMixture

    x = scores.astype(np.float64)[:, None]
    if len(x) < 2 or np.ptp(x) == 0:
        return None
    cut = np.quantile(x, 1 - upper)
    means = np.array([[x[x <= cut].mean()], [x[x >= cut].mean()]])
    # Every start value is given: scikit-learn would draw the missing ones at random.
    mixture = GaussianMixture(
        2,
        covariance_type="tied",
        weights_init=[1 - upper, upper],
        means_init=means,
        precisions_init=[[1 / max(float(x.var()), 1e-6)]],
        max_iter=500,
        random_state=0,
    ).fit(x)
    low, high = sorted(range(2), key=lambda group: float(mixture.means_[group, 0]))
    return _Groups(
        low=mixture.means_[low, 0],
        high=mixture.means_[high, 0],
        variance=mixture.covariances_[0, 0],
        prior=np.log(mixture.weights_[high]) - np.log(mixture.weights_[low]),
        likelihood=mixture.lower_bound_,
    )
