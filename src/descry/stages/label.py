"""Stage label: exemplars and annotations -> labels.parquet, neurons.json (section 3.3)."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from descry.errors import InputError
from descry.labels import (
    Frequency,
    asked_sets,
    assign,
    broad_descriptors,
    frequencies,
    inverse_map,
    neuron_name,
)
from descry.results import read_annotations, read_exemplars
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

    Columns: split, layer, neuron, descriptor, f, count, base_rate, lift, assigned. `neurons` maps
    each split's descriptors to the neurons tagged with them.
    """
    sentences = read_table(corpus, "corpus")
    rows = split_rows(sentences["split"].to_pylist())
    every = read_annotations(annotations)
    if every.ids != sentences["id"].to_pylist():
        raise InputError(f"{annotations}: not of this corpus: run `descry annotate` again")
    sets = {name: read_exemplars(exemplars, name) for name in SPLITS}
    layers, width, _ = sets["all"].shape
    flat = {name: found.reshape(layers * width, -1) for name, found in sets.items()}
    meant = flat["all"][asked_sets(flat["all"], every.asked)]
    # Of a few chosen neurons nearly every label is on most: breadth is judged over all of them.
    every_neuron = len(meant) == len(flat["all"])
    dropped = (
        broad_descriptors(meant, every.answer, frequency, threshold, broad) if every_neuron else []
    )
    b = every.without([column for column, _ in dropped])
    tables, inverse = [], {}
    names = [neuron_name(layer, index) for layer in range(layers) for index in range(width)]
    for split in SPLITS:
        # Exemplar rows count in the whole corpus; a split's base rate counts its own sentences.
        within = np.searchsorted(rows[split], flat[split])
        part = b.answer[rows[split]], frequency, b.asked[rows[split]], b.sampled[rows[split]]
        found = frequencies(within, *part)
        assigned = assign(found.f, threshold, top_k)
        columns = {"f": found.f, "count": found.count, "lift": found.lift, "assigned": assigned}
        tables.append(_table(split, layers, width, b.descriptors, found.base, columns))
        inverse[split] = inverse_map(assigned, names, b.descriptors)
    made = provenance("label", section, [corpus, exemplars, annotations], PACKAGES)
    made["dropped"] = [
        {
            "descriptor": every.descriptors[column],
            "reason": f"f > {threshold} on {share:.0%} of neurons (label.broad)",
        }
        for column, share in dropped
    ]
    write_table(labels, pa.concat_tables(tables), made)
    write_json(neurons, {"made": made, "neurons": inverse})
    labelled = {name for tagged in inverse["all"].values() for name in tagged}
    pairs = sum(len(tagged) for tagged in inverse["all"].values())
    return {"neurons": len(meant), "labelled": len(labelled), "labels": pairs} | {
        "broad descriptors dropped": len(dropped)
    }


def _table(
    split: str,
    layers: int,
    width: int,
    descriptors: list[str],
    base: np.ndarray,
    columns: dict[str, np.ndarray],
) -> pa.Table:
    n, d = layers * width, len(descriptors)
    neuron = np.repeat(np.arange(n), d)
    return pa.table(
        {
            "split": pa.DictionaryArray.from_arrays(np.zeros(n * d, dtype=np.int8), [split]).cast(
                pa.string()
            ),
            "layer": pa.array((neuron // width).astype(np.int16)),
            "neuron": pa.array((neuron % width).astype(np.int32)),
            "descriptor": pa.array(descriptors * n),
            "f": _nullable(columns["f"]),
            "count": pa.array(columns["count"].ravel().astype(np.int32)),
            "base_rate": _nullable(np.broadcast_to(base, (n, d))),
            "lift": _nullable(columns["lift"]),
            "assigned": pa.array(columns["assigned"].ravel()),
        }
    )


def _nullable(values: np.ndarray) -> pa.Array:
    """Undefined values are null."""
    return pa.array(np.ascontiguousarray(values).ravel(), from_pandas=True)
