"""Activations that are 0 for most sentences, such as a sparse dictionary's latents.

What is kept of them grows with how often they fire, not with how many latents and sentences there
are: the leaders of each, and its distribution, in which the sentences that it does not fire on are
a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from descry.activations.histogram import BINS, POWERS, exact, moments, packed, unpacked
from descry.activations.top_k import NOBODY

LEADERS = ("row", "value", "start", "size")  # the names of a `SparseTopK`'s state
_BELOW = -40  # exponent of the range of a histogram that has no value yet
_HALVINGS = BINS.bit_length() - 1  # after that many doublings of a range one bin has all
_PENDING = 2**21  # firings that wait, at least, before the leaders among them are looked for


class Firings(NamedTuple):
    """The activations above 0 of some sentences; all others are 0.

    They stand neuron by neuron, and by the sentence within a neuron.

    Attributes:
        shape: how many sentences and neurons there are.
        row: int32 or int64 [firings], which sentence, or the code of a position.
        neuron: int32 [firings].
        value: float32 [firings].
    """

    shape: tuple[int, int]
    row: np.ndarray
    neuron: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, rows: np.ndarray, number: int) -> "Firings":
        """Find the firings in activations [any, neurons].

        Args:
            rows: which sentence each row is.
            number: of sentences.
        """
        row, neuron = np.nonzero(values)
        value = values[row, neuron].astype(np.float32)
        shape = number, values.shape[1]
        return cls.of_rows(shape, rows[row].astype(np.int32), neuron, value)

    @classmethod
    def joined(cls, parts: "list[Firings]") -> "Firings":
        """Join the firings of several parts of one block."""
        arrays = zip(*(part[1:] for part in parts), strict=True)
        return cls.of_rows(parts[0].shape, *map(np.concatenate, arrays))

    @classmethod
    def of_rows(
        cls, shape: tuple[int, int], row: np.ndarray, neuron: np.ndarray, value: np.ndarray
    ) -> "Firings":
        """Sort firings that come in any order of rows and neurons."""
        order = np.lexsort((row, neuron))
        return cls(shape, row[order], neuron[order].astype(np.int32), value[order])

    def only(self, chosen: np.ndarray, rows: np.ndarray | None = None) -> "Firings":
        """Some of them.

        Args:
            chosen: bool [firings], or their places.
            rows: int [firings], the row of each from now on.
        """
        row = self.row if rows is None else rows
        return Firings(self.shape, row[chosen], self.neuron[chosen], self.value[chosen])

    def at(self, chosen: np.ndarray, rows: np.ndarray) -> "Firings":
        """Select the firings of some sentences, and renumber the sentences.

        Args:
            chosen: bool [sentences].
            rows: int [sentences], the number of each from now on.
        """
        return self.only(chosen[self.row], rows[self.row].astype(np.int32))


class SparseTopK:
    """The leaders of sentences that come block by block: `top_k.TopK` of what fires seldom.

    Memory: 12 bytes a firing of those that lead, and half as many again that wait.
    """

    def __init__(self, neurons: int, size: int) -> None:
        self.neurons, self.size = neurons, size
        self._kept = Firings((0, neurons), *_none())
        self._pending: list[Firings] = []
        self._waiting = 0

    def add(self, block: Firings) -> None:
        """Add firings; their rows are rows of the corpus."""
        self._pending.append(block)
        self._waiting += len(block.row)
        if self._waiting > max(_PENDING, len(self._kept.row) // 2):
            self._settle()

    def _settle(self) -> None:
        parts = [self._kept, *self._pending]
        row, neuron, value = (
            np.concatenate([part[field] for part in parts]) for field in range(1, 4)
        )
        # Floats above 0 are in the order of their bits.
        key = neuron.astype(np.uint64) << 32 | (2**32 - 1 - value.view(np.uint32).astype(np.uint64))
        order = np.lexsort((row, key))
        starts = _starts(neuron, self.neurons)
        rank = np.arange(len(order)) - starts[neuron[order]]
        order = order[rank < self.size]
        self._kept = Firings((0, self.neurons), row[order], neuron[order], value[order])
        self._pending, self._waiting = [], 0

    def state(self) -> dict[str, np.ndarray]:
        """The leaders as arrays by name: those of neuron n are `start[n]:start[n + 1]`."""
        self._settle()
        start = _starts(self._kept.neuron, self.neurons)
        kept = {"row": self._kept.row, "value": self._kept.value}
        return kept | {"start": start, "size": np.asarray(self.size)}

    def join(self, state: Mapping[str, Any]) -> None:
        """Merge the leaders among other rows, or resume from the leaders of a killed run."""
        start = state["start"][:]
        neuron = np.repeat(np.arange(self.neurons, dtype=np.int32), np.diff(start))
        self.add(Firings((0, self.neurons), state["row"][:], neuron, state["value"][:]))


def spread_leaders(state: Mapping[str, Any], neurons: slice) -> tuple[np.ndarray, np.ndarray]:
    """The leaders of some neurons from the state of a `SparseTopK`.

    Returns:
        Rows and values [neurons, size]. Behind those that fire stand NOBODY and 0.
    """
    start = state["start"][neurons.start : neurons.stop + 1]
    sizes = np.diff(start)
    shape = len(sizes), int(state["size"][()])
    rows, values = np.full(shape, NOBODY, state["row"].dtype), np.zeros(shape, np.float32)
    neuron = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(start[0], start[-1]) - start[neuron]
    for found, name in ((rows, "row"), (values, "value")):
        found[neuron, place] = state[name][start[0] : start[-1]]
    return rows, values


@dataclass
class SparseDistribution:
    """The distribution of each neuron's activations, which are 0 or above.

    The bins of a histogram part the range from 0 to a power of 2 above the highest activation; it
    doubles, and pairs of bins become one, when an activation is beyond. So no order of the
    sentences and no number of shards changes a bin. The open bin below has those that are 0.

    Attributes:
        exponent: int16 [neurons], of the power of 2.
        counts: int64 [neurons, BINS + 2].
        sums: whole numbers [POWERS, neurons], sums of powers in the unit of `histogram.exact`.
        number: how many sentences there were.
        fires: int64 [neurons], on how many it is above 0.
        least, most: float32 [neurons], of those above 0: inf and 0 where there is none.
        at_least, at_most: int64 [neurons], how many sentences have exactly that activation.
    """

    exponent: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    number: int
    fires: np.ndarray
    least: np.ndarray
    most: np.ndarray
    at_least: np.ndarray
    at_most: np.ndarray

    @classmethod
    def of(cls, neurons: int) -> "SparseDistribution":
        """No activations yet."""
        return cls(
            exponent=np.full(neurons, _BELOW, dtype=np.int16),
            counts=np.zeros((neurons, BINS + 2), dtype=np.int64),
            sums=np.zeros((POWERS, neurons), dtype=object),
            number=0,
            fires=np.zeros(neurons, dtype=np.int64),
            least=np.full(neurons, np.inf, dtype=np.float32),
            most=np.zeros(neurons, dtype=np.float32),
            at_least=np.zeros(neurons, dtype=np.int64),
            at_most=np.zeros(neurons, dtype=np.int64),
        )

    def add(self, block: Firings) -> None:
        """Add activations."""
        neurons = len(self.fires)
        neuron, value = block.neuron, block.value
        some, first = np.unique(neuron, return_index=True)
        if len(some):
            least, most = (one.reduceat(value, first) for one in (np.minimum, np.maximum))
            self._reach(some, np.frexp(most)[1])
            width = np.ldexp(value, _HALVINGS - self.exponent[neuron])  # in bins
            place = neuron.astype(np.int64) * (BINS + 2) + 1 + width.astype(np.int64)
            np.add.at(self.counts.reshape(-1), place, 1)
            power = value.astype(np.float64)
            for row in range(POWERS):
                sums = np.bincount(neuron, power, neurons)[some]
                self.sums[row, some] += exact(sums)
                power *= value
            lengths = np.diff([*first, len(value)])
            at_least, at_most = (
                np.add.reduceat((value == np.repeat(one, lengths)).astype(np.int64), first)
                for one in (least, most)
            )
            self._extremes(some, least, most, at_least, at_most)
        fires = np.bincount(neuron, minlength=neurons)
        self.fires += fires
        self.counts[:, 0] += block.shape[0] - fires
        self.number += block.shape[0]

    def _reach(self, some: np.ndarray, exponent: np.ndarray) -> None:
        """Double the ranges of some neurons until they end at a power of 2."""
        more = np.maximum(exponent - self.exponent[some], 0)
        for doublings in np.unique(more[more > 0]).tolist():
            chosen = some[more == doublings]
            size = 2 ** min(doublings, _HALVINGS)
            inner = self.counts[chosen, 1:-1].reshape(len(chosen), -1, size).sum(axis=2)
            self.counts[chosen, 1:-1] = 0
            self.counts[chosen, 1 : 1 + BINS // size] = inner
        self.exponent[some] += more.astype(np.int16)

    def _extremes(
        self,
        some: np.ndarray,
        least: np.ndarray,
        most: np.ndarray,
        at_least: np.ndarray,
        at_most: np.ndarray,
    ) -> None:
        """Merge the extremes of some neurons among other sentences."""
        for extreme, name, found, at in (
            (np.minimum, "least", least, at_least),
            (np.maximum, "most", most, at_most),
        ):
            old, counted = getattr(self, name), getattr(self, f"at_{name}")
            new = extreme(old[some], found)
            counted[some] = counted[some] * (old[some] == new) + at * (found == new)
            old[some] = new

    def join(self, other: "SparseDistribution") -> None:
        """Merge the distribution of other sentences."""
        every = np.arange(len(self.fires))
        self._reach(every, other.exponent)
        other._reach(every, self.exponent)
        self.counts += other.counts
        self.sums += other.sums
        self.number += other.number
        self.fires += other.fires
        self._extremes(every, other.least, other.most, other.at_least, other.at_most)

    def state(self) -> dict[str, np.ndarray]:
        """The whole distribution, as arrays by name."""
        return {name: np.asarray(v) for name, v in vars(self).items()} | {"sums": packed(self.sums)}

    @classmethod
    def restored(cls, state: Mapping[str, np.ndarray]) -> "SparseDistribution":
        """The distribution whose `state` these arrays are."""
        values: dict[str, Any] = {item.name: state[item.name] for item in fields(cls)}
        return cls(**values | {"number": int(values["number"]), "sums": unpacked(values["sums"])})

    def part(self, neurons: slice) -> "SparseDistribution":
        """The distribution of some neurons."""
        neurons_first = vars(self).keys() - {"sums", "number"}
        part = {name: getattr(self, name)[neurons] for name in neurons_first}
        return replace(self, sums=self.sums[:, neurons], **part)

    @property
    def lowest(self) -> np.ndarray:
        """float32 [neurons]: 0, but for those that fire on every sentence."""
        return np.where(self.fires < self.number, np.float32(0), self.least)

    @property
    def highest(self) -> np.ndarray:
        """float32 [neurons]."""
        return self.most

    def summary(self) -> dict[str, np.ndarray]:
        """Moments, histogram and extremes by name, neurons first, as `Distribution.summary`."""
        silent = self.number - self.fires
        low = np.zeros(len(self.fires), dtype=np.float32)
        return moments(low, self.sums, self.number) | {
            "low": low,
            "step": np.ldexp(np.float32(1), self.exponent - _HALVINGS),
            "counts": self.counts,
            "lowest": self.lowest,
            "highest": self.highest,
            "at_lowest": np.where(silent > 0, silent, self.at_least),
            "at_highest": np.where(self.fires > 0, self.at_most, self.number),
        }


def _none() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32)


def _starts(neuron: np.ndarray, neurons: int) -> np.ndarray:
    """Where each neuron's firings begin, and the last's end: int64 [neurons + 1]."""
    return np.concatenate([[0], np.cumsum(np.bincount(neuron, minlength=neurons))])
