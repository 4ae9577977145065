"""Stage corpus: reviews -> corpus.parquet."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from descry.corpus import Sentence, select, split
from descry.errors import InputError
from descry.reviews import read_reviews
from descry.storage import provenance, write_table

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
        The number of reviews kept, and dropped by reason.

    Raises:
        InputError: a bad review file, or no review left.
    """
    dropped: Counter[str] = Counter()
    kept = select(
        read_reviews(reviews, text_fields, max_invalid, dropped),
        per_category=per_category,
        min_words=min_words,
        max_words=max_words,
        language=language,
        near_duplicate=near_duplicate,
        seed=seed,
        dropped=dropped,
    )
    sentences = split(kept, seed, dropped)
    counts = {reason: n for reason, n in sorted(dropped.items()) if n}
    if not sentences:
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts.items()) or "no reviews at all"
        raise InputError(f"{reviews[0]}: no review is left after filtering ({reasons})")
    made = provenance("corpus", section, reviews, PACKAGES) | {"dropped": counts}
    write_table(output, _table(sentences), made)
    return {"kept": len(sentences)} | counts


def _table(sentences: list[Sentence]) -> pa.Table:
    rows = [
        {"id": s.id, "split": s.split} | {name: getattr(s.review, name) for name in _COLUMNS}
        for s in sentences
    ]
    fields = [("id", pa.string()), ("split", pa.string()), *_COLUMNS.items()]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


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
