"""exemplars.h5 as arrays."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from descry.activations.positions import codes, located, sentence_of
from descry.activations.store import TOKENS
from descry.activations.top_k import ENDS, HIGHEST, LOWEST, REASONS, in_words, reasons
from descry.corpus.splits import HALVES, SPLITS
from descry.errors import InputError
from descry.io.hdf5 import dataset, hdf5_provenance, names, reading_hdf5, writing_hdf5
from descry.io.number_format import PLACES, fixed, places
from descry.io.parquet import read_table
from descry.io.readable import MalformedError
from descry.models.neurons import Neurons

if TYPE_CHECKING:
    import h5py


_MEMBERS = 2**20  # of sets that are thinned at a time
BOTTOM_GROUP = "bottom"  # of exemplars.h5: the lowest few of every neuron, to look at
QUANTILE_GROUP = "quantiles"  # a group, too: with unit `token`, positions at these quantiles
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995)


def exemplar_group(split: str, end: str) -> str:
    """The group of exemplars.h5 with a split's sets at one end."""
    return split if end == HIGHEST else f"{end}/{split}"


def has_exemplars(path: Path) -> bool:
    """Whether a file has exemplar sets: untrained.h5 has none where that null is not enabled."""
    with reading_hdf5(path, "untrained") as file:
        return exemplar_group("all", HIGHEST) in file


def read_ends(path: Path) -> tuple[str, ...]:
    """The ends that exemplars.h5 has sets of."""
    with reading_hdf5(path, "exemplars") as file:
        return tuple(end for end in ENDS if exemplar_group("all", end) in file)


def read_neurons(path: Path) -> Neurons:
    """The neurons of exemplars.h5."""
    with reading_hdf5(path, "exemplars") as file:
        return _neurons(file)


def read_positions(path: Path) -> np.ndarray:
    """The codes of the positions that are in any set of an untrained copy: int64, ascending."""
    with reading_hdf5(path, "untrained") as file:
        if exemplar_group("all", HIGHEST) not in file:
            return np.zeros(0, dtype=np.int64)
        groups = [group for group, _ in _row_groups(file)]
        found = np.unique(np.concatenate([np.unique(file[f"{g}/row"][:]) for g in groups]))
    return np.asarray(found[found >= 0])


@contextmanager
def at_rows(path: Path, units: Path) -> Iterator[Path]:
    """The sets of an untrained copy, with rows of what is labelled.

    With unit `token` the copy's file has codes in their place.

    Args:
        units: corpus.parquet or positions.parquet.
    """
    import h5py

    with reading_hdf5(path, "untrained") as file:
        coded = any(rows.dtype == np.int64 for _, rows in _row_groups(file))
    if not coded:
        yield path
        return
    columns = read_table(units, "exemplars", ["sentence", "token"])
    table = codes(*(np.array(columns[name]) for name in ("sentence", "token")))
    with TemporaryDirectory() as folder, reading_hdf5(path, "untrained") as file:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as changed:
            for group, rows in _row_groups(file):
                del changed[f"{group}/row"]
                changed.create_dataset(f"{group}/row", data=located(rows[:], table))
            del changed[TOKENS]
            changed.create_dataset(TOKENS, data=file[TOKENS][:][sentence_of(table)])
        yield copy


def thinned_exemplars(path: Path, part: Path, rows: np.ndarray) -> None:
    """Write the sets that are left where a corpus has some of its rows, without their activations.

    Args:
        rows: of the corpus, int64, ascending; they count from 0 in the part.
    """
    with reading_hdf5(path, "exemplars") as file, writing_hdf5(part, hdf5_provenance(file)) as copy:
        if exemplar_group("all", HIGHEST) not in file:
            return
        copy["layer"], copy[TOKENS] = file["layer"][:], file[TOKENS][:][rows]
        for group, sets in _row_groups(file):
            copy[f"{group}/row"] = _left(sets, rows)


