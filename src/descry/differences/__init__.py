"""Where two versions of a result file part: the first difference in words, and by how much.

Contents are compared apart from what made them, which the files carry: another version of numpy
that gave the same values gave the same content. NaN equals NaN, and 1 equals 1.0; the order of keys
and columns means nothing. Rows, indices and bytes count from 0, lines from 1. The value found
stands first. Whatever the files hold is shown as text on one line.
"""

from pathlib import Path

from descry.differences.account import cut, plain
from descry.differences.arrays import hdf5_difference, hdf5_made
from descry.differences.pictures import (
    bytes_difference,
    png_difference,
    png_made,
    svg_difference,
    svg_made,
)
from descry.differences.tables import table_difference, table_made
from descry.differences.texts import (
    csv_difference,
    json_difference,
    json_lines_difference,
    json_made,
)
from descry.errors import InputError
from descry.storage import JSON, canonical, flat

_MANNERS = {
    "versions": "by other versions",
    "params": "with other params",
    "inputs": "from other inputs",
}


def first_difference(expected: Path, found: Path) -> str | None:
    """Where two files of the same name part first, in words; None if their contents are equal.

    What made them is compared last, and apart.

    Args:
        found: its suffix says what kind of file both are.

    Raises:
        InputError: a file is missing or damaged.
    """
    return content_difference(expected, found) or provenance_difference(expected, found)


def same_content(expected: Path, found: Path) -> bool:
    """Whether two files hold the same, whatever made them.

    Raises:
        InputError: a file is missing or damaged.
    """
    return content_difference(expected, found) is None


def content_difference(expected: Path, found: Path) -> str | None:
    """Where the contents of two files part first, in words, and how many values differ by how much.

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
    return bytes_difference(expected, found)


def provenance_difference(expected: Path, found: Path) -> str | None:
    """How what made one file differs from what made the other, in words.

    None if it does not, or for kinds of files that do not say.

    Raises:
        InputError: a file is missing or damaged.
    """
    _refuse_missing(expected, found)
    was, now = (flat(_made(path, found.suffix)) for path in (expected, found))
    changes: dict[str, list[str]] = {kind: [] for kind in _MANNERS}
    for key in sorted({*was, *now}):
        before, after = was.get(key), now.get(key)
        if before != after:
            kind, _, name = key.partition(".")
            to = "" if kind == "inputs" else f" {_setting(before)} -> {_setting(after)}"
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
