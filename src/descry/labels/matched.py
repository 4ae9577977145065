"""Enrichment within strata: the exact test of a set of sentences, given how many of each stratum.

With the number of exemplars in each stratum held fixed, and sentences exchangeable within a
stratum, the number of exemplars with a Yes is a sum of independent hypergeometric numbers. Its
distribution is their convolution: the exact conditional test that the Cochran-Mantel-Haenszel
statistic approximates, and what permuting sentences within strata would give in the limit.

p is the mid-p (Lancaster 1961): half of the chance of the observed number, and all of that of
larger ones. Counts of a few exemplars make the plain p too large (of all null p, 3% would be at
most .05, for 4.6% to 5% with mid-p: docs/benchmarks.md).
"""

from functools import lru_cache

import numpy as np

from descry.labels.assignment import SetCounter
from descry.labels.enrichment import Enrichment, false_discovery_rates
from descry.labels.strata import Strata

_CELLS = 2**21  # numbers that are held at a time: some 16 MB


def matched_enrichment(counter: SetCounter, sets: np.ndarray, strata: Strata) -> Enrichment:
    """Test each neuron's set against all sentences, within strata.

    Args:
        sets: int [neurons, size], rows of sentences, -1 behind the end of a smaller set.
    """
    tallies = []
    for stratum in range(len(strata.names)):
        inside = strata.of == stratum
        rows = np.where((sets >= 0) & inside[sets], sets, -1)
        tallies.append(counter.tally([rows], inside))
    p = matched_p(
        np.stack([tally.count for tally in tallies], axis=1),
        np.stack([tally.answered for tally in tallies], axis=1),
        np.stack([tally.base_count for tally in tallies]),
        np.stack([tally.base_answered for tally in tallies]),
    )
    return Enrichment(p, false_discovery_rates(p))


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
    if not p.size:
        return p
    far = _far(found, drawn, marked, whole)
    step = max(1, _CELLS // (descriptors * (far + 1)))
    for start in range(0, neurons, step):
        block = slice(start, start + step)
        yes, answered = found[block], drawn[block]
        pool = (marked, whole) if within else (marked + yes, whole + answered)
        of_split = (np.broadcast_to(counts, yes.shape) for counts in pool)
        p[block] = _mid_p(yes, answered, *of_split, far=far)
    return p


def _far(found: np.ndarray, drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray) -> int:
    """Up to which number chances are summed: all beyond are below 1e-20 of the tail."""
    size = int(drawn.sum(axis=1).max(initial=0))
    mean = (drawn * (marked / np.maximum(whole, 1))).sum(axis=1)
    most = max(float((mean + 10 * np.sqrt(mean)).max(initial=0)), found.sum(axis=1).max(initial=0))
    return min(size, int(most) + 64)


def _mid_p(
    found: np.ndarray, drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, *, far: int
) -> np.ndarray:
    neurons, strata, descriptors = found.shape
    chance = np.zeros((neurons, descriptors, far + 1))
    chance[:, :, 0] = 1.0
    reach = 0  # the largest number that is possible so far
    for stratum in range(strata):
        of = drawn[:, stratum], marked[:, stratum], whole[:, stratum]
        most = min(far, int(np.minimum(of[0], of[1]).max()))
        if most == 0:
            continue
        alone = _hypergeometric(*of, most)
        before = chance[:, :, : reach + 1].copy()
        reach = min(far, reach + most)
        chance[:, :, : before.shape[2]] *= alone[:, :, :1]
        for number in range(1, most + 1):
            new = chance[:, :, number : reach + 1]
            new[:, :, : before.shape[2]] += before[:, :, : new.shape[2]] * alone[:, :, number, None]
    total = found.sum(axis=1)[:, :, None]
    reached = np.arange(far + 1) >= total
    tail = np.sum(chance, axis=2, where=reached)  # from positive parts: small tails keep digits
    own = np.take_along_axis(chance, total, axis=2)[:, :, 0]
    p = np.minimum(tail - own / 2, 1.0)
    p[drawn.sum(axis=1) == 0] = np.nan
    return np.asarray(p)


def _hypergeometric(
    drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, most: int
) -> np.ndarray:
    """P(X = x) for x = 0 ... most: float64 [neurons, descriptors, most + 1]."""
    n, k, of = (counts[:, :, None].astype(np.int64) for counts in (drawn, marked, whole))
    x = np.arange(most + 1)
    log = _log_factorials(1 << int(whole.max() + most).bit_length())
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
