"""What the prompt cache has."""

from collections import Counter
from urllib.parse import urlsplit

import numpy as np

from descry.annotators.base import Price
from descry.annotators.cost import cost
from descry.annotators.openai_server.batch.ledger import Ledger, State
from descry.annotators.prompt_cache.check import one_sided_annotators
from descry.annotators.prompt_cache.store import PromptCache
from descry.io.csv_rows import Row
from descry.io.hashing import JSON


def cache_rows(cache: PromptCache, price: Price | None) -> JSON:
    """Answers and tokens by model, failures by reason, the last runs, and pending batches."""
    counts = cache.by_origin()
    rows: dict[tuple[str, str, str], np.ndarray] = {}
    for name, origin in cache.origins().items():
        who = origin["task"], origin["model"], origin["revision"]
        rows[who] = rows.get(who, 0) + np.array(counts.get(name, (0, 0, 0)))
    names = "task", "model", "revision"
    numbers = "answers", "tokens_in", "tokens_out"
    reasons = Counter(record["reason"] for _, record in cache.failures())
    return {
        "folder": str(cache.folder),
        "answers": [
            dict(zip(names, who, strict=True))
            | {name: int(n) for name, n in zip(numbers, of, strict=True)}
            | {"dollars": cost(int(of[1]), int(of[2]), price) if price else None}
            for who, of in sorted(rows.items())
        ],
        "warnings": one_sided_annotators(cache),
        "failures": dict(reasons.most_common()),
        "runs": dict(sorted(cache.runs().items())),
        "batches": pending_batches(Ledger(cache.batches)),
    }


def pending_batches(ledger: Ledger) -> list[Row]:
    """Prompts of batches that are not imported: task, model, host, prompts, batches, unsent."""
    found: dict[tuple[str, str, str], list[State]] = {}
    for state in ledger.states():
        host = urlsplit(state.base_url).hostname or ""
        found.setdefault((state.origin["task"], state.origin["model"], host), []).append(state)
    return [
        dict(zip(("task", "model", "host"), who, strict=True))
        | {
            "prompts": sum(state.requests for state in states),
            "batches": len(states),
            "unsent": sum(state.batch is None for state in states),
        }
        for who, states in sorted(found.items())
    ]
