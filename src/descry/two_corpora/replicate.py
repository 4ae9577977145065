"""Which labels hold on another corpus: `descry replicate` and `descry.replicate`.

A label of the first corpus is tested once on the other one, by the test that made it: is its
descriptor over-represented among the same neuron's exemplars there, within strata? Beside the share
that hold stand what the two halves of the first corpus give each other, what other neurons of the
layer give, and what a copy of the model with random weights gives on the same sentences.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from descry.activations.exemplar_files import (
    at_rows,
    exemplar_blocks,
    has_exemplars,
    read_ends,
    read_neurons,
)
from descry.activations.nan_stats import ratio
from descry.activations.top_k import ENDS, HIGHEST
from descry.corpus.splits import HALVES, SPLITS, other_half
from descry.errors import InputError
from descry.evaluation.headline import LEVEL, halves_tested
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.labels.assignment import SetCounter, asked_sets, has_set
from descry.labels.enrichment import false_discovery_rates
from descry.labels.matched import matched_enrichment
from descry.labels.results import Labels
from descry.labels.rules import Rule
from descry.models.neurons import Neurons
from descry.reporting.explorer.packs import plain
from descry.run import UNTRAINED, Run
from descry.two_corpora.held import Held, held, of_others, paired
from descry.two_corpora.pair import CorpusPair, corpus_pair
from descry.two_models.label_overlap import interval, resampled

DRAWS = 1000  # of the interval of a difference
MEMBERS = 2**20  # exemplars that are held at a time
OTHER, HALVES_OF_FIRST, HALF_OF_OTHER, RANDOM_WEIGHTS = (
    "other_corpus", "halves", "half_of_other", "random_weights",
)  # fmt: skip
NO_LAYER = "the other run has no such layer"
NO_DESCRIPTOR = "the other run has no such descriptor"
NO_SET = "the neuron has no exemplars there"
NOT_ASKED = "the annotator was not asked about its exemplars there"
ONE_SIDED = "all or none of the sentences there have the descriptor"
TABLES = ("shares", "layers", "descriptors", "labels")


@dataclass(frozen=True, eq=False)
class Replication:
    """The labels of a run, tested on another corpus.

    Attributes:
        pair: the two runs.
        end: of the activations.
        draws, seed: of the interval of `beyond`.
    """

    pair: CorpusPair
    end: str
    draws: int
    seed: int

    @property
    def warnings(self) -> list[str]:
        """What else than the sentences can make a difference, a line each."""
        return self.pair.warnings

    @cached_property
    def untested(self) -> dict[str, int]:
        """Labels that cannot be tested, by reason."""
        reasons = self._labelled.why[self._labelled.assigned]
        counts = Counter(word for word in reasons.tolist() if word)
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    @cached_property
    def summary(self) -> Row:
        """The first row of `shares`, and the rest in a line.

        labels: all of the first run; untested: those that cannot be tested; labels_tested, held,
        value, low, high, chance, more of `shares`; sure: with q <= .05 over the labels tested;
        beyond: share of the halves' labels that hold in the other half, less the share of the same
        labels that hold in half of the other corpus, with its 95% interval over neurons.
        """
        f = self._labelled
        whole = self._shares[OTHER]
        found: Row = {"labels": int(f.assigned.sum()), "untested": sum(self.untested.values())}
        found |= {"labels_tested": whole.labels}
        found |= {key: value for key, value in asdict(whole).items() if key != "labels"}
        found["sure"] = int((f.q[f.assigned] <= LEVEL).sum())
        return found | self._beyond

    @cached_property
    def shares(self) -> pa.Table:
        """A row a test: what share of which labels hold where.

        test: `other_corpus`, labels of the whole first corpus in the whole other one; `halves`,
        labels of each half of the first in its other half; `half_of_other`, the same labels in that
        half of the other corpus; `random_weights`, labels of the whole first corpus on the neurons
        of a copy with random weights over the other corpus (absent where there is none).
        labels, held, value, low, high, chance, more: see `Held`.
        """
        rows = [{"test": name} | asdict(of) for name, of in self._shares.items()]
        return pa.Table.from_pylist(rows)

    @cached_property
    def layers(self) -> pa.Table:
        """A row a layer: labels, untested, and what `Held` has, in the whole other corpus."""
        width, found = self.pair.neurons.width, []
        for place, layer in enumerate(self.pair.neurons.layers):
            own = np.s_[place * width : (place + 1) * width, :]
            found.append({"layer": layer} | self._row(own, 1))
        return pa.Table.from_pylist(found)

    @cached_property
    def descriptors(self) -> pa.Table:
        """A row a descriptor of the first run, the columns of `layers`."""
        layers = len(self.pair.neurons.layers)
        rows = [
            {"descriptor": name} | self._row(np.s_[:, column : column + 1], layers)
            for column, name in enumerate(self._labelled.descriptors)
        ]
        return pa.Table.from_pylist(rows)

    @cached_property
    def labels(self) -> pa.Table:
        """A row a label of the first run; the surest there first, those not tested last.

        Columns: layer, neuron, descriptor; untested: why it cannot be tested, else null; count,
        expected, f, lift, p, q in the first corpus, replicated: both its halves confirm it;
        other_count, other_expected, other_f, other_lift, other_p in the other corpus; other_q: over
        the labels tested; other_chance: share of the layer's other neurons with p < .05 there;
        sign: 1 where there are more exemplars than expected, -1 where there are fewer; holds:
        other_p < .05.
        """
        f, width = self._labelled, self.pair.neurons.width
        row, column = np.nonzero(f.assigned)
        order = np.argsort(np.nan_to_num(f.other.p[row, column], nan=2.0), kind="stable")
        row, column = row[order], column[order]
        why = f.why[row, column]
        tested = np.array([not word for word in why], dtype=bool)
        columns: dict[str, Any] = {
            "layer": np.array(self.pair.neurons.layers)[row // width],
            "neuron": row % width,
            "descriptor": [f.descriptors[c] for c in column],
            "untested": pa.array([word or None for word in why], pa.string()),
        }
        whole = f.labels.splits["all"]
        for name in ("count", "expected", "f", "lift", "p", "q"):
            columns[name] = _flat(getattr(whole, name))[row, column]
        columns["replicated"] = _flat(f.labels.replicated)[row, column]
        for name in ("count", "expected", "f", "lift", "p"):
            columns[f"other_{name}"] = _nulls(getattr(f.other, name)[row, column], ~tested)
        columns["other_q"] = _nulls(f.q[row, column], ~tested)
        chance = of_others(f.other.p[None], len(self.pair.neurons.layers))[0]
        columns["other_chance"] = _nulls(chance[row, column], ~tested)
        excess = f.other.excess[row, column]
        columns["sign"] = pa.array(np.sign(np.nan_to_num(excess)).astype(np.int8), mask=~tested)
        holds = np.nan_to_num(f.other.p[row, column], nan=1.0) < LEVEL
        columns["holds"] = pa.array(holds, mask=~tested)
        return pa.table(columns)

    def as_json(self) -> JSON:
        """All tables as plain values; undefined numbers are None."""
        value: dict[str, JSON] = {
            "first": str(self.pair.first.results),
            "other": str(self.pair.other.results),
            "end": self.end,
            "sentences": [len(run.corpus) for run in (self.pair.first, self.pair.other)],
            "warnings": self.warnings,
            "untested": self.untested,
            "summary": self.summary,
        }
        found: JSON = plain(value | {name: getattr(self, name).to_pylist() for name in TABLES})
        return found

    def __repr__(self) -> str:
        s = self.summary
        return (
            f"<Replication of {s['labels']} labels: {s['held']} of {s['labels_tested']} hold,"
            f" {s['untested']} not tested>"
        )

    def _row(self, which: Any, layers: int) -> Row:
        """What holds of some neurons and descriptors."""
        f = self._labelled
        own = f.assigned[which]
        found = held(own[None], f.other.p[which][None], f.other.excess[which][None], layers)
        words = f.why[which][own]
        return asdict(found) | {"labels": int(own.sum()), "untested": int((words != "").sum())}

    @cached_property
    def _shares(self) -> dict[str, Held]:
        f, layers = self._labelled, len(self.pair.neurons.layers)
        whole = f.assigned[None]
        found = {OTHER: held(whole, f.other.p[None], f.other.excess[None], layers)}
        halves, there = self._halves
        both = halves.assigned & ~np.isnan(halves.p) & ~np.isnan(there.p)
        found[HALVES_OF_FIRST] = held(both, halves.p, halves.excess, layers)
        found[HALF_OF_OTHER] = held(both, there.p, there.excess, layers)
        copy = self._random_weights
        if copy is not None:
            found[RANDOM_WEIGHTS] = held(whole, copy.p[None], copy.excess[None], layers)
        return found

    @cached_property
    def _beyond(self) -> Row:
        halves, there = self._halves
        of_neurons = paired(halves.assigned, halves.p, there.p)
        drawn = resampled(of_neurons, self.draws, self.seed).T
        first, second, number = of_neurons.sum(axis=0)
        low, high = interval(ratio(drawn[0] - drawn[1], drawn[2]))
        value = float(ratio(np.array(first - second), np.array(number)))
        return {"beyond": value, "beyond_low": low, "beyond_high": high}

    @cached_property
    def _labelled(self) -> "_Labelled":
        """The labels of the first corpus, and what the other one says."""
        labels = self.pair.first.label_arrays(self.end)
        assigned = _flat(labels.splits["all"].assigned)
        path = self.pair.other.path("exemplars.h5")
        other = self._tested(path, self.end, "all", labels)
        q = np.full(assigned.shape, np.nan)
        tested = assigned & ~np.isnan(other.p)
        q[tested] = false_discovery_rates(other.p[tested])
        why = np.full(assigned.shape, "", dtype=object)
        for reason, of in self._reasons(other, labels).items():
            why[(why == "") & of] = reason
        return _Labelled(labels, labels.descriptors, assigned, other, q, why)

    def _reasons(self, other: "_Tested", labels: Labels) -> dict[str, np.ndarray]:
        """Where no label can be tested, by reason, the first first: bool [neurons, descriptors]."""
        present = np.isin(labels.descriptors, self.pair.other.annotations.descriptors)
        layers = np.repeat(np.isin(labels.neurons.layers, self.pair.layers), labels.neurons.width)
        return {
            NO_LAYER: np.broadcast_to(~layers[:, None], other.p.shape),
            NO_DESCRIPTOR: np.broadcast_to(~present, other.p.shape),
            NO_SET: np.broadcast_to(~other.has_set[:, None], other.p.shape),
            NOT_ASKED: np.broadcast_to(~other.asked[:, None], other.p.shape),
            ONE_SIDED: np.isnan(other.p),
        }

    @cached_property
    def _halves(self) -> "tuple[_Halves, _Halves]":
        """Labels of each half of the first corpus: in its other half, and in that of the other."""
        labels, path = self._labelled.labels, self.pair.other.path("exemplars.h5")
        tests = halves_tested(labels)
        splits = [labels.splits[other_half(half)] for half in HALVES]
        excess = np.stack([_flat(one.count - one.expected) for one in splits])
        there = [self._tested(path, self.end, other_half(half), labels) for half in HALVES]
        p, beyond = (np.stack([getattr(of, name) for of in there]) for name in ("p", "excess"))
        return _Halves(tests.assigned, tests.p, excess), _Halves(tests.assigned, p, beyond)

    @cached_property
    def _random_weights(self) -> "_Tested | None":
        """The tests of the same descriptors on a copy with random weights; None without a copy."""
        run, path = self.pair.other, self.pair.other.path(UNTRAINED)
        if not run.has(UNTRAINED) or not has_exemplars(path) or self.end not in read_ends(path):
            return None
        with at_rows(path, run.path(run.units)) as copy:
            return self._tested(copy, self.end, "all", self._labelled.labels)

    def _tested(self, path: Path, end: str, split: str, labels: Labels) -> "_Tested":
        """Every neuron and descriptor of the first run, on a split of the other corpus.

        Args:
            path: exemplars.h5 of the other run, or its copy's.
        """
        run, b = self.pair.other, self.pair.other.annotations
        own = [name for name in labels.descriptors if name in b.descriptors]
        b = b.keep([b.descriptors.index(name) for name in own])
        within = _within(run, split)
        strata = self.pair.matching.strata(self.pair.covariates, np.flatnonzero(within), b.sampled)
        base = b.sampled & within & ~self.pair.again
        sets = self._sets(path, end, split)
        counter = SetCounter(b.bits, b.asked)
        within_base = bool(b.sampled[within].all())
        test = matched_enrichment(counter, [sets], strata, base, within=within_base)
        tally = counter.tally([sets], base)
        frequency = Rule.of(labels.made["params"]).frequency
        one_sided = (tally.base_count == 0) | (tally.base_count == tally.base_answered)
        numbers = {
            "p": np.where(one_sided, np.nan, test.p),
            "expected": test.expected,
            "count": tally.count.astype(np.float64),
            "f": tally.f(frequency),
            "lift": tally.lift(frequency),
        }
        columns = [labels.descriptors.index(name) for name in own]
        shape = len(sets), len(labels.descriptors)
        spread = {name: np.full(shape, np.nan) for name in numbers}
        for name, values in numbers.items():
            spread[name][:, columns] = values
        return _Tested(**spread, has_set=has_set(sets), asked=asked_sets(sets, b.asked))

    def _sets(self, path: Path, end: str, split: str) -> np.ndarray:
        """Exemplars over the other corpus of the first run's neurons: int32 [neurons, size].

        -1 where the sentence is in the first corpus, too, and where the other run has no such
        layer.
        """
        theirs, ours = read_neurons(path), self.pair.neurons
        blocks = np.concatenate(list(exemplar_blocks(path, split, end, MEMBERS)))
        blocks = blocks.reshape(len(theirs.layers), theirs.width, -1)
        found = np.full((len(ours.layers), ours.width, blocks.shape[2]), -1, dtype=np.int32)
        for place, row in _rows(ours, theirs):
            found[place] = blocks[row]
        new = np.append(~self.pair.again, False)  # what is behind a set's end is nobody's
        return np.where(new[found], found, -1).reshape(len(ours), -1)


def _rows(ours: Neurons, theirs: Neurons) -> Iterator[tuple[int, int]]:
    """The rows of a layer in arrays of both."""
    for place, layer in enumerate(ours.layers):
        if layer in theirs.layers:
            yield place, theirs.layers.index(layer)


class _Halves(NamedTuple):
    """Labels of each half, and a test of them: [halves, neurons, descriptors]."""

    assigned: np.ndarray
    p: np.ndarray
    excess: np.ndarray


@dataclass(frozen=True)
class _Tested:
    """Every neuron and descriptor of the first run on the other corpus.

    Attributes:
        p, expected, count, f, lift: float64 [neurons, descriptors], NaN where there is no test.
        has_set, asked: bool [neurons].
    """

    p: np.ndarray
    expected: np.ndarray
    count: np.ndarray
    f: np.ndarray
    lift: np.ndarray
    has_set: np.ndarray
    asked: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """Exemplars with the descriptor, less those expected."""
        return np.asarray(self.count - self.expected)


@dataclass(frozen=True)
class _Labelled:
    """The labels of the first run, and what the other corpus says of them.

    Attributes:
        assigned: bool [neurons, descriptors].
        q: of the labels that were tested, over all of them; else NaN.
        why: why a pair cannot be tested, "" where it can: text [neurons, descriptors].
    """

    labels: Labels
    descriptors: list[str]
    assigned: np.ndarray
    other: _Tested
    q: np.ndarray
    why: np.ndarray


def _within(run: Run, split: str) -> np.ndarray:
    """The rows of a split: bool [rows]."""
    of = np.array(run.corpus["split"].to_pylist())
    return np.ones(len(of), dtype=bool) if split == SPLITS[0] else np.asarray(of == split)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[2])


def _nulls(values: np.ndarray, mask: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float64(), mask=mask | np.isnan(values))


def replicate(
    first: str | Path | Run,
    other: str | Path | Run,
    *,
    end: str = HIGHEST,
    draws: int = DRAWS,
    seed: int = 0,
) -> Replication:
    """Test the labels of a run on another corpus, which went through the same model.

    Descriptors are paired by their names. A label whose descriptor the other run does not have is
    counted, and not tested. Sentences of the first corpus are left out of the other one.

    Args:
        first: folder of results, or an opened run, with the labels to test.
        other: folder of results, or an opened run; its labels.parquet and descriptors.json are not
            read.
        end: `highest` or `lowest` activations.
        draws: draws of the interval of `beyond`.
        seed: seed of the draws.

    Raises:
        InputError: a run is missing or damaged; the runs have different models, neurons or units,
            or the same corpus; or the other run has none of the descriptors.
    """
    if end not in ENDS:
        raise InputError(f"end: {end!r}: must be one of {', '.join(ENDS)}")
    pair = corpus_pair(first, other, end)
    names = pair.first.annotations.descriptors
    if not set(names) & set(pair.other.annotations.descriptors):
        raise InputError(
            f"{pair.other.results}: has none of the {len(names)} descriptors of"
            f" {pair.first.results}: annotate it by that run's descriptors.json"
        )
    return Replication(pair, end, draws, seed)
