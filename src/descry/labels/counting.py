"""Counts over many sets of sentences at once, from which frequencies and nulls are made."""

import numpy as np

from descry.annotators.bitset import BitMatrix

_WORD = 64  # bits
_MOST = 255  # members whose flags add up within a byte
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
_FIELDS = _BITS.view(np.uint64).ravel()  # the bits of a byte as the bytes of a word


class Fields:
    """Numbers of several columns in one 64-bit word, in fields that their sums cannot overflow.

    A word stands for as many numbers as it has fields, which are read and added at once. The
    difference of two words has the differences of their fields.

    Args:
        columns: how many.
        most: the largest sum.
    """

    def __init__(self, columns: int, most: int) -> None:
        self._columns, self._bits = columns, max(1, most.bit_length())
        self._each = _WORD // self._bits

    def pack(self, numbers: np.ndarray) -> np.ndarray:
        """Bool or non-negative integers [rows, columns] as uint64 [rows, words]."""
        packed = np.zeros((len(numbers), -(-self._columns // self._each)), dtype=np.uint64)
        for column in range(self._columns):
            word, shift = self._place(column)
            packed[:, word] |= numbers[:, column].astype(np.uint64) << shift
        return packed

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Sums of packed rows, uint64 [sums, words], as int64 [sums, columns]."""
        found = np.empty((len(packed), self._columns), dtype=np.int64)
        mask = np.uint64((1 << self._bits) - 1)
        for column in range(self._columns):
            word, shift = self._place(column)
            found[:, column] = (packed[:, word] >> shift) & mask
        return found

    def _place(self, column: int) -> tuple[int, np.uint64]:
        return column // self._each, np.uint64(self._bits * (column % self._each))


class SparseSets:
    """Sets of sentences, one a neuron, kept as a sparse matrix.

    Args:
        members: int [neurons, size], rows of the sentences, -1 behind the end of a smaller set.
        sentences: how many there are.
    """

    def __init__(self, members: np.ndarray, sentences: int) -> None:
        from scipy.sparse import csr_array

        number, self.size = members.shape
        taken = members >= 0
        rows = members[taken].astype(np.int32)
        ones = np.ones(len(rows), dtype=np.uint64)
        pointers = np.concatenate([[0], np.cumsum(np.count_nonzero(taken, axis=1))])
        self._member = csr_array((ones, rows, pointers), shape=(number, sentences))

    def sums(self, flags: np.ndarray) -> np.ndarray:
        """The sum of each column over each set: int64 [neurons, columns].

        Args:
            flags: bool or small non-negative integers [sentences, columns].
        """
        fields = Fields(flags.shape[1], self.size * int(flags.max(initial=0)))
        return fields.unpack(self.packed_sums(fields.pack(flags)))

    def packed_sums(self, packed: np.ndarray) -> np.ndarray:
        """The sum of packed rows (see `Fields`) over each set: uint64 [neurons, words]."""
        return np.asarray(self._member @ packed)


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
    """The flags of a sentence, eight columns to a byte, to be counted in sets of sentences.

    Sets may come a block at a time, where `SparseSets` needs all; it adds up weights, too.
    """

    def __init__(self, flags: BitMatrix) -> None:
        self._columns = len(flags)
        # Row -1, which is nobody's, is the last one: nothing is set there.
        self._bytes = np.zeros((-(-self._columns // 8), flags.sentences + 1), dtype=np.uint8)
        for column in range(self._columns):
            self._bytes[column // 8, :-1] |= flags.column(column).view(np.uint8) << 7 - column % 8
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
        starts = np.arange(0, members.shape[1], _MOST)
        found = np.zeros((len(members), len(self._bytes), 8), dtype=np.int64)
        for place, line in enumerate(self._bytes):
            fields = np.add.reduceat(_FIELDS[line[members]], starts, axis=1)
            each = fields.view(np.uint8).reshape(len(members), -1, 8)
            found[:, place] = each.sum(axis=1, dtype=np.int64)
        return found.reshape(len(members), -1)[:, : self._columns]

    def by_stratum(self, members: np.ndarray, of: np.ndarray, strata: int) -> np.ndarray:
        """How often each column is set in each set's part of a stratum.

        Args:
            members: int [neurons, size], rows of the sentences, -1 where there is none.
            of: int [sentences], the stratum of each, below `strata`.

        Returns:
            int64 [neurons, strata, columns].
        """
        neurons = len(members)
        found = np.zeros((neurons * strata, len(self._bytes), 8), dtype=np.int64)
        cells = np.arange(neurons)[:, None] * strata + of[members]
        flat, cells = members[members >= 0], cells[members >= 0]
        if self._all_set:
            number = np.bincount(cells, minlength=neurons * strata).reshape(neurons, strata, 1)
            return np.repeat(number, self._columns, axis=2)
        order = np.argsort(cells, kind="stable")  # quick where members stand by stratum
        flat, cells = flat[order], cells[order]
        first = np.flatnonzero(np.diff(cells, prepend=-1))  # of each part that is not empty
        place = np.arange(len(flat)) - np.repeat(first, np.diff(first, append=len(flat)))
        starts = np.flatnonzero(place % _MOST == 0)
        parts = np.searchsorted(starts, first)
        for plane, line in enumerate(self._bytes if len(flat) else []):
            fields = np.add.reduceat(_FIELDS[line[flat]], starts)
            each = fields.view(np.uint8).reshape(-1, 8)
            found[cells[first], plane] = np.add.reduceat(each, parts, axis=0, dtype=np.int64)
        return found.reshape(neurons, strata, -1)[:, :, : self._columns]
