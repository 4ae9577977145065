"""What the report says of graphs: how well they predict, and what their sentences talk about."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from descry.n2g.comparison import Talk, held, talk
from descry.n2g.reading import readable
from descry.n2g.records import Record
from descry.n2g.summary import layer_rows
from descry.results import Annotations, Labels
from descry.storage import JSON
from descry.tidy import Row

TOKENS = 8  # activating tokens shown of a graph
_MEANS = ("precision", "recall", "f1", "pearson", "r2")


def reported(
    records: Sequence[Record], made: JSON, table: Labels, b: Annotations
) -> dict[str, Any] | None:
    """The values of the page's section, numbers in words; None where there are no graphs.

    Raises:
        InputError: a neuron with a graph is not in the label table.
    """
    if not records:
        return None
    answers = b.answer[:, [b.descriptors.index(name) for name in table.descriptors]]
    drawn = [record for record in records if record.graph.drawn]
    talks = [talk(np.array(one.fires, dtype=np.int64), answers, b.sampled) for one in drawn]
    labels = [table.splits["all"].assigned[table.neurons.find(one.name)] for one in drawn]
    pairs = zip(drawn, talks, labels, strict=True)
    return {
        "position": made["position"],
        "scores": [_means(row) for row in layer_rows(records)],
        "held": held(talks, labels),
        "neurons": [_neuron(*pair, table.descriptors) for pair in pairs],
    }


def _means(row: Row) -> dict[str, str]:
    names = ("layer", "predictor", "neurons", "firing")
    return {name: str(row[name]) for name in names} | {name: _number(row[name]) for name in _MEANS}


def _neuron(
    record: Record, found: Talk, labels: np.ndarray, descriptors: list[str]
) -> dict[str, Any]:
    """A neuron's labels, and the descriptor with the highest lift, in its graph's sentences."""

    def shown(column: int) -> dict[str, str]:
        share, lift = found.share[column], found.lift[column]
        times = "lift undefined" if np.isnan(lift) else f"{lift:.1f}x"
        return {"name": descriptors[column], "share": _number(share), "lift": times}

    starting = {node.token for node in record.graph.drawn if node.parent < 0}
    tokens = sorted(readable(record.words[token]) for token in starting)
    return {
        "name": record.name,
        "tokens": tokens[:TOKENS],
        "more": max(0, len(tokens) - TOKENS),
        "f1": _number(record.scores["graph"].f1),
        "sentences": f"{found.sentences:,}",
        "labels": [shown(column) for column in np.flatnonzero(labels).tolist()],
        "top": None if found.top is None else shown(found.top),
    }


def _number(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"
