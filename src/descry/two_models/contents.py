"""What the page has of two models, and the folder of tables beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from descry.io.hashing import JSON
from descry.reporting.comparison.exemplars import exemplar_sets, shown_sentences
from descry.reporting.comparison.page import page_value, write_comparison
from descry.reporting.explorer.packs import plain
from descry.two_models.diff import TABLES, Diff

NEURONS, SENTENCES = 500, 5  # whose sentences the page has, and how many of each kind


def write(found: Diff, path: Path) -> dict[str, int]:
    """Write the page to a file .html; or to any other name, as a folder with the tables beside it.

    A folder has index.html, diff.json, and a CSV file of each table.
    """
    return write_comparison(path, "two_models", found, "diff", TABLES, contents(found))


def contents(found: Diff) -> JSON:
    """All that the page shows."""
    value = page_value(found, ("first", "second"))
    labels = [_renamed(row) for row in value["labels"]]
    chosen = _chosen(found)
    exemplars = {str(n): parts for n, parts in _exemplars(found, chosen)}
    rows = sorted(
        {item[0] for parts in exemplars.values() for _, _, items in parts for item in items}
    )
    names = found.pair.first.annotations.descriptors
    value |= {
        "labels": labels,
        "names": list(found.pair.names),
        "names_of": names,
        "sentences_in_all": len(found.pair.strata.of),
        "exemplars": exemplars,
        "sentences": shown_sentences(found.pair.first, rows),
    }
    return value


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"change_q": row["q"]}


def _chosen(found: Diff) -> list[int]:
    """The neurons whose label changed most surely, then those that share the fewest exemplars."""
    width = found.pair.neurons[0].width
    place = {layer: row for row, layer in enumerate(found.pair.neurons[0].layers)}
    table = found.labels.select(["layer", "neuron"]).to_pylist()
    labelled = [place[row["layer"]] * width + row["neuron"] for row in table]
    share = np.array(found.neurons["exemplars"].to_pylist(), dtype=np.float64)
    others = np.argsort(share, kind="stable")[: np.count_nonzero(~np.isnan(share))]
    return list(dict.fromkeys([*labelled, *others.tolist()]))[:NEURONS]


def _exemplars(found: Diff, chosen: list[int]) -> Iterator[tuple[int, list[JSON]]]:
    """The exemplars of each neuron: title, number, and the first ones with ranks and values."""
    sets = [exemplar_sets(run, found.end) for run in found.pair.runs]
    second = found.matches.second
    for n in chosen:
        ranks: list[dict[int, int]] = []
        values: list[dict[int, float]] = []
        for (rows, activations), own in zip(sets, (n, int(second[n])), strict=True):
            members = rows[own][rows[own] >= 0].tolist()
            ranks.append({row: rank for rank, row in enumerate(members, start=1)})
            values.append(dict(zip(members, activations[own].tolist(), strict=False)))
        kinds = {
            "Exemplars of both": [row for row in ranks[0] if row in ranks[1]],
            "Only of the first": [row for row in ranks[0] if row not in ranks[1]],
            "Only of the second": [row for row in ranks[1] if row not in ranks[0]],
        }
        yield (
            n,
            [
                [
                    title,
                    len(rows),
                    plain(
                        [
                            [row, [of.get(row) for of in ranks], [of.get(row) for of in values]]
                            for row in rows[:SENTENCES]
                        ]
                    ),
                ]
                for title, rows in kinds.items()
            ],
        )
