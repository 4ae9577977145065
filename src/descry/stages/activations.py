"""Stage activations: corpus -> activations.h5, the matrix or what the exemplars need of it."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from descry.activations.extraction import Block, TokenRows, extract, sentence_blocks, token_rows
from descry.activations.store import CUT, DATA, WRITTEN, Layout, Writer, begin, refuse_another
from descry.activations.streaming import StreamingStats
from descry.io.atomic import part_of
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5, writing_hdf5
from descry.io.parquet import read_table, row_count
from descry.io.prefetch import map_ahead
from descry.io.provenance import provenance
from descry.io.section import Count, Section, Seed, crossed
from descry.io.sharding import WHOLE, Shard
from descry.models.checkpoints import Checkpoint
from descry.models.distributed import Share, share
from descry.models.hooked_model import HookedModel
from descry.models.spec import Model

PACKAGES = ["h5py", "numpy", "tokenizers", "torch", "transformers"]
_NAMES = ("weights", "tokenizer", "site", "position", "layers", "max_tokens")
SAVE = 60.0  # seconds of streaming that a kill can cost, at most and one block
Progress = Callable[[str, int, int], None]


class Activations(Section):
    """What the target model does with every sentence (section 4.1)."""

    target: Model
    # The named sites, or a dotted module path with `*` for the layer's number (hookpoints.py).
    site: Annotated[
        str,
        Field(
            pattern=r"^(ffn_output|ffn_hidden|attention_output|residual|\w+(\.(\w+|\*))+(:input)?)$"
        ),
    ]
    position: Literal["cls", "last", "mean", "max", "tokens"]
    layers: Annotated[list[Seed], Field(min_length=1)] | None
    dtype: Literal["float32", "bfloat16"]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    max_tokens: Annotated[int, Field(ge=8)]
    batch_tokens: Annotated[int, Field(ge=8)]
    block: Annotated[int, Field(ge=1024, multiple_of=1024)]
    store: Literal["matrix", "exemplars"]
    store_dtype: Literal["float32", "float16"]
    keep: Count

    @model_validator(mode="after")
    def _store_and_position(self) -> Self:
        if (self.store, self.position) == ("exemplars", "tokens"):
            raise crossed(
                "activations.store exemplars wants one activation a sentence: a position other than"
                " tokens"
            )
        return self


def extract_activations(
    params: Activations,
    *,
    corpus: Path,
    activations: Path,
    parts: Sequence[Path] = (),
    shard: Shard = WHOLE,
    progress: Progress,
    untrained: int | None = None,
) -> dict[str, Any]:
    """Write activations.h5, or a shard of it.

    With store `matrix`: dataset `activations` [sentence, layer, neuron], rows in the order of the
    corpus, and `id`, `split` of the sentences. At position `tokens` a row is a token: `sentence`
    and `token` say which, `start` and `length` where each sentence's are. With store `exemplars`:
    what `running` keeps. Dataset `cut` int32 [sentence] says how many tokens of each the model has
    not seen; attribute `max_tokens`, how many it sees. A killed run is gone on with.

    Args:
        untrained: the seed of random weights in the place of the trained ones.
        shard: the blocks that are computed; one of several writes a file of them alone.
        parts: what all shards wrote, in their order: nothing is computed then.

    Raises:
        InputError: the model has no such site, an unfinished file is another's, or a full disk.
    """
    own = share(params.device)
    checkpoint = Checkpoint(**params.target.model_dump())
    model = HookedModel(
        checkpoint,
        site=params.site,
        position=params.position,
        layers=params.layers,
        dtype=params.dtype,
        device=own.device,
        max_tokens=params.max_tokens,
        untrained=untrained,
    )
    section = params.model_dump() | ({} if untrained is None else {"untrained": untrained})
    made = provenance("activations", section, [corpus], PACKAGES) | {
        "weights": checkpoint.weights,
        "tokenizer": model.tokenizer_sha256,
        "site": params.site,
        "position": params.position,
        "layers": model.layers,
        "max_tokens": model.max_tokens,
    }
    size = params.batch_tokens, params.block
    job = _Job(corpus, activations, made, model, own, *size, shard, parts, progress)
    if params.store == "matrix":
        job.matrix(params.store_dtype)
    else:
        job.exemplars(params.keep)
    counts: dict[str, Any] = {"sentences": row_count(corpus, "corpus")}
    counts |= {"layers": len(model.layers)}
    counts |= {"neurons": model.neurons, "most tokens": model.max_tokens}
    if model.max_tokens < params.max_tokens:
        not_all = f"(all that the model takes, not {params.max_tokens})"
        counts["most tokens"] = f"{model.max_tokens} {not_all}"
    return counts | ({"sentences cut": _sentences_cut(activations)} if own.main else {})


def _sentences_cut(path: Path) -> int:
    with reading_hdf5(path, "activations") as file:
        return int(np.count_nonzero(file[CUT][:])) if CUT in file else 0


@dataclass(frozen=True)
class _Job:
    """One extraction, or a process's share of it."""

    corpus: Path
    output: Path
    made: JSON
    model: HookedModel
    own: Share
    batch_tokens: int
    block: int
    shard: Shard
    parts: Sequence[Path]
    progress: Progress

    @property
    def names(self) -> dict[str, str]:
        """The file's attributes beside `descry`, for readers with plain h5py."""
        params, made = self.made["params"], self.made
        (corpus,) = made["inputs"].values()
        return {
            "model": params["target"]["model"],
            "revision": params["target"]["revision"],
            "dtype": params["dtype"],
            "corpus": corpus,
        } | {name: made[name] for name in _NAMES}

    def matrix(self, dtype: str) -> None:
        """Write the matrix, block by block."""
        tokens, rows = None, row_count(self.corpus, "corpus")
        if self.model.position == "tokens":
            tokens = token_rows(self.corpus, self.model, self.block)
            rows = len(tokens.datasets["token"])
        sizes = np.diff([*range(0, rows, self.block), rows])[self._mine]
        shape = int(sizes.sum()), len(self.model.layers), self.model.neurons
        if not len(sizes):  # more shards than blocks
            with writing_hdf5(self.output, self.made):
                return
        if self.own.main:
            index = {CUT: tokens.datasets[CUT]} if tokens else {}
            if self.shard == WHOLE:
                index |= self._index(tokens)
            layout = Layout(*shape, dtype, self.block)
            begin(self.output, self.made, self.names, layout, index)
        self.own.wait()
        unfinished = part_of(self.output)
        with closing(Writer(unfinished)) as writer:
            if self.own.main:
                writer.lock()
                self._gather(writer)
            if not self.parts:
                if tokens:
                    sizes = np.array([len(block.tokens) for block in tokens.blocks[self._mine]])
                self._compute(writer, tokens, sizes, dtype)
        self.own.wait()
        if self.own.main:
            unfinished.replace(self.output)

    def _compute(
        self, writer: Writer, tokens: TokenRows | None, sentences: np.ndarray, dtype: str
    ) -> None:
        """Compute the blocks that are not written.

        Args:
            sentences: of each block.
        """

        def wanted(number: int) -> bool:
            return self._has(number) and not writer.written[number // self.shard.number]

        def write(computed: tuple[Block, np.ndarray]) -> int:
            block, values = computed
            place = block.number // self.shard.number
            writer.write(place, place * self.block, values, None if tokens else block.cut)
            return len(block.tokens)

        blocks = (
            (block for block in tokens.blocks if wanted(block.number))
            if tokens
            else sentence_blocks(self.corpus, self.model, self.block, wanted)
        )
        before, total = int(sentences[writer.written].sum()), int(sentences.sum())
        self._follow(map_ahead(write, self._computed(blocks, dtype), 1), total, before)

    @property
    def _mine(self) -> slice:
        """The shard's among all blocks."""
        return slice(self.shard.index, None, self.shard.number)

    def _has(self, number: int) -> bool:
        """Whether a block is this process's, of this shard."""
        return self.shard.has(number) and self.own.has(number // self.shard.number)

    def _index(self, tokens: TokenRows | None) -> dict[str, np.ndarray]:
        """The datasets that say which rows are whose."""
        sentences = read_table(self.corpus, "corpus", ["id", "split"])
        index = {name: np.array(sentences[name].to_pylist(), dtype="S") for name in ("id", "split")}
        return index | (tokens.datasets if tokens else {})

    def _gather(self, writer: Writer) -> None:
        """Take in what the shards wrote."""
        for first, path in enumerate(self.parts):
            refuse_another(path, self.made)
            with reading_hdf5(path, "activations") as file:
                for place in range(len(file[WRITTEN]) if WRITTEN in file else 0):
                    number = place * len(self.parts) + first
                    rows = slice(place * self.block, (place + 1) * self.block)
                    if not writer.written[number]:
                        cut = None if self.model.position == "tokens" else file[CUT][rows]
                        writer.write(number, number * self.block, file[DATA][rows], cut)

    def exemplars(self, keep: int) -> None:
        """Write what is kept of the activations; only some blocks of them are ever held."""
        running = self._resumed(StreamingStats(len(self.model.layers) * self.model.neurons, keep))
        saved = time.monotonic()

        def wanted(number: int) -> bool:
            if number < running.next:
                return False
            # Every process needs the first block, which lays out the bins.
            return self._has(number) or (number == 0 and running.distribution is None)

        def add(computed: tuple[Block, np.ndarray]) -> int:
            nonlocal saved
            block, values = computed[0], computed[1].reshape(computed[0].rows, -1)
            if running.distribution is None:
                running.lay_out(values)
            if not self._has(block.number):
                return 0
            rows = block.number * self.block + np.arange(block.rows, dtype=np.int32)
            running.add(values, rows, block.halves, block.cut)
            running.next = block.number + 1
            if time.monotonic() - saved > SAVE:
                self._save(running, self._unfinished(self.own.index), {})
                saved = time.monotonic()
            return block.rows

        if self.parts:
            for path in self.parts:
                refuse_another(path, self.made)
        else:
            blocks = sentence_blocks(self.corpus, self.model, self.block, wanted)
            total = row_count(self.corpus, "corpus") // self.shard.number
            before = running.next // self.shard.number * self.block
            self._follow(map_ahead(add, self._computed(blocks, "float32"), 1), total, before)
        self._join(running)

    def _unfinished(self, index: int) -> Path:
        """What a process has of its share until all is done."""
        number = self.own.number
        return part_of(self.output.with_suffix(f".{index}-of-{number}.h5" if number > 1 else ".h5"))

    def _left(self) -> list[Path]:
        """What this run and those killed before it have here, of whatever number of processes."""
        stem = re.escape(self.output.stem)
        ours = re.compile(rf"\.?\.{stem}(\.\d+-of-\d+)?\.h5(\.part)?(\.\d+)?\.part")
        return [path for path in self.output.parent.iterdir() if ours.fullmatch(path.name)]

    def _resumed(self, running: StreamingStats) -> StreamingStats:
        path = self._unfinished(self.own.index)
        if path.exists():
            refuse_another(path, self.made)
            with reading_hdf5(path, "activations") as file:
                running.restore(file)
        return running

    def _save(self, running: StreamingStats, path: Path, names: dict[str, str]) -> None:
        with writing_hdf5(path, self.made) as file:
            file.attrs.update(names)
            for name, values in running.state().items():
                # Nearly all of it is 0.
                packed = {"compression": "gzip"} if name == CUT and len(values) else {}
                file.create_dataset(name, data=values, **packed)

    def _join(self, running: StreamingStats) -> None:
        """Write the file, out of all processes' shares."""
        others = [self._unfinished(index) for index in range(1, self.own.number)]
        if self.parts and self.own.main:
            with reading_hdf5(self.parts[0], "activations") as file:
                running.restore(file)
            others = list(self.parts[1:])
        if not self.own.main:
            self._save(running, self._unfinished(self.own.index), {})
        self.own.wait()
        if self.own.main:
            for path in others:
                with reading_hdf5(path, "activations") as file:
                    running.join(file)
            self._save(running, self.output, self.names)
            for path in self._left():
                path.unlink()

    def _computed(self, blocks: Iterator[Block], dtype: str) -> Iterator[tuple[Block, np.ndarray]]:
        return extract(self.model, blocks, self.batch_tokens, dtype)

    def _follow(self, done: Iterator[int], total: int, before: int) -> None:
        """Do the work, and tell how far it is; the other processes are thought to be as far."""
        so_far = before
        for sentences in done:
            so_far += sentences * self.own.number
            if self.own.main:
                self.progress("sentences", min(so_far, total), total)
