"""Where activations of one text stand among those of the corpus, neuron by neuron."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from descry.activations.exemplar_files import exemplar_group
from descry.activations.store import DATA, ROWS
from descry.activations.top_k import HIGHEST
from descry.io.hdf5 import dataset, reading_hdf5
from descry.io.number_format import places

_INNER = 1  # the first bin of a histogram that is not open
# Activations nearer than this, in deviations of the neuron, are the same: last digits depend on the
# batch, and a sentence of the corpus is not to stand below itself.
NEAR = 1e-3


class Standing(NamedTuple):
    """Where activations stand; arrays are [layers, neurons].

    Attributes:
        sentences: of the corpus.
        above: float64, how many sentences have a higher activation, by more than last digits.
        exact: whether `above` is counted; else it is read off histograms, between whose bins it is
            interpolated.
        size: int64, members of each exemplar set of the whole corpus; 0 where there is none.
        place: int64, the place that the activation would take in the set, from 1; 0 where it would
            be none of the set's.
        deviations: float64, how far it is from the mean of the sentences, in standard deviations;
            NaN where the neuron never changes.
        digits: int64, digits behind the point by which activations are told apart.
    """

    sentences: int
    above: np.ndarray
    exact: bool
    size: np.ndarray
    place: np.ndarray
    deviations: np.ndarray
    digits: np.ndarray


def standing(exemplars: Path, matrix: Path | None, values: np.ndarray) -> Standing:
    """Look up where the activations of a text stand.

    Args:
        exemplars: exemplars.h5.
        matrix: activations.h5 with a row for each sentence, to count in; None: the histograms of
            exemplars.h5 tell.
        values: float [layers, neurons].

    Raises:
        InputError: a file is missing or damaged.
    """
    with reading_hdf5(exemplars, "exemplars") as file:
        kept = dataset(file, f"{exemplar_group('all', HIGHEST)}/activation", (*values.shape, None))
        told = {name: of[:] for name, of in file["distribution"].items()}
        spread = np.nan_to_num(told["deviation"].astype(np.float64))
        least = values + NEAR * spread  # what is higher
        higher, size = (np.zeros(values.shape, dtype=np.int64) for _ in range(2))
        for layer, own in enumerate(least):
            members = kept[layer]
            higher[layer] = (members > own[:, None]).sum(axis=1)
            size[layer] = (~np.isnan(members)).sum(axis=1)
    sentences = int(told["counts"][0, 0].sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = np.where(spread > 0, (values - told["mean"]) / spread, np.nan)
    above = _by_histogram(told, values) if matrix is None else _counted(matrix, least)
    place = np.where(higher < size, higher + 1, 0)
    digits = np.vectorize(places, otypes=[np.int64])(spread, told["highest"])
    return Standing(sentences, above, matrix is not None, size, place, deviations, digits)


def _counted(matrix: Path, values: np.ndarray) -> np.ndarray:
    found = np.zeros(values.shape)
    with reading_hdf5(matrix, "activations") as file:
        data = dataset(file, DATA, (None, *values.shape), "f")
        for start in range(0, len(data), ROWS):
            found += (data[start : start + ROWS] > values).sum(axis=0)
    return found


def _by_histogram(told: dict[str, np.ndarray], values: np.ndarray) -> np.ndarray:
    """Sentences above: those of higher bins, and the part of the value's own bin that is above."""
    counts = told["counts"].astype(np.float64)
    last = counts.shape[2] - 1
    at = (values - told["low"]) / told["step"] + _INNER
    own = np.clip(at, 0, last).astype(np.intp)
    number = counts.sum(axis=2)
    behind = number[:, :, None] - np.cumsum(counts, axis=2)
    share = np.where((own > 0) & (own < last), own + 1 - at, 0.5)  # an open bin has no ends
    place = own[:, :, None]
    inside = np.take_along_axis(counts, place, axis=2)[:, :, 0] * share
    found = np.take_along_axis(behind, place, axis=2)[:, :, 0] + inside
    found = np.where(values <= told["lowest"], number - told["at_lowest"], found)
    found = np.where(values < told["lowest"], number, found)
    return np.asarray(np.where(values >= told["highest"], 0, found))
