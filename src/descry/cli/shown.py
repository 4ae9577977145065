"""The data of the tables of the terminal, for `--json` too: the same numbers, not rounded."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow.compute as pc

from descry.activations.exemplar_files import (
    SPREAD,
    read_ends,
    read_exemplars,
    read_neurons,
)
from descry.activations.top_k import ENDS, HIGHEST, in_common
from descry.annotators.base import Price
from descry.annotators.cost import cost
from descry.annotators.openai_server.batch.ledger import Ledger, State
from descry.annotators.prompt_cache.check import one_sided_annotators
from descry.annotators.prompt_cache.store import PromptCache
from descry.corpus.splits import SPLITS
from descry.corpus.units import POSITIONS
from descry.errors import InputError
from descry.io.csv_rows import Row
from descry.io.hashing import JSON, canonical
from descry.labels.counting import TOO_FEW
from descry.run import Neuron, Run

TRUTHS = {"gold": "gold labels", "judge": "the judge's answers"}
_SCORES = [
    ("halves", "jaccard", "the two halves' labels: Jaccard"),
    ("gold", "precision_at_k_2", "P@2 against gold labels"),
    ("judge", "precision_at_k_2", "P@2 against the judge"),
]


def run_rows(run: Run, rows: int) -> JSON:
    """How far to believe the labels, and the surest of them."""
    labels, made = run.surest, run.provenance("labels.parquet")
    return {
        "believed": believed(run),
        "warnings": warnings(run),
        "without_exemplars": made.get("without_exemplars", {}).get(HIGHEST, {}),
        "kind": run.kind,
        "neurons": len(run.neurons),
        "labelled": labels.group_by(["layer", "neuron"]).aggregate([]).num_rows,
        "labels": len(labels),
        "replicated": pc.sum(labels["replicated"]).as_py() or 0,
        "surest": [
            {"neuron": f"L{row.pop('layer')}:{row.pop('neuron')}"} | row
            for row in labels.slice(0, rows).to_pylist()
        ],
    }


def warnings(run: Run) -> list[str]:
    """The warnings of a run: reasons to doubt its labels."""
    if run.has("metrics.json"):
        return list(run.metrics["warnings"])
    return list(run.provenance("labels.parquet").get("warnings", ()))


def believed(run: Run) -> list[Row]:
    """The headline scores: score, value, low, high, by_chance, over.

    `by_chance` is None where chance is not known; `low` and `high` bound a 95% interval, where
    there is one.
    """
    found: list[Row] = []

    def add(name: str, value: Any, by_chance: Any, of: str, score: JSON | None = None) -> None:
        span = {key: (score or {}).get(key) for key in ("low", "high")}
        found.append({"score": name, "value": value, **span, "by_chance": by_chance, "over": of})

    def add_score(name: str, score: JSON, null: str, of: str) -> None:
        if score.get("value") is not None:
            add(name, score["value"], score[null], of, score)

    labels, metrics = len(run.surest), run.metrics if run.has("metrics.json") else {}
    headline = metrics.get("headline", {})
    if confirmed := headline.get("replicated"):
        of = f"{confirmed['labels']:,} labels of the halves"
        add_score("replicated: the other half confirms them", confirmed, "base", of)
    for truth, confirmed in headline.get("supported", {}).items():
        name = f"supported: {TRUTHS[truth]} confirm them"
        add_score(name, confirmed, "base", f"{confirmed['labels']:,} labels")
    chance = run.provenance("labels.parquet")["chance"][HIGHEST]
    if chance:
        of = f"random sets{' of the same strata' if run.strata else ''}: mean of"
        of += f" {chance['draws']} draws, any in {chance['random_any']:.0%} of them"
        add("labels", labels, float(chance["random_labels"]), of)
    else:
        add("labels", labels, None, f"random sets: {TOO_FEW}")
    copy = headline.get("false_labels", {}).get("random_weights")
    if copy is not None:
        add("labels", labels, copy, "a copy with random weights")
    for truth, owed in metrics.get("shared_errors", {}).items():
        by = f"labels of {owed['descriptors']} descriptors ({TRUTHS[truth]}: {owed['truth']:,})"
        of = f"an annotator as good that errs by lot; {owed['neurons']:,} neurons"
        add(by, owed["annotator"], float(owed["errs_by_lot"]), of)
    for against, score, words in _SCORES:
        one = metrics.get(against, {}).get(score, {})
        add_score(words, one, "null", f"{one.get('defined', 0):,} neurons")
    return found


def neuron_rows(run: Run, name: str, rows: int) -> JSON:
    """A neuron: its activations, and at each end its labels by split and its exemplars."""
    ends = [run.neuron(name, end) for end in run.ends]
    spread = ends[0].distribution
    return {
        "neuron": ends[0].name,
        "kind": run.kind,
        "sentences": int(spread["counts"].sum()),
        "activations": {key: float(spread[key]) for key in SPREAD},
        "ends": {neuron.end: _end(neuron, rows) for neuron in ends},
    }


def _end(neuron: Neuron, rows: int) -> JSON:
    if neuron.silent is not None:
        return {"silent": neuron.silent}
    run = neuron.run
    found = {
        "labels": [label.descriptor for label in neuron.labels],
        "explained": neuron.explained,
        "numbers": {
            name: {split: asdict(numbers) for split, numbers in splits.items()}
            for name, splits in neuron.numbers.items()
        },
        "exemplars": neuron.exemplars.slice(0, rows).to_pylist(),
    }
    if run.units == POSITIONS:
        found["words"] = neuron.tokens.slice(0, rows).to_pylist()
    if neuron.end == HIGHEST:
        if run.has("confounders.parquet"):
            found["follows"] = neuron.confounders.to_pylist()
        if run.has("writes.parquet"):
            found["writes"] = neuron.writes
        if run.has("facets.parquet"):
            found["facets"] = neuron.facets
        if run.has("interventions.csv"):
            found["interventions"] = neuron.interventions
    return found


def compared(first: Path, second: Path) -> list[Row]:
    """How far the exemplar sets of two files differ: end, split, size, differ, common, fewest.

    Raises:
        InputError: they are of other neurons.
    """
    neurons = read_neurons(first)
    if neurons != read_neurons(second):
        raise InputError(f"{second}: not of the neurons that {first} is of")
    both = set(read_ends(first)) & set(read_ends(second))
    found = []
    for end in filter(both.__contains__, ENDS):
        for split in SPLITS:
            one, two = (
                read_exemplars(path, split, end).reshape(len(neurons), -1)
                for path in (first, second)
            )
            same = in_common(one, two)
            found.append(
                {
                    "sets": split if end == HIGHEST else f"{end}, {split}",
                    "size": one.shape[1],
                    "differ": float((same < 1).mean()),
                    "common": float(same.mean()),
                    "fewest": float(same.min()),
                }
            )
    return found


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


def as_json(found: Any) -> str:
    """A value, or a dataclass, as JSON: undefined numbers are null, sets are sorted lists."""
    return canonical(_plain(asdict(found) if is_dataclass(found) else found))  # type: ignore[arg-type]


def _plain(value: Any) -> JSON:
    if is_dataclass(value):
        return _plain(asdict(value))  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, Path) else value
