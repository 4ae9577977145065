"""Atomic writes: a file takes its place when it is whole, or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from descry.errors import InputError

if TYPE_CHECKING:
    pass


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


def part_of(path: Path) -> Path:
    """Where a file is until it is whole, when a killed run is to go on with it."""
    return path.with_name(f".{path.name}.part")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")
