"""Which sentences an annotator is asked about: all, or the exemplars of some neurons and a sample.

For a few neurons the exemplars are a small part of the corpus (the paper's judge labels those of
ten neurons, section 5.1). They are not like the rest, so base rates come from a random sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np

from descry.corpus.splits import draw
from descry.models.neurons import Choice, Neurons, choose


@dataclass(frozen=True)
class Scope:
    """Which sentences are asked about.

    Attributes:
        asked: bool [sentences].
        sampled: bool [sentences], those that represent the corpus: base rates are theirs.
    """

    asked: np.ndarray
    sampled: np.ndarray


def whole(sentences: int) -> Scope:
    """All sentences."""
    every = np.ones(sentences, dtype=bool)
    return Scope(every, every)


def exemplar_scope(
    ids: Sequence[str],
    sets: Sequence[np.ndarray],
    every: Neurons,
    neurons: Choice,
    sample: int,
    seed: int,
    among: np.ndarray | None = None,
) -> Scope:
    """The exemplars of the chosen neurons, and a random sample of sentences.

    Args:
        ids: of the sentences, which decide the sample.
        sets: exemplar sets, int [layers, neurons, size], one array a split and end; -1 behind the
            end of a smaller set.
        every: all neurons.
        neurons: names, how many to draw, or None for all.
        sample: sentences of the sample (all, if there are fewer).
        among: bool [sentences], those that the sample is drawn from; None: all.
    """
    chosen = choose(neurons, every, seed)
    hat = range(len(ids)) if among is None else (int(row) for row in np.flatnonzero(among))
    lots = nsmallest(sample, hat, key=lambda row: draw(seed, f"scope:{ids[row]}"))
    sampled = np.zeros(len(ids), dtype=bool)
    sampled[lots] = True
    asked = sampled.copy()
    for rows in sets:
        for row, index in chosen:
            members = rows[row, index]
            asked[members[members >= 0]] = True
    return Scope(asked, sampled)
