"""An annotator's answers compared with the answers of people or of a judge (paper, section 5.1).

Undefined values are NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import NORMAL_95, ratio
from descry.annotators.yes_share import in_percent
from descry.io.number_format import fixed

SLIGHT = 0.2  # kappa up to which agreement is "slight" (Landis and Koch 1977)
_DRAWS = 2000  # of an interval
_SEED = 0  # of those draws: an interval is a function of the counts


@dataclass(frozen=True)
class Table:
    """Answers of two raters: how often they say Yes and No together."""

    yes_yes: int
    yes_no: int
    no_yes: int
    no_no: int

    @property
    def array(self) -> np.ndarray:
        """As int64 [first rater, second rater], Yes first."""
        return np.array([[self.yes_yes, self.yes_no], [self.no_yes, self.no_no]])

    def __add__(self, other: "Table") -> "Table":
        return Table(*(self.array + other.array).ravel().tolist())


def table(answer: np.ndarray, truth: np.ndarray) -> Table:
    """Count the sentences that both have answered.

    Args:
        answer, truth: int8 of one shape, 1 Yes, 0 No, -1 no answer.
    """
    both = (answer >= 0) & (truth >= 0)
    yes, true = answer[both] == 1, truth[both] == 1
    pairs = (yes & true, yes & ~true, ~yes & true, ~yes & ~true)
    return Table(*(int(pair.sum()) for pair in pairs))


class Interval(NamedTuple):
    """A value with its 95% interval; NaN where undefined."""

    value: float
    low: float
    high: float


_UNDEFINED = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Agreement:
    """How an annotator's answers agree with the truth.

    Attributes:
        sentences: answered by both; `truth_yes` and `annotator_yes` of them Yes.
        precision, recall: with Wilson's interval.
        kappa: Cohen's, with a bootstrap interval over the sentences.
        auroc: NaN where not every sentence has a score.
    """

    sentences: int
    truth_yes: int
    annotator_yes: int
    precision: Interval
    recall: Interval
    f1: float
    kappa: Interval
    auroc: float


def agreement(answer: np.ndarray, score: np.ndarray, truth: np.ndarray) -> Agreement:
    """Compare an annotator with the truth on the sentences that both have answered.

    Args:
        answer: int8 [sentences], 1 Yes, 0 No, -1 no answer.
        score: float [sentences], log-odds of Yes; NaN where the annotator gave words only.
        truth: int8 [sentences], 1 Yes, 0 No, -1 not judged.
    """
    counts = table(answer, truth)
    both = (answer >= 0) & (truth >= 0)
    return summary(counts, auroc(score[both], truth[both] == 1))


def summary(counts: Table, area: float = float("nan")) -> Agreement:
    """The agreement that a table of counts shows."""
    annotator_yes, truth_yes = counts.yes_yes + counts.yes_no, counts.yes_yes + counts.no_yes
    either = annotator_yes + truth_yes
    return Agreement(
        sentences=int(counts.array.sum()),
        truth_yes=truth_yes,
        annotator_yes=annotator_yes,
        precision=_proportion(counts.yes_yes, annotator_yes),
        recall=_proportion(counts.yes_yes, truth_yes),
        f1=2 * counts.yes_yes / either if either else float("nan"),
        kappa=kappa(counts),
        auroc=area,
    )


def wilson(part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares with Wilson's 95% interval: float64 value, low, high, NaN of nothing.

    Args:
        part, whole: counts, or effective ones, of one shape.
    """
    share, z2 = ratio(part, whole), NORMAL_95**2
    centre = ratio(part + z2 / 2, whole + z2)
    spread = whole * share * (1 - share) + z2 / 4
    reach = NORMAL_95 * ratio(np.sqrt(spread), whole + z2)
    low = np.where(share == 0, 0.0, np.maximum(centre - reach, 0))
    return share, low, np.where(share == 1, 1.0, np.minimum(centre + reach, 1))


def clopper_pearson(part: int, whole: int) -> tuple[float, float]:
    """The exact 95% interval of a share; 0 to 1 of nothing."""
    from scipy.stats import beta

    tail = 0.025
    low = float(beta.ppf(tail, part, whole - part + 1)) if part else 0.0
    high = float(beta.ppf(1 - tail, part + 1, whole - part)) if part < whole else 1.0
    return low, high


def _proportion(part: int, whole: int) -> Interval:
    return Interval(*(float(x) for x in wilson(np.array(part), np.array(whole))))


def kappa(counts: Table) -> Interval:
    """Cohen's kappa of two raters, NaN where both always say the same one word."""
    whole = int(counts.array.sum())
    if not whole:
        return _UNDEFINED
    value = float(_kappas(counts.array[None] / whole)[0])
    draws = np.random.default_rng(_SEED).multinomial(
        whole, counts.array.ravel() / whole, size=_DRAWS
    )
    found = _kappas(draws.reshape(-1, 2, 2) / whole)
    found = found[~np.isnan(found)]
    if np.isnan(value) or not len(found):
        return _UNDEFINED
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def kappa_within(tables: Sequence[Table]) -> Interval:
    """Cohen's kappa within descriptors: agreement above chance, summed, over what chance leaves.

    That of all answers in one table is above 0 already where an annotator says Yes more often to
    the more frequent descriptors, whatever the sentence. (Barlow et al. 1991: weights by size.)
    """
    counts = np.array([table.array for table in tables if table.array.any()]).reshape(-1, 2, 2)
    size = counts.sum(axis=(1, 2))
    draw = np.random.default_rng(_SEED)
    drawn = [
        draw.multinomial(whole, table.ravel() / whole, size=_DRAWS).reshape(-1, 2, 2)
        for table, whole in zip(counts, size, strict=True)
    ]
    if not drawn:
        return _UNDEFINED
    values = np.concatenate([counts[None], np.stack(drawn, axis=1)]) / size[:, None, None]
    chance = (values.sum(axis=3) * values.sum(axis=2)).sum(axis=2)
    above = ((values[:, :, 0, 0] + values[:, :, 1, 1] - chance) * size).sum(axis=1)
    value, *found = ratio(above, ((1 - chance) * size).sum(axis=1)).tolist()
    if np.isnan(value):
        return _UNDEFINED
    return Interval(value, *np.nanpercentile(found, [2.5, 97.5]).tolist())


