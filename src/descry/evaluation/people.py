"""People asked about labels: which questions are drawn, and what their answers say of all labels.

Two draws, both with known probabilities. Labels are drawn, those with little evidence more often.
Of each, some of its exemplars are drawn, and some other sentences of the same strata: those where
the annotator is least sure more often. So a few hundred answers estimate, without bias and with an
interval,

- f(c) of each drawn label, as people would have it: the share of its exemplars that talk about it;
- the mean of that over all labels;
- the share of labels that people support: p < .05 for more Yes among the exemplars than among other
  sentences of the same strata.

What was drawn depends on seed, neuron, sentence and descriptor alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descry.annotators.annotations import Annotations
from descry.corpus.splits import draw
from descry.evaluation.prediction_powered import Estimate, estimate, probabilities
from descry.labels.results import Labels
from descry.labels.strata import Strata

SURE = 0.1  # importance of a sentence of which the annotator is sure; of an even chance it is 1
ONE_SIDED = 1.6448536269514722  # deviations: p < .05


@dataclass(frozen=True)
class Part:
    """Sentences of a label: its exemplars, or others.

    Attributes:
        rows: of all of them, int64.
        weight: of each in the share of Yes; their sum is 1.
        predicted: bool, whether the annotator said Yes.
        drawn: places of those that people are asked about.
        probability: with which each of those was to be drawn.
    """

    rows: np.ndarray
    weight: np.ndarray
    predicted: np.ndarray
    drawn: np.ndarray
    probability: np.ndarray

    def share(self, said: Mapping[int, float]) -> Estimate:
        """The share of Yes, by what people said of sentences, by row.

        Questions that nobody answered count as if they had not been drawn.
        """
        known = np.array([row in said for row in self.rows[self.drawn].tolist()], dtype=bool)
        drawn = self.drawn[known]
        answers = np.array([said[row] for row in self.rows[drawn].tolist()])
        probability = self.probability[known] * (known.mean() if len(known) else 1.0)
        return estimate(self.predicted.astype(float), self.weight, drawn, answers, probability)


@dataclass(frozen=True)
class Asked:
    """A label that was drawn.

    Attributes:
        neuron: its name.
        descriptor: of the label.
        place: of the label among all.
        probability: with which it was to be drawn.
    """

    neuron: str
    descriptor: str
    place: int
    probability: float
    exemplars: Part
    others: Part


@dataclass(frozen=True)
class Design:
    """What people are asked about.

    Attributes:
        asked: the labels that were drawn.
        f: of all labels, by the annotator.
        replicated: of all labels, whether both halves confirm them: what predicts that people do.
    """

    asked: list[Asked]
    f: np.ndarray
    replicated: np.ndarray

    @property
    def cells(self) -> list[tuple[int, str]]:
        """The questions: rows and descriptors, each once."""
        found = {
            (int(row), label.descriptor): None
            for label in self.asked
            for part in (label.exemplars, label.others)
            for row in part.rows[part.drawn]
        }
        return list(found)


@dataclass(frozen=True)
class Rated:
    """What people say of a label."""

    asked: Asked
    share: Estimate
    among_others: Estimate

    @property
    def supported(self) -> bool:
        """Whether people see more of the descriptor in the exemplars than elsewhere: p < .05."""
        off = self.share.value - self.among_others.value
        variance = self.share.variance + self.among_others.variance
        return bool(off > ONE_SIDED * variance**0.5)


@dataclass(frozen=True)
class Verdict:
    """What people say of all labels, and of those that were drawn."""

    labels: list[Rated]
    f: Estimate
    supported: Estimate


def design(
    labels: Labels,
    sets: np.ndarray,
    b: Annotations,
    strata: Strata,
    number: int,
    each: int,
    seed: int,
) -> Design:
    """Draw what people are asked about.

    Args:
        sets: exemplars of the whole corpus: int [layers, neurons, size], -1 behind the end.
        strata: of the sentences that the annotator was asked about.
        number: of labels, on average (all, if there are fewer).
        each: exemplars of a label, and as many others, on average.
    """
    whole, ids = labels.splits["all"], b.ids
    places = np.argwhere(whole.assigned)
    where = tuple(places.T)
    evidence = -np.log10(np.clip(np.nan_to_num(whole.q[where], nan=1.0), 1e-300, 1))
    chance = probabilities(1 / np.sqrt(1 + evidence), min(number, len(places)))
    columns = {name: i for i, name in enumerate(b.descriptors)}
    asked, f = [], np.zeros(len(places))
    for place, (layer, index, column) in enumerate(places.tolist()):
        neuron, name = labels.neurons.name(layer, index), labels.descriptors[column]
        rows = sets[layer, index]
        rows = np.sort(rows[(rows >= 0) & b.asked[np.maximum(rows, 0)]])
        yes = b.bits.yes.column(columns[name])
        f[place] = yes[rows].mean() if len(rows) else 0.0
        if _lot(seed, "label", neuron, name) >= chance[place] or not len(rows):
            continue
        odds, parts = b.odds(name), []
        for own, weight in _exemplars_and_others(rows, b.asked, strata):
            names = [f"{neuron}:{name}:{ids[row]}" for row in own.tolist()]
            parts.append(_part(own, weight, yes, odds, each, names, seed))
        asked.append(Asked(neuron, name, place, float(chance[place]), *parts))
    return Design(asked, f, labels.replicated[where])


def _exemplars_and_others(
    rows: np.ndarray, asked: np.ndarray, strata: Strata
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Exemplars, and sentences of the same strata that weigh as much in each: with weights."""
    yield rows, np.full(len(rows), 1 / len(rows))
    outside = asked & (strata.of >= 0)
    outside[rows] = False
    others = np.flatnonzero(outside)
    wanted = np.bincount(strata.of[rows], minlength=len(strata.names)).astype(float)
    there = np.bincount(strata.of[others], minlength=len(strata.names))
    weight = (wanted / np.maximum(there, 1))[strata.of[others]]
    others, weight = others[weight > 0], weight[weight > 0]
    yield others, weight / weight.sum() if len(weight) else weight


