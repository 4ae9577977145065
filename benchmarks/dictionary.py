"""Latents of a sparse autoencoder beside neurons: labels, speed and memory.

    labels   trains a TopK SAE (Gao et al. 2024) on the residual stream of one layer, over the
             calibration half of a run's corpus; then latents, the site's neurons, and the latents
             of a dictionary with directions by lot get labels of the same answers
    speed    tokens of the sample through a model, with and without an encoder of random weights
    memory   peak memory where latents stream by: so many, on so many synthetic sentences

    python benchmarks/dictionary.py labels --results results --json out.json
    python benchmarks/dictionary.py speed --model FOLDER_OR_GGUF --json out.json
    python benchmarks/dictionary.py memory --json out.json

`labels` wants corpus.parquet, descriptors.json and annotations.h5 of a run. How many labels random
sets of the same strata get stands beside each; a label is replicated where the half that did not
choose it confirms it (p < .05 within strata), and `by chance` is that of the same descriptors on
other neurons or latents.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
import torch
import typer
from activations import Json, Row, Said, folder_for, report, reviews, section_of, target_of
from topk_sae import TopKSAE, train

from descry.activations.exemplar_files import read_exemplars
from descry.activations.extraction import Block
from descry.activations.outputs import stats_output
from descry.activations.sparse import Firings
from descry.activations.store import TOKENS
from descry.activations.streaming import SparseStats
from descry.activations.top_k import HIGHEST, NOBODY
from descry.corpus.splits import HALVES, split_rows
from descry.evaluation.headline import LEVEL, borne_out, halves_tested
from descry.io.parquet import read_table, table_provenance
from descry.io.provenance import provenance
from descry.io.sharding import WHOLE
from descry.labels.results import read_labels
from descry.models.batching import in_parallel, plan_batches
from descry.models.checkpoints import Checkpoint
from descry.models.dictionaries.dictionary import Dictionary, dictionary_sha256
from descry.models.hooked_model import HookedModel, Position
from descry.models.hookpoints import RESIDUAL
from descry.workflow.params import load
from descry.workflow.pinning import pinned

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "data/sample"
PERCENT = 2.0  # of a split, in a set
app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    help=__doc__.splitlines()[0],
)
Model = Annotated[Path | None, typer.Option(help="a folder or GGUF file; default all-MiniLM-L6-v2")]


def checkpoint_of(model: Path | None) -> Checkpoint:
    """The model that is meant, as it is now."""
    if model is None:
        return Checkpoint(**target_of(None))
    return Checkpoint(**pinned({"model": str(model), "revision": "unpinned"}))


def hooked(
    checkpoint: Checkpoint, layer: int, position: Position, dictionary: Path | None, dtype: str
) -> HookedModel:
    """The model at the residual stream of one layer."""
    found = dictionary and Dictionary(str(dictionary), dictionary_sha256(dictionary))
    return HookedModel(
        checkpoint,
        site=RESIDUAL,
        position=position,
        layers=[layer],
        dtype=dtype,
        device="cpu",
        max_tokens=256,
        dictionary=found or None,
    )


def computed(model: HookedModel, batches: list[list[list[int]]]) -> list[np.ndarray]:
    """What the model puts out for each batch."""
    return list(in_parallel(model.activations, batches, model.device))


# Labels


@app.command()
def labels(
    results: Path = ROOT / "results",
    model: Model = None,
    layer: int = 3,
    expansion: int = 4,
    k: int = 16,
    epochs: int = 30,
    batch: int = 512,
    position: str = "max",
    percent: float = PERCENT,
    seed: int = 0,
    sae: Annotated[Path | None, typer.Option(help="one that was trained, in --work")] = None,
    work: Annotated[Path | None, typer.Option(help="keep the files here")] = None,
    json_file: Json = None,
) -> None:
    """Labels of latents, of neurons, and of random directions, with the same answers."""
    checkpoint, corpus = checkpoint_of(model), results / "corpus.parquet"
    table = read_table(corpus, "corpus", ["text", "split"])
    halves = {half: split_rows(table["split"].to_pylist())[half] for half in HALVES}
    every = hooked(checkpoint, layer, "tokens", None, "float32")
    texts = np.array(table["text"].to_pylist(), dtype=object)
    learnt, held = (tokens_of(every, texts[rows].tolist()) for rows in halves.values())
    start = time.perf_counter()
    width = learnt.shape[1]
    how_long = {"epochs": epochs, "batch": batch, "seed": seed}
    trained = (
        TopKSAE.load(sae) if sae else train(learnt, latents=expansion * width, k=k, **how_long)
    )
    taken = time.perf_counter() - start
    by_lot = trained.shuffled(seed)
    learning = {"latents": trained.encoder.shape[1], "k": trained.k, "tokens": len(learnt)}
    learning |= {} if sae else {"seconds": taken}
    learning["explained, seen"], _ = trained.explained(learnt)
    learning["explained, held out"], learning["latents that fire"] = trained.explained(held)
    report("training", [learning], None)
    rows = []
    with folder_for(work) as folder:
        named = f"blocks.{layer}.hook_resid_post"
        places = {
            "latents": trained.save(folder / "sae", model=checkpoint.model, hook=named),
            "latents by lot": by_lot.save(folder / "lot", model=checkpoint.model, hook=named),
            "neurons": None,
        }
        how = {"layers": [layer], "position": position, "percent": percent}
        for name, place in places.items():
            told = labelled(folder / "runs" / name, place, checkpoint, results, **how)
            rows.append({"of": name} | told)
    options = {"model": checkpoint.model, "epochs": epochs, "seed": seed, "training": learning}
    report("labels", rows, json_file, **how | options)


def tokens_of(model: HookedModel, texts: list[str]) -> np.ndarray:
    """The values of all tokens of texts, float32 [tokens, width]."""
    ids = model.tokenize(texts)
    plan = plan_batches([len(one) for one in ids], 2048)
    found = computed(model, [[ids[row] for row in rows] for rows in plan])
    return np.concatenate(found)[:, 0]


def labelled(
    folder: Path,
    dictionary: Path | None,
    checkpoint: Checkpoint,
    results: Path,
    *,
    layers: list[int],
    position: str,
    percent: float,
) -> Said:
    """Stages activations, exemplars and label, and what the labels are worth."""
    from descry.stages.activations import Activations, extract_activations
    from descry.stages.exemplars import Exemplars, select_exemplars
    from descry.stages.label import label_neurons

    folder.mkdir(parents=True, exist_ok=True)
    params = load(ROOT / "params.yaml")
    target = {"model": checkpoint.model, "revision": checkpoint.revision}
    whose = dictionary and {"path": str(dictionary), "revision": dictionary_sha256(dictionary)}
    section = params.activations.model_dump() | {"target": target, "site": RESIDUAL}
    section |= {"position": position, "layers": layers, "dictionary": whose, "device": "cpu"}
    files = {"corpus": results / "corpus.parquet", "activations": folder / "activations.h5"}
    files["activations"].unlink(missing_ok=True)
    extract_activations(Activations(**section), **files, progress=lambda *_: None)
    selection = Exemplars(**params.exemplars.model_dump() | {"top_percent": percent})
    exemplars = folder / "exemplars.h5"
    said = select_exemplars(selection, None, **files, exemplars=exemplars)
    made = {one: folder / f"{one}.parquet" for one in ("labels", "composed")}
    label_neurons(
        params.label.model_copy(update={"compose": 0}),
        corpus=files["corpus"],
        exemplars=exemplars,
        annotations=results / "annotations.h5",
        neurons=folder / "neurons.json",
        **made,
    )
    found = read_labels(made["labels"], HIGHEST)
    chance = table_provenance(read_table(made["labels"], "label", ["end"]))["chance"][HIGHEST]
    halves = halves_tested(found)
    shares = borne_out(*halves)
    whole = found.splits["all"].assigned
    confirmed = halves.assigned & (np.nan_to_num(halves.p, nan=1.0) < LEVEL)
    sets = read_exemplars(exemplars, "all")
    number = whole.shape[1]
    return {
        "number": number,
        "dead": said.get("never change", 0),
        "rare": said.get("fire on too few", 0),
        "with a set": int((sets != NOBODY).any(axis=2).sum()),
        "labels": int(whole.sum()),
        "labelled": int(whole.any(axis=2).sum()),
        "random sets": chance and chance["random_labels"],
        "of halves": shares.labels,
        "replicated": shares.value,
        "low": shares.low,
        "high": shares.high,
        "by chance": shares.base,
        "with a replicated label": float(confirmed.any(axis=(0, 2)).sum() / number),
    }


# Speed


@app.command()
def speed(
    model: Model = None,
    latents: int = 16_384,
    k: int = 32,
    positions: list[str] = ["last", "mean"],  # noqa: B006 # typer's lists
    layers: list[int] = [],  # noqa: B006
    sentences: int = 512,
    batch_tokens: int = 2048,
    dtype: str = "float32",
    rounds: int = 5,
    json_file: Json = None,
) -> None:
    """Seconds of a pass over texts, with an encoder and without; ways go in turns."""
    checkpoint = checkpoint_of(model)
    texts = reviews(SAMPLE)[:sentences]
    depth = len(hooked_layers(checkpoint, dtype))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for layer in layers or [depth // 2, depth - 1]:
            for position in positions:
                plain = hooked(checkpoint, layer, position, None, dtype)
                place = random_dictionary(Path(scratch, "sae"), plain.neurons, latents, k)
                ways = {
                    "plain": plain,
                    "latents": hooked(checkpoint, layer, position, place, dtype),
                }
                ids = plain.tokenize(texts)
                plan = plan_batches([len(one) for one in ids], batch_tokens)
                batches = [[ids[row] for row in some] for some in plan]
                taken: dict[str, list[np.ndarray]] = {name: [] for name in ways}
                for _ in range(rounds):
                    for name, way in ways.items():
                        start = clocks()
                        computed(way, batches)
                        taken[name].append(clocks() - start)
                plainly, with_latents = (np.array(found) for found in taken.values())
                (wall, cpu), (wall_with, cpu_with) = (
                    np.median(found, axis=0).tolist() for found in (plainly, with_latents)
                )
                ratio, of_cpu = np.median(with_latents / plainly, axis=0).tolist()
                rows.append(
                    {"layer": layer, "of": depth, "position": position, "width": plain.neurons}
                    | {"plain": wall, "latents": wall_with, "ratio": ratio}
                    | {"plain, CPU": cpu, "latents, CPU": cpu_with, "ratio of CPU": of_cpu}
                )
                print(rows[-1], file=sys.stderr, flush=True)
    tokens = sum(map(len, ids))
    report("speed", rows, json_file, model=checkpoint.name, latents=latents, k=k, tokens=tokens)


def clocks() -> np.ndarray:
    """Seconds on the wall, and of this process on all cores."""
    return np.array([time.perf_counter(), time.process_time()])


def hooked_layers(checkpoint: Checkpoint, dtype: str) -> list[int]:
    """The layers of the model."""
    how: dict[str, Any] = {"site": RESIDUAL, "position": "last", "layers": None, "dtype": dtype}
    return HookedModel(checkpoint, **how, device="cpu", max_tokens=256).layers


def random_dictionary(folder: Path, width: int, latents: int, k: int) -> Path:
    """A TopK of random directions, as SAELens saves one."""
    lots = torch.Generator().manual_seed(0)
    encoder = torch.randn(width, latents, generator=lots) / width**0.5
    sae = TopKSAE(encoder, torch.zeros(latents), encoder.T, torch.zeros(width), k)
    return sae.save(folder, model="", hook="")


# Memory


@app.command()
def memory(
    latents: list[int] = [16_384, 131_072],  # noqa: B006
    sentences: list[int] = [25_000, 100_000],  # noqa: B006
    fires: int = 32,
    keep: int = 1000,
    percent: float = 0.5,
    json_file: Json = None,
) -> None:
    """Peak memory of what is kept of latents, and of the sets made of it: a process each."""
    rows: list[Row] = []
    for number in latents:
        for texts in sentences:
            job = {"latents": number, "sentences": texts, "fires": fires, "keep": keep}
            job["percent"] = percent
            for stage in ("stream", "sets"):
                with tempfile.TemporaryDirectory() as scratch:
                    for part in ("stream", "sets")[: 1 + (stage == "sets")]:
                        said = alone(part, job | {"folder": scratch})
                rows.append({"stage": stage} | job | said)
                print(rows[-1], file=sys.stderr, flush=True)
    report("memory", rows, json_file)


def alone(part: str, job: Said) -> Said:
    """What a part says of itself, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "part", part, json.dumps(job)],
        stdout=subprocess.PIPE,
        check=True,
    )
    said: Said = json.loads(done.stdout.splitlines()[-1])
    return said


