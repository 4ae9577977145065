"""Every label over all sentences of the half that did not choose it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from descry.activations.exemplar_files import read_exemplars
from descry.activations.nan_stats import NORMAL_95, mean, ratio
from descry.activations.store import DATA, neuron_blocks, transposed
from descry.activations.top_k import HIGHEST
from descry.annotators.annotations import MISSING, Annotations
from descry.corpus.splits import HALVES, other_half
from descry.evaluation.agreement import Reliability, corrected
from descry.evaluation.alignment import Alignment, align
from descry.io.csv_rows import Row
from descry.io.hdf5 import reading_hdf5
from descry.io.prefetch import cores, map_ahead
from descry.labels.assignment import asked_sets
from descry.labels.results import Labels, read_labels

if TYPE_CHECKING:
    import h5py

METRICS = tuple(field.name for field in fields(Alignment))
MEMORY = 2**28  # bytes of activations held at a time


@dataclass(frozen=True)
class _Half:
    """The labels that one half chose, and the sentences of the other.

    Attributes:
        chosen: the half that chose.
        neurons, descriptors: of the labels, int [labels]; neurons count over all layers.
        others: likewise the descriptors of other labels, drawn by lot, for the null.
        rows: int, rows of the corpus: the other half's sentences that were asked about.
        exemplars: int [neurons, size], places in `rows`, -1 behind the end of a smaller set.
        answers: int8 [rows, descriptors].
    """

    chosen: str
    neurons: np.ndarray
    descriptors: np.ndarray
    others: np.ndarray
    rows: np.ndarray
    exemplars: np.ndarray
    answers: np.ndarray

    def within(self, span: slice) -> np.ndarray:
        """The labels of some neurons."""
        return np.flatnonzero((self.neurons >= span.start) & (self.neurons < span.stop))

    def aligned(self, values: np.ndarray | None, span: slice, sign: int) -> tuple[np.ndarray, ...]:
        """Labels of some neurons, their scores and those of the others: [metrics, labels]."""
        labels = self.within(span)
        columns = None if values is None else transposed(values[self.rows]) * np.float32(sign)
        place = self.neurons[labels] - span.start
        sets = self.exemplars[span]
        both = np.concatenate([self.descriptors[labels], self.others[labels]])
        found = align(columns, sets, self.answers, (np.tile(place, 2), both))
        scores = np.array([getattr(found, name) for name in METRICS])
        return labels, scores[:, : len(labels)], scores[:, len(labels) :]


def label_scores(
    activations: Path,
    exemplars: Path,
    labels: Path,
    end: str,
    b: Annotations,
    rows: dict[str, np.ndarray],
    reliable: dict[str, Reliability],
    seed: int,
) -> tuple[pa.Table, list[Row]]:
    """Score the labels of each half on the other.

    Args:
        b: with the descriptors of the label table.
        rows: of each split in the corpus.
        reliable: by descriptor, where the annotator's errors are known.
        seed: draws the other labels that are the null.

    Returns:
        table: a row a label: where from, its numbers in the half that chose it; `Alignment` in the
            other, share (of the exemplars there that it applies to), and that share corrected for
            the annotator's errors, with its interval.
        means: a row a half and metric: value, low, high, null, corrected, defined.
    """
    table = read_labels(labels, end)
    sign = 1 if end == HIGHEST else -1
    halves = [_half(table, exemplars, end, b, rows, chosen, seed) for chosen in HALVES]
    scores = [np.full((2, len(METRICS), len(half.neurons)), np.nan) for half in halves]

    def score(block: tuple[slice, np.ndarray | None]) -> list[tuple[np.ndarray, ...]]:
        return [half.aligned(block[1], block[0], sign) for half in halves]

    threads = cores()
    blocks = _blocks(activations, halves, len(table.neurons), MEMORY // (3 * (threads + 2)))
    for results in map_ahead(score, blocks, threads):
        for (found, own, null), held in zip(results, scores, strict=True):
            held[0][:, found], held[1][:, found] = own, null
    both = list(zip(halves, scores, strict=True))
    means = [
        {"end": end, "chosen": half.chosen, "score": name} | _beside_null(*held[:, row])
        for half, held in both
        for row, name in enumerate(METRICS)
    ]
    tables = [_table(table, end, half, held[0], reliable) for half, held in both]
    return pa.concat_tables(tables), means


def _half(
    table: Labels,
    exemplars: Path,
    end: str,
    b: Annotations,
    rows: dict[str, np.ndarray],
    chosen: str,
    seed: int,
) -> _Half:
    other = other_half(chosen)
    asked = rows[other][b.asked[rows[other]]]
    sets = read_exemplars(exemplars, other, end)
    sets = sets.reshape(-1, sets.shape[2])
    assigned = table.splits[chosen].assigned.reshape(len(table.neurons), -1)
    assigned = assigned & asked_sets(sets, b.asked)[:, None]
    neurons, descriptors = np.nonzero(assigned)
    lots = np.random.default_rng([seed, *b"other labels"]).permutation(len(descriptors))
    places = np.where(sets >= 0, np.searchsorted(asked, sets), sets)
    return _Half(chosen, neurons, descriptors, descriptors[lots], asked, places, b.answer[asked])


def _blocks(
    activations: Path, halves: list[_Half], neurons: int, most: int
) -> Iterator[tuple[slice, np.ndarray | None]]:
    """Neurons with labels, and their activations of all sentences where they are stored."""
    with reading_hdf5(activations, "activations") as file:
        if DATA not in file:
            yield slice(0, neurons), None
            return
        data: h5py.Dataset = file[DATA]
        for layer, columns in neuron_blocks(data, most):
            first = layer * data.shape[2]
            span = slice(first + columns.start, first + columns.stop)
            if any(len(half.within(span)) for half in halves):
                yield span, data[:, layer, columns].astype(np.float32, copy=False)


def _beside_null(values: np.ndarray, nulls: np.ndarray) -> Row:
    """The mean over labels beside that of other labels, with the interval of a normal mean."""
    known = values[~np.isnan(values)]
    value, null, nan = mean(values), mean(nulls), float("nan")
    reach = NORMAL_95 * float(known.std(ddof=1)) / len(known) ** 0.5 if len(known) > 1 else nan
    room = (value - null) / (1 - null) if null < 1 else nan
    numbers = {"value": value, "low": value - reach, "high": value + reach, "null": null}
    return numbers | {"corrected": room, "defined": len(known)}


def _table(
    table: Labels, end: str, half: _Half, scores: np.ndarray, reliable: dict[str, Reliability]
) -> pa.Table:
    width, split = table.neurons.width, table.splits[half.chosen]
    place = half.neurons // width, half.neurons % width, half.descriptors
    names = np.array(table.descriptors, dtype=object)[half.descriptors]
    layers = np.array(table.neurons.layers, dtype=np.int16)[place[0]]
    members = half.exemplars[half.neurons]
    answers = np.where(members >= 0, half.answers[members, half.descriptors[:, None]], MISSING)
    yes, answered = (answers == 1).sum(axis=1), (answers >= 0).sum(axis=1)
    free = np.full((3, len(names)), np.nan)
    for name, annotator in reliable.items():
        own = np.flatnonzero(names == name)
        found = corrected(yes[own], answered[own], annotator)
        free[:, own] = found.value, found.low, found.high
    columns = {
        "end": [end] * len(names),
        "chosen": [half.chosen] * len(names),
        "layer": layers,
        "neuron": place[1].astype(np.int32),
        "descriptor": names,
    }
    columns |= {name: getattr(split, name)[place] for name in ("f", "lift", "p", "q")}
    columns |= dict(zip(METRICS, scores, strict=True))
    columns |= {"share": ratio(yes, answered)}
    columns |= dict(zip(("corrected", "corrected_low", "corrected_high"), free, strict=True))
    kinds = {"end": pa.string(), "chosen": pa.string(), "descriptor": pa.string()}
    return pa.table(
        {
            name: pa.array(values, kinds.get(name), from_pandas=True)
            for name, values in columns.items()
        }
    )
