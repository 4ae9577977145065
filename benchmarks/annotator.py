"""How well the annotators without a generative model find what a text is about: human labels.

    python benchmarks/annotator.py [--data FILE] [--results FOLDER] [--json FILE]

Data: JSON lines of clauses of Amazon reviews {domain, text, labels}, labels [] where none applies
(OPOSUM, Angelidis and Lapata 2018). A domain's descriptors are its aspect names, nothing else. In
the pooled row all clauses are one corpus and all names are asked of each; a name is judged only on
the domains whose annotators could choose it. Results: those of a run of the shipped sample, with
its descriptors and their phrases; its gold labels are those of the reviews' writers.

Compared are (a) the plain cosine of text and name, (b) the embedded annotator and (c) the one by
words, both asked prompt p2 through the interface that the pipeline uses. Besides the means over the
names: of the answers with a probability of at least .9 the share that people share (`at .9`), and
the Yes of a text in the shortest and in the longest quarter, beside those that people gave.

The labels of both files were looked at when the constants were chosen (frames, best tokens, part of
the length, penalty), so the figures are somewhat optimistic; nothing was fitted to them.
"""

import argparse
import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from descry.annotators.base import Annotator
from descry.annotators.embedding.annotator import EmbeddedAnnotator
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompts import p2
from descry.annotators.words.annotator import WordsAnnotator
from descry.io.json_files import read_json
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint
from descry.models.embedder import Embed, sentence_embedder

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "aspects-dev.jsonl.gz"
CHECKPOINT = Checkpoint(MINILM, MINILM_COMMIT)
FIGURES = ["AUROC", "AP", "precision", "recall", "F1", "kappa", "at .9", "shortest", "longest"]


@dataclass(frozen=True)
class Task:
    """Texts, names and their truth."""

    texts: list[str]
    phrases: dict[str, dict[str, int]]  # by name
    truth: np.ndarray  # bool [text, name]
    judged: np.ndarray  # bool [text, name]: whoever labelled the text could choose the name


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
    phrases: dict[str, dict[str, int]] = {name: {} for name in names}
    return Task([r["text"] for r in records], phrases, np.array(truth), np.array(judged))


def sample(results: Path) -> Task:
    """The shipped sample with its gold labels; names that these do not have are not judged."""
    corpus = pq.read_table(results / "corpus.parquet", columns=["id", "text"])
    entries = read_json(results / "descriptors.json", "cluster")["descriptors"]
    phrases = {entry["name"]: entry["phrases"] for entry in entries}
    lines = (ROOT / "data" / "gold.jsonl").read_text(encoding="utf-8").splitlines()
    gold = {record["id"]: record["labels"] for record in map(json.loads, lines)}
    ids = corpus["id"].to_pylist()
    truth = np.array([[name in gold.get(i, ()) for name in phrases] for i in ids])
    judged = truth.any(axis=0) & np.array([[i in gold] for i in ids])
    return Task(corpus["text"].to_pylist(), phrases, truth, judged)


def by_cosine(task: Task, embed: Embed) -> np.ndarray:
    """Plain cosine of text and name: float32 [text, name]."""
    return np.asarray(embed(task.texts) @ embed(list(task.phrases)).T)


def by_annotator(task: Task, annotator: Annotator) -> np.ndarray:
    """Log-odds of Yes: float64 [text, name]."""
    prompts = p2(task.texts, list(task.phrases))
    groups = annotator.answer(prompts, range(len(prompts)))
    answers = dict(pair for group in groups for pair in group)
    odds = [parse_verdict(answers[row].response, 0).odds for row in range(len(prompts))]
    return np.reshape(odds, task.truth.shape)


def measure(task: Task, scores: np.ndarray, *, answers: bool) -> dict[str, float]:
    """The figures of a task.

    Args:
        scores: [text, name].
        answers: whether the scores are log-odds of Yes.
    """
    rows = []
    for truth, judged, score in zip(task.truth.T, task.judged.T, scores.T, strict=True):
        if not judged.any():
            continue
        truth, score = truth[judged], score[judged]
        row = [roc_auc_score(truth, score), average_precision_score(truth, score)]
        if answers:
            yes = score > 0
            found = precision_recall_fscore_support(truth, yes, average="binary", zero_division=0)
            row += [*found[:3], cohen_kappa_score(truth, yes)]
        rows.append(row)
    found = dict(zip(FIGURES, np.mean(rows, axis=0).tolist(), strict=False))
    if answers:
        sure = task.judged & (scores >= np.log(9))
        found["at .9"] = float(task.truth[sure].mean()) if sure.any() else float("nan")
        found |= by_length(task, scores > 0)
    return {name: round(value, 4) for name, value in found.items()}


def by_length(task: Task, yes: np.ndarray) -> dict[str, float]:
    """Yes of a text in the quarter of the fewest, and of the most, words."""
    words = np.array([len(text.split()) for text in task.texts])
    few, many = np.quantile(words, [0.25, 0.75])
    given = (yes & task.judged).sum(axis=1)
    return {
        "shortest": float(given[words <= few].mean()),
        "longest": float(given[words > many].mean()),
    }


def measure_all(task: Task, embed: Embed) -> dict[str, dict[str, float]]:
    """The figures of each way to answer."""
    who: dict[str, Annotator] = {
        "embedded": EmbeddedAnnotator(CHECKPOINT, None, task.phrases, task.texts),
        "words": WordsAnnotator(task.phrases, task.texts),
    }
    found = {"cosine": measure(task, by_cosine(task, embed), answers=False)}
    for name, annotator in who.items():
        found[name] = measure(task, by_annotator(task, annotator), answers=True)
    return found | {"people": {n: round(v, 4) for n, v in by_length(task, task.truth).items()}}


def overall(results: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean over the domains, each with the same weight."""
    return {
        who: {name: round(float(np.mean([r[who][name] for r in results])), 4) for name in figures}
        for who, figures in results[0].items()
    }


def show(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the results as a table."""
    table = Table()
    for heading in ("corpus", "who answers"):
        table.add_column(heading)
    for heading in FIGURES:
        table.add_column(heading, justify="right")
    for corpus, rows in results.items():
        for who, figures in rows.items():
            cells = [f"{figures[name]:.3f}" if name in figures else "" for name in FIGURES]
            table.add_row(corpus, who, *cells)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main() -> int:
    """Measure and print; 2 when the data is not there."""
    parser = argparse.ArgumentParser(description="Measure annotators on human labels.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="of the sample")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if not options.data.is_file():
        print(f"{options.data}: no such file: give the labelled clauses by --data", file=sys.stderr)
        return 2
    records = read(options.data)
    embed = sentence_embedder(CHECKPOINT)
    domains = sorted({record["domain"] for record in records})
    results = {
        name: measure_all(task([r for r in records if r["domain"] == name]), embed)
        for name in domains
    }
    results["mean of domains"] = overall(list(results.values()))
    results["pooled"] = measure_all(task(records), embed)
    if (options.results / "descriptors.json").is_file():
        results["sample"] = measure_all(sample(options.results), embed)
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
