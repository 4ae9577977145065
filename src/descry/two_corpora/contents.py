"""What the page of two corpora has, and the folder of tables beside it."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from descry.io.hashing import JSON
from descry.reporting.comparison.exemplars import exemplar_sets, shown_sentences
from descry.reporting.comparison.page import page_value, write_comparison
from descry.reporting.explorer.packs import plain
from descry.two_corpora.replicate import TABLES, Replication

NEURONS, SENTENCES = 500, 5  # whose sentences the page has, and how many of each corpus


def write(found: Replication, path: Path) -> dict[str, int]:
    """Write the page to a file .html; or to any other name, as a folder with the tables beside it.

    A folder has index.html, replication.json, and a CSV file of each table.
    """
    return write_comparison(path, "two_corpora", found, "replication", TABLES, contents(found))


def contents(found: Replication) -> JSON:
    """All that the page shows."""
    value = page_value(found, ("first", "other"))
    value["sentences_in_all"] = value.pop("sentences")
    runs = found.pair.first, found.pair.other
    exemplars = dict(_exemplars(found))
    rows = [
        sorted({row for lists in exemplars.values() for row, *_ in lists[side][1]})
        for side in range(len(runs))
    ]
    value |= {
        "unit": found.pair.unit,
        "differences": [asdict(one) for one in found.pair.differences],
        "names_of": [run.annotations.descriptors for run in runs],
        "exemplars": exemplars,
        "sentences": [shown_sentences(*of) for of in zip(runs, rows, strict=True)],
    }
    return value


def _chosen(found: Replication) -> list[tuple[int, int]]:
    """Layer and index of neurons whose labels do not hold, the surest first; then of the others."""
    labels = found.labels.select(["layer", "neuron", "p", "holds"]).to_pylist()
    labels.sort(key=lambda one: (one["holds"] is not False, 1.0 if one["p"] is None else one["p"]))
    return list(dict.fromkeys((one["layer"], one["neuron"]) for one in labels))[:NEURONS]


def _exemplars(found: Replication) -> Iterator[tuple[str, list[JSON]]]:
    """By neuron, for each corpus: how many exemplars it has, and the first, with rank and value."""
    pair = found.pair
    kept = np.ones(len(pair.first.corpus), dtype=bool), ~pair.again
    sets = [(run, *exemplar_sets(run, found.end)) for run in (pair.first, pair.other)]
    for layer, neuron in _chosen(found):
        lists = []
        for (run, rows, values), new in zip(sets, kept, strict=True):
            items: list[JSON] = []
            if layer in run.neurons.layers:
                own = run.neurons.layers.index(layer) * run.neurons.width + neuron
                members = zip(rows[own].tolist(), values[own].tolist(), strict=True)
                items = [[row, value] for row, value in members if row >= 0 and new[row]]
            ranked = [[row, rank, value] for rank, (row, value) in enumerate(items, start=1)]
            lists.append([len(items), plain(ranked[:SENTENCES])])
        yield f"L{layer}:{neuron}", lists
