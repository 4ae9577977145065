"""An export as CSV files: one a table, for spreadsheets and whatever reads those."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from descry.exports.contents import Explained
from descry.exports.tables import exemplars_table, labels_table, neurons_table
from descry.io.atomic import write_text
from descry.io.spreadsheets import guarded, in_one_cell

_JOINED = "; "  # between the values of a list
_ELSEWHERE = ("histogram_edges", "histogram_counts", "tokens", "activations")  # own files
TOKENS = ("neuron", "rank", "id", "place", "token", "activation")
HISTOGRAMS = ("neuron", "low", "high", "sentences")


def write(neurons: Sequence[Explained], folder: Path, *, sentences: bool) -> None:
    """Write neurons.csv, labels.csv, exemplars.csv, histograms.csv, and tokens.csv with sentences.

    Numbers have all their digits, undefined ones are empty. A text that a spreadsheet would take
    for a formula, a number or a date has an apostrophe before it.
    """
    tables = {
        "neurons": neurons_table(neurons),
        "labels": labels_table(neurons),
        "exemplars": exemplars_table(neurons, sentences=sentences),
    }
    for name, table in tables.items():
        kept = [column for column in table.column_names if column not in _ELSEWHERE]
        if not sentences:
            kept = [column for column in kept if column not in ("text", "place")]
        _write(folder / f"{name}.csv", kept, _rows(table.select(kept)))
    _write(folder / "histograms.csv", HISTOGRAMS, _bins(neurons))
    if any(of.tokens for one in neurons for of in one.exemplars):
        _write(folder / "tokens.csv", TOKENS, _tokens(neurons))


def _rows(table: pa.Table) -> Iterator[list[object]]:
    for row in table.to_pylist():
        yield list(row.values())


def _bins(neurons: Sequence[Explained]) -> Iterator[list[object]]:
    for one in neurons:
        edges = one.edges.tolist()
        for low, high, count in zip(edges[:-1], edges[1:], one.counts.tolist(), strict=True):
            yield [one.name, low, high, count]


def _tokens(neurons: Sequence[Explained]) -> Iterator[list[object]]:
    for one in neurons:
        for of in one.exemplars:
            if of.tokens is not None:
                pairs = zip(of.tokens.tokens, of.tokens.values, strict=True)
                for place, (token, value) in enumerate(pairs):
                    yield [one.name, of.rank, of.id, place, token, value]


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue())


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = _JOINED.join(map(str, value))
    if isinstance(value, str):
        return guarded(in_one_cell(value))
    return value
