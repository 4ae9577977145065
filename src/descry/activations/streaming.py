"""Streaming statistics of activations that are never written: leaders, and distributions.

Memory does not grow with the number of sentences, but for four bytes of each. The state can be
saved and restored after a kill, and the states of several shards can be joined.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from descry.activations.histogram import Distribution
from descry.activations.store import TOKENS
from descry.activations.top_k import ENDS, HIGHEST, LOWEST, TopK, merged
from descry.corpus.splits import HALVES

Arrays = dict[str, np.ndarray]


class StreamingStats:
    """Leaders of both ends in each half, and the distribution over all rows.

    Attributes:
        next: the number of the block that comes next.
        tokens: int32 [seen], of each sentence; 0 for those of other shards.
        distribution: None before the first block of all has laid out its bins.
    """

    def __init__(self, neurons: int, keep: int, rows: str = "int32") -> None:
        """Begin with none.

        Args:
            rows: the dtype of the numbers of rows.
        """
        names = [(half, end) for half in HALVES for end in ENDS]
        # One more than any set has places: whether the last of a set has an equal beyond it.
        self.leaders = {name: TopK(neurons, keep + 1, rows) for name in names}
        self.distribution: Distribution | None = None
        self.next = 0
        self.tokens = np.zeros(0, dtype=np.int32)

    def lay_out(self, first: np.ndarray) -> None:
        """Lay out the bins by the first block of all [sentences, neurons]."""
        self.distribution = Distribution.around(first)

    def add(
        self, block: np.ndarray, rows: np.ndarray, halves: np.ndarray, tokens: np.ndarray
    ) -> None:
        """Take in activations float32 [sentences, neurons] of ever higher rows.

        Args:
            rows: of the sentences in the corpus.
            halves: the name of the half that each belongs to.
            tokens: int [sentences], of each, those included that the model has not seen.
        """
        self.take_sentences(block, rows, tokens)
        for half in HALVES:
            chosen = np.flatnonzero(halves == half)
            part = block[chosen]
            self.leaders[half, HIGHEST].add(part, rows[chosen])
            self.leaders[half, LOWEST].add(-part, rows[chosen])

    def take_sentences(self, block: np.ndarray, rows: np.ndarray, tokens: np.ndarray) -> None:
        """Take in all of them but the leaders, as `add` does."""
        assert self.distribution
        self._reach(int(rows[-1]) + 1)
        self.tokens[rows] = tokens
        self.distribution.add(block)

    def state(self) -> Arrays:
        """All statistics, as arrays by name; activations of the lowest are negated."""
        found: Arrays = {"next": np.asarray(self.next), TOKENS: self.tokens}
        for (half, end), kept in self.leaders.items():
            found[f"{half}/{end}/row"], found[f"{half}/{end}/value"] = kept.finalize()
        values = self.distribution.state() if self.distribution else {}
        return found | {f"distribution/{name}": array for name, array in values.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the arrays that `state` gave."""
        for name, kept in self.leaders.items():
            kept.restore(*read_leaders(state, *name))
        self.distribution = read_distribution(state)
        self.next = int(state["next"][()])
        self._take_tokens(state)

    def join(self, state: Mapping[str, Any]) -> None:
        """Take in the state of another shard, of other rows."""
        for name, kept in self.leaders.items():
            kept.restore(*merged([kept.finalize(), read_leaders(state, *name)], kept.size))
        assert self.distribution
        self.distribution.join(read_distribution(state))
        self.next = max(self.next, int(state["next"][()]))
        self._take_tokens(state)

    def _take_tokens(self, state: Mapping[str, Any]) -> None:
        tokens = state[TOKENS][:]
        self._reach(len(tokens))
        rows = np.flatnonzero(tokens)
        self.tokens[rows] = tokens[rows]

    def _reach(self, sentences: int) -> None:
        self.tokens = np.pad(self.tokens, (0, max(0, sentences - len(self.tokens))))


def read_leaders(state: Mapping[str, Any], half: str, end: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and values of a half's leaders in a state, [neurons, places]."""
    return state[f"{half}/{end}/row"][:], state[f"{half}/{end}/value"][:]


def read_distribution(state: Mapping[str, Any]) -> Distribution:
    """The distribution in a state."""
    names = (item.name for item in fields(Distribution))
    return Distribution.restored({name: state[f"distribution/{name}"][()] for name in names})
