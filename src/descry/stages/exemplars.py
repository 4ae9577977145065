"""Stage exemplars: corpus and activations -> exemplars.h5 (section 3.3)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from descry.activations.exemplar_files import (
    BOTTOM_GROUP,
    QUANTILE_GROUP,
    QUANTILES,
    exemplar_group,
    read_positions,
)
from descry.activations.histogram import Distribution
from descry.activations.position_table import word_places, write_positions
from descry.activations.positions import (
    SAMPLE,
    SampleMatrix,
    codes,
    located,
    sentence_of,
    token_of,
)
from descry.activations.sparse import Firings, SparseDistribution
from descry.activations.store import AT, DATA, TOKENS, neuron_blocks, read_block, transposed
from descry.activations.streaming import (
    has_lowest,
    kept_leaders,
    read_distribution,
    read_leaders,
)
from descry.activations.top_k import (
    BOTTOM,
    ENDS,
    HIGHEST,
    LOWEST,
    NOBODY,
    REASONS,
    bottom,
    exemplar_sets,
    exemplar_size,
    leaders,
    merged,
    never_changes,
    reasons,
)
from descry.corpus.splits import HALVES
from descry.corpus.units import read_split_rows
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.hdf5 import dataset, hdf5_provenance, reading_hdf5, writing_hdf5
from descry.io.prefetch import cores, map_ahead
from descry.io.provenance import provenance, recorded
from descry.io.readable import MalformedError
from descry.io.section import Count, Section
from descry.models.checkpoints import Checkpoint
from descry.models.hooked_model import position_tokenizer
from descry.stages.activations import Activations

if TYPE_CHECKING:
    import h5py

PACKAGES = ["h5py", "numpy"]
MEMORY = 2**29  # bytes of activations held at a time, whatever the number of cores
CHUNK = 2**18  # bytes of a packed dataset that are read together
_HELD = 32  # bytes of a leader while sets are made of it
_SMALLER = "smaller sets"
_NO_WORD = np.full((1, 2), NOBODY, dtype=np.int32)
Found = tuple[np.ndarray, np.ndarray]  # rows and values [neurons, any]; those of lowest negated
Leading = dict[tuple[str, str], Found]  # by half and end


class Part(NamedTuple):
    """Some neurons of a layer: the leaders of each half, the bottom, and the distribution.

    Leaders and bottom are one more than a set has places, if there are as many sentences.
    """

    layer: int
    columns: slice
    leading: Leading
    bottom: Found
    distribution: Distribution | SparseDistribution


class Exemplars(Section):
    """The sentences that excite a neuron most, and least (section 3.3)."""

    top_percent: Annotated[float, Field(gt=0, le=50)]
    min_size: Count
    window: Count
    lowest: bool


def select_exemplars(
    params: Exemplars,
    extraction: Activations,
    *,
    corpus: Path,
    activations: Path,
    untrained: Path | None = None,
    exemplars: Path,
    positions: Path | None = None,
    made: JSON | None = None,
) -> dict[str, int]:
    """Write the exemplar sets, a group per split (all, calibration, validation).

    Datasets of a group: `row` int32 [layer, neuron, exemplar], the rows of the corpus, highest
    activation first, -1 behind the end of a smaller set; `activation` float32 of the same shape,
    NaN there. With `lowest`, group `lowest` has the same for the lowest, lowest first. Group
    `bottom` has the ten lowest of the whole corpus, to look at; none of latents. Group
    `distribution` holds `Distribution.summary` [layer, neuron]. Dataset `layer` says which layers
    of the model they are, and `tokens` int32 [sentence] how many tokens each sentence has.

    With position `max` a group has `token` int32 of the shape of `row`, at which of the sentence's
    tokens each activation is, and `word` int32 [layer, neuron, exemplar, 2], the first character of
    that token's word and the one behind its last; -1 where it is no part of the text.

    With unit `token` the sets are of positions, and rows are those of `positions`: the positions of
    all sets, of the untrained copy's, and of the sample. Group `quantiles` has the positions of the
    sample at `QUANTILES` of each neuron's activations. Without `positions`, rows are codes.

    Args:
        extraction: the section of the activations, whose tokenizer shows positions.
        untrained: the sets of the untrained copy, whose rows are codes: read with unit `token`.
        positions: the file of positions to write (see `position_table`).
        made: what made the file, if it is not just this stage from these files.
    """
    min_size = params.min_size
    splits = read_split_rows(corpus)
    sizes = {
        name: exemplar_size(len(rows), params.top_percent, min_size)
        for name, rows in splits.items()
    }
    ends = ENDS if params.lowest else (HIGHEST,)
    with ExitStack() as stack:
        source = stack.enter_context(reading_hdf5(activations, "activations"))
        origin = _origin(source)
        of_positions = SAMPLE in source
        if positions is not None and not of_positions:
            raise InputError(f"{activations}: not of positions: run `descry stage activations`")
        read = [corpus, activations, *([untrained] if untrained else [])]
        if made is None:
            made = provenance("exemplars", params.model_dump(), read, PACKAGES)
        if "dictionary" in origin:
            made = made | {"dictionary": origin["dictionary"]}
        _check(origin, activations, made["inputs"][recorded(corpus)])
        neurons, placed = _width(source, origin), origin["position"] == "max"
        if placed and DATA in source and AT not in source:
            raise InputError(
                f"{activations}: does not say where the maxima are: run `descry stage activations`"
                " again"
            )

        def parts() -> Iterator[Part]:
            if DATA in source:
                block = origin["params"]["block"]
                sparse = origin.get("dictionary", {}).get("kind") == "latent"
                return _of_matrix(source, splits, sizes["all"] + 1, ends, block, sparse)
            return _of_state(source, neurons, splits, sizes["all"], ends)

        tokens = dataset(source, TOKENS, (None,), "iu")[:]
        table, shape = None, (len(origin["layers"]), neurons)
        if positions is not None or placed:
            of_sets = _rows(_results(part, ends, sizes, min_size) for part in parts())
            tokenizer, before = position_tokenizer(Checkpoint(**extraction.target.model_dump()))
        if placed:
            words = word_places(corpus, tokenizer, before, of_sets)
        if positions is not None:
            sample = dataset(source, f"{SAMPLE}/position", (None,), "i")[:]
            matrix = SampleMatrix(source, shape[0])
            of_copy = read_positions(untrained) if untrained else sample[:0]
            table = np.unique(np.concatenate([sample, of_sets, of_copy]))
            tokens = tokens[sentence_of(table)]
            how = tokenizer, before, table, sample, params.window
            write_positions(positions, corpus, *how, made)
        file = stack.enter_context(writing_hdf5(exemplars, made))
        file.create_dataset(TOKENS, data=tokens)
        file.create_dataset("layer", data=np.array(origin["layers"], dtype="int32"))
        without: Counter[str] = Counter()
        for part in parts():
            found = _results(part, ends, sizes, min_size)
            if table is not None:
                found = chain(found, _at_quantiles(matrix, sample, part))
            if placed:
                found = _with_words(found, of_sets, words)
            for name, values in found:
                if table is not None and name.endswith("/row"):
                    values = located(values, table)
                if name not in file:
                    _create(file, name, shape + values.shape[1:], values, "dictionary" in origin)
                file[name][part.layer, part.columns] = values
                if name == "all/row":
                    without.update(_without(part.distribution, values))
    counts = {"neurons": shape[0] * neurons}
    counts |= {f"{name} set": size for name, size in sizes.items()}
    counts |= {} if table is None else {"positions": len(table)}
    return counts | {name: without[name] for name in (*REASONS, _SMALLER) if without[name]}


def _width(source: "h5py.File", origin: JSON) -> int:
    """How many neurons a layer has."""
    if DATA in source:
        return int(source[DATA].shape[2])
    return len(read_distribution(source).counts) // len(origin["layers"])


def _rows(parts: "Iterator[Iterator[tuple[str, np.ndarray]]]") -> np.ndarray:
    """The rows that are in any set, each once."""
    found = [np.zeros(0, dtype=np.int64)]
    for part in parts:
        found += [np.unique(values) for name, values in part if name.endswith("/row")]
    every = np.unique(np.concatenate(found))
    return np.asarray(every[every != NOBODY])


def _with_words(
    found: Iterator[tuple[str, np.ndarray]], positions: np.ndarray, words: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Sentences, tokens and words in place of positions.

    Args:
        positions: int64, codes, ascending.
        words: int32 [positions, 2], the characters of each one's word.
    """
    for name, values in found:
        if not name.endswith("/row"):
            yield name, values
            continue
        nobody, group = values == NOBODY, name.removesuffix("row")
        yield name, sentence_of(values).astype(np.int32)  # that of NOBODY is NOBODY
        yield f"{group}token", np.where(nobody, NOBODY, token_of(values)).astype(np.int32)
        # NOBODY is located at NOBODY: the last.
        yield f"{group}word", np.append(words, _NO_WORD, axis=0)[located(values, positions)]


