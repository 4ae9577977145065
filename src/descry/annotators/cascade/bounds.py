"""Upper bounds on the cells of a kind outside of a sample."""

import numpy as np


def left_out(drawn: np.ndarray, rate: float, delta: float) -> np.ndarray:
    """Bound the cells of a kind outside of a sample, given how many are in it: int64.

    Each cell was drawn with probability `rate`, independently. Then more than that many are left
    out with probability `delta` at most: the bound of Clopper and Pearson, for the share of a
    number of cells that is not known. Where the cells stand in an order, and a sample is looked at
    from one end, it holds for the first place at which more than a given number are left out: the
    number drawn until then has a negative binomial distribution. So a stop at whatever place is
    covered by one `delta`, where what is asked for is that no more than such a number is left out.

    Args:
        drawn: of the kind in the sample, 0 or more; an expectation may be no whole number.
        rate: above 0.
    """
    from scipy.special import btdtria

    drawn = np.asarray(drawn, dtype=np.float64)
    if rate >= 1:
        return np.zeros(drawn.shape, dtype=np.int64)
    found = btdtria(delta, drawn + 1, 1 - rate)
    return np.asarray(np.floor(found + 1e-9), dtype=np.int64)


def within(drawn: np.ndarray, allowed: np.ndarray, rate: float, delta: float) -> np.ndarray:
    """Whether `left_out` of these is no more than allowed: bool of their shape, much faster.

    Args:
        allowed: 0 or more.
    """
    from scipy.special import betainc

    if rate >= 1:
        return np.ones(np.broadcast(drawn, allowed).shape, dtype=bool)
    more = np.floor(np.asarray(allowed) + 1e-9) + 1
    return np.asarray(betainc(more, np.asarray(drawn, dtype=np.float64) + 1, 1 - rate) <= delta)
