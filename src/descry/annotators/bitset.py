"""Flags of many sentences as packed columns: a bit each, where a matrix has a byte."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BitMatrix:
    """Flags of sentences, column by column.

    Attributes:
        packed: uint8 [columns, ceil(sentences / 8)], in the order of `numpy.packbits`; the bits
            after the last sentence are 0.
        sentences: how many there are.
    """

    packed: np.ndarray
    sentences: int

    @classmethod
    def of(cls, flags: np.ndarray) -> "BitMatrix":
        """Pack a matrix, bool [sentences, columns]."""
        return cls(np.packbits(flags.T, axis=1), len(flags))

    def __len__(self) -> int:
        """How many columns there are."""
        return len(self.packed)

    def column(self, column: int) -> np.ndarray:
        """One column: bool [sentences]."""
        return np.unpackbits(self.packed[column], count=self.sentences).view(bool)

    def keep(self, columns: Sequence[int]) -> "BitMatrix":
        """Some of the columns."""
        return BitMatrix(self.packed[list(columns)], self.sentences)

    def among(self, sentences: np.ndarray) -> "BitMatrix":
        """Return a copy that is set only in the given sentences, bool [sentences]."""
        return BitMatrix(self.packed & np.packbits(sentences), self.sentences)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The flags of some sentences, which may come in any order: bool [columns, rows]."""
        places = (7 - (rows & 7)).astype(np.uint8)
        return (np.take(self.packed, rows >> 3, axis=1) >> places & 1).view(bool)

    @property
    def totals(self) -> np.ndarray:
        """How many sentences each column is set in: int64 [columns]."""
        return np.asarray(np.bitwise_count(self.packed).sum(axis=1, dtype=np.int64))


@dataclass(frozen=True)
class Answers:
    """B: where a descriptor has a Yes, and where it has an answer. Each Yes is an answer."""

    yes: BitMatrix
    answered: BitMatrix

    @classmethod
    def of(cls, matrix: np.ndarray) -> "Answers":
        """Pack answers, int8 [sentences, descriptors]: 1 Yes, 0 No, -1 no answer."""
        return cls(BitMatrix.of(matrix == 1), BitMatrix.of(matrix >= 0))

    @property
    def matrix(self) -> np.ndarray:
        """Unpack the answers to a matrix as `of` takes it, eight times as large as both parts."""
        found = np.empty((self.yes.sentences, len(self.yes)), dtype=np.int8)
        for column in range(len(self.yes)):
            answered = self.answered.column(column).view(np.int8)
            found[:, column] = self.yes.column(column).view(np.int8) + answered - 1
        return found

    def keep(self, columns: Sequence[int]) -> "Answers":
        """Some of the descriptors."""
        return Answers(self.yes.keep(columns), self.answered.keep(columns))

    def among(self, sentences: np.ndarray) -> "Answers":
        """Return only the answers about the given sentences, bool [sentences]."""
        return Answers(self.yes.among(sentences), self.answered.among(sentences))
