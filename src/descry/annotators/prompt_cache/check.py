"""Do the answers of the cache belong to their prompts?"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from descry.annotators.prompt_cache.rerender import request_of, shown
from descry.annotators.prompt_cache.store import PromptCache, origin_id
from descry.io.hashing import JSON
from descry.io.parquet import read_table


@dataclass
class Verified:
    """What was found.

    Attributes:
        checked: answers whose key follows from their request.
        elsewhere: answers about sentences that this corpus does not have: not checked.
        wrong: keys that do not follow from their request, or whose row or origin is damaged, with
            the reason.
        drift: packages whose version is no longer that of the answers: {name: {version then}}.
    """

    checked: int = 0
    elsewhere: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    drift: dict[str, set[str]] = field(default_factory=dict)


Visit = Callable[[str, JSON, JSON], None]


def verify(
    cache: PromptCache, results: Path, visit: Visit = lambda key, record, origin: None
) -> Verified:
    """Compute the key of every answer anew from its origin and the corpus.

    Args:
        visit: is shown the key, record and origin of every answer whose key is right.

    Raises:
        InputError: there is no corpus.
    """
    corpus = read_table(results / "corpus.parquet", "corpus")
    texts = dict(zip(corpus["id"].to_pylist(), corpus["text"].to_pylist(), strict=True))
    origins = {name: it for name, it in cache.origins().items() if origin_id(it) == name}
    found, used = Verified(), set()
    for key, text in cache.records():
        record = _record(text)
        if record is None:
            found.wrong[key] = "its row is damaged"
            continue
        origin, sentence = origins.get(record["origin"]), shown(record["sentence"], texts)
        used.add(record["origin"])
        if origin is None:
            found.wrong[key] = "its origin is missing, or was changed"
        elif sentence is None:
            found.elsewhere += 1
        elif request_of(origin, sentence, record.get("descriptor", "")).key != key:
            found.wrong[key] = "the key does not follow from its request"
        else:
            found.checked += 1
            visit(key, record, origin)
    found.drift = _drift([origins[name] for name in origins.keys() & used])
    return found


def _record(text: str) -> JSON | None:
    """An answer's record; None if it is none, which must not be said lightly: it is removed."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    match record:
        case {"origin": str(), "sentence": str()}:
            return record
        case {"origin": str(), "sentence": [*ids]} if all(isinstance(name, str) for name in ids):
            return record
    return None


def _drift(origins: list[JSON]) -> dict[str, set[str]]:
    drift: dict[str, set[str]] = {}
    for origin in origins:
        for name, then in origin["versions"].items():
            try:
                same = version(name) == then
            except PackageNotFoundError:
                same = False
            if not same:
                drift.setdefault(name, set()).add(then)
    return drift
