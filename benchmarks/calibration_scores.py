"""Do the intervals of the headline, of label scores and of sheets cover what they are about?

Two halves of sentences are drawn many times, with neurons that share much of their noise. 35
descriptors stay the same, each with its share of the sentences (2% to 20%). In a planted setting
six of ten neurons follow the answers of a descriptor, some hardly; in one with length both neurons
and descriptors follow the number of words. Labels are those of a half by a rule.

    label-scores   `descry.evaluation.label_scores`: means over labels, on the half that did not
                   choose them; beside them the interval that takes labels for independent
    borne-out      `descry.evaluation.headline`: labels that the other half bears out (replicated),
                   and labels by answers of which some are wrong that true ones bear out (supported)
    sheets         `descry.evaluation.agreement`: precision, recall and kappa of a balanced sheet,
                   as it stands and over the corpus. Drawn from the gold labels of a finished run

Coverage is that of the mean over all draws: of neurons and sentences drawn anew. It should be .93
to .97; of 200 datasets a true 95% comes out as .92 to .98 in 19 of 20 times.

    python benchmarks/calibration_scores.py --json out.json
    python benchmarks/calibration_scores.py borne-out --datasets 50
"""

import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from descry.activations.nan_stats import NORMAL_95
from descry.annotators.annotations import read_annotations
from descry.annotators.bitset import Answers
from descry.evaluation.agreement import over_corpus, summary, table
from descry.evaluation.alignment import align, expected
from descry.evaluation.gold import read_gold
from descry.evaluation.headline import borne_out
from descry.evaluation.influence import grouped_influence
from descry.evaluation.label_scores import METRICS, Chosen, beside_null
from descry.io.json_files import write_json
from descry.io.provenance import versions
from descry.labels.assignment import SetCounter
from descry.labels.matched import matched_enrichment
from descry.labels.rules import Rule
from descry.labels.strata import Matching

Row = dict[str, Any]
GOLD = Path(__file__).parent.parent / "data/gold.jsonl"
SENTENCES, DESCRIPTORS, FACTORS = 900, 35, 12
SHARES = np.geomspace(0.02, 0.2, DESCRIPTORS)
SLOPES = np.random.default_rng(0).uniform(-0.2, 1, DESCRIPTORS)
ENRICHED = Rule("enrichment", "sentences", 0.01)
COMPOSED = Rule("composition", "occurrences", 0.12)
ON_SHEET, SHEETS = 15, 1000
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@dataclass(frozen=True)
class Setting:
    """What is drawn.

    Attributes:
        topics: share of the neurons that follow a descriptor.
        length: whether neurons and descriptors follow length.
        most: how much of it, at most.
        together: how much of their noise neurons share: deviation of a factor's loading.
    """

    topics: float = 0.6
    most: float = 2.5
    length: bool = False
    together: float = 0.25
    neurons: int = 200
    percent: float = 5.0

    @property
    def words(self) -> str:
        """For the table."""
        kind = "planted" if self.topics else "noise"
        return kind + (", length" if self.length else "")


