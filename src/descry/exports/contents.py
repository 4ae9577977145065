"""What an export tells of each neuron, in no tool's form yet."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.histogram import BINS
from descry.activations.nan_stats import mean
from descry.activations.top_k import HIGHEST
from descry.corpus.units import POSITIONS, SENTENCES
from descry.errors import InputError
from descry.exports.target_tokens import DIGITS, TokenValues, target_of, token_values
from descry.io.csv_rows import Row
from descry.io.parquet import read_table
from descry.labels.results import Numbers, neuron_labels, surest
from descry.models.neurons import Neurons
from descry.provenance.audit.project import Project
from descry.run import Run

HELD_OUT = ("auroc", "f1", "average_precision")  # of label_scores.parquet
_WRITTEN = ("promoted", "suppressed")


@dataclass(frozen=True)
class Exemplar:
    """A sentence, or a position of one, that excites a neuron.

    Attributes:
        rank: from 1.
        id: of the sentence; of a position with its token behind.
        text: as the annotator read it; "" where sentences are left out.
        activation: of the whole, as it was ranked.
        descriptors: that the annotator said Yes of.
        tokens: the sentence by token; None where sentences are left out.
        place: the token that the activation is of; of a mean over tokens the highest one.
    """

    rank: int
    id: str
    text: str
    activation: float
    descriptors: list[str]
    tokens: TokenValues | None
    place: int | None


@dataclass(frozen=True)
class Explained:
    """A neuron.

    Attributes:
        labels: the surest first: descriptor, f, count, base_rate, lift, expected, p, q,
            q_unmatched, replicated, and of `HELD_OUT` the mean over the halves that chose the
            label, each in the other half (NaN where neither half alone did).
        silent: why it has no exemplars; None where it has.
        distribution: mean, deviation, skewness, kurtosis, lowest, highest.
        edges: of the histogram's bins, ascending, float64 [bins + 1]; the first and the last bin
            stand for all below and above.
        counts: int [bins], sentences.
        nonzero: the share of sentences with an activation other than 0.
        promoted, suppressed: tokens whose logits its output weights raise and lower beyond chance,
            with their z, the furthest first.
    """

    name: str
    row: int
    layer: int
    index: int
    labels: list[Row]
    exemplars: list[Exemplar]
    silent: str | None
    distribution: dict[str, float]
    edges: np.ndarray
    counts: np.ndarray
    nonzero: float
    promoted: list[tuple[str, float]] = field(default_factory=list)
    suppressed: list[tuple[str, float]] = field(default_factory=list)

    @property
    def centres(self) -> np.ndarray:
        """The centres of the histogram's bins."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)


def chosen_neurons(run: Run, neurons: Sequence[str] | None, *, every: bool) -> list[str]:
    """The names of the neurons to export, layer by layer.

    Args:
        neurons: names; None: those with a label, or with `every` all.

    Raises:
        InputError: there is no such neuron, or none has a label.
    """
    known = run.neurons
    if neurons is not None:
        places = sorted({known.find(name) for name in neurons})
    elif every:
        places = [(row, i) for row in range(len(known.layers)) for i in range(known.width)]
    else:
        rows = {layer: row for row, layer in enumerate(known.layers)}
        table = run.surest.select(["layer", "neuron"]).to_pylist()
        places = sorted({(rows[one["layer"]], one["neuron"]) for one in table})
    if not places:
        raise InputError("export: no neuron has a label: --all takes them all")
    return [known.name(*place) for place in places]


def explained(
    run: Project, names: Sequence[str], *, exemplars: int, sentences: bool
) -> list[Explained]:
    """All that an export tells of some neurons.

    Args:
        exemplars: of each neuron, at most.
        sentences: whether their texts are told; the target then reads them again, for activations
            by token.

    Raises:
        InputError: a result or the target is missing.
    """
    # What can be a label is the same for all: a neuron's own would be read for each.
    of_one = neuron_labels(run.path("labels.parquet"), run.neurons.layers[0], 0).get(HIGHEST, {})
    labels, written = _labels(run, of_one), _written(run)
    neurons = [run.neuron(name) for name in names]
    sets = [tuple(part[:exemplars] for part in n.sets.sets[HIGHEST]) for n in neurons]
    rows = {n.name: of.tolist() for n, (of, _) in zip(neurons, sets, strict=True)}
    ids = run.corpus["id"]
    texts = run.corpus["text"] if sentences else None
    read = _by_token(run, rows) if sentences else {}
    position = str(run.provenance("activations.h5")["position"])
    found = []
    for neuron, (own, values) in zip(neurons, sets, strict=True):
        said = _said(run, own, of_one)
        members = [
            Exemplar(
                rank=rank,
                id=ids[row].as_py(),
                text="" if texts is None else texts[row].as_py(),
                activation=float(f"{value:.{DIGITS}g}"),
                descriptors=said[rank - 1],
                tokens=(of := read.get((neuron.name, row))),
                place=None if of is None else _place(run, of, row, position),
            )
            for rank, (row, value) in enumerate(
                zip(own.tolist(), values.tolist(), strict=True), start=1
            )
        ]
        spread = neuron.distribution
        found.append(
            Explained(
                name=neuron.name,
                row=neuron.row,
                layer=neuron.layer,
                index=neuron.index,
                labels=labels.get((neuron.layer, neuron.index), []),
                exemplars=members,
                silent=neuron.silent,
                distribution={
                    name: float(f"{float(spread[name]):.{DIGITS}g}")
                    for name in ("mean", "deviation", "skewness", "kurtosis", "lowest", "highest")
                },
                edges=_edges(spread),
                counts=np.asarray(spread["counts"]),
                nonzero=_nonzero(spread),
                **written.get((neuron.layer, neuron.index), {}),
            )
        )
    return found


