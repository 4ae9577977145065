"""The prompt cache of machines that share a folder, but no disk: answers live in journals.

SQLite loses data on a network file system. So each process has a database of its own, in the
machine's temporary folder, and appends what it buys to a file of its own in the shared folder: an
export whose last line may be torn by a kill. Every process begins by reading all of them; an export
that somebody put there is read as well.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from uuid import uuid4

from descry.annotators.prompt_cache.jsonl import (
    JOURNAL,
    SUFFIX,
    answer_line,
    failure_line,
    load,
    origin_line,
)
from descry.annotators.prompt_cache.store import PromptCache
from descry.errors import InputError
from descry.io.atomic import guarded
from descry.io.hashing import JSON


@contextmanager
def opened(cache_folder: Path, journals: Path | None) -> Iterator[PromptCache]:
    """The prompt cache: that folder's, or where there are journals, one made of them.

    Raises:
        InputError: it is not usable, or a journal is damaged or holds another answer.
    """
    if journals is None:
        with PromptCache(cache_folder) as cache:
            yield cache
        return
    with (
        TemporaryDirectory(prefix="descry-") as own,
        PromptCache(Path(own)) as cache,
        Journal(journals) as journal,
    ):
        _, conflicts = load(cache, sorted(journals.glob(f"*{SUFFIX}")))
        if conflicts:
            raise InputError(
                f"{journals}: two answers to one request ({conflicts[0]}, of {len(conflicts)}): the"
                " annotator is not deterministic: remove the journal whose answers are to go"
            )
        cache.journal = journal
        yield cache


class Journal:
    """A file of this process alone, which takes answers as they come; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{uuid4().hex}{JOURNAL}"
        self._known: set[str] = set()  # the origins in it
        self._file: int | None = None  # made with the first answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def answers(self, name: str, origin: JSON, records: Mapping[str, str]) -> None:
        """Put answers of one origin on the disk: {key: canonical JSON}."""
        lines = [] if name in self._known else [origin_line(name, origin)]
        self._known.add(name)
        self._append([*lines, *(answer_line(key, text) for key, text in records.items())])

    def failures(self, failures: Mapping[str, JSON]) -> None:
        """Put failed requests on the disk."""
        self._append([failure_line(key, record) for key, record in failures.items()])

    def _append(self, lines: list[str]) -> None:
        if not lines:
            return
        with guarded(self.path):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            data = memoryview("".join(lines).encode())
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
