"""The results that several stages read, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.top_k import ENDS, HIGHEST
from descry.corpus.covariates import in_words
from descry.corpus.splits import HALVES, SPLITS
from descry.io.hashing import JSON
from descry.io.parquet import read_table, read_where
from descry.io.read_provenance import provenance_of
from descry.io.readable import unreadable
from descry.models.neurons import Neurons

REPLICATED = 0.05  # p within strata, below which a half confirms a label that it did not choose


@dataclass(frozen=True)
class Numbers:
    """The numbers of a neuron and a descriptor in one split; None where undefined."""

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
        """The key that sorts descriptors: the surest first, of equals the most frequent."""
        return (1.0 if self.p is None else self.p), -(self.f or 0.0)

    @property
    def confirmed(self) -> bool:
        """Whether a half with these numbers confirms the label: p < .05 within strata."""
        return self.p is not None and self.p < REPLICATED

    def explained(self, fdr: float) -> bool:
        """Whether the strata explain what would otherwise be a label."""
        return (
            self.q is not None and self.q_unmatched is not None and self.q_unmatched <= fdr < self.q
        )


def verdict(split: str, numbers: Numbers, fdr: float, strata: Sequence[str]) -> str:
    """Return a verdict on a descriptor in a few words, such as "label, confirmed".

    Args:
        split: `all`, or a half.
        numbers: numbers of the neuron and descriptor in that split.
        fdr: false discovery rate of a label.
        strata: the covariates that sentences are matched on.
    """
    words = ["label"] if numbers.assigned else []
    if split == "all" and numbers.explained(fdr):
        words.append(f"explained by {in_words(strata)}")
    if split in HALVES:
        words.append("confirmed" if numbers.confirmed else "not confirmed")
    return ", ".join(words) or "no label"


NeuronLabels = dict[str, dict[str, dict[str, Numbers]]]  # by end, descriptor and split


def neuron_labels(path: Path, layer: int, index: int) -> NeuronLabels:
    """Read a neuron's rows of labels.parquet, and no others.

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

    def explained(self, fdr: float) -> np.ndarray:
        """Return where the strata explain what would otherwise be a label: bool, as the table."""
        return np.asarray((self.q_unmatched <= fdr) & (self.q > fdr))


@dataclass(frozen=True)
class Labels:
    """The label table of one end: per split, and what made it."""

    descriptors: list[str]
    neurons: Neurons
    splits: dict[str, SplitLabels]
    made: JSON

    @property
    def replicated(self) -> np.ndarray:
        """Labels of the whole corpus that each half alone confirms: bool, of the tables' shape.

        A half confirms a label where it has p < .05 within strata.
        """
        halves = [self.splits[half].p < REPLICATED for half in HALVES]  # an undefined p is not
        return np.asarray(self.splits["all"].assigned & halves[0] & halves[1])

    def by_evidence(self) -> np.ndarray:
        """The order of each neuron's descriptors: int [layers, neurons, descriptors].

        Labels that both halves confirm, then other labels, then the rest: in each the lowest p
        within strata first, of equals the most frequent.
        """
        whole = self.splits["all"]
        kind = -(whole.assigned.astype(np.int8) + self.replicated)
        keys = -np.nan_to_num(whole.f), np.nan_to_num(whole.p, nan=1.0), kind
        return np.asarray(np.lexsort(keys, axis=2))


def surest(path: Path, end: str = HIGHEST) -> pa.Table:
    """The labels of the whole corpus, the surest first, a row each.

    Those that both halves confirm (p < .05 within strata in each) come before the others; of these
    the one with the lowest p comes first.

    Columns: layer, neuron, descriptor, f, count, lift, expected, p, q, q_unmatched, replicated.
    """
    whole = (pc.field("end") == end) & (pc.field("split") == "all") & pc.field("assigned")
    found = read_table(path, "label", [*_LABEL, *_EVIDENCE], whole)
    replicated = pa.array(np.ones(len(found), dtype=bool))
    for half in HALVES:
        confirmed = (
            (pc.field("end") == end) & (pc.field("split") == half) & (pc.field("p") < REPLICATED)
        )
        own = read_table(path, "label", _LABEL, confirmed)
        replicated = pc.and_(replicated, pc.is_in(_named(found), value_set=_named(own)))
    found = found.append_column("replicated", replicated)
    order = [("replicated", "descending"), ("p", "ascending"), ("f", "descending")]
    return found.sort_by(order)  # which is stable: ties in the order of the file


_LABEL = ["layer", "neuron", "descriptor"]
_EVIDENCE = ["f", "count", "lift", "expected", "p", "q", "q_unmatched"]


def _named(table: pa.Table) -> pa.Array:
    """A name for each row's neuron and descriptor."""
    parts = [table[name].cast(pa.string()) for name in _LABEL]
    return pc.binary_join_element_wise(*parts, ":").combine_chunks()


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
