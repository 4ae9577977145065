"""How well the embedded annotator finds what a clause is about, against human labels.

    python benchmarks/annotator.py [--data FILE] [--json FILE]

Data: JSON lines of clauses of Amazon reviews {domain, text, labels}, labels [] where none applies
(OPOSUM, Angelidis and Lapata 2018). A domain's descriptors are its aspect names, nothing else.
Compared are (a) the plain cosine of clause and name and (b) the embedded annotator, asked prompt p2
through the interface that the pipeline uses. In the pooled row all clauses are one corpus and all
names are asked of each; a name is judged only on the domains whose annotators could choose it.

The labels of this file were looked at when the method's constants were chosen (frames, window,
cut-off, penalty), so its figures are somewhat optimistic; nothing was fitted to them.
"""

import argparse
import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import (
    average_precision_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from descry.annotators.embedding.annotator import EmbeddedAnnotator
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompts import p2
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint
from descry.models.embedder import Embed, sentence_embedder

DATA = Path(__file__).parents[2] / "shared" / "data" / "aspects-dev.jsonl.gz"
CHECKPOINT = Checkpoint(MINILM, MINILM_COMMIT)
FIGURES = {
    "cosine_auroc": "AUROC (a)",
    "cosine_ap": "AP (a)",
    "annotator_auroc": "AUROC (b)",
    "annotator_ap": "AP (b)",
    "precision": "precision (b)",
    "recall": "recall (b)",
    "f1": "F1 (b)",
}


@dataclass(frozen=True)
class Task:
    """Clauses, names and their truth."""

    texts: list[str]
    names: list[str]
    truth: np.ndarray  # bool [clause, name]
    judged: np.ndarray  # bool [clause, name]: the annotator of the clause could choose the name


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def spoken(label: str) -> str:
    """A label as a descriptor's name."""
    return label.replace("_", " ").lower()


def task(records: list[dict[str, Any]]) -> Task:
    """One corpus of the records, asked for every label in them."""
    offered: dict[str, set[str]] = {}
    for record in records:
        offered.setdefault(record["domain"], set()).update(map(spoken, record["labels"]))
    names = sorted(set().union(*offered.values()))
    truth = [[name in map(spoken, record["labels"]) for name in names] for record in records]
    judged = [[name in offered[record["domain"]] for name in names] for record in records]
    return Task([r["text"] for r in records], names, np.array(truth), np.array(judged))


def by_cosine(task: Task, embed: Embed) -> np.ndarray:
    """Plain cosine of clause and name: float32 [clause, name]."""
    return np.asarray(embed(task.texts) @ embed(task.names).T)


def by_annotator(task: Task) -> np.ndarray:
    """Log-odds of Yes by the embedded annotator: float64 [clause, name]."""
    annotator = EmbeddedAnnotator(CHECKPOINT, None, {name: {} for name in task.names}, task.texts)
    prompts = p2(task.texts, task.names)
    groups = annotator.answer(prompts, range(len(prompts)))
    answers = dict(pair for group in groups for pair in group)
    odds = [parse_verdict(answers[row].response, 0).odds for row in range(len(prompts))]
    return np.reshape(odds, task.truth.shape)


def measure(task: Task, cosine: np.ndarray, odds: np.ndarray) -> dict[str, float]:
    """The figures of a task, each the mean over its names."""
    rows = []
    for truth, judged, near, odd in zip(task.truth.T, task.judged.T, cosine.T, odds.T, strict=True):
        truth, near, odd = truth[judged], near[judged], odd[judged]
        yes_no = precision_recall_fscore_support(truth, odd > 0, average="binary", zero_division=0)
        rows.append(
            [
                roc_auc_score(truth, near),
                average_precision_score(truth, near),
                roc_auc_score(truth, odd),
                average_precision_score(truth, odd),
                *yes_no[:3],
            ]
        )
    means = np.mean(rows, axis=0).round(4).tolist()
    return {"clauses": len(task.texts), "names": len(task.names)} | dict(
        zip(FIGURES, means, strict=True)
    )


def overall(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean over the domains, each with the same weight."""
    means = {figure: round(float(np.mean([row[figure] for row in rows])), 4) for figure in FIGURES}
    return {name: sum(row[name] for row in rows) for name in ("clauses", "names")} | means


def show(results: dict[str, dict[str, float]]) -> None:
    """Print the results as a table."""
    table = Table(title="(a) cosine of clause and name, (b) embedded annotator")
    table.add_column("corpus")
    for heading in ("clauses", "names", *FIGURES.values()):
        table.add_column(heading, justify="right")
    for name, row in results.items():
        figures = [f"{row[figure]:.3f}" for figure in FIGURES]
        table.add_row(name, str(row["clauses"]), str(row["names"]), *figures)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main() -> int:
    """Measure and print; 2 when the data is not there."""
    parser = argparse.ArgumentParser(description="Measure the embedded annotator on human labels.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if not options.data.is_file():
        print(f"{options.data}: no such file: give the labelled clauses by --data", file=sys.stderr)
        return 2
    records = read(options.data)
    embed = sentence_embedder(CHECKPOINT)
    domains = sorted({record["domain"] for record in records})
    tasks = {name: task([r for r in records if r["domain"] == name]) for name in domains}
    results = {
        name: measure(one, by_cosine(one, embed), by_annotator(one)) for name, one in tasks.items()
    }
    results["mean of domains"] = overall(list(results.values()))
    pooled = task(records)
    results["pooled"] = measure(pooled, by_cosine(pooled, embed), by_annotator(pooled))
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
