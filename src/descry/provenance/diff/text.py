"""Where two JSON, JSONL, CSV or other text files part: the dotted key, or the line and column."""

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from descry.io.hashing import JSON
from descry.io.json_files import read_json
from descry.io.readable import ANY
from descry.provenance.diff.report import (
    NOTHING,
    Account,
    equal,
    identified,
    partings,
    plain,
    reading,
)

MADE = "made"  # the key by which a JSON file says what made it


def json_made(path: Path) -> JSON:
    """What made a JSON file; {} if it does not say."""
    value = read_json(path, ANY)
    return value.get(MADE, {}) if isinstance(value, dict) else {}


def json_difference(expected: Path, found: Path) -> str | None:
    """The dotted key of the first leaf that differs, but for what made the files."""
    return value_difference(_content(expected), _content(found))


def value_difference(expected: JSON, found: JSON) -> str | None:
    """The dotted key of the first leaf in which two values differ."""
    account = Account()
    for key, was, now in partings(expected, found, ""):
        account.add(key or "the whole", "", was, now)
    return account.words()


def _content(path: Path) -> JSON:
    value = read_json(path, ANY)
    return {k: v for k, v in value.items() if k != MADE} if isinstance(value, dict) else value


def json_lines_difference(expected: Path, found: Path) -> str | None:
    """The first line that differs, and the dotted key within it."""
    account = Account()
    with expected.open("rb") as ours, found.open("rb") as theirs:
        for number, (left, right) in enumerate(zip_longest(ours, theirs), 1):
            if left != right:
                values = _parsed(left, expected), _parsed(right, found)
                for key, was, now in partings(*values, ""):
                    account.add(f"line {number}{key and f', {key}'}", "", was, now)
    return account.words()


def text_difference(expected: Path, found: Path) -> str | None:
    """The first line that differs, of any text."""
    texts = (path.read_bytes().decode(errors="surrogateescape") for path in (expected, found))
    return lines_difference(*(text.split("\n") for text in texts))


def lines_difference(expected: Sequence[str], found: Sequence[str]) -> str | None:
    """The first line that differs."""
    account = Account()
    for number, (was, now) in enumerate(zip_longest(expected, found, fillvalue=NOTHING), 1):
        if was != now:
            account.add(f"line {number}", "", was, now)
    return account.words()


def _parsed(line: bytes | None, path: Path) -> Any:
    with reading(path):
        return NOTHING if line is None else json.loads(line)


def csv_difference(expected: Path, found: Path) -> str | None:
    """The line and column of the first cell that differs, and what else identifies its row."""
    account, header = Account(), list[str]()
    for line, ours, theirs in _csv_lines(expected, found):
        known = dict(zip(header, ours or theirs, strict=False))
        header = header or ours
        if ours == theirs:
            continue
        for column, cells in enumerate(zip_longest(ours, theirs, fillvalue=NOTHING)):
            was, now = map(_number, cells)
            if not equal(was, now):
                name = header[column] if column < len(header) else str(column + 1)
                where = identified(f"line {line}", known, name)
                account.add(f"{where}, column {plain(name)}", name, was, now)
    return account.words()


def _csv_lines(expected: Path, found: Path) -> Iterator[tuple[int, list[str], list[str]]]:
    """Rows side by side, and the line that they begin at; [] where there is none any more."""
    end: tuple[int, list[str]] = (0, [])
    rows = zip_longest(_csv_rows(expected), _csv_rows(found), fillvalue=end)
    for (was, ours), (now, theirs) in rows:
        yield now or was, ours, theirs


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    with reading(path), path.open(encoding="utf-8", newline="") as file:
        reader, line = csv.reader(file, strict=True), 1
        for row in reader:
            yield line, row
            line = reader.line_num + 1


def _number(cell: Any) -> Any:
    """The number that a cell is the text of, if it is written as we write numbers."""
    for kind in (int, float):
        try:
            number = kind(cell)
        except (TypeError, ValueError):
            continue
        if repr(number) == cell:
            return number
    return cell
