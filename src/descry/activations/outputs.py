"""The files to which activations are added block by block: the matrix, or what exemplars need.

Each file has another name until it is whole, and a killed run resumes it. A shard's file gets the
shard's blocks; the whole file either gets all blocks or gathers the shards' files.
"""

import glob
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from descry.activations.extraction import Block
from descry.activations.store import (
    AT,
    DATA,
    TOKENS,
    WRITTEN,
    Layout,
    Writer,
    begin,
    refuse_another,
)
from descry.activations.streaming import RunningStats, SparseStats
from descry.io.atomic import part_of
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5, writing_hdf5
from descry.io.sharding import Shard
from descry.models.hooked_model import Maxima

SAVE = 60.0  # seconds of streaming that a kill can cost, at most and one block


class Output(Protocol):
    """A file to which blocks of activations are added, in ascending order of their numbers."""

    @property
    def sparse(self) -> bool:
        """Whether it takes `Firings`; else float [rows, layers, neurons]."""

    def wants(self, number: int) -> bool:
        """Whether a block is still to be computed."""

    def add(self, block: Block, values: Any) -> None:
        """Add the activations of a wanted block.

        Args:
            values: float [rows, layers, neurons], `Maxima`, `Firings`, or the `BlockPeaks` of
                positions.
        """

    def gather(self, parts: Sequence[Path]) -> None:
        """Merge the files of all shards, in the order of the shards.

        Raises:
            InputError: one was made with other inputs, code or params.
        """


@contextmanager
def matrix_output(
    path: Path,
    made: JSON,
    names: Mapping[str, str],
    layout: Layout,
    index: Mapping[str, np.ndarray],
    shard: Shard,
) -> Iterator[Output]:
    """The activation matrix, which takes its place at the end.

    Args:
        made, names, index: as `store.begin` takes them.
        layout: of the shard's own rows.

    Raises:
        InputError: as `store.begin`, or another run is writing the file.
    """
    with closing(Writer(begin(path, made, names, layout, index))) as writer:
        yield _Matrix(writer, made, layout.block, shard, of_tokens=TOKENS in index)
    part_of(path).replace(path)


@dataclass(frozen=True)
class _Matrix:
    """The activation matrix. Blocks of a shard lie one behind the other in its file."""

    writer: Writer
    made: JSON
    block: int
    shard: Shard
    of_tokens: bool
    sparse: bool = False

    def wants(self, number: int) -> bool:
        return self.shard.has(number) and not self.writer.written[number // self.shard.number]

    def add(self, block: Block, values: np.ndarray | Maxima) -> None:
        place = block.number // self.shard.number
        tokens = None if self.of_tokens else block.length
        found = values if isinstance(values, Maxima) else (values, None)
        self.writer.write(place, place * self.block, found[0], tokens, found[1])

    def gather(self, parts: Sequence[Path]) -> None:
        for first, path in enumerate(parts):
            refuse_another(path, self.made)
            with reading_hdf5(path, "activations") as file:
                for place in range(len(file[WRITTEN]) if WRITTEN in file else 0):
                    number = place * len(parts) + first
                    if self.wants(number):
                        rows = slice(place * self.block, (place + 1) * self.block)
                        tokens = None if self.of_tokens else file[TOKENS][rows]
                        at = file[AT][rows] if AT in file else None
                        own = number * self.block
                        self.writer.write(number, own, file[DATA][rows], tokens, at)


@contextmanager
def stats_output(
    path: Path,
    made: JSON,
    names: Mapping[str, str],
    stats: RunningStats[Any],
    block: int,
    shard: Shard,
) -> Iterator[Output]:
    """Open the file of what exemplars need, written at the end and at intervals.

    Args:
        made: what makes the file, its attribute `descry`.
        names: further attributes.
        stats: of no activations yet.
        block: rows of every block but the last.

    Raises:
        InputError: an unfinished file was begun with other inputs, code or params.
    """
    unfinished = part_of(path)
    if unfinished.exists():
        refuse_another(unfinished, made)
        with reading_hdf5(unfinished, "activations") as file:
            stats.restore(file)
    output = _Stats(unfinished, made, stats, block, shard)
    yield output
    output.save(path, names)
    # What this run saved on its way, and what those killed amid saving left.
    for pattern in (".{}.*part", "..{}.part.*.part"):
        for left in path.parent.glob(pattern.format(glob.escape(path.name))):
            left.unlink()


@dataclass
class _Stats:
    """Statistics of activations that are not kept: only some blocks of them are ever held."""

    unfinished: Path
    made: JSON
    stats: RunningStats[Any]
    block: int
    shard: Shard
    saved: float = field(default_factory=time.monotonic)

    def wants(self, number: int) -> bool:
        if number < self.stats.next:
            return False
        # Every shard needs the first block, which lays out the bins.
        return self.shard.has(number) or (number == 0 and not self.stats.laid_out)

    @property
    def sparse(self) -> bool:
        return isinstance(self.stats, SparseStats)

    def add(self, block: Block, values: Any) -> None:
        if isinstance(values, Maxima):
            values = Maxima(*(of.reshape(block.rows, -1) for of in values))
        elif isinstance(values, np.ndarray):
            values = values.reshape(block.rows, -1)
        if not self.stats.laid_out:
            self.stats.lay_out(values)
        if not self.shard.has(block.number):
            return
        rows = block.number * self.block + np.arange(block.rows, dtype=np.int32)
        self.stats.add(values, rows, block.halves, block.length)
        self.stats.next = block.number + 1
        if time.monotonic() - self.saved > SAVE:
            self.save(self.unfinished, {})
            self.saved = time.monotonic()

    def gather(self, parts: Sequence[Path]) -> None:
        for path in parts:
            refuse_another(path, self.made)
        first, *others = parts
        with reading_hdf5(first, "activations") as file:
            self.stats.restore(file)
        for path in others:
            with reading_hdf5(path, "activations") as file:
                self.stats.join(file)

    def save(self, path: Path, names: Mapping[str, str]) -> None:
        with writing_hdf5(path, self.made) as file:
            file.attrs.update(names)
            for name, values in self.stats.state().items():
                packed = name == TOKENS and len(values)
                file.create_dataset(name, data=values, compression="gzip" if packed else None)
