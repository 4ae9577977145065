"""Facets of neurons, as the page has them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.models.neurons import Neurons
from descry.reporting.explorer.packs import plain

_NUMBERS = ("cover", "cover_reached", "covered", "covered_random")
_LABELLED = ("labelled", "labelled_low", "labelled_high", "labelled_random")


def whole(table: pa.Table, made: JSON) -> JSON:
    """What is said of all neurons: what chance gives, or why there are none.

    Args:
        table, made: facets.parquet, and what made it.
    """
    if "undefined" in made:
        return {"undefined": made["undefined"]}
    rows = table.select(["cover_reached", "labelled", "labelled_random", "breadth"]).to_pylist()
    labels = [one for row in rows for one in row["breadth"] or ()]
    known = [row for row in rows if row["labelled"] is not None]
    params = made["params"]["facets"]
    value = {name: params[name] for name in ("coverage", "negatives")}
    value |= {"chance": made["chance"], "no_close": made["no_close"]}
    value |= {"cover": sum(bool(row["cover_reached"]) for row in rows)}
    value |= {"labels": len(labels), "broad": sum(one["broad"] for one in labels)}
    for name in ("labelled", "labelled_random"):
        values = [row[name] for row in known if row[name] is not None]
        value[name] = sum(values) / len(values) if values else None
    found: JSON = plain(value)
    return found


def by_neuron(
    table: pa.Table,
    neurons: Neurons,
    sets: tuple[np.ndarray, np.ndarray],
    shown: int,
    place: Callable[[np.ndarray], np.ndarray],
) -> Sequence[JSON]:
    """Of each neuron, layer by layer: null where there is no row.

    Args:
        sets: exemplars of all neurons and their activations, [neurons, size].
        shown: sentences of a facet and of close negatives of either half.
        place: what gives the numbers on the site of rows of the corpus.
    """
    rows = {layer: row for row, layer in enumerate(neurons.layers)}
    found: list[JSON] = [None] * len(neurons)
    for one in table.to_pylist():
        number = rows[one["layer"]] * neurons.width + one["neuron"]
        rows_of, values = (of[number].tolist() for of in sets)
        activation = dict(zip(rows_of, values, strict=True))
        found[number] = plain(_neuron(one, activation, shown, place))
    return found


def rows_shown(table: pa.Table, shown: int) -> Iterator[int]:
    """The rows of the corpus that `by_neuron` shows, some of them several times."""
    for one in table.select(["facets", "close"]).to_pylist():
        yield from (row for part in one["facets"] for row in part["rows"][:shown])
        yield from (row["row"] for row in _closest(one, shown))


def _closest(one: Row, shown: int) -> list[Row]:
    return sorted(one["close"] or [], key=lambda row: -row["similarity"])[: 2 * shown]


def _neuron(
    one: Row,
    activation: Mapping[int, float],
    shown: int,
    place: Callable[[np.ndarray], np.ndarray],
) -> JSON:
    def placed(rows: Sequence[int]) -> list[int]:
        found: list[int] = place(np.array(rows, dtype=np.int64)).tolist()
        return found

    value: dict[str, JSON] = {name: one[name] for name in (*_NUMBERS, *_LABELLED)}
    parts = one["facets"] if len(one["facets"]) > 1 else []
    value["parts"] = [
        {
            "size": len(part["rows"]),
            "rows": [
                [at, activation.get(row)]
                for at, row in zip(placed(part["rows"][:shown]), part["rows"][:shown], strict=True)
            ],
            "labels": part["labels"],
        }
        for part in parts
    ]
    value["breadth"] = one["breadth"]
    close = _closest(one, shown)
    at = placed([row["row"] for row in close])
    value["close"] = [[row, of["activation"]] for row, of in zip(at, close, strict=True)]
    return value
