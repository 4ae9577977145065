"""Every label over all sentences of the half that did not choose it.

The mean of a score over the labels has a 95% interval for what it would be if neurons and sentences
were drawn again, the descriptors being the same. Its variance is that of a mean with two kinds of
clusters (Cameron, Gelbach & Miller 2011): over neurons, plus over sentences by their influence,
less over both at once; plus what comes of the half that chose: how many labels each descriptor has
there, whose variance is half the squared difference to the other half's. As if labels were
independent, intervals of average precision would cover .70 on noise instead of .95; clustered by
descriptor they would be nearly three times too wide, as descriptors do differ.
"""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np
import pyarrow as pa

from descry.activations.nan_stats import mean, ratio
from descry.activations.store import transposed
from descry.activations.top_k import HIGHEST
from descry.annotators.annotations import MISSING, Annotations
from descry.corpus.splits import HALVES, other_half
from descry.evaluation.agreement import wilson
from descry.evaluation.alignment import Alignment, align, expected
from descry.evaluation.influence import GROUPS, grouped_influence
from descry.io.csv_rows import Row
from descry.labels.assignment import asked_sets
from descry.labels.results import Labels

METRICS = tuple(field.name for field in fields(Alignment))
_BY_ACTIVATION = slice(2, None)  # of METRICS: those behind F1 and IoU


@dataclass(frozen=True)
class _Half:
    """The labels that one half chose, and the sentences of the other.

    Attributes:
        chosen: the half that chose.
        neurons, descriptors: of the labels, int [labels]; neurons count over all layers.
        others: int [labels], the descriptors of other labels, drawn at random, for the null.
        rows: int, rows of the corpus: the other half's sentences that were asked about.
        exemplars: int [neurons, size], places in `rows`, -1 behind the end of a smaller set.
        answers: int8 [rows, descriptors].
        scores: float64 [kinds, metrics, labels], NaN until `HeldOutScores.add`: of the labels, of
            the other labels, and what the labels would score by chance.
        influence: float32 [metrics, labels, groups of sentences], on the labels' scores.
    """

    chosen: str
    neurons: np.ndarray
    descriptors: np.ndarray
    others: np.ndarray
    rows: np.ndarray
    exemplars: np.ndarray
    answers: np.ndarray
    scores: np.ndarray
    influence: np.ndarray

    def within(self, span: slice) -> np.ndarray:
        """The places of some neurons' labels: int."""
        return np.flatnonzero((self.neurons >= span.start) & (self.neurons < span.stop))


class HeldOutScores:
    """The labels of one end: those of each half, scored on the other half.

    Args:
        labels: the label table of the end.
        sets: by half, the exemplar sets of the end: int [neurons, size], rows of the corpus, -1
            behind the end of a smaller set.
        b: the answers, with the descriptors of the label table.
        rows: of each split in the corpus.
        seed: draws the other labels that are the null.
    """

    def __init__(
        self,
        labels: Labels,
        end: str,
        sets: Mapping[str, np.ndarray],
        b: Annotations,
        rows: Mapping[str, np.ndarray],
        seed: int,
    ) -> None:
        self._labels, self._end, self._halves = labels, end, []
        for chosen in HALVES:
            other = other_half(chosen)
            asked = rows[other][b.asked[rows[other]]]
            assigned = labels.splits[chosen].assigned.reshape(len(labels.neurons), -1)
            assigned = assigned & asked_sets(sets[other], b.asked)[:, None]
            neurons, descriptors = np.nonzero(assigned)
            lots = np.random.default_rng([seed, *b"other labels"]).permutation(len(descriptors))
            places = np.where(sets[other] >= 0, np.searchsorted(asked, sets[other]), sets[other])
            of_labels = chosen, neurons, descriptors, descriptors[lots]
            shape = len(METRICS), len(neurons)
            found = np.full((3, *shape), np.nan), np.full((*shape, GROUPS), np.nan, np.float32)
            self._halves.append(_Half(*of_labels, asked, places, b.answer[asked], *found))

    def wants(self, span: slice) -> bool:
        """Whether some neurons, counted over all layers, have a label."""
        return any(len(half.within(span)) for half in self._halves)

    def add(self, span: slice, values: np.ndarray | None) -> None:
        """Score the labels of some neurons; other neurons may be added at the same time.

        Args:
            span: the neurons, counted over all layers.
            values: their activations, float32 [sentences of the corpus, neurons]; None where they
                are not stored: then F1 and IoU are all that is known.
        """
        sign = np.float32(1 if self._end == HIGHEST else -1)
        for half in self._halves:
            labels = half.within(span)
            columns = None if values is None else transposed(values[half.rows]) * sign
            of_span = columns, half.exemplars[span], half.answers
            neurons = half.neurons[labels] - span.start
            own, others = (neurons, half.descriptors[labels]), (neurons, half.others[labels])
            kinds = align(*of_span, own), align(*of_span, others), expected(*of_span, own)
            half.scores[:, :, labels] = [astuple(kind) for kind in kinds]
            half.influence[:, labels] = grouped_influence(*of_span, own)

    def add_sample(self, span: slice, values: np.ndarray, sampled: np.ndarray) -> None:
        """Score the labels of some neurons by their activations in a sample of the sentences.

        After `add` without activations, to what is then not known: AUROC and all behind it.

        Args:
            values: float32 [sentences of the sample, neurons].
            sampled: bool [sentences of the corpus], which these are.
        """
        sign = np.float32(1 if self._end == HIGHEST else -1)
        place = np.cumsum(sampled) - 1
        for half in self._halves:
            labels = half.within(span)
            some = np.flatnonzero(sampled[half.rows])
            columns = transposed(values[place[half.rows[some]]]) * sign
            nowhere = np.full((columns.shape[0], 1), -1)
            of_span = columns, nowhere, half.answers[some]
            neurons = half.neurons[labels] - span.start
            own, others = (neurons, half.descriptors[labels]), (neurons, half.others[labels])
            kinds = align(*of_span, own), align(*of_span, others), expected(*of_span, own)
            half.scores[:, _BY_ACTIVATION, labels] = [astuple(kind)[2:] for kind in kinds]
            reach = grouped_influence(*of_span, own)
            half.influence[_BY_ACTIVATION, labels] = reach[_BY_ACTIVATION]

    def means(self) -> list[Row]:
        """A row a half and metric: value, low, high, null, corrected, defined.

        The null is the higher one of two: the mean over the other labels, and what labels that have
        nothing to do with their neurons score by theory (`expected`).
        """
        return [
            {"end": self._end, "chosen": half.chosen, "score": name}
            | beside_null(chosen, half.scores[:, row], half.influence[row])
            for half, chosen in zip(self._halves, self._chosen(), strict=True)
            for row, name in enumerate(METRICS)
        ]

    def _chosen(self) -> list["Chosen"]:
        """The labels of each half, scored in the other half."""
        number = len(self._labels.descriptors)
        counts = [np.bincount(half.descriptors, minlength=number) for half in self._halves]
        return [
            Chosen(half.neurons, half.descriptors, np.subtract(*counts)) for half in self._halves
        ]

    def table(self, gold: np.ndarray) -> pa.Table:
        """A row a label: where from, and its numbers in the half that chose it and in the other.

        Of the other half: `Alignment`, the share of the exemplars that the label applies to, and
        the same by gold labels with its interval, where exemplars have any.

        Args:
            gold: int8 [sentences of the corpus, descriptors], 1 Yes, 0 No, -1 not judged.
        """
        return pa.concat_tables([self._table(half, gold[half.rows]) for half in self._halves])

    def _table(self, half: _Half, gold: np.ndarray) -> pa.Table:
        neurons, split = self._labels.neurons, self._labels.splits[half.chosen]
        place = half.neurons // neurons.width, half.neurons % neurons.width, half.descriptors
        names = np.array(self._labels.descriptors, dtype=object)[half.descriptors]
        yes, answered = _counts(half, half.answers)
        true = wilson(*_counts(half, gold))
        columns = {
            "end": [self._end] * len(names),
            "chosen": [half.chosen] * len(names),
            "layer": np.array(neurons.layers, dtype=np.int16)[place[0]],
            "neuron": place[1].astype(np.int32),
            "descriptor": names,
        }
        columns |= {name: getattr(split, name)[place] for name in ("f", "lift", "p", "q")}
        columns |= dict(zip(METRICS, half.scores[0], strict=True))
        columns |= {"share": ratio(yes, answered)}
        columns |= dict(zip(("gold", "gold_low", "gold_high"), true, strict=True))
        kinds = {"end": pa.string(), "chosen": pa.string(), "descriptor": pa.string()}
        return pa.table(
            {
                name: pa.array(values, kinds.get(name), from_pandas=True)
                for name, values in columns.items()
            }
        )


