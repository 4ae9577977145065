"""The results that several stages read, as arrays."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from descry.errors import InputError
from descry.exemplars import ENDS, HIGHEST, LOWEST
from descry.labels import Neurons
from descry.splits import HALVES, SPLITS
from descry.storage import JSON, formed, hdf5_provenance, read_table, reading_hdf5, table_provenance

BOTTOM_GROUP = "bottom"  # of exemplars.h5: the lowest few of every neuron, to look at


@dataclass(frozen=True)
class Annotations:
    """B and what is behind it.

    Attributes:
        descriptors: their names, in the order of the columns.
        answer: int8 [sentences, descriptors]: 1 Yes, 0 No, -1 no answer.
        score: float32 of the same shape, log-odds of Yes; NaN where only words or nothing came.
        asked: bool [sentences], those that the labeller was asked about.
        sampled: bool [sentences], those of them that stand for the corpus.
        ids: of the sentences, row by row.
        labeller: who answered, as the fields of a labeller's identity.
        frame: what its chat template put around a prompt.
        made: what made the file.
    """

    descriptors: list[str]
    answer: np.ndarray
    score: np.ndarray
    asked: np.ndarray
    sampled: np.ndarray
    ids: list[str]
    labeller: dict[str, str]
    frame: tuple[str, str]
    made: JSON

    def without(self, columns: list[int]) -> "Annotations":
        """The same without some descriptors."""
        keep = [i for i in range(len(self.descriptors)) if i not in columns]
        names = [self.descriptors[i] for i in keep]
        return replace(
            self, descriptors=names, answer=self.answer[:, keep], score=self.score[:, keep]
        )

    def only(self, descriptors: list[str]) -> "Annotations":
        """The same with these descriptors only."""
        return self.without([i for i, d in enumerate(self.descriptors) if d not in descriptors])


@formed("annotate")
def read_annotations(path: Path) -> Annotations:
    """Read annotations.h5."""
    with reading_hdf5(path, "annotate") as file:
        names = file["descriptor"].asstr()[:].tolist()
        made = hdf5_provenance(file)
        labeller, frame = (json.loads(file.attrs[name]) for name in ("labeller", "frame"))
        ids = file["id"].asstr()[:].tolist()
        answer, score, asked, sampled = (
            file[name][:] for name in ("answer", "score", "asked", "sampled")
        )
    shapes = {values.shape for values in (answer, score)}, {asked.shape, sampled.shape}
    if shapes != ({(len(ids), len(names))}, {(len(ids),)}):
        raise ValueError("its datasets are not of the same sentences and descriptors")
    if not isinstance(labeller, dict) or not isinstance(frame, list):
        raise ValueError("it does not say who answered")
    if not isinstance(made, dict):
        raise ValueError("it does not say what made it")
    return Annotations(names, answer, score, asked, sampled, ids, labeller, (*frame,), made)


@formed("judge")
def read_judgements(path: Path) -> Annotations | None:
    """Read judgements.h5; None where there was no judge."""
    with reading_hdf5(path, "judge") as file:
        judged = "labeller" in file.attrs
    return read_annotations(path) if judged else None


def exemplar_group(split: str, end: str) -> str:
    """The group of exemplars.h5 with a split's sets at one end."""
    return split if end == HIGHEST else f"{end}/{split}"


@formed("untrained")
def has_exemplars(path: Path) -> bool:
    """Whether a file has exemplar sets: untrained.h5 has none where that null is not enabled."""
    with reading_hdf5(path, "untrained") as file:
        return exemplar_group("all", HIGHEST) in file


@formed("exemplars")
def read_ends(path: Path) -> tuple[str, ...]:
    """The ends that exemplars.h5 has sets of."""
    with reading_hdf5(path, "exemplars") as file:
        return tuple(end for end in ENDS if exemplar_group("all", end) in file)


@formed("exemplars")
def read_neurons(path: Path) -> Neurons:
    """The neurons of exemplars.h5."""
    with reading_hdf5(path, "exemplars") as file:
        return Neurons(tuple(file["layer"][:].tolist()), int(file["all/row"].shape[1]))


@formed("exemplars")
def read_exemplars(path: Path, split: str, end: str = HIGHEST) -> np.ndarray:
    """The exemplar sets of a split: int32 [layers, neurons, size], rows of the corpus."""
    with reading_hdf5(path, "exemplars") as file:
        return np.asarray(file[f"{exemplar_group(split, end)}/row"][:])


@dataclass(frozen=True)
class NeuronExemplars:
    """One neuron in the whole corpus.

    Attributes:
        sets: by end, rows of the corpus and their activations, the extreme one first.
        distribution: mean, deviation and so on of its activations.
    """

    sets: dict[str, tuple[np.ndarray, np.ndarray]]
    distribution: dict[str, np.ndarray]


