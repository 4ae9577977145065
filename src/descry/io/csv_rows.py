"""CSV files of numbers: rounded to the digits that can be compared, undefined ones empty."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descry.errors import InputError
from descry.io.atomic import write_text

Row = dict[str, Any]
_DIGITS = 6


def defined(value: Any) -> Any:
    """Round floats to the digits that can be compared; undefined ones become None."""
    if isinstance(value, dict):
        return {key: defined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [defined(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), _DIGITS) if math.isfinite(value) else None
    return value


def write_csv(path: Path, rows: list[Row], columns: list[str] | None = None) -> None:
    """Write a tidy CSV file; undefined values are empty.

    Args:
        columns: names of the columns; needed if there may be no row, else those of the first row.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(defined(rows))
    write_text(path, text.getvalue())


def read_csv(path: Path, made_by: str, numbers: Sequence[str]) -> list[Row]:
    """Read a tidy CSV file: the columns `numbers` as floats (NaN where empty), others as text.

    Raises:
        InputError: the file or a column is missing, or a cell of `numbers` is no number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows: list[Row] = list(reader)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: make it with `descry stage {made_by}`") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no CSV ({error}): run `descry stage {made_by}` again") from error
    if missing := set(numbers) - set(reader.fieldnames or []):
        raise InputError(f"{path}: no column {min(missing)}: run `descry stage {made_by}` again")
    for line, row in enumerate(rows, start=2):
        for name in numbers:
            row[name] = _number(row[name], f"{path}: row {line}: {name}")
    return rows


def _number(text: str | None, where: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError as error:
        raise InputError(f"{where}: no number: {str(text)[:40]!r}") from error
