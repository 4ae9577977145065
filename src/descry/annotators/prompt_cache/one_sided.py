"""Annotators of the cache that tell nothing apart."""

import numpy as np

from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.yes_share import one_sided

_LOOKED_AT = 10_000  # answers of an origin by which an annotator is judged


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
