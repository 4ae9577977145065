"""One pair of neurons: which sentences and answers made the difference between two models."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from descry.activations.exemplar_files import activation_places, read_neuron_exemplars
from descry.activations.store import read_column
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.io.number_format import fixed, small
from descry.io.tree import Node
from descry.labels.results import Numbers
from descry.provenance.audit.changes import LabelChange, label_changes, read_state
from descry.provenance.audit.evidence import as_json
from descry.provenance.audit.project import STAGES
from descry.provenance.audit.tree import label_change
from descry.provenance.diff.files import made_differently
from descry.reporting.explorer.packs import plain
from descry.run import Run
from descry.two_models.pair import Pair

BOTH, FIRST, SECOND = "both", "first", "second"
Places = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Sentence:
    """An exemplar of one of two neurons, or of both.

    Attributes:
        where: both, first or second: whose exemplar it is.
        ranks: among the exemplars of each, from 1; None where it is none.
        activations: of each; None where it is none and the matrix is not here.
        descriptors: that the annotator said Yes of, in the run whose exemplar it is.
    """

    where: str
    id: str
    text: str
    ranks: tuple[int | None, int | None]
    activations: tuple[float | None, float | None]
    descriptors: list[str]


@dataclass(frozen=True)
class NeuronDiff:
    """A neuron of each model, and why their labels differ.

    Attributes:
        first, second: names of the neurons.
        match: row of `Diff.neurons`.
        labels: descriptors that are a label of one of the two in the whole corpus.
        numbers: rows of `Diff.labels`.
        sentences: exemplars of both, of the first alone, then of the second alone, each in the
            order of the activation.
        made: stage by stage, what its files were made by otherwise, a line each.
        places: digits behind the point of activations.
    """

    first: str
    second: str
    models: tuple[str, str]
    match: Row
    labels: list[LabelChange]
    numbers: list[Row]
    sentences: list[Sentence]
    made: dict[str, list[str]]
    places: tuple[int, int]

    def of(self, where: str) -> list[Sentence]:
        """The exemplars of both, of the first alone, or of the second alone."""
        return [one for one in self.sentences if one.where == where]

    def as_json(self) -> JSON:
        """All of it as plain values; undefined numbers are None."""
        return plain(as_json(self))


def neuron_diff(pair: Pair, at: Places, end: str, match: Row, numbers: list[Row]) -> NeuronDiff:
    """Read a pair of neurons.

    Args:
        at: row of the layer and index of each.
        end: of the activations.
        match, numbers: as in the result.
    """
    names = [of.name(*place) for of, place in zip(pair.neurons, at, strict=True)]
    before, after = (
        read_state(name, partial(_result, run)) for name, run in zip(names, pair.runs, strict=True)
    )
    sentences, places = _sentences(pair, at, end)
    return NeuronDiff(
        names[0],
        names[1],
        pair.names,
        match,
        [one for one in label_changes(before, after) if one.end == end],
        numbers,
        sentences,
        dict(_made(pair)),
        places,
    )


def _result(run: Run, stage: str) -> Path:
    return run.path(STAGES[stage])


def _sentences(pair: Pair, at: Places, end: str) -> tuple[list[Sentence], tuple[int, int]]:
    """The exemplars of a pair of neurons, by row and index; and digits of their activations."""
    ranks: list[dict[int, int]] = []
    known: list[dict[int, float]] = []
    places = []
    for run, (row, index) in zip(pair.runs, at, strict=True):
        own = read_neuron_exemplars(run.path("exemplars.h5"), row, index, [end])
        rows, values = own.sets[end]
        ranks.append({int(one): rank for rank, one in enumerate(rows, start=1)})
        known.append(dict(zip(rows.tolist(), values.tolist(), strict=True)))
        places.append(activation_places(own.distribution))
    every = np.array(sorted({*ranks[0], *ranks[1]}), dtype=np.intp)
    if (paths := pair.activations) is not None:
        for of, path, (row, index) in zip(known, paths, at, strict=True):
            of.update(
                zip(every.tolist(), read_column(path, row, index)[every].tolist(), strict=True)
            )
    yes = [_yes(run, every) for run in pair.runs]
    table = pair.first.sentences(every).select(["id", "text"]).to_pylist()
    found = []
    for place, (one, sentence) in enumerate(zip(every.tolist(), table, strict=True)):
        where = (
            BOTH if one in ranks[0] and one in ranks[1] else FIRST if one in ranks[0] else SECOND
        )
        found.append(
            Sentence(
                where,
                sentence["id"],
                sentence["text"],
                (ranks[0].get(one), ranks[1].get(one)),
                (known[0].get(one), known[1].get(one)),
                yes[where == SECOND][place],
            )
        )
    order = (BOTH, FIRST, SECOND)
    found.sort(key=lambda s: (order.index(s.where), s.ranks[0] or s.ranks[1]))
    return found, (places[0], places[1])


def _yes(run: Run, rows: np.ndarray) -> list[list[str]]:
    b = run.annotations
    return [[b.descriptors[c] for c in np.flatnonzero(one)] for one in b.at(rows) == 1]


def _made(pair: Pair) -> Iterator[tuple[str, list[str]]]:
    for stage, name in STAGES.items():
        paths = [run.path(name) for run in pair.runs]
        if all(path.is_file() for path in paths):
            rows = made_differently(paths[0], paths[1])
            yield stage, [f"{row.part}: {row.values[1]} -> {row.values[0]}" for row in rows]


def tree_of_pair(found: NeuronDiff, rows: int) -> Node:
    """A pair of neurons in words.

    Args:
        rows: sentences shown of each kind, at most.
    """
    top = Node(f"{found.first} of {found.models[0]} -> {found.second} of {found.models[1]}")
    m = found.match
    if m["rho"] is not None and m["rho"] == m["rho"]:
        top.add(
            f"rank correlation {fixed(m['rho'], 2)}, within strata {fixed(m['rho_within'], 2)}"
            f" (p {small(m['p'])}, q {small(m['q'])}; next best {fixed(m['rival'], 2)})"
        )
    for label in found.labels:
        node = top.add(label_change(label))
        node.add(f"exemplars {_numbers(label.before)} -> {_numbers(label.after)}")
        for row in found.numbers:
            if row["descriptor"] == label.descriptor:
                node.add(_tested(row))
    if not found.labels:
        top.add("no label in either model")
    titles = {BOTH: "exemplars of both", FIRST: "only of the first", SECOND: "only of the second"}
    for where, title in titles.items():
        own = found.of(where)
        shown = f", {rows} shown" if len(own) > rows else ""
        expected = ""
        if where == BOTH and m["exemplars_matched"] is not None:
            number = m["exemplars_matched"] * (len(own) + len(found.of(FIRST)))
            expected = f" ({fixed(number, 1)} expected of random sets of the same strata)"
        node = top.add(f"{title}: {len(own)}{expected}{shown}")
        for one in own[:rows]:
            node.add(_sentence(one, found.places))
    for stage, lines in found.made.items():
        if lines:
            node = top.add(f"stage {stage} was made otherwise")
            for line in lines:
                node.add(line)
    same = [stage for stage, lines in found.made.items() if not lines]
    if same:
        top.add(f"stages made the same way: {', '.join(same)}")
    return top


def _numbers(numbers: Numbers | None) -> str:
    if numbers is None:
        return "no such descriptor"
    return f"{numbers.count}, {fixed(numbers.expected, 1)} expected"


def _tested(row: Row) -> str:
    return (
        f"exemplars with it only in the first {row['only_first']}, only in the second"
        f" {row['only_second']}: p {small(row['p'])}, q {small(row['q'])}"
    )


def _sentence(one: Sentence, places: tuple[int, int]) -> str:
    values = " -> ".join(
        fixed(value, digits) if value is not None else "not stored"
        for value, digits in zip(one.activations, places, strict=True)
    )
    said = ", ".join(one.descriptors) or "nothing"
    return f"{values} {one.id}: {one.text} [{said}]"
