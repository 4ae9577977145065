"""What scores would be by chance, and how sure they are.

A comparison has labels on two sides: labels of the two halves of the data, or labels by an
annotator's answers and by the truth about the same sentences. Its nulls:

- random sets: every neuron gets a random set of sentences in the place of its exemplars. The
  paper's consistency (section 5.3) is nearly as high for these: f(c) comes near to base rates.
- permuted descriptors: each descriptor's answers are shuffled among the sentences.
- shuffled neurons: a neuron's labels are compared with another neuron's.

The interval is that of a normal distribution around the value, its variance that over resampled
neurons plus that over resampled sentences (Poisson bootstrap). Percentiles of the resamples would
not do: a resample has more noise than the data, and similarities fall with noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from descry.activations.nan_stats import NORMAL_95, means, ratio
from descry.evaluation.metrics import Cuts, Tags, rate, resampled
from descry.io.prefetch import cores, map_ahead
from descry.labels.counting import SparseSets, random_pools
from descry.labels.rules import ExemplarCounts, Rule

Null = Literal["random sets", "permuted descriptors", "shuffled neurons"]
NULLS: tuple[Null, ...] = ("random sets", "permuted descriptors", "shuffled neurons")
_POOL = 1000  # random sets, at least: a few neurons alone would meet too few of them


@dataclass(frozen=True)
class Side:
    """What one side's labels are made of.

    Attributes:
        exemplars: int [neurons, size], rows of `answers`, -1 behind the end of a smaller set.
        answers: int8 [sentences, descriptors] 1 Yes, 0 No, -1 none; of the sentences asked about.
        sampled: bool [sentences], those of them that stand for the split.
        rule: by which there are labels.
    """

    exemplars: np.ndarray
    answers: np.ndarray
    sampled: np.ndarray
    rule: Rule

    @property
    def sizes(self) -> np.ndarray:
        """Of the exemplar sets: int [neurons]."""
        return np.asarray(np.count_nonzero(self.exemplars >= 0, axis=1))

    @cached_property
    def _sets(self) -> SparseSets:
        return SparseSets(self.exemplars, len(self.answers))

    @cached_property
    def _answered(self) -> np.ndarray:
        """Exemplars with an answer: int64 [neurons, descriptors]."""
        return self._sets.sums(self.answers >= 0)

    @property
    def strength(self) -> np.ndarray:
        """How strong each label is: float64 [neurons, descriptors]."""
        return self._strength(self._sets, self.answers)

    def permuted(self, rng: np.random.Generator) -> np.ndarray:
        """Strength of each label where a descriptor's answers are shuffled among the sentences."""
        return self._strength(self._sets, rng.permuted(self.answers, axis=0))

    def drawn(self, members: np.ndarray) -> np.ndarray:
        """Strength of each label of other sets of sentences, int [sets, size]."""
        return self._strength(SparseSets(members, len(self.answers)), self.answers)

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        """Strength of each label where sentences count several times: `weights` int [sentences]."""
        times = weights[:, None]
        yes = self._sets.sums((self.answers == 1) * times)
        answered = yes  # not looked at
        if not self.rule.of_occurrences:
            answered = self._sets.sums((self.answers >= 0) * times)
        if self.rule.name == "enrichment":  # tested as sets of the size that they have
            yes = np.rint(np.nan_to_num(ratio(yes * self._answered, answered))).astype(np.int64)
            answered = self._answered
        base, of_base = self.answers[self.sampled], times[self.sampled]
        base_yes, base_answered = (
            (flags * of_base).sum(axis=0) for flags in (base == 1, base >= 0)
        )
        return self.rule.strength(
            ExemplarCounts(yes, answered, base_yes, base_answered, self._within)
        )

    def _strength(self, sets: SparseSets, answers: np.ndarray) -> np.ndarray:
        yes = sets.sums(answers == 1)
        answered = yes if self.rule.of_occurrences else sets.sums(answers >= 0)
        base = answers[self.sampled]
        base_yes, base_answered = (base == 1).sum(axis=0), (base >= 0).sum(axis=0)
        return self.rule.strength(
            ExemplarCounts(yes, answered, base_yes, base_answered, self._within)
        )

    @property
    def _within(self) -> bool:
        return bool(self.sampled.all())


@dataclass(frozen=True)
class Comparison:
    """Two sides whose labels are compared.

    Attributes:
        first: the predicted ones.
        second: the true ones; of the same neurons and descriptors.
        same: whether both are about the same sentences, of which only the answers differ.
    """

    first: Side
    second: Side
    same: bool


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
    return rate(*_tagged(comparison, cuts)).means


def _tagged(comparison: Comparison, cuts: Cuts) -> tuple[Tags, Tags]:
    return cuts.tag(comparison.first.strength), cuts.tag(comparison.second.strength)


def scores(
    comparison: Comparison, cuts: Cuts, *, permutations: int, bootstraps: int, seed: int
) -> Scores:
    """All scores of a comparison, with their interval and their nulls."""
    first, second = _tagged(comparison, cuts)
    rated = rate(first, second)
    values = [values[~np.isnan(values)] for values in rated.values()]
    value = rated.means
    spread = _deviation(comparison, cuts, (first, second), bootstraps, seed)
    by_chance: dict[Null, Callable[[np.random.Generator], np.ndarray]] = {
        "random sets": _random_sets(comparison, cuts, seed),
        "permuted descriptors": lambda rng: _permuted(comparison, cuts, second, rng),
        "shuffled neurons": lambda rng: _shuffled(first, second, rng),
    }
    nulls = {
        name: _chance(value, _draws(by_chance[name], permutations, seed, name)) for name in NULLS
    }
    return Scores(
        value=value,
        deviation=np.array([part.std() if len(part) else np.nan for part in values]),
        defined=np.array([len(part) for part in values]),
        low=np.clip(value - NORMAL_95 * spread, 0, 1),
        high=np.clip(value + NORMAL_95 * spread, 0, 1),
        nulls={str(name): chance for name, chance in nulls.items()},
    )


