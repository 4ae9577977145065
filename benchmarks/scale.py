"""How each stage grows with its input, and what the whole Amazon corpus would take.

Every stage runs as a process of its own at n, 2n, 4n and 8n, with inputs that the stages before
it, or their writers, made. Fitted is cost = fixed + rate * n**exponent: to seconds of processor
time, which other work on the machine changes least, peak of resident memory, and bytes written.

    models   describe, activations, graphs (of 8 neurons) and annotate, by MiniLM on real sentences
    files    exemplars, label, evaluate, figures and report, of 2,304 neurons of noise
    reviews  corpus, all kept;  phrases  cluster, of distinct raw descriptors
    many     exemplars, label, evaluate, figures and report, of 16 neurons of very many sentences

    python benchmarks/scale.py --work FOLDER --json out.json
    python benchmarks/scale.py --part many --size 100000 --size 1000000 --stage report

The projection to 130 million reviews is a line through the two largest sizes, for one core like
these: an exponent out of four sizes would not bear it.
"""

import gzip
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Annotated, NamedTuple

import explorer
import many
import numpy as np
import pyarrow as pa
import typer
from activations import Json, Row, Work, folder_for, report
from corpus import FIELDS, reordered
from cost import run
from making import ROOT, WHO, descry, files_of, sections
from scipy.optimize import curve_fit

from descry.corpus.files import review_files
from descry.corpus.readers import read_reviews
from descry.io.parquet import write_table

STEPS = (1, 2, 4, 8)
COSTS = ("cpu seconds", "peak_mb", "written_mb")
AMAZON = 130_000_000  # reviews
# Of a review, where a stage's n counts something else.
PER_REVIEW = {"cluster (raw descriptors)": 0.02}
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class Part(NamedTuple):
    """Stages that are measured on the same inputs.

    Attributes:
        least: the smallest n.
        unit: what n counts.
        make: writes the inputs of size n into the current folder.
        stages: in their order.
    """

    least: int
    unit: str
    make: Callable[[int], None]
    stages: tuple[str, ...]


@app.command()
def main(
    part: Annotated[list[str] | None, typer.Option(help="only these parts")] = None,
    least: Annotated[int | None, typer.Option(help="another smallest n")] = None,
    size: Annotated[list[int] | None, typer.Option(help="these n, in place of four")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="only these stages")] = None,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """Seconds, memory and bytes of every stage at four sizes; exponents; the projection."""
    rows: list[Row] = []
    with folder_for(work) as folder:
        for name in part or PARTS:
            chosen = PARTS[name]
            chosen = chosen._replace(stages=tuple(stage)) if stage else chosen
            sizes = size or [(least or chosen.least) * step for step in STEPS]
            rows += measured(folder.resolve() / name, chosen, sizes)
            report(f"scale: {name}", rows, None)
    report("scale", rows, json_file and json_file.with_suffix(".sizes.json"))
    several = {stage: own for stage, own in by_stage(rows).items() if len(own) > 1}
    report("growth", [grown(stage, own) for stage, own in several.items()], json_file)


def measured(folder: Path, part: Part, sizes: list[int]) -> Iterator[Row]:
    for number in sizes:
        place = folder / str(number)
        place.mkdir(parents=True, exist_ok=True)
        with chdir(place):
            Path("results").mkdir(exist_ok=True)
            part.make(number)
            for stage in part.stages:
                before, files = time.time_ns(), files_of(stage)
                said = run(["stage", stage, *files])
                size = {"stage": stage, "n": number, "of": part.unit}
                yield size | said | {"written_mb": written(files, before)}


def written(named: list[str], since: int) -> float:
    """Megabytes of a stage's outputs: of its files those that are new since a moment."""
    paths = [Path(word.partition("=")[2]) for word in named]
    files = itertools.chain.from_iterable(p.rglob("*") if p.is_dir() else [p] for p in paths)
    sizes = [file.stat() for file in files if file.is_file()]
    return sum(one.st_size for one in sizes if one.st_mtime_ns > since) / 1e6


# What follows from the figures


def by_stage(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row['stage']} ({row['of']})", []).append(row)
    return found


def grown(stage: str, rows: list[Row]) -> Row:
    """A stage's exponents, and what they come to for the whole corpus."""
    sizes = np.array([row["n"] for row in rows], dtype=float)
    costs = {what: np.array([row[what] for row in rows]) for what in COSTS}
    fitted = {what: Growth.of(sizes, cost) for what, cost in costs.items()}
    whole = AMAZON * PER_REVIEW.get(stage, 1.0)
    slopes = {what: float(max(cost[-1] - cost[-2], 0)) for what, cost in costs.items()}
    steps = (whole - sizes[-1]) / (sizes[-1] - sizes[-2])
    then = {what: float(costs[what][-1]) + slopes[what] * steps for what in COSTS}
    return {
        "stage": stage,
        "n": f"{sizes[0]:,.0f} to {sizes[-1]:,.0f}",
        "seconds": rows[-1]["cpu seconds"],
        "time exponent": fitted["cpu seconds"].exponent,
        "peak_mb": rows[-1]["peak_mb"],
        "memory exponent": fitted["peak_mb"].exponent,
        "projected hours": then["cpu seconds"] / 3600,
        "projected GB of memory": then["peak_mb"] / 1e3,
        "projected GB written": then["written_mb"] / 1e3,
    }


