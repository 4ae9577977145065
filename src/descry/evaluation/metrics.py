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

BY_THRESHOLD = ("precision", "recall", "jaccard", "jaccard_by_descriptor")
BY_RANK = ("precision_at_k", "recall_at_k")
_BITS = 64


class Score(NamedTuple):
    """One of the scores, and where f is cut for it."""

    name: str
    at: float


@dataclass(frozen=True)
class Cuts:
    """Where f is cut into labels.

    Attributes:
        thresholds: labels are the descriptors with f(c) > t.
        max_k: for K = 1 ... max_k they are the K most frequent, of those that occur.
        truth_top: at K the truth is so many of the most frequent (section 5.1).
    """

    thresholds: tuple[float, ...]
    max_k: int
    truth_top: int

    @property
    def scores(self) -> list[Score]:
        """All scores, in the order of every vector of them."""
        by_t = [Score(name, t) for name in BY_THRESHOLD for t in self.thresholds]
        return by_t + [Score(name, k) for name in BY_RANK for k in range(1, self.max_k + 1)]

    def tag(self, f: np.ndarray) -> "Tags":
        """The labels at every cut.

        Args:
            f: float [neurons, descriptors]; NaN is no label.
        """
        known = np.nan_to_num(f)
        cuts = [known > t for t in self.thresholds]
        first = _first(known, max(self.max_k, self.truth_top))
        cuts += [first[k] for k in (*range(1, self.max_k + 1), self.truth_top)]
        return Tags(self, _packed(np.stack(cuts)), f.shape[1])


def _first(f: np.ndarray, most: int) -> list[np.ndarray]:
    """The k most frequent of those that occur, for k = 0 ... most: bool like `f`.

    Ties: the earlier descriptor. Taken one by one, which is faster than to sort a few columns.
    """
    left, rows = f.copy(), np.arange(len(f))
    found = [np.zeros(f.shape, dtype=bool)]
    for _ in range(most):
        best = left.argmax(axis=1)
        taken = found[-1].copy()
        taken[rows, best] |= left[rows, best] > 0
        left[rows, best] = -np.inf
        found.append(taken)
    return found


@dataclass(frozen=True)
class Tags:
    """The labels of all neurons at every cut, a bit each: uint64 [cuts, neurons, words]."""

    cuts: Cuts
    bits: np.ndarray
    descriptors: int

    def take(self, neurons: np.ndarray) -> "Tags":
        """The labels of some neurons, in that order."""
        return Tags(self.cuts, self.bits[:, neurons], self.descriptors)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Labels of each neuron: int64 [cuts, neurons]."""
        return _counted(self.bits)

    @cached_property
    def carriers(self) -> np.ndarray:
        """Neurons that have each descriptor: int64 [thresholds, descriptors]."""
        return np.asarray(self.spread(self.bits).sum(axis=1, dtype=np.int64))

    def spread(self, bits: np.ndarray) -> np.ndarray:
        """Bits at the thresholds as uint8 [thresholds, neurons, descriptors]."""
        at_thresholds = bits[: len(self.cuts.thresholds)].view(np.uint8)
        used = np.ascontiguousarray(at_thresholds[..., : -(-self.descriptors // 8)])
        return np.unpackbits(used, axis=-1, count=self.descriptors, bitorder="little")


def _packed(labels: np.ndarray) -> np.ndarray:
    """Bool [cuts, neurons, descriptors] as uint64 [cuts, neurons, words]."""
    *shape, descriptors = labels.shape
    # Filled up to whole bytes and packed as one row: numpy is slow at packing many short ones.
    filled = np.zeros((*shape, -(-descriptors // 8) * 8), dtype=bool)
    filled[..., :descriptors] = labels
    size = *shape, filled.shape[-1] // 8
    packed = np.packbits(filled.ravel(), bitorder="little").reshape(size)
    held = np.zeros((*shape, -(-descriptors // _BITS) * _BITS // 8), dtype=np.uint8)
    held[..., : packed.shape[-1]] = packed
    return held.view(np.uint64)


def _counted(bits: np.ndarray) -> np.ndarray:
    return np.asarray(np.bitwise_count(bits).sum(axis=2, dtype=np.int64))


@dataclass(frozen=True)
class Rated:
    """Every score of predicted labels where others are the truth.

    Attributes:
        by_neuron: float64 [scores of neurons, neurons], NaN where undefined: all but
            `jaccard_by_descriptor`, in the order of `Cuts.scores`.
        by_descriptor: float64 [thresholds, descriptors], Jaccard of the sets of neurons.
    """

    cuts: Cuts
    by_neuron: np.ndarray
    by_descriptor: np.ndarray

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
    n = len(predicted.cuts.thresholds)
    both = predicted.bits[:n] & truth.bits[:n]
    shared, first, second = _counted(both), predicted.sizes[:n], truth.sizes[:n]
    by_t = [ratio(shared, first), ratio(shared, second), ratio(shared, first + second - shared)]
    # At K the truth is the last cut, whatever K is.
    hits = _counted(predicted.bits[n:-1] & truth.bits[-1:])
    by_k = [
        ratio(hits, predicted.sizes[n:-1]),
        ratio(hits, np.broadcast_to(truth.sizes[-1:], hits.shape)),
    ]
    met = predicted.spread(both).sum(axis=1, dtype=np.int64)
    by_descriptor = ratio(met, predicted.carriers + truth.carriers - met)
    return Rated(predicted.cuts, np.concatenate(by_t + by_k), by_descriptor)


def resampled(predicted: Tags, truth: Tags, weights: np.ndarray) -> np.ndarray:
    """All scores with neurons resampled: float64 [draws, scores].

    Args:
        weights: [draws, neurons], how often each neuron is drawn.
    """
    n = len(predicted.cuts.thresholds)
    of_neurons = rate(predicted, truth).by_neuron
    defined = ~np.isnan(of_neurons)
    of_neurons = ratio(
        weights @ np.where(defined, of_neurons, 0.0).T, weights @ defined.T.astype(np.float64)
    )
    spread = [
        tags.spread(bits).astype(np.float64)
        for tags, bits in (
            (predicted, predicted.bits[:n] & truth.bits[:n]),
            (predicted, predicted.bits),
            (truth, truth.bits),
        )
    ]
    met, first, second = (np.einsum("bn,tnd->btd", weights, part, optimize=True) for part in spread)
    similar = ratio(met, first + second - met)
    by_descriptor = means(similar, axis=2).reshape(len(weights), -1)
    parts = np.split(of_neurons, [3 * n], axis=1)
    return np.concatenate([parts[0], by_descriptor, parts[1]], axis=1)


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
