"""The prompt cache: every answer is asked for once, whatever happens (on diskcache).

Why not diskcache as it comes: its defaults evict rows without a word, and it unpickles what it
reads (CVE-2025-69872), so whoever can write the folder runs code in the reader. Here eviction is
off, the disk takes text only, and one transaction holds a batch. FanoutCache drops rows on a
time-out, so a plain Cache is used.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import diskcache

from descry.errors import InputError
from descry.storage import canonical, sha256_text

JSON = Any
_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 2**62,  # rows stay in the database: one file to copy, no open calls
}
_ANSWER, _FAILURE = "answer:", "failure:"
_TEXT_MODE = 3  # diskcache.core.MODE_TEXT: the only mode a row may have
_IN = 900  # SQLite takes at most 999 variables in a statement


@dataclass(frozen=True)
class Request:
    """All that decides an answer. Its hash is the key of the cache.

    Not in it: batch size, device, paths, retries, library versions. `revision` is a commit or a
    hash of contents, never a branch; `decoding` holds the model's answering options.
    """

    task: str
    model: str
    revision: str
    dtype: str
    prompt: str
    decoding: str
    sample: int = 0

    @property
    def key(self) -> str:
        """sha256 of the canonical JSON of the request."""
        return sha256_text(canonical(asdict(self)))


class CacheConflictError(Exception):
    """Another answer came for a request that has one: the labeller is not deterministic."""


class _TextDisk(diskcache.Disk):  # type: ignore[misc]
    """Keys and values are text; a row of any other mode is refused, never unpickled."""

    def put(self, key: object) -> tuple[str, bool]:
        if not isinstance(key, str):
            raise TypeError("a cache key is text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        if not isinstance(key, str) or not raw:
            raise InputError(f"{self._directory}: a foreign row in the prompt cache: remove it")
        return key

    def store(
        self, value: object, read: bool, key: object = diskcache.UNKNOWN
    ) -> tuple[int, int, None, str]:
        if not isinstance(value, str) or read:
            raise TypeError("a cache value is text")
        return 0, _TEXT_MODE, None, value

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> str:
        if mode != _TEXT_MODE or filename is not None or not isinstance(value, str):
            raise InputError(f"{self._directory}: a foreign row in the prompt cache: remove it")
        return value


class PromptCache:
    """Answers by request in a local folder; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_settings(folder / "cache.db")
            self._cache = diskcache.Cache(str(folder), disk=_TextDisk, timeout=60, **_SETTINGS)
        except (sqlite3.DatabaseError, OSError) as error:
            raise InputError(f"{folder}: not a usable prompt cache ({error})") from None
        self.folder = folder

    @staticmethod
    def _check_settings(database: Path) -> None:
        """Somebody's careless opening with other settings would evict rows: refuse to go on."""
        if not database.exists():
            return
        # as_uri quotes the name: a "?" or "#" in it would make SQLite open another file.
        address = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=60)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return  # another process is making it just now
            found = dict(connection.execute("SELECT key, value FROM Settings"))
        for name, wanted in _SETTINGS.items():
            if name in found and found[name] != wanted:
                raise InputError(
                    f"{database}: opened by another program with {name}={found[name]!r}, so answers"
                    " may have been lost: check it, and move it away or restore a copy"
                )

    def __enter__(self) -> "PromptCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.close()

    def _rows(self, keys: Sequence[str]) -> Iterable[tuple[str, str]]:
        for start in range(0, len(keys), _IN):
            part = keys[start : start + _IN]
            marks = ",".join("?" * len(part))
            rows = self._cache._sql(
                "SELECT key, raw, mode, filename, value FROM Cache WHERE raw = 1"
                f" AND key IN ({marks})",
                part,
            ).fetchall()
            for key, raw, mode, filename, value in rows:
                disk = self._cache.disk
                yield disk.get(key, raw), disk.fetch(mode, filename, value, False)

    def answers(self, keys: Sequence[str]) -> dict[str, JSON]:
        """The stored responses among the keys: {key: response}."""
        rows = self._rows([_ANSWER + key for key in keys])
        return {name.removeprefix(_ANSWER): json.loads(text)["response"] for name, text in rows}

    def record(self, key: str) -> JSON | None:
        """The whole record of a key (response, request, versions), or None."""
        for _, text in self._rows([_ANSWER + key]):
            return json.loads(text)
        return None

    def store(self, records: dict[str, JSON]) -> None:
        """Store good answers in one transaction; the first one written stays.

        Args:
            records: {key: {"response": ..., "request": ..., "versions": ...}}.

        Raises:
            CacheConflictError: a key has another response already.
        """
        with self._cache.transact(retry=True):
            present = self.answers(list(records))
            for key, record in records.items():
                if key not in present:
                    self._cache.set(_ANSWER + key, canonical(record), retry=True)
                    self._cache.delete(_FAILURE + key, retry=True)
                elif present[key] != record["response"]:
                    raise CacheConflictError(
                        f"{self.folder}: another answer for {key}: {canonical(present[key])[:80]}"
                        f" is stored, {canonical(record['response'])[:80]} came now"
                    )

    def fail(self, failures: dict[str, JSON]) -> None:
        """Enter failed requests in the ledger with their reason; the next run asks them again."""
        with self._cache.transact(retry=True):
            for key, record in failures.items():
                self._cache.set(_FAILURE + key, canonical(record), retry=True)

    def stats(self) -> dict[str, int]:
        """Number of stored answers and of failures."""
        count = "SELECT COUNT(*) FROM Cache WHERE key >= ? AND key < ?"
        return {
            name: self._cache._sql(count, (prefix, prefix + "\x7f")).fetchone()[0]
            for name, prefix in (("answers", _ANSWER), ("failures", _FAILURE))
        }
