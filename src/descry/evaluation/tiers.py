"""The highest descriptors of each neuron, for the scores at K; equal descriptors are one tier."""

from dataclasses import dataclass

import numpy as np

from descry.compiled import compiled


@dataclass(frozen=True)
class Tiers:
    """The highest descriptors of each neuron: equal ones are one tier.

    Attributes:
        of: int8 [neurons, descriptors], 0 for the highest tier; the number of tiers where a
            descriptor is in none.
        sizes: int64 [neurons, tiers].
    """

    of: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of_values(cls, values: np.ndarray, most: int) -> "Tiers":
        """The tiers of the `most` highest above 0; `values` is float [neurons, descriptors]."""
        of = np.full(values.shape, most, dtype=np.int8)
        sizes = np.zeros((len(values), most), dtype=np.int64)
        _find_tiers(np.ascontiguousarray(values), of, sizes)
        return cls(of, sizes)

    def take(self, neurons: np.ndarray) -> "Tiers":
        """The tiers of some neurons, in that order."""
        return Tiers(self.of[neurons], self.sizes[neurons])

    def number(self, k: int) -> np.ndarray:
        """How many the k highest are: int64 [neurons], fewer than k where fewer are above 0."""
        return np.asarray(np.minimum(self.sizes.sum(axis=1), k))

    def chances(self, k: int) -> np.ndarray:
        """Chance of each descriptor to be among the k highest: float64 [neurons, descriptors]."""
        found = np.zeros(self.of.shape)
        _find_chances(self.of, self.sizes, k, found)
        return found

    def hits(self, chances: np.ndarray, most: int) -> np.ndarray:
        """How many of the k highest are true, on average over orders: float64 [most, neurons].

        Args:
            chances: of each descriptor to be true, float64 [neurons, descriptors].
            most: the largest k; the first row is of k = 1.
        """
        found = np.zeros((most, len(self.of)))
        _find_hits(self.of, self.sizes, chances, found)
        return found


@compiled
def _find_tiers(values: np.ndarray, of: np.ndarray, sizes: np.ndarray) -> None:
    neurons, descriptors = values.shape
    for neuron in range(neurons):
        own, before = values[neuron], np.inf
        for tier in range(sizes.shape[1]):
            best = 0.0
            for value in own:
                if best < value < before:
                    best = value
            if best == 0.0:
                break
            for descriptor in range(descriptors):
                if own[descriptor] == best:
                    of[neuron, descriptor] = tier
                    sizes[neuron, tier] += 1
            before = best


@compiled
def _among(k: int, above: int, size: int) -> float:
    """Chance of one of `size` equal descriptors, below `above` higher ones, to be among k."""
    return min(max((k - above) / max(size, 1), 0.0), 1.0)


@compiled
def _find_chances(of: np.ndarray, sizes: np.ndarray, k: int, found: np.ndarray) -> None:
    tiers = sizes.shape[1]
    share = np.zeros(tiers + 1)
    for neuron in range(of.shape[0]):
        above = 0
        for tier in range(tiers):
            share[tier] = _among(k, above, sizes[neuron, tier])
            above += sizes[neuron, tier]
        for descriptor in range(of.shape[1]):
            found[neuron, descriptor] = share[of[neuron, descriptor]]


@compiled
def _find_hits(of: np.ndarray, sizes: np.ndarray, chances: np.ndarray, found: np.ndarray) -> None:
    tiers = sizes.shape[1]
    sums = np.zeros(tiers + 1)
    for neuron in range(of.shape[0]):
        sums[:] = 0.0
        for descriptor in range(of.shape[1]):
            sums[of[neuron, descriptor]] += chances[neuron, descriptor]
        above = 0
        for tier in range(tiers):
            for row in range(found.shape[0]):
                found[row, neuron] += sums[tier] * _among(row + 1, above, sizes[neuron, tier])
            above += sizes[neuron, tier]
