"""What a cascade costs, and whether its guarantees hold.

    python benchmarks/cascade.py cost [--data FILE] [--odds FILE] [--json FILE]
    python benchmarks/cascade.py curve [--runs 3] [--json FILE]
    python benchmarks/cascade.py simulate [--runs 1000] [--json FILE]

`cost`: real answers, replayed. The proxy is the embedded annotator; the oracle are people (aspect
labels of 4,021 clauses of Amazon reviews, OPOSUM, Angelidis and Lapata 2018; a name is asked of the
clauses whose annotators could choose it), or the annotator by words, asked about every clause and
name. Cost is the share of the cells that the oracle is asked about: 1 is the plain price. Beside it
stand what was reached by the oracle's own answers; the cost in hindsight, of whoever knows all
answers and asks the shortest middle by which the goals hold; and the floor: to say with probability
1 - delta that no more than K Yes are missed, whichever K they are, each cell must be asked with
probability 1 - delta ** (1 / (K + 1)) at least, however good the proxy is.

`curve`: what recall .95 and precision .9 cost, by how well a proxy of two normal distributions
ranks, and how many Yes there are among twenty times as many cells.

`simulate`: for every kind of proxy, adverse ones too, and every goal, how often a goal is missed.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from annotator import CHECKPOINT, DATA, by_annotator, read, task
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from descry.annotators.cascade.search import Goal, search
from descry.annotators.embedding.annotator import EmbeddedAnnotator
from descry.annotators.words.annotator import WordsAnnotator

DELTA = 0.05
GOALS = [
    {"recall": recall, "precision": precision}
    for precision in (0.9,)
    for recall in (0.8, 0.9, 0.95)
] + [{"accuracy": 0.95}, {"accuracy": 0.98}]
SIMULATED = [
    {"recall": 0.9, "precision": 0.9},
    {"recall": 0.9},
    {"precision": 0.9},
    {"accuracy": 0.95},
]
KINDS = ("good", "fair", "useless", "inverted", "ties", "constant", "trap", "false head")
NO_GOAL = {"recall": None, "precision": None, "accuracy": None}


def play(
    goals: dict[str, float], odds: np.ndarray, truth: np.ndarray, lots: np.ndarray, pilot: int
) -> dict[str, float]:
    """One cascade over one group of cells: its cost, and what it reached."""
    goal = Goal(**NO_GOAL | goals, delta=DELTA, most=len(odds), pilot=pilot)
    running = search(goal, odds, lots)
    try:
        wanted = next(running)
        while True:
            wanted = running.send(truth[wanted].astype(np.int8))
    except StopIteration as end:
        decision = end.value
    yes = np.where(decision.by_proxy, odds > decision.cut, truth)
    both = (yes & truth).sum()
    return {
        "cost": float((~decision.by_proxy).mean()),
        "recall": float(both / max(1, truth.sum())),
        "precision": float(both / yes.sum()) if yes.any() else 1.0,
        "accuracy": float((yes == truth).mean()),
    }


def hindsight(goals: dict[str, float], odds: np.ndarray, truth: np.ndarray) -> float:
    """The shortest middle by which the goals hold, of whoever knows all answers."""
    truth = truth[np.argsort(-odds, kind="stable")]
    cells, yes = len(truth), int(truth.sum())
    found = np.concatenate([[0], np.cumsum(truth)])
    heads = np.arange(cells + 1)
    wrong = heads - found
    if "accuracy" in goals:
        left = (1 - goals["accuracy"]) * cells - wrong
        place, good = np.searchsorted(found, yes - left), left >= 0
    else:
        place = np.maximum(heads, np.searchsorted(found, goals["recall"] * yes))
        good = wrong <= (1 - goals["precision"]) * (found[place] + wrong)
    return float(np.where(good, np.maximum(0, place - heads), cells).min() / cells)


def floor(goals: dict[str, float], truth: np.ndarray) -> float:
    """What a guarantee of recall costs at least, with the best of proxies."""
    if "recall" not in goals:
        return float("nan")
    most = int((1 - goals["recall"]) * truth.sum())
    return float(1 - DELTA ** (1 / (most + 1)))


def groups(odds: np.ndarray, truth: np.ndarray, judged: np.ndarray, over: str) -> list[Any]:
    """The cells that stand together."""
    if over == "all":
        return [(odds[judged], truth[judged])]
    columns = [i for i in range(judged.shape[1]) if truth[judged[:, i], i].any()]
    return [(odds[judged[:, i], i], truth[judged[:, i], i]) for i in columns]


def costs(odds: np.ndarray, truth: np.ndarray, judged: np.ndarray, runs: int) -> list[Any]:
    """A row a goal and scope: means over the cells."""
    rows = []
    for over in ("descriptor", "all"):
        cells = groups(odds, truth, judged, over)
        size = np.array([len(one) for one, _ in cells])
        for goals in GOALS:
            rng = np.random.default_rng(0)
            found = [
                [
                    play(
                        goals, one, said, rng.random(len(one)), 64 if over == "descriptor" else 2048
                    )
                    for one, said in cells
                ]
                for _ in range(runs)
            ]
            means = {
                name: float(
                    np.average(
                        [[x[name] for x in run] for run in found], axis=1, weights=size
                    ).mean()
                )
                for name in ("cost", "recall", "precision", "accuracy")
            }
            missed = np.mean([[any(x[n] < g for n, g in goals.items()) for x in r] for r in found])
            known = [hindsight(goals, *one) for one in cells]
            least = [floor(goals, said) for _, said in cells]
            rows.append(
                {"over": over, **{n: goals.get(n) for n in NO_GOAL}}
                | {f"reached {n}" if n != "cost" else n: v for n, v in means.items()}
                | {"missed": float(missed)}
                | {"hindsight": float(np.average(known, weights=size))}
                | {"floor": float(np.average(least, weights=size))}
            )
    return rows


def curve(runs: int) -> list[Any]:
    """What recall .95 and precision .9 cost, by how well a proxy ranks and how many Yes are."""
    goals, rows = {"recall": 0.95, "precision": 0.9}, []
    for apart in (2.0, 3.0, 4.0, 5.0):
        for yes in (100, 1000, 10_000):
            rng, cells = np.random.default_rng(0), 20 * yes
            found, known, area = [], [], []
            for _ in range(runs):
                truth = np.arange(cells) < yes
                odds = rng.normal(size=cells) + apart * truth - apart / 2
                found.append(play(goals, odds, truth, rng.random(cells), 64)["cost"])
                known.append(hindsight(goals, odds, truth))
                area.append(roc_auc_score(truth, odds))
            row = {"AUROC": float(np.mean(area)), "Yes": yes, "cells": cells}
            row |= {"cost": float(np.mean(found)), "hindsight": float(np.mean(known))}
            rows.append(row | {"floor": floor(goals, np.arange(cells) < yes)})
    return rows


def cells_of(kind: str, number: int, share: float, rng: np.random.Generator) -> Any:
    """What an oracle says, and a proxy's log-odds."""
    truth = rng.random(number) < share
    noise = rng.normal(size=number)
    odds = {
        "good": noise + 3 * truth,
        "fair": noise + 1.5 * truth,
        "useless": noise,
        "inverted": noise - 2 * truth,
        "ties": np.round((noise + 2 * truth) / 1.5),
        "constant": np.zeros(number),
        "trap": np.where(truth & (rng.random(number) < 0.12), -9.0, noise + 3 * truth),
        "false head": np.where(rng.random(number) < 0.01, 9.0, noise + 3 * truth),
    }[kind]
    return truth, odds - 1.5


