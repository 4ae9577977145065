"""Where two Parquet files part: columns, rows, cells; some rows are held at a time."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from descry.io.hashing import JSON
from descry.io.parquet import read_blocks, row_count
from descry.io.provenance import PROVENANCE
from descry.io.readable import ANY
from descry.provenance.diff.report import (
    Account,
    equal,
    identified,
    other_layout,
    plain,
    reading,
    versus,
)

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 100_000  # held at a time


def table_made(path: Path) -> JSON:
    """What made a Parquet file; {} if it does not say."""
    text = (_schema(path).metadata or {}).get(PROVENANCE.encode(), b"{}")
    with reading(path):
        return json.loads(text)


def table_difference(expected: Path, found: Path) -> str | None:
    """The first cell that differs, in the order of rows; before that other columns or lengths."""
    both = (expected, found)
    columns = [{column.name: str(column.type) for column in _schema(path)} for path in both]
    if other := other_layout("column", *columns):
        return other
    rows = [row_count(path, ANY) for path in both]
    blocks = (read_blocks(path, ANY, list(columns[0]), _ROWS) for path in both)
    account = Account()
    for number, (ours, theirs) in enumerate(zip(*blocks, strict=False)):
        shorter = min(len(ours), len(theirs))
        _add(account, number * _ROWS, ours.slice(0, shorter), theirs.slice(0, shorter))
    lengths = f"{rows[1]} rows, expected {rows[0]}" if rows[0] != rows[1] else None
    return "; ".join(filter(None, (lengths, account.words()))) or None


def _schema(path: Path) -> "pa.Schema":
    import pyarrow.parquet as pq

    with reading(path):
        return pq.read_schema(path)


def _add(account: Account, start: int, ours: "pa.Table", theirs: "pa.Table") -> None:
    """Take in the cells that differ in a block of rows."""
    firsts = []
    for number, name in enumerate(ours.column_names):
        left, right = ours[name].combine_chunks(), theirs[name].combine_chunks()
        unequal, known = _unequal(left, right)
        if unequal.any():
            firsts.append((int(unequal.argmax()), number, name))
            account.tally(name).count += int((unequal & ~known).sum())  # null in one of them
            kept = (column.filter(unequal & known) for column in (left, right))
            account.tally(name).add(*(column.to_numpy(zero_copy_only=False) for column in kept))
    if firsts and not account.first:
        row, _, name = min(firsts)
        was, now = (table.slice(row, 1).to_pylist()[0] for table in (ours, theirs))
        where = identified(f"row {start + row}", was, name)
        account.first = f"{where}, column {plain(name)}: {versus(was[name], now[name])}"


def _unequal(left: "pa.Array", right: "pa.Array") -> tuple[np.ndarray, np.ndarray]:
    """Which cells of two columns differ, and where both have a value: bool [rows] each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.and_(left.is_valid(), right.is_valid()).to_numpy(zero_copy_only=False)
    if pa.types.is_nested(left.type) or pa.types.is_dictionary(left.type):
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return np.array([not equal(*pair) for pair in pairs], dtype=bool), known
    unequal = pc.not_equal(left, right)
    if pa.types.is_floating(left.type):
        unequal = pc.and_not(unequal, pc.and_(pc.is_nan(left), pc.is_nan(right)))
    one_is_null = pc.xor(left.is_null(), right.is_null())
    found = pc.or_(pc.fill_null(unequal, False), one_is_null)
    return found.to_numpy(zero_copy_only=False), known
