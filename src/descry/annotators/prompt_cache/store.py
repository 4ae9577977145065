"""The prompt cache: every answer is asked for once, whatever happens (on diskcache).

Why not diskcache as it comes: its defaults evict rows without a word, and it unpickles what it
reads (CVE-2025-69872), so that anybody who can write the folder runs code in the reader. Here
eviction is off, the disk takes text only, and one transaction holds a batch. FanoutCache drops rows
on a time-out, so a plain Cache is used.

A row is an answer, a failure, an origin (who answered, and to which template: what many answers
have in common) or the counts of a stage's last run.
"""

import errno
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, wraps
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Concatenate, NamedTuple, NoReturn, ParamSpec, TypeVar

import diskcache

from descry.annotators.prompt_cache.read_only import ReadOnly, can_write
from descry.errors import InputError
from descry.io.hashing import JSON, canonical, sha256_text

_P = ParamSpec("_P")
_T = TypeVar("_T")
_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 2**62,  # rows stay in the database: one file to copy, no open calls
}
# Millions of answers have random keys: each is a page of the index, read and written. Memory and a
# longer log of writes (64 MB each at most) spare most of that.
_PAGES = {"sqlite_cache_size": 2**14, "sqlite_wal_autocheckpoint": 2**14}
_MANY = 1000  # rows of a transaction that are counted together
_DATABASE = "cache.db"
_ANSWER, _FAILURE, _ORIGIN, _RUN = "answer:", "failure:", "origin:", "run:"
_TEXT_MODE = 3  # diskcache.core.MODE_TEXT: the only mode a row may have
_SHOWN = 100  # characters shown of what SQLite says
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)  # the latter before a row is written
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_INSERT = (
    "INSERT INTO Cache (key, raw, value, tag, store_time, access_time, access_count, size, mode)"
    f" VALUES (?, 1, ?, ?, ?, ?, 0, 0, {_TEXT_MODE})"
)
_ON_INSERT = (
    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name IN"
    " ('Settings_count_insert', 'Settings_size_insert')"  # each row's size is 0
)
_SPOILT = ""  # for a text that is not the one that was stored: it is no JSON
_IN = 900  # SQLite takes at most 999 variables in a statement
# What /proc/mounts calls file systems of other machines: SQLite's locks do not hold there.
_NETWORK = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "sshfs")


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
        before, after = _around_prompt(
            self.task, self.model, self.revision, self.dtype, self.decoding, self.sample
        )
        return sha256_text(before + canonical(self.prompt) + after)


@lru_cache(maxsize=64)
def _around_prompt(
    task: str, model: str, revision: str, dtype: str, decoding: str, sample: int
) -> tuple[str, str]:
    """The canonical JSON around the prompt: the same for millions of requests."""
    request: JSON = {"task": task, "model": model, "revision": revision, "dtype": dtype}
    request |= {"decoding": decoding, "sample": sample, "prompt": None}
    # Quotes within a value are escaped, so the mark is found at the key itself.
    before, _, after = canonical(request).partition('"prompt":null')
    return before + '"prompt":', after


class CacheConflictError(InputError):
    """Another answer came for a request that has one: the annotator is not deterministic."""


class Batch(NamedTuple):
    """Rows as they travel from one cache to another.

    Attributes:
        origins: by id.
        answers: canonical JSON of the record, by key.
        failures: record with its reason, by key.
    """

    origins: dict[str, JSON]
    answers: dict[str, str]
    failures: dict[str, JSON]


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


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Turn a database that is damaged, or that cannot grow, into one clear line."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError, OSError) as error:
        if (
            getattr(error, "errno", None) in _FORBIDDEN
            or _code(error) & 0xFF == sqlite3.SQLITE_READONLY
        ):
            raise InputError(f"{folder}: cannot be written ({error})") from error
        if _code(error) in _FULL or not _takes_files(folder):
            raise InputError(
                f"{folder}: the disk is full: free some space and run again"
            ) from error
        reason = str(error)[:_SHOWN]
        raise InputError(
            f"{folder}: not a usable prompt cache ({reason}): if it is damaged, move it away: what"
            " was exported comes back by `descry cache import`"
        ) from error


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0)


def _takes_files(folder: Path) -> bool:
    """Whether there is room for a file: SQLite calls a full table of inodes `unable to open`."""
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)
    return True


