"""A part of a large corpus in its place: files as the stages write them, of fewer sentences.

Scores and their nulls hold numbers of every sentence at once, and nulls are drawn again and again.
Of a large corpus a part by lot is looked at: its sentences, the answers about them, and of each
exemplar set the members among them. All are random parts of the whole, so that shares and
correlations are the same but for chance; a smaller set bears fewer labels out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.exemplar_files import thinned_exemplars
from descry.annotators.annotations import thinned_annotations
from descry.corpus.splits import draw
from descry.io.parquet import (
    ROW_GROUP,
    read_blocks,
    read_header,
    row_count,
    table_provenance,
    write_batches,
)

if TYPE_CHECKING:
    import h5py


class Files(NamedTuple):
    """What is evaluated.

    Attributes:
        rows: int64, ascending, which rows of the whole corpus these are; None: all.
    """

    corpus: Path
    exemplars: Path
    untrained: Path
    annotations: Path
    judgements: Path
    rows: np.ndarray | None = None


class ThinnedMatrix:
    """Some rows of a matrix of activations [rows, layers, neurons], read as if it had no others."""

    def __init__(self, data: "h5py.Dataset", rows: np.ndarray) -> None:
        self._data, self._rows = data, rows
        self.shape, self.dtype = (len(rows), *data.shape[1:]), data.dtype
        self.chunks = data.chunks or data.shape

    def __getitem__(self, place: tuple[slice, int, slice]) -> np.ndarray:
        """The rows that are asked for must be all."""
        _, layer, columns = place
        found = np.empty((len(self._rows), columns.stop - columns.start), dtype=self.dtype)
        for start in range(0, self._data.shape[0], self.chunks[0]):
            own = slice(*np.searchsorted(self._rows, [start, start + self.chunks[0]]))
            if own.start < own.stop:
                values = self._data[start : start + self.chunks[0], layer, columns]
                found[own] = values[self._rows[own] - start]
        return found


def matrix(data: "h5py.Dataset", rows: np.ndarray | None) -> Any:
    """The activations of some rows, None: all."""
    return data if rows is None else ThinnedMatrix(data, rows)


@contextmanager
def thinned(whole: Files, most: int | None, seed: int, names: frozenset[str]) -> Iterator[Files]:
    """Files of a part of the sentences; the files themselves where there are no more than `most`.

    Args:
        most: sentences; None: all.
        seed: draws them.
        names: ids of sentences that are in any case among them.
    """
    if most is None or row_count(whole.corpus, "corpus") <= most:
        yield whole
        return
    rows = drawn(whole.corpus, most, seed, names)
    with TemporaryDirectory(prefix="descry-evaluate-") as folder:
        names_of = ("corpus", "exemplars", "untrained", "annotations", "judgements")
        paths = {name: Path(folder) / getattr(whole, name).name for name in names_of}
        part = Files(**paths, rows=rows)
        _thin_corpus(whole.corpus, part.corpus, rows)
        for sets in ("exemplars", "untrained"):
            thinned_exemplars(getattr(whole, sets), getattr(part, sets), rows)
        for answers in ("annotations", "judgements"):
            thinned_annotations(getattr(whole, answers), getattr(part, answers), rows)
        yield part


def drawn(corpus: Path, number: int, seed: int, names: frozenset[str]) -> np.ndarray:
    """The rows of so many sentences, ascending: those named, then others by a hash of their ids.

    Eight bytes of each sentence are held.
    """
    lots = []
    for block in read_blocks(corpus, "corpus", ["id"], ROW_GROUP):
        ids = block["id"].to_pylist()
        of_ids = (b"\0" if name in names else draw(seed, f"evaluate:{name}") for name in ids)
        lots.append(np.array([int.from_bytes(lot[:8], "big") for lot in of_ids], dtype=np.uint64))
    return np.sort(np.argpartition(np.concatenate(lots), number - 1)[:number])


def _thin_corpus(whole: Path, part: Path, rows: np.ndarray) -> None:
    """Copy some rows of the corpus."""
    header = read_header(whole, "corpus")

    def blocks() -> Iterator[pa.Table]:
        start = 0
        for block in read_blocks(whole, "corpus", header.column_names, ROW_GROUP):
            own = slice(*np.searchsorted(rows, [start, start + len(block)]))
            yield pc.take(block, pa.array(rows[own] - start))
            start += len(block)

    write_batches(part, header.schema, blocks(), table_provenance(header))
