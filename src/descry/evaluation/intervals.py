"""How sure a score is: its 95% interval over other sentences and other neurons.

The estimate is the mean of the score over new data: as many other sentences and as many other
neurons of the same kind. Both are resampled, because a score is a mean over neurons that were
labelled by the same sentences.

    variance = over neurons + over sentences - over both

The variance over neurons is that of their influences. That over sentences is a delete-a-group
jackknife: a group of sentences is left out everywhere, and everything is tested and labelled
again. The noise of single neurons is in both of these, and is taken off once: it is the
sum over neurons of the jackknife variance of their own influences (Cameron, Gelbach & Miller 2011
do the same for two ways of clustering). What is left of the second is what sentences do to all
neurons alike. A bootstrap would repeat sentences, and a test would take a repeated sentence for
evidence.

The interval is Wilson's for the number of neurons that would have this variance, with a quantile of
t: its ends stay within 0 and 1.
"""

import numpy as np

from descry.activations.nan_stats import ratio
from descry.evaluation.metrics import Cuts, Rated, Tags, influences, rate, without_one
from descry.evaluation.sides import Comparison
from descry.io.prefetch import cores, map_ahead

PARTITIONS = 8
GROUPS = 5  # of a partition


def interval(
    comparison: Comparison, cuts: Cuts, tags: tuple[Tags, Tags], rated: Rated, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of each score's interval: float64 [scores], NaN where it is undefined.

    Args:
        tags, rated: of the comparison.
        seed: parts the sentences into groups.
    """
    groups = [
        _groups(len(side.answers), np.random.default_rng([seed, *name]))
        for side, name in ((comparison.first, b"first"), (comparison.second, b"second"))
    ]

    def without(number: int) -> tuple[np.ndarray, np.ndarray]:
        partition, group = divmod(number, GROUPS)
        left_out = [of[partition] == group for of in groups]
        first = comparison.first.without(left_out[0], cuts)
        second = comparison.second.without(left_out[0 if comparison.same else 1], cuts)
        return rate(first, second).means, influences(first, second, rated)

    parts = list(map_ahead(without, range(PARTITIONS * GROUPS), cores()))
    over_sentences, over_both = (
        _jackknife(np.stack(part).reshape(PARTITIONS, GROUPS, *part[0].shape)).mean(axis=0)
        for part in zip(*parts, strict=True)
    )
    over_neurons = _jackknife(without_one(*tags).T[None])[0]
    over_both = over_both.sum(axis=1)
    together = np.maximum(over_sentences - over_both, 0.0)
    units = np.array([np.count_nonzero(~np.isnan(values)) for values in rated.values()])
    return _wilson(rated.means, units, over_neurons, together)


def _groups(sentences: int, rng: np.random.Generator) -> np.ndarray:
    """The group of each sentence in each partition, int [partitions, sentences]."""
    return np.stack([rng.permutation(sentences) % GROUPS for _ in range(PARTITIONS)])


def _jackknife(values: np.ndarray) -> np.ndarray:
    """Variance by leaving out groups, over the second axis; over the groups with a value."""
    known = ~np.isnan(values)
    number = known.sum(axis=1)
    centre = ratio(np.where(known, values, 0.0).sum(axis=1), number)[:, None]
    squares = np.where(known, (values - centre) ** 2, 0.0).sum(axis=1)
    return np.asarray(squares * ratio(number - 1, number))


def _wilson(
    value: np.ndarray, units: np.ndarray, over_neurons: np.ndarray, together: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval for the number of units of this variance; for `units` without any."""
    from scipy.stats import t

    variance, spread = over_neurons + together, value * (1 - value)
    known = (variance > 0) & (spread > 0)
    number = np.where(known, ratio(spread, variance), np.maximum(units, 1))
    # Freedom of a sum of two variances by Satterthwaite 1946.
    of_neurons = over_neurons**2 / np.maximum(units - 1, 1)
    of_groups = together**2 / (PARTITIONS * (GROUPS - 1))
    freedom = np.where(known, ratio(variance**2, of_neurons + of_groups), np.maximum(units - 1, 1))
    shrunk = t.ppf(0.975, freedom) ** 2 / number
    middle = (value + shrunk / 2) / (1 + shrunk)
    half = np.sqrt(shrunk * (spread + shrunk / 4)) / (1 + shrunk)
    return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)
