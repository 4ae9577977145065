"""A neuron's two explanations side by side: what its graph's sentences are about, and its labels.

Both look at the neuron's highest activations, so some agreement comes by itself: the labels are to
be compared with the descriptors that are not the neuron's labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import ratio
from descry.annotators.bitset import Answers


class Talk(NamedTuple):
    """The topics of the sentences in which a graph predicts its neuron to fire.

    Attributes:
        sentences: how many they are.
        share: float64 [descriptors], of those with an answer that talk about each; NaN for none.
        lift: as above, that share over the one of all sentences.
        top: the descriptor with the highest lift (ties: the earlier); None where none is defined.
    """

    sentences: int
    share: np.ndarray
    lift: np.ndarray
    top: int | None


class Held(NamedTuple):
    """How many labels have a lift above 1 in their graph's sentences, and of how many.

    Attributes:
        others, others_above: as above, of the descriptors that are no labels of the same neurons.
    """

    labels: int
    above: int
    others: int
    others_above: int


def talk(fires: np.ndarray, answers: Answers, sampled: np.ndarray) -> Talk:
    """Compute the topics of a graph's sentences.

    Args:
        fires: int, rows of the sentences in which the graph predicts its neuron to fire.
        answers: B.
        sampled: bool [sentences], those that represent the corpus: the others are left out.
    """
    rows = fires[sampled[fires]]
    of_all = answers.among(sampled)
    share = ratio(answers.yes.at(rows).sum(axis=1), answers.answered.at(rows).sum(axis=1))
    base = ratio(of_all.yes.totals, of_all.answered.totals)
    lift = ratio(share, base)
    top = None if np.isnan(lift).all() else int(np.nanargmax(lift))
    return Talk(len(rows), share, lift, top)


def held(talks: Sequence[Talk], labels: Sequence[np.ndarray]) -> Held:
    """Count labels and other descriptors over neurons; those with an undefined lift are left out.

    Args:
        talks: of each neuron's graph.
        labels: of each neuron, bool [descriptors]; a neuron without any does not count.
    """
    pairs = [(one.lift, own) for one, own in zip(talks, labels, strict=True) if own.any()]
    lifts = np.concatenate([lift for lift, _ in pairs] or [np.empty(0)])
    own = np.concatenate([some for _, some in pairs] or [np.empty(0, dtype=bool)])
    defined, above = ~np.isnan(lifts), lifts > 1
    counts = (own & defined, own & above, ~own & defined, ~own & above)
    return Held(*(int(some.sum()) for some in counts))
