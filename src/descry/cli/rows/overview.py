"""How far to believe the labels of a run, and the surest of them."""

from typing import Any

import pyarrow.compute as pc

from descry.activations.top_k import HIGHEST
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.labels.counting import TOO_FEW
from descry.run import Run

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
