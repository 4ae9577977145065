"""positions.parquet: a row per position with its words, in the form of corpus.parquet.

With unit `token` it takes the corpus's place in all that comes after the exemplars: an annotator is
asked about its texts, and sets, strata and halves are of its rows. A position's text is the words
around its token, the token's own word in marks. A word is never cut.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from descry.activations.positions import STRIDE, sentence_of, token_of
from descry.activations.top_k import NOBODY
from descry.corpus.units import STANDS_FOR, language, marked
from descry.corpus.words import WHOLE_WORD, WITHOUT_BLANKS, Span, trimmed, words_of
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.parquet import read_blocks, read_table, table_provenance, write_batches

_BLOCK = 1024  # sentences at a time


class Window(NamedTuple):
    """A position among the words around it.

    Attributes:
        text: the words, that of the position in marks.
        word: the word of the position.
        piece: its token's own characters.
        before: how many words of the sentence stand before it.
    """

    text: str
    word: str
    piece: str
    before: int


def windows(
    text: str, spans: Sequence[Span], places: Sequence[int], width: int, *, blanks: bool = True
) -> list[Window]:
    """Show positions of a sentence.

    Args:
        spans: of each token of the sentence, its characters.
        places: of the positions among those tokens.
        width: tokens on either side.
        blanks: whether blanks part the words; else a token is a word.
    """
    words = [found.span() for found in WHOLE_WORD.finditer(text)] if blanks else []
    found = []
    for place in places:
        piece = trimmed(text, spans[place])
        own = _whole(piece, words)
        first = _whole(trimmed(text, spans[max(0, place - width)]), words)[0]
        last = _whole(trimmed(text, spans[min(len(spans) - 1, place + width)]), words)[1]
        first, last = min(first, own[0]), max(last, own[1])
        shown = marked(text[first:last], own[0] - first, own[1] - first).strip()
        number = sum(stop <= own[0] for _, stop in words) if blanks else place
        found.append(Window(shown, text[slice(*own)], text[slice(*piece)], number))
    return found


def word_places(corpus: Path, tokenizer: Any, before: int, positions: np.ndarray) -> np.ndarray:
    """Find the word of each position in its sentence: int32 [positions, 2].

    First character and the one behind the last; -1 where the token is no part of the text.

    Args:
        tokenizer, before, positions: as `write_positions` takes them.

    Raises:
        InputError: the tokenizer does not say which characters a token stands for.
    """
    found = np.full((len(positions), 2), NOBODY, dtype=np.int32)
    if not tokenizer.is_fast:
        return found
    blanks = language(table_provenance(read_table(corpus, "corpus"))) not in WITHOUT_BLANKS
    start = 0
    for block in read_blocks(corpus, "corpus", ["text"], _BLOCK):
        first, stop = np.searchsorted(positions, np.array([start, start + len(block)]) * STRIDE)
        owner, token = (of(positions[first:stop]) for of in (sentence_of, token_of))
        texts = block["text"].to_pylist()
        spans = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        for at, row, place in zip(range(first, stop), owner - start, token - before, strict=True):
            text, own = texts[row], spans["offset_mapping"][row]
            if 0 <= place < len(own):
                piece = trimmed(text, own[place])
                words = [w.span() for w in WHOLE_WORD.finditer(text)] if blanks else []
                found[at] = _whole(piece, words)
        start += len(block)
    return found


def _whole(span: Span, words: Sequence[Span]) -> Span:
    """A span, and all of the words that it touches."""
    touched = [word for word in words if word[0] < span[1] and span[0] < word[1]]
    return min([span[0], *(w[0] for w in touched)]), max([span[1], *(w[1] for w in touched)])


def write_positions(
    path: Path,
    corpus: Path,
    tokenizer: Any,
    before: int,
    positions: np.ndarray,
    sample: np.ndarray,
    width: int,
    made: JSON,
) -> None:
    """Write positions.parquet.

    Columns: those of the corpus, `id` with the token's place behind it and `text` the window; and
    `sentence` int32, its row in the corpus; `token` int32, its place among all of the sentence's
    tokens; `word`, `piece`; `sampled`, whether it is one of those that represent all; and to match
    positions on, `frequency` int32, how often the corpus has its word in any case, `words_before`
    int32 and `sentence_words` int32 of its sentence.

    Args:
        tokenizer: a fast one, which reads special tokens as text.
        before: special tokens before a sentence's own.
        positions: int64, codes, ascending.
        sample: int64, those that represent all.
        width: tokens on either side of a position.

    Raises:
        InputError: the tokenizer does not say which characters a token stands for.
    """
    if not tokenizer.is_fast:
        raise InputError(
            f"activations.unit token: {tokenizer.name_or_path} has no fast tokenizer, which says"
            " where in a text a token stands"
        )
    table = read_table(corpus, "corpus")
    written = language(table_provenance(table))
    frequency = word_counts(corpus, written)
    show = _shower(tokenizer, before, width, blanks=written not in WITHOUT_BLANKS)
    drawn, columns = np.isin(positions, sample), table.schema
    own = [(name, pa.int32()) for name in ("sentence", "token")]
    own += [("word", pa.string()), ("piece", pa.string()), ("sampled", pa.bool_())]
    own += [(name, pa.int32()) for name in ("frequency", "words_before", "sentence_words")]
    schema = pa.schema([*columns.remove_metadata(), *(pa.field(*one) for one in own)])

    def tables() -> Iterator[pa.Table]:
        start = 0
        for block in read_blocks(corpus, "corpus", columns.names, _BLOCK):
            ends = np.searchsorted(positions, np.array([start, start + len(block)]) * STRIDE)
            of_block = positions[slice(*ends)]
            yield _table(block, start, of_block, drawn[slice(*ends)], show, frequency, schema)
            start += len(block)

    write_batches(path, schema, tables(), made | STANDS_FOR | {"of": table_provenance(table)})


Show = Callable[[list[str], list[list[int]]], list[list[Window]]]


def _shower(tokenizer: Any, before: int, width: int, *, blanks: bool) -> Show:
    """What shows positions, places among all tokens, of some sentences."""

    def show(texts: list[str], places: list[list[int]]) -> list[list[Window]]:
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        return [
            windows(text, spans, [place - before for place in own], width, blanks=blanks)
            for text, spans, own in zip(texts, encoded["offset_mapping"], places, strict=True)
        ]

    return show


def _table(
    block: pa.Table,
    start: int,
    positions: np.ndarray,
    drawn: np.ndarray,
    show: Show,
    frequency: Counter[str],
    schema: pa.Schema,
) -> pa.Table:
    """The rows of some sentences' positions."""
    owner, token = sentence_of(positions) - start, token_of(positions)
    rows, first = np.unique(owner, return_index=True)
    if not len(rows):
        return schema.empty_table()
    texts = block["text"].take(pa.array(rows)).to_pylist()
    shown = show(texts, [part.tolist() for part in np.split(token, first[1:])])
    every = [window for of_text in shown for window in of_text]
    lengths = dict(
        zip(rows.tolist(), (len(WHOLE_WORD.findall(text)) for text in texts), strict=True)
    )
    table = block.take(pa.array(owner))
    ids = [f"{name}:{at:05d}" for name, at in zip(table["id"].to_pylist(), token, strict=True)]
    values: dict[str, Any] = {name: table[name] for name in table.column_names}
    values |= {"id": ids, "text": [window.text for window in every]}
    values |= {"sentence": owner + start, "token": token, "sampled": drawn}
    values |= {name: [getattr(window, name) for window in every] for name in ("word", "piece")}
    values["frequency"] = [frequency[window.word.lower()] for window in every]
    values["words_before"] = [window.before for window in every]
    values["sentence_words"] = [lengths[row] for row in owner.tolist()]
    return pa.table(values).select(schema.names).cast(schema)


def word_counts(corpus: Path, written: str, rows: np.ndarray | None = None) -> Counter[str]:
    """Count each word of the corpus, in lower case.

    Args:
        written: the language.
        rows: bool [sentences], those that are counted; None: all.
    """
    split = words_of(written) if written in WITHOUT_BLANKS else WHOLE_WORD.findall
    found: Counter[str] = Counter()
    start = 0
    for block in read_blocks(corpus, "corpus", ["text"], _BLOCK):
        wanted = [True] * len(block) if rows is None else rows[start : start + len(block)]
        for text in compress(block["text"].to_pylist(), wanted):
            found.update(split(text.lower()))
        start += len(block)
    return found
