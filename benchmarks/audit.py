"""How fast a run of the paper's size is audited and verified.

Synthetic: 86,948 sentences of the real mean length, 9,216 neurons of normal noise, 26 descriptors
of 100 raw descriptors each, and a prompt cache with every answer: one to p1, 26 to p2 a sentence.
Exemplars and labels are made by the stages themselves, so that all of it can be verified.

Each command is a process of its own. `md5 and sha256` takes both hashes of every result, one after
the other: what `verify --hashes` is measured against.

    python benchmarks/audit.py --work FOLDER --json out.json

Writes 5 GB into --work and takes them up again.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import typer
import yaml
from activations import BLOCK, PAPER, Json, Said, Work, fill, folder_for, report

from descry.asking import origin_of, record_of
from descry.cache import PromptCache
from descry.labellers import NO_FRAME, Answer, Identity
from descry.models import MINILM_SHA256
from descry.params import load
from descry.prompts import Prompts, p1, p1_template, p2, parse_topics
from descry.splits import HALVES, sentence_id
from descry.storage import (
    canonical,
    provenance,
    read_table,
    sha256_text,
    write_json,
    write_table,
    writing_hdf5,
)

ROOT = Path(__file__).parent.parent
DESCRIPTORS, PHRASES, GIVEN = 26, 100, 5  # raw descriptors of each, and of a sentence
EXAMPLE = {"sentence": "The price was fair.", "concepts": ["price"]}
WHO = Identity("scripted", "scripted", "v1", "none", "none")
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

    identity, frame, server, packages = WHO, NO_FRAME, None, ()


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
    corpus = read_table(folder / "results/corpus.parquet", "corpus", ["id", "text"])
    sentence, text = corpus["id"][0].as_py(), corpus["text"][0].as_py()
    key = WHO.request(p2([text], ["descriptor 3"])[0]).key
    yield "audit L5:24", ["audit", "L5:24"]
    yield "audit L5:24 --json", ["audit", "L5:24", "--json"]
    yield "audit --review", ["audit", "--review", sentence]
    yield "audit --descriptor", ["audit", "--descriptor", "descriptor 3"]
    yield "audit --prompt", ["audit", "--prompt", key]
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
    params = sections()
    texts = [f"{i} " + "a word of some length " * 20 for i in range(sentences)]
    say("reviews and corpus")
    write_corpus(texts, params)
    table = read_table(Path("results/corpus.parquet"), "corpus")
    ids, texts = table["id"].to_pylist(), table["text"].to_pylist()
    say("raw descriptors and clusters")
    write_candidates(ids, texts, params)
    say("answers")
    answer = write_answers(ids, texts, params)
    say("activations")
    write_activations(sentences, layers, neurons, params)
    write_annotations(ids, answer, params)
    with writing_hdf5(Path("results/judgements.h5"), {"stage": "judge"}):
        pass
    for stage, arguments in (
        ("exemplars", ["results/corpus.parquet", "results/activations.h5"]),
        ("label", [f"results/{n}" for n in ("corpus.parquet", "exemplars.h5", "annotations.h5")]),
    ):
        say(stage)
        descry(stage, arguments, canonical(params[stage]))


def descry(stage: str, arguments: list[str], section: str) -> None:
    name = {"exemplars": "exemplars.h5", "label": "labels.parquet"}[stage]
    also = ["--composed", "results/composed.parquet", "--neurons", "results/neurons.json"]
    command = [sys.executable, "-m", "descry", stage, *arguments, "-o", f"results/{name}"]
    command += (also if stage == "label" else []) + ["-p", section]
    subprocess.run(command, check=True)


def say(what: str) -> None:
    print(f"making {what}", file=sys.stderr, flush=True)


def sections() -> dict[str, Any]:
    """The shipped params, with what the paper has otherwise; as params.yaml of the folder."""
    params = load(ROOT / "params.yaml").model_dump()
    params["corpus"] |= {"reviews": "reviews.jsonl", "text_fields": ["text"]}
    params["cluster"] |= {"edits": "edits.yaml"}
    params["exemplars"] |= {"top_percent": 1.0}
    params["label"] |= {"threshold": 0.07, "broad": 1.0, "compose": 0}
    params["describe"] |= {"example": EXAMPLE}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    Path("edits.yaml").write_text("drop: []\n", encoding="utf-8")
    return params


def write_corpus(texts: list[str], params: dict[str, Any]) -> None:
    texts = [" ".join(text.split()) for text in texts]
    lines = (json.dumps({"text": text}) + "\n" for text in texts)
    Path("reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    rows = sorted((sentence_id(text), text, line) for line, text in enumerate(texts, 1))
    ids, ordered, places = (list(column) for column in zip(*rows, strict=True))
    none = pa.nulls(len(ids), pa.string())
    table = pa.table(
        {
            "id": ids,
            "split": [HALVES[row % 2] for row in range(len(ids))],
            "category": ["reviews"] * len(ids),
            "text": ordered,
            "summary": none,
            "overall": pa.nulls(len(ids), pa.float64()),
            "asin": none,
            "reviewer": none,
            "time": pa.nulls(len(ids), pa.int64()),
            "source": ["reviews.jsonl"] * len(ids),
            "line": places,
        }
    )
    made = provenance("corpus", params["corpus"], [Path("reviews.jsonl")], [])
    write_table(Path("results/corpus.parquet"), table, made)


def topics(text: str) -> dict[str, Any]:
    """What the scripted labeller says of a sentence."""
    lots = np.random.default_rng(int(sha256_text(text)[:12], 16))
    said = lots.choice(DESCRIPTORS * PHRASES, GIVEN, replace=False)
    return {"text": ", ".join(f"phrase {i}" for i in said), "finish": "stop"}


def write_candidates(ids: list[str], texts: list[str], params: dict[str, Any]) -> None:
    section = params["describe"]
    limits = section["max_descriptors"], section["max_words"]
    template = p1_template(limits[0], EXAMPLE["sentence"], EXAMPLE["concepts"])
    rows: dict[str, list[str]] = {name: [] for name in ("id", "labeller", "phrase", "key")}
    prompts = p1(texts, template)
    responses = [topics(text) for text in texts]
    store(prompts, responses)
    for name, prompt, response in zip(ids, prompts, responses, strict=True):
        key = WHO.request(prompt).key
        for phrase in parse_topics(response, *limits):
            values = {"id": name, "labeller": WHO.name, "phrase": phrase, "key": key}
            for column, value in values.items():
                rows[column].append(value)
    made = provenance("describe", section, [Path("results/corpus.parquet")], [])
    made |= {"labellers": [WHO.as_json() | {"frame": [*NO_FRAME]}], "example": EXAMPLE}
    write_table(Path("results/candidates.parquet"), pa.table(rows), made)
    write_clusters(rows["phrase"], params)


def write_clusters(given: list[str], params: dict[str, Any]) -> None:
    """Descriptor d is made of 100 phrases; it is named by hand nowhere."""
    phrases, counts = np.unique(given, return_counts=True)
    mentions = dict(zip(phrases.tolist(), counts.tolist(), strict=True))
    entries = []
    for d in range(DESCRIPTORS):
        own = [f"phrase {i}" for i in range(d * PHRASES, (d + 1) * PHRASES)]
        of = {phrase: mentions[phrase] for phrase in own if phrase in mentions}
        total = sum(of.values())
        entry = {"name": f"descriptor {d}", "mentions": total, "phrases": of}
        entries.append(entry | {"edited_from": ["a name"]})
    Path("edits.yaml").write_text(
        yaml.safe_dump({"rename": {f"phrase {d}": f"descriptor {d}" for d in range(DESCRIPTORS)}}),
        encoding="utf-8",
    )
    inputs = [Path("results/candidates.parquet"), Path("edits.yaml")]
    made = provenance("cluster", params["cluster"], inputs, [])
    whole = {"made": made, "descriptors": entries, "dropped": [], "too_small": 0}
    write_json(Path("results/descriptors.json"), whole)


def store(prompts: Prompts, responses: list[Any]) -> None:
    """Answers into the cache, some thousands at a time."""
    with PromptCache(Path("cache/prompts")) as cache:
        origin = origin_of(Scripted(), NO_FRAME, prompts[0])  # type: ignore[arg-type]
        for start in range(0, len(prompts), 8192):
            span = range(start, min(start + 8192, len(prompts)))
            cache.store(
                origin,
                {
                    WHO.request(prompts[i]).key: record_of(prompts[i], Answer(responses[i]))
                    for i in span
                },
            )


def write_answers(ids: list[str], texts: list[str], params: dict[str, Any]) -> np.ndarray:
    """Every answer to p2, by lot; into the cache, and as int8 [sentences, descriptors]."""
    rates = np.linspace(0.01, 0.2, DESCRIPTORS)
    answer = np.random.default_rng(0).random((len(ids), DESCRIPTORS)) < rates
    said = {True: {"yes": -0.1, "no": -2.5}, False: {"yes": -3.0, "no": -0.2}}
    prompts = p2(texts, [f"descriptor {d}" for d in range(DESCRIPTORS)])
    store(prompts, [said[bool(yes)] for yes in answer.ravel()])
    return answer.astype(np.int8)


def write_annotations(ids: list[str], answer: np.ndarray, params: dict[str, Any]) -> None:
    inputs = [Path("results/corpus.parquet"), Path("results/descriptors.json")]
    made = provenance("annotate", params["annotate"], inputs, [])
    with writing_hdf5(Path("results/annotations.h5"), made) as file:
        file.attrs["labeller"] = canonical(WHO.as_json())
        file.attrs["frame"] = canonical([*NO_FRAME])
        file.create_dataset("id", data=np.array(ids, dtype="S16"))
        names = np.array([f"descriptor {d}".encode() for d in range(DESCRIPTORS)], dtype=object)
        file.create_dataset("descriptor", data=names)
        file.create_dataset("answer", data=answer)
        file.create_dataset("score", data=np.where(answer, 2.4, -2.8).astype(np.float32))
        for name in ("asked", "sampled"):
            file.create_dataset(name, data=np.ones(len(ids), dtype=bool))


def write_activations(sentences: int, layers: int, neurons: int, params: dict[str, Any]) -> None:
    section = params["activations"] | {"block": BLOCK}
    corpus = Path("results/corpus.parquet")
    made = provenance("activations", section, [corpus], [])
    made |= {"weights": MINILM_SHA256, "site": "ffn_output", "position": "cls"}
    made |= {"layers": list(range(layers))}
    with writing_hdf5(Path("results/activations.h5"), made) as file:
        fill(file, corpus, (sentences, layers, neurons))


if __name__ == "__main__":
    app()
