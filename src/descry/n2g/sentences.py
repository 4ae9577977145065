"""The sentences of a corpus as a model's own tokens."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.io.parquet import read_blocks, read_table, row_count
from descry.io.prefetch import map_ahead
from descry.n2g.batching import Prompt
from descry.n2g.texts import Text, read

if TYPE_CHECKING:
    import pyarrow

BLOCK = 1024  # sentences that are tokenised at a time


class Sentences:
    """All sentences of a corpus.

    Attributes:
        number: how many there are.
        cut: how many of those that `blocks` has gone through have more tokens than the limit.
    """

    def __init__(self, corpus: Path, tokenizer: Any, limit: int) -> None:
        """Look at a corpus.

        Args:
            limit: tokens of a sentence; what is beyond is cut.
        """
        self.corpus, self.tokenizer, self.limit = corpus, tokenizer, limit
        self.number, self.cut = row_count(corpus, "corpus"), 0
        self._strings = read_table(corpus, "corpus", ["text"])["text"]

    def blocks(self) -> Iterator[list[Prompt]]:
        """The tokens of all sentences, some at a time."""

        def read_block(table: "pyarrow.Table") -> list[Text]:
            return self._read(table["text"].to_pylist())

        self.cut = 0
        for texts in map_ahead(read_block, read_blocks(self.corpus, "corpus", ["text"], BLOCK), 1):
            self.cut += sum(text.cut > 0 for text in texts)
            yield [text.tokens for text in texts]

    def texts(self, rows: Sequence[int]) -> list[Text]:
        """Some sentences whole."""
        return self._read(self._strings.take(list(rows)).to_pylist())

    def _read(self, strings: Sequence[str]) -> list[Text]:
        return read(strings, self.tokenizer, limit=self.limit)
