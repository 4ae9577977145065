"""Stage evaluate: labels against the other half, gold labels and a judge -> scores (section 5)."""

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from descry.errors import InputError
from descry.evaluation import (
    Score,
    Scorer,
    agreement,
    beside_null,
    jaccard,
    jaccard_by_descriptor,
    pearson,
    precision,
    recall,
    top,
)
from descry.exemplars import HIGHEST
from descry.labels import Frequency, assign, frequencies
from descry.results import (
    Annotations,
    read_annotations,
    read_ends,
    read_exemplars,
    read_judgements,
)
from descry.splits import HALVES, SPLITS, split_rows
from descry.storage import (
    provenance,
    read_table,
    table_provenance,
    write_json,
    write_text,
)

PACKAGES = ["numpy", "scipy"]
Row = dict[str, Any]


def run(
    corpus: Path,
    exemplars: Path,
    annotations: Path,
    judgements: Path,
    labels: Path,
    gold: Path,
    metrics: Path,
    curves: Path,
    descriptors: Path,
    correlation: Path,
    *,
    section: dict[str, Any],
    thresholds: list[float],
    max_k: int,
    truth_top: int,
    shuffles: int,
    seed: int,
) -> dict[str, str]:
    """Write metrics.json, and as tidy CSV: curves, descriptors, correlation.

    Labels are compared with gold labels (`gold`) and with a judge's answers (`judge`), where there
    are any, and those of the calibration half with the validation half's (`halves`); those of the
    lowest activations likewise (`lowest_halves` and so on).
    """
    table = read_table(corpus, "corpus")
    rows = split_rows(table["split"].to_pylist())
    label_table = read_table(labels, "label")
    kept = list(dict.fromkeys(label_table["descriptor"].to_pylist()))
    made_labels = table_provenance(label_table)["params"]
    b = read_annotations(annotations).only(kept)
    truths = {"gold": read_gold(gold, table["id"].to_pylist(), b.descriptors)}
    asked = {"gold": np.ones(len(table), dtype=bool)}
    if judge := read_judgements(judgements):
        if judge.ids != b.ids or not set(kept) <= set(judge.descriptors):
            raise InputError(f"{judgements}: not of these annotations: run `descry judge` again")
        truths["judge"], asked["judge"] = judge.only(kept).answer, judge.asked
    pairs: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for end in read_ends(exemplars):
        sets = {name: read_exemplars(exemplars, name, end) for name in SPLITS}
        flat = {name: found.reshape(-1, found.shape[2]) for name, found in sets.items()}
        of = "" if end == HIGHEST else f"{end}_"
        own = set(label_table.filter(pc.equal(label_table["end"], end))["descriptor"].to_pylist())
        columns = [column for column, name in enumerate(b.descriptors) if name in own]
        truth = {name: answers[:, columns] for name, answers in truths.items()}
        compared = _compared(flat, b.only(list(own)), truth, asked, made_labels["frequency"])
        pairs |= {of + name: pair for name, pair in compared.items()}
    chosen = made_labels["threshold"]
    steps, ks = sorted({*thresholds, chosen}), range(1, max_k + 1)
    rated = [
        Row(against=name, **row)
        for name, (first, second) in pairs.items()
        for row in _curves(first, second, steps, ks, truth_top, shuffles, seed)
    ]
    agreed = {name: _agreements(b, truth, rows) for name, truth in truths.items()}
    inputs = [corpus, exemplars, annotations, judgements, labels, gold]
    value = {
        "made": provenance("evaluate", section, inputs, PACKAGES),
        "labeller": {name: _labeller(found, name) for name, found in agreed.items()},
        "gold": {"undefined": "no gold label for these sentences and descriptors"},
        "judge": {"undefined": "no judge asked about these sentences and descriptors"},
    } | {name: _headline(rated, name, chosen) for name in pairs}
    write_json(metrics, _defined(value))
    write_csv(curves, rated)
    write_csv(descriptors, [Row(against=name, **row) for name in agreed for row in agreed[name]])
    write_csv(correlation, _correlation(b))
    return _summary(rated, chosen)


