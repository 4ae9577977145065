"""A column of texts of a Parquet file, of which only some row groups are in memory."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.io.parquet import read_group, row_groups

if TYPE_CHECKING:
    import numpy as np

_HELD = 2  # row groups: neighbours, since what is read together may lie on both sides of a border


class Texts(Sequence[str]):
    """The texts of a column, in the order of rows; fast where neighbours are read together.

    Raises:
        InputError: the file is missing or damaged, which may come out while it is read.
    """

    def __init__(self, path: Path, made_by: str, column: str) -> None:
        sizes = row_groups(path, made_by)
        self._starts = [sum(sizes[:group]) for group in range(len(sizes))]
        self._number = sum(sizes)
        self._group = lru_cache(_HELD)(
            lambda group: read_group(path, made_by, column, group).to_pylist()
        )

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < self._number:
            raise IndexError(row)
        group = bisect_right(self._starts, row) - 1
        return self._group(group)[row - self._starts[group]]

    def __iter__(self) -> Iterator[str]:
        for group in range(len(self._starts)):
            yield from self._group(group)


class Chosen(Sequence[str]):
    """Some of a sequence's texts, by their rows."""

    def __init__(self, texts: Sequence[str], rows: "Sequence[int] | np.ndarray") -> None:
        self._texts, self._rows = texts, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        return self._texts[self._rows[place]]
