"""Exemplar sets and B to neuron labels (paper, section 3.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from descry.activations.nan_stats import ratio
from descry.annotators.bitset import Answers
from descry.labels.counting import MatchedDraws, PackedFlags

Frequency = Literal["occurrences", "sentences"]


@dataclass(frozen=True)
class SetCounts:
    """How often each descriptor is in each exemplar set, and in the split as a whole.

    Attributes:
        count: int32 [neurons, descriptors], exemplars that the descriptor applies to.
        answered: int32 [neurons, descriptors], exemplars with an answer; 0 where the set was not
            asked about as a whole.
        asked: bool [neurons], whether it was.
        base_count: int64 [descriptors], of the sentences that represent the split, those that the
            descriptor applies to.
        base_answered: int64 [descriptors], of the same sentences, those with an answer.
    """

    count: np.ndarray
    answered: np.ndarray
    asked: np.ndarray
    base_count: np.ndarray
    base_answered: np.ndarray

    def keep(self, columns: Sequence[int]) -> "SetCounts":
        """The counts of some descriptors."""
        of_sets = self.count[:, columns], self.answered[:, columns], self.asked
        return SetCounts(*of_sets, self.base_count[columns], self.base_answered[columns])

    def f(self, by: Frequency) -> np.ndarray:
        """f(c) of every neuron and descriptor: float64 [neurons, descriptors].

        NaN where the set has nothing to count, or was not asked about as a whole.

        Args:
            by: `occurrences`, the paper's formula: the share of c among all descriptor occurrences
                in the set; `sentences`: the share of the set's answered sentences that c applies
                to.
        """
        found = shares(self.count, self.answered, by)
        found[~self.asked] = np.nan
        return found

    def base(self, by: Frequency) -> np.ndarray:
        """f of the whole split: float64 [descriptors]."""
        found: np.ndarray = shares(self.base_count[None], self.base_answered[None], by)[0]
        return found

    def lift(self, by: Frequency) -> np.ndarray:
        """f over its base rate, [neurons, descriptors]; NaN where the base rate is 0."""
        return ratio(self.f(by), self.base(by))


class SetCounter:
    """Counts exemplar sets, any number of neurons at a time.

    Args:
        answers: B.
        asked: bool [sentences], those that the annotator was asked about.
    """

    def __init__(self, answers: Answers, asked: np.ndarray) -> None:
        self._answers, self._asked = answers, asked
        self._yes, self._answered = PackedFlags(answers.yes), PackedFlags(answers.answered)

    def tally(self, exemplars: Iterable[np.ndarray], base: np.ndarray) -> SetCounts:
        """Count the sets of a split.

        Args:
            exemplars: of some neurons after the others, int [neurons, size]: rows of B.
            base: bool [sentences], those that represent the split.
        """
        parts = [self._of(block) for block in exemplars]
        count, answered, asked = (np.concatenate(part) for part in zip(*parts, strict=True))
        of_split = self._answers.among(base)
        return SetCounts(count, answered, asked, of_split.yes.totals, of_split.answered.totals)

    def by_stratum(
        self, exemplars: np.ndarray, of: np.ndarray, strata: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sets of some neurons, stratum by stratum.

        Args:
            exemplars: int [neurons, size], rows of B, -1 behind the end of a smaller set.
            of: int [sentences], the stratum of each, below `strata`.

        Returns:
            exemplars with Yes, and with an answer: int64 [neurons, strata, descriptors] each, 0
            where the set was not asked about as a whole.
        """
        yes, answered = (
            lines.by_stratum(exemplars, of, strata) for lines in (self._yes, self._answered)
        )
        unasked = ~asked_sets(exemplars, self._asked)
        yes[unasked] = answered[unasked] = 0
        return yes, answered

    def drawn(self, source: MatchedDraws, rng: np.random.Generator) -> list[np.ndarray]:
        """Sentences with Yes, and with an answer, in random sets for all neurons of `source`.

        int64 [neurons, descriptors] each.
        """
        return source.count(rng, [self._yes, self._answered])

    def base_by_stratum(
        self, base: np.ndarray, of: np.ndarray, strata: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sentences of `base` (bool [sentences]) with Yes, and with an answer.

        int64 [strata, descriptors] each.
        """
        found = np.empty((2, strata, len(self._answers.yes)), dtype=np.int64)
        for stratum in range(strata):
            part = self._answers.among(base & (of == stratum))
            found[:, stratum] = part.yes.totals, part.answered.totals
        return found[0], found[1]

    def _of(self, exemplars: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        asked = asked_sets(exemplars, self._asked)
        count, answered = (
            lines.sums(exemplars).astype(np.int32) for lines in (self._yes, self._answered)
        )
        answered[~asked] = 0
        return count, answered, asked


def asked_sets(exemplars: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return which neurons have a set whose sentences were all asked about: bool [neurons]."""
    return np.asarray(np.append(asked, True)[exemplars].all(axis=1) & has_set(exemplars))


def has_set(exemplars: np.ndarray) -> np.ndarray:
    """Return which neurons have an exemplar set: bool [neurons]."""
    return np.asarray((exemplars >= 0).any(axis=1))


def shares(count: np.ndarray, answered: np.ndarray, by: Frequency) -> np.ndarray:
    """Compute f(c) from counts: float64 [sets, descriptors], NaN where nothing was counted."""
    whole = count.sum(axis=1, keepdims=True) if by == "occurrences" else answered
    return ratio(count, whole)


def assign(f: np.ndarray, threshold: float, top_k: int | None) -> np.ndarray:
    """Assign descriptors to neurons: bool [neurons, descriptors].

    A neuron gets the descriptors with f(c) > threshold: the `top_k` most frequent of them (ties:
    the earlier descriptor), or all if `top_k` is None.
    """
    assigned: np.ndarray = np.greater(f, threshold)  # NaN is never greater
    return assigned if top_k is None else assigned & (ranks(f) < top_k)


def ranks(f: np.ndarray) -> np.ndarray:
    """Rank of each descriptor within its neuron: 0 for the most frequent, NaN last."""
    order = np.argsort(np.where(np.isnan(f), np.inf, -f), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(f.shape[1])[None, :], axis=1)
    return rank


def broad_descriptors(
    tally: SetCounts, by: Frequency, threshold: float, share: float
) -> list[tuple[int, float]]:
    """Find descriptors that are too broad: f(c) > threshold on over `share` of all neurons.

    The paper drops three of them by hand (section 4.3). The broadest descriptor is dropped first,
    and f computed again, because one broad descriptor can hide or feign another. Even the last
    descriptor is dropped if it is broad.

    Returns:
        (descriptor, share of neurons), in the order dropped.
    """
    kept = list(range(tally.count.shape[1]))
    dropped: list[tuple[int, float]] = []
    while kept:
        reach = assign(tally.keep(kept).f(by)[tally.asked], threshold, None).mean(axis=0)
        widest = int(np.argmax(reach))
        if reach[widest] <= share:
            break
        dropped.append((kept.pop(widest), float(reach[widest])))
    return dropped


def inverse_map(
    assigned: np.ndarray, p: np.ndarray, neurons: list[str], descriptors: list[str]
) -> dict[str, list[str]]:
    """Return the neurons tagged with each descriptor, the neuron with the lowest p first."""
    order = np.argsort(np.nan_to_num(p, nan=1.0), axis=0, kind="stable")
    return {
        name: [neurons[row] for row in order[:, column] if assigned[row, column]]
        for column, name in enumerate(descriptors)
    }
