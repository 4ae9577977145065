"""What is labelled: sentences, or positions in sentences.

The table is corpus.parquet, or with unit `token` positions.parquet, which has the columns of the
corpus and more. It does not have all positions: a marked sample stands for all.
"""

from pathlib import Path

import numpy as np

from descry.corpus.splits import HALVES, sentence_id
from descry.io.hashing import JSON
from descry.io.parquet import ROW_GROUP, read_blocks, row_count

SENTENCES, POSITIONS = "corpus.parquet", "positions.parquet"
LEFT, RIGHT = "«", "»"  # around the word of a position
SAMPLED = "sampled"  # column of positions.parquet
_OTHERS = str.maketrans({LEFT: "‹", RIGHT: "›"})  # a text's own marks
STANDS_FOR = {"stands_for": "corpus"}  # in the record of positions.parquet


def stand_for_all(units: Path) -> np.ndarray | None:
    """Return which rows stand for all: bool [rows]; None if every row does."""
    import pyarrow.parquet as pq

    if SAMPLED not in pq.read_schema(units).names:
        return None
    return _flags(units, SAMPLED, True)


def read_split_rows(units: Path) -> dict[str, np.ndarray]:
    """Read which rows of the table are in each split, as `split_rows` gives them.

    Raises:
        InputError: the file is missing or damaged.
    """
    every = np.arange(row_count(units, "corpus"))
    return {"all": every} | {h: np.flatnonzero(_flags(units, "split", h)) for h in HALVES}


def _flags(units: Path, column: str, value: object) -> np.ndarray:
    """Where a column has a value, of which a block is held at a time: bool [rows]."""
    import pyarrow.compute as pc

    blocks = read_blocks(units, "corpus", [column], ROW_GROUP)
    found = [np.asarray(pc.equal(block[column], value), dtype=bool) for block in blocks]
    return np.concatenate([np.zeros(0, dtype=bool), *found])


def marked(text: str, start: int, stop: int) -> str:
    """Mark the characters from `start` to `stop`; marks in the text itself become others."""
    before, inside, behind = (
        part.translate(_OTHERS) for part in (text[:start], text[start:stop], text[stop:])
    )
    return f"{before}{LEFT}{inside}{RIGHT}{behind}"


def plain_texts(texts: list[str], units: Path) -> list[str]:
    """Return texts of units as a model reads them, without the marks of positions."""
    if stand_for_all(units) is None:
        return texts
    marks = str.maketrans("", "", LEFT + RIGHT)
    return [text.translate(marks) for text in texts]


def text_ids(ids: list[str], texts: list[str]) -> list[str]:
    """Return the ids of rows in the prompt cache: hashes of their texts, as sentences have them.

    Positions with the same words around them have the same text, and share their answers.
    """
    of_positions = any(":" in name for name in ids[:1])
    return [sentence_id(text) for text in texts] if of_positions else ids


def language(made: JSON) -> str:
    """The language of the texts, by what made a table of units."""
    return str(of_sentences(made)["params"]["language"])


def of_sentences(made: JSON) -> JSON:
    """Return what made the sentences, from what made a table of units."""
    return made.get("of", made)
