"""The label tables of both ends over the same descriptors, and the pack with every label."""

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.nan_stats import means, ratio
from descry.corpus.splits import HALVES
from descry.labels.results import Labels, SplitLabels
from descry.reporting.explorer.packs import Pack, numbers, whole_numbers

_EMPTY = {"assigned": False, "count": 0}
_DIGITS = 4  # of p and q: two more than are shown, to order by


def over(labels: Labels, descriptors: list[str]) -> Labels:
    """A label table with a column for each descriptor: undefined where it has none."""
    places = [descriptors.index(name) for name in labels.descriptors]

    def widened(split: SplitLabels) -> SplitLabels:
        columns = {}
        for item in fields(split):
            values = getattr(split, item.name)
            shape = (*values.shape[:2], len(descriptors))
            columns[item.name] = np.full(shape, _EMPTY.get(item.name, np.nan), dtype=values.dtype)
            columns[item.name][:, :, places] = values
        return SplitLabels(**columns)

    splits = {name: widened(split) for name, split in labels.splits.items()}
    return replace(labels, descriptors=descriptors, splits=splits)


def flat(values: np.ndarray) -> np.ndarray:
    """[layers, neurons, any] as [neurons of all layers, any]."""
    return values.reshape(-1, values.shape[2])


def table_pack(
    end: str, labels: Labels, scored: pa.Table, silent: Mapping[int, str], sizes: np.ndarray
) -> Pack:
    """Every neuron's labels of one end, the surest first.

    Args:
        scored: label_scores.parquet.
        silent: why neurons have no exemplars, by their numbers.
        sizes: of the exemplar sets of the whole corpus, int [neurons].
    """
    whole, order = labels.splits["all"], flat(labels.by_evidence())
    assigned = np.take_along_axis(flat(whole.assigned), order, axis=1)
    neuron, place = np.nonzero(assigned)
    descriptor = order[neuron, place]
    at = neuron, descriptor
    smaller = np.flatnonzero(sizes < sizes.max(initial=0)).tolist()
    value = {
        "silent": {str(n): why for n, why in silent.items()},
        "size": int(sizes.max(initial=0)),
        "sizes": {str(n): int(sizes[n]) for n in smaller},
        "start": [0, *np.cumsum(assigned.sum(axis=1)).tolist()],
        "descriptor": descriptor.tolist(),
        "f": whole_numbers(flat(whole.f)[at], 1000),
        "count": flat(whole.count)[at].astype(int).tolist(),
        "expected": numbers(flat(whole.expected)[at], _DIGITS),
        "times": whole_numbers(ratio(flat(whole.count)[at], flat(whole.expected)[at]), 100),
        "p": numbers(flat(whole.p)[at], _DIGITS),
        "q": numbers(flat(whole.q)[at], _DIGITS),
        "unmatched": numbers(flat(whole.q_unmatched)[at], _DIGITS),
        "replicated": flat(labels.replicated)[at].astype(int).tolist(),
        "auroc": whole_numbers(_auroc(end, labels, scored)[at], 1000),
    }
    return Pack(f"table-{end}", value)


def _auroc(end: str, labels: Labels, scored: pa.Table) -> np.ndarray:
    """Means over the halves of each label's AUROC in the other: [neurons, descriptors], or NaN."""
    neurons = labels.neurons
    found = np.full((len(HALVES), len(neurons), len(labels.descriptors)), np.nan)
    own = scored.filter(pc.equal(scored["end"], end))
    half = [HALVES.index(name) for name in own["chosen"].to_pylist()]
    rows = {layer: row for row, layer in enumerate(neurons.layers)}
    layer = np.array([rows[layer] for layer in own["layer"].to_pylist()], dtype=np.int64)
    neuron = layer * neurons.width + own["neuron"].to_numpy()
    columns = _columns(own["descriptor"], labels.descriptors)
    found[half, neuron, columns] = own["auroc"].to_numpy()
    return means(found, axis=0)


def _columns(names: pa.ChunkedArray, descriptors: list[str]) -> list[int]:
    place: Mapping[str, int] = {name: column for column, name in enumerate(descriptors)}
    return [place[name] for name in names.to_pylist()]
