"""Review files to reviews."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from descry.corpus.fields import cleaned, encodable, stars_of, text_of, time_of
from descry.corpus.files import suffix
from descry.corpus.json_lines import Entry, Record
from descry.corpus.records import records, short
from descry.errors import InputError
from descry.io.provenance import recorded


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


def read_reviews(
    files: Iterable[Path],
    text_fields: list[str],
    max_invalid: float,
    dropped: Counter[str],
    noted: Counter[str] | None = None,
) -> Iterator[Review]:
    """Read every review of the files in order.

    Args:
        files: the review files.
        text_fields: names of the text column; the first that holds a text in a record is taken.
        max_invalid: the share of a file's lines that may be unreadable.
        dropped: counts, by reason, what is left out: lines ("invalid line"), records ("no text"),
            files ("empty file").
        noted: counts what is worth a note of reviews that are read: which field gave the text
            ("text of reviewText"), values that are not what their column should hold.

    Raises:
        InputError: a file is missing, truncated, wrongly encoded, without a text column, or has
            more invalid lines than allowed.
    """
    noted = Counter() if noted is None else noted
    for path in files:
        yield from _read_file(path, text_fields, max_invalid, dropped, noted)


def _read_file(
    path: Path,
    text_fields: list[str],
    max_invalid: float,
    dropped: Counter[str],
    noted: Counter[str],
) -> Iterator[Review]:
    category, source = encodable(path.name.split(".")[0].removesuffix("_5")), recorded(path)
    lines = invalid = 0
    first: Entry | None = None  # of those that are invalid
    seen: set[str] = set()
    for entry in records(path, text_fields):
        lines += entry.lines
        if entry.record is None:
            invalid += entry.lines
            first = first or entry
            continue
        seen.update(entry.record)
        field, text = _text(entry.record, text_fields)
        if text:
            noted[f"text of {field}"] += 1
            yield Review(
                text=text,
                category=text_of(entry.record, "category") or category,
                summary=text_of(entry.record, "summary"),
                overall=stars_of(entry.record, noted),
                asin=text_of(entry.record, "asin"),
                reviewer=text_of(entry.record, "reviewer"),
                time=time_of(entry.record, noted),
                source=source,
                line=entry.line,
            )
        else:
            dropped["no text"] += 1
    dropped["invalid line"] += invalid
    dropped["empty file"] += not lines
    if first and invalid > max_invalid * lines:
        raise InputError(
            f"{path}: line {first.line}: not a valid record ({first.fault}); {invalid} of {lines}"
            f" lines are invalid, corpus.max_invalid allows {max_invalid:.2%}: mend the file or"
            " raise it"
        )
    if lines > invalid and not seen.intersection(text_fields):
        separated = suffix(path) in (".csv", ".tsv")
        header = " (its first line must name its columns)" if separated else ""
        fields = short(", ".join(sorted(seen))) or "no fields"
        raise InputError(
            f"{path}: no text field: it has {fields}{header}; corpus.text_fields in"
            f" params.yaml names {', '.join(text_fields)}"
        )


def _text(record: Record, text_fields: list[str]) -> tuple[str, str]:
    """The first field that holds a text, and the text; "" where none does."""
    for field in text_fields:
        value = record.get(field)
        if isinstance(value, str) and (text := cleaned(value)):
            return field, text
    return "", ""