@app.command(hidden=True)
def part(name: str, given: str) -> None:
    """A part of `memory`."""
    job = json.loads(given)
    begun, start = peak(), time.perf_counter()
    (stream if name == "stream" else sets)(job)
    print(
        json.dumps({"seconds": time.perf_counter() - start, "peak_mb": peak(), "begun_mb": begun})
    )


def peak() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stream(job: Said) -> None:
    """Firings by lot: some latents often, most seldom (as 1/rank), some never."""
    folder, number, block = Path(job["folder"]), job["sentences"], 4096
    lots = np.random.default_rng(0)
    weights = np.cumsum(1 / np.arange(1, job["latents"] // 10 * 9 + 1))
    write_synthetic(folder / "corpus.parquet", number)
    table = read_table(folder / "corpus.parquet", "corpus", ["split"])
    halves = np.array(table["split"].to_pylist())
    made = made_by(folder / "corpus.parquet", job)
    stats = SparseStats(job["latents"], job["keep"])
    with stats_output(folder / "activations.h5", made, {}, stats, block, WHOLE) as output:
        for first in range(0, number, block):
            size = min(block, number - first)
            drawn = lots.random((size, job["fires"])) * weights[-1]
            latent = np.unique(
                np.arange(size)[:, None] * job["latents"] + np.searchsorted(weights, drawn)
            )
            row, neuron = np.divmod(latent, job["latents"])
            value = lots.exponential(size=len(row)).astype(np.float32)
            order = np.lexsort((row, neuron))
            firings = Firings(
                (size, job["latents"]),
                row[order].astype(np.int32),
                neuron[order].astype(np.int32),
                value[order],
            )
            some = halves[first : first + size]
            length = np.full(size, 20, dtype=np.int32)
            output.add(Block(first // block, [], np.arange(size), size, some, length), firings)


def write_synthetic(path: Path, sentences: int) -> None:
    """A corpus whose texts nobody reads."""
    from activations import hashed, write_corpus

    ids = sorted(hashed(str(row)) for row in range(sentences))
    write_corpus(path, ids, ids)


def made_by(corpus: Path, job: Said) -> Said:
    """What stage activations would say of itself."""
    section = section_of(None, store="exemplars", keep=job["keep"])
    made: Said = provenance("activations", section, [corpus], ["numpy"])
    told = {"kind": "latent", "latents": job["latents"]}
    return made | {"position": "cls", "layers": [0], "max_tokens": 256, "dictionary": told}


def sets(job: Said) -> None:
    """Stage exemplars of what was streamed."""
    from descry.stages.exemplars import Exemplars, select_exemplars

    folder = Path(job["folder"])
    selection = Exemplars(top_percent=job["percent"], min_size=5, window=12, lowest=False)
    names = "corpus.parquet", "activations.h5", "exemplars.h5"
    corpus, activations, exemplars = (folder / name for name in names)
    files = {"corpus": corpus, "activations": activations, "exemplars": exemplars}
    said = select_exemplars(selection, None, **files)
    with h5py.File(exemplars) as file:
        assert len(file[TOKENS]) == job["sentences"]
    print(said, file=sys.stderr)


if __name__ == "__main__":
    app()
