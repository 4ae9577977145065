"""Counts over many sets of sentences at once, from which frequencies and nulls are made."""

import numpy as np

from descry.annotators.bitset import BitMatrix

TOO_FEW = "a stratum has too few sentences to draw from"  # why there are no random sets


class MatchedDraws:
    """Random sets that have as many sentences of each stratum as neurons' own sets.

    In one draw the sets of different neurons are not independent, each by itself is uniform: the
    sentences of a stratum are shuffled once, and a neuron takes a run of them from a random place.

    Args:
        sets: int [neurons, size], rows of the sentences, -1 behind the end of a smaller set.
        of: int [sentences], the stratum of each.
        pool: bool [sentences], those that may be drawn.

    Attributes:
        possible: whether every stratum has as many sentences to draw as any set takes.
    """

    def __init__(self, sets: np.ndarray, of: np.ndarray, pool: np.ndarray) -> None:
        self._rows = np.flatnonzero(pool)
        self._of_rows = of[self._rows]
        strata = int(of.max(initial=0)) + 1
        self._sizes = np.bincount(self._of_rows, minlength=strata)
        self._starts = np.cumsum(self._sizes) - self._sizes
        # The members in the order of their strata, what is behind a set's end last.
        stratum = np.sort(np.where(sets >= 0, of[sets], strata), axis=1)
        self._taken = stratum < strata
        self._stratum = np.where(self._taken, stratum, 0)
        place = np.broadcast_to(np.arange(sets.shape[1]), sets.shape)
        new = np.diff(stratum, axis=1, prepend=-1) != 0
        self._place = place - np.maximum.accumulate(np.where(new, place, 0), axis=1)
        needed = np.where(self._taken, self._place + 1, 0)
        self.possible = bool((needed <= self._sizes[self._stratum]).all())

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A set for every neuron: int [neurons, size], -1 behind the end of a smaller set."""
        shuffled = self._rows[np.lexsort((rng.random(len(self._rows)), self._of_rows))]
        offsets = rng.random((len(self._stratum), len(self._sizes)))
        sizes = self._sizes[self._stratum]
        first = (np.take_along_axis(offsets, self._stratum, axis=1) * sizes).astype(np.int64)
        at = self._starts[self._stratum] + (first + self._place) % np.maximum(sizes, 1)
        return np.where(self._taken, shuffled[np.minimum(at, len(shuffled) - 1)], -1)


class PackedFlags:
    """The flags of a sentence, eight columns to a byte, to be counted in sets of sentences."""

    def __init__(self, flags: BitMatrix) -> None:
        self._columns = len(flags)
        self._bytes = np.zeros((flags.sentences, -(-self._columns // 8)), dtype=np.uint8)
        for column in range(self._columns):
            self._bytes[:, column // 8] |= flags.column(column).view(np.uint8) << 7 - column % 8
        # Of most annotators every sentence has every answer: then members are what is counted.
        self._all_set = bool((flags.totals == flags.sentences).all())

    def sums(self, members: np.ndarray) -> np.ndarray:
        """How often each column is set in each set: int64 [neurons, columns].

        Args:
            members: int [neurons, size], rows of the sentences, -1 where there is none.
        """
        if self._all_set:
            number = np.count_nonzero(members >= 0, axis=1)
            return np.repeat(number[:, None], self._columns, axis=1)
        return self.by_stratum(members, np.zeros(len(self._bytes), dtype=np.int64), 1)[:, 0]

    def by_stratum(self, members: np.ndarray, of: np.ndarray, strata: int) -> np.ndarray:
        """How often each column is set in each set's part of a stratum.

        Args:
            members: int [neurons, size], rows of the sentences, -1 where there is none.
            of: int [sentences], the stratum of each, below `strata`.

        Returns:
            int64 [neurons, strata, columns].
        """
        from descry.labels.loops import count_bits, count_members

        members, of = members.astype(np.int64, copy=False), of.astype(np.int64, copy=False)
        if self._all_set:
            number = np.zeros((len(members), strata), dtype=np.int64)
            count_members(members, of, number)
            return np.repeat(number[:, :, None], self._columns, axis=2)
        found = np.zeros((len(members), strata, 8 * self._bytes.shape[1]), dtype=np.int64)
        count_bits(self._bytes, members, of, found)
        return found[:, :, : self._columns]


def set_sums(members: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """How often each column is set in each set: int32 [neurons, columns].

    Args:
        members: int64 [neurons, size], rows of the sentences, -1 where there is none.
        flags: uint8 [sentences, columns], 0 or 1.
    """
    from descry.labels.loops import add_flags

    found = np.zeros((len(members), flags.shape[1]), dtype=np.int32)
    add_flags(flags, members, found)
    return found
