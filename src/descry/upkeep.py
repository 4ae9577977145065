"""Looking after the prompt cache: is every answer that of its key, and which are still needed?"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from descry.answers import parse_verdict
from descry.cache import PromptCache, origin_id
from descry.errors import InputError
from descry.labellers import JSON
from descry.params import Params
from descry.questions import questions
from descry.rendered import request_of, shown
from descry.storage import read_table
from descry.unwrapping import UnparsableError
from descry.yes_share import one_sided

_LOOKED_AT = 10_000  # answers of an origin by which a labeller is judged


def one_sided_labellers(cache: PromptCache) -> list[str]:
    """Warnings about those who say Yes to nearly everything or nothing, by model and revision.

    Of an origin with very many answers, a share is looked at that is as good as drawn.
    """
    said: dict[str, dict[str, list[bool]]] = {}
    for name, origin in cache.origins().items():
        if origin["task"] != "p2":
            continue
        who = said.setdefault(f"{origin['model']} @ {origin['revision'][:12]}", {})
        for record in cache.some(name, _LOOKED_AT):
            try:
                yes = parse_verdict(record["response"], 0.0).yes
            except UnparsableError:
                continue
            who.setdefault(str(record.get("descriptor")), []).append(yes)
    found = []
    for name, answers in sorted(said.items()):
        counts = [(sum(one), len(one)) for one in answers.values()]
        yes_of, number = np.array(counts, dtype=np.int64).reshape(-1, 2).T
        found.append(one_sided(name, yes_of, number))
    return [words for words in found if words]


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


@dataclass
class Garbage:
    """What the present params no longer reach: answers and failures by key, and by model."""

    answers: list[str]
    failures: list[str]
    kept: int
    models: Counter[str]


def garbage(cache: PromptCache, params: Params, results: Path) -> Garbage:
    """The answers and failures that no stage would ask for by the present params and results.

    Raises:
        InputError: the results are not all there, so that what is needed is not known.
    """
    needed: set[bytes] = set()
    for asked in questions(params, results, cache):
        if not asked.known:
            raise InputError(f"what {asked.stage} asks is not known yet: run the stages first")
        needed.update(map(bytes.fromhex, asked.keys()))
    origins = cache.origins()
    found = Garbage([], [], 0, Counter())
    for key, text in cache.records():
        if bytes.fromhex(key) in needed:
            found.kept += 1
        else:
            found.answers.append(key)
            found.models[_model(text, origins)] += 1
    found.failures = [key for key, _ in cache.failures() if bytes.fromhex(key) not in needed]
    return found


def _model(text: str, origins: dict[str, JSON]) -> str:
    try:
        return str(origins[json.loads(text)["origin"]]["model"])
    except (ValueError, KeyError, TypeError):
        return "a model that is not known: damaged"
