"""The results that several stages read, as arrays."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.top_k import ENDS, HIGHEST
from descry.corpus.splits import HALVES, SPLITS
from descry.io.hashing import JSON
from descry.io.parquet import read_table, read_where
from descry.io.read_provenance import provenance_of
from descry.io.readable import unreadable
from descry.models.neurons import Neurons

REPLICATED = 0.05  # p within strata, below which a half confirms a label that it did not choose


@dataclass(frozen=True)
class Numbers:
    """A label's row in one split, and whether it was assigned there; None where undefined."""

    assigned: bool
    f: float | None
    count: int
    base_rate: float | None
    lift: float | None
    expected: float | None
    p: float | None
    q: float | None
    p_unmatched: float | None
    q_unmatched: float | None

    @property
    def order(self) -> tuple[float, float]:
        """What descriptors are ordered by: the surest first, of equals the most frequent."""
        return (1.0 if self.p is None else self.p), -(self.f or 0.0)

    def explained(self, fdr: float) -> bool:
        """Whether the strata explain what would else be a discovery."""
        return (
            self.q is not None and self.q_unmatched is not None and self.q_unmatched <= fdr < self.q
        )


NeuronLabels = dict[str, dict[str, dict[str, Numbers]]]  # by end, descriptor and split


def neuron_labels(path: Path, layer: int, index: int) -> NeuronLabels:
    """A neuron's rows of labels.parquet, and no others.

    Args:
        layer: its number in the model.
    """
    names = [field.name for field in fields(Numbers)]
    columns, only = ["end", "descriptor", "split", *names], {"layer": layer, "neuron": index}
    found: NeuronLabels = {}
    for row in read_where(path, "label", columns, only).to_pylist():
        end, descriptor, split = (row.pop(name) for name in ("end", "descriptor", "split"))
        found.setdefault(end, {}).setdefault(descriptor, {})[split] = Numbers(**row)
    return found


@dataclass(frozen=True)
class SplitLabels:
    """The label table of one split, float64 or bool [layers, neurons, descriptors]."""

    f: np.ndarray
    count: np.ndarray
    base_rate: np.ndarray
    lift: np.ndarray
    expected: np.ndarray
    p: np.ndarray
    q: np.ndarray
    p_unmatched: np.ndarray
    q_unmatched: np.ndarray
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

        The highest lift of a neuron's labels. Of a label the lift in the half where it is lower
        counts: a label that one half does not bear out does not come to the top.
        """
        lifts = [np.nan_to_num(self.splits[half].lift) for half in HALVES]
        lowest = np.asarray(np.minimum(*lifts))
        return np.asarray(np.where(self.splits["all"].assigned, lowest, -1.0).max(axis=2))

    def strongest(self) -> list[tuple[int, int]]:
        """Labelled neurons (row of the layer, index), the one of the highest `strength` first."""
        strength = self.strength.ravel()
        order = np.argsort(-strength, kind="stable")
        return [divmod(int(row), self.neurons.width) for row in order if strength[row] >= 0]


def read_labels(path: Path, end: str = HIGHEST) -> Labels:
    """Read one end's rows of labels.parquet into arrays, a split at a time."""
    keys = _label_rows(path, end, "all", ["layer", "descriptor"])
    layers, descriptors = (pc.unique(keys[name]).to_pylist() for name in keys.column_names)
    columns = [field.name for field in fields(SplitLabels)]
    shape = len(layers), -1, len(descriptors)
    splits = {}
    for split in SPLITS:
        part = _label_rows(path, end, split, columns)
        if len(part) != len(keys) or len(keys) % max(1, len(layers) * len(descriptors)):
            raise unreadable(path, "label", f"its rows of {split} are not of every neuron")
        values = {name: part[name].to_numpy().reshape(shape) for name in columns}
        splits[split] = SplitLabels(**values)
    width = splits["all"].f.shape[1]
    return Labels(descriptors, Neurons(tuple(layers), width), splits, provenance_of(path, "label"))


def _label_rows(path: Path, end: str, split: str, columns: list[str]) -> pa.Table:
    only = (pc.field("end") == end) & (pc.field("split") == split)
    return read_table(path, "label", columns, only)


def labelled_ends(path: Path) -> list[str]:
    """The ends that labels.parquet has rows of."""
    found = pc.unique(read_table(path, "label", ["end"])["end"]).to_pylist()
    return [end for end in ENDS if end in found]
