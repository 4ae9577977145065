"""Scores of labels (paper, section 5): sets of descriptors compared with sets of descriptors.

Undefined values are NaN: a precision where nothing was predicted, a recall where nothing is true,
a Jaccard similarity of two empty sets. Means are over the defined ones, which are counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import means, ratio
from descry.evaluation.tiers import Tiers

BY_THRESHOLD = ("precision", "recall", "jaccard", "jaccard_by_descriptor")
BY_RANK = ("precision_at_k", "recall_at_k")
_BITS = 64


class Score(NamedTuple):
    """One of the scores, and where f is cut for it."""

    name: str
    at: float


@dataclass(frozen=True)
class Cuts:
    """Where labels are cut.

    Attributes:
        thresholds: labels are the descriptors that are stronger than t.
        max_k: for K = 1 ... max_k they are the K highest of those above 0. Where some are equal
            at the cut, a score is its expected value over all their orders.
        truth_top: at K, how many of the highest are the truth (section 5.1).
    """

    thresholds: tuple[float, ...]
    max_k: int
    truth_top: int

    @property
    def scores(self) -> list[Score]:
        """All scores, in the order of every vector of them."""
        by_t = [Score(name, t) for name in BY_THRESHOLD for t in self.thresholds]
        return by_t + [Score(name, k) for name in BY_RANK for k in range(1, self.max_k + 1)]

    def tag(self, strength: np.ndarray, order: np.ndarray | None = None) -> "Tags":
        """The labels at every cut.

        Args:
            strength: float [neurons, descriptors]; NaN is no label.
            order: as above, by which the highest are told, if not by that.
        """
        # Of all pairs few are labels at any cut: those are looked at.
        at = np.flatnonzero(strength > min(self.thresholds))
        labels = strength.ravel()[at] > np.array(self.thresholds)[:, None]
        neurons, descriptors = strength.shape
        flags = np.zeros((len(labels), descriptors, neurons), dtype=bool)
        flags[:, at % descriptors, at // descriptors] = labels
        tiers = Tiers.of_values(
            np.fmax(strength if order is None else order, 0), max(self.max_k, self.truth_top)
        )
        return Tags.of(self, flags, tiers)


@dataclass(frozen=True)
class Tags:
    """The labels of all neurons at every cut.

    Attributes:
        bits: at the thresholds, a bit each: uint64 [thresholds, neurons, words].
        columns: the same with a bit each neuron: uint64 [thresholds, descriptors, words].
        tiers: for the cuts at K.
    """

    cuts: Cuts
    bits: np.ndarray
    columns: np.ndarray
    tiers: Tiers
    descriptors: int

    @classmethod
    def of(cls, cuts: Cuts, flags: np.ndarray, tiers: Tiers) -> "Tags":
        """Make tags of flags, bool [thresholds, descriptors, neurons]."""
        bits = _packed(flags.transpose(0, 2, 1))
        return cls(cuts, bits, _packed(flags), tiers, flags.shape[1])

    def take(self, neurons: np.ndarray) -> "Tags":
        """The labels of some neurons, in that order."""
        bits, columns = self.bits[:, neurons], _packed(self._flags.take(neurons, axis=2))
        return Tags(self.cuts, bits, columns, self.tiers.take(neurons), self.descriptors)

    @cached_property
    def _flags(self) -> np.ndarray:
        return _unpacked(self.columns, self.neurons)

    @property
    def neurons(self) -> int:
        """How many there are."""
        return int(self.bits.shape[1])

    @cached_property
    def sizes(self) -> np.ndarray:
        """Labels of each neuron: int64 [thresholds, neurons]."""
        return _counted(self.bits)

    @cached_property
    def carriers(self) -> np.ndarray:
        """Neurons that have each descriptor: int64 [thresholds, descriptors]."""
        return _counted(self.columns)

    @cached_property
    def true_chances(self) -> np.ndarray:
        """As the truth at K: float64 [neurons, descriptors]."""
        return self.tiers.chances(self.cuts.truth_top)

    def spread(self, bits: np.ndarray) -> np.ndarray:
        """Such bits as uint8 [thresholds, neurons, descriptors]."""
        return _unpacked(bits, self.descriptors)


def _packed(labels: np.ndarray) -> np.ndarray:
    """Bool [any, any, flags] as uint64 [any, any, words]."""
    *shape, number = labels.shape
    # Filled up to whole bytes and packed as one row: numpy is slow at packing many short ones.
    filled = np.zeros((*shape, -(-number // 8) * 8), dtype=bool)
    filled[..., :number] = labels
    size = *shape, filled.shape[-1] // 8
    packed = np.packbits(filled.ravel(), bitorder="little").reshape(size)
    held = np.zeros((*shape, -(-number // _BITS) * _BITS // 8), dtype=np.uint8)
    held[..., : packed.shape[-1]] = packed
    return held.view(np.uint64)


def _unpacked(bits: np.ndarray, number: int) -> np.ndarray:
    """The reverse, as uint8."""
    used = np.ascontiguousarray(bits.view(np.uint8)[..., : -(-number // 8)])
    return np.unpackbits(used, axis=-1, count=number, bitorder="little")


def _counted(bits: np.ndarray) -> np.ndarray:
    return np.asarray(np.bitwise_count(bits).sum(axis=2, dtype=np.int64))


@dataclass(frozen=True)
class Rated:
    """Every score of predicted labels where others are the truth.

    Attributes:
        by_neuron: float64 [scores of neurons, neurons], NaN where undefined: all but
            `jaccard_by_descriptor`, in the order of `Cuts.scores`.
        by_descriptor: float64 [thresholds, descriptors], Jaccard of the sets of neurons.
        either: int64 [thresholds, descriptors], neurons that have the descriptor on either side.
    """

    cuts: Cuts
    by_neuron: np.ndarray
    by_descriptor: np.ndarray
    either: np.ndarray

    def values(self) -> Iterator[np.ndarray]:
        """Each score's values, in the order of `Cuts.scores`."""
        at = 3 * len(self.cuts.thresholds)
        yield from self.by_neuron[:at]
        yield from self.by_descriptor
        yield from self.by_neuron[at:]

    @property
    def means(self) -> np.ndarray:
        """Means over the defined values: float64 [scores], NaN where there are none."""
        parts = np.split(means(self.by_neuron, axis=1), [3 * len(self.cuts.thresholds)])
        return np.concatenate([parts[0], means(self.by_descriptor, axis=1), parts[1]])


