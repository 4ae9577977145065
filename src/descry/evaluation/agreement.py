"""An annotator's answers compared with the answers of people or of a judge (paper, section 5.1).

Undefined values are NaN.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import NORMAL_95, ratio

_DRAWS = 2000  # of an interval
_SEED = 0  # of those draws: an interval is a function of the counts
_JEFFREYS = 0.5  # prior count of each outcome


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


def _proportion(part: int, whole: int) -> Interval:
    from scipy.stats import binomtest

    if not whole:
        return _UNDEFINED
    found = binomtest(part, whole).proportion_ci(method="wilson")
    return Interval(part / whole, float(found.low), float(found.high))


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


@dataclass(frozen=True)
class Reliability:
    """How often an annotator says Yes where that is true, and No where it is not; and how sure."""

    sensitivity: float
    specificity: float
    covariance: np.ndarray  # float64 [2, 2], of the two


def reliability(counts: Table, yes_share: float) -> Reliability:
    """Sensitivity and specificity over all sentences.

    A sheet has as many sentences that the annotator tagged as that it did not (section 5.1), which
    is not their share: each kind counts by its share in the corpus. The covariance is that of
    Jeffreys' posterior of the two kinds' error rates.

    Args:
        counts: the annotator first.
        yes_share: of all sentences, those that the annotator says Yes to.
    """
    draws = np.random.default_rng(_SEED)
    tagged = counts.yes_yes + counts.yes_no
    passed = counts.no_yes + counts.no_no
    if not tagged or not passed:
        nan = float("nan")
        return Reliability(nan, nan, np.full((2, 2), nan))

    def rates(right: np.ndarray, missed: np.ndarray) -> np.ndarray:
        true = right * yes_share, missed * (1 - yes_share)
        false = (1 - right) * yes_share, (1 - missed) * (1 - yes_share)
        return np.stack([ratio(true[0], true[0] + true[1]), ratio(false[1], false[0] + false[1])])

    def sampled(part: int, rest: int) -> np.ndarray:
        return draws.beta(part + _JEFFREYS, rest + _JEFFREYS, size=_DRAWS)

    value = rates(np.array(counts.yes_yes / tagged), np.array(counts.no_yes / passed))
    spread = rates(sampled(counts.yes_yes, counts.yes_no), sampled(counts.no_yes, counts.no_no))
    return Reliability(float(value[0]), float(value[1]), np.cov(spread))


@dataclass(frozen=True)
class Corrected:
    """True shares behind what an annotator says: float64 arrays, NaN where undefined."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def corrected(yes: np.ndarray, answered: np.ndarray, annotator: Reliability) -> Corrected:
    """The share of sentences with a descriptor, freed of the annotator's errors.

    Rogan & Gladen (1978): (share + specificity - 1) / (sensitivity + specificity - 1), cut to 0 ...
    1, with a 95% interval by the delta method over the share (as Agresti and Coull adjust it), the
    sensitivity and the specificity. Undefined for an annotator no better than chance.

    Args:
        yes, answered: counts of sentences, of one shape.
    """
    better = annotator.sensitivity + annotator.specificity - 1
    if not better > 0:  # also NaN
        return Corrected(*(np.full(np.shape(yes), np.nan) for _ in range(3)))
    value = (ratio(yes, answered) + annotator.specificity - 1) / better
    # Of a set without a Yes, or all Yes, the plain variance would be none.
    adjusted = (yes + 2) / (np.asarray(answered) + 4)
    centre = np.where(answered, (adjusted + annotator.specificity - 1) / better, np.nan)
    (sensitivity, both), (_, specificity) = annotator.covariance
    variance = (
        adjusted * (1 - adjusted) / (np.asarray(answered) + 4)
        + centre**2 * sensitivity
        + (1 - centre) ** 2 * specificity
        - 2 * centre * (1 - centre) * both
    ) / better**2
    reach = NORMAL_95 * np.sqrt(np.maximum(variance, 0))
    return Corrected(*(np.clip(x, 0, 1) for x in (value, centre - reach, centre + reach)))