def _part(
    rows: np.ndarray,
    weight: np.ndarray,
    yes: np.ndarray,
    odds: np.ndarray,
    each: int,
    names: Sequence[str],
    seed: int,
) -> Part:
    sure = np.abs(np.nan_to_num(odds[rows].astype(float), nan=0.0))
    doubt = np.maximum(SURE, 4 / (np.exp(np.minimum(sure, 30)) + 2 + np.exp(-sure)))
    chance = probabilities(weight * np.sqrt(doubt), min(each, len(rows)))
    lots = np.array([_lot(seed, "sentence", name) for name in names])
    drawn = np.flatnonzero(lots < chance)
    return Part(rows, weight, yes[rows], drawn, chance[drawn])


def _lot(seed: int, *names: str) -> float:
    return int.from_bytes(draw(seed, "people:" + ":".join(names))[:6]) / 2**48


def verdict(design: Design, said: Mapping[tuple[int, str], float]) -> Verdict:
    """What people say of all labels.

    Args:
        said: the share of raters that say Yes, by row and descriptor.
    """
    rated = []
    for label in design.asked:
        own = {row: value for (row, name), value in said.items() if name == label.descriptor}
        among, elsewhere = label.exemplars.share(own), label.others.share(own)
        if min(among.drawn, elsewhere.drawn) > 1:
            rated.append(Rated(label, among, elsewhere))
    number = len(design.f)
    weight = np.full(number, 1 / max(1, number))
    drawn = np.array([one.asked.place for one in rated], dtype=np.int64)
    chance = np.array([one.asked.probability for one in rated])
    chance = chance * (len(rated) / max(1, len(design.asked)))
    shares = np.array([one.share.value for one in rated])
    noise = np.array([one.share.variance for one in rated])
    held = np.array([one.supported for one in rated], dtype=float)
    return Verdict(
        rated,
        estimate(design.f, weight, drawn, shares, chance, noise),
        estimate(design.replicated.astype(float), weight, drawn, held, chance),
    )


def as_rows(found: Verdict) -> list[dict[str, Any]]:
    """A row a label that was drawn, the first neuron first."""
    rows = []
    for one in found.labels:
        low, high = one.share.interval()
        rows.append(
            {
                "neuron": one.asked.neuron,
                "descriptor": one.asked.descriptor,
                "answers": one.share.drawn + one.among_others.drawn,
                "f": one.share.value,
                "low": low,
                "high": high,
                "f_by_annotator": float(one.asked.exemplars.predicted.mean()),
                "among_others": one.among_others.value,
                "supported": one.supported,
            }
        )
    return rows
