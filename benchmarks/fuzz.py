"""Coverage-guided fuzzing (atheris, libFuzzer) of what reads strangers' bytes.

`reviews`: a file of any format, as bytes. Reading it gives reviews of the documented form, or one
InputError of one printable line. `csv`: a CSV file's text alone, read row by row. `answers`: an
answer of an LLM, as words, as log-probabilities or as JSON of any form. Parsing it gives a value of
the documented form, topics without any markup among them, or an UnparsableError.

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
    from descry.annotators.parsing.answers import parse_intruder, parse_rating, parse_verdict
    from descry.annotators.parsing.topics import parse_topics
    from descry.annotators.parsing.unwrap import UnparsableError
    from descry.annotators.prompts import HIGHEST_RATING
    from descry.corpus.csv_lines import form_of, rows
    from descry.corpus.json_lines import BrokenFileError
    from descry.corpus.readers import Review, read_reviews
    from descry.errors import InputError

FORMATS = [".json", ".jsonl", ".csv", ".json.gz", ".csv.gz", ".parquet", ".tsv"]
FINISHES = ["stop", "length", "content_filter", "eos"]
_HEAD = Struct("<Bdd")
FIELDS = ["reviewText", "text"]
LONGEST = 8_192  # bytes of an input
SLOW = 20  # seconds for one input: a hang
WORDS = [
    *('"reviewText"', '"text"', '"overall"', '"unixReviewTime"', '"category"', "NaN", "1e999"),
    *("\\ud83d", "null", "Yes", "No", "none", "stop", "length", "content_filter", '"finish"'),
    *(
        "<think>",
        "</think>",
        "[THINK]",
        "```",
        "**",
        "##",
        "Topics:",
        "Sentence:",
        "<|im_end|>",
        "</s>",
    ),
    *("\\boxed{", '{"topics": [', '{"answer": ', "Sure!", "N/A", "; ", " | ", " and "),
    *("<|channel|>", "<|message|>", "final", "(i) ", "2) ", "The answer is "),
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
    "<think>Hm, topics.</think>\n\nHere are the topics:\n- **Size**: small\n- Fit (good)",
    '```json\n{"topics": ["size", "fit"]}\n```',
    "<|channel|>analysis<|message|>x<|end|><|channel|>final<|message|>1. size 2. fit<|return|>",
    "# Topics\n## Size\n## Fit</s>",
    "| Topic | Why |\n|---|---|\n| Size | small |",
    "There are no salient topics.",
    "Sentence: It fits.\nExpected Concepts: [Fit]\n\nSentence: more",
    '{"answer": "Yes"}',
    "The answer is **No**.",
    "\\boxed{size, fit}",
]
TABLES = ['text,overall\r\n"a ""b"", c",5\r\nd,1\r\n', 'text;x\n"open;1\nb;2\n', "text\tx\na\t1\n"]
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
    """Phrases as documented, which are read as themselves from a JSON list."""
    found = parse_topics(response, 5, 3)
    assert len(found) <= 5 and len(set(found)) == len(found)
    for phrase in found:
        assert phrase == " ".join(phrase.lower().split()) and 0 < len(phrase.split()) <= 3
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in phrase)
        assert not set(phrase) & set("<>{}[]`*#|")
    again = {"text": json.dumps(found), "finish": "stop"}
    assert parse_topics(again, 5, 3) == found


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


def table(_: Path) -> Callable[[bytes], None]:
    """What is done with one input: a CSV file's text, read by the rules of quotes and without."""

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        lines = len(io.StringIO(text, newline="").readlines())
        for plain in (False, True):
            file = io.StringIO(text, newline="")
            form = form_of(file, ["text"], tabs=False)
            file.seek(0)
            try:
                taken = sum(entry.lines for entry in rows(file, form, plain=plain))
                assert taken <= lines, "a line was counted twice"
            except BrokenFileError as error:
                assert 1 <= error.line <= lines
                assert str(error).isprintable(), repr(str(error))

    return read


def seeds(target: str) -> list[bytes]:
    """Inputs from which the fuzzer sets out."""
    if target == "answers":
        return [bytes(_HEAD.size) + text.encode() for text in ANSWERS]
    if target == "csv":
        return [text.encode() for text in TABLES]
    lines = "".join(json.dumps(record) + "\n" for record in SAMPLE).encode()
    sheet = io.StringIO(newline="")
    writer = csv.DictWriter(sheet, list(SAMPLE[0]))
    writer.writeheader()
    writer.writerows(SAMPLE)
    columns = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(SAMPLE), columns)
    spread = sheet.getvalue().encode()
    files = [lines, lines, spread, gzip.compress(lines), gzip.compress(spread), columns.getvalue()]
    return [bytes([i]) + content for i, content in enumerate(files)]


TARGETS = {"reviews": reviews, "csv": table, "answers": answers}


@app.command()
def main(
    target: Annotated[str, typer.Argument(help="reviews, csv or answers")],
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
