"""Descriptors in an order that is good to look at."""

import numpy as np


def alike(matrix: np.ndarray) -> list[int]:
    """The order that brings rows beside those like them; rows without a defined one come last.

    Average linkage of 1 - r, with optimal leaf order (Bar-Joseph et al. 2001).

    Args:
        matrix: correlations, float64 [n, n], NaN where undefined.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    defined = np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)
    known = np.flatnonzero(defined.any(axis=1))
    rest = np.flatnonzero(~defined.any(axis=1)).tolist()
    if len(known) < 3:
        return [*known.tolist(), *rest]
    distance = 1 - np.nan_to_num(matrix[np.ix_(known, known)])
    np.fill_diagonal(distance, 0)
    flat = squareform((distance + distance.T) / 2, checks=False)
    return [*known[leaves_list(linkage(flat, "average", optimal_ordering=True))].tolist(), *rest]


def most_frequent(shares: dict[str, float], most: int) -> list[str]:
    """Return a number of names, those with the largest shares; undefined ones come last."""
    return sorted(shares, key=lambda name: (-np.nan_to_num(shares[name], nan=-1), name))[:most]
