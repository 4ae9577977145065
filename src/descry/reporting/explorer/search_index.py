"""An index of the words in the texts, for a search in a page that has no server."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from descry.reporting.explorer.packs import Pack

# Maximal runs of letters and digits, in lower case; the page parts what is searched for likewise.
PATTERN = r"[^\W_]{2,}"
SHARE = 0.2  # of the sentences: words of more are not indexed
_WORD = re.compile(PATTERN)
_SIZE = 100_000  # characters of a pack's JSON, about


class Index(NamedTuple):
    """The words and where they are.

    Attributes:
        words: in the order of their characters' numbers.
        start: int64 [words + 1], where each word's part of `rows` begins.
        rows: int64, of each word its first row, then the differences to the next.
        common: words of more than `SHARE` of the sentences.
    """

    words: list[str]
    start: np.ndarray
    rows: np.ndarray
    common: list[str]


def index(texts: Sequence[str]) -> Index:
    """The rows of the texts with each word."""
    from sklearn.feature_extraction.text import CountVectorizer

    if not any(_WORD.search(text.lower()) for text in texts):
        return Index([], np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64), [])
    reader = CountVectorizer(binary=True, token_pattern=PATTERN, dtype=np.int8)
    found = reader.fit_transform(texts).tocsc()
    found.sort_indices()
    names = reader.get_feature_names_out()
    length = np.diff(found.indptr)
    rare = length <= SHARE * len(texts)
    rows = found.indices[np.repeat(rare, length)].astype(np.int64)
    start = np.concatenate([[0], np.cumsum(length[rare])])
    steps = np.diff(rows, prepend=0)
    steps[start[:-1]] = rows[start[:-1]]
    return Index(names[rare].tolist(), start, steps, names[~rare].tolist())


def word_packs(found: Index) -> list[Pack]:
    """The index in packs of about the same size."""
    if not found.words:
        return []
    digits = np.char.str_len(found.rows.astype("U12")) + 1
    of_rows = np.concatenate([[0], np.cumsum(digits)])[found.start]
    of_words = np.cumsum([0, *(len(word) + 9 for word in found.words)])
    number = (of_rows + of_words)[:-1] // _SIZE
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(found.words)]
    return [_pack(k, found, *edge) for k, edge in enumerate(pairwise(edges))]


def _pack(number: int, found: Index, first: int, last: int) -> Pack:
    start = found.start[first : last + 1]
    value = {
        "words": found.words[first:last],
        "start": (start - start[0]).tolist(),
        "rows": found.rows[start[0] : start[-1]].tolist(),
    }
    return Pack(f"words-{number}", value)
