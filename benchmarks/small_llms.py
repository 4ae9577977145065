"""What a small language model is worth as an annotator, and what makes it better: human labels.

    python benchmarks/small_llms.py CLAUSES.jsonl.gz --model FOLDER [--clauses 50] [--json FILE]

The clauses are those of annotator.py: so many are drawn by seed of each domain, and each is asked
for the domain's aspects. p2 is asked in several ways, and each way's log-odds are read in several:
as they are, less the mean of their sentence or descriptor, above a threshold that is fitted. Beside
them stands the plain cosine of clause and name, as an annotator that ranks but has no zero.

p1 is asked with 0, 1 and 3 examples, the paper's and others written by hand (a very small model's
zero-shot answers, which stage describe would take, are hardly ever a list). Copied is an answer
with a phrase of the examples that is not in the clause; by chance, with one of as many examples
that the model was not shown.

Answers are kept in --cache: a run that was killed goes on, and another reading costs nothing.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from annotator import CHECKPOINT, Task, by_cosine, measure, read, task
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from descry.annotators.client import AskOptions, answer_prompts
from descry.annotators.copied import Copied
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.topics import Topics, read_topics
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p1, p2
from descry.annotators.templates import Shot, Template, p1_template, p2_template
from descry.annotators.threshold import Centre, find_offsets
from descry.io.hashing import JSON
from descry.models.checkpoints import contents_sha256
from descry.models.embedder import sentence_embedder

SHOTS = [
    {"sentence": "The laces broke after a week.", "descriptor": "Durability", "answer": "yes"},
    {"sentence": "I bought it for my sister.", "descriptor": "Price", "answer": "no"},
    {"sentence": "It was cheap and worth every cent.", "descriptor": "Price", "answer": "yes"},
    {"sentence": "The screen is bright.", "descriptor": "Customer service", "answer": "no"},
]
EXAMPLES: list[Shot] = [
    {"sentence": sentence, "concepts": concepts.split(", ")}
    for sentence, concepts in (
        (
            "the shoes are true to size. I am used to wearing running shoes so these have been an"
            " adjustment. Overall, the shoe is nice and provides well for my HIIT and Grit classes",
            "Size, Fitness, Positive, Adjustability",
        ),
        ("It arrived two days late and the box was torn.", "Delivery, Packaging"),
        (
            "Great sound for the money, but the battery dies within an hour.",
            "Sound, Price, Battery",
        ),
        ("The zipper broke after a week and nobody answers my mails.", "Quality, Customer service"),
        ("Easy to set up, and the picture is sharp.", "Ease of use, Picture"),
        ("Looks lovely in red, very comfortable too.", "Color, Looks, Comfort"),
        ("It is heavy and loud but cleans well.", "Weight, Noise, Performance"),
        ("My son loves the story and reads it every night.", "Story, Children, Reading"),
    )
]
ENDED = """\
Identify at most {max_descriptors} salient topics being discussed in a sentence.
{examples}
Sentence:
{sentence}
Expected Concepts:"""
REWORDED = """\
Here is a sentence of a product review: "{sentence}"
Is "{descriptor}" a topic of the sentence? Reply with Yes or No."""
READINGS: dict[str, tuple[Centre | None, Any]] = {
    "as it is": (None, 0.0),
    "centre: sentence": ("sentence", 0.0),
    "centre: descriptor": ("descriptor", 0.0),
    "threshold: fitted": (None, "fitted"),
    "sentence, fitted": ("sentence", "fitted"),
}
FIGURES = ["AUROC", "se", "pooled", "in sentence", "F1", "kappa", "Yes"]
MOST, WORDS = 5, 4  # topics of an answer to p1, and words of a topic
LEAST = 8  # words of a clause that p1 is asked about
DRAWS = 200  # of other examples, for chance


Said = tuple[str, list[str]]  # a text, and its topics


class Bench:
    """A model that answers through a prompt cache.

    Args:
        folder: of the model.
        cache: where the answers are and go.
    """

    def __init__(self, folder: Path, dtype: str, cache: PromptCache) -> None:
        revision = contents_sha256(folder)
        spec = {"kind": "transformers", "model": str(folder), "revision": revision, "dtype": dtype}
        spec |= {"device": "auto", "max_tokens": 1024, "max_new_tokens": 64, "batch_tokens": 4096}
        self.who = {"p1": create(spec, "p1", max_descriptors=MOST), "p2": create(spec, "p2")}
        self.how = AskOptions("benchmark", cache, 1, False, lambda *_: None, again=False)

    def odds(self, task: Task, template: Template) -> np.ndarray:
        """Log-odds of Yes: float32 [text, name]."""
        prompts, found = p2(task.texts, list(task.phrases), template), list[float]()
        for chunk in answer_prompts(self.how, self.who["p2"], prompts, _verdict, Counts()):
            found += [_verdict(response) for response in chunk.responses]
        return np.reshape(np.array(found, dtype=np.float32), task.truth.shape)

    def topics(self, texts: Sequence[str], template: Template) -> tuple[list[Said], list[str]]:
        """The texts with the topics that are answered, and the answers that are no list of them."""
        said, failed = list[Said](), list[str]()
        prompts = p1(texts, template)
        for chunk in answer_prompts(self.how, self.who["p1"], prompts, _topics, Counts()):
            records = self.how.cache.failed(chunk.keys)
            failed += [records[key]["response"] for key in chunk.keys if key in records]
            answers = zip(texts[chunk.start :], chunk.responses, strict=False)
            said += [(text, _topics(answer).phrases) for text, answer in answers if answer]
        return said, failed


def _verdict(response: JSON) -> float:
    return parse_verdict(response, 0).odds


def _topics(response: JSON) -> Topics:
    return read_topics(response, MOST, WORDS)


def draw(records: list[dict[str, Any]], number: int, seed: int) -> dict[str, Task]:
    """So many of each domain's clauses."""
    domains = sorted({record["domain"] for record in records})
    lots = random.Random(seed)
    own = {name: [r for r in records if r["domain"] == name] for name in domains}
    return {name: task(lots.sample(of, min(number, len(of)))) for name, of in own.items()}


