"""Atomic writes: a file or folder takes its place when it is whole, or not at all.

A killed process leaves its part behind. The next process that writes to the folder removes it,
where it can tell that its writer is dead: on the same machine, by the writer's number.
"""

import errno
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
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
    """Yield a temporary path to write to, which replaces `path` if whole and is removed if not.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{_machine()}.part")
    try:
        with guarded(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_left(path.parent.absolute(), os.getpid())
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        if part.exists():
            part.unlink()


@cache
def _machine() -> str:
    """This machine among those that may share a folder."""
    return sha256(platform.node().encode()).hexdigest()[:8]


@cache  # once for a folder, and anew in a fork: a folder may have very many files
def _remove_left(folder: Path, _: int) -> None:
    """Remove the parts of processes of this machine that are no more."""
    import psutil  # late: most commands write no file

    of_process = re.compile(rf"\..+\.(\d{{1,9}})-{_machine()}\.part")  # more: no process's
    with suppress(OSError):  # somebody else was faster, or removes nothing here
        for file in folder.iterdir():
            found = of_process.fullmatch(file.name)
            if found and not psutil.pid_exists(int(found[1])):
                file.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to write to, which replaces `path` if whole and is removed if not.

    After a kill the old or the new folder is in place (between two renames: neither); the next call
    removes what is left beside it.

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
    """Return the path of an unfinished file, which a killed run resumes."""
    return path.with_name(f".{path.name}.part")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")
