"""The distribution of a neuron's activations: moments and a histogram, block by block.

The bins are laid out by the first block: its lowest to highest value and half as much on either
side, with one more bin below and one above for what lies beyond. Moments are those of the sample
(scipy's `skew` and `kurtosis` with bias=True), from sums of powers about the middle of the bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

BINS = 64
POWERS = 4
# The blocks' sums are added up exactly, as whole numbers of 2**-_UNIT: then neither their order nor
# the number of shards changes a digit. Floats merged in the order of the blocks would need every
# block's sums until the last shard has ended: memory that grows with the corpus.
_UNIT = 100
_BYTES = 88  # of a whole number, which hold any sum of powers of float32
_ROWS = 256  # of a block taken at a time: what is worked on stays in the processor's cache


@dataclass
class Distribution:
    """The distribution of each neuron's activations.

    Attributes:
        low: float32 [neurons], where the first inner bin begins.
        step: float32 [neurons], the width of a bin.
        counts: int64 [neurons, BINS + 2]; the first and the last bin are open.
        sums: whole numbers [POWERS, neurons], sums of powers about the middle in the unit.
        number: how many sentences there were.
        lowest, highest: float32 [neurons].
        at_lowest, at_highest: int64 [neurons], how many sentences have exactly that activation.
    """

    low: np.ndarray
    step: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    number: int
    lowest: np.ndarray
    highest: np.ndarray
    at_lowest: np.ndarray
    at_highest: np.ndarray

    @classmethod
    def around(cls, block: np.ndarray) -> "Distribution":
        """Return an empty distribution with bins that suit a block [sentences, neurons]."""
        low, high = block.min(axis=0), block.max(axis=0)
        span = np.maximum(high - low, np.float32(1e-6))
        neurons = block.shape[1]
        return cls(
            low=(low - span / 2).astype(np.float32),
            step=(2 * span / BINS).astype(np.float32),
            counts=np.zeros((neurons, BINS + 2), dtype=np.int64),
            sums=np.zeros((POWERS, neurons), dtype=object),
            number=0,
            lowest=np.full(neurons, np.inf, dtype=np.float32),
            highest=np.full(neurons, -np.inf, dtype=np.float32),
            at_lowest=np.zeros(neurons, dtype=np.int64),
            at_highest=np.zeros(neurons, dtype=np.int64),
        )

    @property
    def middle(self) -> np.ndarray:
        """The centre of the powers, float32 [neurons]."""
        return np.asarray(self.low + self.step * (BINS // 2))

    def add(self, block: np.ndarray) -> None:
        """Add activations float32 [sentences, neurons]."""
        sums = np.zeros(self.sums.shape)
        for start in range(0, len(block), _ROWS):
            self._take(block[start : start + _ROWS], sums)
        self.sums += exact(sums)
        self.number += len(block)
        lowest, highest = block.min(axis=0), block.max(axis=0)
        self._reach(lowest, highest, (block == lowest).sum(axis=0), (block == highest).sum(axis=0))

    def _reach(
        self, lowest: np.ndarray, highest: np.ndarray, at_lowest: np.ndarray, at_highest: np.ndarray
    ) -> None:
        """Merge the extremes of other sentences, and how many of those are at them."""
        self.at_lowest = _at(np.minimum, (self.lowest, self.at_lowest), (lowest, at_lowest))
        self.at_highest = _at(np.maximum, (self.highest, self.at_highest), (highest, at_highest))
        np.minimum(self.lowest, lowest, out=self.lowest)
        np.maximum(self.highest, highest, out=self.highest)

    def _take(self, block: np.ndarray, sums: np.ndarray) -> None:
        neurons = block.shape[1]
        bins = np.clip((block - self.low) / self.step + 1, 0, BINS + 1).astype(np.intp)
        bins += np.arange(neurons) * (BINS + 2)
        counted = np.bincount(bins.ravel(), minlength=neurons * (BINS + 2))
        self.counts += counted.reshape(neurons, BINS + 2)
        away = (block - self.middle).astype(np.float64)
        power = away.copy()
        for row in range(POWERS):
            sums[row] += _down(power)
            power *= away

    def join(self, other: "Distribution") -> None:
        """Merge the distribution of other sentences, with the same bins."""
        self.counts += other.counts
        self.sums += other.sums
        self.number += other.number
        self._reach(other.lowest, other.highest, other.at_lowest, other.at_highest)

    def moments(self) -> dict[str, np.ndarray]:
        """Mean, standard deviation, skewness and excess kurtosis, float32 [neurons].

        Skewness and kurtosis of a neuron that never changes are NaN.
        """
        return moments(self.middle, self.sums, self.number)

    def state(self) -> dict[str, np.ndarray]:
        """The whole distribution, as arrays by name."""
        return {name: np.asarray(v) for name, v in vars(self).items()} | {"sums": packed(self.sums)}

    @classmethod
    def restored(cls, state: Mapping[str, np.ndarray]) -> "Distribution":
        """The distribution whose `state` these arrays are."""
        values: dict[str, Any] = {item.name: state[item.name] for item in fields(cls)}
        plain = {"number": int(values["number"]), "sums": unpacked(values["sums"])}
        return cls(**values | plain)

    def part(self, neurons: slice) -> "Distribution":
        """The distribution of some neurons."""
        neurons_first = vars(self).keys() - {"sums", "number"}
        part = {name: getattr(self, name)[neurons] for name in neurons_first}
        return replace(self, sums=self.sums[:, neurons], **part)

    def summary(self) -> dict[str, np.ndarray]:
        """Moments, histogram and extremes by name, neurons first."""
        names = ("low", "step", "counts", "lowest", "highest", "at_lowest", "at_highest")
        return self.moments() | {name: getattr(self, name) for name in names}


def _at(
    extreme: np.ufunc, one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """How many sentences are at the extreme of both, of extremes and how many are at each."""
    found = extreme(one[0], other[0])
    return np.asarray(sum(np.where(value == found, number, 0) for value, number in (one, other)))


def moments(middle: np.ndarray, sums: np.ndarray, number: int) -> dict[str, np.ndarray]:
    """Mean, standard deviation, skewness and excess kurtosis by name, float32 [neurons].

    Args:
        middle: float [neurons], what powers are taken about.
        sums: whole numbers [POWERS, neurons], of the powers, as `exact` gives them.
        number: of sentences.
    """
    m1, m2, m3, m4 = (sums / (max(number, 1) << _UNIT)).astype(np.float64)
    variance = np.maximum(m2 - m1**2, 0)
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    spread = np.where(variance > 1e-12 * np.maximum(m2, 1e-30), variance, np.nan)
    found = {
        "mean": middle + m1,
        "deviation": np.sqrt(variance),
        "skewness": third / spread**1.5,
        "kurtosis": fourth / spread**2 - 3,
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def exact(sums: np.ndarray) -> np.ndarray:
    """Convert floats to whole numbers of the unit in which blocks are summed."""
    return np.asarray(np.vectorize(int, otypes=[object])(np.ldexp(sums, _UNIT)))


def packed(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers as bytes: uint8 [*, _BYTES]."""
    data = b"".join(n.to_bytes(_BYTES, "little", signed=True) for n in numbers.ravel().tolist())
    return np.frombuffer(data, dtype=np.uint8).reshape(*numbers.shape, _BYTES)


def unpacked(data: np.ndarray) -> np.ndarray:
    """The whole numbers that gave these bytes."""
    rows = data.reshape(-1, _BYTES)
    found = np.empty(len(rows), dtype=object)
    found[:] = [int.from_bytes(row.tobytes(), "little", signed=True) for row in rows]
    return found.reshape(data.shape[:-1])


def _down(values: np.ndarray) -> np.ndarray:
    """Sums of the columns, row after row: numpy would add the rows of a lone column in pairs."""
    lone = values.shape[1] == 1
    return np.asarray(values.cumsum(axis=0)[-1] if lone else values.sum(axis=0))
