"""Whether what neurons write has to do with what they read: words in common, beside other neurons.

A neuron that writes a word and reads sentences with the word has something in common with itself;
but many neurons read sentences with `the`. So its promoted words are looked up in what every other
neuron of the layer reads, too.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from descry.activations.nan_stats import ratio

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_LETTERS = 3  # of a word, at least: shorter ones are in every text
_BLOCK = 1024  # neurons whose words are looked up at a time


class InCommon(NamedTuple):
    """What each neuron writes and reads, compared; NaN where it writes no word or reads nothing.

    Attributes:
        own: share of its promoted words that it reads, float64 [neurons].
        other: the same in what another neuron of the layer reads, their mean.
        p: share of the neurons of the layer, itself included, in which so much is read.
    """

    own: np.ndarray
    other: np.ndarray
    p: np.ndarray


def as_word(token: str) -> str | None:
    """A token as a word to look up, in small letters; None where it is none, or a short one."""
    word = token.casefold()
    return word if len(word) >= _LETTERS and word.isalpha() else None


def words_written(tokens: Sequence[Sequence[str]], columns: Mapping[str, int]) -> "csr_matrix":
    """Which known words each neuron writes, as shares of all its words: float [neurons, words].

    Args:
        tokens: of each neuron, without marks of a word's beginning.
        columns: of the known words; others are counted, and read by nobody.
    """
    from scipy.sparse import csr_matrix

    rows, places, shares = list[int](), list[int](), list[float]()
    for row, own in enumerate(tokens):
        words = {word for word in map(as_word, own) if word}
        found = sorted(columns[word] for word in words & columns.keys())
        rows += [row] * len(found)
        places += found
        shares += [1 / max(1, len(words))] * len(found)
    return csr_matrix((shares, (rows, places)), shape=(len(tokens), len(columns)))


def in_common(written: "csr_matrix", read: "csr_matrix", writes: np.ndarray) -> InCommon:
    """What the neurons of a layer write and read.

    Args:
        written: float [neurons, words], of `words_written`.
        read: float [neurons, words], how far each neuron reads a word, 0 to 1; an empty row where
            it reads nothing.
        writes: bool [neurons], those that write words at all.
    """
    number = written.shape[0]
    own, other, p = (np.full(number, np.nan) for _ in range(3))
    reads = np.diff(read.indptr) > 0
    asked = np.flatnonzero(writes & reads)
    if np.count_nonzero(reads) < 2:
        return InCommon(own, other, p)
    readers = read[reads].T.tocsc()
    place = np.cumsum(reads) - 1
    for start in range(0, len(asked), _BLOCK):
        rows = asked[start : start + _BLOCK]
        shares = (written[rows] @ readers).toarray()
        mine = shares[np.arange(len(rows)), place[rows]]
        others = shares.shape[1] - 1
        own[rows] = mine
        other[rows] = ratio(shares.sum(axis=1) - mine, np.full(len(rows), others))
        p[rows] = (shares >= mine[:, None] - 1e-9).sum(axis=1) / (others + 1)
    return InCommon(own, other, p)