def rate(predicted: Tags, truth: Tags) -> Rated:
    """Compare labels with labels, neuron by neuron.

    precision: share of a neuron's predicted descriptors that are true; recall: of its true ones
    that are predicted; jaccard: of either that are both (section 5.3), and by descriptor, of its
    sets of neurons.
    """
    both = predicted.bits & truth.bits
    shared, first, second = _counted(both), predicted.sizes, truth.sizes
    by_t = [ratio(shared, first), ratio(shared, second), ratio(shared, first + second - shared)]
    met = _counted(predicted.columns & truth.columns)
    either = predicted.carriers + truth.carriers - met
    by_k = _at_k(predicted.tiers, truth.tiers, truth.true_chances, predicted.cuts)
    return Rated(predicted.cuts, np.concatenate(by_t + by_k), ratio(met, either), either)


def _at_k(said: Tiers, true: Tiers, chances: np.ndarray, cuts: Cuts) -> list[np.ndarray]:
    """P@K, then R@K, for every K: float64 [max_k, neurons] each.

    The orders of equal descriptors are independent on the two sides: the expected number of hits
    is a sum of products of chances. The numbers of labels do not depend on the orders.
    """
    hits = said.hits(chances, cuts.max_k)
    of_said = np.stack([said.number(k) for k in range(1, cuts.max_k + 1)])
    return [ratio(hits, of_said), ratio(hits, true.number(cuts.truth_top)[None])]


def without_one(predicted: Tags, truth: Tags) -> np.ndarray:
    """Every score without each neuron in turn: float64 [scores, neurons]."""
    rated = rate(predicted, truth)
    known = ~np.isnan(rated.by_neuron)
    total = np.where(known, rated.by_neuron, 0.0)
    rest = known.sum(axis=1, keepdims=True) - known
    of_neurons = ratio(total.sum(axis=1, keepdims=True) - total, rest)
    both, either = predicted.bits & truth.bits, predicted.bits | truth.bits
    met, any_of = (tags.spread(bits) for tags, bits in ((predicted, both), (truth, either)))
    of_descriptors = [
        means(ratio(m.sum(axis=0, dtype=np.int64) - m, e.sum(axis=0, dtype=np.int64) - e), axis=1)
        for m, e in zip(met, any_of, strict=True)
    ]
    parts = np.split(of_neurons, [3 * len(rated.cuts.thresholds)])
    return np.concatenate([parts[0], np.stack(of_descriptors), parts[1]])


def influences(predicted: Tags, truth: Tags, at: Rated) -> np.ndarray:
    """What each neuron adds to the difference of every score from that of `at`, in first order.

    float64 [scores, neurons]; 0 for a score that `at` does not define. A mean over the defined
    neurons is a ratio of sums; so is the Jaccard similarity of a descriptor.
    """
    n = len(at.cuts.thresholds)
    own = rate(predicted, truth).by_neuron
    centre, number = means(at.by_neuron, axis=1), (~np.isnan(at.by_neuron)).sum(axis=1)
    of_neurons = np.nan_to_num(own - centre[:, None]) / np.maximum(number, 1)[:, None]
    both, either = predicted.bits & truth.bits, predicted.bits | truth.bits
    met, any_of = predicted.spread(both), predicted.spread(either)
    of_descriptors = np.zeros((n, own.shape[1]))
    for t, similar in enumerate(at.by_descriptor):
        known = ~np.isnan(similar)
        if known.any():
            weights = 1 / (known.sum() * at.either[t, known])
            of_descriptors[t] = met[t][:, known] @ weights
            of_descriptors[t] -= any_of[t][:, known] @ (weights * similar[known])
    parts = np.split(of_neurons, [3 * n])
    return np.concatenate([parts[0], of_descriptors, parts[1]])


def pearson(answers: np.ndarray) -> np.ndarray:
    """Pearson correlation of the columns of B (section 5.2): float64 [descriptors, descriptors].

    Over the sentences with every answer; NaN for a descriptor that is never or always true.
    """
    whole = (answers[(answers >= 0).all(axis=1)] == 1).astype(np.float64)
    centred = whole - whole.mean(axis=0) if len(whole) else whole
    norm = np.sqrt((centred**2).sum(axis=0))
    product = np.outer(norm, norm)
    found = np.full(product.shape, np.nan)
    np.divide(centred.T @ centred, product, out=found, where=product > 0)
    return found
