"""Two versions of a result file or folder as a table of what differs: bytes first, then by format.

Contents are compared apart from what made them, which files carry, too, and which has a table of
its own. Rows and indices count from 0, lines of a text from 1.
"""

import csv
import gzip
import json
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from filecmp import cmp
from functools import partial
from html import unescape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descry.io.dvc_files import Files
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5
from descry.io.parquet import read_blocks, row_count
from descry.io.provenance import PROVENANCE
from descry.io.readable import ANY, readable, unreadable
from descry.provenance.diff.table import Block, Row, leaves, objects, rows

if TYPE_CHECKING:
    import h5py
    import pyarrow as pa

MADE = "made"  # the key by which a JSON file says what made it
_ROWS = 100_000  # of a Parquet file, held at a time
_APART = {PROVENANCE, "corpus"}  # HDF5 attributes: what made a file, and the hash of an input
_DESCRIPTION = re.compile(r"(?<=<dc:description>).*?(?=</dc:description>)", re.DOTALL)
_PACK = re.compile(rb'descry\.take\("([^"\\]*)","([A-Za-z0-9+/=]*)"\);\n?')
# Columns that tell a row of a table from others.
_IDENTIFYING = (
    *("id", "annotator", "phrase", "against", "score", "at"),
    *("end", "split", "chosen", "layer", "neuron", "descriptor"),
)


def differences(expected: Files, found: Files) -> list[Row]:
    """What differs between the contents of two files, each under "", or of two folders.

    Files that only one folder has come first. No rows if all contents are equal.

    Raises:
        InputError: a file is damaged.
    """
    alone, table = list[Row](), list[Row]()
    for name in {**expected, **found}:
        if name in expected and name in found:
            table += [replace(row, file=name) for row in differing(expected[name], found[name])]
        else:
            was, now = (
                f"{files[name].stat().st_size} bytes" if name in files else "nothing"
                for files in (expected, found)
            )
            alone.append(Row("", "", (now, was), 1, 1, file=name))
    return alone + table


def differing(expected: Path, found: Path) -> list[Row]:
    """What differs between the contents of two files; no rows if they are equal.

    Args:
        found: its suffix says what kind of file both are.

    Raises:
        InputError: a file is missing or damaged.
    """
    with _reading(expected), _reading(found):
        if cmp(expected, found, shallow=False):
            return []
    match found.suffix:
        case ".parquet":
            return rows(_tables(expected, found))
        case ".h5":
            return rows(_datasets(expected, found))
    return rows(leaves(*(_document(path, found.suffix) for path in (expected, found))))


def made_differently(expected: Path, found: Path) -> list[Row]:
    """The parameters, versions and hashes of inputs by which two files were made differently.

    No rows for kinds of files that do not say what made them.

    Raises:
        InputError: a file is missing or damaged.
    """
    return rows(leaves(*({MADE: made(path, found.suffix)} for path in (expected, found))))


def made(path: Path, suffix: str) -> JSON:
    """What made a file of that kind; None if it does not say.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq
    from PIL import Image

    with _reading(path):
        text: Any = None
        if suffix == ".json":
            value = json.loads(path.read_text(encoding="utf-8"))
            return value.get(MADE) if isinstance(value, dict) else None
        if suffix == ".h5":
            with reading_hdf5(path, ANY) as file:
                text = file.attrs.get(PROVENANCE)
        elif suffix == ".parquet":
            text = (pq.read_schema(path).metadata or {}).get(PROVENANCE.encode())
        elif suffix == ".png":
            with Image.open(path) as picture:
                text = picture.info.get("Description")
        elif suffix == ".svg" and (told := _DESCRIPTION.search(path.read_text(encoding="utf-8"))):
            text = unescape(told[0])
        return text and json.loads(text)


def unpacked(path: Path) -> tuple[str, str] | None:
    """The name of the explorer's pack and the JSON in it; None if the script is no pack.

    Raises:
        InputError: what the pack holds is damaged.
    """
    with _reading(path):
        found = _PACK.fullmatch(path.read_bytes())
        return found and (found[1].decode(), gzip.decompress(b64decode(found[2])).decode())


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name the file that a library cannot read: around the library's calls alone."""
    try:
        with readable(path, ANY):
            yield
    except (EOFError, SyntaxError, csv.Error, zlib.error) as error:
        raise unreadable(path, ANY, error) from error