def _said(run: Run, rows: np.ndarray, known: Collection[str]) -> list[list[str]]:
    """For each sentence: the descriptors with the answer Yes that can be labels."""
    names = run.annotations.descriptors
    yes = (run.annotations.at(rows) == 1) & [name in known for name in names]
    return [[names[column] for column in np.flatnonzero(one)] for one in yes]


def _labels(
    run: Run, of_one: Mapping[str, Mapping[str, Numbers]]
) -> dict[tuple[int, int], list[Row]]:
    """The labels of the whole corpus by layer and neuron, the surest first.

    Args:
        of_one: any neuron's numbers by descriptor and split: base rates are the same for all.
    """
    path = run.path("labels.parquet")
    base = {name: splits["all"].base_rate for name, splits in of_one.items()}
    scored = _held_out(run)
    found: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in surest(path).to_pylist():
        place = row.pop("layer"), row.pop("neuron")
        row["base_rate"] = base[row["descriptor"]]
        found[place].append(row | scored.get((*place, row["descriptor"]), _NOT_SCORED))
    return found


_NOT_SCORED = dict.fromkeys(HELD_OUT, float("nan"))


def _held_out(run: Run) -> dict[tuple[int, int, str], Row]:
    """The mean scores of each label in the halves that did not choose the label."""
    if not run.has("label_scores.parquet"):
        return {}
    columns = ["layer", "neuron", "descriptor", *HELD_OUT]
    table = run.read("label_scores.parquet", columns, pc.field("end") == HIGHEST)
    rows: dict[tuple[int, int, str], list[Row]] = defaultdict(list)
    for row in table.to_pylist():
        rows[row["layer"], row["neuron"], row["descriptor"]].append(row)
    return {
        label: {
            name: mean(np.array([one[name] for one in some], dtype=np.float64)) for name in HELD_OUT
        }
        for label, some in rows.items()
    }


def _written(run: Run) -> dict[tuple[int, int], dict[str, Any]]:
    """The tokens that neurons write, where the run says so."""
    if not run.has("writes.parquet") or run.writes_nothing is not None:
        return {}
    columns = [f"{name}_{what}" for name in _WRITTEN for what in ("token", "z")]
    table = run.read("writes.parquet", ["layer", "neuron", *columns])
    return {
        (row["layer"], row["neuron"]): {
            name: list(zip(row[f"{name}_token"], row[f"{name}_z"], strict=True))
            for name in _WRITTEN
        }
        for row in table.to_pylist()
    }


def _edges(spread: Mapping[str, np.ndarray]) -> np.ndarray:
    """The edges of the histogram, the two open bins as wide as the others."""
    places = np.arange(-1, BINS + 2, dtype=np.float64)
    return np.asarray(float(spread["low"]) + float(spread["step"]) * places)


def _nonzero(spread: Mapping[str, np.ndarray]) -> float:
    """The share of sentences whose activation is not 0, as far as an extreme is at 0.

    Neurons of a ReLU and latents are 0 at the bottom; others have both signs, and hardly ever 0.
    """
    number = int(np.sum(spread["counts"]))
    zeros = sum(
        int(spread[f"at_{end}"]) for end in ("lowest", "highest") if float(spread[end]) == 0
    )
    return max(0.0, 1 - zeros / number) if number else 0.0


def _by_token(
    run: Project, rows: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], TokenValues]:
    """Every neuron's exemplars by token: by the neuron's name and the row of what is labelled."""
    if run.units == POSITIONS:
        owner = run.corpus["sentence"].to_numpy()
        every = read_table(run.path(SENTENCES), "corpus", ["text"])["text"]
    else:
        owner, every = np.arange(len(run.corpus)), run.corpus["text"]
    numbers = sorted({int(owner[row]) for some in rows.values() for row in some})
    texts = dict(zip(numbers, every.take(pa.array(numbers, pa.int64())).to_pylist(), strict=True))
    places: Neurons = run.neurons
    wanted = [
        (places.find(name), sorted({int(owner[row]) for row in some}))
        for name, some in rows.items()
    ]
    target, params = target_of(run), run.provenance("activations.h5")["params"]
    values = token_values(target, texts, wanted, params["batch_tokens"])
    return {
        (name, row): values[number][int(owner[row])]
        for number, (name, some) in enumerate(rows.items())
        for row in some
    }


def _place(run: Run, of: TokenValues, row: int, position: str) -> int:
    """The token that an exemplar's activation is of."""
    if run.units == POSITIONS:
        return int(run.corpus["token"][row].as_py())
    if position in ("cls", "last"):
        return 0 if position == "cls" else len(of.values) - 1
    return _highest(of.values, of.own)


def _highest(values: Sequence[float], own: Iterable[int]) -> int:
    """The place of the highest value among those that count; of equal ones the first."""
    return max(own, key=lambda place: (values[place], -place))
