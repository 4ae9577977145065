"""Maps: where in the target model the labels are, and every neuron of a layer."""

import numpy as np

from descry.activations.nan_stats import means
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
    value = {
        "f": whole_numbers(whole.f[row].ravel(), 1000),
        "lift": whole_numbers(whole.lift[row].ravel(), 100),
    }
    return Pack(f"map-{end}-{row}", value)
