"""Positions: single tokens of sentences, which unit `token` explains in place of sentences.

A position is known by one number, its code: `sentence * STRIDE + token`, with the sentence's row in
the corpus and the token's place among the sentence's tokens, special ones included. Codes are in
the order of sentences and, within one, of tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from descry.activations.sparse import LEADERS, Firings, SparseTopK, spread_leaders
from descry.activations.streaming import Arrays, SparseStats, StreamingStats
from descry.activations.top_k import HIGHEST, LOWEST, NOBODY
from descry.corpus.splits import HALVES, draw

if TYPE_CHECKING:
    from descry.models.hooked_model import Maxima

STRIDE = 2**20  # more tokens than any sentence has
_COLUMNS = 256  # neurons that are read together
SAMPLE = "sample"  # group of a state: positions that represent all, and their activations


def codes(sentences: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Positions by sentences and tokens, int of one shape: int64."""
    return np.asarray(sentences.astype(np.int64) * STRIDE + tokens)


def sentence_of(positions: np.ndarray) -> np.ndarray:
    """The sentence of each position."""
    return np.asarray(positions // STRIDE)


def token_of(positions: np.ndarray) -> np.ndarray:
    """The token of each position."""
    return np.asarray(positions % STRIDE)


def located(positions: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The rows of positions in a table of positions: int32, NOBODY where there is none.

    Args:
        positions: int64, any shape: codes, or NOBODY.
        table: int64 [rows], codes, ascending; it has all of the positions.
    """
    rows = np.searchsorted(table, positions)
    return np.where(positions == NOBODY, NOBODY, rows).astype(np.int32)


def sampled(sentences: Iterator[tuple[str, range]], number: int, seed: int) -> np.ndarray:
    """Positions that represent all, as if drawn at random: int64 [number], ascending.

    A position's lot depends on the seed, its sentence and its place alone.

    Args:
        sentences: the id of each sentence, and the places of its tokens that can be drawn.
        number: of positions (all, if there are fewer).
    """
    held, lots, cut = [np.zeros(0, np.int64)], [np.zeros(0)], 1.0
    for row, (name, places) in enumerate(sentences):
        lot = np.random.default_rng([*draw(seed, f"position:{name}")]).random(len(places))
        kept = np.flatnonzero(lot < cut)
        held.append(row * STRIDE + places.start + kept)
        lots.append(lot[kept])
        if len(held) > number:  # let go of those that cannot win any more
            held, lots = _lowest(held, lots, number)
            cut = float(lots[0].max(initial=0.0)) if len(lots[0]) == number else 1.0
    return np.sort(_lowest(held, lots, number)[0][0])


def _lowest(
    held: list[np.ndarray], lots: list[np.ndarray], number: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    every, lot = np.concatenate(held), np.concatenate(lots)
    chosen = np.sort(np.argsort(lot, kind="stable")[:number])
    return [every[chosen]], [lot[chosen]]


class BlockPeaks(NamedTuple):
    """The strongest positions of a block's sentences, and its positions of the sample.

    Attributes:
        highest, lowest: float32 [sentences, number, neurons of all layers], as `Peaks` has them.
        highest_at, lowest_at: int32 of the same shape, places of tokens.
        sample: int64 [positions], codes; ascending within a sentence.
        values: float32 [positions, neurons], their activations.
    """

    highest: np.ndarray
    highest_at: np.ndarray
    lowest: np.ndarray
    lowest_at: np.ndarray
    sample: np.ndarray
    values: np.ndarray


class PositionStats(StreamingStats):
    """Leaders among positions, and what `StreamingStats` has of the sentences' highest ones.

    Attributes:
        sample: int64 [positions], codes, ascending.
        values: float32 [positions, neurons], their activations, NaN until they come.
    """

    def __init__(self, neurons: int, keep: int, sample: np.ndarray) -> None:
        super().__init__(neurons, keep, "int64")
        self.sample = sample
        self.values = np.full((len(sample), neurons), np.nan, dtype=np.float32)

    def lay_out(self, first: BlockPeaks) -> None:
        """Lay out the bins by the highest positions of the first block of all."""
        super().lay_out(_known(first))

    def _take(self, block: BlockPeaks, rows: np.ndarray, halves: np.ndarray) -> None:
        assert self.distribution
        self.distribution.add(_known(block))
        for half in HALVES:
            chosen = np.flatnonzero(halves == half)
            for end, sign in ((HIGHEST, 1), (LOWEST, -1)):
                values, at = (
                    of[chosen].reshape(-1, of.shape[2])
                    for of in (getattr(block, end), getattr(block, f"{end}_at"))
                )
                owner = np.repeat(rows[chosen], block.highest.shape[1])
                self.leaders[half, end].add(sign * values, codes(owner[:, None], at))
        self.values[np.searchsorted(self.sample, block.sample)] = block.values

    def _state(self) -> Arrays:
        sample = {"position": self.sample, "activation": self.values}
        return super()._state() | {f"{SAMPLE}/{name}": of for name, of in sample.items()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._take_sample(state)

    def _join(self, state: Mapping[str, Any]) -> None:
        super()._join(state)
        self._take_sample(state)

    def _take_sample(self, state: Mapping[str, Any]) -> None:
        values = state[f"{SAMPLE}/activation"][:]
        known = ~np.isnan(values[:, 0])
        self.values[known] = values[known]


def _known(block: BlockPeaks) -> np.ndarray:
    """The highest position of each sentence that has one: float32 [any, neurons].

    A sentence of characters that the tokenizer drops has none.
    """
    highest = block.highest[:, 0]
    return np.asarray(highest[np.isfinite(highest).all(axis=1)])


class MaximaStats(StreamingStats):
    """Statistics of the highest activation of each sentence; leaders are positions."""

    def __init__(self, neurons: int, keep: int) -> None:
        super().__init__(neurons, keep, "int64")

    def lay_out(self, first: "Maxima") -> None:
        """Lay out the bins by the first block of all."""
        super().lay_out(first.value)

    def _take(self, block: Any, rows: np.ndarray, halves: np.ndarray) -> None:
        assert self.distribution
        self.distribution.add(block.value)
        at = codes(rows[:, None], block.token)
        for half in HALVES:
            chosen = np.flatnonzero(halves == half)
            self.leaders[half, HIGHEST].add(block.value[chosen], at[chosen])
            self.leaders[half, LOWEST].add(-block.value[chosen], at[chosen])


class SparseMaximaStats(SparseStats):
    """`SparseStats` of latents whose leaders are positions: rows of firings are codes."""

    def _take(self, block: Firings, rows: np.ndarray, halves: np.ndarray) -> None:
        self.distribution.add(_highest(block))
        owner = sentence_of(block.row)
        row = codes(rows[owner], token_of(block.row))
        for half, kept in self.leaders.items():
            kept.add(block.only((halves == half)[owner], row))


class PeakFirings(NamedTuple):
    """The strongest positions of a block's sentences, and the sample's positions, for latents.

    Attributes:
        peaks: the latents above 0; rows are codes, with the sentence's place in the block. Its
            number of rows is that of the sentences with a position.
        sample: the latents above 0 at positions of the sample, whose places there the rows are.
    """

    peaks: Firings
    sample: Firings


class SparsePositionStats(SparseMaximaStats):
    """`PositionStats` of latents, which are 0 at most positions: what is kept follows firings.

    Attributes:
        sample: int64 [positions], codes, ascending.
        drawn: the latents above 0 there.
    """

    def __init__(self, neurons: int, keep: int, sample: np.ndarray) -> None:
        super().__init__(neurons, keep)
        self.sample, self.drawn = sample, SparseTopK(neurons, len(sample))

    def _take(self, block: Any, rows: np.ndarray, halves: np.ndarray) -> None:
        super()._take(block.peaks, rows, halves)
        self.drawn.add(block.sample)

    def _state(self) -> Arrays:
        sample = {"position": self.sample} | self.drawn.state()
        return super()._state() | {f"{SAMPLE}/{name}": of for name, of in sample.items()}

    def _join_leaders(self, state: Mapping[str, Any]) -> None:
        super()._join_leaders(state)
        self.drawn.join({name: state[f"{SAMPLE}/{name}"] for name in LEADERS})


def strongest(found: Firings, number: int) -> Firings:
    """The strongest positions of each sentence and neuron; of equal ones the first.

    Args:
        found: rows are codes.
        number: of positions.
    """
    begins = _begins(found)
    sizes = np.diff(np.append(begins, len(found.row)))
    order = np.lexsort((-found.value, np.repeat(begins, sizes)))
    rank = np.arange(len(order)) - np.repeat(begins, sizes)
    return found.only(np.sort(order[rank < number]))


def _highest(peaks: Firings) -> Firings:
    """The highest position of each sentence and neuron; rows are sentences then."""
    begins = _begins(peaks)
    if not len(begins):
        return peaks
    value = np.maximum.reduceat(peaks.value, begins)
    owner = sentence_of(peaks.row[begins]).astype(np.int32)
    return Firings(peaks.shape, owner, peaks.neuron[begins], value)


def _begins(found: Firings) -> np.ndarray:
    """Flag entries whose neuron or sentence differs from the entry before."""
    owner, neuron = sentence_of(found.row), found.neuron
    new = (neuron[1:] != neuron[:-1]) | (owner[1:] != owner[:-1])
    return np.flatnonzero(np.append([True] * bool(len(neuron)), new))


class SampleMatrix:
    """The activations of a sample of positions, as if a matrix [positions, layers, neurons].

    Args:
        state: of `PositionStats` or `SparsePositionStats`.
        layers: how many.
    """

    def __init__(self, state: Mapping[str, Any], layers: int) -> None:
        self._state, positions = state, len(state[f"{SAMPLE}/position"])
        self._sparse = f"{SAMPLE}/start" in state
        every = (
            len(state[f"{SAMPLE}/start"]) - 1
            if self._sparse
            else state[f"{SAMPLE}/activation"].shape[1]
        )
        self.shape, self.dtype = (positions, layers, every // layers), np.dtype("float32")
        self.chunks = positions, 1, min(_COLUMNS, self.shape[2])

    def __getitem__(self, place: tuple[Any, int, slice]) -> np.ndarray:
        rows, layer, columns = place
        first = layer * self.shape[2]
        span = slice(first + columns.start, first + columns.stop)
        if not self._sparse:
            return np.asarray(self._state[f"{SAMPLE}/activation"][rows, span])
        kept = {name: self._state[f"{SAMPLE}/{name}"] for name in LEADERS}
        at, values = spread_leaders(kept, span)
        found = np.zeros((self.shape[0] + 1, len(at)), dtype=np.float32)  # NOBODY is the last
        np.put_along_axis(found, at.T, values.T, axis=0)
        return np.asarray(found[:-1][rows])


def places_of(sample: np.ndarray, rows: Sequence[int]) -> list[np.ndarray]:
    """The tokens of each of some sentences that are in a sample: int [any] each."""
    ends = np.searchsorted(sample, (np.asarray(rows, dtype=np.int64)[:, None] + [0, 1]) * STRIDE)
    return [token_of(sample[first:stop]) for first, stop in ends]
