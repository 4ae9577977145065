"""Every label over all sentences of the half that did not choose it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from descry.activations.nan_stats import NORMAL_95, mean, ratio
from descry.activations.store import transposed
from descry.activations.top_k import HIGHEST
from descry.annotators.annotations import MISSING, Annotations
from descry.corpus.splits import HALVES, other_half
from descry.evaluation.agreement import Reliability, corrected
from descry.evaluation.alignment import Alignment, align
from descry.io.csv_rows import Row
from descry.labels.assignment import asked_sets
from descry.labels.results import Labels

METRICS = tuple(field.name for field in fields(Alignment))


@dataclass(frozen=True)
class _Half:
    """The labels that one half chose, and the sentences of the other.

    Attributes:
        chosen: the half that chose.
        neurons, descriptors: of the labels, int [labels]; neurons count over all layers.
        others: int [labels], the descriptors of other labels, drawn by lot, for the null.
        rows: int, rows of the corpus: the other half's sentences that were asked about.
        exemplars: int [neurons, size], places in `rows`, -1 behind the end of a smaller set.
        answers: int8 [rows, descriptors].
        scores: float64 [label or other label, metrics, labels], NaN until `HeldOutScores.add`.
    """

    chosen: str
    neurons: np.ndarray
    descriptors: np.ndarray
    others: np.ndarray
    rows: np.ndarray
    exemplars: np.ndarray
    answers: np.ndarray
    scores: np.ndarray

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
            scores = np.full((2, len(METRICS), len(neurons)), np.nan)
            self._halves.append(_Half(*of_labels, asked, places, b.answer[asked], scores))

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
            both = np.concatenate([half.descriptors[labels], half.others[labels]])
            pairs = np.tile(half.neurons[labels] - span.start, 2), both
            found = align(columns, half.exemplars[span], half.answers, pairs)
            scores = np.array([getattr(found, name) for name in METRICS])
            half.scores[:, :, labels] = np.stack(np.split(scores, 2, axis=1))

    def means(self) -> list[Row]:
        """A row a half and metric: value, low, high, null, corrected, defined.

        The null is the mean over the other labels, the interval that of a normal mean.
        """
        return [
            {"end": self._end, "chosen": half.chosen, "score": name}
            | _beside_null(*half.scores[:, row])
            for half in self._halves
            for row, name in enumerate(METRICS)
        ]

    def table(self, reliable: Mapping[str, Reliability]) -> pa.Table:
        """A row a label: where from, and its numbers in the half that chose it and in the other.

        Of the other half: `Alignment`, the share of the exemplars that the label applies to, and
        that share corrected for the annotator's errors, with its interval.

        Args:
            reliable: by descriptor, where the annotator's errors are known.
        """
        return pa.concat_tables([self._table(half, reliable) for half in self._halves])

    def _table(self, half: _Half, reliable: Mapping[str, Reliability]) -> pa.Table:
        neurons, split = self._labels.neurons, self._labels.splits[half.chosen]
        place = half.neurons // neurons.width, half.neurons % neurons.width, half.descriptors
        names = np.array(self._labels.descriptors, dtype=object)[half.descriptors]
        members = half.exemplars[half.neurons]
        answers = np.where(members >= 0, half.answers[members, half.descriptors[:, None]], MISSING)
        yes, answered = (answers == 1).sum(axis=1), (answers >= 0).sum(axis=1)
        free = np.full((3, len(names)), np.nan)
        for name, annotator in reliable.items():
            own = np.flatnonzero(names == name)
            found = corrected(yes[own], answered[own], annotator)
            free[:, own] = found.value, found.low, found.high
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
        columns |= dict(zip(("corrected", "corrected_low", "corrected_high"), free, strict=True))
        kinds = {"end": pa.string(), "chosen": pa.string(), "descriptor": pa.string()}
        return pa.table(
            {
                name: pa.array(values, kinds.get(name), from_pandas=True)
                for name, values in columns.items()
            }
        )


def _beside_null(values: np.ndarray, nulls: np.ndarray) -> Row:
    known = values[~np.isnan(values)]
    value, null, nan = mean(values), mean(nulls), float("nan")
    reach = NORMAL_95 * float(known.std(ddof=1)) / len(known) ** 0.5 if len(known) > 1 else nan
    room = (value - null) / (1 - null) if null < 1 else nan
    numbers = {"value": value, "low": value - reach, "high": value + reach, "null": null}
    return numbers | {"corrected": room, "defined": len(known)}
