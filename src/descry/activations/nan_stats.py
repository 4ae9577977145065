"""Shares and means with undefined values (NaN), which means leave out."""

import numpy as np

NORMAL_95 = 1.959964  # standard deviations of a normal distribution on either side of 95% of it


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is not above 0: float64, shapes broadcast."""
    part, whole = np.broadcast_arrays(part, whole)
    found: np.ndarray = np.full(part.shape, np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def means(values: np.ndarray, axis: int) -> np.ndarray:
    """Means along an axis over the defined values: float64, NaN where there are none."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis))


def mean(values: np.ndarray | list[float]) -> float:
    """The mean over the defined values, NaN where there are none."""
    found = np.asarray(values, dtype=np.float64)
    defined = found[~np.isnan(found)]
    return float(defined.mean()) if len(defined) else float("nan")
