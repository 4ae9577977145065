"""Exemplar sets: the sentences that excite a neuron most, or least (paper, section 3.3).

A neuron's leaders are its highest activations with the rows they are of, highest first, ties by the
lower row. The leaders of the whole corpus are among the leaders of its halves. The lowest
activations are the leaders of the negated ones. A few of the lowest, the bottom, are kept of every
neuron.

A set takes all sentences with the same activation, or none of them: a choice among them would be
arbitrary. If only some would fit, the set ends before them. A neuron has no set if too few
sentences are left, or if its activation never changes.
"""

import math
from collections.abc import Mapping

import numpy as np

from descry.activations.nan_stats import ratio
from descry.errors import InputError

HIGHEST, LOWEST = "highest", "lowest"
ENDS = (HIGHEST, LOWEST)  # of a neuron's activations
NOBODY = -1  # the row of a place that is not taken
BOTTOM = 10  # sentences with the lowest activation that are kept of every neuron
_SLAB = 1024  # rows that are added at a time
_WAITING = 2**22  # activations of all neurons that wait, at most about
_RUN = 256  # rows of which the lowest activation is looked at first
_LAST_DIGITS = 8 * float(np.finfo(np.float32).eps)  # of an activation, which mean nothing
NEVER, FEW, SHARED, TIED = "never change", "fire on too few", "share their highest", "tied"
REASONS = (NEVER, FEW, SHARED, TIED)  # why neurons have no set


def exemplar_size(sentences: int, top_percent: float, min_size: int) -> int:
    """Return how many sentences the top `top_percent` are, rounded up.

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


def never_changes(lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """The neurons whose activations are the same but for the last digits: bool [neurons]."""
    span = highest.astype(np.float64) - lowest
    return np.asarray(span <= _LAST_DIGITS * np.maximum(np.abs(lowest), np.abs(highest)))


def set_sizes(values: np.ndarray, places: int, min_size: int) -> np.ndarray:
    """Return how many of each neuron's leaders make its set: int [neurons], 0 for no set.

    All that there are places for; or, where the last of those has an equal beyond, those above it.

    Args:
        values: float [neurons, any], activations of the leaders, highest first; one more than there
            are places, if there are as many sentences.
        min_size: sentences, below which a set says nothing.
    """
    known = values.shape[1]
    taken = min(places, known)
    last = values[:, taken - 1 : taken]
    # Where all sentences are among the leaders none is left out, but equals at the floor may be in.
    beyond = taken if known > taken else taken - 2
    tied = (
        values[:, beyond : beyond + 1] == last if beyond >= 0 else np.zeros_like(last, dtype=bool)
    )
    sizes = np.where(tied[:, 0], np.count_nonzero(values > last, axis=1), taken)
    return np.where(sizes < min_size, 0, sizes)


def exemplar_sets(
    rows: np.ndarray, values: np.ndarray, still: np.ndarray, places: int, min_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The sets that leaders make.

    Args:
        rows, values: of the leaders, [neurons, any], as `set_sizes` takes them.
        still: bool [neurons], those that never change: they have no set.
        places: of a set.
        min_size: sentences, below which a set says nothing.

    Returns:
        rows: int32 [neurons, places], highest activation first, NOBODY behind the end of a set.
        values: float32 of the same shape, NaN there.
    """
    sizes = np.where(still, 0, set_sizes(values, places, min_size))
    rows, values = rows[:, :places], values[:, :places]
    behind = np.arange(rows.shape[1]) >= sizes[:, None]
    return np.where(behind, np.int32(NOBODY), rows), np.where(behind, np.float32(np.nan), values)


def reasons(
    distribution: Mapping[str, np.ndarray], sentences: int, places: int, end: str
) -> np.ndarray:
    """Return why each neuron has no set, as places in REASONS: int [neurons].

    Args:
        distribution: `lowest`, `highest`, `at_lowest` and `at_highest` of `Distribution.summary`.
        sentences: of the corpus.
        places: of a set of the whole corpus.
    """
    near, floor = (distribution[name] for name in _counted(end))
    found = np.full(near.shape, REASONS.index(TIED))
    found[(floor > 1) & (sentences - floor < places)] = REASONS.index(FEW)
    found[near > places] = REASONS.index(SHARED)
    found[never_changes(distribution["lowest"], distribution["highest"])] = REASONS.index(NEVER)
    return found


