"""Other people's explanations beside the run's labels: the same questions about the same
sentences, to the same annotator.

Detection, as stage score asks it: of held-out exemplars of a neuron and as many other sentences of
the half that did not choose our labels, does the explanation apply? Beside each stands another's
explanation of the same layer (what an explanation of anything scores), and what the length of a
sentence and the frequency of its words score alone.

The intervals are for other neurons of the same kind: t over neurons, of a mean, or of a mean
difference where both have an explanation. Sentences of several neurons are shared, which they do
not count.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import mean
from descry.annotators.parsing.answers import Verdict
from descry.annotators.prompts import Prompt, detection
from descry.corpus.splits import draw
from descry.corpus.words import words_of
from descry.evaluation.scorer_items import ScorerItem, Sentences, trials
from descry.evaluation.scorers import NAN, auroc, balanced_accuracy
from descry.io.csv_rows import Row
from descry.models.neurons import Neurons

SCORES = ("auroc", "balanced_accuracy")
WHOSE = ("theirs", "theirs_other", "ours", "ours_other")
ALONE = ("length", "frequency")


class Trial(NamedTuple):
    """A neuron with its sentences and the descriptions that are tried on them.

    Attributes:
        texts: by `WHOSE`, of another neuron of the layer where that is said; None without one.
    """

    item: ScorerItem
    texts: dict[str, str | None]

    @property
    def asked(self) -> list[str]:
        """The different descriptions."""
        return list(dict.fromkeys(text for text in self.texts.values() if text is not None))


@dataclass(frozen=True)
class Mean:
    """A mean over neurons: its 95% interval, and how many have the score."""

    value: float
    low: float
    high: float
    neurons: int


def tried(
    theirs: Mapping[str, str],
    ours: Mapping[str, str],
    every: Neurons,
    source: Sentences,
    *,
    sentences: int,
    seed: int,
) -> list[Trial]:
    """The neurons that somebody explained, and that have held-out exemplars.

    Args:
        theirs, ours: descriptions by neuron.
        sentences: of each kind, at most.
    """
    names = sorted(theirs, key=every.find)
    items = trials(
        dict(theirs), every, source, neurons=names, sentences=sentences, distractors=2, seed=seed
    )
    others = _others(theirs, every, seed), _others(ours, every, seed)
    return [
        Trial(
            item,
            {
                "theirs": theirs[item.neuron],
                "theirs_other": others[0].get(item.neuron),
                "ours": ours.get(item.neuron),
                "ours_other": others[1].get(item.neuron),
            },
        )
        for item in items
        if item.active and item.quiet
    ]


def _others(texts: Mapping[str, str], every: Neurons, seed: int) -> dict[str, str]:
    """For each neuron the description of another of its layer, where one has another text."""
    found: dict[str, str] = {}
    names = sorted(texts, key=every.find)
    for _, group in groupby(names, key=lambda name: every.find(name)[0]):
        ring = sorted(group, key=lambda name: draw(seed, f"explanation:{name}"))
        for place, name in enumerate(ring):
            around = ring[place + 1 :] + ring[:place]
            other = next((texts[one] for one in around if texts[one] != texts[name]), None)
            if other is not None:
                found[name] = other
    return found


def prompts_of(found: Sequence[Trial], texts: Sequence[str]) -> list[Prompt]:
    """All that is asked, neuron by neuron, sentence by sentence."""
    return [
        detection(texts[row], description)
        for trial in found
        for row in trial.item.rows
        for description in trial.asked
    ]


def scored(
    found: Sequence[Trial], said: Iterator[Verdict | None], texts: Sequence[str], language: str
) -> list[Row]:
    """A row a neuron: the descriptions, and each score of each.

    Args:
        said: what was answered to `prompts_of`, in its order; None where there is no usable answer.
        language: of the corpus.
    """
    split = words_of(language)
    counts = Counter(word for text in texts for word in split(text.lower()))
    whole = counts.total()
    return [_row(trial, said, texts, split, counts, whole) for trial in found]


def _row(
    trial: Trial,
    said: Iterator[Verdict | None],
    texts: Sequence[str],
    split: Callable[[str], list[str]],
    counts: Counter[str],
    whole: int,
) -> Row:
    rows, asked = trial.item.rows, trial.asked
    answers = list(islice(said, len(rows) * len(asked)))
    active = np.arange(len(rows)) < len(trial.item.active)
    row: Row = {"neuron": trial.item.neuron, "sentences": len(rows)}
    row |= {"explanation": trial.texts["theirs"], "labels": trial.texts["ours"] or ""}
    for name in WHOSE:
        description = trial.texts[name]
        scores = NAN, NAN
        if description is not None:
            own = answers[asked.index(description) :: len(asked)]
            yes = np.array([math.nan if one is None else one.yes for one in own], dtype=np.float64)
            odds = np.array([math.nan if one is None else one.odds for one in own])
            scores = auroc(odds.astype(np.float64), active), balanced_accuracy(yes, active)
        row |= {f"{name}_{score}": value for score, value in zip(SCORES, scores, strict=True)}
    words = [split(texts[place].lower()) for place in rows]
    lengths = np.array([len(some) for some in words], dtype=np.float64)
    common = np.array([mean(np.log([counts[w] / whole for w in some])) for some in words])
    return row | {"length_auroc": auroc(lengths, active), "frequency_auroc": auroc(common, active)}


def summary(rows: Sequence[Row]) -> dict[str, Row]:
    """The mean of each score over neurons, and of the differences, each with its interval.

    `theirs_minus_ours` is over the neurons that have both, `over_other` of each against another
    neuron's description.
    """

    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], dtype=np.float64)

    found: dict[str, Row] = {}
    for score in SCORES:
        values = {name: column(f"{name}_{score}") for name in WHOSE}
        told = values | {
            "theirs_over_other": values["theirs"] - values["theirs_other"],
            "ours_over_other": values["ours"] - values["ours_other"],
            "theirs_minus_ours": values["theirs"] - values["ours"],
        }
        found[score] = {name: asdict(mean_of(of)) for name, of in told.items()}
    for name in ALONE:
        found["auroc"][name] = asdict(mean_of(column(f"{name}_auroc")))
    return found


def mean_of(values: np.ndarray) -> Mean:
    """A mean over neurons, those without the score left out; NaN ends for fewer than two."""
    from scipy.stats import t

    known = values[~np.isnan(values)]
    number = len(known)
    if number < 2:
        return Mean(mean(known), NAN, NAN, number)
    reach = float(t.ppf(0.975, number - 1) * known.std(ddof=1) / number**0.5)
    return Mean(mean(known), mean(known) - reach, mean(known) + reach, number)