def _left(sets: "h5py.Dataset", rows: np.ndarray) -> np.ndarray:
    """The members that are left, in their order, as numbers among `rows`."""
    layers, width, size = sets.shape
    step = max(1, _MEMBERS // max(1, size))
    blocks = []
    for layer in range(layers):
        for start in range(0, width, step):
            own = sets[layer, start : start + step]
            at = np.minimum(np.searchsorted(rows, own), len(rows) - 1)
            left = rows[at] == own
            most = int(left.sum(axis=1).max(initial=0))
            order = np.argsort(~left, axis=1, kind="stable")[:, :most]
            kept = np.where(left, at, -1).astype(np.int32)
            blocks.append(np.take_along_axis(kept, order, axis=1))
    most = max(1, *(block.shape[1] for block in blocks))
    padded = [np.pad(b, ((0, 0), (0, most - b.shape[1])), constant_values=-1) for b in blocks]
    return np.concatenate(padded).reshape(layers, width, most)


def _row_groups(file: "h5py.File") -> list[tuple[str, "h5py.Dataset"]]:
    """The groups with sets, and the rows of each."""
    names = [exemplar_group(split, end) for split in SPLITS for end in ENDS]
    return [(g, file[f"{g}/row"]) for g in (*names, BOTTOM_GROUP) if f"{g}/row" in file]


def _neurons(file: "h5py.File") -> Neurons:
    layers = tuple(dataset(file, "layer", (None,), "iu")[:].tolist())
    _, width, _ = dataset(file, "all/row", (len(layers), None, None), "iu").shape
    return Neurons(layers, width)


def _rows(file: "h5py.File", group: str) -> "h5py.Dataset":
    """The rows of the corpus in a group's sets: [layers, neurons, size]."""
    neurons = _neurons(file)
    return dataset(file, f"{group}/row", (len(neurons.layers), neurons.width, None), "iu")


def _activations(file: "h5py.File", group: str) -> "h5py.Dataset":
    """The activations of a group's sets, of the shape of `_rows`."""
    return dataset(file, f"{group}/activation", _rows(file, group).shape, "f")


def _words(file: "h5py.File", group: str) -> "h5py.Dataset":
    """Where the words of a group's maxima are: [layers, neurons, size, 2]."""
    return dataset(file, f"{group}/word", (*_rows(file, group).shape, 2), "i")


def _distribution(file: "h5py.File") -> dict[str, "h5py.Dataset"]:
    """Datasets by what they tell of each neuron: [layers, neurons] or [layers, neurons, bins]."""
    neurons = _neurons(file)
    shape = len(neurons.layers), neurons.width
    found = {name: file[f"distribution/{name}"] for name in names(file, "distribution")}
    for name, values in found.items():
        if getattr(values, "shape", ())[:2] != shape:
            raise MalformedError(f"dataset distribution/{name} is of another shape")
    return found


def read_exemplars(path: Path, split: str, end: str = HIGHEST) -> np.ndarray:
    """The exemplar sets of a split: int32 [layers, neurons, size], rows of the corpus.

    Behind the end of a set that is smaller than others is -1, and nothing else where there is none.
    """
    with reading_hdf5(path, "exemplars") as file:
        return np.asarray(_rows(file, exemplar_group(split, end))[:])


def read_exemplar_block(path: Path, split: str, end: str, layer: int, neurons: slice) -> np.ndarray:
    """The sets of some neurons of the layer in that row: int32 [neurons, size]."""
    with reading_hdf5(path, "exemplars") as file:
        return np.asarray(_rows(file, exemplar_group(split, end))[layer, neurons])


def exemplar_blocks(path: Path, split: str, end: str, members: int) -> Iterator[np.ndarray]:
    """The exemplar sets of a split, some neurons of a layer at a time: int32 [neurons, size].

    Args:
        members: rows of the corpus to read at a time, about.
    """
    with reading_hdf5(path, "exemplars") as file:
        layers, width, size = _rows(file, exemplar_group(split, end)).shape
    step = max(1, members // max(1, size))
    for layer in range(layers):
        for start in range(0, width, step):
            yield read_exemplar_block(path, split, end, layer, slice(start, start + step))


@dataclass(frozen=True)
class Silent:
    """The neurons that have no set of the whole corpus at one end.

    Attributes:
        words: why not, by the neuron's number over all layers.
        counts: of the neurons, by reason (exemplars.REASONS).
    """

    words: dict[int, str]
    counts: dict[str, int]


def read_tokens(path: Path) -> np.ndarray:
    """Read how many tokens each sentence of the corpus has: int32 [sentences]."""
    with reading_hdf5(path, "exemplars") as file:
        return np.asarray(dataset(file, TOKENS, (None,), "iu")[:])


def read_silent(path: Path, end: str = HIGHEST) -> Silent:
    """Read which neurons of exemplars.h5 have no set at an end, and why.

    Raises:
        InputError: it was written before that was kept.
    """
    with reading_hdf5(path, "exemplars") as file:
        rows = _rows(file, exemplar_group("all", end))
        without = np.flatnonzero(rows[:, :, 0].ravel() < 0)
        spread = _distribution(file)
        found = {name: _flat(spread[name][:])[without] for name in _counts(file)}
        of = found, _sentences(file), rows.shape[2], end
    counts = Counter(REASONS[reason] for reason in reasons(*of))
    words = dict(zip(without.tolist(), in_words(*of), strict=True))
    return Silent(words, {reason: counts[reason] for reason in REASONS if counts[reason]})


def _counts(file: "h5py.File") -> tuple[str, ...]:
    """The datasets of the distribution that say why a neuron has no set."""
    if "at_lowest" not in names(file, "distribution"):
        raise InputError(
            f"{file.filename}: does not say how many sentences share an activation: run"
            " `descry stage exemplars` again"
        )
    return "lowest", "highest", "at_lowest", "at_highest"


def _sentences(file: "h5py.File") -> int:
    return int(dataset(file, "distribution/counts", (None, None, None), "iu")[0, 0].sum())


@dataclass(frozen=True)
class NeuronExemplars:
    """One neuron in the whole corpus.

    Attributes:
        sets: by end, rows of the corpus and their activations, the extreme one first.
        words: by end, with position `max`: int32 [sentences, 2], of each where the word of the
            highest token is (first character, the one behind the last), -1 where it is no word.
        distribution: mean, deviation and so on of its activations.
        silent: by end, why there is no set, in words.
    """

    sets: dict[str, tuple[np.ndarray, np.ndarray]]
    distribution: dict[str, np.ndarray]
    silent: dict[str, str]
    words: dict[str, np.ndarray]


SPREAD = ("mean", "deviation", "skewness", "kurtosis", "lowest", "highest")


def spread(distribution: Mapping[str, Any]) -> str:
    """A neuron's distribution in words."""
    digits = activation_places(distribution)
    shapes = ("skewness", "kurtosis")  # pure numbers, undefined where nothing varies
    return ", ".join(
        f"{name} {fixed(_known(distribution[name]), PLACES if name in shapes else digits)}"
        for name in SPREAD
    )


def activation_places(distribution: Mapping[str, Any]) -> int:
    """Return the number of decimals that a neuron's activations are shown with."""
    deviation, highest = (_known(distribution[name]) for name in ("deviation", "highest"))
    return places(deviation or 0.0, highest or 0.0)


def _known(value: Any) -> float | None:
    """A number of a distribution; None where it is undefined."""
    return None if value is None or np.isnan(value) else float(value)


def read_neuron_exemplars(path: Path, row: int, index: int, ends: Sequence[str]) -> NeuronExemplars:
    """Read one neuron of exemplars.h5, at the ends that have labels.

    Raises:
        InputError: there are no sets of such an end.
    """
    if absent := set(ends) - set(read_ends(path)):
        raise InputError(
            f"{path}: no sets of the {min(absent)} activations, which labels.parquet has: run"
            " `descry stage label` again"
        )
    with reading_hdf5(path, "exemplars") as file:
        sets, silent, words = {}, {}, {}
        found = {name: values[row, index] for name, values in _distribution(file).items()}
        for end in ends:
            group = exemplar_group("all", end)
            rows, values = _rows(file, group)[row, index], _activations(file, group)[row, index]
            sets[end] = rows[rows >= 0], values[rows >= 0]
            if f"{group}/word" in file:
                words[end] = _words(file, group)[row, index][rows >= 0]
            if not len(sets[end][0]):
                own = {name: found[name][None] for name in _counts(file)}
                (silent[end],) = in_words(own, _sentences(file), len(rows), end)
    return NeuronExemplars(sets, found, silent, words)


def read_quantiles(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read each neuron's positions of the sample at `QUANTILES`, and their activations.

    int32 and float32 [neurons, quantiles], rows of positions.parquet.
    """
    with reading_hdf5(path, "exemplars") as file:
        if QUANTILE_GROUP not in file:
            raise InputError(f"{path}: not of positions: run `descry stage exemplars` again")
        return _flat(_rows(file, QUANTILE_GROUP)[:]), _flat(_activations(file, QUANTILE_GROUP)[:])


@dataclass(frozen=True)
class Shown:
    """The shown sentences of all neurons: a row per neuron, layer by layer.

    Attributes:
        sets: by half, and `lowest` of the whole corpus: rows of the corpus and their activations,
            the extreme one first: [neurons, that many or fewer], -1 and NaN where there are fewer.
        words: by the same names, with position `max`: [neurons, that many or fewer, 2], as
            `NeuronExemplars` has them; else none.
        distribution: mean, deviation and so on of their activations, [neurons] or [neurons, bins].
    """

    sets: dict[str, tuple[np.ndarray, np.ndarray]]
    distribution: dict[str, np.ndarray]
    words: dict[str, np.ndarray]


def read_shown(path: Path, number: int) -> Shown:
    """Read the first sentences of each set of exemplars.h5, and the distributions.

    Raises:
        InputError: it was written before the lowest were kept.
    """
    with reading_hdf5(path, "exemplars") as file:
        if BOTTOM_GROUP not in file:
            raise InputError(f"{path}: no lowest activations: run `descry stage exemplars` again")
        groups = {half: half for half in HALVES} | {LOWEST: BOTTOM_GROUP}
        sets = {
            name: (
                _flat(_rows(file, g)[:, :, :number]),
                _flat(_activations(file, g)[:, :, :number]),
            )
            for name, g in groups.items()
        }
        spread = {name: _flat(values[:]) for name, values in _distribution(file).items()}
        words = {
            name: _flat(_words(file, g)[:, :, :number])
            for name, g in groups.items()
            if f"{g}/word" in file
        }
    return Shown(sets, spread, words)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *values.shape[2:])
