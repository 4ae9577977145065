"""Whether a sentence talks about a descriptor, judged only by a sentence embedder.

1. A descriptor is a direction: the mean embedding of its name in a few neutral frames and of its
   own phrases, less the mean of all descriptors, so that what tells it from the others is left.
2. Its first score of a sentence is the mean cosine of the sentence's best tokens, in their context
   as the model reads them, less a part of what as many tokens at random would reach (tries.py).
3. The corpus teaches it the wording it lacks, and where Yes begins (weak_labels.py).
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from descry.annotators.embedding.tries import Tries, best
from descry.annotators.weak_labels import log_odds, smooth, standard
from descry.models.embedder import Embedder, TokenBatch

FRAMES = (
    "{}",
    "good {}",
    "bad {}",
    "The review talks about {}.",
    "I love the {}.",
    "The {} is disappointing.",
)
PHRASES = 30  # of a descriptor's own, the most mentioned
WINDOW, STRIDE = 4, 2  # words, where a model has no tokens to compare
CONTRAST = 4  # descriptors from which on their mean is a background to subtract
TOGETHER = 1_000  # sentences whose windows are embedded at a time: what bounds the memory
_WORD = re.compile(r"[^\W\d_][\w'’]+|\d+")


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9))


def match(
    descriptors: dict[str, Sequence[str]], sentences: Sequence[str], embed: Embedder
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
    embed: Embedder,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute similarities for the descriptions of several descriptors in one pass.

    What is merged stands before the same background as the descriptors, and each column of it is
    computed by itself: to the last digit it does not depend on what else is asked.

    Args:
        merged: each description with the phrases of its descriptors.
    """
    directions = _directions(descriptors, embed)
    # With few descriptors there is nothing to contrast with but the corpus itself.
    enough = len(directions) >= CONTRAST
    background = (directions if enough else embed(sentences)).mean(axis=0)
    apart = _directions(merged, embed) if merged else ()
    alone = [_unit(direction - background) for direction in apart]
    first, vectors = _read(sentences, _unit(directions - background), alone, embed)
    own = standard(np.ascontiguousarray(first[:, : len(directions)]))
    odds = [log_odds(column) for column in smooth(own, vectors).T]
    for i in range(len(directions), first.shape[1]):
        odds.append(log_odds(smooth(standard(first[:, [i]]), vectors)[:, 0]))
    both = np.stack(odds, axis=1)
    return both[:, : len(directions)], both[:, len(directions) :]


def _directions(descriptors: dict[str, Sequence[str]], embed: Embedder) -> np.ndarray:
    rows = []
    for name, phrases in descriptors.items():
        words = re.sub(r"[\W_]+", " ", name).strip().lower() or name
        vector = _unit(embed([frame.format(words) for frame in FRAMES]).mean(axis=0))
        own = [phrase for phrase in dict.fromkeys(phrases) if phrase not in (name, words)]
        if own:
            vector = _unit(vector + _unit(embed(own[:PHRASES]).mean(axis=0)))
        rows.append(vector)
    return np.stack(rows)


def _read(
    sentences: Sequence[str], directions: np.ndarray, alone: list[np.ndarray], embed: Embedder
) -> tuple[np.ndarray, np.ndarray]:
    """First scores [sentences, all directions] and vectors [sentences, dimension], float32."""
    number = len(directions) + len(alone)
    scores = np.empty((len(sentences), number), dtype=np.float32)
    vectors = np.empty((len(sentences), directions.shape[1]), dtype=np.float32)
    lengths = np.empty(len(sentences), dtype=np.int64)
    tries = Tries(number)
    for batch in embed.read(sentences) if embed.read else _by_windows(sentences, embed):
        vectors[batch.rows] = batch.vectors
        cosines = _cosines(_unit(np.concatenate(batch.tokens)), directions, alone)
        tries.add(cosines)
        sizes = [len(tokens) for tokens in batch.tokens]
        lengths[batch.rows] = sizes
        for row, own in zip(batch.rows, np.split(cosines, np.cumsum(sizes)[:-1]), strict=True):
            scores[row] = best(own)
    return scores - tries.expected(lengths), vectors


def windows(sentence: str) -> list[str]:
    """Overlapping windows of words that cover the sentence; at least one."""
    words = _WORD.findall(sentence.lower())
    starts = range(0, max(1, len(words) - WINDOW + STRIDE), STRIDE)
    return [" ".join(words[i : i + WINDOW]) or sentence or "-" for i in starts]


def _by_windows(sentences: Sequence[str], embed: Embedder) -> Iterator[TokenBatch]:
    """Windows of words, embedded by themselves, in place of tokens."""
    for start in range(0, len(sentences), TOGETHER):
        group = sentences[start : start + TOGETHER]
        parts = [windows(sentence) for sentence in group]
        index = {w: i for i, w in enumerate(dict.fromkeys(w for part in parts for w in part))}
        of_window = embed(list(index))
        tokens = [of_window[[index[w] for w in part]] for part in parts]
        yield TokenBatch(np.arange(start, start + len(group)), embed(group), tokens)


def _cosines(vectors: np.ndarray, directions: np.ndarray, alone: list[np.ndarray]) -> np.ndarray:
    """float32 [vectors, all directions]; a product's last digits depend on how many it is of."""
    return np.column_stack([vectors @ directions.T, *(vectors @ own for own in alone)])
