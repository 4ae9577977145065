"""Where two versions of a result file part: the first difference in words, and by how much.

Contents are compared apart from what made them, which the files carry: another version of numpy
that gave the same values gave the same content; the packs of a page, which shows what made it, are
content as a whole. NaN equals NaN, and 1 equals 1.0; the order of keys and columns means nothing.
Rows, indices and bytes count from 0, lines from 1. The value found stands first. Whatever the files
hold is shown as text on one line.
"""

from filecmp import cmp
from pathlib import Path

from descry.errors import InputError
from descry.io.dvc_files import Files
from descry.io.hashing import JSON, canonical
from descry.io.nested import flat, unlike
from descry.provenance.diff.hdf5 import hdf5_difference, hdf5_made
from descry.provenance.diff.images import (
    bytes_difference,
    png_difference,
    png_made,
    svg_difference,
    svg_made,
)
from descry.provenance.diff.packs import script_difference
from descry.provenance.diff.parquet import table_difference, table_made
from descry.provenance.diff.report import cut, other_layout, plain
from descry.provenance.diff.text import (
    csv_difference,
    json_difference,
    json_lines_difference,
    json_made,
    text_difference,
)

_MANNERS = {
    "versions": "by other versions",
    "params": "with other params",
    "inputs": "from other inputs",
}


def content_difference(expected: Path, found: Path) -> str | None:
    """Where the contents of two files part first, in words, and how many values differ by how much.

    None if they are equal.

    Args:
        found: its suffix says what kind of file both are.

    Raises:
        InputError: a file is missing or damaged.
    """
    _refuse_missing(expected, found)
    match found.suffix:
        case ".parquet":
            return table_difference(expected, found)
        case ".h5":
            return hdf5_difference(expected, found)
        case ".json":
            return json_difference(expected, found)
        case ".jsonl":
            return json_lines_difference(expected, found)
        case ".csv":
            return csv_difference(expected, found)
        case ".svg":
            return svg_difference(expected, found)
        case ".png":
            return png_difference(expected, found)
        case ".js":
            return script_difference(expected, found)
        case ".html" | ".css":
            return text_difference(expected, found)
    return bytes_difference(expected, found)


def folder_difference(expected: Files, found: Files) -> str | None:
    """Where the contents of two folders part first, in words, and how many files differ.

    A file that only one of them has comes first. None if the contents of all files are equal.

    Raises:
        InputError: a file is damaged.
    """
    alone = [dict.fromkeys(files, "a file") for files in (expected, found)]
    if other := other_layout("file", *alone):
        return f"{other}; files in one alone: {len(expected.keys() ^ found.keys())}"
    unequal = [n for n in found if not cmp(expected[n], found[n], shallow=False)]
    apart = ((name, content_difference(expected[name], found[name])) for name in unequal)
    first = next((f"{plain(name)}: {words}" for name, words in apart if words), None)
    return first and f"{first}; files that differ: {len(unequal)}"


def provenance_difference(expected: Path, found: Path) -> str | None:
    """How what made one file differs from what made the other, in words.

    None if it does not, or for kinds of files that do not say.

    Raises:
        InputError: a file is missing or damaged.
    """
    _refuse_missing(expected, found)
    was, now = (flat(_made(path, found.suffix)) for path in (expected, found))
    changes: dict[str, list[str]] = {kind: [] for kind in _MANNERS}
    for key in sorted(unlike(was, now)):
        kind, _, name = key.partition(".")
        before, after = _setting(was.get(key)), _setting(now.get(key))
        to = "" if kind == "inputs" else f" {before} -> {after}"
        listed = changes.setdefault(kind if kind in _MANNERS else "", [])
        listed.append(plain(name or kind) + to)
    told = {_MANNERS.get(kind, "otherwise"): ", ".join(of) for kind, of in changes.items() if of}
    return "; ".join(f"made {manner}: {of}" for manner, of in told.items()) or None


def _setting(value: JSON) -> str:
    """A version, hash or parameter."""
    if value is None:
        return "none"
    return cut(plain(value if isinstance(value, str) else canonical(value)))


def _made(path: Path, suffix: str) -> JSON:
    """What made a file; {} where it does not say."""
    match suffix:
        case ".parquet":
            return table_made(path)
        case ".h5":
            return hdf5_made(path)
        case ".json":
            return json_made(path)
        case ".svg":
            return svg_made(path)
        case ".png":
            return png_made(path)
    return {}


def _refuse_missing(*paths: Path) -> None:
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
