"""Maps: where in the target model the labels are, and every neuron of a layer."""

from collections.abc import Iterator

import numpy as np

from descry.activations.nan_stats import means
from descry.annotators.annotations import Annotations
from descry.labels.assignment import Frequency, SetCounter
from descry.labels.results import Labels
from descry.reporting.explorer.packs import Pack, numbers, whole_numbers


def map_pack(end: str, labels: Labels) -> Pack:
    """Layers by descriptors: labelled neurons beside those expected, f and lift."""
    whole = labels.splits["all"]
    labelled = whole.assigned.sum(axis=1)
    evenly = np.broadcast_to(labelled.mean(axis=0), labelled.shape)
    highest = np.nan_to_num(whole.lift, nan=-np.inf).max(axis=1)
    value = {
        "labelled": labelled.tolist(),
        "f": numbers(means(whole.f, axis=1)),
        "lift": numbers(means(whole.lift, axis=1)),
        "highest": numbers(highest),
        "expected": numbers(evenly),
    }
    return Pack(f"map-{end}", value)


def layer_pack(end: str, labels: Labels, row: int) -> Pack:
    """All numbers of the neurons of a layer: [neuron, descriptor], flat."""
    whole = labels.splits["all"]
    return Pack(f"map-{end}-{row}", _layer(whole.f[row], whole.lift[row]))


def untrained_packs(sets: np.ndarray, b: Annotations, frequency: Frequency) -> Iterator[Pack]:
    """The same of the copy with random weights, a pack a layer.

    Args:
        sets: exemplars of the copy, int [layers, neurons, size], rows of `b`.
    """
    counter = SetCounter(b.bits, b.asked)
    for row, of_layer in enumerate(sets):
        counts = counter.tally([of_layer], b.sampled)
        yield Pack(f"map-untrained-{row}", _layer(counts.f(frequency), counts.lift(frequency)))


def _layer(f: np.ndarray, lift: np.ndarray) -> dict[str, list[int | None]]:
    return {"f": whole_numbers(f.ravel(), 1000), "lift": whole_numbers(lift.ravel(), 100)}
