"""Where two HDF5 files part: datasets, values, attributes; some megabytes are held at a time."""

from collections.abc import Iterator
from itertools import product
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descry.io.hashing import JSON
from descry.io.hdf5 import hdf5_provenance, reading_hdf5
from descry.io.provenance import PROVENANCE
from descry.io.readable import ANY
from descry.provenance.diff.report import Account, other_layout, partings, plain, reading, versus

if TYPE_CHECKING:
    import h5py

    Objects = dict[str, h5py.HLObject]

_BYTES = 2**24  # of a dataset, held at a time
_TEXT = 2**10  # bytes that a text of variable length is thought to take
_BESIDE = {PROVENANCE, "corpus"}  # attributes: what made a file, and the hash of one of its inputs


def hdf5_made(path: Path) -> JSON:
    """What made an HDF5 file; {} if it does not say."""
    with reading_hdf5(path, ANY) as file, reading(path):
        return hdf5_provenance(file) if PROVENANCE in file.attrs else {}


def hdf5_difference(expected: Path, found: Path) -> str | None:
    """The first value that differs, in the order of datasets and indices, or the first attribute.

    Before that datasets that only one file has, or that are of another type or shape.
    """
    paths, account = (expected, found), Account()
    with reading_hdf5(expected, ANY) as left, reading_hdf5(found, ANY) as right:
        ours, theirs = _objects(left, expected), _objects(right, found)
        layouts = ({name: _layout(one) for name, one in all_.items()} for all_ in (ours, theirs))
        if other := other_layout("dataset", *layouts):
            return other
        for name, one in ours.items():
            if _is_dataset(one):
                _add(account, name, (one, theirs[name]), paths)
        return account.words() or _other_attribute(ours, theirs, paths)


def _objects(file: "h5py.File", path: Path) -> "Objects":
    """All groups and datasets by name, in the order of names; the file itself has none."""
    objects: Objects = {"": file}
    with reading(path):
        file.visititems(objects.__setitem__)
    return objects


def _is_dataset(one: "h5py.HLObject") -> bool:
    return hasattr(one, "shape")


def _layout(one: "h5py.HLObject") -> str:
    if not _is_dataset(one):
        return "a group"
    return f"{one.dtype} {'empty' if one.shape is None else list(one.shape)}"


def _add(
    account: Account, name: str, pair: "tuple[h5py.Dataset, ...]", paths: tuple[Path, ...]
) -> None:
    """Take in the values of a dataset that differ, block by block."""
    firsts = []
    for place in _blocks(pair[0]):
        ours, theirs = (_values(*of, place) for of in zip(pair, paths, strict=True))
        unequal = np.asarray(ours != theirs)
        if ours.dtype.kind in "fc":
            unequal &= ~(np.isnan(ours) & np.isnan(theirs))
        if unequal.any():
            account.tally(name).add(ours[unequal], theirs[unequal])
            at = np.unravel_index(int(unequal.argmax()), unequal.shape)
            index = [part.start + int(i) for part, i in zip(place, at, strict=True)]
            firsts.append((index, versus(ours[at], theirs[at])))
    if firsts and not account.first:
        index, words = min(firsts)
        account.first = f"dataset {plain(name)}{index or ''}: {words}"


def _values(dataset: "h5py.Dataset", path: Path, place: tuple[slice, ...]) -> np.ndarray:
    with reading(path):
        return np.asarray(dataset[place])


def _blocks(dataset: "h5py.Dataset") -> Iterator[tuple[slice, ...]]:
    """The places of blocks that can be held: whole chunks, or parts of one."""
    if dataset.shape is None:
        return
    kind = dataset.dtype
    most = max(_BYTES // (_TEXT if kind.hasobject else kind.itemsize), 1)
    steps = list(dataset.chunks or (1 for _ in dataset.shape))
    while prod(steps) > most:
        axis = next(axis for axis, step in enumerate(steps) if step > 1)
        steps[axis] = ceil(steps[axis] / 2)
    for axis in reversed(range(len(steps))):
        while steps[axis] < dataset.shape[axis] and 2 * prod(steps) <= most:
            steps[axis] *= 2
    spans = zip(dataset.shape, steps, strict=True)
    yield from product(
        *([slice(i, min(i + step, size)) for i in range(0, size, step)] for size, step in spans)
    )


def _other_attribute(ours: "Objects", theirs: "Objects", paths: tuple[Path, ...]) -> str | None:
    """The first attribute that differs, but for what made the files."""
    account = Account()
    for name, one in ours.items():
        pairs = zip((one, theirs[name]), paths, strict=True)
        was, now = (_attributes(*of) for of in pairs)
        of = f" of {plain(name)}" if name else ""
        for key, *values in partings(was, now, ""):
            account.add(f"attribute {key}{of}", "", *values)
    return account.words()


def _attributes(one: "h5py.HLObject", path: Path) -> dict[str, Any]:
    with reading(path):
        values = {name: one.attrs[name] for name in one.attrs if name not in _BESIDE}
    return {name: v.tolist() if hasattr(v, "tolist") else v for name, v in values.items()}
