"""Which sentences the site holds.

All of a small corpus; of a large one those that pages show, and a sample of the others.

Packs number sentences as the site holds them, in the order of the corpus.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

import numpy as np
import pyarrow as pa

from descry.corpus.splits import draw
from descry.io.parquet import ROW_GROUP, read_blocks


@dataclass(frozen=True)
class Held:
    """The sentences that the site holds.

    Attributes:
        rows: of the corpus, int64, ascending.
        sentences: of the corpus.
    """

    rows: np.ndarray
    sentences: int

    @classmethod
    def of(cls, corpus: Path, sentences: int, shown: np.ndarray, most: int, seed: int) -> "Held":
        """Those that are shown, and of the others so many by lot that there are `most`.

        Args:
            corpus: the table of what is labelled.
            sentences: of the corpus, more than `most`.
            shown: int, rows of the corpus, any number of times each.
            most: there are more only if more are shown.
            seed: draws the others.
        """
        kept = np.unique(shown)
        is_shown = np.zeros(sentences, dtype=bool)
        is_shown[kept] = True
        ids = enumerate(_ids(corpus))
        others = ((draw(seed, f"site:{name}"), row) for row, name in ids if not is_shown[row])
        drawn = [row for _, row in nsmallest(max(0, most - len(kept)), others)]
        return cls(np.sort(np.concatenate([kept, np.array(drawn, dtype=np.int64)])), sentences)

    @property
    def whole(self) -> bool:
        """Whether they are all."""
        return len(self.rows) == self.sentences

    def place(self, rows: np.ndarray) -> np.ndarray:
        """The numbers on the site of rows of the corpus; -1 for others, and for -1."""
        if self.whole:
            return rows
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[at] == rows, at, -1).astype(rows.dtype)

    def read(self, corpus: Path, columns: list[str]) -> pa.Table:
        """Read some columns of these sentences from the table of what is labelled."""
        parts, start = [], 0
        for block in read_blocks(corpus, "corpus", columns, ROW_GROUP):
            edges = np.searchsorted(self.rows, [start, start + len(block)])
            parts.append(block.take(pa.array(self.rows[slice(*edges)] - start)))
            start += len(block)
        return pa.concat_tables(parts)


def rows_of(corpus: Path, names: frozenset[str]) -> Iterator[int]:
    """The rows of sentences by their ids; of positions, those in such sentences."""
    for row, name in enumerate(_ids(corpus)):
        if name.partition(":")[0] in names:
            yield row


def _ids(corpus: Path) -> Iterator[str]:
    for block in read_blocks(corpus, "corpus", ["id"], ROW_GROUP):
        yield from block["id"].to_pylist()
