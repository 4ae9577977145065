"""Scores of labels (paper, section 5), each beside the score of shuffled neurons.

Undefined values are NaN: a precision where nothing was predicted, a recall where nothing is true,
a Jaccard similarity of two empty sets. Means are over the defined ones, which are counted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from descry.labels import assign, ranks

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Score:
    """A mean over neurons (or descriptors) with its deviation and its null.

    Attributes:
        value: mean over the defined ones; NaN if there are none.
        deviation: standard deviation over them (population).
        null: the mean score when the second argument's neurons are shuffled.
        defined: over how many the mean is.
    """

    value: float
    deviation: float
    null: float
    defined: int

    @property
    def corrected(self) -> float:
        """Chance-corrected: (value - null) / (1 - null), NaN where the null is 1."""
        return (self.value - self.null) / (1 - self.null) if self.null < 1 else float("nan")


def precision(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of each neuron's predicted descriptors that are true: float64 [neurons]."""
    return _ratio((predicted & truth).sum(axis=1), predicted.sum(axis=1))


def recall(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of each neuron's true descriptors that are predicted: float64 [neurons]."""
    return precision(truth, predicted)


def jaccard(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Jaccard similarity of two sets of descriptors per neuron (section 5.3): [neurons]."""
    return _ratio((first & second).sum(axis=1), (first | second).sum(axis=1))


def jaccard_by_descriptor(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Jaccard similarity of two sets of neurons per descriptor (section 5.3): [descriptors]."""
    return jaccard(first.T, second.T)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    shares = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def top(f: np.ndarray, k: int) -> np.ndarray:
    """The k most frequent descriptors of each neuron, of those that occur: bool like `f`."""
    return assign(f, 0.0, None) & (ranks(f) < k)


def beside_null(
    scorer: Scorer, first: np.ndarray, second: np.ndarray, shuffles: int, seed: int
) -> Score:
    """A score, and its mean when the rows (neurons) of `second` are shuffled.

    Args:
        scorer: from two bool arrays [neurons, descriptors] to a score per neuron or descriptor.
    """
    values = scorer(first, second)
    nulls = [
        _mean(scorer(first, second[np.random.default_rng([seed, i]).permutation(len(second))]))
        for i in range(shuffles)
    ]
    defined = values[~np.isnan(values)]
    deviation = float(defined.std()) if len(defined) else float("nan")
    return Score(_mean(values), deviation, _mean(np.array(nulls)), len(defined))


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


@dataclass(frozen=True)
class Agreement:
    """Yes/No answers of a labeller against those of people, for one descriptor.

    All are NaN where undefined; `auroc` needs scores of both kinds.
    """

    sentences: int
    truth_yes: int
    labeller_yes: int
    precision: float
    recall: float
    f1: float
    kappa: float
    auroc: float


def agreement(answer: np.ndarray, score: np.ndarray, gold: np.ndarray) -> Agreement:
    """Compare a labeller with gold labels on the sentences that both have answered.

    Args:
        answer: int8 [sentences], 1 Yes, 0 No, -1 no answer.
        score: float [sentences], log-odds of Yes; NaN where the labeller gave words only.
        gold: int8 [sentences], likewise 1, 0 or -1.
    """
    both = (answer >= 0) & (gold >= 0)
    yes, truth, score = answer[both] == 1, gold[both] == 1, score[both]
    hits = int((yes & truth).sum())
    p, r = _share(hits, int(yes.sum())), _share(hits, int(truth.sum()))
    return Agreement(
        sentences=int(both.sum()),
        truth_yes=int(truth.sum()),
        labeller_yes=int(yes.sum()),
        precision=p,
        recall=r,
        f1=_share(2 * hits, int(yes.sum() + truth.sum())),
        kappa=_kappa(yes, truth),
        auroc=_auroc(score, truth),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa of two raters (section 5.1)."""
    if not len(first):
        return float("nan")
    a, b = first.mean(), second.mean()
    chance = a * b + (1 - a) * (1 - b)
    return _share(float((first == second).mean() - chance), float(1 - chance))


def _auroc(score: np.ndarray, truth: np.ndarray) -> float:
    """Chance that a true sentence scores above a false one, ties half."""
    from scipy.stats import rankdata

    n = int(truth.sum())
    if n in (0, len(truth)) or np.isnan(score).any():
        return float("nan")
    return float((rankdata(score)[truth].sum() - n * (n + 1) / 2) / (n * (len(truth) - n)))


def pearson(answers: np.ndarray) -> np.ndarray:
    """Pearson correlation of the columns of B (section 5.2): float64 [descriptors, descriptors].

    Over the sentences with every answer; NaN for a descriptor that is never or always true.
    """
    whole = (answers[(answers >= 0).all(axis=1)] == 1).astype(np.float64)
    centred = whole - whole.mean(axis=0) if len(whole) else whole
    norm = np.sqrt((centred**2).sum(axis=0))
    product = np.outer(norm, norm)
    found = np.full(product.shape, np.nan)
    np.divide(centred.T @ centred, product, out=found, where=product > 0)
    return found
