"""Clustering of many raw descriptors: does the fast way find the same clusters, and what it costs.

Raw descriptors are pairs of words that follow each other in the sample's reviews, then pairs drawn
by how often words come first and second in such pairs: "battery life", "soft padding".

    agreement  pairs and clusters by bounds, by every cosine, by sentence-transformers and by an
               inverted file of faiss, at several sizes
    stage      the stage at 500,000 distinct raw descriptors, as a process of its own

    python benchmarks/clusters.py agreement --json out.json
    python benchmarks/clusters.py stage --json out.json

Every measurement is a process of its own. CPU-seconds say what wall-clock seconds cannot on a
machine that has other work.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from activations import SAMPLE, Json, Row, Said, Work, folder_for, report
from cost import run
from extractors import peak_mb

from descry.io.hashing import canonical
from descry.io.parquet import write_table
from descry.labels.clustering import communities
from descry.labels.neighbours import Alike, alike
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint
from descry.models.embedder import sentence_embedder
from descry.workflow.params import load

ROOT = Path(__file__).parent.parent
THRESHOLD = 0.6
MANY = 500_000
SIZES = [20_000, 50_000]
MENTIONS = 3  # of a raw descriptor on average
PROBES = (16, 64, 256)  # lists of the inverted file that are looked through
EVERY = 10**9  # rows up to which every cosine is computed
WAYS = ("bounds", "every cosine", "sentence-transformers")
Sizes = Annotated[list[int], typer.Option("--size", help="raw descriptors; again for another size")]
app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    help=__doc__.splitlines()[0],
)


# Raw descriptors


def reviews() -> Iterator[list[str]]:
    """The words of each review of the sample."""
    for file in sorted(SAMPLE.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            yield re.findall(r"[a-z]+", json.loads(line)["reviewText"].lower())


def followed() -> Counter[tuple[str, str]]:
    """How often words of content follow each other."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    def content(word: str) -> bool:
        return len(word) > 2 and word not in ENGLISH_STOP_WORDS

    pairs = (pair for words in reviews() for pair in pairwise(words))
    return Counter(pair for pair in pairs if content(pair[0]) and content(pair[1]))


def phrases(number: int) -> list[str]:
    """So many different raw descriptors: what the sample has first, then what is drawn."""
    pairs, rng = followed(), np.random.default_rng(0)
    found = dict.fromkeys(" ".join(pair) for pair in sorted(pairs))
    while len(found) < number:
        drawn = (_drawn(pairs, place, number, rng) for place in (0, 1))
        found |= dict.fromkeys(f"{one} {other}" for one, other in zip(*drawn, strict=True))
    return list(found)[:number]


def _drawn(
    pairs: Counter[tuple[str, str]], place: int, number: int, rng: np.random.Generator
) -> np.ndarray:
    """Words by how often they stand at a place of a pair."""
    counts: Counter[str] = Counter()
    for pair, times in pairs.items():
        counts[pair[place]] += times
    words = sorted(counts)
    shares = np.array([counts[word] for word in words]) / counts.total()
    return np.array(words)[rng.choice(len(words), number, p=shares)]


def write_candidates(path: Path, number: int) -> None:
    """Each raw descriptor once, and the rest of the mentions by Zipf's law."""
    rng = np.random.default_rng(0)
    often = np.minimum(rng.zipf(1.5, (MENTIONS - 1) * number), number) - 1
    rows = rng.permutation(np.concatenate([np.arange(number), often]))
    table = {
        "id": [f"{row // 5:016x}" for row in range(len(rows))],
        "annotator": ["words"] * len(rows),
        "phrase": pa.array(phrases(number)).take(pa.array(rows)),
        "key": [f"{row // 5:064x}" for row in range(len(rows))],
    }
    write_table(path, pa.table(table), {"stage": "describe"})


# Agreement


@app.command()
def agreement(sizes: Sizes = SIZES, work: Work = None, json_file: Json = None) -> None:
    """Pairs and clusters by each way, held against those by every cosine."""
    rows: list[Row] = []
    with folder_for(work) as folder:
        for size in sizes:
            vectors = folder / f"vectors-{size}.npy"
            if not vectors.exists():
                embed = sentence_embedder(Checkpoint(MINILM, MINILM_COMMIT))
                np.save(vectors, embed(sorted(phrases(size))))
            ways = [*WAYS, *(f"inverted file, {probes} probes" for probes in PROBES)]
            said = {way: alone(folder, vectors, way) for way in ways}
            rows += [{"size": size, "way": way} | one for way, one in said.items()]
            labels = {way: np.load(output(folder, way)) for way in ways}
            for row, way in zip(rows[-len(ways) :], ways, strict=True):
                row |= held_against(labels[way], labels["every cosine"])
    report("clusters: agreement", rows, json_file, threshold=THRESHOLD)


