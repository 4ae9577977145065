"""What share of labels hold on other data, beside the same descriptors on other neurons."""

from dataclasses import dataclass

import numpy as np

from descry.activations.nan_stats import ratio
from descry.evaluation.headline import LEVEL, borne_out


@dataclass(frozen=True)
class Held:
    """Labels that were tested on other data; NaN where there are none.

    Attributes:
        labels: that could be tested.
        held: of them, those with p < .05.
        value: the share; `low` and `high` its 95% interval, as `borne_out` has it: over other
            neurons and other descriptors.
        chance: the same share on average over all ways to exchange neurons within their layer.
        more: share of the labels with more exemplars there than expected, by chance about a half.
    """

    labels: int
    held: int
    value: float
    low: float
    high: float
    chance: float
    more: float


def held(assigned: np.ndarray, p: np.ndarray, excess: np.ndarray, layers: int) -> Held:
    """How many labels hold.

    Args:
        assigned: bool [tests, neurons, descriptors], labels; tests are such as those of two halves.
        p: float64 of the same shape, on the other data; NaN where there is no test.
        excess: float64 of the same shape, exemplars there less those expected.
        layers: that the neurons are of, as many neurons each, one after the other.
    """
    found = borne_out(assigned, p)
    labels = assigned & ~np.isnan(p)
    by_chance = of_others(p, layers)[labels]
    number, hits = int(labels.sum()), int((p[labels] < LEVEL).sum())
    more = float((excess[labels] > 0).mean()) if number else float("nan")
    chance = float(by_chance.mean()) if number else float("nan")
    return Held(number, hits, found.value, found.low, found.high, chance, more)


def of_others(p: np.ndarray, layers: int) -> np.ndarray:
    """The share of the other neurons of the layer with p < .05: float64 like `p`.

    What a label of the neuron would have if neurons were exchanged within the layer; 0 where no
    other neuron was tested.

    Args:
        p: float64 [tests, neurons, descriptors], NaN where there is no test.
    """
    tests, neurons, descriptors = p.shape
    shape = tests, layers, neurons // max(1, layers), descriptors
    tested = ~np.isnan(p).reshape(shape)
    reached = tested & (np.nan_to_num(p, nan=1.0).reshape(shape) < LEVEL)
    others = reached.sum(axis=2, keepdims=True) - reached
    among = tested.sum(axis=2, keepdims=True) - tested
    found: np.ndarray = np.nan_to_num(ratio(others, among)).reshape(p.shape)
    return found


def paired(assigned: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of every neuron: labels that hold in the first test, in the second, and labels in both.

    int64 [neurons, 3], to resample neurons by.

    Args:
        assigned: bool [tests, neurons, descriptors].
        first, second: p of the two tests, of the same shape, NaN where there is none.
    """
    labels = assigned & ~np.isnan(first) & ~np.isnan(second)
    hits = [labels & (np.nan_to_num(p, nan=1.0) < LEVEL) for p in (first, second)]
    return np.stack([of.sum(axis=(0, 2)) for of in (*hits, labels)], axis=1)
