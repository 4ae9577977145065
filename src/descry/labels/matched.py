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
_LEVEL = 8  # numbers by which pairs may differ in how far they go
_LISTED = 2**20  # combinations of counts that are listed rather than sorted
_CELLS = 2**14  # numbers that are worked on at a time: they stay near the core


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
    least: float = 1.0,
) -> Matched:
    """Test each neuron's set against the sentences of a split, within strata.

    Args:
        exemplars: of some neurons after the others, int [neurons, size]: rows of sentences, -1
            behind the end of a smaller set.
        base: bool [sentences], those that represent the split.
        within: whether exemplars are among those; else they stand beside them (see `matched_p`).
        least: of p, above which it need not be known (see `matched_p`): q that are at most this
            are right nevertheless.
    """
    number = len(strata.names)
    marked, whole = counter.base_by_stratum(base, strata.of, number)
    step = max(1, _COUNTS // max(1, marked.size))
    parts, expected = [np.zeros((0, marked.shape[1]))], [np.zeros((0, marked.shape[1]))]
    for sets in exemplars:
        for start in range(0, len(sets), step):
            found, drawn = counter.by_stratum(sets[start : start + step], strata.of, number)
            parts.append(matched_p(found, drawn, marked, whole, within=within, least=least))
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
    least: float = 1.0,
) -> np.ndarray:
    """Test every pair of neuron and descriptor: float64 [neurons, descriptors].

    NaN where no exemplar has an answer.

    Args:
        found: exemplars with Yes, int [neurons, strata, descriptors].
        drawn: as above, exemplars with an answer.
        marked: sentences with Yes that represent the split, int [strata, descriptors].
        whole: as above, sentences with an answer.
        within: whether exemplars are among those sentences; else they stand beside them, and the
            two are pooled.
        least: of p: pairs that are surely above it have 1 instead, where exemplars are within.
    """
    total = found.sum(axis=1)
    far = _far(drawn, marked, whole, total)
    p = np.ones(total.shape)
    if not within:
        marked, whole = marked + found, whole + drawn
    elif least < 1:
        far[_surely_above(least, total, drawn, marked, whole)] = -1
    flat = p.ravel()
    for pairs, chance in _chances(drawn, marked, whole, far):
        own = total.ravel()[pairs]
        number = np.arange(len(chance))[:, None]
        reached = (number >= own) & (number <= far.ravel()[pairs])
        # Of positive parts: small ones keep digits. Added in order, so that no last digit depends
        # on which pairs are worked on together.
        tail = np.zeros(len(own))
        for part in np.where(reached, chance, 0.0):
            tail += part
        flat[pairs] = np.minimum(tail - chance[own, np.arange(len(own))] / 2, 1.0)
    p[drawn.sum(axis=1) == 0] = np.nan
    return p


def matched_tails(
    drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, far: int | None = None
) -> np.ndarray:
    """The mid-p of every number of Yes: float64 [neurons, descriptors, far + 1].

    What `matched_p` gives for a pair with that many Yes, if exemplars are among the sentences.

    Args:
        drawn: exemplars with an answer, int [neurons, strata, descriptors].
        marked: sentences with Yes that represent the split, int [strata, descriptors].
        whole: as above, sentences with an answer.
        far: the largest number; if None, one whose mid-p is below 1e-15 in every pair, or the size
            of the largest set.
    """
    needed = _far(drawn, marked, whole, np.zeros((drawn.shape[0], drawn.shape[2]), dtype=int))
    if far is None:
        far = int(needed.max(initial=0))
    tails = np.zeros((*needed.shape, far + 1))
    flat = tails.reshape(-1, far + 1)
    for pairs, chance in _chances(drawn, marked, whole, np.maximum(needed, far)):
        tail = np.minimum(np.cumsum(chance[::-1], axis=0)[::-1] - chance / 2, 1.0)[: far + 1]
        flat[pairs, : len(tail)] = tail.T
    tails[drawn.sum(axis=1) == 0] = np.nan
    return tails


def _surely_above(
    least: float, total: np.ndarray, drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray
) -> np.ndarray:
    """Pairs whose mid-p is above `least` by a bound of theory: bool [neurons, descriptors].

    A sum of hypergeometric numbers is one of independent flags. So half of its chance is at the
    floor of its mean or above it (Jogdeo & Samuels 1968), and it differs from the normal
    distribution by at most .56 over its deviation (Shevtsova 2010).
    """
    from scipy.special import ndtr

    rate = ratio(marked, np.maximum(whole, 1))
    rest = (whole - drawn) / np.maximum(whole - 1, 1)
    mean = (drawn * rate).sum(axis=1)
    deviation = np.sqrt(np.maximum((drawn * (rate * (1 - rate)) * rest).sum(axis=1), 1e-9))
    from_total, beyond = (ndtr((mean - number) / deviation) for number in (total - 1, total))
    normal = (from_total + beyond) / 2 - 0.56 / deviation
    # Well above: what is left out of the reckoning here and there is some 1e-15.
    return np.asarray((normal > least + 1e-6) | ((total <= mean - 1e-6) & (least < 0.24)))


