"""Sentences most like a neuron's exemplars that do not excite it, and labels that fit them, too.

A sentence does not excite a neuron where its activation is at most the neuron's median. Of those,
the closest have the highest mean cosine with the exemplars. A label that fits the closest of them
as often as the exemplars does not say what the neuron responds to: it is too broad.
"""

from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import ratio
from descry.labels.matched import matched_p

LEVEL = 0.05  # of p, from which on a label is too broad
PARTS = 5  # strata: they take away 90% of what a covariate explains (Cochran 1968)
_DIGITS = 6  # of a cosine: beyond, another machine may have others


class Close(NamedTuple):
    """Sentences that do not excite a neuron, the most similar to its exemplars first.

    Attributes:
        rows: int [sentences].
        similarities: mean cosine with the exemplars, float64 [sentences].
    """

    rows: np.ndarray
    similarities: np.ndarray


def closest(similarities: np.ndarray, quiet: np.ndarray, rows: np.ndarray, number: int) -> Close:
    """Return the `number` quiet sentences that are most similar; ties by the lower row.

    Args:
        similarities: float [sentences], with the neuron's exemplars.
        quiet: bool [sentences], those that do not excite it, and are no exemplars.
        rows: int [sentences], of the corpus.
    """
    candidates = np.flatnonzero(quiet)
    values = np.round(similarities[candidates].astype(np.float64), _DIGITS)
    order = np.lexsort((rows[candidates], -values))[:number]
    return Close(rows[candidates[order]], values[order])


class Breadth(NamedTuple):
    """Some descriptors of a neuron, float64 [descriptors] each; NaN where nobody answered.

    Attributes:
        exemplars, close, quiet: shares of Yes among exemplars, among the close negatives, and among
            all sentences that do not excite it.
        p: of as many Yes or more among exemplars if exemplars and close negatives of the same
            strata could be exchanged.
    """

    exemplars: np.ndarray
    close: np.ndarray
    quiet: np.ndarray
    p: np.ndarray

    @property
    def broad(self) -> np.ndarray:
        """Descriptors that fit close negatives about as well: bool [descriptors]."""
        return np.asarray(~(self.p < LEVEL))


def breadth(
    answers: np.ndarray, exemplars: np.ndarray, close: np.ndarray, quiet: np.ndarray, of: np.ndarray
) -> Breadth:
    """How often exemplars, close negatives and quiet sentences have some descriptors.

    Args:
        answers: int8 [sentences, descriptors], 1 Yes, 0 No, -1 none.
        exemplars, close, quiet: rows of `answers`.
        of: int [sentences], the stratum of each.
    """
    yes, answered = answers == 1, answers >= 0
    own, near, far = (
        ratio(yes[rows].sum(axis=0), answered[rows].sum(axis=0))
        for rows in (exemplars, close, quiet)
    )
    strata = int(of.max(initial=0)) + 1
    counts = [
        _by_stratum(flags[rows], of[rows], strata)
        for rows in (exemplars, close)
        for flags in (yes, answered)
    ]
    p = matched_p(counts[0][None], counts[1][None], counts[2], counts[3], within=False)[0]
    p[np.isnan(own) | np.isnan(near)] = np.nan
    return Breadth(own, near, far, p)


def _by_stratum(flags: np.ndarray, of: np.ndarray, strata: int) -> np.ndarray:
    """Sums of flags [rows, descriptors] in each stratum: int64 [strata, descriptors]."""
    found = np.zeros((strata, flags.shape[1]), dtype=np.int64)
    np.add.at(found, of, flags)
    return found
