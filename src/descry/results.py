"""The results that several stages read, as arrays."""

import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from descry.errors import InputError
from descry.splits import HALVES, SPLITS
from descry.storage import JSON, hdf5_provenance, read_table, reading_hdf5, table_provenance


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
        made: what made the file.
    """

    descriptors: list[str]
    answer: np.ndarray
    score: np.ndarray
    asked: np.ndarray
    sampled: np.ndarray
    ids: list[str]
    labeller: dict[str, str]
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


def read_annotations(path: Path) -> Annotations:
    """Read annotations.h5."""
    with reading_hdf5(path, "annotate") as file:
        names = file["descriptor"].asstr()[:].tolist()
        made = hdf5_provenance(file)
        labeller = json.loads(file.attrs["labeller"])
        ids = file["id"].asstr()[:].tolist()
        answer, score, asked, sampled = (
            file[name][:] for name in ("answer", "score", "asked", "sampled")
        )
        return Annotations(names, answer, score, asked, sampled, ids, labeller, made)


def read_judgements(path: Path) -> Annotations | None:
    """Read judgements.h5; None where there was no judge."""
    with reading_hdf5(path, "judge") as file:
        judged = "labeller" in file.attrs
    return read_annotations(path) if judged else None


def read_exemplars(path: Path, split: str) -> np.ndarray:
    """The exemplar sets of a split: int32 [layers, neurons, size], rows of the corpus."""
    with reading_hdf5(path, "exemplars") as file:
        return np.asarray(file[f"{split}/row"][:])


def read_neuron_exemplars(path: Path, layer: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """One neuron's exemplars in the whole corpus: rows of the corpus, and their activations."""
    with reading_hdf5(path, "exemplars") as file:
        return file["all/row"][layer, index], file["all/activation"][layer, index]


@dataclass(frozen=True)
class SplitLabels:
    """The label table of one split, float64 or bool [layers, neurons, descriptors]."""

    f: np.ndarray
    count: np.ndarray
    base_rate: np.ndarray
    lift: np.ndarray
    assigned: np.ndarray


@dataclass(frozen=True)
class Labels:
    """The label table: per split, and what made it."""

    descriptors: list[str]
    splits: dict[str, SplitLabels]
    made: JSON

    @property
    def shape(self) -> tuple[int, int]:
        """Layers, and neurons of a layer."""
        layers, width, _ = self.splits["all"].f.shape
        return layers, width

    def strongest(self) -> list[tuple[int, int]]:
        """Labelled neurons (layer, index), the one with the highest lift first.

        The lift is that of the label whose lift is lowest of the two halves: a label that one half
        does not bear out does not come to the top.
        """
        lifts = [np.nan_to_num(self.splits[half].lift) for half in HALVES]
        lowest = np.asarray(np.minimum(*lifts))
        best = np.where(self.splits["all"].assigned, lowest, -1.0).max(axis=2)
        labelled = np.asarray(self.splits["all"].assigned.any(axis=2))
        order = np.argsort(-best.ravel(), kind="stable")
        chosen = [divmod(int(row), self.shape[1]) for row in order]
        return [(layer, index) for layer, index in chosen if labelled[layer, index]]


def read_labels(path: Path) -> Labels:
    """Read labels.parquet into arrays."""
    table = read_table(path, "label")
    descriptors = list(dict.fromkeys(table["descriptor"].to_pylist()))
    layers = int(table["layer"].to_numpy().max()) + 1
    names = [field.name for field in fields(SplitLabels)]
    splits = {}
    for split in SPLITS:
        part = table.filter(pc.equal(table["split"], split))
        columns = {
            name: part[name].to_numpy().reshape(layers, -1, len(descriptors)) for name in names
        }
        splits[split] = SplitLabels(**columns)
    return Labels(descriptors, splits, table_provenance(table))


def parse_neuron(name: str, layers: int, width: int) -> tuple[int, int]:
    """L5:24 -> (5, 24).

    Raises:
        InputError: it is no neuron of such a model.
    """
    match = re.fullmatch(r"[Ll](\d+):(\d+)", name)
    known = f"the neurons are L0:0 to L{layers - 1}:{width - 1}"
    if not match:
        raise InputError(f"{name}: not a neuron: write it as L5:24; {known}")
    layer, index = int(match[1]), int(match[2])
    if layer >= layers or index >= width:
        raise InputError(f"{name}: no such neuron: {known}")
    return layer, index
