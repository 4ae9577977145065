"""Where two figures part, or two files of a kind that is not known: the line, pixel or byte."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np

from descry.io.hashing import JSON
from descry.provenance.diff.report import reading, shown, versus
from descry.provenance.diff.text import lines_difference

_BYTES = 2**24  # of a file, held at a time
_AROUND = 30  # bytes shown
_DESCRIPTION = re.compile(r"(?<=<dc:description>).*?(?=</dc:description>)", re.DOTALL)


def svg_made(path: Path) -> JSON:
    """What made an SVG; {} if it does not say."""
    found = _DESCRIPTION.search(_svg(path))
    with reading(path):
        return json.loads(unescape(found[0])) if found else {}


def svg_difference(expected: Path, found: Path) -> str | None:
    """The first line that differs, but for what made the files."""
    ours, theirs = (_DESCRIPTION.sub("", _svg(path)).splitlines() for path in (expected, found))
    return lines_difference(ours, theirs)


def _svg(path: Path) -> str:
    with reading(path):
        return path.read_text(encoding="utf-8")


def png_made(path: Path) -> JSON:
    """What made a PNG; {} if it does not say."""
    from PIL import Image

    with reading(path), Image.open(path) as picture:
        return json.loads(picture.info.get("Description", "{}"))


def png_difference(expected: Path, found: Path) -> str | None:
    """The first pixel that differs, row by row."""
    ours, theirs = _pixels(expected), _pixels(found)
    if ours.shape != theirs.shape:
        was, now = (f"{p.shape[1]} x {p.shape[0]} pixels" for p in (ours, theirs))
        return f"{now}, expected {was}"
    unequal = (ours != theirs).any(axis=2)
    if not unequal.any():
        return None
    y, x = np.unravel_index(int(unequal.argmax()), unequal.shape)
    values = versus(ours[y, x].tolist(), theirs[y, x].tolist())
    return f"pixel (x {x}, y {y}): {values}; {unequal.sum()} of {unequal.size} pixels differ"


def _pixels(path: Path) -> np.ndarray:
    """Red, green, blue and opacity: uint8 [y, x, 4]."""
    from PIL import Image

    with reading(path), Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA"))


def bytes_difference(expected: Path, found: Path) -> str | None:
    """The first byte that differs."""
    size, other = (path.stat().st_size for path in (expected, found))
    first, count = _unequal_bytes(expected, found)
    if not count and size == other:
        return None
    was, now = (_bytes_at(path, first) for path in (expected, found))
    amount = f"{count} of {size} bytes differ"
    if size != other:
        amount = f"{other} bytes, expected {size}"
    return f"byte {first}: {now}, expected {was}; {amount}"


def _unequal_bytes(expected: Path, found: Path) -> tuple[int, int]:
    """The place of the first byte that differs, or the end of the shorter file; how many do."""
    shorter = min(path.stat().st_size for path in (expected, found))
    first, count = shorter, 0
    with expected.open("rb") as left, found.open("rb") as right:
        for start in range(0, shorter, _BYTES):
            length = min(_BYTES, shorter - start)
            ours, theirs = (np.frombuffer(file.read(length), np.uint8) for file in (left, right))
            unequal = ours != theirs
            if unequal.any():
                first = min(first, start + int(unequal.argmax()))
                count += int(unequal.sum())
    return first, count


def _bytes_at(path: Path, place: int) -> str:
    with path.open("rb") as file:
        file.seek(place)
        return shown(found) if (found := file.read(_AROUND)) else "the end"
