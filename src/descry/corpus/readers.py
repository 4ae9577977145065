"""Review files to reviews."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from descry.corpus.fields import cleaned, encodable, stars_of, text_of, time_of, value_of
from descry.corpus.files import suffix
from descry.corpus.json_lines import Entry, Record
from descry.corpus.records import records, short
from descry.errors import InputError
from descry.io.provenance import recorded


@dataclass(frozen=True)
class Review:
    """One review as read, with the place it came from; `columns` has the further fields kept."""

    text: str
    category: str
    summary: str | None
    overall: float | None
    asin: str | None
    reviewer: str | None
    time: int | None
    source: str
    line: int
    columns: dict[str, str | None] = field(default_factory=dict, hash=False)


def read_reviews(
    files: Iterable[Path],
    text_fields: list[str],
    max_invalid: float,
    dropped: Counter[str],
    noted: Counter[str] | None = None,
    columns: Sequence[str] = (),
) -> Iterator[Review]:
    """Read every review of the files in order.

    Args:
        files: the review files.
        text_fields: names of the text column; the first that holds a text in a record counts.
        max_invalid: the share of a file's lines that may be unreadable.
        dropped: counts, by reason, what is left out: lines ("invalid line"), records ("no text"),
            files ("empty file").
        noted: counts notes about reviews that are read: which field gave the text
            ("text of reviewText"), values that are not what their column should hold.
        columns: names of further fields to keep, as text.

    Raises:
        InputError: a file is missing, truncated, wrongly encoded, without a text column, or has
            more invalid lines than allowed; or no record has one of the further fields.
    """
    noted = Counter() if noted is None else noted
    seen: set[str] = set()
    for path in files:
        yield from _read_file(path, text_fields, max_invalid, dropped, noted, columns, seen)
    if absent := [name for name in columns if name not in seen]:
        raise InputError(
            f"corpus.columns: no review has {short(absent[0])}: the reviews have"
            f" {short(', '.join(sorted(seen))) or 'no fields'}"
        )


def _read_file(
    path: Path,
    text_fields: list[str],
    max_invalid: float,
    dropped: Counter[str],
    noted: Counter[str],
    columns: Sequence[str],
    every: set[str],
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
        column, text = _text(entry.record, text_fields)
        if text:
            noted[f"text of {column}"] += 1
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
                columns={name: value_of(entry.record, name) for name in columns},
            )
        else:
            dropped["no text"] += 1
    every |= seen
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
    for name in text_fields:
        value = record.get(name)
        if isinstance(value, str) and (text := cleaned(value)):
            return name, text
    return "", ""