def in_words(
    distribution: Mapping[str, np.ndarray], sentences: int, places: int, end: str
) -> list[str]:
    """Say why each neuron has no set, such as: fires on 3 sentences."""
    near, floor = (distribution[name] for name in _counted(end))
    whole = reasons(distribution, sentences, places, end)
    return [
        {
            NEVER: "never changes",
            FEW: f"{'fires on' if end == HIGHEST else 'is below its highest activation on'}"
            f" {_some(sentences - int(most))}",
            SHARED: f"its {end} activation is shared by {_some(int(same))}",
            TIED: "too many sentences have the same activation",
        }[REASONS[reason]]
        for reason, most, same in zip(whole, floor, near, strict=True)
    ]


def _counted(end: str) -> tuple[str, str]:
    """Names of how many sentences are at an end's extreme, and of how many at the floor."""
    names = "at_highest", "at_lowest"
    return names if end == HIGHEST else names[::-1]


def _some(sentences: int) -> str:
    return f"{sentences:,} sentence{'' if sentences == 1 else 's'}"


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
    """The leaders of all sentences, from the leaders of parts: (rows, values) [neurons, any].

    Sets of the whole corpus come from those of its halves by this, for a matrix and for streams.
    """
    rows, values = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    order = np.lexsort((rows, -values), axis=1)[:, :size]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)


def in_common(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share of each neuron's set that is also in another one: float64 [neurons].

    1 where there is no set in either, 0 where there is one in the second alone.

    Args:
        first, second: int [neurons, any], rows of the corpus, each once, or NOBODY.
    """
    neurons = np.arange(len(first))[:, None] * (1 + max(first.max(), second.max()))
    taken = first != NOBODY
    shared = np.isin(first + neurons, (second + neurons)[second != NOBODY]) & taken
    found = ratio(np.count_nonzero(shared, axis=1), np.count_nonzero(taken, axis=1))
    neither = np.all(second == NOBODY, axis=1)
    return np.where(taken.any(axis=1), found, neither)


class TopK:
    """The leaders of rows that come block by block, in memory that does not grow with them.

    Attributes:
        rows: int [neurons, places], values: float32, of the same shape: the first `fill[neuron]`
            places are taken, in the order of values and rows where `fill` is at most `size`.
    """

    def __init__(self, neurons: int, size: int, dtype: str = "int32") -> None:
        """Begin with none.

        Args:
            dtype: of the rows.
        """
        # What waits is held for every neuron: of many neurons less of it.
        self.size, self.slab = size, max(size, min(_SLAB, _WAITING // neurons))
        self.rows = np.full((neurons, size + self.slab), NOBODY, dtype=dtype)
        self.values = np.full(self.rows.shape, -np.inf, dtype=np.float32)
        self.fill = np.zeros(neurons, dtype=np.int64)
        self.least = np.full(neurons, -np.inf, dtype=np.float32)  # to exceed; rises with `finalize`

    def add(self, block: np.ndarray, rows: np.ndarray) -> None:
        """Add activations [rows, neurons] of rows that come after all earlier ones.

        Args:
            rows: int [rows], or [rows, neurons] where each neuron has its own.
        """
        for start in range(0, len(block), self.slab):
            self._add(block[start : start + self.slab], rows[start : start + self.slab])

    def _add(self, block: np.ndarray, rows: np.ndarray) -> None:
        # On a tie with the least that leads the earlier row stays.
        sentence, neuron = np.nonzero(block > self.least)
        order = np.argsort(neuron, kind="stable")
        sentence, neuron = sentence[order], neuron[order]
        new = np.bincount(neuron, minlength=len(self.fill))
        if (self.fill + new > self.rows.shape[1]).any():
            self.finalize()
        within = np.arange(len(neuron)) - np.repeat(np.cumsum(new) - new, new)
        place = self.fill[neuron] + within
        self.rows[neuron, place] = rows[sentence] if rows.ndim == 1 else rows[sentence, neuron]
        self.values[neuron, place] = block[sentence, neuron]
        self.fill += new

    def finalize(self) -> tuple[np.ndarray, np.ndarray]:
        """Drop all but the leaders: their rows and values in order, [neurons, size]."""
        # Stable: among equals, leaders stand before later rows, and those in their order.
        order = np.argsort(-self.values, axis=1, kind="stable")[:, : self.size]
        rows = np.take_along_axis(self.rows, order, axis=1)
        values = np.take_along_axis(self.values, order, axis=1)
        self.restore(rows, values)
        return rows, values

    def restore(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Restore the leaders that `finalize` returned."""
        self.rows.fill(NOBODY)
        self.values.fill(-np.inf)
        self.rows[:, : self.size], self.values[:, : self.size] = rows, values
        self.fill = (rows != NOBODY).sum(axis=1)
        self.least = values[:, -1].copy()  # -inf while a place is free