def _compared(
    exemplars: dict[str, np.ndarray],
    b: Annotations,
    truths: dict[str, np.ndarray],
    asked: dict[str, np.ndarray],
    by: Frequency,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The pairs of f that are held against each other: predicted and true."""
    halves = [frequencies(exemplars[half], b.answer, by, b.asked).f for half in HALVES]
    pairs = {"halves": (halves[0], halves[1])}
    for name, whole in truths.items():
        columns = (whole >= 0).any(axis=0)
        if columns.any():
            truth = whole[:, columns]
            predicted = np.where(truth >= 0, b.answer[:, columns], -1)  # on the same sentences
            found = [
                frequencies(exemplars["all"], answers, by, asked[name] & b.asked).f
                for answers in (predicted, truth)
            ]
            pairs[name] = (found[0], found[1])
    return pairs


def read_gold(path: Path, ids: list[str], descriptors: list[str]) -> np.ndarray:
    """Gold labels of the sentences: int8 [sentences, descriptors], 1 Yes, 0 No, -1 not judged.

    A line of the file is {"id": sentence id, "labels": [names]}; a sentence that is there was
    judged for every name that the file uses. Names are compared without regard to case.

    Raises:
        InputError: the file is missing or a line is not of that form.
    """
    labels: dict[str, set[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: set evaluate.gold in params.yaml") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    for number, line in enumerate(lines, 1):
        try:
            sentence, names = _gold_line(line)
        except ValueError:
            raise InputError(
                f'{path}: line {number}: not {{"id": "...", "labels": ["...", ...]}}'
            ) from None
        labels[sentence] = names
    judged = set().union(*labels.values())
    gold = np.full((len(ids), len(descriptors)), -1, dtype=np.int8)
    for row, sentence in enumerate(ids):
        if sentence in labels:
            for column, name in enumerate(descriptors):
                if name.casefold() in judged:
                    gold[row, column] = name.casefold() in labels[sentence]
    return gold


def _gold_line(line: str) -> tuple[str, set[str]]:
    match json.loads(line):
        case {"id": str(sentence), "labels": [*names]} if all(isinstance(n, str) for n in names):
            return sentence, {name.casefold() for name in names}
    raise ValueError


SET_SCORES: dict[str, Scorer] = {
    "precision": precision,
    "recall": recall,
    "jaccard": jaccard,
    "jaccard_by_descriptor": jaccard_by_descriptor,
}


def _curves(
    first: np.ndarray,
    second: np.ndarray,
    thresholds: list[float],
    ks: range,
    truth_top: int,
    shuffles: int,
    seed: int,
) -> Iterator[Row]:
    """Scores of the labels from f `first` where those from f `second` are the truth.

    At a threshold both are cut by it; at K the truth is its `truth_top` most frequent (5.1).
    """
    for t in thresholds:
        sets = assign(first, t, None), assign(second, t, None)
        for name, scorer in SET_SCORES.items():
            score = beside_null(scorer, *sets, shuffles, seed)
            yield {"score": name, "at": t, **_numbers(score)}
    truth = top(second, truth_top)
    for k in ks:
        for name, scorer in (("precision_at_k", precision), ("recall_at_k", recall)):
            score = beside_null(scorer, top(first, k), truth, shuffles, seed)
            yield {"score": name, "at": k, **_numbers(score)}


def _numbers(score: Score) -> Row:
    return asdict(score) | {"corrected": score.corrected}


def _agreements(b: Annotations, truth: np.ndarray, rows: dict[str, np.ndarray]) -> list[Row]:
    """Per descriptor: share of sentences with it in each split, and agreement with `truth`."""
    table = []
    for column, name in enumerate(b.descriptors):
        answer = b.answer[:, column]
        shares = {
            f"share_{split}": _yes_share(answer[part[b.sampled[part]]])
            for split, part in rows.items()
        }
        found = agreement(answer, b.score[:, column], truth[:, column])
        table.append({"descriptor": name, **shares, **asdict(found)})
    return table


def _yes_share(answer: np.ndarray) -> float:
    return float((answer == 1).mean()) if len(answer) else math.nan


def _labeller(agreed: list[Row], against: str) -> Row:
    """The labeller against others' labels: means over the descriptors that have any."""
    judged = [row for row in agreed if row["truth_yes"]]
    if not judged:
        return {"undefined": f"no {against} label for these sentences and descriptors"}
    names = ("precision", "recall", "f1", "kappa", "auroc")
    means = {name: _mean([row[name] for row in judged]) for name in names}
    return means | {"descriptors": len(judged), "sentences": judged[0]["sentences"]}


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _headline(rated: list[Row], against: str, threshold: float) -> Row:
    """The scores at the threshold in force, and at every K."""
    return {
        row["score"] + (f"_{row['at']}" if row["score"].endswith("_k") else ""): {
            key: row[key] for key in ("value", "null", "corrected", "deviation", "defined")
        }
        for row in rated
        if row["against"] == against and (row["score"].endswith("_k") or row["at"] == threshold)
    }


def _correlation(b: Annotations) -> list[Row]:
    matrix = pearson(b.answer)
    return [
        {"first": first, "second": second, "pearson": matrix[i, j]}
        for i, first in enumerate(b.descriptors)
        for j, second in enumerate(b.descriptors)
    ]


def _defined(value: Any) -> Any:
    """Round floats to what can be compared, and write undefined ones as null."""
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_defined(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6) if math.isfinite(value) else None
    return value


def write_csv(path: Path, rows: list[Row]) -> None:
    """Write a tidy CSV file; undefined values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_defined(rows))
    write_text(path, text.getvalue())


def _summary(rated: list[Row], threshold: float) -> dict[str, str]:
    """What the terminal shows: value and null of the main scores."""
    return {
        f"{row['against']}: {row['score'].replace('_', ' ')} (null)": (
            f"{row['value']:.3f} ({row['null']:.3f})"
        )
        for row in rated
        if (row["score"] in SET_SCORES and row["at"] == threshold)
        or (row["score"].endswith("_k") and row["at"] == 2)
    }
