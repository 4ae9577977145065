"""Texts through the target model: blocks of rows, each in batches of texts of similar length.

Tokenising, computing and using the results overlap. The batches of a block depend on its texts and
the token budget alone, so a block has the same values whatever was computed before it.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from descry.activations.positions import (
    STRIDE,
    BlockPeaks,
    PeakFirings,
    codes,
    places_of,
    sampled,
    strongest,
)
from descry.activations.sparse import Firings
from descry.activations.store import TOKENS
from descry.errors import InputError
from descry.io.parquet import read_blocks
from descry.io.prefetch import map_ahead
from descry.models.batching import in_parallel, plan_batches, within_memory
from descry.models.hooked_model import HookedModel, Maxima, Peaks

if TYPE_CHECKING:
    import pyarrow

_TOKENISED = 1024  # sentences at a time, where a sample is drawn


@dataclass(frozen=True)
class Block:
    """A block of texts that are computed together.

    Attributes:
        number: of the block.
        tokens: token ids of its texts, in the order of their rows.
        places: int64 [texts], each text's first row in the block.
        rows: number of rows.
        halves: of the corpus, the one that each text belongs to.
        length: int32 [texts], how many tokens each has uncut.
        first: the row of the corpus of its first text, where its texts follow each other.
    """

    number: int
    tokens: Sequence[Sequence[int]]
    places: np.ndarray
    rows: int
    halves: np.ndarray
    length: np.ndarray
    first: int = 0

    @property
    def cut(self) -> np.ndarray:
        """How many tokens of each text the model does not see: int64 [texts]."""
        return np.asarray(self.length - [len(ids) for ids in self.tokens])


def sentence_blocks(
    corpus: Path, model: HookedModel, size: int, wanted: Callable[[int], bool]
) -> Iterator[Block]:
    """The wanted blocks of `size` sentences, a row each, in the order of the corpus."""

    def tokenized(numbered: "tuple[int, pyarrow.Table]") -> Block:
        number, table = numbered
        tokens, length = model.fit(table["text"].to_pylist())
        halves = np.array(table["split"].to_pylist())
        places = np.arange(len(tokens))
        return Block(number, tokens, places, len(tokens), halves, length, number * size)

    tables = enumerate(read_blocks(corpus, "corpus", ["text", "split"], size))
    return map_ahead(tokenized, ((n, table) for n, table in tables if wanted(n)), 1)


class TokenRows(NamedTuple):
    """Where the tokens of every sentence are, with position `tokens`.

    Sentences go by length into blocks of rows, as many as fit: batches then need little padding.

    Attributes:
        blocks: all blocks of the corpus.
        datasets: `start` int64 and `length` int32 [sentences], the rows of each sentence, and
            `tokens` int32 [sentences], how many there are uncut; `sentence` and `token` int32
            [rows], -1 where a block's last rows are not used.
    """

    blocks: list[Block]
    datasets: dict[str, np.ndarray]


def token_rows(corpus: Path, model: HookedModel, size: int) -> TokenRows:
    """Lay out the tokens of all sentences in blocks of `size` rows.

    Raises:
        InputError: a sentence has more tokens than that.
    """
    whole = list(sentence_blocks(corpus, model, size, lambda _: True))
    tokens = [np.asarray(ids, dtype=np.int32) for block in whole for ids in block.tokens]
    halves, whole_length = (
        np.concatenate([getattr(block, name) for block in whole]) for name in ("halves", "length")
    )
    lengths = np.array([len(ids) for ids in tokens], dtype=np.int32)
    if lengths.max() > size:
        raise InputError(
            f"activations.block: {size} is less than a sentence's {lengths.max()} tokens"
        )
    start = np.empty(len(tokens), dtype=np.int64)
    members: list[list[int]] = []
    free = 0
    for sentence in np.argsort(-lengths, kind="stable"):
        if lengths[sentence] > free:
            members.append([])
            free = size
        start[sentence] = len(members) * size - free
        members[-1].append(int(sentence))
        free -= int(lengths[sentence])
    rows = len(members) * size - free
    owner = np.full(rows, -1, dtype=np.int32)
    token = owner.copy()
    for sentence, ids in enumerate(tokens):
        span = slice(start[sentence], start[sentence] + len(ids))
        owner[span], token[span] = sentence, ids
    blocks = [
        Block(
            number,
            [tokens[sentence].tolist() for sentence in chosen],
            start[chosen] - number * size,
            min(size, rows - number * size),
            halves[chosen],
            whole_length[chosen],
        )
        for number, chosen in enumerate(members)
    ]
    datasets: dict[str, np.ndarray] = {"start": start, "length": lengths, TOKENS: whole_length}
    datasets |= {"sentence": owner, "token": token}
    return TokenRows(blocks, datasets)


def draw_sample(corpus: Path, model: HookedModel, number: int, seed: int) -> np.ndarray:
    """Positions of a corpus that represent all, as `positions.sampled` draws them: int64 [number].

    Special tokens and sinks are no positions.
    """

    def tokenized(table: "pyarrow.Table") -> list[tuple[str, range]]:
        tokens = model.tokenize(table["text"].to_pylist())
        return list(zip(table["id"].to_pylist(), map(model.own_places, tokens), strict=True))

    tables = read_blocks(corpus, "corpus", ["id", "text"], _TOKENISED)
    found = map_ahead(tokenized, tables, 1)
    return sampled((one for block in found for one in block), number, seed)


def extract_peaks(
    model: HookedModel,
    blocks: Iterable[Block],
    batch_tokens: int,
    number: int,
    sample: np.ndarray,
) -> Iterator[tuple[Block, BlockPeaks]]:
    """The strongest positions of each block's sentences, in the order of the blocks.

    Args:
        batch_tokens: padded tokens of a batch.
        number: positions of a sentence and end.
        sample: int64 [positions], codes of positions whose activations are wanted, ascending.

    Raises:
        InputError: an activation is not finite, or memory is short.
    """
    begun: deque[tuple[Block, deque[np.ndarray], list[np.ndarray]]] = deque()
    Batch = tuple[list[Sequence[int]], list[np.ndarray]]

    def batches() -> Iterator[Batch]:
        for block in blocks:
            single = places_of(sample, range(block.first, block.first + len(block.tokens)))
            plan = plan_batches([len(tokens) for tokens in block.tokens], batch_tokens)
            begun.append((block, deque(plan), single))
            for texts in plan:
                yield [block.tokens[text] for text in texts], [single[text] for text in texts]

    def run(batch: Batch) -> Peaks:
        return model.peaks(batch[0], number, batch[1])

    arrays: list[np.ndarray] = []
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    advice = f"halve activations.batch_tokens ({batch_tokens}), or else activations.block"
    with within_memory(model.name, advice):
        for found in in_parallel(run, batches(), model.device, together=2):
            ends = np.concatenate([found.highest[:, :1], found.lowest[:, :1]], axis=1)
            ends = ends.reshape(-1, *ends.shape[2:])
            _check(ends[~np.isinf(ends).all(axis=(1, 2))], model, "float32")
            block, plan, single = begun[0]
            texts = plan.popleft()
            width = math.prod(found.single.shape[1:])
            fields = [part.reshape(len(texts), part.shape[1], width) for part in found[:4]]
            if not arrays:
                sizes = [(len(block.tokens), *part.shape[1:]) for part in fields]
                arrays = [
                    np.empty(size, dtype=part.dtype)
                    for size, part in zip(sizes, fields, strict=True)
                ]
            for array, part in zip(arrays, fields, strict=True):
                array[texts] = part
            own = [codes(np.full(len(single[t]), block.first + t), single[t]) for t in texts]
            drawn.append((np.concatenate(own), found.single.reshape(len(found.single), width)))
            if not plan:
                begun.popleft()
                high, high_at, low, low_at = arrays
                which, values = (np.concatenate(of) for of in zip(*drawn, strict=True))
                yield block, BlockPeaks(high, high_at, low, low_at, which, values)
                arrays, drawn = [], []


def extract_peak_firings(
    model: HookedModel,
    blocks: Iterable[Block],
    batch_tokens: int,
    number: int,
    sample: np.ndarray,
) -> Iterator[tuple[Block, PeakFirings]]:
    """As `extract_peaks`, of latents, which are 0 at most positions.

    Raises:
        InputError: an activation is not finite, or memory is short.
    """
    begun: deque[tuple[Block, deque[np.ndarray], list[PeakFirings]]] = deque()

    def batches() -> Iterator[tuple[Block, np.ndarray]]:
        for block in blocks:
            plan = plan_batches([len(tokens) for tokens in block.tokens], batch_tokens)
            begun.append((block, deque(plan), []))
            for texts in plan:
                yield block, texts

    def run(batch: tuple[Block, np.ndarray]) -> PeakFirings:
        block, texts = batch
        found = model.firings([block.tokens[text] for text in texts])
        of_block = codes(texts[found.text], found.token)
        every = Firings.of_rows(shape, of_block, found.neuron, found.value)
        own = block.first * STRIDE + every.row
        place = np.searchsorted(sample, own)
        drawn = sample[np.minimum(place, len(sample) - 1)] == own
        return PeakFirings(strongest(every, number), every.only(drawn, place))

    shape = 0, len(model.layers) * model.neurons
    advice = f"halve activations.batch_tokens ({batch_tokens}), or else activations.block"
    with within_memory(model.name, advice):
        for found in in_parallel(run, batches(), model.device, together=2):
            _check(found.peaks.value, model, "float32")
            block, plan, parts = begun[0]
            plan.popleft()
            parts.append(found)
            if not plan:
                begun.popleft()
                peaks, drawn = (Firings.joined([part[of] for part in parts]) for of in (0, 1))
                known = sum(bool(model.own_places(tokens)) for tokens in block.tokens)
                yield block, PeakFirings(peaks._replace(shape=(known, shape[1])), drawn)


@dataclass
class _Begun:
    """A block whose batches are under way."""

    block: Block
    plan: deque[np.ndarray]
    values: list[np.ndarray] = field(default_factory=list)
    firings: list[Firings] = field(default_factory=list)


def extract_firings(
    model: HookedModel, blocks: Iterable[Block], batch_tokens: int
) -> Iterator[tuple[Block, Firings]]:
    """The activations above 0 of each block, of all layers one after the other.

    As `extract`, without a place for those that are 0: a block of a large dictionary's latents
    would be gigabytes. With position `max` rows are codes of positions.

    Raises:
        InputError: as `extract`.
    """
    for current, rows, found in _batches(model, blocks, batch_tokens, "float32"):
        values, *at = (of.reshape(len(rows), -1) for of in found)
        row, neuron = np.nonzero(values)
        own = codes(rows[row], at[0][row, neuron]) if at else rows[row].astype(np.int32)
        shape = current.block.rows, values.shape[1]
        current.firings.append(Firings.of_rows(shape, own, neuron, values[row, neuron]))
        if not current.plan:
            yield current.block, Firings.joined(current.firings)


def extract(
    model: HookedModel, blocks: Iterable[Block], batch_tokens: int, dtype: str
) -> Iterator[tuple[Block, np.ndarray | Maxima]]:
    """The activations of each block, float [rows, layers, neurons], in the order of the blocks.

    Rows that no text takes are 0. With position `max` they come with the tokens that they are at.

    Args:
        batch_tokens: padded tokens of a batch.
        dtype: of the values, float32 or float16.

    Raises:
        InputError: an activation is not finite, or too large for `dtype`, or memory is short.
    """
    for current, rows, found in _batches(model, blocks, batch_tokens, dtype):
        if not current.values:
            shape = current.block.rows, *found[0].shape[1:]
            current.values = [np.zeros(shape, kind) for kind in (dtype, "int32")[: len(found)]]
        for whole, part in zip(current.values, found, strict=True):
            whole[rows] = part
        if not current.plan:
            values = current.values
            yield current.block, Maxima(*values) if len(values) > 1 else values[0]


def _batches(
    model: HookedModel, blocks: Iterable[Block], batch_tokens: int, dtype: str
) -> Iterator[tuple[_Begun, np.ndarray, tuple[np.ndarray, ...]]]:
    """Each batch's rows in its block, and their values, float32 [any, layers, neurons].

    With position `max`, the places of the tokens that they are at, too. The last batch of a block
    leaves it with no plan.
    """
    begun: deque[_Begun] = deque()

    def run(batch: list[Sequence[int]]) -> tuple[np.ndarray, ...]:
        return model.maxima(batch) if model.position == "max" else (model.activations(batch),)

    def batches() -> Iterator[list[Sequence[int]]]:
        for block in blocks:
            plan = plan_batches([len(tokens) for tokens in block.tokens], batch_tokens)
            begun.append(_Begun(block, deque(plan)))
            for texts in plan:
                yield [block.tokens[text] for text in texts]

    advice = f"halve activations.batch_tokens ({batch_tokens}), or else activations.block"
    with within_memory(model.name, advice):
        for found in in_parallel(run, batches(), model.device, together=2):
            _check(found[0], model, dtype)
            current = begun[0]
            texts = current.plan.popleft()
            if not current.plan:
                begun.popleft()
            yield current, _rows(current.block, texts, len(found[0])), found


def _rows(block: Block, texts: np.ndarray, number: int) -> np.ndarray:
    """The rows in a block of the values of some texts: one a text, or one a token."""
    first: np.ndarray = block.places[texts]
    if number == len(texts):
        return first
    spans = [first[k] + np.arange(len(block.tokens[text])) for k, text in enumerate(texts)]
    return np.concatenate(spans)


def _check(found: np.ndarray, model: HookedModel, dtype: str) -> None:
    if not np.isfinite(found).all():
        raise InputError(f"{model.name}: activations are not finite in {model.dtype}")
    largest = float(np.abs(found).max(initial=0))
    if largest > float(np.finfo(dtype).max):
        raise InputError(
            f"activations.store_dtype: {model.name} has activations of {largest:.0f}, too large for"
            f" {dtype}: take float32"
        )
