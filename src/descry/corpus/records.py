"""Records of a review file of any format."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from descry.corpus.csv_lines import follows_csv, form_of, quotes_a_column, rows
from descry.corpus.files import SUFFIXES, packed, suffix, unknown_format
from descry.corpus.json_lines import BrokenFileError, Entry, json_lines
from descry.errors import InputError
from descry.io.sanitize import printable

_SHOWN = 200  # characters shown of what a file says
_UTF_16 = "UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"
_BEGINNINGS = {  # of files that are no text in UTF-8
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"\x1f\x8b": "gzip: end its name in .gz",
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save it as CSV UTF-8",
    b"PAR1": "Parquet: end its name in .parquet",
    b"BZh": "bzip2: unpack it",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it",
    b"\xfd7zXZ": "xz: unpack it",
}
_HEAD = 1024  # bytes looked at for null bytes, of which UTF-16 without a mark is half


def records(path: Path, text_fields: Sequence[str]) -> Iterator[Entry]:
    """Read the records of a file, in its order.

    Args:
        text_fields: names of the text column, which show how a CSV file separates its cells.

    Raises:
        InputError: the file is missing, truncated, no UTF-8, or not of the format that its name
            says.
    """
    form = suffix(path)
    if form not in SUFFIXES:
        raise InputError(unknown_format(path))
    if not path.is_file():
        raise InputError(f"{path}: no such file: set corpus.reviews in params.yaml")
    line = 0
    try:
        if form == ".parquet":
            yield from _parquet(path)
            return
        _be_text(path)
        separated = form in (".csv", ".tsv")
        with _opened(path) as file:
            found = _rows(path, text_fields, form) if separated else json_lines(file)
            for entry in found:
                line = entry.line
                yield entry
    except BrokenFileError as error:
        raise InputError(f"{path}: line {error.line}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: after line {line}: not UTF-8 ({error.reason}), perhaps Latin-1: convert it"
            " with `iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: after line {line}: damaged or truncated gzip ({error}): fetch it again"
        ) from error


def short(text: str) -> str:
    """Return a file's words for an error: one short line, harmless for a terminal."""
    return printable(" ".join(text.split())[:_SHOWN])


def _binary(path: Path) -> IO[bytes]:
    return gzip.open(path) if packed(path) else path.open("rb")  # type: ignore[return-value]


def _opened(path: Path) -> IO[str]:
    if packed(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _be_text(path: Path) -> None:
    """Refuse a file that begins as another format does."""
    with _binary(path) as file:
        head = file.read(_HEAD)
    for beginning, what in _BEGINNINGS.items():
        if head.startswith(beginning):
            raise InputError(f"{path}: it is {what}")
    if 3 * head.count(0) > len(head):
        raise InputError(f"{path}: full of null bytes: perhaps {_UTF_16}")


def _rows(path: Path, text_fields: Sequence[str], suffix: str) -> Iterator[Entry]:
    with _opened(path) as file:
        form = form_of(file, text_fields, tabs=suffix == ".tsv")
    plain = False
    if form.delimiter == "\t" and not form.quoted:
        with _opened(path) as file:
            quoted = quotes_a_column(file, form)
        if not quoted:
            with _opened(path) as file:
                plain = not follows_csv(file, form)
    with _opened(path) as file:
        yield from rows(file, form, plain=plain)


def _parquet(path: Path) -> Iterator[Entry]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise InputError(f"{path}: two columns named {short(twice)}: name each once")
            number = 0
            for batch in file.iter_batches(batch_size=8192, use_threads=False):
                for record in batch.to_pylist():
                    number += 1
                    yield Entry(number, record)
    # Beside pyarrow's own: a time that Python has no date for, a text that is not UTF-8.
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError) as error:
        reason = short(str(error)) or type(error).__name__
        raise InputError(f"{path}: not a readable Parquet file ({reason})") from error
