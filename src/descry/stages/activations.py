"""Stage activations: corpus -> activations.h5, the matrix or only what exemplars need."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from descry.activations.extraction import (
    Block,
    TokenRows,
    draw_sample,
    extract,
    extract_firings,
    extract_peak_firings,
    extract_peaks,
    sentence_blocks,
    token_rows,
)
from descry.activations.outputs import Output, matrix_output, stats_output
from descry.activations.positions import (
    MaximaStats,
    PositionStats,
    SparseMaximaStats,
    SparsePositionStats,
)
from descry.activations.store import TOKENS, Layout
from descry.activations.streaming import RunningStats, SparseStats, StreamingStats
from descry.activations.truncation import read_cut
from descry.io.hashing import JSON
from descry.io.hdf5 import writing_hdf5
from descry.io.parquet import read_table, row_count
from descry.io.prefetch import map_ahead
from descry.io.provenance import provenance
from descry.io.section import Count, Section, Seed, crossed
from descry.io.sharding import WHOLE, Shard
from descry.models.checkpoints import Checkpoint, quantized
from descry.models.devices import lacks_bfloat16
from descry.models.dictionaries.dictionary import Dictionary
from descry.models.hooked_model import HookedModel
from descry.models.kinship import made_from
from descry.models.spec import Model, Pinned, Site

PACKAGES = ["h5py", "numpy", "tokenizers", "torch", "transformers"]
_NAMES = ("weights", "tokenizer", "site", "position", "layers", "max_tokens", "sinks")
Progress = Callable[[str, int, int], None]


class Activations(Section):
    """The activations of the target model for every sentence (section 4.1)."""

    target: Model
    unit: Literal["sentence", "token"]
    peaks: Annotated[int, Field(ge=1, le=64)]
    sample: Annotated[int, Field(ge=100)]
    seed: Seed
    site: Site
    position: Literal["cls", "last", "mean", "max", "tokens"]
    sinks: Seed | None
    layers: Annotated[list[Seed], Field(min_length=1)] | None
    dictionary: Pinned | None
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
        if self.unit == "token":
            if (self.store, self.position) != ("exemplars", "tokens"):
                raise crossed(
                    "activations.unit token: every token has an activation, and the strongest are"
                    " kept: set activations.position to tokens and activations.store to exemplars"
                )
        elif (self.store, self.position) == ("exemplars", "tokens"):
            raise crossed(
                "activations.store exemplars needs one activation per sentence: a position other"
                " than tokens, or activations.unit token"
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
    and `token` say which, `start` and `length` where each sentence's are. At position `max` dataset
    `at` says at which token each activation is. With store `exemplars`: the state of
    `StreamingStats`. Dataset `cut` int32 [sentence] says how many tokens of each the model has not
    seen; attribute `max_tokens`, how many the model sees. A run resumes what a killed run
    left.

    With store `exemplars` and position `max` or unit `token`, leaders are positions
    (`positions.codes`): the state of `MaximaStats` or `PositionStats`, or of their sparse kin.

    Args:
        untrained: the seed of random weights in place of the trained ones.
        shard: the blocks to compute; one of several shards writes a file of only these blocks.
        parts: the files of all shards, in the order of the shards: nothing is computed then.

    Raises:
        InputError: the model has no such site; an unfinished file of another run is in the way; or
            the disk is full.
    """
    checkpoint, block = Checkpoint(**params.target.model_dump()), params.block
    dictionary = Dictionary(**params.dictionary.model_dump()) if params.dictionary else None
    model = HookedModel(
        checkpoint,
        site=params.site,
        position=params.position,
        layers=params.layers,
        dtype=params.dtype,
        device="cpu" if parts else params.device,
        max_tokens=params.max_tokens,
        sinks=params.sinks,
        untrained=untrained,
        dictionary=dictionary,
    )
    section = params.model_dump() | ({} if untrained is None else {"untrained": untrained})
    made = provenance("activations", section, [corpus], PACKAGES) | {
        "weights": checkpoint.weights,
        **quantized(checkpoint),
        "made_from": made_from(checkpoint.folder),
        "tokenizer": model.tokenizer_sha256,
        "site": params.site,
        "position": params.position,
        "layers": model.layers,
        "max_tokens": model.max_tokens,
        "sinks": model.sinks if params.position in ("mean", "max") else 0,
        **({"dictionary": dictionary.record(model.coders)} if dictionary else {}),
    }
    sentences = row_count(corpus, "corpus")
    counts: dict[str, Any] = {"sentences": sentences, "layers": len(model.layers)}
    counts |= {f"{model.kind}s": model.neurons, "most tokens": model.max_tokens, "sentences cut": 0}
    if model.max_tokens < params.max_tokens:
        all_of_it = f"(all that the model takes, not {params.max_tokens})"
        counts["most tokens"] = f"{model.max_tokens} {all_of_it}"
    warnings = list(dict.fromkeys(one.doubt for one in model.coders.values() if one.doubt))
    if params.dtype == "bfloat16" and not parts and lacks_bfloat16(model.device):
        warnings.append("this processor has no bfloat16: activations.dtype float32 is faster")
    if warnings:
        counts["warnings"] = warnings
    of_positions = params.unit == "token"
    every_token = params.position == "tokens" and not of_positions
    tokens = token_rows(corpus, model, block) if every_token else None
    rows = len(tokens.datasets["token"]) if tokens else sentences
    sizes = np.diff([*range(0, rows, block), rows])
    own = [number for number in range(len(sizes)) if shard.has(number)]
    if params.store == "matrix" and not own:  # more shards than blocks
        with writing_hdf5(activations, made):
            return counts
    opened: AbstractContextManager[Output]
    names, shape = _attributes(made), (len(model.layers), model.neurons)
    if params.store == "matrix":
        places = "uint16" if model.max_tokens < 2**16 else "int32"
        at = places if params.position == "max" else None
        layout = Layout(int(sizes[own].sum()), *shape, params.store_dtype, block, at)
        index = _index(corpus, tokens, shard)
        opened = matrix_output(activations, made, names, layout, index, shard)
        kept = params.store_dtype
    else:
        number, sample = shape[0] * shape[1], np.zeros(0, dtype=np.int64)
        stats: RunningStats[Any]
        if of_positions:
            sample = draw_sample(corpus, model, params.sample, params.seed)
            counts |= {"sampled positions": len(sample)}
            of = SparsePositionStats if model.sparse else PositionStats
            stats = of(number, params.keep, sample)
        elif params.position == "max":
            stats = (SparseMaximaStats if model.sparse else MaximaStats)(number, params.keep)
        else:
            stats = (SparseStats if model.sparse else StreamingStats)(number, params.keep)
        opened, kept = stats_output(activations, made, names, stats, block, shard), "float32"
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
            computed: Iterator[tuple[Block, Any]]
            if of_positions:
                peaks = extract_peak_firings if file.sparse else extract_peaks
                computed = peaks(model, blocks, params.batch_tokens, params.peaks, sample)
            elif file.sparse:
                computed = extract_firings(model, blocks, params.batch_tokens)
            else:
                computed = extract(model, blocks, params.batch_tokens, kept)
            _write(file, computed, {number: texts[number] for number in own}, progress)
    counts["sentences cut"] = int(np.count_nonzero(read_cut(activations).tokens))
    return counts


def _write(
    file: Output,
    computed: Iterator[tuple[Block, Any]],
    texts: dict[int, int],
    progress: Progress,
) -> None:
    """Write blocks while the next are computed.

    Args:
        texts: how many sentences each of the shard's blocks has, by the block's number.
    """
    total = sum(texts.values())
    done = total - sum(number for block, number in texts.items() if file.wants(block))

    def write(found: tuple[Block, Any]) -> int:
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
    index = {TOKENS: tokens.datasets[TOKENS]} if tokens else {}
    if shard == WHOLE:
        table = read_table(corpus, "corpus", ["id", "split"])
        index |= {name: np.array(table[name].to_pylist(), dtype="S") for name in ("id", "split")}
        index |= tokens.datasets if tokens else {}
    return index
