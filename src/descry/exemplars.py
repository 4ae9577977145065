"""Exemplar sets: the sentences that excite a neuron most (paper, section 3.3)."""

import math

import numpy as np

from descry.errors import InputError


def exemplar_size(sentences: int, top_percent: float, min_size: int) -> int:
    """How many sentences the top `top_percent` of so many are, rounded up.

    Raises:
        InputError: fewer than `min_size`.
    """
    size = math.ceil(round(sentences * top_percent / 100, 9))
    if size < min_size:
        raise InputError(
            f"exemplars.top_percent: {top_percent:g}% of {sentences} sentences is {size}, but an"
            f" exemplar set needs {min_size} (exemplars.min_size): use more reviews or a larger"
            " percentage"
        )
    return size


def exemplar_sets(activations: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The `size` sentences with the highest activation, for every neuron.

    Args:
        activations: float [sentences, neurons], rows in the order of sentence ids.

    Returns:
        rows: int32 [neurons, size], highest activation first, ties by the lower row.
        values: float32 [neurons, size], their activations.
    """
    columns = np.ascontiguousarray(activations.T)
    rows = np.empty((len(columns), size), dtype=np.int32)
    for neuron, column in enumerate(columns):
        rows[neuron] = _top(column, size)
    return rows, np.take_along_axis(columns, rows, axis=1).astype(np.float32)


def _top(column: np.ndarray, size: int) -> np.ndarray:
    last = np.partition(column, len(column) - size)[len(column) - size]
    above = np.flatnonzero(column > last)
    ties = np.flatnonzero(column == last)[: size - len(above)]
    chosen = np.concatenate([above, ties])
    return chosen[np.lexsort((chosen, -column[chosen]))]