def held_against(labels: np.ndarray, truth: np.ndarray) -> Said:
    """Whether clusters are the same, and Rand's index, adjusted."""
    from sklearn.metrics import adjusted_rand_score

    index = float(adjusted_rand_score(truth, labels))
    return {"clusters": int(labels.max()) + 1, "same": np.array_equal(labels, truth), "ARI": index}


def output(folder: Path, way: str) -> Path:
    """Where a way leaves the cluster of each row."""
    return folder / f"{way.replace(' ', '-')}.npy"


def alone(folder: Path, vectors: Path, way: str) -> Said:
    """A way in a process of its own: {seconds, cpu_seconds, peak_mb, pairs}."""
    job = [sys.executable, __file__, "one", str(vectors), way, str(output(folder, way))]
    done = subprocess.run(job, check=True, capture_output=True, text=True)
    print(f"{way}: {done.stdout.strip()}", file=sys.stderr, flush=True)
    return json.loads(done.stdout.splitlines()[-1])


@app.command(hidden=True)
def one(vectors: Path, way: str, file: Path) -> None:
    """What `alone` starts."""
    unit = np.load(vectors)
    warm_up()
    with timed() as said:
        groups, said["pairs"] = by(way, unit)
    labels = np.empty(len(unit), dtype=np.int32)
    for number, rows in enumerate(groups):
        labels[rows] = number
    np.save(file, labels)
    print(json.dumps(said | {"peak_mb": peak_mb()}))


def warm_up() -> None:
    """Import what the ways import, so that the work alone is timed."""
    import faiss  # noqa: F401
    import sentence_transformers.util  # noqa: F401
    import torch  # noqa: F401


@contextmanager
def timed() -> Iterator[Said]:
    said: Said = {}
    start, used = time.perf_counter(), time.process_time()
    yield said
    said["seconds"], said["cpu_seconds"] = time.perf_counter() - start, time.process_time() - used


def by(way: str, unit: np.ndarray) -> tuple[list[list[int]], int | None]:
    """The clusters by a way, and how many pairs it found."""
    if way == "sentence-transformers":
        import torch
        from sentence_transformers.util import community_detection

        how: dict[str, Any] = {"threshold": THRESHOLD, "min_community_size": 1, "batch_size": 2048}
        return community_detection(torch.from_numpy(unit), **how), None
    if way.startswith("inverted"):
        return by_inverted_file(unit, int(way.split()[-2]))
    with alike(unit, THRESHOLD, EVERY if way == "every cosine" else 0) as pairs:
        return communities(pairs), pairs_of(pairs.sizes)


def pairs_of(sizes: np.ndarray) -> int:
    """How many pairs there are, of how many rows each row is alike to, itself included."""
    return int(np.sum(sizes - 1)) // 2


def by_inverted_file(unit: np.ndarray, probes: int) -> tuple[list[list[int]], int]:
    """faiss' approximate index: rows in lists, of which the nearest few are looked through."""
    import faiss

    lists = int(4 * np.sqrt(len(unit)))
    index = faiss.index_factory(unit.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(unit)
    index.add(unit)
    index.nprobe = probes
    ends, _, second = index.range_search(unit, THRESHOLD)
    first = np.repeat(np.arange(len(unit)), np.diff(ends.astype(np.int64)))
    other = first != second
    with tempfile.TemporaryFile() as file:
        pairs = Alike(len(unit), file, both_ways=False)
        pairs.write(first[other], second[other])
        return communities(pairs), pairs_of(pairs.sizes)


# The stage


@app.command()
def stage(size: int = MANY, work: Work = None, json_file: Json = None) -> None:
    """The stage cluster from its start to its end, embedding included."""
    section = load(ROOT / "params.yaml").model_dump()["cluster"]
    section |= {"threshold": THRESHOLD, "min_size": 5, "min_mentions": 20}
    with folder_for(work) as folder:
        names = ("candidates.parquet", "edits.yaml", "descriptors.json")
        candidates, edits, descriptors = (folder / name for name in names)
        write_candidates(candidates, size)
        edits.write_text("drop: []\n", encoding="utf-8")
        files = [f"candidates={candidates}", f"edits={edits}", f"descriptors={descriptors}"]
        said = run(["stage", "cluster", *files, "-p", canonical(section)])
        found = json.loads(descriptors.read_text(encoding="utf-8"))
    clusters = len(found["descriptors"]) + len(found["dropped"]) + found["too_small"]
    rows = [{"raw descriptors": size, "clusters": clusters} | said]
    report("clusters: the stage", rows, json_file, threshold=THRESHOLD)


if __name__ == "__main__":
    app()
