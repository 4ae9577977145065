"""Texts as a model's own tokens, with the characters and the sentence that each stands for."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.corpus.words import Span, trimmed
from descry.errors import InputError
from descry.io.parquet import read_blocks, read_table, row_count
from descry.io.prefetch import map_ahead
from descry.n2g.batching import Prompt

if TYPE_CHECKING:
    import pyarrow

BLOCK = 1024  # sentences that are tokenised at a time

# Behind a full stop and what closes a quotation, or between lines.
_BOUNDARY = re.compile(r"""(?<=[.!?…])["'”’)\]]*\s+|\s*\n\s*""")


@dataclass(frozen=True)
class Text:
    """A text and its tokens, special ones left out.

    Attributes:
        string: all of it, also where tokens beyond a limit were cut.
        tokens: ids.
        spans: of each token, its characters in `string`, without white space around them.
        sentences: of each token, the number of its sentence.
        cut: how many tokens were cut.
    """

    string: str
    tokens: tuple[int, ...]
    spans: tuple[Span, ...]
    sentences: tuple[int, ...]
    cut: int = 0


def make_text(string: str, tokens: Sequence[int], spans: Sequence[Span], cut: int = 0) -> Text:
    """A text whose tokens stand at these characters."""
    own = tuple(trimmed(string, span) for span in spans)
    ends = [found.end() for found in _BOUNDARY.finditer(string)]
    sentences = tuple(sum(end <= first for end in ends) for first, _ in own)
    return Text(string, tuple(tokens), own, sentences, cut)


def read(strings: Sequence[str], tokenizer: Any, *, limit: int) -> list[Text]:
    """Tokenise strings with a fast tokenizer of the transformers library.

    Args:
        tokenizer: one that reads special tokens as text (`models.special_as_text`).
        limit: tokens of a text; what is beyond is cut.

    Raises:
        InputError: the tokenizer does not say which characters a token stands for.
    """
    if not tokenizer.is_fast:
        raise InputError(f"n2g: {tokenizer.name_or_path} has no fast tokenizer")
    encoded = tokenizer(
        list(strings),
        add_special_tokens=False,
        return_offsets_mapping=True,
    )
    whole = zip(strings, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return [
        make_text(string, ids[:limit], spans[:limit], max(0, len(ids) - limit))
        for string, ids, spans in whole
    ]


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
