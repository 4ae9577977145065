"""Reading reviews: 5-core JSON lines, JSON lines, CSV and Parquet, plain or gzipped."""

import csv
import gzip
import html
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from descry.errors import InputError
from descry.hostile import printable
from descry.storage import recorded

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
_SHOWN = 200  # characters shown of what a file says
Record = dict[str, Any]


@dataclass(frozen=True)
class Review:
    """One review as read, with the place it came from."""

    text: str
    category: str
    summary: str | None
    overall: float | None
    asin: str | None
    reviewer: str | None
    time: int | None
    source: str
    line: int


def review_files(path: Path) -> list[Path]:
    """The review files that a path names: itself, or those in the folder, sorted by name.

    Raises:
        InputError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder: set corpus.reviews in params.yaml")
    files = sorted(p for p in path.iterdir() if _format(p) in SUFFIXES)
    if not files:
        raise InputError(f"{path}: no review files ({', '.join(SUFFIXES)}, .gz allowed) in it")
    return files


def _format(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def read_reviews(
    files: Iterable[Path], text_fields: list[str], max_invalid: float, dropped: Counter[str]
) -> Iterator[Review]:
    """Read every review of the files in order.

    Args:
        files: the review files.
        text_fields: names of the text column; the first one that a record has is taken.
        max_invalid: the share of a file's lines that may be unreadable.
        dropped: counts, by reason, what is left out ("invalid line", "no text").

    Raises:
        InputError: a file is missing, truncated, wrongly encoded, without a text column, or has
            more invalid lines than allowed.
    """
    for path in files:
        yield from _read_file(path, text_fields, max_invalid, dropped)


def _read_file(
    path: Path, text_fields: list[str], max_invalid: float, dropped: Counter[str]
) -> Iterator[Review]:
    invalid: list[int] = []
    lines, with_text, seen_fields = 0, 0, set[str]()
    for line, record in _records(path):
        lines += 1
        if record is None:
            invalid.append(line)
            continue
        seen_fields.update(record)
        field = next((name for name in text_fields if name in record), None)
        if field is None:
            dropped["no text"] += 1
            continue
        with_text += 1
        text = record[field]
        if not isinstance(text, str) or not text.strip():
            dropped["no text"] += 1
            continue
        yield _review(record, text, path, line)
    dropped["invalid line"] += len(invalid)
    if len(invalid) > max_invalid * lines:
        raise InputError(
            f"{path}: line {invalid[0]}: not a valid record; {len(invalid)} of {lines} lines are"
            f" invalid, corpus.max_invalid allows {max_invalid:.2%}: mend the file or raise it"
        )
    if lines > len(invalid) and not with_text:
        raise InputError(
            f"{path}: no text field: it has {_line(', '.join(sorted(seen_fields))) or 'no fields'};"
            f" corpus.text_fields in params.yaml names {', '.join(text_fields)}"
        )


def _line(text: str) -> str:
    """A file's own words for an error: one short line that steers no terminal."""
    return printable(" ".join(text.split())[:_SHOWN])


def _review(record: Record, text: str, path: Path, line: int) -> Review:
    stem = path.name.split(".")[0].removesuffix("_5")
    return Review(
        text=" ".join(_encodable(html.unescape(text)).split()),
        category=_text(record.get("category")) or _encodable(stem),
        summary=_text(record.get("summary")),
        overall=_number(record.get("overall")),
        asin=_text(record.get("asin")),
        reviewer=_text(record.get("reviewerID")),
        time=_whole(record.get("unixReviewTime")),
        source=recorded(path),
        line=line,
    )


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None or number != number or abs(number) > 2**62 else int(number)


def _text(value: object) -> str | None:
    return None if value in (None, "") or value != value else _encodable(str(value))


def _encodable(text: str) -> str:
    """The text with half surrogate pairs (a cut emoji in JSON) as question marks."""
    return text.encode(errors="replace").decode()


def _records(path: Path) -> Iterator[tuple[int, Record | None]]:
    """Line number and record; None for a line that is no record."""
    form = _format(path)
    if form not in SUFFIXES:
        raise InputError(f"{path}: unknown format: use {', '.join(SUFFIXES)}, .gz allowed")
    if not path.is_file():
        raise InputError(f"{path}: no such file: set corpus.reviews in params.yaml")
    line = 0
    try:
        if form == ".parquet":
            yield from _parquet(path)
            return
        with _open(path) as file:
            rows = csv_rows(file) if form == ".csv" else _json_lines(file)
            for line, record in rows:
                yield line, record
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: after line {line}: not UTF-8 ({error.reason}): convert it to UTF-8"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: after line {line}: damaged or truncated gzip ({error}): fetch it again"
        ) from None
    except csv.Error as error:
        raise InputError(f"{path}: after line {line}: not valid CSV ({error})") from None


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _json_lines(file: IO[str]) -> Iterator[tuple[int, Record | None]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # also a number of thousands of digits
            value = None
        yield number, value if isinstance(value, dict) else None


def csv_rows(file: IO[str]) -> Iterator[tuple[int, Record | None]]:
    """Line number and row of a CSV file with a header; None where the columns do not fit."""
    csv.field_size_limit(2**24)
    reader = csv.DictReader(file)
    for row in reader:
        fits = None not in row and None not in row.values()
        yield reader.line_num, row if fits else None


def _parquet(path: Path) -> Iterator[tuple[int, Record | None]]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=8192, use_threads=False):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    # Beside pyarrow's own: a time that Python has no date for, a text that is not UTF-8.
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError) as error:
        reason = _line(str(error)) or type(error).__name__
        raise InputError(f"{path}: not a readable Parquet file ({reason})") from None