def doubt(who: str, against: str, within: Interval, answers: int, yes: float) -> str | None:
    """A warning in words where an annotator agrees with people hardly better than chance.

    Args:
        who: its name.
        against: with whom it agrees.
        within: kappa, as `kappa_within` gives it.
        answers: that were compared.
        yes: the share of Yes among all of its answers.
    """
    if np.isnan(within.value) or within.value > SLIGHT:
        return None
    how = "only slightly" if within.low > 0 else "no better than chance"
    value, low, high = (fixed(round(number, 2), 2) for number in within)
    return (
        f"{who} agrees with {against} {how}: kappa {value} (95% {low} to {high}, chance 0) within"
        f" descriptors over {answers:,} answers, Yes to {in_percent(yes)} of all: labels by it are"
        " not to be trusted"
    )


def _kappas(tables: np.ndarray) -> np.ndarray:
    """Cohen's kappa of tables of shares [tables, 2, 2]."""
    first, second = tables.sum(axis=2), tables.sum(axis=1)
    chance = (first * second).sum(axis=1)
    same = tables[:, 0, 0] + tables[:, 1, 1]
    return ratio(np.where(chance < 1, same - chance, 0.0), np.where(chance < 1, 1 - chance, 0.0))


def auroc(score: np.ndarray, truth: np.ndarray) -> float:
    """Chance that a true one scores above a false one, ties half.

    NaN where all are of one kind, or one has no score.

    Args:
        score: float [sentences].
        truth: bool [sentences].
    """
    from scipy.stats import rankdata

    n = int(truth.sum())
    if n in (0, len(truth)) or np.isnan(score).any():
        return float("nan")
    return float((rankdata(score)[truth].sum() - n * (n + 1) / 2) / (n * (len(truth) - n)))


class OverCorpus(NamedTuple):
    """What an annotator's agreement with the truth is over the corpus, not over the judged ones."""

    precision: Interval
    recall: Interval
    kappa: Interval


def over_corpus(judged: Sequence[tuple[Table, float]]) -> OverCorpus:
    """Agreement over all pairs of sentence and descriptor, from some that were judged.

    A sheet has as many sentences that the annotator says Yes to as others (section 5.1), which is
    not their share: recall over the sheet is far too high. Here the judged ones of either kind
    stand for all of their kind (post-stratification). Intervals are those of independent draws
    within each kind by the delta method: of recall on the scale of its log-odds. Descriptors with
    fewer than two judged sentences of a kind are left out.

    Args:
        judged: of each descriptor, the table with the annotator first; and the share of all
            sentences that the annotator says Yes to.
    """
    kinds = np.array([table.array for table, _ in judged]).reshape(-1, 2, 2)
    share = np.array([share for _, share in judged]).reshape(-1)
    enough = (kinds.sum(axis=2) > 1).all(axis=1)
    kinds, share = kinds[enough], share[enough]
    if not len(share) or not 0 < share.sum() < len(share):
        return OverCorpus(_UNDEFINED, _UNDEFINED, _UNDEFINED)
    size, weight = kinds.sum(axis=2), np.stack([share, 1 - share], axis=1) / len(share)
    true = kinds[:, :, 0] / size
    both, missed = (weight * true).sum(axis=0)
    spread = (weight**2 * true * (1 - true) / (size - 1)).sum(axis=0)
    said = float(share.mean())
    precision = _around(both / said, (spread[0] / said**2) ** 0.5)
    if not both + missed:
        return OverCorpus(precision, _UNDEFINED, _UNDEFINED)
    bottom = said + (both + missed) * (1 - 2 * said)
    value = 2 * (both * (1 - said) - said * missed) / bottom
    slopes = np.array([2 * (1 - said), -2 * said]) - value * (1 - 2 * said)
    of_kappa = _around(value, float((slopes**2 / bottom**2 * spread).sum()) ** 0.5)
    return OverCorpus(precision, _recall(both, missed, spread), of_kappa)


def _around(value: float, deviation: float) -> Interval:
    reach = NORMAL_95 * deviation
    return Interval(float(value), max(-1.0, float(value - reach)), min(1.0, float(value + reach)))


def _recall(both: float, missed: float, spread: np.ndarray) -> Interval:
    """both / (both + missed), of independent parts with these variances."""
    value = both / (both + missed)
    if not both or not missed:
        return Interval(float(value), float("nan"), float("nan"))
    reach = NORMAL_95 * (spread[0] / both**2 + spread[1] / missed**2) ** 0.5
    odds = both / missed * np.exp([-reach, reach])
    return Interval(float(value), *(odds / (1 + odds)).tolist())
