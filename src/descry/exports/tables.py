"""What an export tells, as three tables: neurons, labels, exemplars."""

from collections.abc import Sequence

import pyarrow as pa

from descry.exports.contents import HELD_OUT, Explained

_NUMBERS = ("f", "lift", "base_rate", "expected", "p", "q", "q_unmatched", *HELD_OUT)
_OF = [("neuron", pa.string()), ("layer", pa.int32()), ("index", pa.int32())]
_SPREAD = ("mean", "deviation", "skewness", "kurtosis", "lowest", "highest")

NEURONS = pa.schema(
    [
        *_OF,
        ("labels", pa.list_(pa.string())),
        ("silent", pa.string()),
        ("nonzero", pa.float64()),
        *((name, pa.float64()) for name in _SPREAD),
        ("histogram_edges", pa.list_(pa.float64())),
        ("histogram_counts", pa.list_(pa.int64())),
        ("promoted", pa.list_(pa.string())),
        ("suppressed", pa.list_(pa.string())),
    ]
)
LABELS = pa.schema(
    [
        *_OF,
        ("rank", pa.int32()),
        ("descriptor", pa.string()),
        ("count", pa.int32()),
        *((name, pa.float64()) for name in _NUMBERS),
        ("replicated", pa.bool_()),
    ]
)
EXEMPLARS = pa.schema(
    [
        *_OF,
        ("rank", pa.int32()),
        ("id", pa.string()),
        ("text", pa.string()),
        ("activation", pa.float64()),
        ("descriptors", pa.list_(pa.string())),
        ("place", pa.int32()),
        ("tokens", pa.list_(pa.string())),
        ("activations", pa.list_(pa.float64())),
    ]
)


def neurons_table(neurons: Sequence[Explained]) -> pa.Table:
    """A row a neuron: its labels, why it is silent, the distribution of its activations, ..."""
    rows = [
        _of(one)
        | one.distribution
        | {
            "labels": [label["descriptor"] for label in one.labels],
            "silent": one.silent,
            "nonzero": one.nonzero,
            "histogram_edges": one.edges.tolist(),
            "histogram_counts": one.counts.tolist(),
            "promoted": [token for token, _ in one.promoted],
            "suppressed": [token for token, _ in one.suppressed],
        }
        for one in neurons
    ]
    return _table(rows, NEURONS)


def labels_table(neurons: Sequence[Explained]) -> pa.Table:
    """A row a label, the surest of a neuron first."""
    rows = [
        _of(one) | {"rank": rank} | label
        for one in neurons
        for rank, label in enumerate(one.labels, start=1)
    ]
    return _table(rows, LABELS)


def exemplars_table(neurons: Sequence[Explained], *, sentences: bool) -> pa.Table:
    """A row an exemplar; without sentences neither text nor tokens."""
    rows = [
        _of(one)
        | {name: getattr(of, name) for name in ("rank", "id", "activation", "descriptors", "place")}
        | {
            "text": of.text if sentences else None,
            "tokens": None if of.tokens is None else of.tokens.tokens,
            "activations": None if of.tokens is None else of.tokens.values,
        }
        for one in neurons
        for of in one.exemplars
    ]
    return _table(rows, EXEMPLARS)


def _of(one: Explained) -> dict[str, object]:
    return {"neuron": one.name, "layer": one.layer, "index": one.index}


def _table(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    """The rows' columns of a schema; a float that is NaN is undefined."""
    columns = [
        pa.array([row[item.name] for row in rows], item.type, from_pandas=True) for item in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
