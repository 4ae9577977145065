"""Sentences exchanged within their strata: the nulls of every score, as counts.

The answer about a sentence is exchanged with the answer about another sentence of the same stratum,
or a set of sentences with another set that has as many of each stratum.
"""

import numpy as np

from descry.compiled import compiled
from descry.labels.counting import set_sums
from descry.labels.loops import count_members


class Shuffles:
    """How many Yes sets would have if sentences were exchanged within their strata.

    Only sentences with an answer are exchanged, descriptor by descriptor: in each stratum a set
    keeps as many answers as it has, and the stratum as many Yes. Descriptors with answers about the
    same sentences are exchanged together, and so keep what they have in common.

    Args:
        members: int [neurons, size], rows of the sentences, -1 behind the end of a smaller set.
        answers: int8 [sentences, descriptors], 1 Yes, 0 No, -1 none.
        strata: int [sentences], the stratum of each, from 0.
    """

    def __init__(self, members: np.ndarray, answers: np.ndarray, strata: np.ndarray) -> None:
        self._shape = len(members), answers.shape[1]
        known, group = np.unique(answers >= 0, axis=1, return_inverse=True)
        self._groups = [
            (columns, _Exchange(members, answers[:, columns] == 1, strata, known[:, number]))
            for number in range(known.shape[1])
            for columns in [np.flatnonzero(group == number)]
        ]

    def permuted(self, keys: np.ndarray) -> np.ndarray:
        """Yes in the sets after the answers were shuffled: int32 [neurons, descriptors].

        Args:
            keys: float [sentences], random numbers from 0 to 1, in whose order they are shuffled.
        """
        return self._gathered([exchange.permuted(keys) for _, exchange in self._groups])

    def random(self, keys: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Yes in random sets of other sentences: int32 [neurons, descriptors].

        The sentences of each stratum are shuffled, and each set takes as many as it had there, one
        after the other from a random start.

        Args:
            keys: as in `permuted`.
            starts: float [neurons, strata], random numbers from 0 to 1.
        """
        return self._gathered([exchange.random(keys, starts) for _, exchange in self._groups])

    def _gathered(self, parts: list[np.ndarray]) -> np.ndarray:
        if len(parts) == 1:
            return parts[0]
        found = np.empty(self._shape, dtype=np.int32)
        for (columns, _), part in zip(self._groups, parts, strict=True):
            found[:, columns] = part
        return found


class _Exchange:
    """The descriptors with answers about the same sentences."""

    def __init__(
        self, members: np.ndarray, flags: np.ndarray, strata: np.ndarray, known: np.ndarray
    ) -> None:
        rows = np.flatnonzero(known)
        self._rows = rows[np.argsort(strata[rows], kind="stable")]  # stratum by stratum
        self._strata = strata[self._rows]
        place = np.full(len(known) + 1, -1)  # -1 is nobody's
        place[self._rows] = np.arange(len(rows))
        self._members = place[members]
        self._flags = flags[self._rows].view(np.uint8)
        number = int(strata.max(initial=0)) + 1
        self._sizes = np.bincount(self._strata, minlength=number)
        self._counts = np.zeros((len(members), number), dtype=np.int64)
        count_members(self._members, self._strata.astype(np.int64, copy=False), self._counts)
        # Each stratum twice: a block that begins near its end goes on at its beginning.
        self._first = np.cumsum(self._sizes) - self._sizes
        spans = [
            np.arange(start, start + size)
            for start, size in zip(self._first, self._sizes, strict=True)
        ]
        self._twice = np.concatenate([np.tile(span, 2) for span in spans])

    def permuted(self, keys: np.ndarray) -> np.ndarray:
        return set_sums(self._members, self._flags[self._order(keys)])

    def random(self, keys: np.ndarray, starts: np.ndarray) -> np.ndarray:
        shuffled = self._flags[self._order(keys)][self._twice]
        begins = 2 * self._first + (starts * self._sizes).astype(np.int64)
        found = np.zeros((len(begins), shuffled.shape[1]), dtype=np.int32)
        _add_blocks(shuffled, begins, self._counts, found)
        return found

    def _order(self, keys: np.ndarray) -> np.ndarray:
        """Where each sentence's answers come from: a shuffle within every stratum."""
        return np.lexsort((keys[self._rows], self._strata))


@compiled
def _add_blocks(
    flags: np.ndarray, begins: np.ndarray, lengths: np.ndarray, found: np.ndarray
) -> None:
    """Add the flags of each neuron's block of each stratum: sums behind it less sums before it."""
    before = np.zeros((len(flags) + 1, flags.shape[1]), dtype=np.int32)
    for row in range(flags.shape[0]):
        for column in range(flags.shape[1]):
            before[row + 1, column] = before[row, column] + flags[row, column]
    for neuron in range(begins.shape[0]):
        for stratum in range(begins.shape[1]):
            first, number = begins[neuron, stratum], lengths[neuron, stratum]
            if number > 0:
                for column in range(flags.shape[1]):
                    found[neuron, column] += before[first + number, column] - before[first, column]
