"""Packs of sentences: text, answers, and the neurons that each excites."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from descry.annotators.annotations import Annotations
from descry.io.hashing import JSON
from descry.io.number_format import fixed
from descry.reporting.explorer.packs import Pack, plain, slices, whole_numbers

SIZE = 64  # sentences of a pack
_COLUMNS = ["id", "text", "summary", "category", "overall", "split", "source", "line"]

_OF_POSITION = ["word", "token", "frequency"]


@dataclass(frozen=True)
class SentenceIndex:
    """The neurons in whose exemplar sets each sentence is, those that rank it highest first.

    Attributes:
        start: int64 [sentences + 1], where each sentence's part of the others begins.
        neuron, rank, activation: numbers of neurons, places in their sets from 1, activations.
        places: of each neuron, digits behind the point of its activations.
    """

    start: np.ndarray
    neuron: np.ndarray
    rank: np.ndarray
    activation: np.ndarray
    places: list[int]

    @classmethod
    def by(
        cls, sets: np.ndarray, activations: np.ndarray, sentences: int, places: list[int]
    ) -> "SentenceIndex":
        """Turn exemplar sets round; ties by the neuron.

        Args:
            sets: int [neurons, size], rows of the corpus, highest activation first, -1 behind the
                end of a smaller set.
            activations: float32 of the same shape.
            places: as above.
        """
        neurons = len(sets)
        rows = sets.T.ravel()  # in the order of rank and neuron, which a stable sort keeps
        nobody = int(np.count_nonzero(rows < 0))
        order = np.argsort(rows, kind="stable").astype(np.int32)[nobody:]
        start = np.concatenate([[0], np.cumsum(np.bincount(rows[order], minlength=sentences))])
        rank, neuron = order // neurons, order % neurons
        return cls(start, neuron, rank + 1, activations[neuron, rank], places)

    def of(self, rows: slice, most: int) -> Iterator[list[list[Any]]]:
        """Of each of some sentences neuron, rank and activation (in words) of the leading ones."""
        start, number = self.start[rows], self.excites[rows]
        kept = np.minimum(number, most)
        places = np.repeat(start - np.cumsum(kept) + kept, kept) + np.arange(kept.sum())
        neurons, values = self.neuron[places].tolist(), self.activation[places].tolist()
        told = [fixed(x, self.places[n]) for n, x in zip(neurons, values, strict=True)]
        columns = neurons, self.rank[places].tolist(), told
        return _parted([list(one) for one in zip(*columns, strict=True)], kept)

    @property
    def excites(self) -> np.ndarray:
        """In how many sets each sentence is: int64 [sentences]."""
        return np.diff(self.start)


def sentence_packs(
    corpus: pa.Table,
    b: Annotations,
    gold: np.ndarray,
    excited: SentenceIndex,
    most: int,
    cut: np.ndarray,
) -> Iterator[Pack]:
    """All sentences.

    Args:
        corpus: of corpus.parquet.
        b: the annotator's answers, of the descriptors in the order of the run.
        gold: int8 [sentences, descriptors], as `read_gold` gives it.
        most: neurons of a sentence.
        cut: int [sentences], tokens that the target has not seen.
    """
    own = [name for name in _OF_POSITION if name in corpus.column_names]
    table = corpus.select([*_COLUMNS, *own])
    for number, rows in enumerate(slices(len(table), SIZE)):
        columns = {
            "asked": b.asked[rows].tolist(),
            "yes": _yes(b.answer[rows], b.score[rows]),
            "none": _places((b.answer[rows] < 0) & b.asked[rows, None]),
            "neurons": excited.of(rows, most),
            "excites": excited.excites[rows].tolist(),
        }
        records = plain(table.slice(rows.start, rows.stop - rows.start).to_pylist())
        for record, *values in zip(records, *columns.values(), strict=True):
            record |= dict(zip(columns, values, strict=True))
        if b.proxy:
            theirs = b.proxy.cells.at(np.arange(rows.start, rows.stop)).T
            by_oracle = _places((b.answer[rows] >= 0) & ~theirs)
            for record, asked_of in zip(records, by_oracle, strict=True):
                record["by_oracle"] = asked_of
        for row in np.flatnonzero(cut[rows]).tolist():
            records[row]["cut"] = int(cut[rows.start + row])
        for row in np.flatnonzero(b.cut[rows]).tolist():
            records[row]["unread"] = int(b.cut[rows.start + row])
        for row, labels in enumerate(_places(gold[rows] == 1)):
            if (gold[rows.start + row] >= 0).any():
                records[row]["gold"] = labels
        yield Pack(f"sentences-{number}", records)


def _yes(answer: np.ndarray, score: np.ndarray) -> Iterator[list[JSON]]:
    """Of each sentence descriptors with Yes and ten times their log-odds, the highest first.

    Ties by column.
    """
    row, column = np.nonzero(answer == 1)
    known = score[row, column].astype(np.float64)
    order = np.lexsort((-np.nan_to_num(known, nan=-np.inf), row))
    odds = whole_numbers(known[order], 10)
    pairs = [list(pair) for pair in zip(column[order].tolist(), odds, strict=True)]
    return _parted(pairs, np.bincount(row, minlength=len(answer)))


def _places(flags: np.ndarray) -> Iterator[list[int]]:
    """Of each row the columns that are set."""
    return _parted(np.nonzero(flags)[1].tolist(), flags.sum(axis=1))


def _parted(values: list[Any], numbers: np.ndarray) -> Iterator[list[Any]]:
    """A list in parts of so many each."""
    end = np.cumsum(numbers)
    edges = zip((end - numbers).tolist(), end.tolist(), strict=True)
    return (values[first:last] for first, last in edges)


def examples(b: Annotations, most: int) -> dict[str, list[int]]:
    """Sentences with the answer Yes to each descriptor, those of the highest score first."""
    found = {}
    for column in range(len(b.descriptors)):
        rows = np.flatnonzero(b.answer[:, column] == 1)
        score = np.nan_to_num(b.score[rows, column], nan=-np.inf)
        found[str(column)] = rows[np.argsort(-score, kind="stable")][:most].tolist()
    return found
