"""How well a sentence talks about a descriptor, by a sentence embedder alone.

1. A descriptor is a direction: the mean embedding of its name in a few neutral frames and of its
   own phrases, less the mean of all descriptors, so that what tells it from the others is left.
2. Its first score of a sentence is the cosine of the sentence's best window of a few words.
3. The corpus teaches it the wording it lacks: one ridge regression from whole sentences to the
   clear first scores (weak supervision, no gold labels). The final score is the mean of both.
4. A mixture of two normal distributions of one variance, fitted to a descriptor's scores over the
   corpus, says how likely a score belongs to the upper one: the log-odds of Yes.
"""

import re
from collections.abc import Sequence

import numpy as np

from descry.models.embedder import Embed

FRAMES = (
    "{}",
    "good {}",
    "bad {}",
    "The review talks about {}.",
    "I love the {}.",
    "The {} is disappointing.",
)
PHRASES = 30  # of a descriptor's own, the most mentioned
WINDOW, STRIDE = 4, 2  # words
CLEAR = 1.25  # a first score so far above the corpus mean counts as a soft positive
RIDGE = 0.02  # penalty per sentence, on features of mean squared norm 1
OWN = 0.5  # weight of the first score in the final one
CONTRAST = 4  # descriptors from which on their mean is a background to subtract
UPPER = 0.1  # share of sentences that the mixture's upper group starts from
CHUNK = 20_000  # windows embedded at a time: what bounds the memory
_WORD = re.compile(r"[^\W\d_][\w'’]+|\d+")


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9))


def _standard(x: np.ndarray) -> np.ndarray:
    return np.asarray((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9))


def windows(sentence: str) -> list[str]:
    """Overlapping windows of words that cover the sentence; at least one."""
    words = _WORD.findall(sentence.lower())
    starts = range(0, max(1, len(words) - WINDOW + STRIDE), STRIDE)
    return [" ".join(words[i : i + WINDOW]) or sentence or "-" for i in starts]


def match(
    descriptors: dict[str, Sequence[str]], sentences: Sequence[str], embed: Embed
) -> np.ndarray:
    """Log-odds of Yes of every sentence and descriptor: float64 [sentences, descriptors].

    Args:
        descriptors: each with its own phrases (none is allowed).
        sentences: the corpus, to which the scores are fitted.
    """
    return match_both(descriptors, {}, sentences, embed)[0]


def match_both(
    descriptors: dict[str, Sequence[str]],
    merged: dict[str, Sequence[str]],
    sentences: Sequence[str],
    embed: Embed,
) -> tuple[np.ndarray, np.ndarray]:
    """The same, and of descriptions that are several of the descriptors, in one go.

    What is merged stands before the same background as the descriptors, and each column of it is
    computed by itself: to the last digit it does not depend on what else is asked.

    Args:
        merged: each description with the phrases of its descriptors.
    """
    directions = _directions(descriptors, embed)
    vectors = embed(sentences)
    background = _background(directions, vectors)
    apart = _directions(merged, embed) if merged else ()
    alone = [_unit(direction - background) for direction in apart]
    best = _best_window(sentences, _unit(directions - background), alone, embed)
    first = _standard(np.ascontiguousarray(best[:, : len(directions)]))
    odds = [log_odds(column) for column in _smooth(first, vectors).T]
    for i in range(len(directions), best.shape[1]):
        odds.append(log_odds(_smooth(_standard(best[:, [i]]), vectors)[:, 0]))
    both = np.stack(odds, axis=1)
    return both[:, : len(directions)], both[:, len(directions) :]


def _background(directions: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    # With few descriptors there is nothing to contrast with but the corpus itself.
    enough = len(directions) >= CONTRAST
    return np.asarray(directions.mean(axis=0) if enough else vectors.mean(axis=0))


def _directions(descriptors: dict[str, Sequence[str]], embed: Embed) -> np.ndarray:
    rows = []
    for name, phrases in descriptors.items():
        words = re.sub(r"[\W_]+", " ", name).strip().lower() or name
        vector = _unit(embed([frame.format(words) for frame in FRAMES]).mean(axis=0))
        own = [phrase for phrase in dict.fromkeys(phrases) if phrase not in (name, words)]
        if own:
            vector = _unit(vector + _unit(embed(own[:PHRASES]).mean(axis=0)))
        rows.append(vector)
    return np.stack(rows)


def _best_window(
    sentences: Sequence[str], directions: np.ndarray, alone: list[np.ndarray], embed: Embed
) -> np.ndarray:
    parts = [windows(sentence) for sentence in sentences]
    index = {w: i for i, w in enumerate(dict.fromkeys(w for part in parts for w in part))}
    distinct = list(index)
    chunks = (distinct[i : i + CHUNK] for i in range(0, len(distinct), CHUNK))
    scores = np.concatenate([_cosines(embed(chunk), directions, alone) for chunk in chunks])
    flat = scores[[index[w] for part in parts for w in part]]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return np.asarray(np.maximum.reduceat(flat, starts, axis=0))


def _cosines(vectors: np.ndarray, directions: np.ndarray, alone: list[np.ndarray]) -> np.ndarray:
    """float32 [vectors, all directions]; a product's last digits depend on how many it is of."""
    return np.column_stack([vectors @ directions.T, *(vectors @ own for own in alone)])


def _smooth(first: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    x = vectors - vectors.mean(axis=0)
    x = x / max(float(np.sqrt((x**2).sum(axis=1).mean())), 1e-9)
    target = np.maximum(first - CLEAR, 0)
    gram = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1], dtype=x.dtype)
    fitted = x @ np.linalg.solve(gram, x.T @ (target - target.mean(axis=0)))
    return _standard(_standard(fitted) + OWN * first)


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
