"""Whether the cache's answers belong to their prompts, and tell descriptors apart.

An answer's row holds ids; its origin holds what many answers share. With the corpus they give the
exact prompt, and with it the key, so that every key can be computed again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache, Request, origin_id
from descry.annotators.prompts import numbered
from descry.annotators.yes_share import one_sided
from descry.corpus.units import POSITIONS, SENTENCES, text_ids
from descry.io.hashing import JSON
from descry.io.parquet import read_table

_LOOKED_AT = 10_000  # answers of an origin by which an annotator is judged


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
    """Compute the key of every answer again from its origin and the corpus.

    Args:
        visit: is shown the key, record and origin of every answer whose key is right.

    Raises:
        InputError: there is no corpus.
    """
    texts: dict[str, str] = {}
    for path in (results / SENTENCES, results / POSITIONS):
        if path.name == SENTENCES or path.is_file():
            table = read_table(path, "corpus", ["id", "text"])
            ids, of = table["id"].to_pylist(), table["text"].to_pylist()
            texts |= zip(text_ids(ids, of), of, strict=True)
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


def shown(ids: JSON, texts: Mapping[str, str]) -> str | None:
    """What stands in the sentence's place of a prompt; None where the corpus lacks any of it.

    Args:
        ids: of a sentence, or a list of several.
        texts: of sentences, by id.
    """
    if isinstance(ids, str):
        return texts.get(ids)
    found = [texts.get(name) for name in list(ids)]
    return None if None in found else numbered([text for text in found if text is not None])


def request_of(origin: JSON, sentence: str, descriptor: str) -> Request:
    """The request that an origin's annotator was sent."""
    (before, behind), (head, middle, tail) = origin["frame"], origin["template"]
    prompt = f"{before}{head}{sentence}{middle}{descriptor}{tail}{behind}"
    fields = {name: origin[name] for name in ("task", "model", "revision", "dtype", "decoding")}
    return Request(prompt=prompt, **fields)


def one_sided_annotators(cache: PromptCache) -> list[str]:
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
