"""Do labels, scores and intervals mean what they say? Neurons whose truth is known, many times.

Sentences have a length, a number of commas, a place in the file, a category and a rating. A
descriptor applies to a sentence with a chance that these change (unless a setting says that they
do not). A neuron's activation is a sum of what it follows and of noise: length or another
covariate, a topic (the answers of one descriptor: it is planted), and what it has in common with
all other neurons. Its set is the top k%, and labels are those of enrichment within strata at 1%
(`descry.labels.matched`), beside the hypergeometric test, which knows no strata.

Sections, each with a table and what is expected of it:

    type-one    neurons that follow length and no topic: how often p is small, and any label there
    power       planted neurons: labels beside those of the plain test where nothing else is
                followed, and beside those of a test that knows each sentence's chance of a Yes
    discoveries the share of false labels at nominal rates
    decoys      neurons that follow one covariate alone, with and without it among the strata
    exact       p of the test beside 100,000 weighted draws
    scores      corrected scores and p of the nulls where there is nothing to find, and where there
                is; coverage of the 95% intervals: of the mean over data drawn anew

    python benchmarks/calibration.py --json out.json
    python benchmarks/calibration.py decoys exact
    python benchmarks/calibration.py --quick
"""

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from descry.annotators.bitset import Answers
from descry.evaluation import intervals
from descry.evaluation.metrics import BY_THRESHOLD, Cuts, rate
from descry.evaluation.null_models import scores
from descry.evaluation.sides import Comparison, Side
from descry.io.json_files import write_json
from descry.io.provenance import versions
from descry.labels.assignment import SetCounter
from descry.labels.enrichment import enrichment, false_discovery_rates
from descry.labels.matched import matched_enrichment
from descry.labels.rules import Rule
from descry.labels.strata import Matching, Strata

Row = dict[str, Any]
RATE = 0.01
CATEGORIES = 6
COVARIATES = ("words", "commas", "position", "category", "rating")


@dataclass(frozen=True)
class Setting:
    """What there is to follow.

    Attributes:
        follows: covariates that descriptors and neurons follow.
        matched: covariates that sentences are matched on.
        topics: share of the neurons that have a topic.
        shared: correlation of the neurons' noise.
    """

    follows: tuple[str, ...] = ("words",)
    matched: tuple[str, ...] = ("words",)
    topics: float = 0.0
    shared: float = 0.0
    sentences: int = 1800
    neurons: int = 200
    descriptors: int = 35
    percent: float = 5.0


@dataclass(frozen=True)
class World:
    """Sentences, and the chance of each descriptor in each: [sentences, descriptors]."""

    covariates: dict[str, np.ndarray]
    chances: np.ndarray
    answers: np.ndarray
    strata: Strata

    @classmethod
    def draw(cls, setting: Setting, rng: np.random.Generator) -> "World":
        """The descriptors are the same in each draw, the sentences others."""
        number = setting.sentences
        words = np.maximum(10, np.exp(rng.normal(3.6, 0.6, number))).round()
        covariates: dict[str, np.ndarray] = {
            "words": words,
            "commas": rng.poisson(words / 15).astype(float),
            "position": np.arange(number, dtype=float),
            "category": rng.integers(CATEGORIES, size=number).astype(str),
            "rating": rng.integers(1, 6, number).astype(float),
        }
        own = np.random.default_rng([setting.descriptors, *b"descriptors"])
        base = own.uniform(0.02, 0.2, setting.descriptors)
        logit = np.log(base / (1 - base)) * np.ones((number, 1))
        for name in COVARIATES:
            slopes = own.uniform(-0.2, 1.0, setting.descriptors)
            categories = own.normal(0, 1, (CATEGORIES, setting.descriptors))
            if name == "category" and name in setting.follows:
                logit += categories[covariates[name].astype(int)]
            elif name in setting.follows:
                logit += slopes * scaled(covariates[name])[:, None]
        chances = 1 / (1 + np.exp(-logit))
        answers = (rng.random(chances.shape) < chances).astype(np.int8)
        every = np.ones(number, dtype=bool)
        strata = Matching(setting.matched, 30).strata(covariates, np.arange(number), every)
        return cls(covariates, chances, answers, strata)