def _at_quantiles(
    sample: SampleMatrix, positions: np.ndarray, part: Part
) -> Iterator[tuple[str, np.ndarray]]:
    """The positions of the sample at `QUANTILES` of each neuron's activations, lowest first."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    ranks = np.round(np.array(QUANTILES) * (len(positions) - 1)).astype(int)
    for start in range(part.columns.start, part.columns.stop, sample.chunks[2]):
        stop = min(start + sample.chunks[2], part.columns.stop)
        values = sample[:, part.layer, slice(start, stop)]
        chosen = np.argsort(values, axis=0, kind="stable")[ranks].T
        found.append((positions[chosen], np.take_along_axis(values.T, chosen, axis=1)))
    rows, activations = map(np.concatenate, zip(*found, strict=True))
    yield f"{QUANTILE_GROUP}/row", rows
    yield f"{QUANTILE_GROUP}/activation", activations


def _create(
    file: "h5py.File", name: str, shape: tuple[int, ...], values: np.ndarray, packed: bool
) -> None:
    """A dataset that values of some neurons go into; of latents, which have many gaps, packed."""
    row = int(values[:1].nbytes)
    chunks = 1, max(1, min(shape[1], CHUNK // max(1, row))), *shape[2:]
    how = {"chunks": chunks, "compression": "gzip", "shuffle": True} if packed else {}
    file.create_dataset(name, shape, values.dtype, **how)


def _without(distribution: Distribution | SparseDistribution, rows: np.ndarray) -> Iterator[str]:
    """Why neurons have no set in the whole corpus, and which have a smaller one."""
    sizes = np.count_nonzero(rows != NOBODY, axis=1)
    why = reasons(distribution.summary(), distribution.number, rows.shape[1], HIGHEST)
    yield from (REASONS[reason] for reason in why[sizes == 0])
    yield from [_SMALLER] * int(((sizes > 0) & (sizes < rows.shape[1])).sum())


def _origin(file: "h5py.File") -> JSON:
    """What made the activations, as far as it is looked at here."""
    match made := hdf5_provenance(file):
        case {"inputs": dict(), "position": str(), "layers": list(), "params": {"block": int()}}:
            return made
    raise MalformedError("it does not say what made it")


def _check(origin: Any, activations: Path, corpus: str) -> None:
    if corpus not in origin["inputs"].values():
        raise InputError(f"{activations}: not of this corpus: run `descry stage activations` again")
    if origin["position"] == "tokens" and origin["params"].get("unit") != "token":
        raise InputError(
            f"{activations}: exemplars need one activation per sentence, and these are of every"
            " token (activations.position)"
        )


def _of_matrix(
    source: "h5py.File",
    splits: dict[str, np.ndarray],
    size: int,
    ends: Sequence[str],
    slab: int,
    sparse: bool,
) -> Iterator[Part]:
    """Read blocks of neurons over all sentences, and select in as many threads as cores.

    With position `max` the rows of leaders are codes of positions.
    """
    threads, data = cores(), source[DATA]
    # Held at a time: those being worked on, turned and copied, one that waits and one being read.
    most = MEMORY // (3 * (threads + 2))

    def read() -> Iterator[tuple[int, slice, np.ndarray, np.ndarray | None]]:
        for layer, columns in neuron_blocks(data, most):
            at = read_block(source[AT], layer, columns).T if AT in source else None
            yield layer, columns, read_block(data, layer, columns), at

    def select(block: tuple[int, slice, np.ndarray, np.ndarray | None]) -> Part:
        layer, columns, values, at = block
        values = values.astype(np.float32, copy=False)
        # Slab by slab in the order of rows: sums as those of a running state, to the last digit.
        distribution = _distribution(values, slab, sparse)
        columns_first = transposed(values)
        leading: Leading = {}
        for half in HALVES:
            part = columns_first[:, splits[half]]
            for end in ends:
                rows, found = leaders(part if end == HIGHEST else -part, size)
                leading[half, end] = splits[half].astype(np.int32)[rows], found
        some = _no_bottom(len(columns_first)) if sparse else bottom(columns_first, BOTTOM + 1)
        if at is not None:
            leading = {name: _placed(of, at) for name, of in leading.items()}
            some = some if sparse else _placed(some, at)
        return Part(layer, columns, leading, some, distribution)

    return map_ahead(select, read(), threads)


def _placed(found: Found, at: np.ndarray) -> Found:
    """Positions in place of sentences: `at` int [neurons, sentences] are their tokens."""
    rows, values = found
    return codes(rows, np.take_along_axis(at, rows, axis=1)), values


def _distribution(values: np.ndarray, slab: int, sparse: bool) -> Distribution | SparseDistribution:
    """The distribution of activations [sentences, neurons], added chunk by chunk."""
    slabs = (values[start : start + slab] for start in range(0, len(values), slab))
    if sparse:
        found = SparseDistribution.of(values.shape[1])
        for part in slabs:
            found.add(Firings.of(part, np.arange(len(part)), len(part)))
        return found
    around = Distribution.around(values[:slab])
    for part in slabs:
        around.add(part)
    return around


def _of_state(
    state: "h5py.File",
    neurons: int,
    splits: dict[str, np.ndarray],
    size: int,
    ends: Sequence[str],
) -> Iterator[Part]:
    """Leaders and distributions that were kept while the activations went by."""
    width = kept_leaders(state)
    keep = width - 1
    if keep < min(size, max(len(splits[half]) for half in HALVES)):
        raise InputError(
            f"exemplars.top_percent: sets of {size} sentences are asked for, but {keep} were kept"
            " (activations.keep): raise the one or lower the other"
        )
    whole = read_distribution(state)
    both = {*ends, LOWEST} if has_lowest(state) else {HIGHEST}
    if absent := {*ends} - both:
        raise InputError(
            f"exemplars.lowest: with activations.store exemplars no {min(absent)} activations of"
            " latents are kept, which are 0 for most: set it to false, or store to matrix"
        )
    step = min(neurons, max(1, MEMORY // (_HELD * width * len(both) * len(HALVES))))
    for layer in range(len(whole.counts) // neurons):
        for start in range(0, neurons, step):
            columns = slice(start, min(start + step, neurons))
            span = slice(layer * neurons + columns.start, layer * neurons + columns.stop)
            leading: Leading = {}
            for half in HALVES:
                places = min(width, len(splits[half]))
                for end in both:
                    rows, values = read_leaders(state, half, end, span)
                    leading[half, end] = rows[:, :places], values[:, :places]
            lowest = (
                merged([leading[half, LOWEST] for half in HALVES], BOTTOM + 1)
                if LOWEST in both
                else _no_bottom(columns.stop - columns.start)
            )
            yield Part(layer, columns, leading, lowest, whole.part(span))


def _no_bottom(neurons: int) -> Found:
    """Of latents, which are 0 at the bottom, on most sentences alike."""
    shape = neurons, BOTTOM + 1
    return np.full(shape, NOBODY, np.int32), np.zeros(shape, np.float32)


def _results(
    part: Part, ends: Sequence[str], sizes: dict[str, int], min_size: int
) -> Iterator[tuple[str, np.ndarray]]:
    """The datasets of exemplars.h5 with a part's values, neurons first."""
    still = never_changes(part.distribution.lowest, part.distribution.highest)
    for end in ends:
        halves = [part.leading[half, end] for half in HALVES]
        leading = dict(zip(HALVES, halves, strict=True)) | {"all": merged(halves, sizes["all"] + 1)}
        for split, size in sizes.items():
            rows, values = exemplar_sets(*leading[split], still, size, min_size)
            group = exemplar_group(split, end)
            yield f"{group}/row", rows
            yield f"{group}/activation", values * (1 if end == HIGHEST else -1)
    rows, values = exemplar_sets(*part.bottom, still, BOTTOM, 1)
    yield f"{BOTTOM_GROUP}/row", rows
    yield f"{BOTTOM_GROUP}/activation", -values
    for name, values in part.distribution.summary().items():
        yield f"distribution/{name}", values
