"""How the exemplar sets of a pair of neurons differ, and which descriptors go with it.

The sentences that only one of the two sets has are all that differs. A descriptor is gained where
those that came talk about it more often than those that went, among sentences of the same strata:
the exact test of enrichment (labels/matched.py), in which each of these sentences could as well
have been in the other set. Sets of two models that are alike but for noise differ by such
sentences alone, and p is then uniform.
"""

from dataclasses import dataclass

import numpy as np

from descry.activations.nan_stats import ratio
from descry.activations.top_k import NOBODY
from descry.annotators.annotations import Annotations
from descry.labels.assignment import SetCounter
from descry.labels.enrichment import false_discovery_rates
from descry.labels.matched import matched_p
from descry.labels.strata import Strata

_COUNTS = 2**21  # counts of neurons, strata and descriptors held at a time


@dataclass(frozen=True)
class Shared:
    """Exemplars that both neurons of a pair have, float64 [pairs].

    Attributes:
        share: of the first neuron's; NaN where one of the two has no set.
        expected: of two random sets, the mean of the hypergeometric distribution.
        matched: the same of sets with as many sentences of each stratum.
    """

    share: np.ndarray
    expected: np.ndarray
    matched: np.ndarray


def shared(first: np.ndarray, second: np.ndarray, strata: Strata) -> Shared:
    """What sets have in common, beside what random ones would.

    Args:
        first, second: int [pairs, size], rows of the corpus, -1 behind the end of a smaller set.
        strata: of all sentences.
    """
    sizes = [np.count_nonzero(sets != NOBODY, axis=1) for sets in (first, second)]
    both = (sizes[0] > 0) & (sizes[1] > 0)
    by_stratum = strata.count(first) * strata.count(second) / np.maximum(strata.sizes, 1)
    alone = np.count_nonzero(only(first, second) != NOBODY, axis=1)
    found = [
        ratio(sizes[0] - alone, sizes[0]),
        sizes[1] / len(strata.of),
        ratio(by_stratum.sum(axis=1), sizes[0]),
    ]
    return Shared(*(np.where(both, of, np.nan) for of in found))


def only(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The members of each first set that the second has not: int [pairs, size], else -1."""
    pairs = np.arange(len(first), dtype=np.int64)[:, None]
    most = 1 + max(first.max(initial=0), second.max(initial=0))
    taken = (second + pairs * most)[second != NOBODY]
    here = np.isin(first + pairs * most, taken)
    return np.where(here, NOBODY, first)


@dataclass(frozen=True)
class Change:
    """The exemplars that only one of two has, [pairs, descriptors].

    Attributes:
        first, second: int64, how many of those only in the set of the first model, or of the
            second, have the descriptor.
        p: float64, two-sided, NaN where there are none on one side.
        q: over all pairs and descriptors.
    """

    first: np.ndarray
    second: np.ndarray
    p: np.ndarray
    q: np.ndarray


def change(
    first: np.ndarray,
    second: np.ndarray,
    answers: tuple[Annotations, Annotations],
    strata: Strata,
) -> Change:
    """Test every descriptor of every pair.

    Args:
        first, second: as `shared` takes them.
        answers: of each run, with the same descriptors in the same order.
    """
    number, descriptors = len(strata.names), len(answers[0].descriptors)
    counters = [SetCounter(b.bits, b.asked) for b in answers]
    shape = len(first), descriptors
    yes = [np.zeros(shape, dtype=np.int64) for _ in answers]
    p = np.full(shape, np.nan)
    step = max(1, _COUNTS // max(1, number * descriptors))
    for start in range(0, len(first), step):
        block = slice(start, start + step)
        sets = only(first[block], second[block]), only(second[block], first[block])
        counts = [
            counter.by_stratum(own, strata.of, number)
            for counter, own in zip(counters, sets, strict=True)
        ]
        marked, whole = (counts[0][k] + counts[1][k] for k in range(2))
        tails = [matched_p(found, drawn, marked, whole) for found, drawn in counts]
        p[block] = np.minimum(2 * np.minimum(*tails), 1.0)
        for of, (found, _) in zip(yes, counts, strict=True):
            of[block] = found.sum(axis=1)
    return Change(yes[0], yes[1], p, false_discovery_rates(p))
