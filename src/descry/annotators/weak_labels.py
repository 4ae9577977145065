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


class Standard(NamedTuple):
    """What makes the columns of a matrix standard: their means and deviations."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> "Standard":
        """Those of a matrix."""
        return cls(x.mean(axis=0), x.std(axis=0))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The same columns, of any rows."""
        return np.asarray((x - self.mean) / (self.deviation + 1e-9))


def standard(x: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and deviation 1; 0 where all its values are equal."""
    return Standard.of(x)(x)


class Weak(NamedTuple):
    """What some sentences have taught about descriptors, to be applied to any.

    Attributes:
        first: makes first scores standard.
        mean, length: of the sentences' vectors.
        weights: of a standard vector, [dimension, descriptors].
        learnt, final: make the learnt part standard, and its sum with the first scores.
        groups: of each descriptor, how its final scores part; None where they do not differ.
    """

    first: Standard
    mean: np.ndarray
    length: float
    weights: np.ndarray
    learnt: Standard
    final: Standard
    groups: "list[_Groups | None]"

    def __call__(self, first: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Log-odds of Yes of any sentences: float64 [sentences, descriptors].

        Args:
            first: first scores, [sentences, descriptors].
            vectors: of whole sentences, [sentences, dimension].
        """
        learnt = self.learnt((vectors - self.mean) / self.length @ self.weights)
        scores = self.final(learnt + OWN * self.first(first))
        odds = [_odds(column, of) for column, of in zip(scores.T, self.groups, strict=True)]
        return np.stack(odds, axis=1) if odds else np.empty(first.shape)


def learn(first: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, Weak]:
    """The log-odds of some sentences (`Weak`), and what they have taught.

    Args:
        first, vectors: as `Weak` takes them.
    """
    own = Standard.of(first)
    scores, smoothing = _smooth(own(first), vectors)
    groups = [_two_groups(column, UPPER) for column in scores.T]
    odds = [_odds(column, of) for column, of in zip(scores.T, groups, strict=True)]
    return np.stack(odds, axis=1), Weak(own, *smoothing, groups)


def smooth(first: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Final scores: [sentences, descriptors].

    Args:
        first: standard first scores, of the same shape.
        vectors: of whole sentences, [sentences, dimension].
    """
    return _smooth(first, vectors)[0]


def _smooth(
    first: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, float, np.ndarray, Standard, Standard]]:
    """The same, and the fields of `Weak` that it found."""
    mean = vectors.mean(axis=0)
    x = vectors - mean
    length = max(float(np.sqrt((x**2).sum(axis=1).mean())), 1e-9)
    x = x / length
    target = np.maximum(first - CLEAR, 0)
    gram = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1], dtype=x.dtype)
    weights = np.linalg.solve(gram, x.T @ (target - target.mean(axis=0)))
    fitted = x @ weights
    learnt = Standard.of(fitted)
    both = learnt(fitted) + OWN * first
    final = Standard.of(both)
    return final(both), (mean, length, weights, learnt, final)


def log_odds(scores: np.ndarray) -> np.ndarray:
    """How likely each score is of the upper of two groups: float64 [sentences], rising with it.

    With one variance for both groups the log-odds are linear in the score, so the answer Yes has
    one threshold, fitted to the corpus without any label.
    """
    return _odds(scores, _two_groups(scores, UPPER))


def _odds(scores: np.ndarray, found: "_Groups | None") -> np.ndarray:
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
