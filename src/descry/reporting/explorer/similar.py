"""Which neurons are excited by the same sentences."""

from collections.abc import Iterator

import numpy as np

from descry.io.prefetch import cores, map_ahead

_BLOCK = 256  # neurons compared with all others at a time


def similar(sets: np.ndarray, sentences: int, most: int) -> list[list[tuple[int, float]]]:
    """The neurons whose exemplar sets have most in common with each one's; ties: the lower number.

    Args:
        sets: int [neurons, size], rows of the corpus, each once; -1 behind a smaller set's end.
        sentences: of the corpus.
        most: how many of each; fewer where others have nothing in common with it.

    Returns:
        Of each neuron: numbers of others, and the Jaccard similarity of the sets, highest first.
    """
    from scipy.sparse import csr_array

    neurons, sizes = len(sets), np.count_nonzero(sets >= 0, axis=1)
    in_order = np.sort(sets, axis=1)  # which halves the time
    rows = in_order[in_order >= 0]
    parts = np.ones(len(rows), dtype=np.int32), rows, np.concatenate([[0], np.cumsum(sizes)])
    every = csr_array(parts, shape=(neurons, sentences))
    transposed = every.T.tocsr()

    def of(start: int) -> np.ndarray:
        shared = (every[start : start + _BLOCK] @ transposed).toarray()
        return _leading(shared, start, most)

    found: list[list[tuple[int, float]]] = []
    for start, block in enumerate(map_ahead(of, range(0, neurons, _BLOCK), cores())):
        found += _jaccard(block, sizes, start * _BLOCK)
    return found


def _leading(shared: np.ndarray, start: int, most: int) -> np.ndarray:
    """Numbers of the leading others and how much they share: int64 [neurons, most, 2]."""
    rows, neurons = np.arange(len(shared)), shared.shape[1]
    shared[rows, start + rows] = 0  # itself
    # One number to order by: what is shared, then the lower number.
    key = shared.astype(np.int64) * neurons + (neurons - 1 - np.arange(neurons))
    most = min(most, neurons)
    key = np.partition(key, neurons - most, axis=1)[:, neurons - most :]
    key = -np.sort(-key, axis=1)
    return np.stack([neurons - 1 - key % neurons, key // neurons], axis=2)


def _jaccard(block: np.ndarray, sizes: np.ndarray, start: int) -> Iterator[list[tuple[int, float]]]:
    sizes = sizes.tolist()
    for own, others in zip(sizes[start:], block.tolist(), strict=False):
        yield [(n, shared / (own + sizes[n] - shared)) for n, shared in others if shared]


def by_chance(size: int, sentences: int) -> float:
    """The Jaccard similarity of two random sets that share as much as one expects them to."""
    return size / (2 * sentences - size)
