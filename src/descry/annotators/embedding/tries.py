"""How much the length of a sentence adds to the score of its best tokens.

The best of many tokens is better than the best of few, whatever they say: without a correction a
long review gets Yes where a short one of the same content gets No. As many tokens drawn from the
corpus at random reach the mean of its highest BEST / n on average, but a sentence's own tokens are
of one context and reach less: half of the excess is taken off. Yes on the sample then follows
length as the gold labels do (docs/benchmarks.md). Below CLAUSE tokens nothing is taken off: what a
clause has more of than another is content, not tries.
"""

import numpy as np

BEST = 3  # tokens whose mean is the score of a sentence
CLAUSE = 16  # tokens, with punctuation: up to a dozen words
PART = 0.5  # of the excess that is taken off
_BINS = 4096  # of a cosine from -1 to 1


def best(cosines: np.ndarray) -> np.ndarray:
    """The mean of the highest BEST of each column, or of all where there are fewer.

    Args:
        cosines: [tokens, directions], at least one token.
    """
    if len(cosines) > BEST:
        cosines = np.partition(cosines, -BEST, axis=0)[-BEST:]
    return np.asarray(cosines.mean(axis=0))


class Tries:
    """The cosines of all tokens of a corpus, as a histogram of each direction."""

    def __init__(self, directions: int) -> None:
        self._counts = np.zeros((directions, _BINS), dtype=np.int64)

    def add(self, cosines: np.ndarray) -> None:
        """Count the cosines of some tokens: float [tokens, directions]."""
        bins = np.clip(((cosines + 1) * (_BINS / 2)).astype(np.int64), 0, _BINS - 1)
        places = bins + np.arange(len(self._counts)) * _BINS
        counts = np.bincount(places.ravel(), minlength=self._counts.size)
        self._counts += counts.reshape(self._counts.shape)

    def expected(self, lengths: np.ndarray) -> np.ndarray:
        """Return what to subtract from the scores of sentences: float32 [sentences, directions].

        Args:
            lengths: tokens of each sentence.
        """
        highest = self._counts[:, ::-1]
        values = (np.arange(_BINS)[::-1] + 0.5) * (2 / _BINS) - 1
        tokens, sums = (
            np.pad(np.cumsum(part, axis=1), ((0, 0), (1, 0)))
            for part in (highest, highest * values)
        )
        taken = tokens[0, -1] * (BEST / np.maximum(lengths, CLAUSE))
        columns = [np.interp(taken, t, s) / taken for t, s in zip(tokens, sums, strict=True)]
        return (PART * np.stack(columns, axis=1)).astype(np.float32)
