"""Folders that are put in place as a whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from descry.io.atomic import guarded, part_of


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` to write to; it takes its place when whole, else it goes.

    After a kill the old folder is there as it was, or the new one (between two renamings: neither);
    what is left beside it goes with the next.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    part = part_of(path)
    with guarded(path):
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        try:
            yield part
            _put(part, path)
        finally:
            if part.exists():
                shutil.rmtree(part)


def _put(part: Path, path: Path) -> None:
    """Put a folder where another may be, which goes."""
    aside = path.with_name(f".{path.name}.old")
    if aside.exists():
        shutil.rmtree(aside)
    if path.exists():
        path.rename(aside)
    part.rename(path)
    if aside.exists():
        shutil.rmtree(aside)