def _document(path: Path, suffix: str) -> JSON:
    """JSON, CSV by line and column, PNG by rows of pixels, a pack by its name; others by line."""
    pack = unpacked(path) if suffix == ".js" else None
    with _reading(path):
        if pack:
            return {pack[0]: json.loads(pack[1])}
        if suffix == ".png":
            from PIL import Image

            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGBA"))
            return {"width": picture.width, "y": [row.tobytes().hex() for row in pixels]}
        text = path.read_bytes().decode(errors="surrogateescape")
        if suffix == ".json":
            value = json.loads(text)
            if isinstance(value, dict):
                value.pop(MADE, None)
            return value
        if suffix == ".csv":
            read = csv.DictReader(StringIO(text, newline=""), strict=True)
            found = ((read.line_num, row) for row in read)
            return {"columns": read.fieldnames, "line": dict(found)}
        lines = (_DESCRIPTION.sub("", text) if suffix == ".svg" else text).split("\n")
        return {"line": dict(enumerate(lines, 1))}


def _tables(*paths: Path) -> Iterator[Block]:
    """Columns that two Parquet files have in common, some rows at a time."""
    import pyarrow.parquet as pq

    kinds = []
    for path in paths:
        with _reading(path):
            kinds.append({column.name: str(column.type) for column in pq.read_schema(path)})
    sizes = [{"number of rows": row_count(path, ANY)} for path in paths]
    yield from leaves(*(size | {"type": kind} for size, kind in zip(sizes, kinds, strict=True)))
    names = [name for name, kind in kinds[0].items() if kinds[1].get(name) == kind]
    blocks = (read_blocks(path, ANY, names, _ROWS) for path in paths)
    for number, pair in enumerate(zip(*blocks, strict=False)):
        ours, theirs = (table.slice(0, min(map(len, pair))) for table in pair)
        for name in names:
            sides = [np.zeros(len(ours))] * 2  # equal, and not worth a look at each value
            if not ours[name].equals(theirs[name]):
                sides = [objects(table[name].to_pylist()) for table in (ours, theirs)]
            yield name, sides[0], sides[1], partial(_row, ours, number * _ROWS, name)


def _row(table: "pa.Table", start: int, column: str, number: int) -> str:
    """A row by its number in the file and by those columns that tell it from others."""
    values = table.slice(number, 1).to_pylist()[0]
    known = [f"{name} {values[name]}" for name in _IDENTIFYING if name in values and name != column]
    return f"row {start + number}" + (f" ({', '.join(known)})" if known else "")


def _datasets(*paths: Path) -> Iterator[Block]:
    """Attributes of two HDF5 files, and the datasets that they have in common, chunk by chunk."""
    with reading_hdf5(paths[0], ANY) as left, reading_hdf5(paths[1], ANY) as right:
        both = tuple(zip((left, right), paths, strict=True))
        before, after = (_layout(*of) for of in both)
        yield from leaves(before, after)
        for name, layout in before.items():
            kind = layout["type"]
            if kind == "group" or kind != after.get(name, {}).get("type") or not left[name].size:
                continue  # there are no values to compare
            for place in left[name].iter_chunks() if left[name].chunks else [()]:
                ours, theirs = (_values(file, path, name, place) for file, path in both)
                where = partial(_index, [part.start for part in place], ours.shape)
                yield name, ours.ravel(), theirs.ravel(), where


def _layout(file: "h5py.File", path: Path) -> dict[str, JSON]:
    """Type and shape of every group and dataset, and attributes but for what made the file."""
    parts: dict[str, Any] = {"/": file}
    with _reading(path):
        file.visititems(parts.__setitem__)
        attributes = {name: dict(one.attrs) for name, one in parts.items()}
    found = {}
    for name, one in parts.items():
        kind = "group"
        if hasattr(one, "shape"):
            kind = f"{one.dtype} {'empty' if one.shape is None else list(one.shape)}"
        told = {k: np.asarray(v).tolist() for k, v in attributes[name].items() if k not in _APART}
        found[name] = {**told, "type": kind}
    return found


def _values(file: "h5py.File", path: Path, name: str, place: tuple[slice, ...]) -> np.ndarray:
    with _reading(path):
        return np.asarray(file[name][place])


def _index(start: list[int], shape: tuple[int, ...], number: int) -> str:
    """Index of value `number` of an array of that shape which begins at `start`."""
    index = np.unravel_index(number, shape)
    start = start or [0] * len(shape)
    return str([a + int(b) for a, b in zip(start, index, strict=True)]) if shape else ""
