"""Counts over many sets of sentences at once: what every frequency and every null is made of."""

import numpy as np

from descry.bits import Bits

_WORD = 64  # bits
_MOST = 255  # members whose flags add up within a byte
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
_FIELDS = _BITS.view(np.uint64).ravel()  # the bits of a byte as the bytes of a word


class Sets:
    """Sets of sentences, one a neuron, kept as a sparse matrix.

    Args:
        members: int [neurons, size], rows of the sentences.
        sentences: how many there are.
    """

    def __init__(self, members: np.ndarray, sentences: int) -> None:
        from scipy.sparse import csr_array

        number, self.size = members.shape
        ones = np.ones(members.size, dtype=np.uint64)
        pointers = np.arange(0, members.size + 1, self.size)
        rows = members.ravel().astype(np.int32)
        self._member = csr_array((ones, rows, pointers), shape=(number, sentences))

    def sums(self, flags: np.ndarray) -> np.ndarray:
        """The sum of each column over each set: int64 [neurons, columns].

        Several columns share a 64-bit word, in fields that no sum can overflow: so many times fewer
        numbers are read and added.

        Args:
            flags: bool or small non-negative integers [sentences, columns].
        """
        columns = flags.shape[1]
        bits = max(1, (self.size * int(flags.max(initial=0))).bit_length())
        each = _WORD // bits
        words = -(-columns // each)
        packed = np.zeros((len(flags), words), dtype=np.uint64)
        for column in range(columns):
            shift = np.uint64(bits * (column % each))
            packed[:, column // each] |= flags[:, column].astype(np.uint64) << shift
        summed = np.asarray(self._member @ packed)
        mask = np.uint64((1 << bits) - 1)
        found = np.empty((len(summed), columns), dtype=np.int64)
        for column in range(columns):
            shift = np.uint64(bits * (column % each))
            found[:, column] = (summed[:, column // each] >> shift) & mask
        return found


class Lines:
    """The flags of a sentence beside each other, eight columns to a byte, to be counted in sets.

    Sets may come a block at a time, which `Sets` would want all of; it wants weights, too, where
    here are bits.
    """

    def __init__(self, flags: Bits) -> None:
        self._columns = len(flags)
        self._bytes = np.zeros((-(-self._columns // 8), flags.sentences), dtype=np.uint8)
        for column in range(self._columns):
            self._bytes[column // 8] |= flags.column(column).view(np.uint8) << 7 - column % 8

    def sums(self, members: np.ndarray) -> np.ndarray:
        """How often each column is set in each set: int64 [neurons, columns].

        Args:
            members: int [neurons, size], rows of the sentences.
        """
        starts = np.arange(0, members.shape[1], _MOST)
        found = np.zeros((len(members), len(self._bytes), 8), dtype=np.int64)
        for place, line in enumerate(self._bytes):
            fields = np.add.reduceat(_FIELDS[line[members]], starts, axis=1)
            each = fields.view(np.uint8).reshape(len(members), -1, 8)
            found[:, place] = each.sum(axis=1, dtype=np.int64)
        return found.reshape(len(members), -1)[:, : self._columns]