# p2


def read_as(odds: np.ndarray, centre: Centre | None, threshold: Any) -> np.ndarray:
    """Log-odds less what is taken off them: float32 [text, name]."""
    texts, names = odds.shape
    every = np.ones(texts, dtype=bool)
    found = find_offsets(lambda i: odds[:, i], names, every, centre, threshold)
    return np.column_stack([found.left(odds[:, i], i) for i in range(names)])


def figures(tasks: Sequence[Task], scores: Sequence[np.ndarray]) -> dict[str, float]:
    """Means over the names; `pooled` and `in sentence` rank all pairs, and those of a sentence."""
    by_name, pooled, inside, yes = [], [], [], []
    rows = []
    for of, score in zip(tasks, scores, strict=True):
        rows.append(measure(of, score, answers=True))
        by_name += [roc_auc_score(t, s) for t, s in zip(of.truth.T, score.T, strict=True)]
        pooled.append(roc_auc_score(of.truth.ravel(), score.ravel()))
        inside += [
            roc_auc_score(t, s)
            for t, s in zip(of.truth, score, strict=True)
            if 0 < t.sum() < len(t)
        ]
        yes.append((score > 0).mean())
    weights = [of.truth.shape[1] for of in tasks]
    found = {n: float(np.average([r[n] for r in rows], weights=weights)) for n in ("F1", "kappa")}
    found |= {"AUROC": mean(by_name), "se": float(np.std(by_name, ddof=1) / len(by_name) ** 0.5)}
    found |= {"pooled": mean(pooled), "in sentence": mean(inside), "Yes": float(np.mean(yes))}
    return {name: round(found[name], 4) for name in FIGURES}


def chance(tasks: Sequence[Task], seed: int) -> dict[str, float]:
    """Answers by lot, with Yes as often as people say it; that share stands under Yes."""
    share = float(np.mean([of.truth.mean() for of in tasks]))
    lots = np.random.default_rng(seed)
    drawn = [
        figures(tasks, [(share - lots.random(of.truth.shape)).astype(np.float32) for of in tasks])
        for _ in range(20)
    ]
    return {name: round(mean(one[name] for one in drawn), 4) for name in FIGURES} | {
        "Yes": round(share, 4)
    }


def applies(tasks: dict[str, Task], bench: Bench) -> Iterator[tuple[str, str, dict[str, float]]]:
    """The figures of every way to ask p2, and to read its log-odds."""
    with TemporaryDirectory() as folder:
        reworded = Path(folder) / "reworded.txt"
        reworded.write_text(REWORDED)
        ways = {
            "as in the paper": p2_template(),
            "2 examples": p2_template(SHOTS[:2]),
            "4 examples": p2_template(SHOTS),
            "reworded": p2_template((), reworded),
        }
    every = list(tasks.values())
    embed = sentence_embedder(CHECKPOINT)
    for way in [*ways, "cosine, no LLM"]:
        if way in ways:
            odds = [bench.odds(of, ways[way]) for of in every]
        else:
            odds = [by_cosine(of, embed).astype(np.float32) for of in every]
        for reading, how in READINGS.items():
            yield way, reading, figures(every, [read_as(one, *how) for one in odds])