@dataclass(frozen=True)
class Half:
    """Sentences, and what neurons do with them.

    Attributes:
        columns: float32 [neurons, sentences].
        sets: int [neurons, size].
        answers: int8 [sentences, descriptors].
    """

    columns: np.ndarray
    sets: np.ndarray
    answers: np.ndarray
    words: np.ndarray

    def numbers(self, rule: Rule, answers: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of labels.parquet by some answers, within strata of length."""
        every = np.ones(SENTENCES, dtype=bool)
        counter = SetCounter(Answers.of(answers), every)
        strata = Matching(("words",), 30).strata({"words": self.words}, np.arange(SENTENCES), every)
        matched = matched_enrichment(counter, [self.sets], strata, every)
        return rule.numbers(counter.tally([self.sets], every), matched, None, True)


def halves(setting: Setting, rng: np.random.Generator) -> list[Half]:
    """Neurons, and two halves that they are looked at in."""
    number = setting.neurons
    loading = rng.normal(size=(FACTORS, number)) * setting.together
    topic = rng.integers(DESCRIPTORS, size=number)
    weight = np.where(
        rng.random(number) < setting.topics, rng.uniform(0.3, setting.most, number), 0.0
    )
    pull = rng.uniform(-1, 1, number) * setting.length
    return [_half(setting, loading, topic, weight, pull, rng) for _ in range(2)]


def _half(
    setting: Setting,
    loading: np.ndarray,
    topic: np.ndarray,
    weight: np.ndarray,
    pull: np.ndarray,
    rng: np.random.Generator,
) -> Half:
    log_words = rng.normal(3.6, 0.6, SENTENCES)
    scaled = (log_words - 3.6)[:, None] / 0.6
    odds = np.log(SHARES / (1 - SHARES)) + setting.length * SLOPES * scaled
    answers = (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    found = rng.normal(size=(SENTENCES, FACTORS)) @ loading + pull * scaled
    found += rng.normal(size=found.shape) + weight * answers[:, topic]
    size = int(SENTENCES * setting.percent / 100)
    columns = np.ascontiguousarray(found.T, dtype=np.float32)
    sets = np.argsort(-columns, axis=1, kind="stable")[:, :size]
    return Half(columns, sets, answers, np.exp(log_words).round())


# label-scores


def _label_scores(case: tuple[Setting, Rule, int]) -> np.ndarray:
    """Value, low, high, corrected, half the naive interval: [5, metrics]; NaN without labels."""
    setting, rule, seed = case
    chosen, other = halves(setting, np.random.default_rng([seed, *b"label scores"]))
    assigned = [half.numbers(rule, half.answers)["assigned"] for half in (chosen, other)]
    pairs = np.nonzero(assigned[0])
    if len(set(pairs[0].tolist())) < 2:
        return np.full((5, len(METRICS)), np.nan)
    lots = np.random.default_rng(seed).permutation(len(pairs[1]))
    of_half = other.columns, other.sets, other.answers
    kinds = align(*of_half, pairs), align(*of_half, (pairs[0], pairs[1][lots]))
    scores = np.array([astuple(kind) for kind in (*kinds, expected(*of_half, pairs))])
    moved = grouped_influence(*of_half, pairs)
    labels = Chosen(*pairs, np.subtract(*(found.sum(axis=0) for found in assigned)))
    found = []
    for place in range(len(METRICS)):
        row = beside_null(labels, scores[:, place], moved[place].astype(np.float32))
        naive = NORMAL_95 * np.nanstd(scores[0, place], ddof=1) / len(pairs[0]) ** 0.5
        found.append([row[name] for name in ("value", "low", "high", "corrected")] + [naive])
    return np.array(found).T


def label_scores(datasets: int, run: Callable[..., Any], _: Path) -> Iterator[Row]:
    """Means over labels, rule by rule."""
    for rule, percent in ((ENRICHED, 5.0), (COMPOSED, 2.0)):
        for topics, length in ((0.0, False), (0.0, True), (0.6, False), (0.6, True)):
            setting = Setting(topics=topics, length=length, percent=percent)
            cases = [(setting, rule, seed) for seed in range(datasets)]
            found = np.array(list(run(_label_scores, cases)))
            found = found[~np.isnan(found[:, 0, 0])]
            if len(found) < datasets / 2:  # noise has no labels by enrichment
                continue
            for place, name in enumerate(METRICS):
                value, low, high, corrected, naive = found[:, :, place].T
                yield (
                    {"rule": rule.name, "neurons": setting.words, "score": name}
                    | _covered(value, low, high, naive)
                    | {"corrected": float(corrected.mean())}
                )


def _covered(value: np.ndarray, low: np.ndarray, high: np.ndarray, naive: np.ndarray) -> Row:
    """How often intervals hold the mean over all draws."""
    truth = value.mean()
    return {
        "datasets": len(value),
        "mean": float(truth),
        "coverage": float(((low <= truth) & (truth <= high)).mean()),
        "sd": float(value.std()),
        "half width / 1.96": float((high - low).mean() / 2 / NORMAL_95),
        "coverage if independent": float((np.abs(value - truth) <= naive).mean()),
    }


# borne-out


def _borne_out(case: tuple[Setting, str, int]) -> list[float]:
    """Labels, value, low, high, base."""
    setting, kind, seed = case
    rng = np.random.default_rng([seed, *b"borne out"])
    own = halves(setting, rng)
    if kind == "replicated":
        both = [half.numbers(ENRICHED, half.answers) for half in own]
        assigned = np.stack([numbers["assigned"] for numbers in both])
        p = np.stack([numbers["p"] for numbers in both[::-1]])
    else:
        wrong = rng.random(own[0].answers.shape) < np.where(own[0].answers == 1, 0.5, 0.05)
        said = np.where(wrong, 1 - own[0].answers, own[0].answers)
        assigned = own[0].numbers(ENRICHED, said)["assigned"][None]
        p = own[0].numbers(ENRICHED, own[0].answers)["p"][None]
    found = borne_out(assigned, p)
    return [found.labels, found.value, found.low, found.high, found.base]


def borne_out_labels(datasets: int, run: Callable[..., Any], _: Path) -> Iterator[Row]:
    """Shares of labels that other data bears out."""
    for kind in ("replicated", "supported"):
        for setting in (
            Setting(),
            Setting(length=True),
            Setting(together=0.6),
            Setting(neurons=60),
            Setting(neurons=400, most=1.0),
        ):
            cases = [(setting, kind, seed) for seed in range(datasets)]
            found = np.array(list(run(_borne_out, cases)))
            labels, value, low, high, base = found[found[:, 0] > 1].T
            naive = NORMAL_95 * np.sqrt(value * (1 - value) / labels)
            yield (
                {"kind": kind, "neurons": setting.words, "number": setting.neurons}
                | {
                    "together": setting.together,
                    "labels": float(labels.mean()),
                }
                | _covered(value, low, high, naive)
                | {"other neurons": float(base.mean())}
            )


# sheets


def sheets(_: int, __: Callable[..., Any], results: Path) -> Iterator[Row]:
    """What balanced sheets say of a run's annotator, and what the gold labels say."""
    path = results / "annotations.h5"
    if not path.exists():
        return
    b = read_annotations(path)
    gold = read_gold(GOLD, b.ids, b.descriptors)
    known = np.flatnonzero((gold == 1).any(axis=0))
    answer, truth = b.answer[:, known], gold[:, known]
    share = (answer == 1).mean(axis=0)
    whole = summary(table(answer, truth))
    rng, as_it_stands, over = np.random.default_rng(0), [], []
    for _number in range(SHEETS):
        tables = []
        for said, true in zip(answer.T, truth.T, strict=True):
            kinds = (np.flatnonzero(said == kind) for kind in (1, 0))
            drawn = [rng.choice(rows, min(ON_SHEET, len(rows)), replace=False) for rows in kinds]
            tables.append(table(said[rows := np.concatenate(drawn)], true[rows]))
        as_it_stands.append(summary(sum(tables[1:], tables[0])))
        over.append(over_corpus(list(zip(tables, share.tolist(), strict=True))))
    for name in ("precision", "recall", "kappa"):
        value = getattr(whole, name).value
        for kind, found in (("sheet", as_it_stands), ("corpus", over)):
            numbers = np.array([getattr(one, name) for one in found])
            held = (numbers[:, 1] <= value) & (value <= numbers[:, 2])
            row = {"score": name, "of the": kind, "true": value, "sheets": SHEETS}
            yield row | {"mean": float(numbers[:, 0].mean()), "coverage": float(held.mean())}


SECTIONS = {"label-scores": label_scores, "borne-out": borne_out_labels, "sheets": sheets}


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help="sections; default all")] = None,
    datasets: Annotated[int, typer.Option(min=2)] = 200,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    results: Annotated[Path, typer.Option(help="of a finished run of the sample")] = Path(
        "results"
    ),
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Run sections and print their tables."""
    if unknown := set(names or ()) - set(SECTIONS):
        raise typer.BadParameter(f"no section {min(unknown)}: {', '.join(SECTIONS)}")
    tables = {}
    with ProcessPoolExecutor(workers) as pool:
        for name in names or SECTIONS:
            start = time.perf_counter()
            tables[name] = list(SECTIONS[name](datasets, pool.map, results))
            show(f"{name} ({time.perf_counter() - start:.0f} s)", tables[name])
            if json_file:
                made = {"system": platform.platform(), "cores": os.cpu_count()}
                made["versions"] = versions(["numpy", "scipy"])
                write_json(json_file, {"made": made, "datasets": datasets, "sections": tables})


def show(title: str, rows: list[Row]) -> None:
    """Print a section's table."""
    shown = Table(title=title)
    for column in dict.fromkeys(key for row in rows for key in row):
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(f"{x:.4g}" if isinstance(x, float) else str(x) for x in row.values()))
    Console(width=180).print(shown)


if __name__ == "__main__":
    app()
