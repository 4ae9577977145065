"""Enrichment: descriptors that are over-represented among a neuron's exemplars.

The frequency of a descriptor in a neuron's set is compared with as many sentences drawn at random:
p is the upper tail of the hypergeometric distribution, q the false discovery rate of Benjamini &
Hochberg (1995) over all pairs of neuron and descriptor.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Enrichment:
    """Float64 [neurons, descriptors], NaN where nothing was asked or answered.

    Attributes:
        p: chance of as many Yes or more in a random set of the same size.
        q: the smallest false discovery rate at which the pair is a discovery.
    """

    p: np.ndarray
    q: np.ndarray


def enrichment(
    count: np.ndarray, drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, within: bool
) -> Enrichment:
    """Test every pair of neuron and descriptor.

    Args:
        count: int [neurons, descriptors], Yes in the exemplar set.
        drawn: int [neurons, descriptors], answers in the set; 0 where there are none to test.
        marked: int [descriptors], Yes in the sentences that represent the split.
        whole: int [descriptors], answers in the same sentences.
        within: whether the sets are among those sentences; else they stand beside them, and the two
            are pooled (Fisher's exact test).
    """
    p = np.full(count.shape, np.nan)
    for column in range(count.shape[1]):
        of_split = int(marked[column]), int(whole[column])
        for number in np.unique(drawn[:, column]):
            rows = np.flatnonzero(drawn[:, column] == number)
            if number and of_split[1]:
                found = count[rows, column]
                tails = upper_tails if within else _pooled
                p[rows, column] = tails(*of_split, int(number))[found]
    return Enrichment(p, false_discovery_rates(p))


@lru_cache(maxsize=4096)
def upper_tails(marked: int, whole: int, drawn: int) -> np.ndarray:
    """P(X >= x) for x = 0 ... drawn, of `drawn` sentences out of `whole`, `marked` of them Yes.

    Summed from the far end, so that small tails keep their digits: float64 [drawn + 1].
    """
    from scipy.stats import hypergeom

    chances = hypergeom.pmf(np.arange(drawn + 1), whole, marked, drawn)
    return np.asarray(np.minimum(np.cumsum(chances[::-1])[::-1], 1.0))


@lru_cache(maxsize=4096)
def _pooled(marked: int, whole: int, drawn: int) -> np.ndarray:
    """P(X >= x) of a set that is pooled with the sentences: its own Yes are among the marked."""
    return np.array(
        [upper_tails(marked + count, whole + drawn, drawn)[count] for count in range(drawn + 1)]
    )


def false_discovery_rates(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q over all the tests that are defined: float64 like `p`."""
    from scipy.stats import false_discovery_control

    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def strength(q: np.ndarray) -> np.ndarray:
    """-log10 q, the higher the surer: float64 like `q`, at most 300."""
    return np.asarray(-np.log10(np.maximum(q, 1e-300)))