class Growth(NamedTuple):
    """cost = fixed + rate * n**exponent."""

    fixed: float
    rate: float
    exponent: float

    @classmethod
    def of(cls, sizes: np.ndarray, costs: np.ndarray) -> "Growth":
        """The nearest one in relative terms; where nothing grows beyond noise, nothing does."""
        if costs[-1] < 1.1 * costs[0]:
            return cls(float(costs.mean()), 0.0, 0.0)
        if len(sizes) < len(cls._fields):  # too few for a fixed part
            exponent = float(np.log(costs[-1] / costs[0]) / np.log(sizes[-1] / sizes[0]))
            return cls(0.0, costs[-1] / sizes[-1] ** exponent, exponent)
        scaled, last = sizes / sizes[-1], costs[-1]
        fit, _ = curve_fit(
            lambda n, fixed, rate, exponent: fixed + rate * n**exponent,
            scaled,
            costs / last,
            p0=(0.1, 0.9, 1.0),
            sigma=costs / last,
            bounds=((0, 0, 0.1), (1.2, 2, 3)),
        )
        fixed, rate, exponent = fit.tolist()
        return cls(fixed * last, rate * last / sizes[-1] ** exponent, exponent)


# Inputs


def real_reviews(number: int) -> None:
    """So many different reviews: those of the sample, again with their words in another order."""
    given = list(read_reviews(review_files(ROOT / "data/sample"), FIELDS, 1.0, Counter()))
    copies = (
        {"category": one.category, "text": reordered(one.text, copy)}
        for copy in itertools.count()
        for one in given
    )
    with gzip.open("reviews.jsonl.gz", "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(json.dumps(row) + "\n" for row in itertools.islice(copies, number))


def real_corpus(number: int) -> None:
    """A corpus of them, and what stage annotate asks about."""
    real_reviews(number)
    kept = {"reviews": "reviews.jsonl.gz", "per_category": 10**9, "language": "en"}
    sections(corpus=kept, graphs={"neurons": 8}, exemplars={"top_percent": 5.0})
    descry("corpus")
    names = [f"topic {i}" for i in range(26)]
    entries = [{"name": name, "mentions": 1, "phrases": {name: 1}} for name in names]
    Path("results/descriptors.json").write_text(
        json.dumps({"made": {}, "descriptors": entries}), encoding="utf-8"
    )


def all_kept(number: int) -> None:
    real_reviews(number)
    sections(corpus={"reviews": "reviews.jsonl.gz", "per_category": 10**9})


def raw_descriptors(number: int) -> None:
    """Distinct phrases of two words, of an adjective's and a noun's making."""
    sections(cluster={"min_mentions": 1, "min_size": 2})
    words = Counter(
        word
        for one in read_reviews(review_files(ROOT / "data/sample"), FIELDS, 1.0, Counter())
        for word in one.text.lower().split()
        if word.isalpha() and len(word) > 3
    )
    known = [word for word, _ in words.most_common(2_000)]
    lots = np.random.default_rng(0).choice(len(known) ** 2, number, replace=False)
    phrases = [f"{known[lot // len(known)]} {known[lot % len(known)]}" for lot in lots.tolist()]
    keys = ["0" * 64] * number
    rows = {"id": ["0" * 16] * number, "annotator": [WHO.name] * number, "phrase": phrases}
    write_table(Path("results/candidates.parquet"), pa.table(rows | {"key": keys}), {})


def noise(number: int) -> None:
    if not Path("results/scores.json").exists():
        explorer.build(number, 6, 384)


PARTS = {
    "reviews": Part(25_000, "reviews", all_kept, ("corpus",)),
    "phrases": Part(12_500, "raw descriptors", raw_descriptors, ("cluster",)),
    "models": Part(
        450,
        "sentences",
        real_corpus,
        ("describe", "activations", "exemplars", "graphs", "annotate"),
    ),
    "files": Part(
        12_500, "sentences", noise, ("exemplars", "label", "evaluate", "figures", "report")
    ),
    "many": Part(
        100_000,
        "sentences, 16 neurons",
        many.make,
        many.STAGES,
    ),
}


if __name__ == "__main__":
    app()
