"""Stage activations: corpus -> activations.h5, the matrix or what the exemplars need of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from descry.activations.extraction import Block, TokenRows, extract, sentence_blocks, token_rows
from descry.activations.outputs import Output, matrix_output, stats_output
from descry.activations.store import CUT, Layout
from descry.activations.streaming import StreamingStats
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5, writing_hdf5
from descry.io.parquet import read_table, row_count
from descry.io.prefetch import map_ahead
from descry.io.provenance import provenance
from descry.io.sharding import WHOLE, Shard
from descry.models.checkpoints import Checkpoint
from descry.models.hooked_model import HookedModel, Position

PACKAGES = ["h5py", "numpy", "tokenizers", "torch", "transformers"]
_NAMES = ("weights", "tokenizer", "site", "position", "layers", "max_tokens")
Progress = Callable[[str, int, int], None]


def run(
    corpus: Path,
    output: Path,
    *,
    section: dict[str, Any],
    target: dict[str, Any],
    site: str,
    position: Position,
    layers: Sequence[int] | None,
    dtype: str,
    device: str,
    max_tokens: int,
    batch_tokens: int,
    block: int,
    store: Literal["matrix", "exemplars"],
    store_dtype: str,
    keep: int,
    progress: Progress,
    untrained: int | None = None,
    shard: Shard = WHOLE,
    parts: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write activations.h5, or a shard of it.

    With store `matrix`: dataset `activations` [sentence, layer, neuron], rows in the order of the
    corpus, and `id`, `split` of the sentences. At position `tokens` a row is a token: `sentence`
    and `token` say which, `start` and `length` where each sentence's are. With store `exemplars`:
    the state of `StreamingStats`. Dataset `cut` int32 [sentence] says how many tokens of each the
    model has not seen; attribute `max_tokens`, how many the model sees. A run goes on with what a
    killed run left.

    Args:
        untrained: the seed of random weights in the place of the trained ones.
        shard: the blocks that are computed; one of several shards writes a file of them alone.
        parts: the files of all shards, in the order of the shards: nothing is computed then.

    Raises:
        InputError: the model has no such site, an unfinished file is another's, or a full disk.
    """
    checkpoint = Checkpoint(**target)
    model = HookedModel(
        checkpoint,
        site=site,
        position=position,
        layers=layers,
        dtype=dtype,
        device="cpu" if parts else device,
        max_tokens=max_tokens,
        untrained=untrained,
    )
    made = provenance("activations", section, [corpus], PACKAGES) | {
        "weights": checkpoint.weights,
        "tokenizer": model.tokenizer_sha256,
        "site": site,
        "position": position,
        "layers": model.layers,
        "max_tokens": model.max_tokens,
    }
    sentences = row_count(corpus, "corpus")
    counts: dict[str, Any] = {"sentences": sentences, "layers": len(model.layers)}
    counts |= {"neurons": model.neurons, "most tokens": model.max_tokens, "sentences cut": 0}
    if model.max_tokens < max_tokens:
        counts["most tokens"] = f"{model.max_tokens} (all that the model takes, not {max_tokens})"
    tokens = token_rows(corpus, model, block) if position == "tokens" else None
    rows = len(tokens.datasets["token"]) if tokens else sentences
    sizes = np.diff([*range(0, rows, block), rows])
    own = [number for number in range(len(sizes)) if shard.has(number)]
    if store == "matrix" and not own:  # more shards than blocks
        with writing_hdf5(output, made):
            return counts
    opened: AbstractContextManager[Output]
    names, shape = _attributes(made), (len(model.layers), model.neurons)
    if store == "matrix":
        layout = Layout(int(sizes[own].sum()), *shape, store_dtype, block)
        index = _index(corpus, tokens, shard)
        opened, kept = matrix_output(output, made, names, layout, index, shard), store_dtype
    else:
        stats = StreamingStats(shape[0] * shape[1], keep)
        opened, kept = stats_output(output, made, names, stats, block, shard), "float32"
    with opened as file:
        if parts:
            file.gather(parts)
        else:
            blocks = (
                (part for part in tokens.blocks if file.wants(part.number))
                if tokens
                else sentence_blocks(corpus, model, block, file.wants)
            )
            texts = [len(part.tokens) for part in tokens.blocks] if tokens else sizes.tolist()
            computed = extract(model, blocks, batch_tokens, kept)
            _write(file, computed, {number: texts[number] for number in own}, progress)
    with reading_hdf5(output, "activations") as written:
        counts["sentences cut"] = int(np.count_nonzero(written[CUT][:]))
    return counts


def _write(
    file: Output,
    computed: Iterator[tuple[Block, np.ndarray]],
    texts: dict[int, int],
    progress: Progress,
) -> None:
    """Write blocks while the next are computed.

    Args:
        texts: how many sentences each of the shard's blocks has, by the block's number.
    """
    total = sum(texts.values())
    done = total - sum(number for block, number in texts.items() if file.wants(block))

    def write(found: tuple[Block, np.ndarray]) -> int:
        file.add(*found)
        return texts.get(found[0].number, 0)

    for number in map_ahead(write, computed, 1):
        done += number
        progress("sentences", done, total)


def _attributes(made: JSON) -> dict[str, Any]:
    """The attributes of the file beside `descry`, for readers with plain h5py."""
    params = made["params"]
    (corpus,) = made["inputs"].values()
    return {
        "model": params["target"]["model"],
        "revision": params["target"]["revision"],
        "dtype": params["dtype"],
        "corpus": corpus,
    } | {name: made[name] for name in _NAMES}


def _index(corpus: Path, tokens: TokenRows | None, shard: Shard) -> dict[str, np.ndarray]:
    """The datasets of the matrix that say which rows are whose; a shard's file goes without."""
    index = {CUT: tokens.datasets[CUT]} if tokens else {}
    if shard == WHOLE:
        table = read_table(corpus, "corpus", ["id", "split"])
        index |= {name: np.array(table[name].to_pylist(), dtype="S") for name in ("id", "split")}
        index |= tokens.datasets if tokens else {}
    return index
