"""The cache's answers as files that DVC can version and another machine can replay.

One JSONL file per task and model: first the origins (who answered, to which template, with which
versions), then the answers, each sorted. Where requests failed, they are in a file beside it: a
replay bears what the run itself bore. No time stamps: the bytes depend on the answers and their
origins alone, not on the order, the machine or the number of processes that made them.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO, get_args

from descry.annotators.prompt_cache.store import PromptCache, origin_id
from descry.annotators.prompts import Task
from descry.errors import InputError
from descry.io.atomic import atomic, write_text
from descry.io.hashing import canonical, sha256_text

JSON = Any
SUFFIX = ".jsonl"
FAILED = ".failed.jsonl"
JOURNAL = ".journal.jsonl"  # an export that grows: a kill may have torn its last line
BATCH = 5_000  # records of a transaction
_READABLE = 80  # characters of a model's name in the name of a file
_KEY = re.compile(r"[0-9a-f]{64}")
# Of an origin: what is a text, and what is so many texts.
_TEXTS = ("name", "task", "model", "revision", "dtype", "decoding")
_PARTS = {"template": 3, "frame": 2}


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
    """Write all answers into a folder: {file name: answers}.

    Files of other tasks and models that are there already stay.

    Raises:
        InputError: an answer is damaged, or its origin is not known.
    """
    rows = cache.records()
    first = list(islice(rows, 1))  # while rows are read, SQLite shows one moment of the cache
    used = cache.by_origin()
    origins = {name: origin for name, origin in cache.origins().items() if name in used}
    files = {name: file_name(origin) for name, origin in origins.items()}
    counts = dict.fromkeys(sorted(set(files.values())), 0)
    with ExitStack() as stack:
        out = {name: _open(stack, folder / name) for name in counts}
        for name, origin in origins.items():
            out[files[name]].write(origin_line(name, origin))
        for key, text in chain(first, rows):
            try:
                name = files[json.loads(text)["origin"]]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{cache.folder}: the answer {key} is damaged, or its origin is: run"
                    " `descry cache verify`"
                ) from error
            out[name].write(answer_line(key, text))
            counts[name] += 1
    return counts | _export_failures(cache, folder, list(counts))


def origin_line(name: str, origin: JSON) -> str:
    """The line of an origin; it stands above those of its answers."""
    return canonical({"origin": name, "is": origin}) + "\n"


def answer_line(key: str, text: str) -> str:
    """The line of an answer: its key, and the canonical JSON of its record."""
    return f'{{"key":"{key}","is":{text}}}\n'


def failure_line(key: str, record: JSON) -> str:
    """The line of a failed request, and its record with the reason."""
    return canonical({"failed": key, "is": record}) + "\n"


def _export_failures(cache: PromptCache, folder: Path, names: list[str]) -> dict[str, int]:
    """Write the failures of every task and model; a file of former ones goes."""
    lines: dict[str, list[str]] = {name.removesuffix(SUFFIX) + FAILED: [] for name in names}
    for key, record in cache.failures():
        name = file_name(record).removesuffix(SUFFIX) + FAILED
        lines.setdefault(name, []).append(failure_line(key, record))
    for name, found in lines.items():
        if found:
            write_text(folder / name, "".join(found))
        else:
            (folder / name).unlink(missing_ok=True)
    return {name: len(found) for name, found in sorted(lines.items()) if found}


def _open(stack: ExitStack, path: Path) -> TextIO:
    part = stack.enter_context(atomic(path))
    return stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))


def load(cache: PromptCache, paths: list[Path]) -> tuple[dict[str, int], list[str]]:
    """Take exports into the cache.

    Returns:
        The answers of each file, and the keys in conflict: for those the cache holds another
        response, which stays.

    Raises:
        InputError: a file is missing, or a line is not of an export; what came before it is kept.
    """
    counts: dict[str, int] = {}
    conflicts: list[str] = []
    for path in export_files(paths):
        counts.setdefault(path.name, 0)  # two machines' exports have the same names
        for origins, records, failures in _batches(path):
            conflicts += cache.merge(origins, records)
            cache.fail(failures)
            counts[path.name] += len(records) + len(failures)
    return counts, conflicts


def export_files(paths: list[Path]) -> list[Path]:
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


def _batches(path: Path) -> Iterator[tuple[dict[str, JSON], dict[str, str], dict[str, JSON]]]:
    """Origins, answers as text and failures, some thousands at a time."""
    origins: dict[str, JSON] = {}
    records: dict[str, str] = {}
    failures: dict[str, JSON] = {}
    known: set[str] = set()
    for number, line in enumerate(_lines(path), 1):
        try:
            kind, name, value = _parsed(line, known)
            text = canonical(value)
            text.encode()  # half a surrogate pair is JSON, but no text
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: line {number}: not of an export ({error})") from error
        if len(records) + len(failures) >= BATCH or name in records:
            yield origins, records, failures
            origins, records, failures = {}, {}, {}
        match kind:
            case "origin":
                known.add(name)
                origins[name] = value
            case "failed":
                failures[name] = value
            case _:
                records[name] = text
    if not known and not failures and not path.name.endswith(JOURNAL):
        raise InputError(f"{path}: line 1: not of an export (the file is empty)")
    yield origins, records, failures


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
    entry = json.loads(line.decode(), parse_constant=_refuse)
    value = entry["is"]
    if not isinstance(value, dict):
        raise ValueError("neither an origin nor an answer")
    if "origin" in entry:
        _check_origin(value)
        if origin_id(value) != entry["origin"]:
            raise ValueError("an origin whose name is not its hash")
        return "origin", entry["origin"], value
    kind = "failed" if "failed" in entry else "key"
    if not _KEY.fullmatch(entry[kind]):
        raise ValueError("a key that is no sha256")
    if kind == "failed":
        if not all(isinstance(value[name], str) for name in ("reason", "model", "response")):
            raise ValueError("a failure without reason, model or response")
        if value["task"] not in get_args(Task):
            raise ValueError("a failure of an impossible task")
        return kind, entry[kind], value
    if value["origin"] not in known:
        raise ValueError("an answer whose origin is not above it")
    if not isinstance(value["response"], dict) or not _are_ids(value["sentence"]):
        raise ValueError("an answer without response or sentence")
    return kind, entry[kind], value


def _check_origin(origin: JSON) -> None:
    if missing := {*_TEXTS, *_PARTS, "versions"} - origin.keys():
        raise ValueError(f"an origin without {', '.join(sorted(missing))}")
    right = {name: isinstance(origin[name], str) for name in _TEXTS}
    right |= {name: _are_texts(origin[name], count) for name, count in _PARTS.items()}
    right["versions"] = isinstance(origin["versions"], dict)
    right["task"] = origin["task"] in get_args(Task)  # part of a file's name
    if wrong := [name for name, is_right in right.items() if not is_right]:
        raise ValueError(f"an origin with an impossible {wrong[0]}")


def _are_ids(value: JSON) -> bool:
    """Whether these are an answer's sentences: one, or a list where its prompt shows several."""
    return isinstance(value, str) or (_are_texts(value, len(value)) if value else False)


def _are_texts(value: JSON, count: int) -> bool:
    is_list = isinstance(value, list) and len(value) == count
    return is_list and all(isinstance(text, str) for text in value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
