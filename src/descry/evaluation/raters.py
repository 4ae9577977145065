"""How several raters agree."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from descry.evaluation.agreement import Interval, kappa, table

_DRAWS = 1000
_SEED = 0


@dataclass(frozen=True)
class Agreed:
    """Agreement of raters.

    Attributes:
        questions: that two raters or more answered.
        alpha: Krippendorff's, of nominal answers, with a bootstrap interval over the questions.
        kappas: Cohen's, of each two raters, by their places.
    """

    questions: int
    alpha: Interval
    kappas: dict[tuple[int, int], Interval]


def agreed(answers: np.ndarray) -> Agreed:
    """How raters agree.

    Args:
        answers: int8 [raters, questions], 1 Yes, 0 No, -1 not answered.
    """
    shared = answers[:, (answers >= 0).sum(axis=0) > 1]
    pairs = combinations(range(len(answers)), 2)
    kappas = {(i, k): kappa(table(answers[i], answers[k])) for i, k in pairs}
    return Agreed(shared.shape[1], _alpha_with_interval(shared), kappas)


def _alpha_with_interval(shared: np.ndarray) -> Interval:
    value = alpha(shared)
    rng, questions = np.random.default_rng(_SEED), shared.shape[1]
    draws = (
        [alpha(shared[:, rng.integers(0, questions, questions)]) for _ in range(_DRAWS)]
        if (questions)
        else []
    )
    known = [draw for draw in draws if not np.isnan(draw)]
    if np.isnan(value) or not known:
        return Interval(float("nan"), float("nan"), float("nan"))
    return Interval(value, *np.percentile(known, [2.5, 97.5]).tolist())


def alpha(answers: np.ndarray) -> float:
    """Krippendorff's alpha of nominal answers; NaN where all say one word, or nobody shares one.

    One less the disagreement within questions over that which answers dealt to questions at random
    would have. (Package `krippendorff`, which the tests hold this against, is under the GPL.)
    """
    counts = np.stack([(answers == 1).sum(axis=0), (answers == 0).sum(axis=0)], axis=1)
    counts = counts[counts.sum(axis=1) > 1].astype(np.float64)
    yes, no = counts.sum(axis=0)
    if not yes or not no:
        return float("nan")
    within = (counts.prod(axis=1) / (counts.sum(axis=1) - 1)).sum()
    return float(1 - within * (yes + no - 1) / (yes * no))
