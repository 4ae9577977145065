"""The activation matrix on disk: HDF5, dataset `activations` [row, layer, neuron].

HDF5 lays the file out once, empty, with a place for every chunk; values are then written to their
places as plain bytes, block by block, and dataset `written` says which blocks are whole. So a run
that was killed resumes where it was, a full disk is noticed before anything is computed, and the
bytes are the same whichever way the file came about.
Where a row is a sentence, dataset `tokens` [row] is written in the same way: how many tokens the
sentence has, those included that the model has not seen. With position `max`, dataset `at` [row,
layer, neuron] says at which of the sentence's tokens each activation is.

A chunk holds 1,024 rows of up to 256 neurons of one layer, of a matrix of many rows 4,096 rows of
up to 64 neurons: blocks of rows are appended whole, and a block of neurons is read over all rows in
pieces of up to a megabyte.
"""

import os
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from descry.errors import InputError
from descry.io.atomic import guarded, part_of
from descry.io.hashing import JSON, canonical
from descry.io.hdf5 import dataset, hdf5_provenance, reading_hdf5, writing_hdf5
from descry.io.nested import flat, unlike
from descry.io.readable import MalformedError

if TYPE_CHECKING:
    import h5py

DATA, AT, WRITTEN, TOKENS = "activations", "at", "written", "tokens"
ROWS, COLUMNS = 1024, 256  # of a chunk, at most
WIDE = 2**17  # rows of a matrix up to which chunks have that many neurons
_NARROWER = 4  # times as many rows, of a quarter of the neurons, where there are more
_TILE = 512  # rows turned at a time


