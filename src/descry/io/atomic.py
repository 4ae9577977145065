"""Atomic writes: a file or folder takes its place when it is whole, or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from descry.errors import InputError

_UNWRITABLE = (errno.EACCES, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn a full disk and a folder that cannot be written into one clear line.

    Raises:
        InputError: either of them.
    """
    try:
        yield
    except OSError as error:
        if (
            error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            or "no space" in str(error).lower()
        ):
            raise InputError(f"{path}: the disk is full: free some space and run again") from error
        if error.errno in _UNWRITABLE:
            raise InputError(f"{path}: cannot be written ({os.strerror(error.errno)})") from error
        raise


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes its place when whole, else it goes.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with guarded(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        if part.exists():
            part.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` to write to; it takes its place when whole, else it goes.

    After a kill the old folder is there as it was, or the new one (between two renamings: neither);
    what is left beside it goes with the next.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    part, aside = part_of(path), path.with_name(f".{path.name}.old")
    with guarded(path):
        _remove(part)
        part.mkdir(parents=True)
        try:
            yield part
            _remove(aside)
            if path.exists():
                path.rename(aside)
            part.rename(path)
            _remove(aside)
        finally:
            _remove(part)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def part_of(path: Path) -> Path:
    """Where a file is until it is whole, when a killed run is to go on with it."""
    return path.with_name(f".{path.name}.part")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")
