"""Stage corpus: reviews -> corpus.parquet."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Self

import pyarrow as pa
from pydantic import Field, model_validator

from descry.corpus.files import passed_over, review_files
from descry.corpus.filters import Sentence, select, split
from descry.corpus.readers import read_reviews
from descry.corpus.words import WITHOUT_BLANKS
from descry.errors import InputError
from descry.io.parquet import ROW_GROUP, regrouped, row_count, write_batches
from descry.io.provenance import provenance
from descry.io.section import Count, Place, Section, Seed, Share, crossed
from descry.io.temp_database import spilling

PACKAGES = ["datasketch", "py3langid", "pyarrow"]


class Corpus(Section):
    """Reviews to filtered, deduplicated, split sentences (section 4.2)."""

    reviews: Place
    text_fields: Annotated[list[str], Field(min_length=1)]
    columns: list[str] | None
    per_category: Count
    min_words: Count
    max_words: Count
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")]
    near_duplicate: Annotated[float, Field(gt=0, le=0.99)]
    max_invalid: Share
    seed: Seed

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.min_words > self.max_words:
            raise crossed(
                f"corpus.min_words {self.min_words} is more than corpus.max_words {self.max_words}"
            )
        every = [*_SCHEMA.names, *(self.columns or ())]
        if twice := [name for name in self.columns or () if every.count(name) > 1]:
            raise crossed(f"corpus.columns: the corpus has a column {twice[0]} already")
        return self


def build_corpus(params: Corpus, *, reviews: Sequence[Path], corpus: Path) -> dict[str, object]:
    """Write the corpus: a row per sentence, in the order of ids.

    Args:
        reviews: files, or folders of them.

    Returns:
        The number of reviews kept, and dropped by reason; notes about the kept reviews (which field
        gave the text if several did, and values that are not as they should be); and what was
        skipped in the folders.

    Raises:
        InputError: a bad review file, or no review left.
    """
    files = [file for path in reviews for file in review_files(path)]
    dropped: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    with spilling() as database:
        kept = select(
            read_reviews(
                files, params.text_fields, params.max_invalid, dropped, noted, params.columns or ()
            ),
            database,
            per_category=params.per_category,
            min_words=params.min_words,
            max_words=params.max_words,
            language=params.language,
            near_duplicate=params.near_duplicate,
            seed=params.seed,
            dropped=dropped,
        )
        sentences = split(kept, database, params.seed, dropped)
        first = next(sentences, None)
        counts = {reason: n for reason, n in sorted(dropped.items()) if n}
        if first is None:
            why = ", ".join(f"{n} {reason}" for reason, n in counts.items()) or "no reviews at all"
            raise InputError(
                f"{files[0]}: no review is left after filtering ({why})"
                f"{_unit(counts, params.language)}"
            )
        made = provenance("corpus", params.model_dump(), files, PACKAGES) | {"dropped": counts}
        notes = _notes(noted)
        made |= {"noted": notes} if notes else {}
        schema = pa.schema([*_SCHEMA, *((name, pa.string()) for name in params.columns or ())])
        write_batches(corpus, schema, _groups(chain([first], sentences), schema), made)
    beside = passed_over([*reviews, Path(params.reviews)], files)
    kept_now = {"kept": row_count(corpus, "corpus")}
    return {**kept_now, **counts, **notes, **beside}


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


def _groups(sentences: Iterator[Sentence], schema: pa.Schema) -> Iterator[pa.Table]:
    """Row groups of the file, put together of pieces: rows as Python's objects take more memory."""
    pieces = (_batch(piece, schema) for piece in iter(lambda: list(islice(sentences, _PIECE)), []))
    return (group.combine_chunks() for group in regrouped(pieces, ROW_GROUP))


def _batch(sentences: list[Sentence], schema: pa.Schema) -> pa.RecordBatch:
    rows = [
        {"id": s.id, "split": s.split}
        | {name: getattr(s.review, name) for name in _COLUMNS}
        | s.review.columns
        for s in sentences
    ]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


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
