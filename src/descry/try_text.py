"""A text of the user through the model of a run: which neurons fire on it, and at which words.

A neuron fires on a text that would be one of its exemplars. The number of neurons that fire stands
beside the number that fire on a sentence of the corpus, on average.

What the number of a word is depends on where activations are taken: activations/word_effects.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.standing import Standing, standing
from descry.activations.store import DATA
from descry.activations.truncation import seen
from descry.activations.word_effects import (
    Asked,
    Measure,
    Word,
    at_words,
    measure,
    without_words,
    words_in,
)
from descry.corpus.fields import cleaned
from descry.corpus.splits import sentence_id
from descry.corpus.units import language
from descry.errors import InputError
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5
from descry.io.number_format import fixed
from descry.io.sanitize import printable
from descry.io.yaml_files import read_yaml
from descry.models.checkpoints import Checkpoint
from descry.models.dictionaries.dictionary import Dictionary
from descry.models.hooked_model import HookedModel
from descry.run import Run

_SHOWN = 10  # rows of a table in a notebook


class Firing(NamedTuple):
    """A neuron on the text.

    Attributes:
        percent: of the corpus' sentences that do not excite the neuron more, 0 to 100.
        place: that the text would take among the neuron's exemplars, from 1; None where it would
            not be one, so that the neuron does not fire.
        size: exemplars of the neuron.
        deviations: from the mean over the corpus; None where the neuron never changes.
        digits: behind the point of the neuron's activations.
        labels: descriptors, the surest first.
        words: what each word of the text does, float32 [words], as `Trial.measure` says; NaN where
            that cannot be told.
    """

    neuron: str
    activation: float
    percent: float
    place: int | None
    size: int
    deviations: float | None
    digits: int
    labels: list[str]
    words: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Trial:
    """A text and the neurons of a run.

    Attributes:
        text: as the model read it: cleaned as reviews are.
        id: that a sentence of this text has.
        in_corpus: whether the corpus has this sentence.
        seen: how much of the text the model saw, where it did not see all.
        kind: of the neurons: neuron, latent or direction.
        words: of the text.
        measure: what a number of a word is: the highest `activation` of its tokens, or the
            activation that is `lost without it`.
        exact: whether percents are counted; else they are read off histograms.
        firings: of the neurons asked for, those first whose percent is highest.
        sentences: of the corpus.
    """

    text: str
    id: str
    in_corpus: bool
    seen: str | None
    kind: str
    words: list[Word]
    measure: Measure
    exact: bool
    firings: list[Firing]
    sentences: int

    @property
    def firing(self) -> int:
        """How many of the neurons fire."""
        return sum(one.place is not None for one in self.firings)

    def __getitem__(self, neuron: str) -> Firing:
        for one in self.firings:
            if one.neuron == neuron.upper():
                return one
        raise InputError(f"{neuron}: not among the neurons of this trial: ask for it by its name")

    @property
    def expected(self) -> float:
        """How many of the neurons fire on a sentence of the corpus, on average."""
        return sum(one.size for one in self.firings) / self.sentences

    @cached_property
    def labels(self) -> list[Row]:
        """Count the firing neurons of each label: label, firing, neurons, expected.

        Those first that are furthest above what is expected of a sentence of the corpus.
        """
        of: dict[str, list[Firing]] = {}
        for one in self.firings:
            for name in one.labels:
                of.setdefault(name, []).append(one)
        rows = [
            {
                "label": name,
                "firing": sum(one.place is not None for one in some),
                "neurons": len(some),
                "expected": sum(one.size for one in some) / self.sentences,
            }
            for name, some in of.items()
        ]
        return sorted(rows, key=lambda row: row["expected"] - row["firing"])

    @property
    def table(self) -> pa.Table:
        """The neurons, a row each, with the columns of `Firing`; words as lists."""
        rows = [one._asdict() | {"words": one.words.tolist()} for one in self.firings]
        return pa.Table.from_pylist(rows, _SCHEMA)

    def as_json(self) -> JSON:
        """All of it."""
        told = {n: getattr(self, n) for n in ("text", "id", "in_corpus", "seen", "kind", "measure")}
        return told | {
            "words": [word._asdict() for word in self.words],
            "exact": self.exact,
            "firing": self.firing,
            "expected": self.expected,
            "sentences": self.sentences,
            "labels": self.labels,
            "neurons": self.table.to_pylist(),
        }

    def __repr__(self) -> str:
        of = f"{self.firing:,} of {len(self.firings):,} {self.kind}s fire"
        return f"<Trial: {of}, {fixed(self.expected, 1)} expected>"

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{name}</th>" for name in (self.kind, "labels", "activation", "percent")
        )
        rows = "".join(
            f"<tr><td>{one.neuron}</td><td>{escape(printable(', '.join(one.labels)))}</td>"
            f"<td>{fixed(one.activation, one.digits)}</td><td>{fixed(one.percent, 1)}</td></tr>"
            for one in self.firings[:_SHOWN]
        )
        title = escape(f"{printable(self.text)}: {repr(self)[8:-1]}")
        return f"<table><caption>{title}</caption><tr>{head}</tr>{rows}</table>"


_SCHEMA = pa.schema(
    [
        ("neuron", pa.string()),
        ("activation", pa.float32()),
        ("percent", pa.float64()),
        ("place", pa.int64()),
        ("size", pa.int64()),
        ("deviations", pa.float64()),
        ("digits", pa.int64()),
        ("labels", pa.list_(pa.string())),
        ("words", pa.list_(pa.float32())),
    ]
)


def try_text(
    run: Run, text: str, neurons: Sequence[str] | None = None, *, every: bool = False
) -> Trial:
    """Send a text through the model of a run, as its sentences went.

    Args:
        text: is cleaned as a review is; it need not be as long as params.yaml wants a review.
        neurons: names such as L5:50; None: those with a label, or with `every` all.

    Raises:
        InputError: no text, no such neuron, none has a label, a file of the run is missing, or the
            model is not here, or is another.
    """
    shown = cleaned(text)
    if not shown:
        raise InputError("try: there is no text: type some in quotes, or `-` to read it from stdin")
    labels = _labels(run)
    chosen = _chosen(run, neurons, labels, every)
    made = run.provenance("activations.h5")
    model = _model(run, made)
    of_positions = made["params"].get("unit") == "token"
    how = measure(model.position, of_positions)
    words = words_in(model, shown, language(run.provenance("corpus.parquet")), how)
    asked = Asked(shown, words, chosen)
    if how == "activation":
        values, parts = at_words(model, asked, of_positions)
    else:
        values, parts = next(without_words(model, [asked], made["params"]["batch_tokens"]))
    found = standing(run.path("exemplars.h5"), _matrix(run, of_positions), values)
    at = tuple(np.array(chosen, dtype=np.intp).reshape(-1, 2).T)
    order = np.lexsort((-np.nan_to_num(found.deviations[at]), found.above[at]))
    names = [run.neurons.name(row, index) for row, index in chosen]
    firings = [
        _firing(names[i], chosen[i], values, found, labels.get(names[i], []), parts[:, i])
        for i in order
    ]
    tokens, length = model.fit([shown])
    known = run.read("corpus.parquet", ["id"])["id"]
    name = sentence_id(shown)
    return Trial(
        shown,
        name,
        pc.index(known, name).as_py() >= 0,
        seen(len(tokens[0]), int(length[0]) - len(tokens[0])),
        run.kind,
        words,
        how,
        found.exact,
        firings,
        found.sentences,
    )


def _firing(
    name: str,
    place: tuple[int, int],
    values: np.ndarray,
    found: Standing,
    labels: list[str],
    words: np.ndarray,
) -> Firing:
    away = float(found.deviations[place])
    return Firing(
        name,
        float(values[place]),
        100 * (1 - float(found.above[place]) / found.sentences),
        int(found.place[place]) or None,
        int(found.size[place]),
        None if np.isnan(away) else away,
        int(found.digits[place]),
        labels,
        words.astype(np.float32),
    )


def _labels(run: Run) -> dict[str, list[str]]:
    """The labels of the highest activations by neuron, the surest first."""
    found: dict[str, list[str]] = {}
    if run.has("labels.parquet"):
        for row in run.surest.select(["layer", "neuron", "descriptor"]).to_pylist():
            found.setdefault(f"L{row['layer']}:{row['neuron']}", []).append(row["descriptor"])
    return found


def _chosen(
    run: Run, neurons: Sequence[str] | None, labels: dict[str, list[str]], every: bool
) -> list[tuple[int, int]]:
    """The neurons that are meant, as rows of layers and numbers, each once."""
    known = run.neurons
    if neurons is not None:
        return list(dict.fromkeys(known.find(name) for name in neurons))
    if every:
        return [(row, i) for row in range(len(known.layers)) for i in range(known.width)]
    if not labels:
        raise InputError(
            f"{run.path('labels.parquet')}: no {run.kind} has a label: name some, or ask for all"
            " (--all)"
        )
    return sorted(map(known.find, labels))


def _model(run: Run, made: JSON) -> HookedModel:
    """The model as the run had it, on a device of this machine.

    Raises:
        InputError: the model that is here now is another.
    """
    params = made["params"]
    target, dictionary = (_placed(run, name, params[name]) for name in ("target", "dictionary"))
    model = HookedModel(
        Checkpoint(**target),
        site=made["site"],
        position=made["position"],
        layers=params["layers"],
        dtype=params["dtype"],
        device="auto",
        max_tokens=made["max_tokens"],
        sinks=params["sinks"],
        dictionary=Dictionary(**dictionary) if dictionary else None,
    )
    here = tuple(model.layers), model.neurons
    if here != (run.neurons.layers, run.neurons.width) or (
        model.tokenizer_sha256 != made["tokenizer"]
    ):
        raise InputError(
            f"{target['model']}: not the model that {run.path('activations.h5')} is of:"
            " its layers or its tokenizer are others now: run `snakemake --cores all`"
        )
    return model


def _placed(run: Run, name: str, recorded: JSON) -> JSON:
    """A model or dictionary of a record, at its place on this machine, which records do not have.

    params.yaml has the place, where its revision is still the recorded one.
    """
    file = run.results.parent / "params.yaml"
    if recorded is None or not file.is_file():
        return recorded
    section = (read_yaml(file) or {}).get("activations") or {}
    now = section.get(name) or {}
    return now if now.get("revision") == recorded["revision"] else recorded


def _matrix(run: Run, of_positions: bool) -> Path | None:
    """activations.h5 where it holds an activation for each sentence; else None."""
    path = run.path("activations.h5")
    if of_positions:
        return None
    with reading_hdf5(path, "activations") as file:
        return path if DATA in file else None
