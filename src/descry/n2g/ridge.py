"""Weights of contexts by ridge regression, for many neurons at once, and predicted firing.

The normal equations are solved by conjugate gradients (Hestenes and Stiefel 1952) with the
diagonal as preconditioner. The number of steps is fixed: no neuron changes more of another's
weights than the last digits.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

STEPS = 15  # of the solver: after 10 the mean correlation was .759, after 20 and 35 .762
FOLDS = 5  # parts of the texts, each predicted from the others to choose a cut
_SEEN = 2  # times that a context has to be seen in a neuron's texts


def ridge(
    design: "csr_array",
    values: np.ndarray,
    used: np.ndarray,
    penalties: np.ndarray,
    among: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The weights that predict activations best, for the squares of the weights that they cost.

    Args:
        design: 0 and 1 [tokens, contexts].
        values: float32 [tokens, neurons].
        used: bool [tokens, neurons], where a neuron learns.
        penalties: float [contexts].
        among: bool [contexts, neurons], the contexts that may have a weight; None: all.

    Returns:
        weights float32 [contexts, neurons], 0 of a context that a neuron has not seen often enough;
        and what is predicted without any, float32 [neurons].
    """
    across, mask = design.T.tocsr(), used.astype(np.float32)
    bias = (mask * values).sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    counts = across @ mask
    seen = counts >= _SEEN if among is None else (counts >= _SEEN) & among
    price = penalties[:, None].astype(np.float32)
    diagonal = counts + price
    rest = (across @ (mask * (values - bias))) * seen
    weights = np.zeros_like(rest)
    scaled = rest / diagonal
    way, size = scaled.copy(), (rest * scaled).sum(axis=0)
    for _ in range(STEPS):
        image = (across @ (mask * (design @ way)) + price * way) * seen
        length = _over(size, (way * image).sum(axis=0))
        weights += length * way
        rest -= length * image
        scaled = rest / diagonal
        size, before = (rest * scaled).sum(axis=0), size
        way = scaled + _over(size, before) * way
    return weights, bias


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(above, below, out=np.zeros_like(above), where=below > 0))


def crossed(
    design: "csr_array",
    values: np.ndarray,
    used: np.ndarray,
    penalties: np.ndarray,
    part: np.ndarray,
) -> np.ndarray:
    """What is predicted at each token from the other parts of the texts: float32 [tokens, neurons].

    Args:
        part: int [tokens], the part of each one's text.
    """
    found = np.empty_like(values)
    for fold in range(FOLDS):
        own = part == fold
        weights, bias = ridge(design, values, used & ~own[:, None], penalties)
        found[own] = design[own] @ weights + bias
    return found


def best_cut(fires: np.ndarray, predicted: np.ndarray) -> float:
    """The predicted activation from which on F1 of firing is highest (ties: the higher one).

    It lies midway between two predictions: those of other texts are not exactly these.

    Args:
        fires: bool [tokens]; where none does there is no such cut, and it is infinite.
    """
    if not fires.any():
        return float("inf")
    levels, place = np.unique(-predicted, return_inverse=True)  # the highest first
    hits = np.cumsum(np.bincount(place, fires))
    f1 = 2 * hits / (fires.sum() + np.cumsum(np.bincount(place)))
    return float(-levels[np.argmax(f1) :][:2].mean())
