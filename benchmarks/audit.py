"""How fast a run of the paper's size is audited and verified.

Synthetic: 86,948 sentences of the real mean length, 9,216 neurons of normal noise, 26 descriptors
of 100 raw descriptors each, and a prompt cache with every answer: one to p1, 26 to p2 a sentence.
Exemplars and labels are made by the stages themselves, so that all of it can be verified.

Each command is a process of its own. `md5 and sha256` takes both hashes of every result, one after
the other: what `verify --hashes` is measured against.

    python benchmarks/audit.py --work FOLDER --json out.json

Writes 5 GB into --work and takes them up again.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import typer
from activations import PAPER, Json, Said, Work, folder_for, report
from making import (
    DESCRIPTORS,
    EXAMPLE,
    PHRASES,
    WHO,
    lots,
    say,
    sections,
    write_activations,
    write_annotations,
    write_candidates,
    write_corpus,
    write_sets_and_labels,
)

from descry.annotators.base import NO_FRAME, Answer
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import Prompts, p1, p2
from descry.annotators.records import origin_of, record_of, row_of
from descry.annotators.templates import p1_template
from descry.io.hashing import sha256_text
from descry.io.hdf5 import writing_hdf5
from descry.io.parquet import read_table

GIVEN = 5  # raw descriptors of a sentence
ROUNDS = 3
READ = """
import hashlib, pathlib
for path in pathlib.Path("results").rglob("*"):
    for name in ("md5", "sha256"):
        if path.is_file():
            with path.open("rb") as file:
                hashlib.file_digest(file, name)
"""
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


class Scripted:
    """Who answered: as a hash of the prompt has it."""

    identity, frame, server, packages, quantization = WHO, NO_FRAME, None, (), None


@app.command()
def main(
    sentences: int = PAPER,
    layers: int = 12,
    neurons: int = 768,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """Seconds and peak memory of audit and verify."""
    with folder_for(work) as folder:
        if not (folder / "results/labels.parquet").exists():
            build(folder, sentences, layers, neurons)
        rows = [{"command": name} | measured(folder, command) for name, command in asked(folder)]
        by_name = {row["command"]: row["seconds"] for row in rows}
        ratio = by_name["verify --hashes"] / by_name["md5 and sha256"]
        rows.append({"command": "verify --hashes, times md5 and sha256", "seconds": ratio})
    shape = {"sentences": sentences, "neurons": layers * neurons, "descriptors": DESCRIPTORS}
    report("audit", rows, json_file, rounds=ROUNDS, **shape)


def asked(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands, by name."""
    corpus = read_table(folder / "results/corpus.parquet", "corpus", ["id"])
    sentence = corpus["id"][0].as_py()
    yield "audit L5:24", ["audit", "L5:24"]
    yield "audit L5:24 --json", ["audit", "L5:24", "--json"]
    yield "audit --review", ["audit", "--review", sentence]
    yield "audit --descriptor", ["audit", "--descriptor", "descriptor 3"]
    yield "md5 and sha256", []
    yield "verify --hashes", ["verify", "--hashes"]
    yield "verify --sample 0", ["verify", "--sample", "0"]


def measured(folder: Path, command: list[str]) -> Said:
    """Median seconds and the highest peak memory, of a few rounds (verification: of one)."""
    rounds = ROUNDS if command[:1] == ["audit"] else 1
    found = [once(folder, command) for _ in range(rounds)]
    seconds = median(one["seconds"] for one in found)
    return {"seconds": seconds, "peak_mb": max(one["peak_mb"] for one in found)}


def once(folder: Path, command: list[str]) -> Said:
    arguments = ["-m", "descry", *command] if command else ["-c", READ]
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    said = child.stdout.read() if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{command}: exit status {os.waitstatus_to_exitcode(status)}\n{said[-2000:]}")
    return {"seconds": time.perf_counter() - start, "peak_mb": usage.ru_maxrss / 1024}


# The run


def build(folder: Path, sentences: int, layers: int, neurons: int) -> None:
    """All that the commands read; paths in it are relative to the folder."""
    (folder / "results").mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    params = sections(label={"compose": 0})
    texts = [f"{i} " + "a word of some length " * 20 for i in range(sentences)]
    say("reviews and corpus")
    write_corpus(texts, params)
    table = read_table(Path("results/corpus.parquet"), "corpus")
    ids, texts = table["id"].to_pylist(), table["text"].to_pylist()
    say("raw descriptors and clusters")
    write_answered_candidates(ids, texts, params)
    say("answers")
    answer = lots(sentences)
    store_answers(texts, answer)
    say("activations")
    write_activations(sentences, layers, neurons, params)
    write_annotations(ids, answer, np.where(answer, 2.4, -2.8), params)
    with writing_hdf5(Path("results/judgements.h5"), {"stage": "judge"}):
        pass
    write_sets_and_labels()


def topics(text: str) -> dict[str, Any]:
    """What the scripted annotator says of a sentence."""
    lots = np.random.default_rng(int(sha256_text(text)[:12], 16))
    said = lots.choice(DESCRIPTORS * PHRASES, GIVEN, replace=False)
    return {"text": ", ".join(f"phrase {i}" for i in said), "finish": "stop"}


def write_answered_candidates(ids: list[str], texts: list[str], params: dict[str, Any]) -> None:
    section = params["describe"]
    limits = section["max_descriptors"], section["max_words"]
    template = p1_template(limits[0], [EXAMPLE])
    rows: dict[str, list[str]] = {name: [] for name in ("id", "annotator", "phrase", "key")}
    prompts = p1(texts, template)
    responses = [topics(text) for text in texts]
    store(prompts, responses)
    for name, prompt, response in zip(ids, prompts, responses, strict=True):
        key = WHO.request(prompt).key
        for phrase in parse_topics(response, *limits):
            values = {"id": name, "annotator": WHO.name, "phrase": phrase, "key": key}
            for column, value in values.items():
                rows[column].append(value)
    write_candidates(rows, params)


def store(prompts: Prompts, responses: list[Any]) -> None:
    """Answers into the cache, some thousands at a time."""
    with PromptCache(Path("cache/prompts")) as cache:
        origin = origin_of(Scripted(), NO_FRAME, prompts[0])  # type: ignore[arg-type]
        for start in range(0, len(prompts), 8192):
            span = range(start, min(start + 8192, len(prompts)))
            cache.store(
                origin,
                {
                    WHO.request(prompts[i]).key: record_of(row_of(prompts[i]), Answer(responses[i]))
                    for i in span
                },
            )


def store_answers(texts: list[str], answer: np.ndarray) -> None:
    """Every answer to p2, into the cache."""
    said = {True: {"yes": -0.1, "no": -2.5}, False: {"yes": -3.0, "no": -0.2}}
    prompts = p2(texts, [f"descriptor {d}" for d in range(DESCRIPTORS)])
    store(prompts, [said[bool(yes)] for yes in answer.ravel()])


if __name__ == "__main__":
    app()
