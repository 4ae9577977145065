"""Exemplar sets: the sentences that excite a neuron most, or least (paper, section 3.3).

A neuron's leaders are its highest activations with the rows they are of, highest first, ties by the
lower row. Those of the whole corpus are among those of its halves. The lowest activations are the
leaders of the negated ones. A few of them, the bottom, are kept of every neuron.
"""

import math

import numpy as np

from descry.errors import InputError

HIGHEST, LOWEST = "highest", "lowest"
ENDS = (HIGHEST, LOWEST)  # of a neuron's activations
NOBODY = -1  # the row of a place that is not taken
BOTTOM = 10  # sentences with the lowest activation that are kept of every neuron
_SLAB = 1024  # rows that are taken in at a time, at least
_RUN = 256  # rows of which the lowest activation is looked at first


def exemplar_size(sentences: int, top_percent: float, min_size: int) -> int:
    """How many sentences the top `top_percent` of so many are, rounded up.

    Raises:
        InputError: fewer than `min_size`.
    """
    size = math.ceil(round(sentences * top_percent / 100, 9))
    if size < min_size:
        raise InputError(
            f"exemplars.top_percent: {top_percent:g}% of {sentences} sentences is {size}, but an"
            f" exemplar set needs {min_size} (exemplars.min_size): use more reviews or a larger"
            " percentage"
        )
    return size


def leaders(columns: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The `size` highest of every neuron (all, if there are fewer).

    Args:
        columns: float [neurons, sentences], contiguous, sentences in the order of their rows.

    Returns:
        rows: int32 [neurons, size], highest activation first, ties by the lower row.
        values: float32 [neurons, size], their activations.
    """
    size = min(size, columns.shape[1])
    rows = np.empty((len(columns), size), dtype=np.int32)
    for neuron, column in enumerate(columns):
        rows[neuron] = _top(column, size)
    return rows, np.take_along_axis(columns, rows, axis=1).astype(np.float32)


def _top(column: np.ndarray, size: int) -> np.ndarray:
    last = np.partition(column, len(column) - size)[len(column) - size]
    chosen = np.flatnonzero(column >= last)
    if len(chosen) > size:  # ties with the last: the lower rows
        ties = np.flatnonzero(column == last)
        chosen = np.setdiff1d(chosen, ties[size - len(chosen) :], assume_unique=True)
    return chosen[np.argsort(-column[chosen], kind="stable")]


def bottom(columns: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The few lowest of every neuron, as `leaders` of the negated ones gives them.

    Faster where `size` is small: the lowest lie in as many runs of rows, those of the lowest minima
    (ties: the earlier run), and the rest is looked at once.

    Args:
        columns: float [neurons, sentences], contiguous, sentences in the order of their rows.

    Returns:
        rows: int32 [neurons, size], lowest activation first, ties by the lower row.
        values: float32 [neurons, size], their activations, negated.
    """
    starts = np.arange(0, columns.shape[1], _RUN)
    minima = np.minimum.reduceat(columns, starts, axis=1)
    runs = np.sort(np.argsort(minima, axis=1, kind="stable")[:, :size], axis=1)
    rows = (starts[runs][:, :, None] + np.arange(_RUN)).reshape(len(columns), -1)
    beyond = rows >= columns.shape[1]  # only in the last run, and so behind all others
    rows[beyond] = 0
    values = -np.take_along_axis(columns, rows, axis=1)
    values[beyond] = -np.inf
    places, found = leaders(values, min(size, columns.shape[1]))
    return np.take_along_axis(rows, places, axis=1).astype(np.int32), found


def merged(parts: list[tuple[np.ndarray, np.ndarray]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The leaders of all out of those of its parts, each (rows, values) [neurons, any]."""
    rows, values = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    order = np.lexsort((rows, -values), axis=1)[:, :size]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)


def in_common(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share of each neuron's set that is also in another one: float64 [neurons].

    Args:
        first, second: int [neurons, any], rows of the corpus, each once.
    """
    neurons = np.arange(len(first))[:, None] * (1 + max(first.max(), second.max()))
    return np.asarray(np.isin(first + neurons, second + neurons).mean(axis=1))


class Leaders:
    """The leaders of rows that come block by block, in memory that does not grow with them.

    Attributes:
        rows: int32 [neurons, places], values: float32, of the same shape: the first `fill[neuron]`
            places are taken, in the order of values and rows where `fill` is at most `size`.
    """

    def __init__(self, neurons: int, size: int) -> None:
        self.size, self.slab = size, max(size, _SLAB)
        self.rows = np.full((neurons, size + self.slab), NOBODY, dtype=np.int32)
        self.values = np.full(self.rows.shape, -np.inf, dtype=np.float32)
        self.fill = np.zeros(neurons, dtype=np.int64)
        self.least = np.full(neurons, -np.inf, dtype=np.float32)  # to exceed; rises with `settle`

    def add(self, block: np.ndarray, rows: np.ndarray) -> None:
        """Take in activations [sentences, neurons] of rows that come after all earlier ones."""
        for start in range(0, len(block), self.slab):
            self._add(block[start : start + self.slab], rows[start : start + self.slab])

    def _add(self, block: np.ndarray, rows: np.ndarray) -> None:
        # On a tie with the least that leads the earlier row stays.
        sentence, neuron = np.nonzero(block > self.least)
        order = np.argsort(neuron, kind="stable")
        sentence, neuron = sentence[order], neuron[order]
        new = np.bincount(neuron, minlength=len(self.fill))
        if (self.fill + new > self.rows.shape[1]).any():
            self.settle()
        within = np.arange(len(neuron)) - np.repeat(np.cumsum(new) - new, new)
        place = self.fill[neuron] + within
        self.rows[neuron, place] = rows[sentence]
        self.values[neuron, place] = block[sentence, neuron]
        self.fill += new

    def settle(self) -> tuple[np.ndarray, np.ndarray]:
        """Leave the leaders alone, in order: their rows and values [neurons, size]."""
        # Stable: among equals, leaders stand before later rows, and those in their order.
        order = np.argsort(-self.values, axis=1, kind="stable")[:, : self.size]
        rows = np.take_along_axis(self.rows, order, axis=1)
        values = np.take_along_axis(self.values, order, axis=1)
        self.restore(rows, values)
        return rows, values

    def restore(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Go on from the leaders that `settle` gave."""
        self.rows.fill(NOBODY)
        self.values.fill(-np.inf)
        self.rows[:, : self.size], self.values[:, : self.size] = rows, values
        self.fill = (rows != NOBODY).sum(axis=1)
        self.least = values[:, -1].copy()  # -inf while a place is free