SPREAD = ("mean", "deviation", "skewness", "kurtosis", "lowest", "highest")


def spread(distribution: Mapping[str, Any]) -> str:
    """A neuron's distribution in words."""
    return ", ".join(f"{name} {float(distribution[name]):.3f}" for name in SPREAD)


@formed("exemplars")
def read_neuron_exemplars(path: Path, row: int, index: int, ends: Sequence[str]) -> NeuronExemplars:
    """Read one neuron of exemplars.h5, at the ends that have labels.

    Raises:
        InputError: there are no sets of such an end.
    """
    if absent := set(ends) - set(read_ends(path)):
        raise InputError(
            f"{path}: no sets of the {min(absent)} activations, which labels.parquet has: run"
            " `descry label` again"
        )
    with reading_hdf5(path, "exemplars") as file:
        groups = {end: file[exemplar_group("all", end)] for end in ends}
        sets = {
            end: (g["row"][row, index], g["activation"][row, index]) for end, g in groups.items()
        }
        found = {name: values[row, index] for name, values in file["distribution"].items()}
    return NeuronExemplars(sets, found)


@dataclass(frozen=True)
class Shown:
    """What is shown of all neurons, a row each, all layers one after the other.

    Attributes:
        sets: by half, and `lowest` of the whole corpus: rows of the corpus and their activations,
            the extreme one first: [neurons, so many or fewer].
        distribution: mean, deviation and so on of their activations, [neurons] or [neurons, bins].
    """

    sets: dict[str, tuple[np.ndarray, np.ndarray]]
    distribution: dict[str, np.ndarray]


@formed("exemplars")
def read_shown(path: Path, number: int) -> Shown:
    """Read so many sentences of each set of exemplars.h5, and the distributions.

    Raises:
        InputError: it was written before the lowest were kept.
    """
    with reading_hdf5(path, "exemplars") as file:
        if BOTTOM_GROUP not in file:
            raise InputError(f"{path}: no lowest activations: run `descry exemplars` again")
        groups = {half: file[half] for half in HALVES} | {LOWEST: file[BOTTOM_GROUP]}
        sets = {
            name: (_flat(g["row"][:, :, :number]), _flat(g["activation"][:, :, :number]))
            for name, g in groups.items()
        }
        spread = {name: _flat(values[:]) for name, values in file["distribution"].items()}
    return Shown(sets, spread)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *values.shape[2:])


@dataclass(frozen=True)
class SplitLabels:
    """The label table of one split, float64 or bool [layers, neurons, descriptors]."""

    f: np.ndarray
    count: np.ndarray
    base_rate: np.ndarray
    lift: np.ndarray
    p: np.ndarray
    q: np.ndarray
    assigned: np.ndarray


@dataclass(frozen=True)
class Labels:
    """The label table of one end: per split, and what made it."""

    descriptors: list[str]
    neurons: Neurons
    splits: dict[str, SplitLabels]
    made: JSON

    @property
    def strength(self) -> np.ndarray:
        """By what neurons are ordered: float64 [layers, neurons], below 0 where there is no label.

        The highest lift of a neuron's labels, each that of the half where it is lower: a label that
        one half does not bear out does not come to the top.
        """
        lifts = [np.nan_to_num(self.splits[half].lift) for half in HALVES]
        lowest = np.asarray(np.minimum(*lifts))
        return np.asarray(np.where(self.splits["all"].assigned, lowest, -1.0).max(axis=2))

    def strongest(self) -> list[tuple[int, int]]:
        """Labelled neurons (row of the layer, index), the one of the highest `strength` first."""
        strength = self.strength.ravel()
        order = np.argsort(-strength, kind="stable")
        return [divmod(int(row), self.neurons.width) for row in order if strength[row] >= 0]


@formed("label")
def read_labels(path: Path, end: str = HIGHEST) -> Labels:
    """Read one end's rows of labels.parquet into arrays."""
    table = read_table(path, "label")
    made = table_provenance(table)
    table = table.filter(pc.equal(table["end"], end))
    descriptors = list(dict.fromkeys(table["descriptor"].to_pylist()))
    layers = tuple(pc.unique(table["layer"]).to_pylist())
    names = [field.name for field in fields(SplitLabels)]
    splits = {}
    for split in SPLITS:
        part = table.filter(pc.equal(table["split"], split))
        columns = {
            name: part[name].to_numpy().reshape(len(layers), -1, len(descriptors)) for name in names
        }
        splits[split] = SplitLabels(**columns)
    width = splits["all"].f.shape[1]
    return Labels(descriptors, Neurons(layers, width), splits, made)


@formed("label")
def labelled_ends(path: Path) -> list[str]:
    """The ends that labels.parquet has rows of."""
    found = pc.unique(read_table(path, "label", ["end"])["end"]).to_pylist()
    return [end for end in ENDS if end in found]