def _far(drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Up to which number the chances of a pair are summed: int [neurons, descriptors].

    All beyond are some e^-37 of those from `total` on. A sum of hypergeometric numbers is one of
    independent flags, whose chances fall beyond their mean at least as fast as Poisson's: by e^d
    from x to y, if d = y log(y / mean) - y - (x log(x / mean) - x).
    """
    mean = np.maximum((drawn * ratio(marked, np.maximum(whole, 1))).sum(axis=1), 1e-9)
    first = np.maximum(total, mean)
    aim = first * (np.log(first / mean) - 1) + 37
    far = first + np.sqrt(74 * mean) + 37  # right of it: Newton's steps stay there
    for _ in range(4):
        far -= (far * (np.log(far / mean) - 1) - aim) / np.log(far / mean)
    return np.asarray(np.minimum(drawn.sum(axis=1), np.ceil(far).astype(int)))


def _chances(
    drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, far: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """P(X = x) of the sum over strata, some pairs of neuron and descriptor at a time.

    Args:
        marked, whole: int [strata, descriptors], or [neurons, strata, descriptors].
        far: the largest x of each pair, int [neurons, descriptors]; below 0 for those left out.

    Yields:
        the pairs, as places in a raveled [neurons, descriptors], and float64 [x, pairs].
    """
    strata = drawn.shape[1]
    if not drawn.size or far.max() < 0:
        return
    most = int(far.max())
    tables = [_Table(drawn[:, s], marked[..., s, :], whole[..., s, :], most) for s in range(strata)]
    # Pairs of a descriptor come together, of these such as go about as far, and of these neurons of
    # similar strata: fewer numbers are possible in each stratum then.
    place = drawn.sum(axis=2) @ np.arange(strata) / np.maximum(drawn.sum(axis=(1, 2)), 1)
    descriptor = np.broadcast_to(np.arange(drawn.shape[2]), far.shape)
    keys = np.repeat(place, drawn.shape[2]), far.ravel() // _LEVEL, descriptor.ravel()
    order = np.lexsort(keys)[::-1]
    order = order[far.ravel()[order] >= 0]
    while len(order):
        most = int(far.ravel()[order[0]]) | (_LEVEL - 1)
        pairs, order = np.split(order, [max(1, _CELLS // (most + 1))])
        most = int(far.ravel()[pairs].max())
        chance, before, part = np.zeros((3, most + 1, len(pairs)))
        chance[0] = 1.0
        reach = 0  # the largest number that is possible so far
        for table in tables:
            alone = table.of(pairs)[: most + 1]
            if len(alone) == 1:
                continue
            had, reach = reach + 1, min(most, reach + len(alone) - 1)
            before[:had] = chance[:had]
            chance[:had] *= alone[0]
            for number in range(1, len(alone)):
                rows = min(had, reach + 1 - number)
                np.multiply(before[:rows], alone[number], out=part[:rows])
                chance[number : number + rows] += part[:rows]
        yield pairs, chance


class _Table:
    """Hypergeometric chances within a stratum, of each combination of counts that occurs."""

    def __init__(self, drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, far: int) -> None:
        """Counts are int [neurons, descriptors], or [descriptors]: the same for all neurons."""
        counts = np.stack(np.broadcast_arrays(drawn, marked, whole))
        base = counts.max(axis=(1, 2)).astype(np.int64) + 1
        code = np.ravel_multi_index(tuple(counts), tuple(base)).ravel()
        distinct, place = _distinct(code, int(base.prod()))
        self._place = place.astype(np.int32)
        n, k, of = np.unravel_index(distinct, tuple(base))
        self._most = np.minimum(np.minimum(n, k), far)
        self._chances = _hypergeometric(n, k, of, int(self._most.max()))

    def of(self, pairs: np.ndarray) -> np.ndarray:
        """P(X = x): float64 [x, pairs], up to the largest x that is possible."""
        place = self._place[pairs]
        return np.asarray(self._chances[: self._most[place].max() + 1].take(place, axis=1))


def _distinct(codes: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes that occur, and the place of each code among those; all are below `number`."""
    if number > _LISTED:
        distinct, place = np.unique(codes, return_inverse=True)
        return distinct, place
    occurs = np.zeros(number, dtype=bool)
    occurs[codes] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]


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
    chance = np.where(possible, np.exp(whole_of - log[x] - log[a] - log[b] - log[c]), 0.0)
    chance[0, (n == 0) | (k == 0)] = 1.0  # to the last digit, as if there were no stratum
    return chance


@lru_cache(maxsize=2)
def _log_factorials(size: int) -> np.ndarray:
    """log(i!) for i = 0 ... size."""
    from scipy.special import gammaln

    return np.asarray(gammaln(np.arange(size + 1) + 1.0))
