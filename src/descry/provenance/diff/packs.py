"""Where two scripts of a page part: its packs of data by what is in them, others as texts."""

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path

from descry.provenance.diff.report import reading
from descry.provenance.diff.text import text_difference, value_difference

_PACK = re.compile(rb'descry\.take\("([^"\\]*)","([A-Za-z0-9+/=]*)"\);\n?')


def unpacked(path: Path) -> tuple[str, str] | None:
    """The name of a pack and the JSON that is in it; None of a script that is no pack.

    Raises:
        InputError: what it holds is damaged.
    """
    with reading(path):
        found = _PACK.fullmatch(path.read_bytes())
        return found and (found[1].decode(), gzip.decompress(b64decode(found[2])).decode())


def script_difference(expected: Path, found: Path) -> str | None:
    """The dotted key of the first leaf that differs in two packs; of other scripts the line."""
    ours, theirs = unpacked(expected), unpacked(found)
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return text_difference(expected, found)
    with reading(expected):
        was = json.loads(ours[1])
    with reading(found):
        now = json.loads(theirs[1])
    return value_difference(was, now)
