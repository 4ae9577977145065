"""How much each sentence moves the scores of a label: what their standard errors are made of.

The influence of a sentence is the derivative of a score with respect to that sentence's weight
(Hampel 1974; of the AUROC it is DeLong, DeLong & Clarke-Pearson 1988). To first order a score of
other sentences differs by the sum of their influences, so that the variance of a mean over labels
follows from the sums over labels, sentence by sentence (the infinitesimal jackknife): labels that
share sentences, a neuron or a descriptor are then no independent observations.
"""

import numpy as np

from descry.activations.nan_stats import ratio
from descry.evaluation.alignment import running, tie_bounds

GROUPS = 50  # of sentences: sums over them are kept, not every sentence's influence


def grouped_influence(
    columns: np.ndarray | None,
    exemplars: np.ndarray,
    answers: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Influence on each score of `Alignment`, summed over groups: float64 [6, pairs, groups].

    A sentence's group is its row modulo `GROUPS`. NaN where the score is undefined. F1 and IoU are
    those of the given exemplars: the exemplars stay the same.

    Args:
        columns, exemplars, answers, pairs: as `align` takes them.
    """
    neurons, descriptors = pairs
    yes = np.ascontiguousarray((answers == 1).T)
    answered = np.ascontiguousarray((answers >= 0).T)
    found = np.full((6, len(neurons), GROUPS), np.nan)
    for neuron in np.unique(neurons):
        places = np.flatnonzero(neurons == neuron)
        labels = descriptors[places]
        fires = np.zeros(len(answers), dtype=bool)
        fires[exemplars[neuron][exemplars[neuron] >= 0]] = True
        found[:2, places] = _sums(_overlap(fires, yes[labels], answered[labels]))
        if columns is not None:
            found[2:, places] = _sums(_activation(columns[neuron], yes[labels], answered[labels]))
    return found


def _sums(influence: np.ndarray) -> np.ndarray:
    """[scores, labels, sentences] to [scores, labels, groups]."""
    *shape, sentences = influence.shape
    whole = np.zeros((*shape, -(-sentences // GROUPS) * GROUPS))
    whole[..., :sentences] = influence
    return np.asarray(whole.reshape(*shape, -1, GROUPS).sum(axis=-2))


def _overlap(fires: np.ndarray, yes: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Of F1 and IoU: [2, labels, sentences]."""
    fired = fires & answered
    hit, either = fired & yes, fired | yes
    found = []
    for top, bottom in ((2.0 * hit, fired.astype(np.int8) + yes), (1.0 * hit, either)):
        whole = bottom.sum(axis=1, keepdims=True)
        score = ratio(top.sum(axis=1, keepdims=True), whole)
        found.append(ratio(top - score * bottom, whole))
    return np.stack(found)


def _activation(column: np.ndarray, yes: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Of AUROC, average precision, Pearson and cosine: [4, labels, sentences]."""
    order = np.argsort(column)[::-1]
    values = column[order].astype(np.float64)
    ranked_yes, ranked = yes.take(order, axis=1), answered.take(order, axis=1)
    found = np.empty((4, *yes.shape))
    found[:, :, order] = np.stack(
        [*_ranking(values, ranked_yes, ranked), *_linear(values, ranked_yes, ranked)]
    )
    true, whole = np.count_nonzero(yes, axis=1), np.count_nonzero(answered, axis=1)
    highest = values[ranked.argmax(axis=1)]
    lowest = values[len(values) - 1 - ranked[:, ::-1].argmax(axis=1)]
    found[:, (true == 0) | (true == whole) | (lowest == highest)] = np.nan
    return found


def _ranking(
    values: np.ndarray, yes: np.ndarray, answered: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of AUROC and average precision, of sentences in the order of falling activations."""
    begin, end = tie_bounds(values)
    right, seen = running(yes), running(answered)
    wrong = seen - right
    true, false = right[:, -1:].astype(np.int64), wrong[:, -1:].astype(np.int64)
    no = answered & ~yes
    below = ratio(false - (wrong[:, begin] + wrong[:, end]) / 2, false)  # of No, under each
    above = ratio((right[:, begin] + right[:, end]) / 2, true)  # of Yes, over each
    area = ratio((below * yes).sum(axis=1, keepdims=True), true)
    of_area = ratio((below - area) * yes, true) + ratio((above - area) * no, false)
    precision = ratio(right[:, end], seen[:, end]) * yes
    average = ratio(precision.sum(axis=1, keepdims=True), true)
    share = ratio(yes, seen[:, end])
    # A sentence counts in the precision at each Yes that is level with it or lower.
    lower = _from_end(share)[:, begin] * yes - _from_end(precision * share)[:, begin]
    of_average = ratio((precision - average) * yes + np.where(answered, lower, 0.0), true)
    return of_area, of_average


def _from_end(values: np.ndarray) -> np.ndarray:
    """Sums of each value and all behind it; NaN counts as 0."""
    return np.asarray(np.cumsum(np.nan_to_num(values)[:, ::-1], axis=1)[:, ::-1])


def _linear(
    values: np.ndarray, yes: np.ndarray, answered: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of Pearson and cosine, of sentences in any order."""
    whole = np.count_nonzero(answered, axis=1)[:, None]
    x, y = values * answered, yes.astype(np.float64)
    correlation = _of_cosine(
        (x - ratio(x.sum(axis=1, keepdims=True), whole)) * answered,
        (y - ratio(y.sum(axis=1, keepdims=True), whole)) * answered,
    )
    return correlation, _of_cosine(x, y)


def _of_cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of x.y / |x| |y|: that of a mean taken off before is nothing, to first order."""
    squares = [(part**2).sum(axis=1, keepdims=True) for part in (x, y)]
    norm = np.sqrt(squares[0] * squares[1])
    cosine = ratio((x * y).sum(axis=1, keepdims=True), norm)
    shares = ratio(x**2, squares[0]) + ratio(y**2, squares[1])
    return np.asarray(ratio(x * y, norm) - cosine / 2 * shares)
