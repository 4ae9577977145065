"""Words that are over-represented at a neuron's positions, among words as frequent.

A neuron that peaks at rare words in general does not peak at each of them in particular. So a word
is compared with words about as frequent: given how many of the neuron's positions fall on words of
a stratum of frequency, the number on one word is hypergeometric if positions are drawn at random.
p is the mid-p, as in `matched.py`; q is over all pairs of a neuron and a word that is tried.
"""

from dataclasses import dataclass

import numpy as np

from descry.labels.strata import LEAST

NO_WORD = -1


@dataclass(frozen=True)
class Pairs:
    """Pairs of a neuron and a word that it has a position at; arrays of one length.

    Attributes:
        neuron, word: int64, their numbers.
        count: int64, the neuron's positions at the word.
        expected: float64, how many there would be at random.
        p, q: float64.
    """

    neuron: np.ndarray
    word: np.ndarray
    count: np.ndarray
    expected: np.ndarray
    p: np.ndarray
    q: np.ndarray


def frequency_strata(occurrences: np.ndarray) -> np.ndarray:
    """Words by how often they occur, int64 [words]: the stratum of each, int32 [words].

    A stratum is a power of two, the most frequent words first; one with fewer than `LEAST` words
    goes together with the next.
    """
    power = np.frexp(occurrences.astype(np.float64))[1]
    of = np.zeros(len(occurrences), dtype=np.int32)
    number, held = 0, 0
    for exponent in range(int(power.max(initial=0)), -1, -1):
        members = power == exponent
        of[members] = number
        held += int(members.sum())
        if held >= LEAST:
            number, held = number + 1, 0
    if held and number:  # the rarest are too few: with those before them
        of[of == number] = number - 1
    return of


def over_represented(words: np.ndarray, occurrences: np.ndarray, least: int) -> Pairs:
    """Test every pair of neuron and word, one-sided.

    Args:
        words: int [neurons, positions], the word of each, `NO_WORD` where there is none.
        occurrences: int64 [words], in the sentences that the positions are drawn from.
        least: occurrences, below which a word is not tried.
    """
    from scipy.stats import hypergeom

    strata = frequency_strata(occurrences)
    number = int(strata.max(initial=0)) + 1
    neuron, place = np.nonzero(words != NO_WORD)
    found = words[neuron, place]
    drawn = np.bincount(neuron * number + strata[found], minlength=len(words) * number)
    pairs, count = np.unique(neuron * len(occurrences) + found, return_counts=True)
    neuron, word = np.divmod(pairs, len(occurrences))
    tried = occurrences[word] >= least
    neuron, word, count = neuron[tried], word[tried], count[tried]
    whole = np.bincount(strata, weights=occurrences, minlength=number).astype(np.int64)
    of = whole[strata[word]], occurrences[word], drawn[neuron * number + strata[word]]
    p = hypergeom.sf(count, *of) + hypergeom.pmf(count, *of) / 2
    tests = len(words) * int((occurrences >= least).sum())
    expected = of[2] * of[1] / of[0]
    return Pairs(neuron, word, count, expected, p, discovery_rates(p, tests))


def discovery_rates(p: np.ndarray, tests: int) -> np.ndarray:
    """Benjamini and Hochberg's q if all further tests, up to a number, have p = 1."""
    order = np.argsort(p, kind="stable")
    raw = p[order] * tests / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return q
