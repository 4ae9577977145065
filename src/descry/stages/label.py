"""Stage label: exemplars and annotations -> labels.parquet, neurons.json (section 3.3)."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from descry.errors import InputError
from descry.exemplars import HIGHEST
from descry.labels import (
    Frequency,
    Neurons,
    asked_sets,
    assign,
    broad_descriptors,
    frequencies,
    inverse_map,
)
from descry.results import read_annotations, read_ends, read_exemplars, read_neurons
from descry.splits import SPLITS, split_rows
from descry.storage import provenance, read_table, write_json, write_table

PACKAGES = ["numpy", "pyarrow", "scipy"]


def run(
    corpus: Path,
    exemplars: Path,
    annotations: Path,
    labels: Path,
    neurons: Path,
    *,
    section: dict[str, Any],
    frequency: Frequency,
    threshold: float,
    top_k: int | None,
    broad: float,
) -> dict[str, int]:
    """Write the labels, a row per split, neuron and descriptor, and the inverse map.

    Columns: end, split, layer, neuron, descriptor, f, count, base_rate, lift, assigned. `neurons`
    maps each split's descriptors to the neurons tagged with them. Sets of the lowest activations,
    where there are any, are labelled apart: rows with end `lowest`, and a map of their own.
    """
    sentences = read_table(corpus, "corpus")
    rows = split_rows(sentences["split"].to_pylist())
    every = read_annotations(annotations)
    if every.ids != sentences["id"].to_pylist():
        raise InputError(f"{annotations}: not of this corpus: run `descry annotate` again")
    every_neuron = read_neurons(exemplars)
    tables: list[pa.Table] = []
    inverse: dict[str, dict[str, dict[str, list[str]]]] = {}
    dropped: list[dict[str, str]] = []
    counts: Counter[str] = Counter()
    for end in read_ends(exemplars):
        sets = {name: read_exemplars(exemplars, name, end) for name in SPLITS}
        flat = {name: found.reshape(len(every_neuron), -1) for name, found in sets.items()}
        meant = flat["all"][asked_sets(flat["all"], every.asked)]
        # Of a few chosen neurons nearly every label is on most: breadth is judged over all of them.
        wide = (
            broad_descriptors(meant, every.answer, frequency, threshold, broad)
            if len(meant) == len(every_neuron)
            else []
        )
        dropped += [
            {
                "descriptor": every.descriptors[column],
                "end": end,
                "reason": f"f > {threshold} on {share:.0%} of neurons (label.broad)",
            }
            for column, share in wide
        ]
        b = every.without([column for column, _ in wide])
        inverse[end] = {}
        for split in SPLITS:
            # Exemplar rows count in the whole corpus; a split's base rate counts its own sentences.
            within = np.searchsorted(rows[split], flat[split])
            part = b.answer[rows[split]], frequency, b.asked[rows[split]], b.sampled[rows[split]]
            found = frequencies(within, *part)
            assigned = assign(found.f, threshold, top_k)
            columns = {"f": found.f, "count": found.count, "lift": found.lift, "assigned": assigned}
            tables.append(_table(end, split, every_neuron, b.descriptors, found.base, columns))
            inverse[end][split] = inverse_map(assigned, every_neuron.names, b.descriptors)
        tagged = inverse[end]["all"].values()
        of = "" if end == HIGHEST else f"{end}: "
        counts[f"{of}neurons"] = len(meant)
        counts[f"{of}labelled"] = len({name for names in tagged for name in names})
        counts[f"{of}labels"] = sum(map(len, tagged))
    made = provenance("label", section, [corpus, exemplars, annotations], PACKAGES)
    made["dropped"] = dropped
    write_table(labels, pa.concat_tables(tables), made)
    found_neurons = {"neurons": inverse.pop(HIGHEST)} | inverse
    write_json(neurons, {"made": made} | found_neurons)
    return counts | {"broad descriptors dropped": len(dropped)}


def _table(
    end: str,
    split: str,
    neurons: Neurons,
    descriptors: list[str],
    base: np.ndarray,
    columns: dict[str, np.ndarray],
) -> pa.Table:
    n, d = len(neurons), len(descriptors)
    row = np.repeat(np.arange(n), d)
    layers = np.array(neurons.layers, dtype=np.int16)
    return pa.table(
        {
            "end": _constant(end, n * d),
            "split": _constant(split, n * d),
            "layer": pa.array(layers[row // neurons.width]),
            "neuron": pa.array((row % neurons.width).astype(np.int32)),
            "descriptor": pa.array(descriptors * n),
            "f": _nullable(columns["f"]),
            "count": pa.array(columns["count"].ravel().astype(np.int32)),
            "base_rate": _nullable(np.broadcast_to(base, (n, d))),
            "lift": _nullable(columns["lift"]),
            "assigned": pa.array(columns["assigned"].ravel()),
        }
    )


def _constant(value: str, number: int) -> pa.Array:
    indices = np.zeros(number, dtype=np.int8)
    return pa.DictionaryArray.from_arrays(indices, [value]).cast(pa.string())


def _nullable(values: np.ndarray) -> pa.Array:
    """Undefined values are null."""
    return pa.array(np.ascontiguousarray(values).ravel(), from_pandas=True)
