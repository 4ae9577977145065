"""CSV and TSV: rows of cells below a header, and quotes that may hold line ends.

An unclosed quote swallows the rows after it, and a lenient reader does not notice. Here it is an
error that names the line where the quote opens. A wrong quote within one line spoils only that
line.

Text files of tabs come with quotes as CSV has them (pandas), or with quotes that are plain
characters (Amazon's of 2015). Callers read them by CSV's rules if a whole column is quoted or the
whole file follows the rules, else as plain: see `quotes_a_column` and `follows_csv`.
"""

import csv
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any, NamedTuple

from descry.corpus.json_lines import BrokenFileError, Entry
from descry.io.sanitize import printable

_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.I)  # the first line that Excel may write
_LOOKED_AT, _TELLING = 1_000, 10  # lines that tell whether a column is quoted: at most, at least
_ALIKE = 5  # lines that look like rows although no column holds codes: prose has commas too
csv.field_size_limit(2**24)


class Form(NamedTuple):
    """How a file separates its cells, by its header.

    Attributes:
        delimiter: one of `,;|` and the tab.
        blanks: whether a blank follows each delimiter.
        quoted: whether the header's cells stand in quotes.
        skip: lines above the header.
    """

    delimiter: str
    blanks: bool
    quoted: bool
    skip: int


def form_of(file: IO[str], text_fields: Sequence[str], *, tabs: bool) -> Form:
    """Find the form of a file from its first lines: it has a text field, and most columns.

    Args:
        tabs: whether the file's name says that tabs separate the cells; decides in doubt.
    """
    skip, first = 0, ""
    for first in file:
        if first.strip():
            break
        skip += 1
    if found := _SEPARATOR_LINE.fullmatch(first):
        return _form(file.readline(), found[1], skip + 1)
    forms = [_form(first, mark, skip) for mark in ("\t,;|" if tabs else ",;\t|")]

    def fits(form: Form) -> tuple[bool, int]:
        names = _header(first, form)
        return any(name in text_fields for name in names), len(names)

    return max(forms, key=fits)


def _form(header: str, delimiter: str, skip: int) -> Form:
    cells = header.rstrip("\r\n").split(delimiter)
    blanks = len(cells) > 1 and all(cell.startswith(" ") for cell in cells[1:])
    return Form(delimiter, blanks, all(cell.lstrip().startswith('"') for cell in cells), skip)


def _header(line: str, form: Form) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], **_dialect(form)), [])]


def _dialect(form: Form) -> dict[str, Any]:
    return {"delimiter": form.delimiter, "skipinitialspace": form.blanks}


def rows(file: IO[str], form: Form, *, plain: bool) -> Iterator[Entry]:
    """Read the rows below the header; a row is named by the line where it begins.

    Args:
        plain: whether quotes are ordinary characters.

    Raises:
        BrokenFileError: two columns have one name, or a quote is not closed where it should be.
    """
    lines = _Lines(file)
    for _ in range(form.skip):
        next(lines, None)
    cells = _plain(lines, form) if plain else _quoted(lines, form)
    header: list[str] | None = None
    for line, row, taken, fault in cells:
        if fault or not row:
            if fault:
                yield Entry(line, None, taken, fault)
        elif header is None:
            header = _columns(line, row)
        elif len(row) != len(header):
            reason = f"{len(row)} columns, but the header has {len(header)}"
            yield Entry(line, None, taken, reason)
        elif any("\0" in cell for cell in row):
            yield Entry(line, None, taken, "a null byte")
        else:
            yield Entry(line, dict(zip(header, row, strict=True)), taken)


def quotes_a_column(file: IO[str], form: Form) -> bool:
    """Whether nearly all cells of some column begin with a quote, as far as the first lines tell.

    Quotes then follow CSV's rules, and a wrong quote is an error.
    """
    cells = [line.split(form.delimiter) for line in islice(file, form.skip + 1, _LOOKED_AT)]
    number = max(map(len, cells), default=0)
    quoted = [sum(row[i].startswith('"') for row in cells if i < len(row)) for i in range(number)]
    return len(cells) >= _TELLING and max(quoted) >= 0.95 * len(cells)