def _shuffled(first: Tags, second: Tags, rng: np.random.Generator) -> np.ndarray:
    neurons = first.bits.shape[1]
    found = rate(first, second.take(rng.permutation(neurons))).means
    return found if neurons > 1 else np.full(len(found), np.nan)  # there is no other


def _permuted(
    comparison: Comparison, cuts: Cuts, second: Tags, rng: np.random.Generator
) -> np.ndarray:
    first = cuts.tag(comparison.first.permuted(rng))
    # Of the same sentences, the truth stays: answers that know nothing of them are held against it.
    other = second if comparison.same else cuts.tag(comparison.second.permuted(rng))
    return rate(first, other).means


def _random_sets(
    comparison: Comparison, cuts: Cuts, seed: int
) -> Callable[[np.random.Generator], np.ndarray]:
    """Draws from pools of random sets: a set for every neuron and side, of the size of its own."""
    rng = np.random.default_rng([seed, *b"pool"])
    one = two = _Pool(comparison.first, rng)
    if not comparison.same:
        two = _Pool(comparison.second, rng)
    first = cuts.tag(comparison.first.drawn(one.members))
    second = cuts.tag(comparison.second.drawn(two.members))

    def draw(rng: np.random.Generator) -> np.ndarray:
        chosen = one.draw(rng)
        others = chosen if comparison.same else two.draw(rng)
        return rate(first.take(chosen), second.take(others)).means

    return draw


class _Pool:
    """Random sets of the sizes of a side's own.

    Attributes:
        members: int [sets, size], -1 behind the end of a smaller set.
    """

    def __init__(self, side: Side, rng: np.random.Generator) -> None:
        number = len(side.exemplars)
        pools = list(random_pools(len(side.answers), side.sizes, _POOL, number, rng))
        self.members = np.concatenate([members for _, members in pools])
        self._neurons = [(neurons, len(members)) for neurons, members in pools]
        self._number = number

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A set for every neuron: int [neurons], places in `members`."""
        chosen, start = np.empty(self._number, dtype=np.int64), 0
        for neurons, sets in self._neurons:
            chosen[neurons] = start + rng.integers(sets, size=len(neurons))
            start += sets
        return chosen


def _deviation(
    comparison: Comparison, cuts: Cuts, tags: tuple[Tags, Tags], bootstraps: int, seed: int
) -> np.ndarray:
    """Standard deviation of each score: float64 [scores]."""
    neurons = len(comparison.first.exemplars)
    rng = np.random.default_rng([seed, *b"neurons"])
    weights = rng.multinomial(neurons, np.full(neurons, 1 / neurons), size=bootstraps)
    of_neurons = resampled(*tags, weights.astype(np.float64))

    def draw(rng: np.random.Generator) -> np.ndarray:
        counts = rng.poisson(1.0, len(comparison.first.answers))
        first = cuts.tag(comparison.first.weighted(counts))
        if not comparison.same:
            counts = rng.poisson(1.0, len(comparison.second.answers))
        return rate(first, cuts.tag(comparison.second.weighted(counts))).means

    of_sentences = _draws(draw, bootstraps, seed, "sentences")
    return np.asarray(np.sqrt(_variance(of_neurons) + _variance(of_sentences)))


def _variance(draws: np.ndarray) -> np.ndarray:
    """Over the draws in which a score is defined; NaN where fewer than two are."""
    defined = ~np.isnan(draws)
    number = defined.sum(axis=0)
    squares = np.where(defined, (draws - means(draws, axis=0)) ** 2, 0).sum(axis=0)
    return ratio(squares, np.where(number > 1, number - 1, 0))


def _draws(
    draw: Callable[[np.random.Generator], np.ndarray], number: int, seed: int, name: str
) -> np.ndarray:
    """So many draws, each with a generator of its own: float64 [draws, scores]."""

    def one(index: int) -> np.ndarray:
        return draw(np.random.default_rng([seed, index, *name.encode()]))

    return np.stack(list(map_ahead(one, range(number), cores())))


def _chance(value: np.ndarray, draws: np.ndarray) -> NullScores:
    defined = ~np.isnan(draws)
    number = defined.sum(axis=0)
    low, high = (_percentile(draws, share) for share in (2.5, 97.5))
    # A draw differs from the value in the last digits only where it is the same thing summed anew.
    reached = np.where(defined, draws >= value - 1e-12, False).sum(axis=0)
    p = np.where((number > 0) & ~np.isnan(value), (1 + reached) / (1 + number), np.nan)
    return NullScores(means(draws, axis=0), low, high, p)


def _percentile(draws: np.ndarray, share: float) -> np.ndarray:
    found = np.full(draws.shape[1], np.nan)
    for column in range(draws.shape[1]):
        defined = draws[~np.isnan(draws[:, column]), column]
        if len(defined):
            found[column] = np.percentile(defined, share)
    return found