def simulate(
    runs: int, cells: int, chosen: list[dict[str, float]], kinds: tuple[str, ...]
) -> Iterator[Any]:
    """How often a goal is missed, which is to be no more than delta: a row a goal and proxy."""
    for goals, kind in product(chosen, kinds):
        rng = np.random.default_rng(1)
        found = []
        for _ in range(runs):
            truth, odds = cells_of(kind, cells, 0.1, rng)
            found.append(play(goals, odds, truth, rng.random(cells), 32))
        missed = np.mean([any(one[n] < g for n, g in goals.items()) for one in found])
        row = {"goal": " ".join(f"{n} {g}" for n, g in goals.items()), "proxy": kind}
        row |= {"runs": runs, "missed": float(missed), "delta": DELTA}
        yield row | {"cost": float(np.mean([one["cost"] for one in found]))}


def show(title: str, rows: list[Any]) -> None:
    """A table of rows."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(
            *(
                "" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v)
                for v in row.values()
            )
        )
    Console(width=160).print(table)


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cost", "curve", "simulate"))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--odds", type=Path, help="keeps the annotators' log-odds, .npz")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument("--goal", type=int, help="of those simulated, from 1; all without it")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="of proxies; all without it")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.what == "simulate":
        chosen = SIMULATED[args.goal - 1 : args.goal] if args.goal else SIMULATED
        found: dict[str, list[Any]] = {"simulate": []}
        for row in simulate(args.runs or 1000, args.cells, chosen, args.kinds or KINDS):
            found["simulate"].append(row)
            if args.json:  # as it goes: it takes long
                args.json.write_text(json.dumps(found, indent=1))
    elif args.what == "curve":
        found = {"curve": curve(args.runs or 3)}
    else:
        work = task(read(args.data))
        if args.odds and args.odds.is_file():
            kept = np.load(args.odds)
            odds, words = kept["embedded"], kept["words"]
        else:
            embedded = EmbeddedAnnotator(CHECKPOINT, None, work.phrases, work.texts)
            odds = by_annotator(work, embedded)
            words = by_annotator(work, WordsAnnotator(work.phrases, work.texts))
            if args.odds:
                np.savez(args.odds, embedded=odds, words=words)
        every, runs = np.ones_like(work.judged), args.runs or 5
        found = {
            "people": costs(odds, work.truth, work.judged, runs),
            "words": costs(odds, words > 0, every, runs),
        }
    for title, rows in found.items():
        show(title, rows)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
