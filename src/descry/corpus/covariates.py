"""Covariates of sentences: what activations and answers may follow instead of a topic.

Of the text: `words`, `capitals`, `punctuation` and `digits`. Of the target model: `tokens`. Of the
review: any column of the corpus, such as `category` or `overall`.
"""

import string
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from descry.corpus.units import SAMPLED, language
from descry.corpus.words import length_of
from descry.errors import InputError
from descry.io.parquet import read_table, table_provenance

WORDS, TOKENS = "words", "tokens"
SHARES = ("capitals", "punctuation", "digits")  # of a text's characters
TIME = "time"  # a column of seconds since 1970
_PUNCTUATION = frozenset(string.punctuation + "‘’“”…–—¡¿。、，！？：；「」")
# Names of sentences, not what they have in common.
_NAMES = ("id", "split", "text", "summary", "asin", "reviewer", "source", "line")
_OF_POSITIONS = ("sentence", "token", "word", "piece", SAMPLED)


def covariates(
    corpus: Path, names: Sequence[str] | None = None, tokens: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return covariates of every sentence, by name: float64 or text [sentences].

    A missing number is NaN, a missing text is empty. A column of texts that are all numbers counts
    as a column of numbers.

    Args:
        corpus: corpus.parquet.
        names: names of covariates; None for all that differ between sentences.
        tokens: int [sentences], tokens of each sentence, if they are known.

    Raises:
        InputError: there is no covariate of that name.
    """
    table = read_table(corpus, "corpus")
    names_of_rows = _NAMES if SAMPLED not in table.column_names else (*_NAMES, *_OF_POSITIONS)
    columns = [name for name in table.column_names if name not in names_of_rows]
    known = [WORDS, *([TOKENS] if tokens is not None else []), *SHARES, *columns]
    for name in names or ():
        if name == TOKENS and tokens is None:
            raise InputError("label.strata: tokens: run stages activations and exemplars again")
        if name not in known:
            raise InputError(f"label.strata: {name}: must be one of {', '.join(known)}")
    found = {}
    texts = table["text"].to_pylist()
    for name in known if names is None else names:
        if name == WORDS:
            length = length_of(language(table_provenance(table)))
            values = np.array([length(text) for text in texts], dtype=np.float64)
        elif name == TOKENS:
            values = np.asarray(tokens, dtype=np.float64)
        elif name in SHARES:
            values = np.array([_share(text, _KINDS[name]) for text in texts])
        else:
            values = _column(table[name])
        if names is not None or _differ(values):
            found[name] = values
    return found


_KINDS: dict[str, Callable[[str], bool]] = {
    "capitals": str.isupper,
    "punctuation": _PUNCTUATION.__contains__,
    "digits": str.isdigit,
}


def _share(text: str, kind: Callable[[str], bool]) -> float:
    return sum(map(kind, text)) / max(1, len(text))


def in_words(names: Sequence[str]) -> str:
    """Return names of covariates in words, such as "length in words and category"."""
    told = {WORDS: "length in words", TOKENS: "length in tokens"}
    told |= {"frequency": "frequency of the word", "sentence_words": "length of the sentence"}
    told |= {name: f"share of {name}" for name in SHARES}
    return " and ".join(told.get(name, name) for name in names)


def _column(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_string(column.type):
        return np.array(column.cast(pa.float64()).to_pylist(), dtype=np.float64)
    values = column.to_pylist()
    try:
        numbers = np.array([np.nan if value is None else float(value) for value in values])
    except ValueError:
        return np.array(["" if value is None else value for value in values])
    return numbers


def _differ(values: np.ndarray) -> bool:
    return len(np.unique(values)) > 1
