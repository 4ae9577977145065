"""Batches that are not imported yet, on disk: after a kill, none is submitted a second time.

Each batch is a folder with its state, its input file and its rows: what the cache keeps of each
prompt. The folder appears whole, before the server hears of the batch; that the batch is submitted
is recorded afterwards. A kill may come between the two, so the batch carries the folder's name and
the input's hash as metadata, by which the server's list of batches tells whether it was submitted.

A process holds a lock on each batch it works on: several jobs may share a cache.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from descry.errors import InputError
from descry.io.atomic import guarded
from descry.io.hashing import JSON, canonical
from descry.io.json_files import write_json

STATE, ROWS, INPUT, _LOCK = "state.json", "rows.txt", "input.jsonl", "lock"
_PART, _GONE = ".part", ".gone"


class State(BaseModel):
    """How far a batch is.

    Attributes:
        base_url: the server.
        origin: of the answers, as the cache keeps it.
        top: how many log-probabilities each request asks for.
        requests: how many there are.
        sha256: of the input file.
        batch: the server's id of the batch, once it is submitted.
        refused: ids of batches of this input that the server had no room for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    origin: JSON
    top: int
    requests: int
    sha256: str
    batch: str | None = None
    refused: tuple[str, ...] = ()


class Entry:
    """A batch of the ledger, on which this process holds a lock.

    Attributes:
        state: as it is on disk.
    """

    def __init__(self, folder: Path, lock: int, state: State) -> None:
        self.folder, self.state = folder, state
        self._lock: int | None = lock

    @property
    def name(self) -> str:
        """What the server is told to call the batch by."""
        return self.folder.name

    @property
    def metadata(self) -> dict[str, str]:
        """What the server keeps with the batch, so that it can be found again."""
        return {"descry": self.name, "input_sha256": self.state.sha256}

    @property
    def input(self) -> Path:
        """The input file."""
        return self.folder / INPUT

    def update(self, **changes: Any) -> None:
        """Record a step."""
        self.state = self.state.model_copy(update=changes)
        write_json(self.folder / STATE, self.state.model_dump())

    def rows(self) -> dict[str, bytes]:
        """What the cache keeps of each prompt, by key; `row_of_line` reads it.

        Raises:
            InputError: the file is damaged.
        """
        return dict(_lines(self.folder))

    def remove(self) -> None:
        """Take the batch off the ledger: its answers are imported."""
        gone = self.folder.with_name(f".{self.name}{_GONE}")
        self.folder.rename(gone)  # at once, for other readers of the ledger
        shutil.rmtree(gone, ignore_errors=True)  # `tidy` has the rest
        self.close()

    def close(self) -> None:
        """Let another process work on it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Writing:
    """A batch that is being written; it is not in the ledger before `finish`."""

    def __init__(self, ledger: Path) -> None:
        self._ledger, self._name = ledger, uuid4().hex
        self._folder = ledger / f".{self._name}{_PART}"
        with guarded(ledger):
            self._folder.mkdir(parents=True)
            self._lock = _locked(self._folder)
            self._input = (self._folder / INPUT).open("wb")
            self._rows = (self._folder / ROWS).open("wb")

    def write(self, requests: bytes, rows: bytes) -> None:
        """Append lines to the input file, and as many rows."""
        with guarded(self._folder):
            self._input.write(requests)
            self._rows.write(rows)

    def finish(self, state: State) -> Entry:
        """Put the batch into the ledger, whole."""
        with guarded(self._folder):
            for file in (self._input, self._rows):
                file.flush()
                os.fsync(file.fileno())
                file.close()
            write_json(self._folder / STATE, state.model_dump())
            folder = self._folder.rename(self._ledger / self._name)
        assert self._lock is not None
        return Entry(folder, self._lock, state)

    def discard(self) -> None:
        """Leave nothing of it."""
        for file in (self._input, self._rows):
            with suppress(OSError):  # what a full disk did not take
                file.close()
        shutil.rmtree(self._folder)
        if self._lock is not None:
            os.close(self._lock)


class Ledger:
    """The pending batches in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self) -> Writing:
        """A batch to be written."""
        return Writing(self.folder)

    def names(self) -> list[str]:
        """The batches, also those that another process works on, and those left by a kill."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def state(self, name: str) -> State | None:
        """A batch's state; None where it is no longer there.

        Raises:
            InputError: it is damaged.
        """
        path = self.folder / name / STATE
        try:
            return State.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as error:
            raise _damaged(path) from error

    def states(self) -> Iterator[State]:
        """The states of all batches.

        Raises:
            InputError: one is damaged.
        """
        return (state for state in map(self.state, self.names()) if state is not None)

    def keys(self, name: str) -> list[str]:
        """The keys of a batch's prompts; none where it is no longer there."""
        try:
            return [key for key, _ in _lines(self.folder / name)]
        except FileNotFoundError:
            return []

    def take(self, name: str) -> Entry | None:
        """Work on a batch; None where another process does, or where it is no longer there."""
        folder = self.folder / name
        try:
            lock = _locked(folder)
        except FileNotFoundError:
            return None
        if lock is None:
            return None
        state = self.state(name)  # imported between the look and the lock: gone
        if state is None:
            os.close(lock)
            return None
        return Entry(folder, lock, state)

    def tidy(self) -> None:
        """Remove what killed processes left half written or half removed."""
        for end in (_PART, _GONE):
            for folder in self.folder.glob(f".*{end}"):
                with suppress(FileNotFoundError):
                    lock = _locked(folder, make=False)
                    if lock is not None:
                        shutil.rmtree(folder)
                        os.close(lock)


def _locked(folder: Path, *, make: bool = True) -> int | None:
    """A lock on a batch, held until it is closed or the process ends; None where it is taken."""
    file = os.open(folder / _LOCK, os.O_RDWR | (os.O_CREAT if make else 0), 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


_KEY = 64  # hex digits


def row_line(key: str, row: JSON) -> bytes:
    """A row of a batch: the key, a blank, and JSON."""
    return f"{key} {canonical(row)}\n".encode()


def row_of_line(line: bytes) -> JSON:
    """The row in the part of a line behind its key."""
    return msgspec.json.decode(line)


def _lines(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The rows of a batch by key, unread: tens of thousands of objects would slow Python down."""
    path = folder / ROWS
    with path.open("rb") as file:
        for line in file:
            if line[_KEY : _KEY + 2] != b" {" or line[-2:] != b"}\n":
                raise _damaged(path)
            yield line[:_KEY].decode(), line[_KEY + 1 :]


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path}: damaged: move its folder away; what the batch holds is then asked again"
    )
