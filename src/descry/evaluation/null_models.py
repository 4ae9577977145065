"""What scores would be by chance, and how sure they are.

A comparison has labels on two sides: labels of the two halves of the data, or labels by an
annotator's answers and by the truth about the same sentences. Its nulls:

- random sets: every neuron gets a random set of sentences in place of its exemplars. The
  paper's consistency (section 5.3) is nearly as high for these: f(c) comes near to base rates.
- permuted descriptors: the answers about a sentence are those about another one.
- shuffled neurons: a neuron's labels are compared with another neuron's.

All exchange sentences within their strata alone, where there are any: what the strata explain is
chance. A draw in which no neuron has a label has reached no value: its scores count as 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from descry.activations.nan_stats import ratio
from descry.evaluation.intervals import interval
from descry.evaluation.metrics import Cuts, Tags, rate
from descry.evaluation.sides import Comparison
from descry.io.prefetch import cores, map_ahead

Null = Literal["random sets", "permuted descriptors", "shuffled neurons"]
NULLS: tuple[Null, ...] = ("random sets", "permuted descriptors", "shuffled neurons")


@dataclass(frozen=True)
class NullScores:
    """A score by chance, over draws; arrays of float64 [scores].

    Attributes:
        mean, low, high: of the draws, and their central 95%.
        p: share of draws (and the value itself) that are at least the value.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Every score of a comparison; arrays of float64 [scores], in the order of `Cuts.scores`.

    Attributes:
        value, deviation, defined: mean, population deviation and number of the defined values over
            neurons (descriptors for `jaccard_by_descriptor`).
        low, high: the 95% interval of the value.
    """

    value: np.ndarray
    deviation: np.ndarray
    defined: np.ndarray
    low: np.ndarray
    high: np.ndarray
    nulls: dict[str, NullScores]

    def as_arrays(self) -> dict[str, np.ndarray]:
        """The same as arrays by their names, which `of_arrays` takes."""
        own = {name: array for name, array in vars(self).items() if name != "nulls"}
        return own | {
            f"{null}: {name}": array
            for null, chance in self.nulls.items()
            for name, array in vars(chance).items()
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Scores":
        """From what `as_arrays` returns."""
        own, nulls = dict[str, np.ndarray](), dict[str, dict[str, np.ndarray]]()
        for name, array in arrays.items():
            null, apart, field = name.partition(": ")
            (nulls.setdefault(null, {}) if apart else own)[field or name] = array
        return cls(**own, nulls={null: NullScores(**of) for null, of in nulls.items()})

    def null(self, other: np.ndarray | None = None) -> np.ndarray:
        """The highest of the nulls' means: float64 [scores], NaN where none is defined.

        Args:
            other: of one more null.
        """
        means = [chance.mean for chance in self.nulls.values()]
        every = np.array(means if other is None else [*means, other])
        highest = np.max(np.nan_to_num(every, nan=-np.inf), axis=0)
        return np.where(np.isfinite(highest), highest, np.nan)

    @property
    def p(self) -> np.ndarray:
        """The highest of the nulls' p: float64 [scores], NaN where none is defined."""
        return np.asarray(np.fmax.reduce([chance.p for chance in self.nulls.values()]))

    def corrected(self, other: np.ndarray | None = None) -> np.ndarray:
        """Chance-corrected: (value - null) / (1 - null), NaN where the null is 1."""
        null = self.null(other)
        return ratio(self.value - null, 1 - null)


def means_of(comparison: Comparison, cuts: Cuts) -> np.ndarray:
    """The scores of a comparison alone: float64 [scores]."""
    return rate(comparison.first.labels(cuts), comparison.second.labels(cuts)).means


def scores(comparison: Comparison, cuts: Cuts, *, permutations: int, seed: int) -> Scores:
    """All scores of a comparison, with their interval and their nulls."""
    tags = comparison.first.labels(cuts), comparison.second.labels(cuts)
    rated = rate(*tags)
    values = [values[~np.isnan(values)] for values in rated.values()]
    low, high = interval(comparison, cuts, tags, rated, seed)
    for side in (comparison.first, comparison.second):
        side.prepare()
    neurons = tags[0].neurons
    by_chance: dict[Null, Callable[[np.random.Generator], np.ndarray]] = {
        "random sets": lambda rng: _random_sets(comparison, cuts, rng),
        "permuted descriptors": lambda rng: _permuted(comparison, cuts, tags[1], rng),
        "shuffled neurons": lambda rng: _shuffled(*tags, rng),
    }
    return Scores(
        value=rated.means,
        deviation=np.array([part.std() if len(part) else np.nan for part in values]),
        defined=np.array([len(part) for part in values]),
        low=low,
        high=high,
        nulls={
            str(name): _chance(rated.means, _draws(draw, permutations, seed, name))
            for name, draw in by_chance.items()
            if name != "shuffled neurons" or neurons > 1  # there is no other
        },
    )


def _shuffled(first: Tags, second: Tags, rng: np.random.Generator) -> np.ndarray:
    return rate(first, second.take(rng.permutation(second.neurons))).means


def _permuted(
    comparison: Comparison, cuts: Cuts, second: Tags, rng: np.random.Generator
) -> np.ndarray:
    one, other = comparison.first, comparison.second
    first = one.permuted(rng.random(len(one.answers)), cuts)
    # The truth of the same sentences stays, and is compared with answers about other sentences.
    if not comparison.same:
        second = other.permuted(rng.random(len(other.answers)), cuts)
    return rate(first, second).means


def _random_sets(comparison: Comparison, cuts: Cuts, rng: np.random.Generator) -> np.ndarray:
    tags: list[Tags] = []
    for side in (comparison.first, comparison.second):
        if not (tags and comparison.same):  # of the same sentences, the sets are the same
            drawn = rng.random(len(side.answers)), rng.random((len(side.exemplars), side.number))
        tags.append(side.random(*drawn, cuts))
    return rate(tags[0], tags[1]).means


def _draws(
    draw: Callable[[np.random.Generator], np.ndarray], number: int, seed: int, name: str
) -> np.ndarray:
    """Draws, each with its own random generator: float64 [draws, scores]."""

    def one(index: int) -> np.ndarray:
        return draw(np.random.default_rng([seed, index, *name.encode()]))

    return np.stack(list(map_ahead(one, range(number), cores())))


def _chance(value: np.ndarray, draws: np.ndarray) -> NullScores:
    """What draws say of a value: one in which a score is undefined has reached nothing, and is 0.

    Otherwise a rule that finds nothing by chance would be compared with the rare draws in which
    it does.
    """
    draws = np.nan_to_num(draws)
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    # A draw differs from the value in the last digits only where it is the same thing summed again.
    reached = (draws >= value - 1e-12).sum(axis=0)
    p = (1 + reached) / (1 + len(draws))
    known = ~np.isnan(value)
    found = draws.mean(axis=0), low, high, p
    return NullScores(*(np.where(known, part, np.nan) for part in found))
