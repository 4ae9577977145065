"""Sentences exchanged within their strata: the nulls of every score, as counts.

The answer about a sentence is exchanged with the answer about another sentence of the same stratum,
or a set of sentences with another set that has as many of each stratum.
"""

import numpy as np

from descry.labels.counting import Fields, SparseSets


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
        """Yes in the sets after the answers were shuffled: int64 [neurons, descriptors].

        Args:
            keys: float [sentences], random numbers from 0 to 1, in whose order they are shuffled.
        """
        return self._gathered([exchange.permuted(keys) for _, exchange in self._groups])

    def random(self, keys: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Yes in random sets of other sentences: int64 [neurons, descriptors].

        The sentences of each stratum are shuffled, and each set takes as many as it had there, one
        after the other from a random start.

        Args:
            keys: as in `permuted`.
            starts: float [neurons, strata], random numbers from 0 to 1.
        """
        return self._gathered([exchange.random(keys, starts) for _, exchange in self._groups])

    def _gathered(self, parts: list[np.ndarray]) -> np.ndarray:
        found = np.empty(self._shape, dtype=np.int64)
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
        own = place[members]
        own = np.take_along_axis(own, np.argsort(own < 0, axis=1, kind="stable"), axis=1)
        self._fields = Fields(flags.shape[1], members.shape[1])
        self._packed = self._fields.pack(flags[self._rows])
        self._sets = SparseSets(own, len(rows))
        number = int(strata.max(initial=0)) + 1
        self._sizes = np.bincount(self._strata, minlength=number)
        cells = np.append(self._strata, number)[own] + np.arange(len(own))[:, None] * (number + 1)
        counts = np.bincount(cells.ravel(), minlength=len(own) * (number + 1))
        self._counts = counts.reshape(len(own), number + 1)[:, :number]
        # Each stratum twice: a block that begins near its end goes on at its beginning.
        first = np.cumsum(self._sizes) - self._sizes
        spans = [
            np.arange(start, start + size) for start, size in zip(first, self._sizes, strict=True)
        ]
        self._twice = np.concatenate([np.tile(span, 2) for span in spans])
        # What each set has of a stratum is the sums behind its block less those before it.
        neuron, self._of_block = np.nonzero(self._counts)
        self._begins = 2 * first[self._of_block]
        self._lengths = self._counts[neuron, self._of_block]
        self._neuron = neuron
        blocks = np.bincount(neuron, minlength=len(own))
        self._pointers = np.concatenate([[0], np.cumsum(2 * blocks)]).astype(np.int32)
        self._signs = np.tile(np.array([1, -1]).astype(np.uint64), len(neuron))

    def permuted(self, keys: np.ndarray) -> np.ndarray:
        return self._fields.unpack(self._sets.packed_sums(self._packed[self._order(keys)]))

    def random(self, keys: np.ndarray, starts: np.ndarray) -> np.ndarray:
        from scipy.sparse import csr_array

        shuffled = self._packed[self._order(keys)][self._twice]
        before = np.zeros((len(shuffled) + 1, shuffled.shape[1]), dtype=np.uint64)
        np.cumsum(shuffled, axis=0, out=before[1:])
        begins = starts[self._neuron, self._of_block] * self._sizes[self._of_block]
        places = np.empty((len(begins), 2), dtype=np.int32)
        places[:, 1] = self._begins + begins.astype(np.int64)
        places[:, 0] = places[:, 1] + self._lengths
        shape = len(self._counts), len(before)
        blocks = csr_array((self._signs, places.ravel(), self._pointers), shape=shape)
        return self._fields.unpack(blocks @ before)

    def _order(self, keys: np.ndarray) -> np.ndarray:
        """Where each sentence's answers come from: a shuffle within every stratum."""
        return np.lexsort((keys[self._rows], self._strata))