class Layout(NamedTuple):
    """Rows, layers and neurons of a matrix, their type, and the rows of a block.

    `at`: the type of the places of the tokens that the activations are at, where they are kept.
    """

    rows: int
    layers: int
    neurons: int
    dtype: str
    block: int
    at: str | None = None

    @property
    def blocks(self) -> int:
        """Number of blocks; the last may be shorter."""
        return ceil(self.rows / self.block)

    @property
    def chunk(self) -> tuple[int, int, int]:
        """Rows, layers and neurons of a chunk; a layer's chunks are of one width where they can.

        Of many rows a chunk is a quarter as wide, and as much higher where blocks allow: few
        neurons over all rows are read at a time, and would be a small part of each wide chunk.
        """
        share = _NARROWER if self.rows > WIDE else 1
        pieces = ceil(self.neurons / (COLUMNS // share))
        rows = ROWS * share if self.block % (ROWS * share) == 0 else ROWS
        return min(self.rows, rows), 1, ceil(self.neurons / pieces)


def begin(
    path: Path, made: JSON, names: Mapping[str, str], layout: Layout, index: Mapping[str, Any]
) -> Path:
    """The unfinished file beside `path`: begun now, or by an earlier run with the same inputs.

    Args:
        made: what makes the file, its attribute `descry`.
        names: further attributes, for readers with plain h5py.
        index: further datasets, whole.

    Raises:
        InputError: there is one that was begun otherwise or is being written, or no room on the
            disk.
    """
    part = part_of(path)
    if part.exists():
        with reading_hdf5(part, "activations") as file:
            some = WRITTEN not in file or file[WRITTEN][:].any()
        if some:
            refuse_another(part, made)
            return part
        Writer(part).close()  # another run may be at its first block
    with writing_hdf5(part, made) as file:
        for name, text in names.items():
            file.attrs[name] = text
        for name, values in index.items():
            file.create_dataset(name, data=values)
        shape = layout.rows, layout.layers, layout.neurons
        options = {"chunks": layout.chunk, "dcpl": _placed(zeros=False)}
        file.create_dataset(DATA, shape=shape, dtype=layout.dtype, **options)
        if layout.at:
            file.create_dataset(AT, shape=shape, dtype=layout.at, **options)
        file.create_dataset(WRITTEN, shape=layout.blocks, dtype="u1", dcpl=_placed(zeros=True))
        if TOKENS not in index:
            file.create_dataset(TOKENS, shape=layout.rows, dtype="<i4", dcpl=_placed(zeros=True))
    with guarded(part), part.open("rb+") as opened:
        try:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(opened.fileno(), 0, part.stat().st_size)
        except OSError:
            part.unlink()
            raise
    return part


def _placed(zeros: bool) -> "h5py.h5p.PropDCID":
    """Dataset properties: every byte has its place from the beginning."""
    import h5py

    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    options.set_fill_time(h5py.h5d.FILL_TIME_ALLOC if zeros else h5py.h5d.FILL_TIME_NEVER)
    return options


def refuse_another(part: Path, made: JSON) -> None:
    """Refuse an unfinished file that was begun with other inputs, code or params.

    Raises:
        InputError: naming the first that differs.
    """
    with reading_hdf5(part, "activations") as file:
        old, new = flat(hdf5_provenance(file)), flat(made)
    if other := unlike(old, new):
        key = min(other)
        was, now = (canonical(value.get(key)) for value in (old, new))
        raise InputError(
            f"{part}: left by a stopped run, with {key} {was}, now {now}: set it back"
            " to resume it, or remove the file"
        )


class Writer:
    """Writes blocks into an unfinished file, and keeps other runs away until it is closed.

    Attributes:
        written: bool [blocks], those that were on the disk at the beginning.
    """

    def __init__(self, part: Path) -> None:
        """Open the file.

        Raises:
            InputError: another run is writing it.
        """
        import fcntl

        with reading_hdf5(part, "activations") as file:
            data = file[DATA]
            self.shape, self.chunk = data.shape, data.chunks
            self._places = {name: _chunk_places(file[name]) for name in (DATA, AT) if name in file}
            self._dtypes = {name: file[name].dtype for name in self._places}
            self._flags = file[WRITTEN].id.get_offset()
            self._tokens = file[TOKENS].id.get_offset()
            self.written = file[WRITTEN][:].astype(bool)
        self._part = part
        self._file = os.open(part, os.O_RDWR)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # HDF5's own is another kind
        except OSError as error:
            os.close(self._file)
            raise InputError(f"{part}: another run is writing it") from error

    def write(
        self,
        block: int,
        first: int,
        values: np.ndarray,
        tokens: np.ndarray | None = None,
        at: np.ndarray | None = None,
    ) -> None:
        """Write a block of rows [rows, layers, neurons] of which `first` is the first's number.

        Args:
            tokens: int [rows], of each row's sentence; None where a row is a token.
            at: int [rows, layers, neurons], the tokens that the values are at, where that is kept.
        """
        with guarded(self._part):
            if tokens is not None:
                _write(self._file, tokens.astype("<i4").tobytes(), self._tokens + 4 * first)
            for name, part in ({DATA: values} | ({} if at is None else {AT: at})).items():
                for row in range(0, len(part), self.chunk[0]):
                    self._write_rows(name, first + row, part[row : row + self.chunk[0]])
            _sync(self._file)
            _write(self._file, b"\1", self._flags + block)  # only now: the values are on the disk

    def _write_rows(self, name: str, first: int, values: np.ndarray) -> None:
        _, layers, neurons = self.shape
        width = self.chunk[2]
        for layer in range(layers):
            for column in range(0, neurons, width):
                piece = values[:, layer, column : column + width]
                chunk = np.zeros((self.chunk[0], width), dtype=self._dtypes[name])
                chunk[: piece.shape[0], : piece.shape[1]] = piece
                _write(self._file, chunk.tobytes(), self._places[name][first, layer, column])

    def close(self) -> None:
        """Put all on the disk, and close."""
        with guarded(self._part):
            os.fsync(self._file)
            os.close(self._file)


def _chunk_places(data: "h5py.Dataset") -> dict[tuple[int, ...], int]:
    """Where in the file each chunk is, by its first row, layer and neuron."""
    found: dict[tuple[int, ...], int] = {}
    data.id.chunk_iter(lambda chunk: found.update({chunk.chunk_offset: chunk.byte_offset}))
    return found


def _sync(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)  # no fdatasync on macOS


def _write(file: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, place)
        view, place = view[done:], place + done


def read_column(path: Path, layer: int, neuron: int) -> np.ndarray:
    """The activations of one neuron over all rows: float32 [rows].

    A chunk is read at a time, and its other neurons are let go.

    Args:
        layer: its row in the matrix.

    Raises:
        InputError: the file is missing or damaged, or holds no matrix.
    """
    with reading_hdf5(path, "activations") as file:
        if DATA not in file:
            raise InputError(f"{path}: holds no activations: set activations.store to matrix")
        data = dataset(file, DATA, (None, None, None), "f")
        found = np.empty(len(data), dtype=np.float32)
        step = (data.chunks or data.shape)[0]
        for start in range(0, len(data), step):
            block = slice(start, start + step)
            found[block] = data[block, layer, neuron]
    return found


def neuron_blocks(data: Any, most: int) -> Iterator[tuple[int, slice]]:
    """Layer and columns of blocks of neurons that take up to `most` bytes over all rows.

    A block is whole chunks, or an even part of one.

    Args:
        data: a dataset, or what has shape, dtype and chunks like one: [rows, layers, neurons].
    """
    rows, layers, neurons = data.shape
    column = rows * data.dtype.itemsize
    width = data.chunks[2]
    while width > 1 and width * column > most:
        width = ceil(width / 2)
    for layer in range(layers):
        for first in range(0, neurons, data.chunks[2]):
            end = min(first + data.chunks[2], neurons)
            for start in range(first, end, width):
                yield layer, slice(start, min(start + width, end))


def read_block(data: Any, layer: int, columns: slice) -> np.ndarray:
    """The activations of some neurons of a chunk over all rows: [rows, neurons].

    Their own bytes are copied alone: of a chunk that is read in part, HDF5 copies all of it again
    for every part, so that twice the rows would cost four times the copying.

    Args:
        data: as `neuron_blocks` takes it.
        columns: of one chunk.

    Raises:
        MalformedError: the file does not hold a chunk where it says.
    """
    if not _as_plain_bytes(data):
        return np.asarray(data[:, layer, columns])
    rows, width = data.chunks[0], data.chunks[2]
    first = columns.start // width * width
    within = slice(columns.start - first, columns.stop - first)
    found = np.empty((data.shape[0], columns.stop - columns.start), dtype=data.dtype)
    file = np.memmap(data.file.filename, dtype=np.uint8, mode="r")
    for row in range(0, len(found), rows):
        try:
            chunk = data.id.get_chunk_info_by_coord((row, layer, first))
        except (OSError, RuntimeError, ValueError) as error:
            raise MalformedError(f"dataset {data.name}: {error}") from error
        start = (chunk.byte_offset or 0) + data.file.userblock_size
        plain = file[start : start + rows * width * data.dtype.itemsize]
        if not chunk.byte_offset or chunk.filter_mask or len(plain) != chunk.size:
            raise MalformedError(f"dataset {data.name}: a chunk is not where it should be")
        values = plain.view(data.dtype).reshape(rows, width)
        found[row : row + rows] = values[: len(found) - row, within]
    return found


def _as_plain_bytes(data: Any) -> bool:
    """Whether chunks lie in a file as they are, each with its place."""
    if not hasattr(data, "id") or data.file.driver != "sec2":
        return False
    import h5py

    options = data.id.get_create_plist()
    early = options.get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
    return bool(early and options.get_nfilters() == 0 and data.chunks[1] == 1)


def transposed(values: np.ndarray) -> np.ndarray:
    """Neurons first: a transposed copy, made of tiles that fit into the processor's cache."""
    found = np.empty(values.shape[::-1], values.dtype)
    for start in range(0, len(values), _TILE):
        found[:, start : start + _TILE] = values[start : start + _TILE].T
    return found
