"""From first scores to answers, without any label: what a corpus teaches about a descriptor.

1. Sentences with a clear first score are soft positives. One ridge regression from whole sentences
   to them learns the wording that the descriptor lacks; the final score is the mean of both.
2. A mixture of two normal distributions of one variance, fitted to a descriptor's scores over the
   corpus, says how likely a score belongs to the upper one: the log-odds of Yes.
"""

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
        first: standard first scores, likewise.
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
    from sklearn.mixture import GaussianMixture

    x = scores.astype(np.float64)[:, None]
    if len(x) < 2 or np.ptp(x) == 0:
        return np.full(len(x), -1.0)  # nothing stands out: No
    cut = np.quantile(x, 1 - UPPER)
    means = np.array([[x[x <= cut].mean()], [x[x >= cut].mean()]])
    # Every start value is given: scikit-learn would draw the missing ones at random.
    mixture = GaussianMixture(
        2,
        covariance_type="tied",
        weights_init=[1 - UPPER, UPPER],
        means_init=means,
        precisions_init=[[1 / max(float(x.var()), 1e-6)]],
        max_iter=500,
        random_state=0,
    ).fit(x)
    low, high = sorted(range(2), key=lambda group: float(mixture.means_[group, 0]))
    m0, m1 = mixture.means_[low, 0], mixture.means_[high, 0]
    prior = np.log(mixture.weights_[high]) - np.log(mixture.weights_[low])
    distance = (scores - m0) ** 2 - (scores - m1) ** 2
    return np.asarray(prior + distance / (2 * mixture.covariances_[0, 0]), dtype=np.float64)
