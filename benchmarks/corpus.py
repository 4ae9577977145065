"""How many reviews a second become a corpus, and in how much memory.

The given reviews once, twice, four times ... up to `--times`, in files of a copy each:

    limit            copies with their words in another order, at most 5,000 of a category kept
    everything       the same, all kept
    near duplicates  copies that end in another word: hardly one is kept, and each must be compared

Each measurement is a run of `descry stage corpus` from start to end. Reviews per second are of
processor time, which other work on the machine changes least.

    python benchmarks/corpus.py --reviews FOLDER --times 12 --work FOLDER --json out.json
"""

import gzip
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from activations import Json, Row, Work, folder_for, report

from descry.corpus.files import review_files
from descry.corpus.readers import Review, read_reviews
from descry.io.hashing import canonical
from descry.io.parquet import row_count
from descry.workflow.params import load

ROOT = Path(__file__).parent.parent
ALL = 10**9  # reviews of a category: none has as many
FIELDS = ["reviewText", "text"]
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


def reordered(text: str, copy: int) -> str:
    """Another text of the same words; the text itself as copy 0."""
    words = text.split()
    if copy:
        random.Random(f"{copy}:{text}").shuffle(words)
    return " ".join(words)


def marked(text: str, copy: int) -> str:
    """Nearly the same text."""
    return f"{text} copy{copy}" if copy else text


Change = Callable[[str, int], str]
VARIANTS: dict[str, tuple[Change, int | None]] = {  # and reviews of a category; None: as in params
    "limit": (reordered, None),
    "everything": (reordered, ALL),
    "near duplicates": (marked, None),
}


@app.command()
def main(
    reviews: Annotated[Path, typer.Option(help="a review file, or a folder of them")] = (
        ROOT / "data/sample"
    ),
    times: Annotated[int, typer.Option(min=1, help="copies at most")] = 16,
    variant: Annotated[list[str] | None, typer.Option(help="some of them; default all")] = None,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """Reviews a second and peak memory of stage corpus, as the reviews grow."""
    section = load(ROOT / "params.yaml").corpus.model_dump() | {"text_fields": FIELDS}
    rows: list[Row] = []
    with folder_for(work) as folder:
        for name in variant or VARIANTS:
            change, limit = VARIANTS[name]
            files, read = written(folder, reviews, times, change)
            params = section | ({"per_category": limit} if limit else {})
            for copies in sizes(times):
                said = measured(files[:copies], folder / "corpus.parquet", params)
                shape = {"variant": name, "reviews": read * copies}
                speed = read * copies / said["processor seconds"]
                rows.append(shape | said | {"reviews per second": speed})
                print(json.dumps(rows[-1]), flush=True)
    report("corpus", rows, json_file, times=times)


def sizes(times: int) -> list[int]:
    """1, 2, 4 ... and the largest."""
    powers = [2**i for i in range(times.bit_length())]
    return sorted({*powers, times})


def measured(files: list[Path], output: Path, section: Row) -> Row:
    """A run of the stage: reviews kept, seconds and peak memory."""
    named = [*(f"reviews={file}" for file in files), f"corpus={output}"]
    command = ["stage", "corpus", *named, "-p", canonical(section)]
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "descry", *command])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"corpus: exit status {os.waitstatus_to_exitcode(status)}")
    return {
        "kept": row_count(output, "corpus"),
        "seconds": time.perf_counter() - start,
        "processor seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def written(folder: Path, reviews: Path, times: int, change: Change) -> tuple[list[Path], int]:
    """A file of each copy, and the reviews of one."""
    files = [folder / f"{change.__name__}-{copy}.jsonl.gz" for copy in range(times)]
    read = 0
    for copy, file in enumerate(files):
        given = read_reviews(review_files(reviews), FIELDS, 1.0, Counter())
        read = write_copy(file, given, copy, change)
    return files, read


def write_copy(file: Path, reviews: Iterable[Review], copy: int, change: Change) -> int:
    """Write the reviews, each text changed; how many they are."""
    written = 0
    with gzip.open(file, "wt", encoding="utf-8", compresslevel=1) as lines:
        for review in reviews:
            lines.write(json.dumps(record(review, change(review.text, copy))) + "\n")
            written += 1
    return written


def record(review: Review, text: str) -> Row:
    return {
        "category": review.category,
        "text": text,
        "summary": review.summary,
        "overall": review.overall,
        "asin": review.asin,
        "reviewerID": review.reviewer,
        "unixReviewTime": review.time,
    }


if __name__ == "__main__":
    app()
