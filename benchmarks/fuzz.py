"""Coverage-guided fuzzing (atheris, libFuzzer) of what reads strangers' bytes.

`reviews`: a file of any format, as bytes. Reading it gives reviews of the documented form, or one
InputError of one printable line. `answers`: an answer of an LLM, as words, as log-probabilities or
as JSON of any form. Parsing it gives a value of the documented form, or an UnparsableError.

    python benchmarks/fuzz.py reviews --seconds 300 --work FOLDER

Prints libFuzzer's own report. A find is an exception or a time-out: the run ends, and the input
lies in --work as crash-*; `--again FILE` runs it once more. What it found is in tests/test_fuzz.py.
"""

import csv
import gzip
import io
import json
import math
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Annotated, Any

import atheris
import pyarrow as pa
import pyarrow.parquet as pq
import typer

with atheris.instrument_imports(include=["descry"]):
    from descry.answers import parse_intruder, parse_rating, parse_verdict
    from descry.errors import InputError
    from descry.prompts import HIGHEST_RATING
    from descry.reviews import Review, read_reviews
    from descry.topics import parse_topics
    from descry.unwrapping import UnparsableError

FORMATS = [".json", ".jsonl", ".csv", ".json.gz", ".csv.gz", ".parquet"]
FINISHES = ["stop", "length", "content_filter", "eos"]
_HEAD = Struct("<Bdd")
FIELDS = ["reviewText", "text"]
LONGEST = 8_192  # bytes of an input
SLOW = 20  # seconds for one input: a hang
WORDS = [
    *('"reviewText"', '"text"', '"overall"', '"unixReviewTime"', '"category"', "NaN", "1e999"),
    *("\\ud83d", "null", "Yes", "No", "none", "stop", "length", "content_filter", '"finish"'),
    *('"yes"', '"no"', "-0.25", "Concepts:", "1. ", "I'm sorry", "out of 10", "Review"),
]
SAMPLE: list[dict[str, Any]] = [
    {"reviewText": "Fits &amp; well\x00", "overall": 5.0, "asin": "B1", "unixReviewTime": 1},
    {"reviewText": "Café, too\nsmall", "overall": 2.0, "asin": None, "unixReviewTime": 2},
]
ANSWERS = [
    "Expected Concepts: [Size, Fit].",
    "1. price\n2) battery life",
    "Yes, it does.",
    "Review 3\n",
    "7.5 out of 10",
    "I'm sorry, as an AI I cannot",
]
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


def reviews(path: Path) -> Callable[[bytes], None]:
    """What is done with one input: its first byte is the format, the rest the file."""

    def read(data: bytes) -> None:
        form = FORMATS[data[0] % len(FORMATS)] if data else FORMATS[0]
        content = data[1:]
        if form.endswith(".gz") and content[:2] != b"\x1f\x8b":
            content = gzip.compress(content, compresslevel=0)  # else all but few are no gzip
        file = path / f"x{form}"
        file.write_bytes(content)
        try:
            found = list(read_reviews([file], FIELDS, 0.5, Counter()))
        except InputError as error:
            assert str(error).isprintable(), repr(str(error))
        else:
            for review in found:
                check(review)

    return read


def check(review: Review) -> None:
    """A review as documented."""
    assert review.text and review.text == " ".join(review.text.split())
    assert review.category
    for text in (review.text, review.category, review.summary, review.asin, review.reviewer):
        assert text is None or text.encode()
    assert review.overall is None or isinstance(review.overall, float)
    assert review.time is None or abs(review.time) <= 2**62
    assert review.line >= 1


def answers(_: Path) -> Callable[[bytes], None]:
    """What is done with one input: a reason of the end, two numbers, and words, maybe JSON."""

    def parse(data: bytes) -> None:
        kind, yes, no = _HEAD.unpack_from(data.ljust(_HEAD.size, b"\0"))
        finish = FINISHES[kind % len(FINISHES)]
        numbers = {"yes": yes, "no": no}
        text = data[_HEAD.size :].decode(errors="replace")
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            told = None
        halves = text + "\ud800"  # half a surrogate pair
        for response in (
            {"text": halves, "finish": finish},
            {"text": text, "finish": finish},
            numbers,
            told,
        ):
            examine(response)

    return parse


def examine(response: Any) -> None:
    """A response goes through every parser."""
    for parse in (topics, verdict, intruder, rating):
        try:
            parse(response)
        except UnparsableError as error:
            assert str(error)


def topics(response: Any) -> None:
    """Phrases as documented."""
    found = parse_topics(response, 5, 3)
    assert 0 < len(found) <= 5 and len(set(found)) == len(found)
    for phrase in found:
        assert phrase == " ".join(phrase.lower().split()) and len(phrase.split()) <= 3
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in phrase)


def verdict(response: Any) -> None:
    """A verdict as documented."""
    found = parse_verdict(response, 0.1)
    assert isinstance(found.yes, bool)
    assert math.isnan(found.odds) or math.isfinite(found.odds)


def intruder(response: Any) -> None:
    """One of the sentences."""
    assert 0 <= parse_intruder(response, 5) < 5


def rating(response: Any) -> None:
    """On the scale."""
    assert 0 <= parse_rating(response) <= HIGHEST_RATING


def seeds(target: str) -> list[bytes]:
    """Inputs from which the fuzzer sets out."""
    if target == "answers":
        return [bytes(_HEAD.size) + text.encode() for text in ANSWERS]
    lines = "".join(json.dumps(record) + "\n" for record in SAMPLE).encode()
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(SAMPLE[0]))
    writer.writeheader()
    writer.writerows(SAMPLE)
    columns = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(SAMPLE), columns)
    rows = table.getvalue().encode()
    files = [lines, lines, rows, gzip.compress(lines), gzip.compress(rows), columns.getvalue()]
    return [bytes([i]) + content for i, content in enumerate(files)]


TARGETS = {"reviews": reviews, "answers": answers}


@app.command()
def main(
    target: Annotated[str, typer.Argument(help="reviews or answers")],
    work: Annotated[Path, typer.Option(help="Folder for the corpus and finds.")],
    seconds: Annotated[int, typer.Option(help="How long.")] = 600,
    again: Annotated[Path | None, typer.Option(help="Run this input alone.")] = None,
) -> None:
    """Fuzz one target; exit status 77 where there is a find."""
    corpus = work / target
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds(target)):
        (corpus / f"seed-{i}").write_bytes(seed)
    words = work / "words.dict"
    words.write_text("".join(f"{json.dumps(word)}\n" for word in WORDS).replace("\\\\", "\\x5c"))
    options = [f"-max_len={LONGEST}", f"-timeout={SLOW}", "-print_final_stats=1"]
    options += [f"-artifact_prefix={work}/", f"-max_total_time={seconds}", f"-dict={words}"]
    atheris.Setup([sys.argv[0], *options, str(again or corpus)], TARGETS[target](work))
    atheris.Fuzz()


if __name__ == "__main__":
    app()