def follows_csv(file: IO[str], form: Form) -> bool:
    """Whether a whole file with tabs follows CSV's rules of quotes.

    Rows are read until one does not. A damaged file does not: reading it says why.
    """
    try:
        return all(
            not entry.fault or (entry.lines == 1 and entry.fault != _MISPLACED)
            for entry in rows(file, form, plain=False)
        )
    except (BrokenFileError, UnicodeDecodeError, EOFError, OSError, zlib.error):
        return False


def _columns(line: int, cells: list[str]) -> list[str]:
    """The names in a header; blank ones are no columns of anything."""
    names = [cell.strip() for cell in cells]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        shown = printable(" ".join(twice.split())[:80])
        raise BrokenFileError(
            line, f"two columns named {shown}: the first line must name each column, and once"
        )
    return names


class _Lines:
    """The lines of a file, and those taken for the present row."""

    def __init__(self, file: IO[str]) -> None:
        self._lines = iter(file)
        self.number = 0
        self.ended = False
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        return line


_Cells = tuple[int, list[str], int, str]  # the first line, cells, number of lines, fault
_MISPLACED = "a quote amid a field in quotes: write it twice"


def _plain(lines: _Lines, form: Form) -> Iterator[_Cells]:
    for line in lines:
        lines.taken.clear()
        text = line.rstrip("\r\n")
        yield lines.number, text.split(form.delimiter) if text else [], 1, ""


def _quoted(lines: _Lines, form: Form) -> Iterator[_Cells]:
    dialect = _dialect(form)
    reader = csv.reader(lines, strict=True, **dialect)
    while True:
        start = lines.number + 1
        lines.taken.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            taken = lines.taken
            if lines.ended:
                raise _open(start, taken, form, "and is never closed: close it") from error
            if len(taken) > 1:
                last = f"and line {lines.number} has more after its end: close it where it belongs"
                raise _open(start, taken, form, last) from error
            limit = "limit" in str(error)
            yield start, [], 1, "a field of over 16 MB" if limit else _MISPLACED
            reader = csv.reader(lines, strict=True, **dialect)
            continue
        if cells is None:
            return
        if len(lines.taken) > 1 and (swallowed := _swallowed(lines.taken, cells, form)):
            end = f"and takes in what looks like {swallowed} rows: close it"
            raise _open(start, lines.taken, form, end)
        yield start, cells, len(lines.taken), ""


def _open(start: int, taken: list[str], form: Form, end: str) -> BrokenFileError:
    """Return the error of a field over several lines: it names the line where it begins."""
    try:
        cells = next(csv.reader(taken, **_dialect(form)), [])
    except csv.Error:  # too long
        cells = []
    breaks = [max(0, len(list(io.StringIO(cell, newline=""))) - 1) for cell in cells]
    last = max((i for i, number in enumerate(breaks) if number), default=0)
    reason = f'a quote opens here {end} (a quote within a field is written twice: "")'
    return BrokenFileError(start + sum(breaks[:last]), reason)


def _swallowed(taken: list[str], cells: list[str], form: Form) -> int:
    """How many lines of a row look like rows of their own; 0 if it looks like one row.

    They do if the first and the last of them and most of those between would be rows if quotes were
    plain characters: with as many cells, and codes (numbers, dates, ids) where the row has some.
    """
    if len(cells) < 2:
        return 0
    codes = [i for i, cell in enumerate(cells) if _is_code(cell)]

    def is_row(line: str) -> bool:
        own = line.rstrip("\r\n").split(form.delimiter)
        return (
            len(own) == len(cells)
            and all(cell == cell.lstrip() for cell in own)
            and all(_is_code(own[i]) for i in codes)
        )

    alike = [is_row(line) for line in taken]
    enough = sum(alike) >= (2 if codes else _ALIKE) and 2 * sum(alike) >= len(taken)
    return sum(alike) if alike[0] and alike[-1] and enough else 0


def _is_code(cell: str) -> bool:
    """Whether a cell holds a number, a date or an id: what is in columns of no texts."""
    return re.search(r"\d", cell) is not None and re.search(r"\s", cell) is None
