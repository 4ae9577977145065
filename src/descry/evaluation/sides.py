"""What the labels of one side of a comparison are made of, and what others would be made of."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from descry.activations.nan_stats import ratio
from descry.annotators.bitset import Answers
from descry.compiled import compiled
from descry.evaluation.metrics import Cuts, Tags
from descry.labels.assignment import ranks, shares
from descry.labels.counting import PackedFlags
from descry.labels.matched import matched_p, matched_tails
from descry.labels.rules import Rule, above_base
from descry.labels.shuffles import Shuffles

_NEAR = 0.1  # p: a pair above it gets no label if a few sentences are left out
_SPARE = 3  # descriptors behind a neuron's highest that may come to be among them
_BLOCK = 4096  # neurons whose chances are held in double precision at a time
_ROUNDED = 1e-3  # of an order in single precision: well above its last digit
_DIGITS = 9  # of -log10 p: what differs behind them is equal, and was summed in another order


@dataclass(frozen=True)
class Side:
    """What one side's labels are made of.

    Attributes:
        exemplars: int [neurons, size], rows of `answers`, -1 behind the end of a smaller set.
        answers: int8 [sentences, descriptors] 1 Yes, 0 No, -1 none; of the sentences asked about.
        sampled: bool [sentences], those that represent the split.
        rule: by which there are labels.
        strata: int [sentences], the stratum of each; None if there is one.
    """

    exemplars: np.ndarray
    answers: np.ndarray
    sampled: np.ndarray
    rule: Rule
    strata: np.ndarray | None = None

    @cached_property
    def _of(self) -> np.ndarray:
        """The stratum of each sentence."""
        return np.zeros(len(self.answers), np.intp) if self.strata is None else self.strata

    @property
    def number(self) -> int:
        """How many strata there are."""
        return int(self._of.max(initial=0)) + 1

    def labels(self, cuts: Cuts) -> Tags:
        """The labels at every cut."""
        return self._tagged(self._counts, self._p, cuts)

    def without(self, left_out: np.ndarray, cuts: Cuts) -> Tags:
        """The labels without some sentences, bool [sentences], in the sets and beside them.

        A pair that is far from any label keeps the p that it has with all sentences.
        """
        of = self._counted(~left_out, self.sampled)
        p = self._p
        if self.rule.name == "enrichment":
            near = (p <= _NEAR) | (ranks(-p) < _SPARE + max(cuts.max_k, cuts.truth_top))
            p = np.where(near, self._tested(of, *np.nonzero(near)), p)
        return self._tagged(of, p, cuts)

    def permuted(self, keys: np.ndarray, cuts: Cuts) -> Tags:
        """The labels where answers are shuffled within strata (`Shuffles.permuted`)."""
        return self._drawn(self._shuffles.permuted(keys), cuts)

    def random(self, keys: np.ndarray, starts: np.ndarray, cuts: Cuts) -> Tags:
        """The labels of random sets with as many sentences of each stratum (`Shuffles.random`)."""
        return self._drawn(self._shuffles.random(keys, starts), cuts)

    def prepare(self) -> None:
        """Make what all draws share, before several threads would each make it."""
        self._shuffles  # noqa: B018
        if self.rule.name == "enrichment":
            self._orders  # noqa: B018

    @cached_property
    def _members(self) -> np.ndarray:
        """The exemplars stratum by stratum, which are counted faster."""
        of = np.append(self._of, self.number)[self.exemplars]
        return np.take_along_axis(self.exemplars, np.argsort(of, axis=1, kind="stable"), axis=1)

    @cached_property
    def _flags(self) -> tuple[PackedFlags, PackedFlags]:
        answers = Answers.of(self.answers)
        return PackedFlags(answers.yes), PackedFlags(answers.answered)

    def _counted(self, kept: np.ndarray, base: np.ndarray) -> "_Counts":
        """Count the kept sentences, and the sentences of the base among them."""
        members = np.where(np.append(kept, False)[self._members], self._members, -1)
        yes, answered = (flags.by_stratum(members, self._of, self.number) for flags in self._flags)
        rows = np.flatnonzero(kept & base)
        of_base = np.zeros((2, self.number, self.answers.shape[1]), dtype=np.int64)
        np.add.at(of_base[0], self._of[rows], self.answers[rows] == 1)
        np.add.at(of_base[1], self._of[rows], self.answers[rows] >= 0)
        return _Counts(yes, answered, *of_base)

    @cached_property
    def _counts(self) -> "_Counts":
        return self._counted(np.ones(len(self.answers), dtype=bool), self.sampled)

    @cached_property
    def _of_draws(self) -> "_Counts":
        """The counts that a draw is compared with: of all sentences that it exchanges."""
        every = np.ones(len(self.answers), dtype=bool)
        return self._counts if self.sampled.all() else self._counted(every, every)

    @cached_property
    def _p(self) -> np.ndarray:
        if self.rule.name == "composition":
            return np.empty(0)
        of, within = self._counts, bool(self.sampled.all())
        return matched_p(of.yes, of.answered, of.base_yes, of.base_answered, within=within)

    def _tested(self, of: "_Counts", n: np.ndarray, d: np.ndarray) -> np.ndarray:
        """p of some pairs of neuron and descriptor: float64 [neurons, descriptors], else NaN."""
        found = np.full(self._p.shape, np.nan)
        own = of.yes[n, :, d, None], of.answered[n, :, d, None]
        base = of.base_yes.T[d][..., None], of.base_answered.T[d][..., None]
        found[n, d] = matched_p(*own, *base, within=bool(self.sampled.all()))[:, 0]
        return found

    @cached_property
    def _shuffles(self) -> Shuffles:
        return Shuffles(self.exemplars, self.answers, self._of)

    @cached_property
    def _orders(self) -> np.ndarray:
        """The order that every number of Yes gives: float32 [neurons, descriptors, numbers]."""
        of, parts = self._of_draws, []
        for start in range(0, len(of.answered), _BLOCK):
            block = slice(start, start + _BLOCK)
            tails = matched_tails(of.answered[block], of.base_yes, of.base_answered)
            numbers, expected = np.arange(tails.shape[2]), of.expected[block, :, None]
            parts.append(_order(tails, numbers, expected).astype(np.float32))
        most = max(part.shape[2] for part in parts)
        parts = [np.pad(x, ((0, 0), (0, 0), (0, most - x.shape[2])), mode="edge") for x in parts]
        return np.concatenate(parts)

    def _drawn(self, yes: np.ndarray, cuts: Cuts) -> Tags:
        if self.rule.name == "composition":
            return cuts.tag(self._composed(yes, self._of_draws))
        found = np.empty(yes.shape, dtype=self._orders.dtype)
        _look_up(self._orders, yes, found)
        return _enriched(found, cuts)

    def _tagged(self, of: "_Counts", p: np.ndarray, cuts: Cuts) -> Tags:
        yes = of.yes.sum(axis=1)
        if self.rule.name == "composition":
            return cuts.tag(self._composed(yes, of))
        return _enriched(_order(p, yes, of.expected), cuts)

    def _composed(self, yes: np.ndarray, of: "_Counts") -> np.ndarray:
        by = self.rule.frequency
        f = shares(yes, of.answered.sum(axis=1), by)
        base = shares(of.base_yes.sum(axis=0)[None], of.base_answered.sum(axis=0)[None], by)
        return above_base(f, f, base)


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
class _Counts:
    """What the test within strata takes.

    Attributes:
        yes, answered: exemplars with Yes, and with an answer: int64 [neurons, strata, descriptors].
        base_yes, base_answered: the same of the sentences of the base, int64 [strata, descriptors].
    """

    yes: np.ndarray
    answered: np.ndarray
    base_yes: np.ndarray
    base_answered: np.ndarray

    @cached_property
    def expected(self) -> np.ndarray:
        """Yes in as many random sentences of each stratum: float64 [neurons, descriptors]."""
        rates = ratio(self.base_yes, self.base_answered)
        found = np.zeros(self.answered[:, 0].shape)
        for stratum, rate in enumerate(rates):
            drawn = self.answered[:, stratum]
            found += (
                drawn * rate
                if self.base_answered[stratum].all()
                else np.where(drawn > 0, drawn * rate, 0.0)
            )
        return found


@compiled
def _look_up(orders: np.ndarray, yes: np.ndarray, found: np.ndarray) -> None:
    """Write the order that each number of Yes gives; numbers behind the last count as the last."""
    neurons, descriptors, numbers = orders.shape
    for neuron in range(neurons):
        for descriptor in range(descriptors):
            number = min(yes[neuron, descriptor], numbers - 1)
            found[neuron, descriptor] = orders[neuron, descriptor, number]


def _order(p: np.ndarray, yes: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """-log10 p; 0 where there are no more Yes than expected; NaN where nothing was tested.

    What to expect is not known (NaN) of a stratum that no sentence stands for.
    """
    found = np.round(-np.log10(np.maximum(p, 1e-300)), _DIGITS)
    return np.where((yes - expected <= 1e-9) & ~np.isnan(p), 0.0, found)


def _enriched(order: np.ndarray, cuts: Cuts) -> Tags:
    """The labels of enrichment: cut by q, the highest told by p.

    Benjamini and Hochberg's q of a pair is at least its p: where p is above the largest cut, q need
    not be known.
    """
    strength = np.zeros(order.shape)
    tested = int(np.count_nonzero(~np.isnan(order)))
    least = min(cuts.thresholds)
    at = np.flatnonzero(order >= least)
    # The q of a pair is its p times the tested pairs over its rank. With the number of candidates
    # for the rank, most pairs are above every cut, which leaves fewer candidates.
    below = math.log10(max(1, tested))
    while len(at):
        near = order.ravel()[at] >= least + below - math.log10(len(at)) - _ROUNDED
        if near.all():
            break
        at = at[near]
    at = at[np.argsort(-order.ravel()[at], kind="stable")]
    rates = order.ravel()[at] + np.log10(np.arange(1, len(at) + 1)) - below
    strength.ravel()[at] = np.maximum.accumulate(rates[::-1])[::-1]
    return cuts.tag(strength, order)
