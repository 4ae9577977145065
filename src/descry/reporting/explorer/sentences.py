"""Packs of sentences: text, answers, and the neurons that each excites."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from descry.annotators.annotations import Annotations
from descry.io.hashing import JSON
from descry.io.number_format import fixed
from descry.reporting.explorer.packs import Pack, plain, slices, whole_numbers

SIZE = 64  # sentences of a pack
_TOGETHER = 128 * SIZE  # sentences whose answers are read at a time
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
            sets: int [neurons, size], numbers of sentences, highest activation first, -1 for those
                that do not count.
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

    @cached_property
    def excites(self) -> np.ndarray:
        """In how many sets each sentence is: int64 [sentences]."""
        return np.diff(self.start)


def columns(corpus: Path) -> list[str]:
    """The columns of the table of what is labelled that a pack has."""
    import pyarrow.parquet as pq

    known = pq.read_schema(corpus).names
    return [*_COLUMNS, *(name for name in _OF_POSITION if name in known)]


def sentence_packs(
    corpus: pa.Table,
    rows: np.ndarray,
    b: Annotations,
    gold: np.ndarray,
    excited: SentenceIndex,
    most: int,
    cut: np.ndarray,
) -> Iterator[Pack]:
    """All sentences of the site, some packs of which are held at a time.

    Args:
        corpus: the sentences of the site, with `columns`.
        rows: theirs in the whole corpus, int64, ascending.
        b: the annotator's answers, of the descriptors in the order of the run.
        gold: int8 [sentences of the site, descriptors], as `read_gold` gives it.
        most: neurons of a sentence.
        cut: int [sentences of the whole corpus], tokens that the target has not seen.
    """
    number = 0
    for block in slices(len(rows), _TOGETHER):
        own = rows[block]
        answer, score, asked = b.at(own), b.odds_at(own), b.asked[own]
        others = None if b.proxy is None else np.asarray(~b.proxy.cells.at(own).T)
        unseen, unread = cut[own], b.cut[own]
        for within in slices(len(own), SIZE):
            place = slice(block.start + within.start, block.start + within.stop)
            said = answer[within]
            columns = {
                "asked": asked[within].tolist(),
                "yes": _yes(said, score[within]),
                "none": _places((said < 0) & asked[within, None]),
                "neurons": excited.of(place, most),
                "excites": excited.excites[place].tolist(),
            }
            records = plain(corpus.slice(place.start, place.stop - place.start).to_pylist())
            for record, *values in zip(records, *columns.values(), strict=True):
                record |= dict(zip(columns, values, strict=True))
            if others is not None:
                by_oracle = _places((said >= 0) & others[within])
                for record, asked_of in zip(records, by_oracle, strict=True):
                    record["by_oracle"] = asked_of
            for name, tokens in (("cut", unseen[within]), ("unread", unread[within])):
                for row in np.flatnonzero(tokens).tolist():
                    records[row][name] = int(tokens[row])
            judged = np.any(gold[place] >= 0, axis=1).tolist()
            for row, labels in enumerate(_places(gold[place] == 1)):
                if judged[row]:
                    records[row]["gold"] = labels
            yield Pack(f"sentences-{number}", records)
            number += 1


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


def examples(b: Annotations, most: int) -> list[np.ndarray]:
    """Of each descriptor rows with the answer Yes, those of the highest score first."""
    found = []
    for name in b.descriptors:
        rows = np.flatnonzero(b.yes(name))
        score = np.nan_to_num(b.odds(name)[rows], nan=-np.inf)
        found.append(rows[np.argsort(-score, kind="stable")][:most])
    return found
