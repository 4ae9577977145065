"""The cache's answers as JSON lines: what DVC versions, machines exchange, and a replay reads.

A file holds origins (who answered, to which template, with which versions), answers, each below its
origin, and failed requests: a replay bears what the run itself bore. There are two writers:

- `export` writes a whole cache: one file per task and model, each kind of line sorted. No time
  stamps: the bytes depend on the answers and their origins alone, not on the order, the machine or
  the number of processes that made them.
- a `Journal` takes what one process buys, as it comes. SQLite loses data on a network file system:
  where machines share a folder, but no disk, each process has a database of its own in its
  machine's temporary folder, which it first fills from all files in the shared one (`opened`).

`load` reads both; only a journal may end within a line, where a kill has torn it.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self, TextIO, get_args
from uuid import uuid4

from descry.annotators.prompt_cache.store import Batch, PromptCache, origin_id
from descry.annotators.prompts import Task
from descry.errors import InputError
from descry.io.atomic import atomic, guarded
from descry.io.hashing import JSON, canonical, sha256_text

SUFFIX = ".jsonl"
JOURNAL = ".journal.jsonl"
FORMER_FAILURES = ".failed.jsonl"  # a former version exported failures into a file of their own
BATCH = 5_000  # lines of a transaction
_READABLE = 80  # characters of a model's name in the name of a file
_KEY = re.compile(r"[0-9a-f]{64}")


# Writing


def file_name(origin: JSON) -> str:
    """The export that an origin's answers are in, such as p2--google-flan-t5-xxl-1a2b3c4d.jsonl.

    Raises:
        InputError: it has no possible task or model: it would name a file anywhere.
    """
    if origin.get("task") not in get_args(Task) or not isinstance(origin.get("model"), str):
        raise InputError(
            "the prompt cache has answers of an impossible task or model: run `descry cache verify`"
        )
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", origin["model"])[:_READABLE].strip("-.")
    return f"{origin['task']}--{readable}-{sha256_text(origin['model'])[:8]}{SUFFIX}"


def export(cache: PromptCache, folder: Path) -> dict[str, int]:
    """Write all answers and failures into a folder: {file name: how many}.

    Files of other tasks and models that are there already stay.

    Raises:
        InputError: an answer is damaged, or its origin is not known.
    """
    rows = cache.records()
    first = list(islice(rows, 1))  # while rows are read, SQLite shows one moment of the cache
    used = cache.by_origin()
    origins = {name: origin for name, origin in cache.origins().items() if name in used}
    files = {name: file_name(origin) for name, origin in origins.items()}
    failures = [(file_name(record), key, record) for key, record in cache.failures()]
    names = sorted({*files.values(), *(name for name, _, _ in failures)})
    counts = dict.fromkeys(names, 0)
    with ExitStack() as stack:
        out = {name: _open(stack, folder / name) for name in counts}
        for name, origin in origins.items():
            out[files[name]].write(_origin_line(name, origin))
        for key, text in chain(first, rows):
            try:
                name = files[json.loads(text)["origin"]]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{cache.folder}: the answer {key} is damaged, or its origin is: run"
                    " `descry cache verify`"
                ) from error
            out[name].write(_answer_line(key, text))
            counts[name] += 1
        for name, key, record in failures:
            out[name].write(_failure_line(key, record))
            counts[name] += 1
    for name in counts:
        (folder / name).with_suffix(FORMER_FAILURES).unlink(missing_ok=True)
    return counts


def _open(stack: ExitStack, path: Path) -> TextIO:
    part = stack.enter_context(atomic(path))
    return stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))


def _origin_line(name: str, origin: JSON) -> str:
    return canonical({"origin": name, "is": origin}) + "\n"


def _answer_line(key: str, text: str) -> str:
    return f'{{"key":"{key}","is":{text}}}\n'


def _failure_line(key: str, record: JSON) -> str:
    return canonical({"failed": key, "is": record}) + "\n"


class Journal:
    """A file of this process alone, which takes rows as they come; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{uuid4().hex}{JOURNAL}"
        self._known: set[str] = set()  # the origins in it
        self._file: int | None = None  # made with the first row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def write(self, rows: Batch) -> None:
        """Put rows on the disk, an origin above the first of its answers."""
        new = {name: origin for name, origin in rows.origins.items() if name not in self._known}
        self._known.update(new)
        lines = [_origin_line(name, origin) for name, origin in new.items()]
        lines += [_answer_line(key, text) for key, text in rows.answers.items()]
        lines += [_failure_line(key, record) for key, record in rows.failures.items()]
        with guarded(self.path):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            data = memoryview("".join(lines).encode())
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)


