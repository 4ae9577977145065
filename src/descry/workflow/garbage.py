"""Garbage in the prompt cache: answers that the present params no longer need."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from descry.annotators.prompt_cache.store import PromptCache
from descry.errors import InputError
from descry.workflow.params import Params
from descry.workflow.requests import questions


@dataclass
class Garbage:
    """Answers and failures that the present params no longer need, by key and by model."""

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
            try:
                model = str(origins[json.loads(text)["origin"]]["model"])
            except (ValueError, KeyError, TypeError):
                model = "a model that is not known: damaged"
            found.models[model] += 1
    found.failures = [key for key, _ in cache.failures() if bytes.fromhex(key) not in needed]
    return found