# p1


def describes(texts: Sequence[str], bench: Bench, seed: int) -> Iterator[dict[str, Any]]:
    """The figures of every way to ask p1."""
    lots = random.Random(seed)
    with TemporaryDirectory() as folder:
        ended = Path(folder) / "ended.txt"
        ended.write_text(ENDED)
        ways: list[tuple[str, list[Shot], Path | None]] = [
            ("as in the paper", [], None),
            ("as in the paper", EXAMPLES[:1], None),
            ("as in the paper", EXAMPLES[:3], None),
            ("short examples", EXAMPLES[1:2], None),
            ("short examples", EXAMPLES[1:4], None),
            ("ends in Expected Concepts:", [], ended),
            ("ends in Expected Concepts:", EXAMPLES[1:2], ended),
            ("ends in Expected Concepts:", EXAMPLES[1:4], ended),
        ]
        asked = [p1_template(MOST, examples, file) for _, examples, file in ways]
    for (way, examples, _), template in zip(ways, asked, strict=True):
        said, failed = bench.topics(texts, template)
        phrases = [(text, phrase) for text, own in said for phrase in own]
        by_chance = [copied(said, lots.sample(EXAMPLES[4:], len(examples))) for _ in range(DRAWS)]
        shown, number = Copied(examples), max(len(said), 1)
        yield {
            "p1": way,
            "examples": len(examples),
            "usable": len(said) / len(texts),
            "empty": sum(not own for _, own in said) / len(texts),
            "repeat an example": sum(map(shown.repeats, failed)) / len(texts),
            "phrases": len(phrases) / number,
            "in the clause": float(np.mean([p in t.lower() for t, p in phrases] or [np.nan])),
            "copied": copied(said, examples) / number,
            "by chance": mean(by_chance) / number,
            "95% of chance": float(np.quantile(by_chance, 0.95)) / number,
        }


def copied(said: list[Said], examples: Sequence[Shot]) -> int:
    """How many answers have a phrase of the examples that is not in the clause."""
    found = Copied(examples)
    for text, phrases in said:
        found.add(text, phrases)
    return found.answers


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()]
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main() -> int:
    """Measure and print; 2 when the data or the model is not there."""
    parser = argparse.ArgumentParser(description="Measure a small LLM on human labels.")
    parser.add_argument("data", type=Path, help="labelled clauses, JSON lines")
    parser.add_argument("--model", type=Path, required=True, help="a folder of transformers'")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--clauses", type=int, default=50, help="of each domain, for p2")
    parser.add_argument("--described", type=int, default=60, help="clauses for p1")
    parser.add_argument("--seed", type=int, default=0, help="draws them")
    parser.add_argument("--cache", type=Path, help="folder for the answers; else thrown away")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    for path, there in ((options.data, Path.is_file), (options.model, Path.is_dir)):
        if not there(path):
            print(f"{path}: not there", file=sys.stderr)
            return 2
    records = read(options.data)
    tasks = draw(records, options.clauses, options.seed)
    long = [r["text"] for r in records if len(r["text"].split()) >= LEAST]
    texts = random.Random(options.seed).sample(long, min(options.described, len(long)))
    with TemporaryDirectory() as folder, PromptCache(options.cache or Path(folder)) as cache:
        bench = Bench(options.model, options.dtype, cache)
        by_lot = chance(list(tasks.values()), options.seed)
        topics, rows = [], [{"p2": "by lot", "read": ""} | by_lot]
        for found in describes(texts, bench, options.seed):
            topics.append(found)
            print(json.dumps(found), file=sys.stderr, flush=True)
        for way, reading, found in applies(tasks, bench):
            rows.append({"p2": way, "read": reading} | found)
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    number = sum(len(of.texts) for of in tasks.values())
    names = sum(of.truth.shape[1] for of in tasks.values())
    show(f"p2: {number} clauses, {names} names", rows)
    show(f"p1: {len(texts)} clauses", topics)
    if options.json:
        found_all = {"p2": rows, "p1": topics, "clauses": number, "names": names}
        options.json.write_text(json.dumps(found_all, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
