"""Which unit vectors are alike: all pairs whose cosine reaches a threshold, on disk if many.

Up to `WHOLE` rows every cosine is computed. Beyond, all but the alike pairs are ruled out in a
space of fewer dimensions: with x = x' + r and y = y' + s, where r and s are what the space leaves
out, the cosine is at most x'y' + |r||s|, the product of (x', |r|) and (y', |s|). No pair is missed.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np

from descry.errors import not_installed
from descry.io.atomic import guarded

WHOLE = 50_000  # rows up to which every cosine is computed (50,000: 40 CPU-seconds, 1.2 GB)
_BLOCK = 2048  # rows compared at a time
_KEPT = 0.9  # of the squared lengths, by the space of fewer dimensions
_SLACK = 1e-3  # of a bound: more than it can lose by rounding
_HELD = 2**28  # bytes of pairs beyond which they go to disk
_READ = 2**20  # pairs read at a time
_CHECKED = 2**14  # pairs whose cosine is computed at a time
Pairs = tuple[np.ndarray, np.ndarray]


class Alike:
    """The pairs of rows that are alike.

    Attributes:
        sizes: how many rows each row is alike to, itself included, int64 [rows].
    """

    def __init__(self, rows: int, file: IO[bytes], both_ways: bool) -> None:
        """No pairs yet; `both_ways` if (j, i) is not to be written beside (i, j)."""
        self.sizes = np.ones(rows, dtype=np.int64)
        self._file, self._both_ways = file, both_ways

    def write(self, first: np.ndarray, second: np.ndarray) -> None:
        """Add pairs of different rows."""
        for ends in [first, second] if self._both_ways else [first]:
            self.sizes += np.bincount(ends, minlength=len(self.sizes))
        self._file.write(np.stack([first, second], axis=1).astype(np.int32).tobytes())

    def read(self) -> Iterator[Pairs]:
        """All pairs, many at a time: row i and a row that it is alike to, int32 each."""
        self._file.seek(0)
        while found := self._file.read(_READ * 8):
            first, second = np.frombuffer(found, dtype=np.int32).reshape(-1, 2).T
            yield first, second
            if self._both_ways:
                yield second, first


@contextmanager
def alike(vectors: np.ndarray, threshold: float, whole: int = WHOLE) -> Iterator[Alike]:
    """The pairs of rows whose cosine is at least `threshold`, while the context lasts.

    Args:
        vectors: unit vectors, float32 [rows, dimension].
        whole: rows up to which every cosine is computed.

    Raises:
        InputError: the disk is full.
    """
    few = len(vectors) <= whole
    with tempfile.SpooledTemporaryFile(max_size=_HELD) as file:
        found = Alike(len(vectors), file, both_ways=not few)
        with guarded(Path(tempfile.gettempdir())):
            for first, second in (_all if few else _bounded)(vectors, threshold):
                found.write(first, second)
        yield found


def _all(vectors: np.ndarray, threshold: float) -> Iterator[Pairs]:
    """By every cosine: each pair twice, with the very products that sentence-transformers takes."""
    import torch
    from torch.nn.functional import normalize

    unit = normalize(torch.from_numpy(vectors), dim=1)
    for start in range(0, len(unit), _BLOCK):
        cosines = (unit[start : start + _BLOCK] @ unit.T).numpy()
        first, second = np.nonzero(cosines >= np.float32(threshold))
        other = first + start != second
        yield first[other] + start, second[other]


def check_rows(rows: int) -> None:
    """Check that the number of rows can be compared.

    Raises:
        InputError: they want a package that is not installed.
    """
    if rows > WHOLE and find_spec("faiss") is None:
        raise not_installed("faiss-cpu", "large", f"more than {WHOLE:,} raw descriptors")


def _bounded(vectors: np.ndarray, threshold: float) -> Iterator[Pairs]:
    """By bounds: each pair once."""
    import faiss

    axes = _principal(vectors)
    index = faiss.IndexFlatIP(axes.shape[1] + 1)
    for start in range(0, len(vectors), _BLOCK):
        block = _shortened(vectors[start : start + _BLOCK], axes)
        index.add(block)
        ends, _, second = index.range_search(block, threshold - _SLACK)
        own = np.diff(ends).astype(np.int64)
        first = np.repeat(np.arange(start, start + len(block)), own)
        earlier = second < first
        yield _checked(vectors, threshold, first[earlier], second[earlier])


def _principal(vectors: np.ndarray) -> np.ndarray:
    """The axes along which most of the vectors' squared lengths lie, float32 [dimension, axes]."""
    lengths, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    share = np.cumsum(lengths[::-1]) / lengths.sum()
    kept = int(np.searchsorted(share, _KEPT)) + 1
    return np.ascontiguousarray(axes[:, ::-1][:, :kept], dtype=np.float32)


def _shortened(block: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The coordinates along the axes and the length of the rest, float32 [rows, axes + 1]."""
    along = block @ axes
    rest = np.sum(block**2, axis=1) - np.sum(along**2, axis=1)
    return np.column_stack([along, np.sqrt(np.maximum(rest, 0))])


def _checked(vectors: np.ndarray, threshold: float, first: np.ndarray, second: np.ndarray) -> Pairs:
    """The pairs whose cosine reaches the threshold."""
    cosines = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), _CHECKED):
        some = slice(start, start + _CHECKED)
        np.einsum("ij,ij->i", vectors[first[some]], vectors[second[some]], out=cosines[some])
    reached = cosines >= np.float32(threshold)
    return first[reached], second[reached]