def scaled(values: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1, of the logarithm: but for a covariate that may be 0."""
    logs = np.log(values) if values.min() > 0 else values
    return np.asarray((logs - logs.mean()) / logs.std())


@dataclass(frozen=True)
class Neurons:
    """What neurons follow, whatever the sentences: `topic` is -1 for none."""

    topic: np.ndarray
    weight: np.ndarray
    pulls: dict[str, np.ndarray]
    categories: np.ndarray
    shared: float

    @classmethod
    def draw(cls, setting: Setting, rng: np.random.Generator) -> "Neurons":
        """Half of those with a topic follow it hardly."""
        number = setting.neurons
        topic = rng.integers(setting.descriptors, size=number)
        topic[np.arange(number) >= setting.topics * number] = -1
        pulls = {name: rng.uniform(-1, 1, number) for name in setting.follows}
        categories = rng.normal(0, 0.7, (CATEGORIES, number))
        weight = rng.uniform(0.3, 2.5, number)
        return cls(topic, weight, pulls, categories, setting.shared)

    def sets(self, world: World, percent: float, rng: np.random.Generator) -> np.ndarray:
        """Their exemplars: int [neurons, size]."""
        number = len(world.answers)
        activations = rng.normal(0, 1, (number, len(self.topic))) * np.sqrt(1 - self.shared)
        activations += rng.normal(0, 1, (number, 1)) * np.sqrt(self.shared)
        for name, pull in self.pulls.items():
            if name == "category":
                activations += self.categories[world.covariates[name].astype(int)]
            else:
                activations += pull * scaled(world.covariates[name])[:, None]
        with_topic = np.flatnonzero(self.topic >= 0)
        own = world.answers[:, self.topic[with_topic]]
        activations[:, with_topic] += self.weight[with_topic] * own
        size = int(number * percent / 100)
        return np.asarray(np.argsort(-activations, axis=0)[:size].T)


def p_within(world: World, sets: np.ndarray, strata: Strata | None = None) -> np.ndarray:
    """p within strata: float64 [neurons, descriptors]."""
    every = np.ones(len(world.answers), dtype=bool)
    counter = SetCounter(Answers.of(world.answers), every)
    return matched_enrichment(counter, [sets], strata or world.strata, every).p


def p_plain(world: World, sets: np.ndarray) -> np.ndarray:
    """p of the hypergeometric test."""
    yes = (world.answers[sets] == 1).sum(axis=1)
    whole = np.full(yes.shape[1], len(world.answers))
    drawn = np.full(yes.shape, sets.shape[1])
    return enrichment(yes, drawn, world.answers.sum(axis=0, dtype=int), whole, within=True).p


def p_knowing(world: World, sets: np.ndarray) -> np.ndarray:
    """Mid-p of a test that knows each sentence's chance of a Yes (Poisson-binomial)."""
    chances = world.chances[sets]
    neurons, size, descriptors = chances.shape
    found = np.zeros((size + 1, neurons, descriptors))
    found[0] = 1.0
    for place in range(size):
        own = chances[:, place]
        found[1 : place + 2] = found[1 : place + 2] * (1 - own) + found[: place + 1] * own
        found[0] *= 1 - own
    yes = (world.answers[sets] == 1).sum(axis=1)[None]
    tails = np.cumsum(found[::-1], axis=0)[::-1] - found / 2
    return np.asarray(np.take_along_axis(tails, yes, axis=0)[0])


def labelled(p: np.ndarray, rate: float = RATE) -> np.ndarray:
    """Which pairs are labels."""
    return np.asarray(false_discovery_rates(p) < rate)


Section = Callable[["Sizes"], list[Row]]
SECTIONS: dict[str, Section] = {}


@dataclass(frozen=True)
class Sizes:
    """How often each thing is done; `map` works on several at a time."""

    draws: int
    datasets: int
    nulls: int
    samples: int
    map: Callable[..., Iterable[Any]] = field(default=map, repr=False)


FULL, QUICK = Sizes(100, 200, 99, 100_000), Sizes(2, 3, 9, 500)


def section(name: str) -> Callable[[Section], Section]:
    """Register a section of the benchmark."""

    def register(run: Section) -> Section:
        SECTIONS[name] = run
        return run

    return register


# type-one


def _type_one(case: tuple[Setting, int]) -> np.ndarray:
    setting, seed = case
    rng = np.random.default_rng([seed, *b"type one"])
    world = World.draw(setting, rng)
    sets = Neurons.draw(setting, rng).sets(world, setting.percent, rng)
    p, plain = p_within(world, sets), p_plain(world, sets)
    return np.array(
        [np.mean(p <= 0.01), np.mean(p <= 0.05), labelled(p).sum(), labelled(plain).sum()]
    )


@section("type-one")
def type_one(sizes: Sizes) -> list[Row]:
    """Expected: .007 to .013, .045 to .055; any label in at most 1 of 100 draws if r is 0."""
    rows = []
    for shared in (0.0, 0.05, 0.3):
        for follows in ((), ("words",)):
            setting = Setting(follows=follows, shared=shared)
            cases = [(setting, seed) for seed in range(sizes.draws)]
            found = np.stack(list(sizes.map(_type_one, cases)))
            small, less, labels, plain = found.T
            rows.append({
                "neurons follow": ", ".join(follows) or "nothing",
                "r": shared,
                "P(p<=.01)": small.mean(),
                "P(p<=.05)": less.mean(),
                "draws with a label": float((labels > 0).mean()),
                "labels a draw": labels.mean(),
                "most labels": int(labels.max()),
                "plain test: labels": plain.mean(),
            })  # fmt: skip
    return rows


# power


def _power(case: tuple[Setting, int]) -> np.ndarray:
    setting, seed = case
    rng = np.random.default_rng([seed, *b"power"])
    world, neurons = World.draw(setting, rng), Neurons.draw(setting, rng)
    sets = neurons.sets(world, setting.percent, rng)
    true = neurons.topic[:, None] == np.arange(setting.descriptors)
    found = [labelled(test(world, sets)) for test in (p_within, p_plain, p_knowing)]
    return np.array([(labels.sum(), (labels & true).sum(), true.sum()) for labels in found])


@section("power")
def power(sizes: Sizes) -> list[Row]:
    """Expected: .97 of the plain test's labels if nothing is followed, .9 of the knowing one's."""
    rows = []
    for follows in ((), ("words",)):
        setting = Setting(follows=follows, topics=0.5)
        cases = [(setting, seed) for seed in range(sizes.draws)]
        found = np.stack(list(sizes.map(_power, cases))).sum(axis=0)
        within, plain, knowing = found
        rows.append({
            "neurons follow": ", ".join([*follows, "a topic"]),
            "labels": within[0] / sizes.draws,
            "plain test": plain[0] / sizes.draws,
            "of the plain test's": within[0] / plain[0],
            "planted found": within[1] / within[2],
            "by the test that knows": knowing[1] / knowing[2],
            "of that": within[1] / knowing[1],
        })  # fmt: skip
    return rows


# discoveries


def _discoveries(case: tuple[Setting, int]) -> np.ndarray:
    setting, seed = case
    rng = np.random.default_rng([seed, *b"discoveries"])
    world, neurons = World.draw(setting, rng), Neurons.draw(setting, rng)
    sets = neurons.sets(world, setting.percent, rng)
    false = neurons.topic[:, None] != np.arange(setting.descriptors)
    q = [false_discovery_rates(test(world, sets)) for test in (p_within, p_plain)]
    return np.array([
        [(of <= rate)[false].sum() / max(1, (of <= rate).sum()) for rate in (0.01, 0.05, 0.1)]
        for of in q
    ])  # fmt: skip


@section("discoveries")
def discoveries(sizes: Sizes) -> list[Row]:
    """Expected: at most the nominal rate in every setting."""
    rows = []
    for topics in (0.0, 0.5):
        for follows, shared in (((), 0.0), (("words",), 0.0), (("words",), 0.3),
                                (("words", "category"), 0.0)):  # fmt: skip
            matched = follows or ("words",)
            setting = Setting(follows=follows, matched=matched, topics=topics, shared=shared)
            cases = [(setting, seed) for seed in range(sizes.draws)]
            every = np.stack(list(sizes.map(_discoveries, cases)))
            within, plain = every.mean(axis=0)
            error = every[:, 0].std(axis=0) / np.sqrt(len(every))
            rows.append({
                "neurons follow": ", ".join([*follows, *["a topic"] * (topics > 0)]) or "nothing",
                "r": shared,
                **{f"at {rate}": within[i] for i, rate in enumerate((0.01, 0.05, 0.1))},
                "error at 0.1": error[2],
                "plain test at 0.01": plain[0],
            })  # fmt: skip
    return rows


# decoys


def _decoys(case: tuple[str, tuple[str, ...], int]) -> np.ndarray:
    name, matched, seed = case
    rng = np.random.default_rng([seed, *b"decoys"])
    world = World.draw(Setting(follows=COVARIATES, matched=matched), rng)
    size = len(world.answers) // 20
    if name == "length, noisy":
        activation = np.log(world.covariates["words"]) + rng.normal(0, 0.3, len(world.answers))
    elif name == "shortness":
        activation = -world.covariates["words"]
    elif name == "category":
        activation = (world.covariates["category"] == "0").astype(float)
    else:
        activation = world.covariates["words" if name == "length" else name]
    activation = activation + rng.normal(0, 1e-3, len(world.answers))  # ties by lot
    sets = np.argsort(-activation)[None, :size]
    p, plain = p_within(world, sets), p_plain(world, sets)
    return np.array([labelled(p).any(), labelled(plain).any(), np.mean(p <= 0.05)])


@section("decoys")
def decoys(sizes: Sizes) -> list[Row]:
    """Expected: any label in at most 5 of 100 draws; q is over the descriptors of one neuron."""
    rows = []
    for name in ("length", "shortness", "length, noisy", *COVARIATES[1:]):
        # Descriptors follow all covariates here, so that what a decoy does not follow is harmless.
        matched = ("words",) if "le" in name or "short" in name else ("words", name)
        cases = [(name, matched, seed) for seed in range(sizes.draws)]
        within, plain, small = np.stack(list(sizes.map(_decoys, cases))).mean(axis=0)
        rows.append({
            "follows": name,
            "matched on": ", ".join(matched),
            "draws with a label": within,
            "P(p<=.05)": small,
            "plain test: draws": plain,
        })  # fmt: skip
    return rows


# exact


def _exact(case: tuple[int, int, bool]) -> np.ndarray:
    """p of a neuron's descriptors, by the test and by draws: float64 [2, descriptors]."""
    seed, samples, weighted = case
    rng = np.random.default_rng([seed, *b"exact"])
    setting = Setting(neurons=1, topics=0.7)
    world = World.draw(setting, rng)
    sets = Neurons.draw(setting, rng).sets(world, setting.percent, rng)
    of, sizes = world.strata.of, world.strata.sizes
    drawn = np.bincount(of[sets[0]], minlength=len(sizes))
    own = world.answers[sets[0]].sum(axis=0, dtype=int)
    weights = (drawn / sizes)[of]
    places = np.arange(len(of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    taken, reached = places < np.repeat(drawn, sizes), np.zeros(len(own))
    for _ in range(samples):
        if weighted:  # Efraimidis & Spirakis 2006; a weight of 0 comes last
            keys = rng.standard_exponential(len(of)) / np.maximum(weights, 1e-12)
            rows = np.argpartition(keys, sets.shape[1])[: sets.shape[1]]
        else:
            rows = np.argsort(rng.random(len(of), dtype=np.float32) + of)[taken]
        yes = world.answers[rows].sum(axis=0, dtype=int)
        reached += (yes > own) + 0.5 * (yes == own)
    return np.stack([p_within(world, sets)[0], reached / samples])


@section("exact")
def exact(sizes: Sizes) -> list[Row]:
    """Expected: rank correlation of .99, no p above 1e-4 off by more than 1.5 and its error."""
    from scipy.stats import spearmanr

    rows = []
    for weighted in (False, True):
        cases = [(seed, sizes.samples, weighted) for seed in range(15)]
        p, drawn = np.concatenate(list(sizes.map(_exact, cases)), axis=1)
        seen = (p > 1e-4) & (drawn > 0)
        off = np.abs(np.log(p[seen] / drawn[seen]))
        error = np.sqrt((1 - drawn[seen]) / (drawn[seen] * sizes.samples))
        often = p[seen] * sizes.samples > 100
        rows.append({
            "sets": "weighted by stratum" if weighted else "as many of each stratum",
            "pairs": len(p),
            "draws": sizes.samples,
            "rank correlation": float(spearmanr(p, drawn).statistic),
            "pairs above 1e-4": int(seen.sum()),
            "most off": float(np.exp(off.max())),
            "in standard errors": float((off / error).max()),
            "most off, above 100 draws": float(np.exp(off[often].max(initial=0.0))),
            "median off": float(np.exp(np.median(off))),
        })  # fmt: skip
    return rows


# scores

ENRICHED = Rule("enrichment", "sentences", RATE)
COMPOSED = Rule("composition", "occurrences", 0.12)


def compared(setting: Setting, rule: Rule, same: bool, seed: int) -> Comparison:
    """Labels of two halves; or by answers of which 4% are wrong and by the truth."""
    rng = np.random.default_rng([seed, *b"scores"])
    neurons = Neurons.draw(setting, rng)
    every, sides = np.ones(setting.sentences, dtype=bool), []
    for _ in range(1 if same else 2):
        world = World.draw(setting, rng)
        sets = neurons.sets(world, setting.percent, rng)
        sides.append(Side(sets, world.answers, every, rule, world.strata.of))
    if same:
        wrong = rng.random(sides[0].answers.shape) < 0.04
        said = replace(sides[0], answers=(sides[0].answers ^ wrong).astype(np.int8))
        return Comparison(said, sides[0], same=True)
    return Comparison(*sides, same=False)


def cut(rule: Rule) -> Cuts:
    """The shipped cut."""
    return Cuts((rule.bound(rule.cut),), 3, 3)


def _scored(case: tuple[Setting, Rule, bool, int, int]) -> np.ndarray:
    """Value, low, high, corrected, p, defined: float64 [6, scores]."""
    setting, rule, same, nulls, seed = case
    comparison = compared(setting, rule, same, seed)
    found = scores(comparison, cut(rule), permutations=nulls, seed=seed)
    return np.stack([found.value, found.low, found.high, found.corrected(), found.p, found.defined])


def _valued(case: tuple[Setting, Rule, bool, int]) -> np.ndarray:
    comparison = compared(*case)
    cuts = cut(case[1])
    return rate(comparison.first.labels(cuts), comparison.second.labels(cuts)).means


@section("scores")
def of_scores(sizes: Sizes) -> list[Row]:
    """Expected: noise: corrected 0, p uniform; planted: p < .05; both: coverage .93 to .97."""
    rows = []
    for rule in (ENRICHED, COMPOSED):
        for topics in (0.0, 0.6):
            for same in (False, True):
                setting = Setting(sentences=500, descriptors=18, percent=7.0, topics=topics)
                cases = [(setting, rule, same, sizes.nulls, seed) for seed in range(sizes.datasets)]
                found = np.stack(list(sizes.map(_scored, cases)))
                more = [(setting, rule, same, 10_000 + s) for s in range(2 * sizes.datasets)]
                values = np.concatenate([found[:, 0], np.stack(list(sizes.map(_valued, more)))])
                rows += _rows_of_scores(rule, topics, same, found, values)
    return rows


def _rows_of_scores(
    rule: Rule, topics: float, same: bool, found: np.ndarray, values: np.ndarray
) -> Iterator[Row]:
    _, low, high, corrected, p, defined = np.moveaxis(found, 1, 0)
    for place, (name, at) in enumerate(cut(rule).scores):
        truth = mean(values[:, place])
        known = ~np.isnan(low[:, place])
        inside = (low[:, place] <= truth) & (truth <= high[:, place])
        of_p = p[:, place][~np.isnan(p[:, place])]
        yield {
            "rule": rule.name,
            "neurons": "planted" if topics else "noise",
            "against": "truth" if same else "halves",
            "score": name if name in BY_THRESHOLD else f"{name[:-1]}{at}",
            "mean": truth,
            "corrected": mean(corrected[:, place]),
            "defined": float(defined[:, place].mean()),
            "intervals": float(known.mean()),
            "coverage": float(inside[known].mean()) if known.any() else np.nan,
            "sd": float(np.nanstd(values[:, place])) if known.any() else np.nan,
            "half width / 1.96": mean((high - low)[:, place] / 3.92),
            "P(p<=.05)": float((of_p <= 0.05).mean()) if len(of_p) else np.nan,
            "mean p": mean(of_p),
        }


def mean(values: np.ndarray) -> float:
    """Over the defined values."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help="sections; default all")] = None,
    quick: Annotated[bool, typer.Option(help="a few draws: whether it runs")] = False,
    draws: Annotated[int | None, typer.Option(min=2, help="of each setting")] = None,
    datasets: Annotated[int | None, typer.Option(min=2, help="for scores")] = None,
    samples: Annotated[int | None, typer.Option(min=100, help="draws of exact")] = None,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Run sections and print their tables."""
    unknown = set(names or ()) - set(SECTIONS)
    if unknown:
        raise typer.BadParameter(f"no section {sorted(unknown)[0]}: {', '.join(SECTIONS)}")
    sizes = QUICK if quick else FULL
    sizes = replace(sizes, draws=draws or sizes.draws, datasets=datasets or sizes.datasets)
    sizes = replace(sizes, samples=samples or sizes.samples)
    tables = {}
    with ProcessPoolExecutor(workers, initializer=_alone) as pool:
        for name in names or SECTIONS:
            start = time.perf_counter()
            tables[name] = SECTIONS[name](replace(sizes, map=pool.map))
            show(name, SECTIONS[name].__doc__ or "", tables[name], time.perf_counter() - start)
            if json_file:
                made = {"system": platform.platform(), "cores": os.cpu_count()}
                made["versions"] = versions(["numpy", "scipy"])
                write_json(json_file, {"made": made, "sizes": repr(sizes), "sections": tables})


def _alone() -> None:
    """A process works on one dataset at a time, in one thread."""
    from descry.evaluation import null_models

    intervals.cores = null_models.cores = lambda: 1


def show(name: str, expected: str, rows: list[Row], seconds: float) -> None:
    """Print a section's table."""
    table = Table(title=f"{name} ({seconds:.0f} s)", caption=expected.strip())
    for column in dict.fromkeys(key for row in rows for key in row):
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (f"{x:.4g}" if isinstance(x, float) else str(x) for x in row.values())
        table.add_row(*cells)
    Console(width=200).print(table)


if __name__ == "__main__":
    app()
