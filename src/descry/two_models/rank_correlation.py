"""Rank correlation of two models' neurons over the same sentences, within strata.

Two neurons that both follow the length of a sentence are correlated without having anything else in
common. So ranks are taken less the mean of their stratum: what is correlated then is what is left
between sentences of the same length. Exchanging sentences within their strata gives the null, whose
mean and variance are known exactly (Hoeffding 1951, stratum by stratum); its distribution is close
to normal, as it is a sum over all sentences.
"""

from dataclasses import dataclass

import numpy as np

from descry.activations.nan_stats import ratio


@dataclass(frozen=True)
class Order:
    """Some sentences, stratum by stratum.

    Attributes:
        rows: of the sentences, int [sentences].
        starts: where each stratum begins, int [strata].
    """

    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, strata: np.ndarray, chosen: np.ndarray) -> "Order":
        """The chosen sentences in the order of their strata.

        Args:
            strata: int [all sentences], the stratum of each.
            chosen: bool [all sentences].
        """
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(strata[rows], kind="stable")]
        return cls(rows, np.flatnonzero(np.diff(strata[rows], prepend=-2)))

    @property
    def sizes(self) -> np.ndarray:
        """Sentences of each stratum: int [strata]."""
        return np.diff(self.starts, append=len(self.rows))

    @property
    def whole(self) -> "Order":
        """The order of the same sentences, all in one stratum."""
        return Order(self.rows, self.starts[:1])


def centred_ranks(activations: np.ndarray, order: Order) -> np.ndarray:
    """Ranks of every neuron's activations, ties their mean, less the mean of the stratum.

    Args:
        activations: float [neurons, sentences], in the order of `order.rows`.

    Returns:
        float32 [neurons, sentences].
    """
    from scipy.stats import rankdata

    ranks = rankdata(activations, axis=1)
    means = np.add.reduceat(ranks, order.starts, axis=1) / order.sizes
    centred: np.ndarray = (ranks - np.repeat(means, order.sizes, axis=1)).astype(np.float32)
    return centred


def to_unit(ranks: np.ndarray) -> np.ndarray:
    """Centred ranks with length 1, so that products are correlations; 0 where nothing varies."""
    length = np.sqrt(np.einsum("ns,ns->n", ranks, ranks, dtype=np.float64))
    scale = np.nan_to_num(ratio(np.ones(len(length)), length))[:, None]
    return np.asarray(ranks * scale, dtype=np.float32)


def correlation(
    first: np.ndarray, second: np.ndarray, order: Order
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of centred ranks, neuron by neuron, and how probable it is by chance.

    Args:
        first, second: float [neurons, sentences], as `centred_ranks` gives them.

    Returns:
        rho and p: float64 [neurons], NaN where one of the two does not vary within strata. p is
        that of a correlation as high or higher if sentences are exchanged within their strata.
    """
    from scipy.stats import norm

    product = np.einsum("ns,ns->n", first, second, dtype=np.float64)
    squares = [_squares(side, order) for side in (first, second)]
    length = np.sqrt(squares[0].sum(axis=1) * squares[1].sum(axis=1))
    of_strata = squares[0] * squares[1] / np.maximum(order.sizes - 1, 1)
    deviation = np.sqrt(of_strata.sum(axis=1))
    return ratio(product, length), np.asarray(norm.sf(ratio(product, deviation)))


def _squares(ranks: np.ndarray, order: Order) -> np.ndarray:
    """Sums of squares: float64 [neurons, strata]."""
    return np.asarray(np.add.reduceat(ranks.astype(np.float64) ** 2, order.starts, axis=1))
