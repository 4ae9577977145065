"""Sums of independent hypergeometric numbers, one a stratum: their exact chances, pair by pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_LISTED = 2**20  # combinations of counts that are listed rather than sorted
_CHANCES = 2**22  # of pairs that are held at a time, at most; of 8 bytes
_BLOCK = 2**18  # chances that are computed at a time, with some ten numbers beside each


@dataclass(frozen=True)
class StratumSums:
    """The sums of some pairs of neuron and descriptor.

    Attributes:
        chances: P(X = x) of each combination of counts that occurs in a stratum, float64
            [combinations, x].
        lengths: how many numbers each combination can reach, int64 [combinations].
        places: which combination each pair has in each stratum, int32 [pairs, strata].
        far: the largest number of a pair that counts, int64 [pairs].
    """

    chances: np.ndarray
    lengths: np.ndarray
    places: np.ndarray
    far: np.ndarray

    @classmethod
    def of(
        cls,
        drawn: np.ndarray,
        marked: np.ndarray,
        whole: np.ndarray,
        pairs: np.ndarray,
        far: np.ndarray,
    ) -> "StratumSums":
        """The sums of some pairs.

        Args:
            drawn: exemplars with an answer, int [neurons, strata, descriptors].
            marked: sentences with Yes, int [strata, descriptors] or [neurons, strata, descriptors].
            whole: as above, sentences with an answer.
            pairs: places in a raveled [neurons, descriptors], at least one.
            far: the largest number of each pair that counts, at least 0.
        """
        most = int(far.max(initial=0))
        neuron, descriptor = np.divmod(pairs, drawn.shape[2])
        every = (np.broadcast_to(of, drawn.shape) for of in (drawn, marked, whole))
        counts = np.stack([of[neuron, :, descriptor] for of in every]).astype(np.int64)
        least = counts.min(axis=1)
        spans = counts.max(axis=1) - least + 1
        ends = np.cumsum(spans.prod(axis=0))  # of the codes of each stratum
        first = np.append(0, ends[:-1])
        above = counts - least[:, None]
        codes = first + (above[0] * spans[1] + above[1]) * spans[2] + above[2]
        distinct, places = _distinct(codes, int(ends[-1]))
        stratum = np.searchsorted(ends, distinct, side="right")
        rest, last = np.divmod(distinct - first[stratum], spans[2, stratum])
        n, k, size = np.stack([*np.divmod(rest, spans[1, stratum]), last]) + least[:, stratum]
        lengths = np.minimum(np.minimum(n, k), most) + 1
        chances = np.empty((len(n), int(lengths.max(initial=1))))
        step = max(1, _BLOCK // chances.shape[1])
        for start in range(0, len(n), step):
            block = slice(start, start + step)
            chances[block] = _hypergeometric(n[block], k[block], size[block], chances.shape[1])
        return cls(chances, lengths, places, far.astype(np.int64))

    def mid_p(self, reached: np.ndarray) -> np.ndarray:
        """Half of the chance of a number and all of that of larger ones: float64 [pairs].

        Args:
            reached: the number of each pair, int [pairs].
        """
        from descry.labels.loops import mid_p

        found = np.empty(len(self.far))
        own = reached.astype(np.int64)
        mid_p(self.chances, self.lengths, self.places, self.far, own, found)
        return found

    def mid_p_of_every(self, numbers: int) -> np.ndarray:
        """The same of the numbers 0, 1, ...: float64 [pairs, numbers]."""
        from descry.labels.loops import every_mid_p

        found = np.zeros((len(self.far), numbers))
        every_mid_p(self.chances, self.lengths, self.places, self.far, found)
        return found


def stratum_sums(
    drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, pairs: np.ndarray, far: np.ndarray
) -> Iterator[tuple[np.ndarray, StratumSums]]:
    """The sums of some pairs after the others, and which these are; the arguments as in `of`."""
    most = min(int(far.max(initial=0)), int(drawn.max(initial=0))) + 1
    step = max(1, _CHANCES // max(1, drawn.shape[1] * most))
    for start in range(0, len(pairs), step):
        some = slice(start, start + step)
        yield pairs[some], StratumSums.of(drawn, marked, whole, pairs[some], far[some])


def _distinct(codes: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes that occur, and the place of each code among those, int32; all below `number`."""
    if number > _LISTED:
        distinct, place = np.unique(codes, return_inverse=True)
        return distinct, place.reshape(codes.shape).astype(np.int32)
    occurs = np.zeros(number, dtype=bool)
    occurs[codes] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs, dtype=np.int32) - np.int32(1))[codes]


def _hypergeometric(
    drawn: np.ndarray, marked: np.ndarray, whole: np.ndarray, numbers: int
) -> np.ndarray:
    """P(X = x) of the numbers x = 0, 1, ...: float64 [combinations, numbers]."""
    n, k, of = (counts[:, None] for counts in (drawn, marked, whole))
    x = np.arange(numbers)
    log = _log_factorials(1 << int(of.max(initial=0) + numbers - 1).bit_length())
    parts = k - x, n - x, of - k - n + x
    possible = np.minimum.reduce(np.broadcast_arrays(*parts)) >= 0
    a, b, c = (np.maximum(part, 0) for part in parts)
    whole_of = log[k] + log[of - k] + log[n] + log[of - n] - log[of]
    chance = np.where(possible, np.exp(whole_of - log[x] - log[a] - log[b] - log[c]), 0.0)
    chance[(drawn == 0) | (marked == 0), 0] = 1.0  # to the last digit, as if there were no stratum
    return chance


@lru_cache(maxsize=2)
def _log_factorials(size: int) -> np.ndarray:
    """log(i!) for i = 0 ... size."""
    from scipy.special import gammaln

    return np.asarray(gammaln(np.arange(size + 1) + 1.0))