# Reading


@contextmanager
def opened(cache_folder: Path, journals: Path | None) -> Iterator[PromptCache]:
    """The prompt cache: that folder's, or one made of a folder of journals and exports.

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
        cache.journal = journal.write
        cache.batches = journals / cache.batches.name  # the cache's own folder does not stay
        yield cache


def load(cache: PromptCache, paths: list[Path]) -> tuple[dict[str, int], list[str]]:
    """Take exports and journals into the cache.

    Returns:
        The answers and failures of each file, and the keys in conflict: for those the cache holds
        another response, which stays.

    Raises:
        InputError: a file is missing, or a line is not of an export; what came before it is kept.
    """
    counts: dict[str, int] = {}
    conflicts: list[str] = []
    for path in _files(paths):
        counts.setdefault(path.name, 0)  # two machines' exports have the same names
        for rows in _batches(path):
            conflicts += cache.merge(rows)
            counts[path.name] += len(rows.answers) + len(rows.failures)
    return counts, conflicts


def _files(paths: list[Path]) -> list[Path]:
    """The exports among files and folders.

    Raises:
        InputError: there are none.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file: `descry cache export` writes exports")
        files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path}: no exports (*{SUFFIX}) in it")
        found += files
    return found


def _batches(path: Path) -> Iterator[Batch]:
    """A file's lines, some thousands at a time."""
    rows, known, number = Batch({}, {}, {}), set[str](), 0
    for number, line in enumerate(_lines(path), 1):
        try:
            kind, name, value = _parsed(line, known)
            text = canonical(value)
            text.encode()  # half a surrogate pair is JSON, but no text
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number}: not of an export ({error})") from error
        if len(rows.answers) + len(rows.failures) >= BATCH or name in rows.answers:
            yield rows
            rows = Batch({}, {}, {})
        match kind:
            case "origin":
                known.add(name)
                rows.origins[name] = value
            case "failed":
                rows.failures[name] = value
            case _:
                rows.answers[name] = text
    if not number and not path.name.endswith(JOURNAL):
        raise InputError(f"{path}: line 1: not of an export (the file is empty)")
    yield rows


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n") or not path.name.endswith(JOURNAL):
                    yield line
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _parsed(line: bytes, known: set[str]) -> tuple[str, str, JSON]:
    """("origin", id, origin), ("key", key, record) or ("failed", key, record), checked."""
    match json.loads(line.decode(), parse_constant=_refuse):
        case {
            "origin": str(name),
            "is": {
                "name": str(),
                "task": str(task),
                "model": str(),
                "revision": str(),
                "dtype": str(),
                "decoding": str(),
                "template": [str(), str(), str()],
                "frame": [str(), str()],
                "versions": {},
            } as origin,
        } if task in get_args(Task):  # the task is part of a file's name
            if origin_id(origin) != name:
                raise ValueError("an origin whose name is not its hash")
            return "origin", name, origin
        case {
            "failed": str(key),
            "is": {"reason": str(), "model": str(), "response": str(), "task": str(task)} as record,
        } if _KEY.fullmatch(key) and task in get_args(Task):
            return "failed", key, record
        case {
            "key": str(key),
            "is": {
                "origin": str(name),
                "response": {},
                "sentence": str() | [str(), *_] as ids,
            } as record,
        } if _KEY.fullmatch(key) and (
            isinstance(ids, str) or all(isinstance(one, str) for one in ids)
        ):
            if name not in known:
                raise ValueError("an answer whose origin is not above it")
            return "key", key, record
    raise ValueError("neither an origin nor an answer nor a failure")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
