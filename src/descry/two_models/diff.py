"""What two models' neurons respond to, side by side: `descry diff` and `descry.diff`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from descry.activations.exemplar_files import read_ends, read_exemplars
from descry.activations.nan_stats import mean
from descry.activations.top_k import ENDS, HIGHEST
from descry.annotators.annotations import Annotations
from descry.corpus.splits import SPLITS
from descry.errors import InputError
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.labels.assignment import has_set
from descry.labels.results import Labels, SplitLabels
from descry.models.neurons import Neurons
from descry.reporting.explorer.packs import plain
from descry.run import Run
from descry.two_models.exemplar_change import Change, Shared, change, shared
from descry.two_models.label_overlap import (
    COMPARISONS,
    HALVES_FIRST,
    HALVES_SECOND,
    OTHER_HALF,
    WHOLE,
    Chance,
    Counted,
    Overlap,
    label_row,
    resampled,
    signs_p,
)
from descry.two_models.matching import NOBODY, Among, How, Matches
from descry.two_models.matching import match as match_neurons
from descry.two_models.neuron import NeuronDiff, neuron_diff
from descry.two_models.pair import Pair, pair

CHANGED = 0.05  # false discovery rate at which a descriptor came or went
DRAWS = 1000  # of intervals and nulls
_EXCHANGES = 200  # of neurons within the layer, at most: their mean is all that is wanted
TABLES = ("layers", "descriptors", "neurons", "labels")
KEPT, LOST, GAINED = "kept", "lost", "gained"


@dataclass(frozen=True, eq=False)
class Diff:
    """Two runs, compared.

    Attributes:
        pair: the runs, and what they differ in.
        end: of the activations.
        matches: which neuron is which.
        draws, seed: of intervals and nulls.
    """

    pair: Pair
    end: str
    matches: Matches
    draws: int
    seed: int

    @property
    def warnings(self) -> list[str]:
        """What else than the model can make a difference, a line each."""
        return self.pair.warnings

    @cached_property
    def labels(self) -> pa.Table:
        """A row a label of either model in the whole corpus, those that changed most surely first.

        Columns: layer, neuron, other_layer, other_neuron, descriptor, change (kept, lost, gained);
        count, expected and q of the label of each model (`first_`, `second_`); `halves`: 1 where
        the label came or went in both halves alone, -1 where the halves contradict each other, else
        0; only_first, only_second: exemplars that only one of the two has, with the descriptor; p
        and q of the change, q over all pairs and descriptors; changed: q <= .05.
        """
        f = self._found
        both = f.first.assigned | f.second.assigned
        order = np.argsort(np.nan_to_num(f.change.p, nan=1.0)[both], kind="stable")
        row, column = (of[order] for of in np.nonzero(both))
        had, has = (side.assigned[row, column] for side in (f.first, f.second))
        columns: dict[str, Any] = self._names(row)
        columns["descriptor"] = [f.descriptors[c] for c in column]
        columns["change"] = np.where(had & has, KEPT, np.where(had, LOST, GAINED)).tolist()
        for side, labels in (("first", f.first), ("second", f.second)):
            for name in ("count", "expected", "q"):
                columns[f"{side}_{name}"] = getattr(labels, name)[row, column]
        columns["halves"] = f.overlap.change[row, column]
        for name, values in asdict(f.change).items():
            place = {"first": "only_first", "second": "only_second"}.get(name, name)
            columns[place] = values[row, column]
        columns["changed"] = f.change.q[row, column] <= CHANGED
        return pa.table(columns)

    @cached_property
    def neurons(self) -> pa.Table:
        """A row a neuron of the first model.

        Columns: layer, neuron, other_layer, other_neuron (null where it has no pair); matched,
        rho, rho_within, p, q, best and rival of `Matches`; exemplars: share of its exemplars that
        the other has, too, exemplars_expected of random sets and exemplars_matched of random sets
        of the same strata; kept, lost and gained labels in the whole corpus; changed: labels whose
        descriptor came or went, q <= .05; whole, other_half and halves: Jaccard similarity of the
        labels, null where neither has one.
        """
        m, f = self.matches, self._found
        number = len(m.second)
        columns: dict[str, Any] = self._names(None)
        columns["matched"] = m.matched if m.tested else pa.nulls(number, pa.bool_())
        columns |= {name: getattr(m, name) for name in ("rho", "rho_within", "p", "q", "rival")}
        columns["best"] = m.best
        counted = {name: f.overlap.by_pair(name) for name in COMPARISONS}
        whole = counted[WHOLE]
        tested = f.first.assigned | f.second.assigned
        per_pair = {
            "exemplars": f.shared.share,
            "exemplars_expected": f.shared.expected,
            "exemplars_matched": f.shared.matched,
            KEPT: whole.kept,
            LOST: whole.first - whole.kept,
            GAINED: whole.second - whole.kept,
            "changed": (tested & (f.change.q <= CHANGED)).sum(axis=1),
            "whole": whole.jaccard,
            "other_half": counted[OTHER_HALF].jaccard,
            "halves": (counted[HALVES_FIRST].jaccard + counted[HALVES_SECOND].jaccard) / 2,
        }
        for name, values in per_pair.items():
            spread = np.full(number, np.nan)
            spread[f.places] = values
            kind = pa.float64() if values.dtype.kind == "f" else pa.int32()
            columns[name] = pa.array(spread, kind, from_pandas=True, safe=False)
        return pa.table(columns)

    @cached_property
    def summary(self) -> Row:
        """All neurons: see `layers` for what each number is."""
        return self._rows(np.zeros(len(self._found.places), dtype=int), ["all"], "over")[0]

    @cached_property
    def layers(self) -> pa.Table:
        """A row a layer of the first model.

        neurons, matched: how many there are, and how many have a pair that is no coincidence (null
        where activations are not stored); compared: those of `Matches.compared` with exemplars in
        both models; best: share whose pair is the most correlated candidate; rho_within: median;
        exemplars, exemplars_matched: means. Of the labels of those compared: first, second, kept,
        lost, gained in the whole corpus, and kept_chance if neurons are exchanged within the layer;
        lost_changed, gained_changed: of the lost and gained, those whose descriptor came or went,
        q <= .05;
        Jaccard similarities `whole`, `same_half`, `other_half`, `halves_first`, `halves_second`
        (see label_overlap.py), each with what chance gives (`_chance`) and the 95% interval over
        neurons (`_low`, `_high`); beyond: halves less other_half, which is 0 where the models are
        the same to labels; both_halves: labels that came or went in both halves alone;
        contradicted: that came in one and went in the other, which are as many by chance; and
        changes_p, of their difference.
        """
        first = self.pair.neurons[0]
        layer = self._found.places // first.width
        names = list(first.layers)
        return pa.Table.from_pylist(self._rows(layer, names, "layer"))

    @cached_property
    def descriptors(self) -> pa.Table:
        """A row a descriptor, the columns of `layers` that are about labels."""
        f = self._found
        overlap = f.overlap
        counted = {name: overlap.by_descriptor(name) for name in COMPARISONS}
        drawn = {name: self._drawn_by_descriptor(name) for name in COMPARISONS}
        rows: list[Row] = []
        for column, name in enumerate(f.descriptors):
            counts = {key: Counted(*(of[column] for of in all)) for key, all in counted.items()}
            draws = {key: Counted(*(of[:, column] for of in all)) for key, all in drawn.items()}
            chance = {key: float(f.chance.by_descriptor[key][column]) for key in COMPARISONS}
            row: Row = {"descriptor": name} | label_row(counts, draws, chance)
            rows.append(row | self._changed_row(np.s_[:, column : column + 1]))
        return pa.Table.from_pylist(rows)

    def neuron(self, name: str) -> NeuronDiff:
        """One pair of neurons, by the name of the first: which sentences made the difference.

        Raises:
            InputError: there is no such neuron, or it has no pair.
        """
        first, second = self.pair.neurons
        row, index = first.find(name)
        number = row * first.width + index
        partner = int(self.matches.second[number])
        if partner == NOBODY:
            raise InputError(f"{name}: no neuron of {self.pair.names[1]} is its pair")
        here = (first.layers[row], index)
        return neuron_diff(
            self.pair,
            ((row, index), divmod(partner, second.width)),
            self.end,
            self.neurons.slice(number, 1).to_pylist()[0],
            [one for one in self.labels.to_pylist() if (one["layer"], one["neuron"]) == here],
        )

    @property
    def alone(self) -> list[str]:
        """Neurons of the second model that are nobody's pair, by name."""
        taken = self.matches.second[self.matches.compared]
        names = self.pair.neurons[1].names
        return [names[n] for n in np.setdiff1d(np.arange(len(names)), taken)]

    def as_json(self) -> JSON:
        """All tables as plain values; undefined numbers are None."""
        value: dict[str, JSON] = {
            "first": {"results": str(self.pair.first.results), "model": self.pair.names[0]},
            "second": {"results": str(self.pair.second.results), "model": self.pair.names[1]},
            "end": self.end,
            "matched_by": self.matches.how,
            "matched_on": self.matches.sentences,
            "warnings": self.warnings,
            "differences": [asdict(one) for one in self.pair.differences],
            "other_answers": self.pair.other_answers,
            "unmatched_second": self.alone,
            "summary": self.summary,
        }
        tables = {name: getattr(self, name).to_pylist() for name in TABLES}
        found: JSON = plain(value | tables)
        return found

    def __repr__(self) -> str:
        names, s = self.pair.names, self.summary
        return (
            f"<Diff {names[0]} -> {names[1]}: {s['kept']} labels kept, {s['lost']} lost,"
            f" {s['gained']} gained>"
        )

    def _names(self, pairs: np.ndarray | None) -> dict[str, Any]:
        """Columns that name neurons: of some pairs with sets, or of all neurons of the first."""
        first, second = self.pair.neurons
        number = self._found.places[pairs] if pairs is not None else np.arange(len(first))
        partner = self.matches.second[number]
        without = partner == NOBODY
        names = {"layer": _layers(first, number), "neuron": number % first.width}
        other = np.where(without, 0, partner)
        names["other_layer"] = pa.array(_layers(second, other), pa.int32(), mask=without)
        names["other_neuron"] = pa.array(other % second.width, pa.int32(), mask=without)
        return names

    def _rows(self, group: np.ndarray, names: Sequence[Any], key: str) -> list[Row]:
        """A row for each group of pairs."""
        f, m, first = self._found, self.matches, self.pair.neurons[0]
        counted = {name: f.overlap.by_pair(name) for name in COMPARISONS}
        rows: list[Row] = []
        every = np.arange(len(m.second))
        for place, name in enumerate(names):
            own = group == place
            of_layer = every // first.width == place if key == "layer" else every >= 0
            row: Row = {key: name, "neurons": int(of_layer.sum())}
            row["matched"] = int(m.matched[of_layer].sum()) if m.tested else None
            row["compared"] = int(own.sum())
            row["best"] = mean(m.best[of_layer].astype(float)) if m.tested else float("nan")
            rho = m.rho_within[of_layer & m.compared]
            row["rho_within"] = float(np.nanmedian(rho)) if (rho == rho).any() else float("nan")
            row["exemplars"] = mean(f.shared.share[own])
            row["exemplars_matched"] = mean(f.shared.matched[own])
            counts, draws = {}, {}
            for which, values in counted.items():
                of_group = np.stack(values, axis=1)[own]
                counts[which] = Counted(*of_group.sum(axis=0))
                draws[which] = Counted(*resampled(of_group, self.draws, self.seed).T)
            chance = {which: float(of[own].sum()) for which, of in f.chance.by_pair.items()}
            row |= label_row(counts, draws, chance) | self._changed_row(np.s_[own])
            rows.append(row)
        return rows

    def _changed_row(self, which: Any) -> Row:
        """How many labels changed of some pairs, or of a descriptor."""
        f = self._found
        had, has = (side.assigned[which] for side in (f.first, f.second))
        changed = f.change.q[which] <= CHANGED
        halves = f.overlap.change[which].astype(int)
        return {
            "lost_changed": int((had & ~has & changed).sum()),
            "gained_changed": int((has & ~had & changed).sum()),
            "both_halves": int((halves > 0).sum()),
            "contradicted": int((halves < 0).sum()),
            "changes_p": signs_p(halves.sum(axis=1), self.draws, self.seed),
        }

    def _drawn_by_descriptor(self, comparison: str) -> Counted:
        """Counts of resampled pairs: float64 [draws, descriptors]."""
        parts: list[np.ndarray] = []
        for one, other in self._found.overlap.sides(comparison):
            flags = np.concatenate([one & other, one, other], axis=1)
            parts.append(resampled(flags, self.draws, self.seed))
        return Counted(*np.split(np.sum(parts, axis=0), 3, axis=1))

    @cached_property
    def _found(self) -> "_Found":
        """The numbers of the pairs that are compared and both have exemplars."""
        m, width = self.matches, self.pair.neurons[1].width
        sets = [_sets(run, self.end) for run in self.pair.runs]
        places = np.flatnonzero(m.compared)
        both = has_set(sets[0][places]) & has_set(sets[1][m.second[places]])
        places = places[both]
        pairs = m.second[places]
        tables = [run.label_arrays(self.end) for run in self.pair.runs]
        kept = [name for name in tables[0].descriptors if name in tables[1].descriptors]
        first, second = (
            _flat(labels, numbers, kept)
            for labels, numbers in zip(tables, (places, pairs), strict=True)
        )
        overlap = Overlap(
            *({split: of[split].assigned for split in SPLITS} for of in (first, second))
        )
        one, other = sets[0][places], sets[1][pairs]
        strata, draws = self.pair.strata, min(self.draws, _EXCHANGES)
        answers = [_ordered(run.annotations, kept) for run in self.pair.runs]
        return _Found(
            places,
            kept,
            first["all"],
            second["all"],
            overlap,
            overlap.chance(pairs // width, draws, self.seed),
            shared(one, other, strata),
            change(one, other, (answers[0], answers[1]), strata),
        )


@dataclass(frozen=True)
class _Found:
    """Numbers of the pairs that are compared and both have exemplars.

    Attributes:
        places: int [pairs], numbers of the first model's neurons.
        descriptors: that are labelled by in both runs.
        first, second: labels in the whole corpus, arrays [pairs, descriptors].
    """

    places: np.ndarray
    descriptors: list[str]
    first: SplitLabels
    second: SplitLabels
    overlap: Overlap
    chance: Chance
    shared: Shared
    change: Change


def diff(
    first: str | Path | Run,
    second: str | Path | Run,
    *,
    match: How | Literal["auto"] = "auto",
    among: Among = "layer",
    end: str = HIGHEST,
    draws: int = DRAWS,
    seed: int = 0,
) -> Diff:
    """Compare what the neurons of two models respond to, on the same corpus.

    Memory: labels.parquet of both runs as arrays (53 bytes for each neuron, descriptor and split),
    512 MB of activations, and 4 bytes for each pair of candidates (12 with `correlation`).

    Args:
        first: folder of results, or an opened run.
        second: folder of results, or an opened run.
        match: how neurons are paired: by `index`, or by `correlation` of activations; `auto`: by
            index where both models have the same layers and width.
        among: with `correlation`: candidates of the same `layer`, or of `all` layers.
        end: `highest` or `lowest` activations.
        draws: draws of each interval and null.
        seed: seed of the draws.

    Raises:
        InputError: a run is missing or damaged; the runs have different corpora or descriptors; or
            the neurons cannot be paired in that way.
    """
    _must_be_one_of(("auto", *get_args(How)), match=match)
    _must_be_one_of(get_args(Among), among=among)
    _must_be_one_of(ENDS, end=end)
    runs = pair(first, second)
    for run in runs.runs:
        if end not in read_ends(run.path("exemplars.h5")):
            raise InputError(f"{run.path('exemplars.h5')}: no sets of the {end} activations")
    alike: How = "index" if runs.neurons[0] == runs.neurons[1] else "correlation"
    how = alike if match == "auto" else match
    of_sentences = runs.strata.of, runs.calibration
    found = match_neurons(runs.activations, runs.neurons, how, among, *of_sentences)
    return Diff(runs, end, found, draws, seed)


def _must_be_one_of(known: Sequence[str], **named: str) -> None:
    for name, value in named.items():
        if value not in known:
            raise InputError(f"{name}: {value!r}: must be one of {', '.join(known)}")


def _sets(run: Run, end: str) -> np.ndarray:
    """Exemplar sets of the whole corpus: int32 [neurons, size]."""
    sets = read_exemplars(run.path("exemplars.h5"), "all", end)
    return sets.reshape(-1, sets.shape[2])


def _flat(labels: Labels, numbers: np.ndarray, kept: list[str]) -> dict[str, SplitLabels]:
    """Labels of some neurons by some descriptors, by split: arrays [neurons, descriptors]."""
    columns = [labels.descriptors.index(name) for name in kept]
    found = {}
    for split, table in labels.splits.items():
        arrays = {field.name: getattr(table, field.name) for field in fields(SplitLabels)}
        found[split] = SplitLabels(
            **{
                name: of.reshape(-1, of.shape[2])[numbers][:, columns]
                for name, of in arrays.items()
            }
        )
    return found


def _ordered(answers: Annotations, names: list[str]) -> Annotations:
    return answers.keep([answers.descriptors.index(name) for name in names])


def _layers(neurons: Neurons, numbers: np.ndarray) -> np.ndarray:
    """The model's layers that neurons are of, counted over all layers: int32."""
    return np.asarray(np.array(neurons.layers, dtype=np.int32)[numbers // neurons.width])