def _clearly(
    method: Callable[Concatenate["PromptCache", _P], _T],
) -> Callable[Concatenate["PromptCache", _P], _T]:
    """A method of the cache whose failures are those of `_usable`."""

    @wraps(method)
    def clear(self: "PromptCache", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with _usable(self.folder):
            return method(self, *args, **kwargs)

    return clear


def origin_id(origin: JSON) -> str:
    """The short name of an origin: 16 hex digits of its hash."""
    return sha256_text(canonical(origin))[:16]


def _seal(text: str) -> str:
    """What stands beside a text: SQLite does not notice that a bit of it has changed."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _refuse_network(folder: Path) -> None:
    import psutil

    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    here = folder.resolve()
    kind = next((mounts[place] for place in (here, *here.parents) if place in mounts), "")
    if kind.removeprefix("fuse.").startswith(_NETWORK):
        raise InputError(
            f"{folder}: on a network file system ({kind}), where SQLite loses answers: put it on"
            " a disk of this machine (--cache), or run with `--config journals=true`"
            " (docs/cluster.md)"
        )


class _Unwritable:
    """The part of diskcache's Cache that is used here, over a read-only database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.disk = _TextDisk(str(folder))
        self._database = ReadOnly(folder / _DATABASE)
        self._sql = self._database.connection.execute

    def close(self) -> None:
        self._database.close()

    def __getattr__(self, name: str) -> NoReturn:
        raise read_only(self._folder)


def read_only(folder: Path) -> InputError:
    """That a cache's answers can be read, and no others be stored."""
    return InputError(
        f"{folder}: is read-only: its answers can be read (--replay), but none can be stored: copy"
        " it to a folder that can be written (--cache)"
    )


class PromptCache:
    """Answers by request in a local folder, which may be read-only; use as a context manager.

    Attributes:
        journal: is told of every new row before it is there, if anything is.
        read_only: whether nothing can be stored.
        batches: folder of the batches that are not imported yet.
    """

    def __init__(self, folder: Path) -> None:
        self.journal: Callable[[Batch], None] | None = None
        self.folder, self.batches = folder, folder / "batches"
        database = folder / _DATABASE
        with _usable(folder):
            self.read_only = database.is_file() and not can_write(database)
            if self.read_only:
                self._cache: Any = _Unwritable(folder)
                self._check_settings(self._cache._database.connection)
                return
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _refuse_network(folder)
            if database.exists():
                # as_uri quotes the name: a "?" or "#" would make SQLite open another file.
                address = f"{database.absolute().as_uri()}?mode=ro"
                with closing(sqlite3.connect(address, uri=True, timeout=60)) as connection:
                    self._check_settings(connection)
            self._cache = diskcache.Cache(
                str(folder), disk=_TextDisk, timeout=60, **_SETTINGS, **_PAGES
            )

    def _check_settings(self, connection: sqlite3.Connection) -> None:
        """Refuse a cache that was opened with other settings, which would evict rows."""
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            return  # another process is making it just now
        found = dict(connection.execute("SELECT key, value FROM Settings"))
        for name, wanted in _SETTINGS.items():
            if name in found and found[name] != wanted:
                raise InputError(
                    f"{self.folder / _DATABASE}: opened by another program with"
                    f" {name}={found[name]!r}, so answers may have been lost: check it, and move it"
                    " away or restore a copy"
                )

    def __enter__(self) -> "PromptCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.close()

    # Reading

    def _select(self, where: str, values: Sequence[object]) -> Iterator[tuple[str, str, float]]:
        """Rows as (key, text, time of storing), each checked to be the text that was stored."""
        columns = "key, raw, mode, filename, value, tag, store_time"
        disk = self._cache.disk
        with _usable(self.folder):
            rows = self._cache._sql(f"SELECT {columns} FROM Cache WHERE {where}", values)
            for key, raw, mode, filename, value, tag, stored in rows:
                text = disk.fetch(mode, filename, value, False)
                whole = tag is None or tag == _seal(text)  # None: of a version without seals
                yield disk.get(key, raw), text if whole else _SPOILT, stored

    def _rows(self, keys: Sequence[str]) -> Iterator[tuple[str, str, float]]:
        for start in range(0, len(keys), _IN):
            part = keys[start : start + _IN]
            yield from self._select(f"raw = 1 AND key IN ({','.join('?' * len(part))})", part)

    def _all(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Every row of a kind in the order of its keys: (key without prefix, text)."""
        where = "key >= ? AND key < ? ORDER BY key"
        for key, text, _ in self._select(where, (prefix, prefix + "\x7f")):
            yield key.removeprefix(prefix), text

    def answers(self, keys: Sequence[str]) -> dict[str, JSON]:
        """The stored responses among the keys: {key: response}."""
        return {key: record["response"] for key, record in self.stored(keys).items()}

    def stored(self, keys: Sequence[str]) -> dict[str, JSON]:
        """The records of those among the keys that have an answer: {key: record}."""
        rows = self._rows([_ANSWER + key for key in keys])
        return {key.removeprefix(_ANSWER): self._read(key, text) for key, text, _ in rows}

    def known(self, keys: Sequence[str]) -> set[str]:
        """Select the keys that have an answer."""
        return {key.removeprefix(_ANSWER) for key, *_ in self._rows([_ANSWER + k for k in keys])}

    def failed(self, keys: Sequence[str]) -> dict[str, JSON]:
        """Select the keys whose last request failed: {key: record with the reason}."""
        return {
            row.removeprefix(_FAILURE): self._read(row, text)
            for row, text, _ in self._rows([_FAILURE + key for key in keys])
        }

    def recorded(self, keys: Sequence[str]) -> dict[str, JSON]:
        """Read the records of the keys that have an answer: {key: record}.

        response, sentence, descriptor, tokens, cut; `origin` whole; `made`, the UTC time to the
        second at which it was stored here.
        """
        origins, found = self.origins(), {}
        for row, text, stored in self._rows([_ANSWER + key for key in keys]):
            record = self._read(row, text)
            made = datetime.fromtimestamp(int(stored), UTC).isoformat()
            if record["origin"] not in origins:
                raise self._damaged(row, "its origin is missing")
            origin = origins[record["origin"]]
            found[row.removeprefix(_ANSWER)] = record | {"origin": origin, "made": made}
        return found

    def _read(self, key: str, text: str) -> JSON:
        """A row's JSON, which has a response and an origin where it is an answer."""
        try:
            value = json.loads(text)
        except ValueError as error:
            raise self._damaged(key, str(error)) from error
        if not isinstance(value, dict):
            raise self._damaged(key, "not a JSON object")
        if key.startswith(_ANSWER) and not {"response", "origin"} <= value.keys():
            raise self._damaged(key, "no response or origin")
        return value

    def _damaged(self, key: str, reason: str) -> InputError:
        return InputError(
            f"{self.folder}: the row {key} is damaged ({reason}): `descry cache verify --remove`"
            " finds and removes such rows"
        )

    def origins(self) -> dict[str, JSON]:
        """Every origin by its id."""
        return {key: self._read(_ORIGIN + key, text) for key, text in self._all(_ORIGIN)}

    def records(self) -> Iterator[tuple[str, str]]:
        """Every answer in the order of keys: (key, canonical JSON of its record)."""
        return self._all(_ANSWER)

    def failures(self) -> Iterator[tuple[str, JSON]]:
        """Every failed request: (key, record with its reason)."""
        return ((key, self._read(_FAILURE + key, text)) for key, text in self._all(_FAILURE))

    def runs(self) -> dict[str, JSON]:
        """The counts of the last run of every stage and annotator."""
        return {key: self._read(_RUN + key, text) for key, text in self._all(_RUN)}

    # Writing

    def _put(self, key: str, text: str) -> None:
        self._cache.set(key, text, tag=_seal(text), retry=True)

    def _put_new(self, key: str, text: str) -> None:
        """Store a row unless there is one."""
        self._cache.add(key, text, tag=_seal(text), retry=True)

    @_clearly
    def store(self, origin: JSON, records: dict[str, JSON]) -> None:
        """Store good answers of one origin in one transaction; the first one written stays.

        Args:
            origin: who answered, and to which template.
            records: {key: {"response": ..., "sentence": id, ...}}.

        Raises:
            CacheConflictError: a key has another response already.
        """
        with self._cache.transact(retry=True):
            present = self.answers(list(records))
            for key in present:
                if present[key] != records[key]["response"]:
                    raise CacheConflictError(
                        f"{self.folder}: another answer for {key}: {canonical(present[key])[:80]}"
                        f" is stored, {canonical(records[key]['response'])[:80]} came now"
                    )
            self._enter(origin, {key: records[key] for key in records if key not in present})

    @_clearly
    def store_missing(self, origin: JSON, records: dict[str, JSON]) -> set[str]:
        """Store good answers of one origin to requests that have none yet, in one transaction.

        Returns:
            The keys of these.
        """
        with self._cache.transact(retry=True):
            new = records.keys() - self.known(list(records))
            self._enter(origin, {key: records[key] for key in records if key in new})
        return new

    def _enter(self, origin: JSON, records: dict[str, JSON]) -> None:
        """Store answers to requests that have none, within a transaction."""
        name = origin_id(origin)
        new = {key: canonical(record | {"origin": name}) for key, record in records.items()}
        if self.journal and new:
            self.journal(Batch({name: origin}, new, {}))
        self._put_new(_ORIGIN + name, canonical(origin))
        self._insert({_ANSWER + key: text for key, text in new.items()})
        if next(self._all(_FAILURE), None):  # as a rule there is none at all
            for key in self.failed(list(new)):
                self._cache.delete(_FAILURE + key, retry=True)

    def _insert(self, rows: dict[str, str]) -> None:
        """Store rows that are not there, within a transaction.

        As diskcache's own `add` does for one: of thousands, most of its time is the look-ups. In
        the order of keys, neighbours in the index are written together.
        """
        now, new = time.time(), sorted(rows.items())
        values = ((key, text, _seal(text), now, now) for key, text in new)
        with self._counted(len(new)) if len(new) > _MANY else nullcontext():
            self._cache._con.executemany(_INSERT, values)

    @contextmanager
    def _counted(self, rows: int) -> Iterator[None]:
        """Count new rows once, in the place of diskcache's triggers, within a transaction.

        For every row of a statement with a trigger SQLite copies the pages that it changes.
        """
        database = self._cache._con
        triggers = database.execute(_ON_INSERT).fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        yield
        database.execute("UPDATE Settings SET value = value + ? WHERE key = 'count'", (rows,))
        for _, statement in triggers:
            database.execute(statement)

    @_clearly
    def merge(self, rows: Batch) -> list[str]:
        """Add rows of another cache in one transaction.

        Of two records with one response the smaller text stays, so that the order of merging does
        not matter.

        Returns:
            The keys in conflict: another response is stored here, and stays.
        """
        conflicts = []
        with self._cache.transact(retry=True):
            for name, origin in rows.origins.items():
                self._put_new(_ORIGIN + name, canonical(origin))
            found = self._rows([_ANSWER + key for key in rows.answers])
            present = {key.removeprefix(_ANSWER): text for key, text, _ in found}
            for key, text in rows.answers.items():
                here = present.get(key)
                if here is not None and self._response(key, here) != self._response(key, text):
                    conflicts.append(key)
                elif here is None or text < here:
                    self._put(_ANSWER + key, text)
                    self._cache.delete(_FAILURE + key, retry=True)
            self.fail(rows.failures)
        return conflicts

    @_clearly
    def fail(self, failures: dict[str, JSON]) -> None:
        """Enter failed requests in the ledger with their reason; the next run asks them again.

        One that another process has got an answer to is none.
        """
        with self._cache.transact(retry=True):
            known = self.known(list(failures))
            new = {key: record for key, record in failures.items() if key not in known}
            if self.journal and new:
                self.journal(Batch({}, {}, new))
            for key, record in new.items():
                self._put(_FAILURE + key, canonical(record))

    @_clearly
    def finish(self, run: str, counts: JSON) -> None:
        """Keep the counts of a stage's and annotator's last run, where they can be kept."""
        if self.read_only:
            return  # a replay has nothing else to store
        self._put(_RUN + run, canonical(counts))

    @_clearly
    def remove(self, answers: Iterable[str], failures: Iterable[str]) -> None:
        """Remove answers and failures for good, in one transaction, and give the room back."""
        with self._cache.transact(retry=True):
            for prefix, keys in ((_ANSWER, answers), (_FAILURE, failures)):
                for key in keys:
                    self._cache.delete(prefix + key, retry=True)
            used = self.by_origin()
            for name, _ in list(self._all(_ORIGIN)):
                if name not in used:
                    self._cache.delete(_ORIGIN + name, retry=True)
        self._cache._sql_retry("VACUUM")  # waits for other writers

    @_clearly
    def stats(self) -> dict[str, int]:
        """Number of stored answers and of failures."""
        count = "SELECT COUNT(*) FROM Cache WHERE key >= ? AND key < ?"
        return {
            name: self._cache._sql(count, (prefix, prefix + "\x7f")).fetchone()[0]
            for name, prefix in (("answers", _ANSWER), ("failures", _FAILURE))
        }

    @_clearly
    def by_origin(self) -> dict[str, tuple[int, int, int]]:
        """Answers, tokens in and tokens out of every origin; counted within SQLite."""
        tokens = "TOTAL(json_extract(value, '$.tokens[{}]'))"
        query = (
            f"SELECT json_extract(value, '$.origin'), COUNT(*), {tokens.format(0)},"
            f" {tokens.format(1)} FROM Cache WHERE key >= ? AND key < ? AND mode = ?"
            " AND json_valid(value) GROUP BY 1"
        )
        rows = self._cache._sql(query, (_ANSWER, _ANSWER + "\x7f", _TEXT_MODE))
        return {name: (count, int(i), int(o)) for name, count, i, o in rows}

    def some(self, origin: str, most: int) -> Iterator[JSON]:
        """Return some answers of an origin: those with the first keys, as good as drawn."""
        of_origin = "json_valid(value) AND json_extract(value, '$.origin') = ?"
        where = f"key >= ? AND key < ? AND {of_origin} ORDER BY key LIMIT ?"
        for key, text, _ in self._select(where, (_ANSWER, _ANSWER + "\x7f", origin, most)):
            yield self._read(key, text)

    def _response(self, key: str, text: str) -> JSON:
        return self._read(_ANSWER + key, text)["response"]
