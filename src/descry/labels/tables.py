"""Labels as the rows of labels.parquet and composed.parquet."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from descry.labels.compositional import Formula
from descry.models.neurons import Neurons

LABELS = pa.schema(
    {
        "end": pa.string(),
        "split": pa.string(),
        "layer": pa.int16(),
        "neuron": pa.int32(),
        "descriptor": pa.string(),
        "f": pa.float64(),
        "count": pa.int32(),
        "base_rate": pa.float64(),
        "lift": pa.float64(),
        "expected": pa.float64(),
        "p": pa.float64(),
        "q": pa.float64(),
        "p_unmatched": pa.float64(),
        "q_unmatched": pa.float64(),
        "assigned": pa.bool_(),
    }
)
COMPOSED = pa.schema(
    {
        "end": pa.string(),
        "split": pa.string(),
        "layer": pa.int16(),
        "neuron": pa.int32(),
        "formula": pa.string(),
        "length": pa.int16(),
        "iou": pa.float64(),
        "other_iou": pa.float64(),
        "other_single": pa.float64(),
        "other_null": pa.float64(),
    }
)
OTHER = ("other_iou", "other_single", "other_null")  # of composed labels, in the other half


def label_table(
    end: str,
    split: str,
    neurons: Neurons,
    start: int,
    descriptors: list[str],
    columns: dict[str, np.ndarray],
) -> pa.Table:
    """Rows of `LABELS`, of the neurons from one on.

    Args:
        start: the first neuron, counted over all layers.
        columns: the further columns by name, each [neurons, descriptors].
    """
    number, each = len(columns["f"]), len(descriptors)
    rows = number * each
    names = pa.DictionaryArray.from_arrays(
        np.tile(np.arange(each, dtype=np.int32), number), pa.array(descriptors, pa.string())
    )
    table = {
        "end": _constant(end, rows),
        "split": _constant(split, rows),
        "layer": np.repeat(_layers(neurons, start, number), each),
        "neuron": np.repeat(np.arange(start, start + number) % neurons.width, each),
        "descriptor": names.cast(pa.string()),
    }
    table |= {name: _nullable(values) for name, values in columns.items()}
    return pa.table(table).cast(LABELS)


def composed_table(
    end: str,
    split: str,
    neurons: Neurons,
    descriptors: list[str],
    formulas: Sequence[Formula | None],
    ious: Mapping[str, np.ndarray],
) -> pa.Table:
    """Rows of `COMPOSED`, of all neurons.

    Args:
        ious: `iou`, and the columns `OTHER` where they are known, float64 [neurons].
    """
    number = len(neurons)
    table = {
        "end": _constant(end, number),
        "split": _constant(split, number),
        "layer": _layers(neurons, 0, number),
        "neuron": np.arange(number) % neurons.width,
        "formula": pa.array([f and f.text(descriptors) for f in formulas], pa.string()),
        "length": pa.array([f and f.length for f in formulas], pa.int16()),
    }
    unknown = pa.nulls(number, pa.float64())
    for name in ("iou", *OTHER):
        table[name] = _nullable(ious[name]) if name in ious else unknown
    return pa.table(table).cast(COMPOSED)


def _layers(neurons: Neurons, start: int, number: int) -> np.ndarray:
    rows = np.arange(start, start + number) // neurons.width
    return np.array(neurons.layers, dtype=np.int16)[rows]


def _constant(value: str, number: int) -> pa.Array:
    indices = np.zeros(number, dtype=np.int8)
    return pa.DictionaryArray.from_arrays(indices, [value]).cast(pa.string())


def _nullable(values: np.ndarray) -> pa.Array:
    """Undefined values are null."""
    return pa.array(np.ascontiguousarray(values).ravel(), from_pandas=True)
