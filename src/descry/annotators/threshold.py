"""Where Yes begins: what is subtracted from the log-odds of Yes before they are compared with 0.

A small model may say Yes to nearly everything, or to nearly nothing, and yet rank. Centred, an
answer counts by how far it is from the others about its sentence, or about its descriptor. The
threshold is a number of log-odds, or fitted: a mixture of two normal distributions of one variance
says for each descriptor where its upper group begins. No label is needed for either.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from descry.annotators.offsets import Offsets
from descry.annotators.weak_labels import boundary

Centre = Literal["sentence", "descriptor"]
FITTED: Literal["fitted"] = "fitted"
STARTS = (0.1, 0.3)  # shares of sentences that the mixture's upper group starts from


def find_offsets(
    odds: Callable[[int], np.ndarray],
    descriptors: int,
    typical: np.ndarray,
    centre: Centre | None,
    threshold: float | Literal["fitted"],
) -> Offsets:
    """What is to be taken off log-odds.

    Args:
        odds: of a descriptor: float32 [sentences], NaN where there is no answer.
        typical: bool [sentences], those that represent the corpus; what is found of a descriptor is
            theirs.
        centre: whose mean is taken off, over the answers that there are.
        threshold: is taken off besides.
    """
    sentence, own = np.zeros(len(typical)), np.zeros(descriptors)
    if centre == "sentence":
        number = np.zeros(len(typical), dtype=np.int64)
        for i in range(descriptors):
            column = odds(i)
            sentence += np.nan_to_num(column.astype(np.float64))
            number += ~np.isnan(column)
        sentence /= np.maximum(number, 1)
    for i in range(descriptors):
        if centre == "descriptor" or threshold == FITTED:
            left = (odds(i) - sentence)[typical]
            left = left[~np.isnan(left)]
            mean = left.mean() if len(left) else 0.0
            own[i] = boundary(left, STARTS) if threshold == FITTED else mean + threshold
        else:
            own[i] = threshold
    return Offsets(sentence, own)


def typical(asked: np.ndarray, sampled: np.ndarray) -> np.ndarray:
    """The sentences that represent the corpus; all that were asked about where none do."""
    return sampled if sampled.any() else asked
