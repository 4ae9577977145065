"""Enrichment within strata: the exact test of a set of sentences, given how many of each stratum.

With the number of exemplars in each stratum held fixed, and sentences exchangeable within a
stratum, the number of exemplars with a Yes is a sum of independent hypergeometric numbers. Its
distribution is their convolution: the exact conditional test that the Cochran-Mantel-Haenszel
statistic approximates, and what permuting sentences within strata would give in the limit.

p is the mid-p (Lancaster 1961): half of the chance of the observed number, and all of that of
larger ones. Counts of a few exemplars make the plain p too large (of all null p, 3% would be at
most .05, for 4.6% to 5% with mid-p: docs/benchmarks.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from descry.activations.nan_stats import ratio
from descry.labels.assignment import SetCounter
from descry.labels.enrichment import Enrichment, false_discovery_rates
from descry.labels.strata import Strata
from descry.labels.stratum_sums import stratum_sums

_COUNTS = 2**22  # counts of neurons, strata and descriptors that are held at a time: 32 MB


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
    pairs = np.flatnonzero(far.ravel() >= 0)
    for some, sums in stratum_sums(drawn, marked, whole, pairs, far.ravel()[pairs]):
        p.ravel()[some] = sums.mid_p(total.ravel()[some])
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
    reach = np.maximum(needed, far).ravel()
    tails = np.empty((*needed.shape, far + 1))
    for some, sums in stratum_sums(drawn, marked, whole, np.arange(len(reach)), reach):
        tails.reshape(len(reach), -1)[some] = sums.mid_p_of_every(far + 1)
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
