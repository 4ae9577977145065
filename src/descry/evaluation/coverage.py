"""Sets of descriptors that cover an exemplar: split conformal prediction, neuron by neuron.

One half of a neuron's exemplars puts descriptors in an order, each behind those that leave more
uncovered (the greedy order of set cover). The other half says how many of them are needed: the
score of an exemplar is the first descriptor in that order that it has, and the set ends where a
further exemplar, exchangeable with those of that half, is covered with probability `share` (Vovk,
Gammerman & Shafer 2005). Scores are whole numbers, and many are equal: a lot decides on the last
descriptor, without which the share would be surpassed. It decides on no more: where too many of
that half have no descriptor at all, there is no set.
"""

from typing import NamedTuple

import numpy as np


class Covering(NamedTuple):
    """A set of descriptors.

    Attributes:
        columns: the descriptors, in their order.
        reached: whether they cover with the wanted probability; else no set does, and `columns`
            are all that cover anything.
        covered: share of the sentences that said how many are needed which have one of them.
    """

    columns: list[int]
    reached: bool
    covered: float


def greedy_order(yes: np.ndarray) -> list[int]:
    """Descriptors in the order in which each covers most of what those before leave.

    Of equals the one that more of all sentences have, then the earlier one; so come last those that
    add nothing, the most frequent first. Without those that no sentence has.

    Args:
        yes: bool [sentences, descriptors].
    """
    left, total, order = np.ones(len(yes), dtype=bool), yes.sum(axis=0), list[int]()
    waiting = np.flatnonzero(total)
    while len(waiting):
        gain = yes[left][:, waiting].sum(axis=0)
        best = int(waiting[np.lexsort((-total[waiting], -gain))[0]])
        order.append(best)
        left &= ~yes[:, best]
        waiting = waiting[waiting != best]
    return order


def first_of(yes: np.ndarray, order: list[int]) -> np.ndarray:
    """The place in the order of each sentence's first descriptor, from 1; len + 1 without any."""
    if not order:
        return np.ones(len(yes), dtype=np.int64)
    own = yes[:, order]
    return np.where(own.any(axis=1), own.argmax(axis=1) + 1, len(order) + 1)


def covering(choosing: np.ndarray, testing: np.ndarray, share: float, lot: float) -> Covering:
    """The set of descriptors that covers a further sentence like those of `testing`.

    Args:
        choosing: bool [sentences, descriptors], of the half that orders descriptors.
        testing: as above, of the half that says how many are needed.
        share: with which probability.
        lot: from 0 to 1, the draw.
    """
    order = greedy_order(choosing)
    scores, out = first_of(testing, order), len(order) + 1
    number, counts = len(scores) + 1, np.bincount(scores, minlength=out + 1)[1:]
    without = 1 - share + 1e-12
    if counts[-1] + 1 > without * number:  # too many have none of them
        return Covering(order, False, _covered(scores, order))
    p = (len(scores) - np.cumsum(counts) + lot * (counts + 1)) / number  # of one with each score
    columns = order[: int(np.count_nonzero(p[:-1] > without))]  # p falls from score to score
    return Covering(columns, True, _covered(scores, columns))


def _covered(scores: np.ndarray, columns: list[int]) -> float:
    return float((scores <= len(columns)).mean()) if len(scores) else float("nan")
