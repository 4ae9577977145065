"""Packs of neurons: exemplar sentences, distribution, labels with their numbers, scores."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.exemplar_files import Shown
from descry.activations.top_k import HIGHEST
from descry.corpus.splits import SPLITS
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.labels.results import REPLICATED, Labels, SplitLabels
from descry.models.neurons import Neurons
from descry.reporting.explorer.labelled import flat
from descry.reporting.explorer.packs import Pack, numbers, plain, slices

SIZE = 32  # neurons of a pack
_SUREST = 6  # descriptors shown of a neuron whether they are labels or not
# Of a descriptor in a split, with the digits that are worth keeping: one more than are shown.
_NUMBERS = {"f": 5, "count": 0, "lift": 6, "expected": 5, "p": 4, "q": 4, "q_unmatched": 4}
_NUMBERS |= {"assigned": 0}
_SINGLE = 8  # digits of an activation: those of float32
_OF_FORMULA = ("split", "formula", "iou", "other_iou", "other_single", "other_null")
_GOLD = ("gold", "gold_low", "gold_high")
_OF_LABEL = ("f1", "iou", "auroc", "average_precision", "pearson", "cosine", *_GOLD)
_OF_WORD = ("word", "count", "expected", "p", "q", "assigned")
_WORDS = 12  # shown of a neuron
ByNeuron = Mapping[int, list[Row]]


class OfEnd(NamedTuple):
    """What is known of all neurons at one end: labels, composed labels and scores by neuron.

    Attributes:
        silent: why neurons have no exemplars, by their numbers.
        sizes: of the exemplar sets of the whole corpus, int [neurons].
    """

    labels: Labels
    composed: ByNeuron
    scores: ByNeuron
    silent: Mapping[int, str]
    sizes: np.ndarray


def of_end(
    end: str,
    labels: Labels,
    composed: pa.Table,
    scored: pa.Table,
    silent: Mapping[int, str],
    sizes: np.ndarray,
) -> OfEnd:
    """Labels over the descriptors of the run, with the rows of the other tables at that end."""
    some = pc.greater(composed["length"], 0)  # an empty formula says nothing
    formulas = composed.filter(pc.and_(pc.equal(composed["end"], end), some))
    return OfEnd(
        labels,
        _by_neuron(formulas, labels.neurons, _OF_FORMULA),
        _by_neuron(
            scored.filter(pc.equal(scored["end"], end)),
            labels.neurons,
            ("chosen", "descriptor", *_OF_LABEL),
        ),
        silent,
        sizes,
    )


def _by_neuron(table: pa.Table, neurons: Neurons, columns: Sequence[str]) -> ByNeuron:
    rows = {layer: row for row, layer in enumerate(neurons.layers)}
    found: dict[int, list[Row]] = defaultdict(list)
    for record in table.select(["layer", "neuron", *columns]).to_pylist():
        number = rows[record.pop("layer")] * neurons.width + record.pop("neuron")
        found[number].append(record)
    return found


@dataclass(frozen=True)
class NeuronPages:
    """All that the page says of each neuron.

    Attributes:
        shown: sentences and distributions.
        ends: what is known at each end.
        trials: rows of scores.csv by the neuron's name.
        similar: of each neuron.
        graphs: numbers of the neurons that have a graph.
        by_word: numbers of the neurons of which exemplars are known word by word.
        follows: what each follows beside topics, by covariate in the order of the run: rho, and the
            exemplars, matched sentences and corpus in words.
        writes: what each writes.
        facets: of each.
        changes: rows of interventions.csv by the neuron's name.
        fdr: at which a label is significant.
        peaks: with unit `token`, the words that each peaks at, and its positions at quantiles.
    """

    neurons: Neurons
    shown: Shown
    ends: Mapping[str, OfEnd]
    trials: Mapping[str, list[Row]]
    similar: Sequence[Sequence[tuple[int, float]]]
    graphs: frozenset[int]
    by_word: frozenset[int]
    follows: Sequence[JSON]
    writes: Sequence[JSON]
    facets: Sequence[JSON]
    changes: Mapping[str, list[Row]]
    fdr: float
    peaks: Mapping[int, JSON]

    def packs(self) -> Iterator[Pack]:
        """`SIZE` neurons in each."""
        for number, span in enumerate(slices(len(self.neurons), SIZE)):
            yield Pack(f"neurons-{number}", self._portraits(span))

    def _portraits(self, span: slice) -> list[JSON]:
        shown = self.shown
        sets = {
            name: _listed(*found, shown.words.get(name), span) for name, found in shown.sets.items()
        }
        spread = {name: numbers(v[span], _SINGLE) for name, v in self.shown.distribution.items()}
        ends = {end: self._of_end(of, span) for end, of in self.ends.items()}
        return [
            {
                "sets": {name: values[place] for name, values in sets.items()},
                "distribution": {name: values[place] for name, values in spread.items()},
                "ends": {end: values[place] for end, values in ends.items()},
                "trials": self.trials.get(self._name(n), []),
                "similar": plain([list(one) for one in self.similar[n]]),
                "graph": n in self.graphs,
                "by_word": n in self.by_word,
                "follows": self.follows[n],
                "writes": self.writes[n],
                "facets": self.facets[n],
                "changes": self.changes.get(self._name(n), []),
            }
            | self.peaks.get(n, {})
            for place, n in enumerate(range(span.start, span.stop))
        ]

    def _name(self, n: int) -> str:
        return self.neurons.name(*divmod(n, self.neurons.width))

    def _of_end(self, of: OfEnd, span: slice) -> list[JSON]:
        place = {name: column for column, name in enumerate(of.labels.descriptors)}
        return [
            {
                "labels": labels,
                "silent": of.silent.get(n),
                "size": int(of.sizes[n]),
                "composed": plain(of.composed.get(n, [])),
                "scores": [_score(row, place) for row in of.scores.get(n, [])],
            }
            for n, labels in enumerate(_labels(of.labels, span, self.fdr), start=span.start)
        ]


def words_of_neurons(tokens: pa.Table, neurons: Neurons) -> ByNeuron:
    """The words that each neuron peaks at, the surest first, by the neurons' numbers.

    A row a word: word, count, expected, p, q, assigned in the whole corpus; `halves`, how many of
    the halves have p < .05.
    """
    rows = tokens.filter(pc.equal(tokens["end"], HIGHEST))
    sure = pc.and_(pc.not_equal(rows["split"], "all"), pc.less(rows["p"], REPLICATED))
    by_half = rows.filter(sure).group_by(["layer", "neuron", "word"]).aggregate([([], "count_all")])
    keys = zip(*(by_half[name].to_pylist() for name in by_half.column_names), strict=True)
    halves = {(layer, neuron, word): number for layer, neuron, word, number in keys}
    whole = rows.filter(pc.equal(rows["split"], "all"))
    places = {layer: row for row, layer in enumerate(neurons.layers)}
    found: dict[int, list[Row]] = defaultdict(list)
    for row in whole.select(["layer", "neuron", *_OF_WORD]).to_pylist():
        layer, neuron = row.pop("layer"), row.pop("neuron")
        words = found[places[layer] * neurons.width + neuron]
        if len(words) < _WORDS:
            words.append(row | {"halves": halves.get((layer, neuron, row["word"]), 0)})
    return found


def _listed(
    rows: np.ndarray, activations: np.ndarray, words: np.ndarray | None, span: slice
) -> list[list[JSON]]:
    """Rows of sentences with their activations, and where their words are, neuron by neuron."""
    sides = [rows[span].tolist(), numbers(activations[span], _SINGLE)]
    sides += [] if words is None else [words[span, :, 0].tolist(), words[span, :, 1].tolist()]
    return [
        [[row, *rest] for row, *rest in zip(*one, strict=True) if row >= 0]
        for one in zip(*sides, strict=True)
    ]


def _labels(labels: Labels, span: slice, fdr: float) -> Iterator[list[JSON]]:
    """Neuron by neuron the surest descriptors, with all that are labels in any split."""
    order = flat(labels.by_evidence())[span]
    assigned = np.any([flat(s.assigned)[span] for s in labels.splits.values()], axis=0)
    assigned |= flat(labels.splits["all"].explained(fdr))[span]
    values = {split: _columns(labels.splits[split], span) for split in SPLITS}
    for place, columns in enumerate(order.tolist()):
        kept = [c for rank, c in enumerate(columns) if rank < _SUREST or assigned[place, c]]
        yield [
            [c, {split: [column[place][c] for column in values[split]] for split in SPLITS}]
            for c in kept
        ]


def _columns(split: SplitLabels, span: slice) -> list[list[Any]]:
    """Each number of the neurons and descriptors of a split."""
    found = {name: flat(getattr(split, name))[span] for name in _NUMBERS}
    found["assigned"] = found["assigned"].astype(np.int8)
    return [numbers(values, _NUMBERS[name]) for name, values in found.items()]


def _score(row: Row, place: Mapping[str, int]) -> JSON:
    rest = {name: row[name] for name in _OF_LABEL}
    return {"chosen": row["chosen"], "column": place[row["descriptor"]]} | plain(rest)


def shown_pack(shown: Shown, halves: Sequence[str]) -> Pack:
    """The sentences shown of each neuron's halves: flat rows, -1 where there are fewer."""
    rows = np.concatenate([shown.sets[half][0] for half in halves], axis=1)
    return Pack("shown", {"size": rows.shape[1], "rows": rows.ravel().tolist()})