def _counts(half: _Half, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count, for each label, the exemplars with a Yes and those with an answer: int [labels]."""
    members = half.exemplars[half.neurons]
    found = np.where(members >= 0, answers[members, half.descriptors[:, None]], MISSING)
    return (found == 1).sum(axis=1), (found >= 0).sum(axis=1)


@dataclass(frozen=True)
class Chosen:
    """The labels of a half.

    Attributes:
        neurons, descriptors: of the labels, int [labels].
        differs: int [descriptors], how many labels one half has more of each than the other.
    """

    neurons: np.ndarray
    descriptors: np.ndarray
    differs: np.ndarray


def beside_null(chosen: Chosen, scores: np.ndarray, influence: np.ndarray) -> Row:
    """A mean over labels: its interval, and what it is by chance.

    Args:
        scores: float64 [kinds, labels], as in `_Half`.
        influence: float32 [labels, groups].
    """
    known = ~np.isnan(scores[0])
    value = mean(scores[0])
    null = float(np.fmax(mean(scores[1]), mean(scores[2][known])))
    own = Chosen(chosen.neurons[known], chosen.descriptors[known], chosen.differs)
    reach = _reach(own, scores[0][known], influence[known].astype(np.float64))
    room = (value - null) / (1 - null) if null < 1 else math.nan
    numbers = {"value": value, "low": value - reach, "high": value + reach, "null": null}
    return numbers | {"corrected": room, "defined": int(known.sum())}


def _reach(chosen: Chosen, values: np.ndarray, influence: np.ndarray) -> float:
    """Half the width of a mean's 95% interval, NaN of fewer than two neurons."""
    from scipy.stats import t

    groups, member = np.unique(chosen.neurons, return_inverse=True)
    if len(groups) < 2:
        return math.nan
    away = values - values.mean()
    both = np.zeros((len(groups), GROUPS))
    np.add.at(both, member, influence)
    by_neuron, by_group = np.bincount(member, weights=away), both.sum(axis=0)
    of_sentences = ((by_group - by_group.mean()) ** 2).sum() * GROUPS / (GROUPS - 1)
    of_neurons = (by_neuron**2).sum() * len(groups) / (len(groups) - 1)
    number = len(chosen.differs)
    sums, counts = (np.bincount(chosen.descriptors, w, number) for w in (away, None))
    of_choice = (np.nan_to_num(ratio(sums, counts)) ** 2 * chosen.differs**2 / 2).sum()
    variance = of_sentences + max(0.0, of_neurons - (both**2).sum()) + of_choice
    freedom = min(GROUPS, len(groups)) - 1
    return float(t.ppf(0.975, freedom) * variance**0.5 / len(values))
