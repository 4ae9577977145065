"""Streaming statistics (leaders, distributions) of activations that are never stored.

Memory does not grow with the number of sentences, but for four bytes of each. The state can be
saved and restored after a kill, and the states of several shards can be joined.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Generic, TypeVar

import numpy as np

from descry.activations.histogram import Distribution
from descry.activations.sparse import (
    LEADERS,
    Firings,
    SparseDistribution,
    SparseTopK,
    spread_leaders,
)
from descry.activations.store import TOKENS
from descry.activations.top_k import ENDS, HIGHEST, LOWEST, TopK, merged
from descry.corpus.splits import HALVES

Arrays = dict[str, np.ndarray]
Values = TypeVar("Values")


class RunningStats(ABC, Generic[Values]):
    """Leaders in each half, and the distribution over all rows.

    Attributes:
        next: the number of the block that comes next.
        tokens: int32 [seen], of each sentence; 0 for those of other shards.
    """

    def __init__(self) -> None:
        self.next = 0
        self.tokens = np.zeros(0, dtype=np.int32)

    def add(self, block: Values, rows: np.ndarray, halves: np.ndarray, tokens: np.ndarray) -> None:
        """Add activations of sentences and neurons, of ever higher rows.

        Args:
            rows: of the sentences in the corpus.
            halves: the name of the half that each belongs to.
            tokens: int [sentences], of each, those included that the model has not seen.
        """
        self._grow(int(rows[-1]) + 1)
        self.tokens[rows] = tokens
        self._take(block, rows, halves)

    def state(self) -> Arrays:
        """All statistics, as arrays by name; activations of the lowest are negated."""
        return {"next": np.asarray(self.next), TOKENS: self.tokens} | self._state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the arrays that `state` returned."""
        self._restore(state)
        self.next = int(state["next"][()])
        self._take_tokens(state)

    def join(self, state: Mapping[str, Any]) -> None:
        """Merge the state of another shard, of other rows."""
        self._join(state)
        self.next = max(self.next, int(state["next"][()]))
        self._take_tokens(state)

    @property
    @abstractmethod
    def laid_out(self) -> bool:
        """Whether blocks can be added; else the first block of all is needed first."""

    @abstractmethod
    def lay_out(self, first: Values) -> None:
        """Lay out the bins by the first block of all."""

    @abstractmethod
    def _take(self, block: Values, rows: np.ndarray, halves: np.ndarray) -> None: ...

    @abstractmethod
    def _state(self) -> Arrays: ...

    @abstractmethod
    def _restore(self, state: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def _join(self, state: Mapping[str, Any]) -> None: ...

    def _take_tokens(self, state: Mapping[str, Any]) -> None:
        tokens = state[TOKENS][:]
        self._grow(len(tokens))
        rows = np.flatnonzero(tokens)
        self.tokens[rows] = tokens[rows]

    def _grow(self, sentences: int) -> None:
        self.tokens = np.pad(self.tokens, (0, max(0, sentences - len(self.tokens))))


class StreamingStats(RunningStats[Any]):
    """Statistics of activations float32 [sentences, neurons], with the leaders of both ends."""

    def __init__(self, neurons: int, keep: int, rows: str = "int32") -> None:
        """Begin with none.

        Args:
            rows: the dtype of the numbers of rows.
        """
        super().__init__()
        names = [(half, end) for half in HALVES for end in ENDS]
        # One more than any set has places: whether the last of a set has an equal beyond it.
        self.leaders = {name: TopK(neurons, keep + 1, rows) for name in names}
        self.distribution: Distribution | None = None

    @property
    def laid_out(self) -> bool:
        """Whether the first block of all has laid out the bins."""
        return self.distribution is not None

    def lay_out(self, first: Any) -> None:
        """Lay out the bins by the first block of all [sentences, neurons]."""
        self.distribution = Distribution.around(first)

    def _take(self, block: Any, rows: np.ndarray, halves: np.ndarray) -> None:
        assert self.distribution
        self.distribution.add(block)
        for half in HALVES:
            chosen = np.flatnonzero(halves == half)
            part = block[chosen]
            self.leaders[half, HIGHEST].add(part, rows[chosen])
            self.leaders[half, LOWEST].add(-part, rows[chosen])

    def _state(self) -> Arrays:
        found: Arrays = {}
        for (half, end), kept in self.leaders.items():
            found[f"{half}/{end}/row"], found[f"{half}/{end}/value"] = kept.finalize()
        values = self.distribution.state() if self.distribution else {}
        return found | {f"distribution/{name}": array for name, array in values.items()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        for name, kept in self.leaders.items():
            kept.restore(*read_leaders(state, *name))
        self.distribution = Distribution.restored(_distribution(state))

    def _join(self, state: Mapping[str, Any]) -> None:
        for name, kept in self.leaders.items():
            kept.restore(*merged([kept.finalize(), read_leaders(state, *name)], kept.size))
        assert self.distribution
        self.distribution.join(Distribution.restored(_distribution(state)))


class SparseStats(RunningStats[Firings]):
    """Of activations that are 0 for most, and never below: the leaders of the highest end alone.

    Memory grows with the firings that lead, not with neurons times sentences that are kept.
    """

    def __init__(self, neurons: int, keep: int) -> None:
        super().__init__()
        self.leaders = {half: SparseTopK(neurons, keep + 1) for half in HALVES}
        self.distribution = SparseDistribution.of(neurons)

    @property
    def laid_out(self) -> bool:
        """From the beginning."""
        return True

    def lay_out(self, first: Firings) -> None:
        """Nothing: the bins follow what comes."""

    def _take(self, block: Firings, rows: np.ndarray, halves: np.ndarray) -> None:
        self.distribution.add(block)
        for half, kept in self.leaders.items():
            kept.add(block.at(halves == half, rows))

    def _state(self) -> Arrays:
        parts = {f"{half}/{HIGHEST}": kept.state() for half, kept in self.leaders.items()}
        parts["distribution"] = self.distribution.state()
        return {f"{of}/{name}": v for of, values in parts.items() for name, v in values.items()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._join_leaders(state)
        self.distribution = SparseDistribution.restored(_distribution(state))

    def _join(self, state: Mapping[str, Any]) -> None:
        self._join_leaders(state)
        self.distribution.join(SparseDistribution.restored(_distribution(state)))

    def _join_leaders(self, state: Mapping[str, Any]) -> None:
        for half, kept in self.leaders.items():
            kept.join({name: state[f"{half}/{HIGHEST}/{name}"] for name in LEADERS})


def has_lowest(state: Mapping[str, Any]) -> bool:
    """Whether a state has the leaders of the lowest end."""
    return f"{HALVES[0]}/{LOWEST}/row" in state


def kept_leaders(state: Mapping[str, Any]) -> int:
    """Return how many leaders a state can hold for each neuron, half and end."""
    size = f"{HALVES[0]}/{HIGHEST}/size"
    return int(state[size][()] if size in state else state[f"{HALVES[0]}/{HIGHEST}/row"].shape[1])


def read_leaders(
    state: Mapping[str, Any], half: str, end: str, neurons: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and values of a half's leaders in a state, [neurons, places].

    Args:
        neurons: some of them; of a sparse state with a start and a stop.
    """
    names = {name: f"{half}/{end}/{name}" for name in LEADERS}
    found = {name: state[path] for name, path in names.items() if path in state}
    if "start" in found:
        return spread_leaders(found, neurons)
    return found["row"][neurons], found["value"][neurons]


def read_distribution(state: Mapping[str, Any]) -> Distribution | SparseDistribution:
    """The distribution in a state."""
    values = _distribution(state)
    sparse = "fires" in values
    return SparseDistribution.restored(values) if sparse else Distribution.restored(values)


def _distribution(state: Mapping[str, Any]) -> Arrays:
    """The arrays of a state's distribution, by name."""
    names = {item.name for kind in (Distribution, SparseDistribution) for item in fields(kind)}
    prefix = "distribution/"
    return {name: state[prefix + name][()] for name in names if prefix + name in state}
