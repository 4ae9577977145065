"""How well a label predicts its neuron over all sentences, not only over the exemplar set.

The metrics are those of NeuronEval (Oikarinen, Yan & Weng 2025, "Evaluating neuron explanations: a
unified framework with sanity checks"): a label should score less when half of its Yes are
removed, and less when as many are added at random. f(c) only depends on the exemplar set, so that
Yes added elsewhere does not lower it. F1, IoU, Pearson and cosine pass both checks. Two rank the
sentences by activation with the label as the truth, the other way round than NeuronEval's AUC and
AUPRC: `average_precision` is its inverse AUPRC, which passes both unless the label holds for about
half of the sentences, and `auroc` its inverse AUC, which hardly notices missing Yes of a rare one.
Cosine alone changes when a constant is added to the activations.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from descry.activations.nan_stats import ratio


@dataclass(frozen=True)
class Alignment:
    """Scores of pairs of a neuron and a descriptor, each float64 [pairs].

    Over the sentences that have an answer for the descriptor; the neuron fires on its exemplars.
    `f1` and `iou` are NaN where it fires on none and the label holds for none, the others where the
    label holds for none or all, or the activation is the same for all.

    Attributes:
        f1: of the label as a predictor of the neuron firing.
        iou: sentences where both are so over those where either is.
        auroc: the chance that an activation where the label holds is above one where it does not,
            ties half.
        average_precision: of the activation as a score of the label holding; ties are one threshold
            (scikit-learn's average_precision_score).
        pearson: correlation of the activation with the label as 0 or 1.
        cosine: of the activation as it is and the label as 0 or 1.
    """

    f1: np.ndarray
    iou: np.ndarray
    auroc: np.ndarray
    average_precision: np.ndarray
    pearson: np.ndarray
    cosine: np.ndarray


def align(
    columns: np.ndarray | None,
    exemplars: np.ndarray,
    answers: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
) -> Alignment:
    """The scores of each label.

    Args:
        columns: float32 [neurons, sentences], contiguous, finite; None where they are not stored:
            then F1 and IoU are all that is known.
        exemplars: int [neurons, size], the sentences where the neuron fires, each once; -1 behind
            the end of a smaller set.
        answers: B of the same sentences, int8 [sentences, descriptors]: 1 Yes, 0 No, -1 none.
        pairs: neurons and columns of `answers`, both int [pairs], in any order.
    """
    neurons, descriptors = pairs
    yes = np.ascontiguousarray((answers == 1).T)
    answered = np.ascontiguousarray((answers >= 0).T)
    scores = np.full((6, len(neurons)), np.nan)
    for neuron in np.unique(neurons):
        places = np.flatnonzero(neurons == neuron)
        labels = descriptors[places]
        fires = exemplars[neuron][exemplars[neuron] >= 0]
        scores[:2, places] = _overlap(fires, yes[labels], answered[labels])
        if columns is not None:
            scores[2:, places] = _activation(columns[neuron], yes[labels], answered[labels])
    return Alignment(*scores)


def expected(
    columns: np.ndarray | None,
    exemplars: np.ndarray,
    answers: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
) -> Alignment:
    """Return the mean score of each label if its Yes and No were permuted among the sentences.

    Exact, given how many Yes there are, the exemplars and the activations: of n sentences, t with
    Yes, F1 is that of f t / n hits, IoU the mean over the hypergeometric number of hits, AUROC .5,
    Pearson 0, cosine sqrt(t) mean(x) / |x|. Average precision is (t - 1) / (n - 1) (1 - h) + h,
    where h is the mean of 1 / (sentences not below this one): the base rate and a little more.

    Args:
        columns, exemplars, answers, pairs: as `align` takes them.
    """
    neurons, descriptors = pairs
    answered = answers >= 0
    whole, true = answered.sum(axis=0), (answers == 1).sum(axis=0)
    scores = np.full((6, len(neurons)), np.nan)
    for neuron in np.unique(neurons):
        fires = exemplars[neuron][exemplars[neuron] >= 0]
        column = None if columns is None else columns[neuron].astype(np.float64)
        of_all = None if column is None else _expected_ranks(column)
        for place in np.flatnonzero(neurons == neuron):
            known = answered[:, descriptors[place]]
            n, t = int(whole[descriptors[place]]), int(true[descriptors[place]])
            f = int(known[fires].sum())
            if f + t:
                scores[:2, place] = _expected_overlap(n, t, f)
            if column is not None and 0 < t < n:
                h, slope = of_all if of_all and n == len(column) else _expected_ranks(column[known])
                precision = (t - 1) / (n - 1) * (1 - h) + h
                scores[2:, place] = 0.5, precision, 0.0, t**0.5 * slope
    return Alignment(*scores)


def _expected_ranks(values: np.ndarray) -> tuple[float, float]:
    """Mean of 1 / (values not below this one), and mean(x) / |x|, NaN where all are 0."""
    _, end = tie_bounds(np.sort(values)[::-1])
    length = float(np.sqrt(np.square(values).sum()))
    return float(np.mean(1 / end)), float(values.mean()) / length if length else np.nan


@lru_cache(maxsize=4096)
def _expected_overlap(whole: int, true: int, fired: int) -> tuple[float, float]:
    """F1 and IoU of numbers of sentences with Yes and of exemplars that meet by chance."""
    from scipy.stats import hypergeom

    hits = np.arange(min(true, fired) + 1)
    chance = hypergeom.pmf(hits, whole, true, fired)
    union = true + fired - hits
    return 2 * true * fired / whole / (true + fired), float((chance * hits / union).sum())


def _overlap(exemplars: np.ndarray, yes: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """F1 and IoU of a neuron's labels: [2, labels]."""
    hits = np.count_nonzero(yes[:, exemplars], axis=1)
    fired = np.count_nonzero(answered[:, exemplars], axis=1)
    total = fired + np.count_nonzero(yes, axis=1)
    return np.stack([ratio(2 * hits, total), ratio(hits, total - hits)])


def _activation(column: np.ndarray, yes: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """AUROC, average precision, Pearson and cosine of a neuron's labels: [4, labels].

    Args:
        column: float32 [sentences].
        yes, answered: bool [labels, sentences].
    """
    order = np.argsort(column)[::-1]
    values = column[order]
    yes, answered = yes.take(order, axis=1), answered.take(order, axis=1)  # faster than by index
    true, whole = np.count_nonzero(yes, axis=1), np.count_nonzero(answered, axis=1)
    scores = np.stack([*_ranking(values, yes, answered), *_linear(values, yes, answered)])
    highest = values[answered.argmax(axis=1)]
    lowest = values[len(values) - 1 - answered[:, ::-1].argmax(axis=1)]
    scores[:, (true == 0) | (true == whole) | (lowest == highest)] = np.nan
    return scores


def _ranking(
    values: np.ndarray, yes: np.ndarray, answered: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision, of sentences in the order of falling activations."""
    begin, end = tie_bounds(values)
    right, seen = running(yes), running(answered)
    wrong = seen - right
    label, place = np.nonzero(yes)
    begin, end = begin[place], end[place]
    # In whole numbers: twice the false ones above each true one, those level with it once.
    above = _sums(label, wrong[label, begin] + wrong[label, end], len(yes))
    precision = _sums(label, right[label, end] / seen[label, end], len(yes))
    true, false = right[:, -1].astype(np.int64), wrong[:, -1]
    return 1 - ratio(above / 2, true * false), ratio(precision, true)


def tie_bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the run of each value begins, and where it has ended: int [values]."""
    edges = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]])
    sizes = np.diff(edges)
    return np.repeat(edges[:-1], sizes), np.repeat(edges[1:], sizes)


def running(flags: np.ndarray) -> np.ndarray:
    """How many of the first n are set, n from 0: int32 [labels, sentences + 1]."""
    counts = np.zeros((len(flags), flags.shape[1] + 1), dtype=np.int32)
    np.cumsum(flags, axis=1, out=counts[:, 1:])
    return counts


def _sums(label: np.ndarray, values: np.ndarray, labels: int) -> np.ndarray:
    return np.bincount(label, weights=values, minlength=labels)


def _linear(
    values: np.ndarray, yes: np.ndarray, answered: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pearson and cosine, of sentences in any order."""
    true, whole = np.count_nonzero(yes, axis=1), np.count_nonzero(answered, axis=1)
    # About the mean: the variance of activations far from 0 would drown in their squares.
    mean = ratio(np.einsum("ls,s->l", answered, values, dtype=np.float64), whole)
    away = values - mean[:, None]
    away *= answered
    spread = np.einsum("ls,ls->l", away, away)
    shared = np.einsum("ls,ls->l", away, yes, dtype=np.float64)
    variation = ratio(true * (whole - true), whole)
    length = (spread + whole * mean**2) * true
    return (
        ratio(shared, np.sqrt(spread * variation)),
        ratio(shared + true * mean, np.sqrt(length)),
    )
