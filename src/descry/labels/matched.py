"""Enrichment within strata: the exact test of a set of sentences, given how many of each stratum.

With the number of exemplars in each stratum held fixed, and sentences exchangeable within a
stratum, the number of exemplars with a Yes is a sum of independent hypergeometric numbers. Its
distribution is their convolution: the exact conditional test that the Cochran-Mantel-Haenszel
statistic approximates, and what permuting sentences within strata would give in the limit.

p is the mid-p (Lancaster 1961): half of the chance of the observed number, and all of that of
larger ones. Counts of a few exemplars make the plain p too large (of all null p, 3% would be at
most .05, for 4.6% to 5% with mid-p: docs/benchmarks.md).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from descry.activations.nan_stats import ratio
from descry.labels.assignment import SetCounter
from descry.labels.enrichment import Enrichment, false_discovery_rates
from descry.labels.strata import Strata

_COUNTS = 2**22  # counts of neurons, strata and descriptors that are held at a time: 32 MB
_CELLS = 2**17  # numbers that are worked on at a time: they stay near the core


@dataclass(frozen=True)
class Matched(Enrichment):
    """Enrichment within strata.

    Attributes:
        expected: Yes in as many random sentences of each stratum, float64 [neurons, descriptors].
    """

    expected: np.ndarray

    def keep(self, columns: Sequence[int]) -> "Matched":
        """The tests of some descriptors, and the false discovery rates among those."""
        p = self.p[:, columns]
        return Matched(p, false_discovery_rates(p), self.expected[:, columns])


def matched_enrichment(
    counter: SetCounter,
    exemplars: Iterable[np.ndarray],
    strata: Strata,
    base: np.ndarray,
    *,
    within: bool = True,
) -> Matched:
    """Test each neuron's set against the sentences of a split, within strata.

    Args:
        exemplars: of some neurons after the others, int [neurons, size]: rows of sentences, -1
            behind the end of a smaller set.
        base: bool [sentences], those that stand for the split.
        within: whether exemplars are among those; else they stand beside them (see `matched_p`).
    """
    number = len(strata.names)
    marked, whole = counter.base_by_stratum(base, strata.of, number)
    step = max(1, _COUNTS // max(1, marked.size))
    parts, expected = [np.zeros((0, marked.shape[1]))], [np.zeros((0, marked.shape[1]))]
    for sets in exemplars:
        for start in range(0, len(sets), step):
            found, drawn = counter.by_stratum(sets[start : start + step], strata.of, number)
            parts.append(matched_p(found, drawn, marked, whole, within=within))
            mean = (drawn * ratio(marked, whole)).sum(axis=1, where=drawn > 0)
            expected.append(np.where(np.isnan(parts[-1]), np.nan, mean))
    p = np.concatenate(parts)
    return Matched(p, false_discovery_rates(p), np.concatenate(expected))


def matched_p(
    found: np.ndarray,
    drawn: np.ndarray,
    marked: np.ndarray,
    whole: np.ndarray,
    *,
    within: bool = True,
) -> np.ndarray:
    """Test every pair of neuron and descriptor: float64 [neurons, descriptors].

    NaN where no exemplar has an answer.

    Args:
        found: exemplars with Yes, int [neurons, strata, descriptors].
        drawn: likewise, exemplars with an answer.
        marked: sentences with Yes that stand for the split, int [strata, descriptors].
        whole: likewise, sentences with an answer.
        within: whether exemplars are among those sentences; else they stand beside them, and the
            two are pooled.
    """
    neurons, _, descriptors = found.shape
    p = np.full((neurons, descriptors), np.nan)
    mean = (drawn * ratio(marked, np.maximum(whole, 1))).sum(axis=1)
    far = _far(drawn, mean, int(found.sum(axis=1).max(initial=0)))
    if not within:
        marked, whole = marked + found, whole + drawn
    for block, chance in _chances(drawn, marked, whole, far):
        total = found[block].sum(axis=1)
        reached = np.arange(far + 1)[:, None, None] >= total
        tail = np.sum(chance, axis=0, where=reached)  # of positive parts: small ones keep digits
        own = np.take_along_axis(chance, total[None], axis=0)[0]
        p[block] = np.minimum(tail - own / 2, 1.0)
    p[drawn.sum(axis=1) == 0] = np.nan
    return p


def matched_tails(
    drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, far: int | None = None
) -> np.ndarray:
    """The mid-p of every number of Yes: float64 [neurons, descriptors, far + 1].

    What `matched_p` gives for a pair that has so many Yes, where they are among the sentences.

    Args:
        drawn: exemplars with an answer, int [neurons, strata, descriptors].
        marked: sentences with Yes that stand for the split, int [strata, descriptors].
        whole: likewise, sentences with an answer.
        far: the largest number; if None, one whose mid-p is below 1e-15 in every pair, or the size
            of the largest set.
    """
    mean = (drawn * ratio(marked, np.maximum(whole, 1))).sum(axis=1)
    if far is None:
        far = _far(drawn, mean, 0)
    reach = _far(drawn, mean, far)
    tails = np.zeros((drawn.shape[0], drawn.shape[2], far + 1))
    for block, chance in _chances(drawn, marked, whole, reach):
        tail = np.minimum(np.cumsum(chance[::-1], axis=0)[::-1] - chance / 2, 1.0)
        tails[block, :, : reach + 1] = np.moveaxis(tail[: far + 1], 0, 2)
    tails[drawn.sum(axis=1) == 0] = np.nan
    return tails


def _far(drawn: np.ndarray, mean: np.ndarray, most: int) -> int:
    """Up to which number chances are summed: all beyond are below 1e-20 of the tail of `most`."""
    size = int(drawn.sum(axis=1).max(initial=0))
    reach = float((mean + 10 * np.sqrt(mean)).max(initial=0))
    return min(size, max(int(reach), most) + 64)


def _chances(
    drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, far: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """P(X = x) of the sum over strata, some neurons at a time.

    Args:
        marked, whole: int [strata, descriptors], or [neurons, strata, descriptors].

    Yields:
        the neurons, and float64 [far + 1, neurons, descriptors].
    """
    neurons, strata, descriptors = drawn.shape
    if not drawn.size:
        return
    tables = [_Table(drawn[:, s], marked[..., s, :], whole[..., s, :], far) for s in range(strata)]
    # Neurons of similar strata come together: fewer numbers are possible in each stratum then.
    place = drawn.sum(axis=2) @ np.arange(strata) / np.maximum(drawn.sum(axis=(1, 2)), 1)
    order = np.argsort(place, kind="stable")
    step = max(1, _CELLS // (descriptors * (far + 1)))
    for start in range(0, neurons, step):
        block = order[start : start + step]
        chance = np.zeros((far + 1, len(block), descriptors))
        chance[0] = 1.0
        reach = 0  # the largest number that is possible so far
        for table in tables:
            alone = table.of(block)
            if len(alone) == 1:
                continue
            before = chance[: reach + 1].copy()
            reach = min(far, reach + len(alone) - 1)
            chance[: len(before)] *= alone[0]
            for number in range(1, len(alone)):
                new = chance[number : min(number + len(before), reach + 1)]
                new += before[: len(new)] * alone[number]
        yield block, chance


class _Table:
    """Hypergeometric chances within a stratum, of each combination of counts that occurs."""

    def __init__(self, drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, far: int) -> None:
        """Counts are int [neurons, descriptors], or [descriptors]: the same for all neurons."""
        counts = np.stack(np.broadcast_arrays(drawn, marked, whole))
        base = counts.max(axis=(1, 2)).astype(np.int64) + 1
        code = np.ravel_multi_index(tuple(counts), tuple(base))
        distinct, self._place = np.unique(code, return_inverse=True)
        n, k, of = np.unravel_index(distinct, tuple(base))
        self._most = np.minimum(np.minimum(n, k), far)
        self._chances = _hypergeometric(n, k, of, int(self._most.max()))

    def of(self, neurons: np.ndarray) -> np.ndarray:
        """P(X = x): float64 [x, neurons, descriptors], up to the largest x that is possible."""
        place = self._place[neurons]
        return self._chances[: self._most[place].max() + 1, place]


def _hypergeometric(
    drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, most: int
) -> np.ndarray:
    """P(X = x) for x = 0 ... most: float64 [most + 1, combinations]."""
    n, k, of = drawn, marked, whole
    x = np.arange(most + 1)[:, None]
    log = _log_factorials(1 << int(of.max() + most).bit_length())
    parts = k - x, n - x, of - k - n + x
    possible = np.minimum.reduce(np.broadcast_arrays(*parts)) >= 0
    a, b, c = (np.maximum(part, 0) for part in parts)
    whole_of = log[k] + log[of - k] + log[n] + log[of - n] - log[of]
    return np.where(possible, np.exp(whole_of - log[x] - log[a] - log[b] - log[c]), 0.0)


@lru_cache(maxsize=2)
def _log_factorials(size: int) -> np.ndarray:
    """log(i!) for i = 0 ... size."""
    from scipy.special import gammaln

    return np.asarray(gammaln(np.arange(size + 1) + 1.0))
