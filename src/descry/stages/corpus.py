"""Stage corpus: reviews -> corpus.parquet."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from descry.corpus.filters import WITHOUT_BLANKS, Sentence, select, split
from descry.corpus.readers import read_reviews
from descry.errors import InputError
from descry.io.parquet import ROW_GROUP, regrouped, row_count, write_batches
from descry.io.provenance import provenance
from descry.io.temp_database import spilling

PACKAGES = ["datasketch", "py3langid", "pyarrow"]


def run(
    reviews: list[Path],
    output: Path,
    *,
    section: dict[str, Any],
    text_fields: list[str],
    per_category: int,
    min_words: int,
    max_words: int,
    language: str,
    near_duplicate: float,
    max_invalid: float,
    seed: int,
) -> dict[str, int]:
    """Write the corpus: a row per sentence, in the order of ids.

    Returns:
        The number of reviews kept, and dropped by reason; and what is worth a note of those kept:
        which field gave the text where several did, and values that are not what they should be.

    Raises:
        InputError: a bad review file, or no review left.
    """
    dropped: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    with spilling() as database:
        kept = select(
            read_reviews(reviews, text_fields, max_invalid, dropped, noted),
            database,
            per_category=per_category,
            min_words=min_words,
            max_words=max_words,
            language=language,
            near_duplicate=near_duplicate,
            seed=seed,
            dropped=dropped,
        )
        sentences = split(kept, database, seed, dropped)
        first = next(sentences, None)
        counts = {reason: n for reason, n in sorted(dropped.items()) if n}
        if first is None:
            why = ", ".join(f"{n} {reason}" for reason, n in counts.items()) or "no reviews at all"
            raise InputError(
                f"{reviews[0]}: no review is left after filtering ({why}){_unit(counts, language)}"
            )
        made = provenance("corpus", section, reviews, PACKAGES) | {"dropped": counts}
        notes = _notes(noted)
        made |= {"noted": notes} if notes else {}
        write_batches(output, _SCHEMA, _groups(chain([first], sentences)), made)
    return {"kept": row_count(output, "corpus")} | counts | notes


def _unit(counts: dict[str, int], language: str) -> str:
    """What the limits count, where they leave reviews out."""
    if not {"too short", "too long"} & counts.keys():
        return ""
    unit = "characters" if language in WITHOUT_BLANKS else "words between blanks"
    return f": corpus.min_words and max_words count {unit} in corpus.language {language}"


def _notes(noted: Counter[str]) -> dict[str, int]:
    """What is worth saying: not that all texts come from one field."""
    fields = [name for name in noted if name.startswith("text of ")]
    return {name: n for name, n in sorted(noted.items()) if len(fields) > 1 or name not in fields}


def _groups(sentences: Iterator[Sentence]) -> Iterator[pa.Table]:
    """Row groups of the file, put together of pieces: rows as Python's objects take more memory."""
    pieces = map(_batch, iter(lambda: list(islice(sentences, _PIECE)), []))
    return (group.combine_chunks() for group in regrouped(pieces, ROW_GROUP))


def _batch(sentences: list[Sentence]) -> pa.RecordBatch:
    rows = [
        {"id": s.id, "split": s.split} | {name: getattr(s.review, name) for name in _COLUMNS}
        for s in sentences
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)


_PIECE = 4_096  # rows
_COLUMNS = {
    "category": pa.string(),
    "text": pa.string(),
    "summary": pa.string(),
    "overall": pa.float64(),
    "asin": pa.string(),
    "reviewer": pa.string(),
    "time": pa.int64(),
    "source": pa.string(),
    "line": pa.int64(),
}
_SCHEMA = pa.schema([("id", pa.string()), ("split", pa.string()), *_COLUMNS.items()])
