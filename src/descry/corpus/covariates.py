"""Covariates of sentences: what activations and answers may follow instead of a topic.

Of the text: `words`, `capitals`, `punctuation` and `digits`. Of the target model: `tokens`. Of the
review: any column of the corpus, such as `category` or `overall`.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from descry.corpus.units import SAMPLED, language
from descry.corpus.words import length_of
from descry.errors import InputError
from descry.io.parquet import ROW_GROUP, read_blocks, read_header, table_provenance

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
    table = read_header(corpus, "corpus")
    names_of_rows = _NAMES if SAMPLED not in table.column_names else (*_NAMES, *_OF_POSITIONS)
    columns = [name for name in table.column_names if name not in names_of_rows]
    known = [WORDS, *([TOKENS] if tokens is not None else []), *SHARES, *columns]
    for name in names or ():
        if name == TOKENS and tokens is None:
            raise InputError("label.strata: tokens: run stages activations and exemplars again")
        if name not in known:
            raise InputError(f"label.strata: {name}: must be one of {', '.join(known)}")
    length = length_of(language(table_provenance(table)))
    wanted = known if names is None else names
    found = _of_texts(
        corpus, {n: length if n == WORDS else _share_of(n) for n in wanted if n in (WORDS, *SHARES)}
    )
    if TOKENS in wanted:
        found[TOKENS] = np.asarray(tokens, dtype=np.float64)
    found |= {name: _column(corpus, name) for name in wanted if name in columns}
    return {name: found[name] for name in wanted if names is not None or _differ(found[name])}


def _of_texts(corpus: Path, kinds: Mapping[str, Callable[[str], float]]) -> dict[str, np.ndarray]:
    """Numbers of each text by their names, float64 [sentences]: a block of texts is held at a time.

    Args:
        kinds: what gives each number of a text.
    """
    parts: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] for name in kinds}
    for block in read_blocks(corpus, "corpus", ["text"], ROW_GROUP) if kinds else ():
        texts = block["text"].to_pylist()
        for name, of in kinds.items():
            parts[name].append(np.array([of(text) for text in texts], dtype=np.float64))
    return {name: np.concatenate(part) for name, part in parts.items()}


_KINDS: dict[str, Callable[[str], bool]] = {
    "capitals": str.isupper,
    "punctuation": _PUNCTUATION.__contains__,
    "digits": str.isdigit,
}


def _share_of(name: str) -> Callable[[str], float]:
    kind = _KINDS[name]
    return lambda text: sum(map(kind, text)) / max(1, len(text))


def in_words(names: Sequence[str]) -> str:
    """Return names of covariates in words, such as "length in words and category"."""
    told = {WORDS: "length in words", TOKENS: "length in tokens"}
    told |= {"frequency": "frequency of the word", "sentence_words": "length of the sentence"}
    told |= {name: f"share of {name}" for name in SHARES}
    return " and ".join(told.get(name, name) for name in names)


def _column(corpus: Path, name: str) -> np.ndarray:
    """A column, of which a block is held as it is in the file."""
    blocks = (block[name] for block in read_blocks(corpus, "corpus", [name], ROW_GROUP))
    if not pa.types.is_string(read_header(corpus, "corpus").schema.field(name).type):
        parts = (np.array(one.cast(pa.float64()).to_pylist(), dtype=np.float64) for one in blocks)
        return np.concatenate([np.zeros(0), *parts])
    numbers: list[np.ndarray] = [np.zeros(0)]
    try:
        for one in blocks:
            values = one.to_pylist()
            numbers.append(np.array([np.nan if v is None else float(v) for v in values]))
    except ValueError:
        again = read_blocks(corpus, "corpus", [name], ROW_GROUP)
        return np.concatenate([np.array([v or "" for v in one[name].to_pylist()]) for one in again])
    return np.concatenate(numbers)


def _differ(values: np.ndarray) -> bool:
    if values.dtype.kind != "f":
        return bool((values != values[:1]).any())
    unknown = np.isnan(values)
    if unknown.any():
        return not unknown.all()
    return bool((values != values[:1]).any())
