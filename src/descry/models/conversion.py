"""Models converted to the form of another library, once.

A conversion is a folder, named by what it was made from and by, with a note of its own contents: a
damaged one is made again.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from descry.io.atomic import atomic_folder, guarded
from descry.io.hashing import JSON, canonical, sha256_file, sha256_text

CONVERTED = "DESCRY_CONVERTED"  # in the environment: the folder of the conversions
_FOLDER = Path("cache/models")
_NOTE = "converted.json"


def kept(told: str, write: Callable[[Path], JSON]) -> Path:
    """The folder of a conversion.

    Args:
        told: what it is made from and by, in words: another is another conversion.
        write: writes it into an empty folder, and says what the note is to hold.
    """
    folder = Path(os.environ.get(CONVERTED) or _FOLDER).absolute() / sha256_text(told)[:24]
    with _alone(folder):
        if not _whole(folder):
            with atomic_folder(folder) as part:
                whole = canonical(write(part) | {"files": _hashes(part)})
                (part / _NOTE).write_text(whole, encoding="utf-8")
    return folder


def note(folder: Path) -> JSON:
    """Return a conversion's note about itself; empty for another or a damaged folder."""
    try:
        found = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: the others wait for the conversion, and take it."""
    import fcntl

    with guarded(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _whole(folder: Path) -> bool:
    """Whether a conversion is there, as it was made."""
    return folder.is_dir() and note(folder).get("files") == _hashes(folder)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.iterdir() if file.name != _NOTE)
    return {file.name: sha256_file(file) for file in files}
