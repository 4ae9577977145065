"""Parquet files, each with its provenance; columns of texts that are read piece by piece."""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.io.atomic import atomic
from descry.io.hashing import JSON, canonical
from descry.io.provenance import PROVENANCE
from descry.io.readable import ANY, made_in, not_ours, readable, unreadable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

ROW_GROUP = 2**16  # rows of a Parquet file that are held in memory together
_HELD = 2  # row groups: neighbours, since what is read together may lie on both sides of a border


def write_table(path: Path, table: "pyarrow.Table", made: JSON) -> None:
    """Write a Parquet file whose schema metadata says what made it."""
    import pyarrow.parquet as pq

    metadata = {PROVENANCE: canonical(made)}
    with atomic(path) as part:
        pq.write_table(table.replace_schema_metadata(metadata), part, compression="zstd")


def write_batches(
    path: Path, schema: "pyarrow.Schema", batches: Iterable["pyarrow.Table"], made: JSON
) -> None:
    """Write a Parquet file as `write_table` does, one row group for each batch."""
    import pyarrow.parquet as pq

    whole = schema.with_metadata({PROVENANCE: canonical(made)})
    with atomic(path) as part, pq.ParquetWriter(part, whole, compression="zstd") as file:
        for batch in batches:
            file.write_table(batch.replace_schema_metadata(whole.metadata))


def read_table(
    path: Path, made_by: str, columns: list[str] | None = None, only: Any = None
) -> "pyarrow.Table":
    """Read a Parquet file, some of its columns, or the rows for which an expression is true.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    _check_columns(path, made_by, columns)
    with readable(path, made_by, "Parquet"):
        return pq.read_table(path, columns=columns, filters=only, use_threads=False)


def read_where(
    path: Path, made_by: str, columns: list[str], values: Mapping[str, int]
) -> "pyarrow.Table":
    """Read some columns of the rows that have given whole numbers in other columns.

    Row groups without such rows are skipped. Memory holds some rows at a time, where `read_table`
    holds a row group.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    def having(rows: "pyarrow.Table | pyarrow.RecordBatch") -> "pyarrow.Array":
        each = [pc.equal(rows.column(name), value) for name, value in values.items()]
        return reduce(pc.and_, each)

    every = [*values, *columns]
    _check_columns(path, made_by, every)
    found = []
    with readable(path, made_by, "Parquet"), pq.ParquetFile(path, pre_buffer=False) as file:
        schema = pa.schema([file.schema_arrow.field(name) for name in columns])
        for group in range(file.num_row_groups):
            keys = file.read_row_group(group, columns=list(values), use_threads=False)
            if pc.any(having(keys)).as_py():
                for rows in file.iter_batches(ROW_GROUP, [group], every, use_threads=False):
                    found.append(rows.filter(having(rows)).select(columns))
        return pa.Table.from_batches(found, schema)


def _check_columns(path: Path, made_by: str, columns: list[str] | None) -> None:
    """Refuse a Parquet file that another stage or program wrote, or without one of the columns."""
    import pyarrow.parquet as pq

    with readable(path, made_by, "Parquet"):
        schema = pq.read_schema(path)
        if made_by == ANY:
            return
        made = made_in(path, made_by, (schema.metadata or {}).get(PROVENANCE.encode()))
    if absent := set(columns or ()) - set(schema.names):
        raise unreadable(path, made_by, f"no column {min(absent)}")
    stage = made.get("stage", made_by)
    # positions.parquet takes the place of corpus.parquet.
    if columns is None and made_by not in (stage, made.get("stands_for")):
        raise not_ours(path, made_by, f"made by `descry stage {stage}`")


def read_header(path: Path, made_by: str) -> "pyarrow.Table":
    """Read a Parquet file without its rows: which columns it has, and what made it.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    _check_columns(path, made_by, None)
    with readable(path, made_by, "Parquet"):
        return pq.read_schema(path).empty_table()


def row_count(path: Path, made_by: str) -> int:
    """Return the number of rows of a Parquet file.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with readable(path, made_by, "Parquet"):
        return int(pq.read_metadata(path).num_rows)


def row_groups(path: Path, made_by: str) -> list[int]:
    """Return the number of rows of each row group of a Parquet file.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with readable(path, made_by, "Parquet"):
        found = pq.read_metadata(path)
        return [found.row_group(group).num_rows for group in range(found.num_row_groups)]


def read_group(path: Path, made_by: str, column: str, group: int) -> "pyarrow.ChunkedArray":
    """Read a column of one row group of a Parquet file.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    _check_columns(path, made_by, [column])
    with (
        readable(path, made_by, "Parquet"),
        pq.ParquetFile(path, pre_buffer=False) as file,
    ):
        return file.read_row_group(group, columns=[column], use_threads=False)[column]


def read_blocks(
    path: Path, made_by: str, columns: list[str], rows: int
) -> Iterator["pyarrow.Table"]:
    """Read some columns of a Parquet file in blocks of rows; the last block may be shorter.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    _check_columns(path, made_by, columns)

    def batches() -> Iterator["pyarrow.RecordBatch"]:
        with (
            readable(path, made_by, "Parquet"),
            pq.ParquetFile(path, pre_buffer=False) as file,
        ):
            yield from file.iter_batches(rows, columns=columns, use_threads=False)

    yield from regrouped(batches(), rows)


def regrouped(batches: Iterable["pyarrow.RecordBatch"], rows: int) -> Iterator["pyarrow.Table"]:
    """Merge batches of any size into tables of a given size; the last one may be shorter."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        while sum(map(len, held)) >= rows:
            whole = pa.Table.from_batches(held)
            yield whole.slice(0, rows)
            held = whole.slice(rows).to_batches()
    if held:
        yield pa.Table.from_batches(held)


def table_provenance(table: "pyarrow.Table") -> JSON:
    """Read what made a Parquet file."""
    return json.loads((table.schema.metadata or {})[PROVENANCE.encode()])


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
