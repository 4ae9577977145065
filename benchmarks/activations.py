"""How fast activations and exemplar sets come, in how much memory, and beside other tools.

Every measurement is a process of its own (extractors.py), timed from after its imports; rounds go
in turns, and medians are said.

    peers      one model's activations by descry, hooks, nnsight, TransformerLens and Interpreto
    selection  exemplar sets of 86,948 sentences x 9,216 neurons, and of twice the sentences,
               against sorting with numpy
    streaming  peak memory at 100,000 and 1,000,000 sentences where only exemplars are stored
    precision  how many exemplars bfloat16 changes
    gpu        BERT-base's shape on an accelerator, against the machine's measured matrix rate

    python benchmarks/activations.py peers --reviews REVIEWS.jsonl.gz --json out.json
    python benchmarks/activations.py selection --work FOLDER --json out.json
    python benchmarks/activations.py streaming --json out.json
    python benchmarks/activations.py precision --reviews REVIEWS.jsonl.gz --json out.json
    python benchmarks/activations.py gpu --reviews REVIEWS.jsonl.gz --json out.json
    python benchmarks/activations.py gpu --device cpu --sentences 2000

`peers` installs the other tools, of exact versions, in environments of their own (1.5 GB each; kept
in --envs); one that cannot be installed or fails is named with the reason. `selection` writes 10 GB
into --work and takes them up again.
"""

import gzip
import hashlib
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from descry.activations.store import DATA, Layout, Writer, begin
from descry.io.csv_rows import defined
from descry.io.json_files import read_json, write_json
from descry.io.parquet import read_table, write_table
from descry.io.provenance import provenance
from descry.io.readable import ANY
from descry.models.batching import quiet
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, contents_sha256

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "descry-benchmarks"
PAPER = 86_948  # sentences
BATCH, MAX_TOKENS, BLOCK = 32, 256, 4096
TOP_PERCENT = 1.0
TOLERANCE = 1e-3  # of a float32 activation, relative to its neuron's root mean square
# Exact versions; torch comes first, in a pip command of its own, so that an index which offers a
# CPU build of it is taken at its word.
TORCH = "torch==2.13.0"
COMMON = [TORCH, "transformers==5.23.0", "tokenizers==0.23.3", "numpy==2.4.6"]
PEERS = {
    "nnsight": ["nnsight==0.8.1", *COMMON],
    "transformer-lens": ["transformer-lens==4.3.0", *COMMON],
    "interpreto": ["interpreto==0.5.2", "nnsight==0.7.0", *COMMON],
}

Row = dict[str, Any]
Job = dict[str, Any]
Said = dict[str, Any]
Json = Annotated[Path | None, typer.Option("--json", help="write the figures here")]
Reviews = Annotated[Path, typer.Option("--reviews", help="JSON lines, .gz or not, or their folder")]
Folder = Annotated[Path | None, typer.Option(help="a BERT model; default all-MiniLM-L6-v2")]
Work = Annotated[Path | None, typer.Option(help="keep the files here; default a passing folder")]
Rounds = Annotated[int, typer.Option(min=1)]
SAMPLE = ROOT / "data/sample"
app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    help=__doc__.splitlines()[0],
)


class Failed(Exception):
    """A tool that cannot be installed or cannot do it; says why in a few words."""


# Texts, corpora and models


def reviews(path: Path) -> list[str]:
    """The different review texts of 10 to 200 words, in the order of the file."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    texts = []
    for file in files:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
            records = map(json.loads, lines)
            texts += [record.get("reviewText") or record.get("text") or "" for record in records]
    return list(dict.fromkeys(text for text in texts if 10 <= len(text.split()) <= 200))


def evenly(texts: list[str], number: int) -> list[str]:
    """So many of them, evenly over the list, in the order of a hash: as a corpus is."""
    number = min(number, len(texts))
    drawn = [texts[i * len(texts) // number] for i in range(number)]
    return sorted(drawn, key=hashed)


def hashed(text: str) -> str:
    """An id as descry's sentences have it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_corpus(path: Path, texts: list[str], ids: list[str] | None = None) -> Path:
    """A corpus as the first stage writes it; the texts are in the order of their ids."""
    ids = ids or [hashed(text) for text in texts]
    halves = ["validation" if int(name, 16) % 2 else "calibration" for name in ids]
    table = pa.table({"id": ids, "split": halves, "text": texts})
    write_table(path, table, {"stage": "corpus"})
    return path


def target_of(folder: Path | None) -> dict[str, str]:
    """The model as a section of params names it."""
    if folder is None:
        return {"model": MINILM, "revision": MINILM_COMMIT}
    return {"model": str(folder), "revision": contents_sha256(folder)}


def section_of(folder: Path | None, dtype: str = "float32", **changed: Any) -> dict[str, Any]:
    """The section `activations` of params."""
    return {
        "target": target_of(folder),
        "unit": "sentence",
        "peaks": 1,
        "sample": 100,
        "seed": 0,
        "site": "ffn_output",
        "position": "cls",
        "sinks": None,
        "layers": None,
        "dictionary": None,
        "dtype": dtype,
        "device": "cpu",
        "max_tokens": MAX_TOKENS,
        "batch_tokens": 2048,
        "block": BLOCK,
        "store": "matrix",
        "store_dtype": "float32",
        "keep": 1000,
    } | changed


def exemplar_section() -> dict[str, Any]:
    """The section `exemplars` of params, as the stage takes it."""
    return {"top_percent": TOP_PERCENT, "min_size": 1, "window": 12, "lowest": False}


def exemplar_rows(path: Path) -> np.ndarray:
    """The exemplar sets of the whole corpus: [layer, neuron, exemplar]."""
    with h5py.File(path) as file:
        return np.asarray(file["all/row"][:])


def make_bert(folder: Path, texts: list[str], vocabulary: int, **shape: int) -> Path:
    """A BERT with random weights and a WordPiece tokenizer that learnt from the texts."""
    if (folder / "model.safetensors").exists():
        return folder
    import torch
    from tokenizers import BertWordPieceTokenizer
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    inner = BertWordPieceTokenizer()
    inner.train_from_iterator(texts, vocab_size=vocabulary, show_progress=False)
    ends = [(token, inner.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    inner._tokenizer.post_processor = BertProcessing(*ends)
    names = {name: f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner._tokenizer,
        model_max_length=512,
        **{f"{name}_token": token for name, token in names.items()},
    )
    quiet()
    torch.manual_seed(0)
    config = BertConfig(vocab_size=vocabulary, pad_token_id=tokenizer.pad_token_id, **shape)
    tokenizer.save_pretrained(folder)
    BertModel(config).save_pretrained(folder)
    return folder


# Processes


def measured(way: str, job: Job, python: Path = Path(sys.executable)) -> Said:
    """What a way says of its work: {seconds, peak_mb, versions, ...}.

    Raises:
        Failed: it failed; the last line of what it said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "job.json")
        file.write_text(json.dumps(job), encoding="utf-8")
        script = Path(__file__).with_name("extractors.py")
        done = subprocess.run(
            [python, "-P", "-W", "ignore", script, way, file],
            capture_output=True,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
    if done.returncode:
        raise Failed(last_line(done.stderr) or f"exit status {done.returncode}")
    said = json.loads(done.stdout.splitlines()[-1])
    print(f"{way}: {said['seconds']:.1f} s", file=sys.stderr, flush=True)
    return said


def last_line(text: str) -> str:
    """The last line that says something, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else ""


def environment(folder: Path, pins: list[str]) -> Path:
    """The Python of an environment with these packages, made where it is not there yet.

    Raises:
        Failed: it cannot be made.
    """
    python, listed = folder / "bin" / "python", folder / "pins.txt"
    wanted = "\n".join(pins)
    if listed.exists() and listed.read_text(encoding="utf-8") == wanted:
        return python
    print(f"{folder.name}: installing {', '.join(pins)}", file=sys.stderr, flush=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    steps = [[sys.executable, "-m", "venv", "--clear", folder]]
    for command in [*steps, [*install, TORCH], [*install, *pins]]:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"not installed: {last_line(done.stderr)}")
    listed.write_text(wanted, encoding="utf-8")
    return python


@contextmanager
def folder_for(work: Path | None) -> Iterator[Path]:
    """The folder given, or one that goes afterwards."""
    if work:
        work.mkdir(parents=True, exist_ok=True)
        yield work
    else:
        with tempfile.TemporaryDirectory(prefix="descry-benchmark-") as scratch:
            yield Path(scratch)


def in_turns(work: dict[str, Callable[[], Said]], rounds: int) -> dict[str, list[Said] | Failed]:
    """What each way said in each round; a way that failed is not tried again."""
    said: dict[str, list[Said] | Failed] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            found = said[name]
            if isinstance(found, Failed):
                continue
            try:
                found.append(run())
            except Failed as failure:
                print(f"{name}: {failure}", file=sys.stderr, flush=True)
                said[name] = failure
    return said


def median(said: list[Said], what: str) -> float:
    """The median of a figure over the rounds."""
    return statistics.median(one[what] for one in said)


def medians(work: dict[str, Callable[[], Said]], rounds: int) -> dict[str, Said]:
    """The medians of seconds and peak memory; here nothing may fail."""
    found = {}
    for name, said in in_turns(work, rounds).items():
        if isinstance(said, Failed):
            raise Failed(f"{name}: {said}")
        found[name] = {what: median(said, what) for what in ("seconds", "peak_mb")}
    return found


# What is said


def report(part: str, rows: list[Row], json_file: Path | None, **options: Any) -> None:
    """Print a part's rows, and write them where that is wanted."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=part)
    for name in columns:
        table.add_column(name.replace("_mb", " MB"), overflow="fold")
    for row in rows:
        table.add_row(*(escape(shown(row.get(name))) for name in columns))
    Console().print(table)
    if json_file:
        packages = ("torch", "transformers", "numpy", "h5py")
        machine = {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "bfloat16": has_bfloat16(),
            "versions": {name: version(name) for name in packages},
        }
        value = {"part": part, "machine": machine, "options": options, "rows": rows}
        write_json(json_file, defined(value))


def shown(value: Any) -> str:
    """A figure for people."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.3f}" if abs(value) >= 0.01 or not value else f"{value:.1e}"


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    said = Path("/proc/cpuinfo")
    words = set(said.read_text(encoding="utf-8").split()) if said.exists() else set()
    return bool(words & {"avx512_bf16", "amx_bf16"})


# peers


@app.command()
def peers(
    reviews_file: Reviews = SAMPLE,
    sentences: int = 2000,
    rounds: Rounds = 3,
    model_folder: Folder = None,
    envs: Annotated[Path, typer.Option(help="the other tools' environments")] = CACHE / "peers",
    json_file: Json = None,
) -> None:
    """The same activations by every tool, text to outputs; descry writes its file, too."""
    texts = evenly(reviews(reviews_file), sentences)
    model = model_folder or Checkpoint(MINILM, MINILM_COMMIT).folder
    name = model_folder.name if model_folder else MINILM
    with folder_for(None) as scratch:
        job = peer_job(model, texts, scratch)
        work = hook_work(job) | peer_work(job, envs) | descry_work(model_folder, texts, scratch)
        said = in_turns(work, rounds)
        rows = peer_rows(said, len(texts), scratch)
    report("peers", rows, json_file, sentences=len(texts), rounds=rounds, model=name)


def peer_job(model: Path, texts: list[str], scratch: Path) -> Job:
    """What all tools are asked."""
    layers = read_json(model / "config.json", ANY)["num_hidden_layers"]
    job = {"folder": str(model), "texts": texts, "batch": BATCH, "max_tokens": MAX_TOKENS}
    return job | {"layers": layers, "scratch": str(scratch)}


def output_of(scratch: Path, name: str) -> Path:
    """Where a tool's activations go."""
    return scratch / f"{name.replace(' ', '-')}.npy"


def hook_work(job: Job) -> dict[str, Callable[[], Said]]:
    """Forward hooks by hand, in this environment."""
    ways = {"plain hooks": "plain", "hooks, sorted by length": "by length"}

    def run(name: str) -> Said:
        return measured(ways[name], job | {"output": str(output_of(Path(job["scratch"]), name))})

    return {name: lambda name=name: run(name) for name in ways}


def peer_work(job: Job, envs: Path) -> dict[str, Callable[[], Said]]:
    """The other tools, each in an environment of its own."""

    def run(name: str) -> Said:
        python = environment(envs / name, PEERS[name])
        output = str(output_of(Path(job["scratch"]), name))
        return measured(name, job | {"output": output}, python)

    return {name: lambda name=name: run(name) for name in PEERS}


def descry_work(
    folder: Path | None, texts: list[str], scratch: Path
) -> dict[str, Callable[[], Said]]:
    """Descry's stage, in float32 and where the processor has it bfloat16."""
    corpus = write_corpus(scratch / "corpus.parquet", texts)

    def run(dtype: str) -> Said:
        file = scratch / f"{dtype}.h5"
        section = section_of(folder, dtype)
        said = measured(
            "activations", {"corpus": str(corpus), "output": str(file), "section": section}
        )
        with h5py.File(file) as read:
            np.save(output_of(scratch, f"descry {dtype}"), read[DATA][:])
        file.unlink()  # the next round writes it anew
        return said

    found = {"descry float32": lambda: run("float32")}
    return found | ({"descry bfloat16": lambda: run("bfloat16")} if has_bfloat16() else {})


def peer_rows(said: dict[str, list[Said] | Failed], sentences: int, scratch: Path) -> list[Row]:
    """A row a tool: seconds, against descry, and how far its outputs are from the plain loop's."""
    ours, plain = said["descry float32"], said["plain hooks"]
    if isinstance(plain, Failed):
        raise Failed(f"plain hooks: {plain}")
    truth = np.load(output_of(scratch, "plain hooks"))
    base = None if isinstance(ours, Failed) else median(ours, "seconds")
    rows: list[Row] = []
    for name, found in said.items():
        if isinstance(found, Failed):
            rows.append({"tool": name, "remark": str(found)})
            continue
        seconds = median(found, "seconds")
        apart = difference(np.load(output_of(scratch, name)), truth)
        wrong = (apart is None or apart >= TOLERANCE) and name != "descry bfloat16"
        rows.append(
            {
                "tool": " ".join([name, *filter(None, [found[0]["versions"].get(name)])]),
                "seconds": seconds,
                "sentences/s": sentences / seconds,
                "against descry": base and seconds / base,
                "peak MB": median(found, "peak_mb"),
                "difference": apart,
                "remark": "WRONG" if wrong else "",
            }
        )
    return rows


def difference(found: np.ndarray, truth: np.ndarray) -> float | None:
    """The largest difference, relative to its neuron's root mean square over the sentences.

    None where they cannot be compared: another shape, or not finite.
    """
    if found.shape != truth.shape or not np.isfinite(found).all():
        return None
    scale = np.sqrt(np.mean(truth.astype(np.float64) ** 2, axis=0))
    return float((np.abs(found - truth).max(axis=0) / scale).max())


# selection


@app.command()
def selection(
    work: Work = None,
    sentences: int = PAPER,
    layers: int = 12,
    neurons: int = 768,
    sorted_layers: Annotated[int, typer.Option(help="layers that numpy sorts, then scaled")] = 1,
    rounds: Rounds = 3,
    json_file: Json = None,
) -> None:
    """Exemplar sets at 1% from a matrix on disk, against numpy, and of twice the sentences.

    Descry makes those of both halves, too, and the neurons' distributions; numpy only the whole's.
    """
    share = sorted_layers / layers
    with folder_for(work) as folder:
        once = synthetic(folder, sentences, layers, neurons)
        twice = synthetic(folder, 2 * sentences, layers, neurons)
        size = math.ceil(round(sentences * TOP_PERCENT / 100, 9))
        plain = {"activations": str(once["activations"]), "layers": sorted_layers, "size": size}
        plain["output"] = str(folder / "argsort.npy")
        found = medians(
            {
                "descry": lambda: measured("exemplars", once),
                "descry, twice the sentences": lambda: measured("exemplars", twice),
                f"numpy.argsort, {sorted_layers} of {layers} layers": lambda: measured(
                    "argsort", plain
                ),
            },
            rounds,
        )
        rows = [{"way": name} | figures for name, figures in found.items()]
        ours, double, theirs = found.values()
        rows.append(
            {
                "way": "numpy.argsort, scaled to all layers",
                "seconds": theirs["seconds"] / share,
                "peak_mb": theirs["peak_mb"] / share,
            }
        )
        rows.append({"way": "twice the sentences, ratio"} | ratios(double, ours))
        rows.append({"way": "numpy scaled against descry, ratio"} | ratios(rows[3], ours))
        rows.append({"way": "share of neurons with numpy's set", "share": same_sets(once, plain)})
    report("selection", rows, json_file, sentences=sentences, neurons=layers * neurons)


def ratios(this: Said, that: Said) -> Row:
    """Of time and of memory."""
    return {what: this[what] / that[what] for what in ("seconds", "peak_mb")}


def same_sets(job: Job, plain: Job) -> float:
    """The share of the neurons that numpy sorted of which both have the same set."""
    ours = exemplar_rows(Path(job["output"]))[: plain["layers"]]
    ours = np.sort(ours.reshape(-1, ours.shape[-1]), axis=1)
    theirs = np.sort(np.load(plain["output"]).T, axis=1)
    return float((ours == theirs).all(axis=1).mean())


def synthetic(folder: Path, sentences: int, layers: int, neurons: int) -> Job:
    """The job of selecting from normal noise, laid out as the stage lays it; written once."""
    name = f"{sentences}x{layers}x{neurons}"
    corpus, file = folder / f"{name}.parquet", folder / f"{name}.h5"
    if not corpus.exists():
        ids = sorted(hashed(str(row)) for row in range(sentences))
        write_corpus(corpus, ids, ids)
    if not file.exists():
        print(f"writing {file}", file=sys.stderr, flush=True)
        made = provenance("activations", {"block": BLOCK}, [corpus], [])
        made |= {"position": "cls", "layers": list(range(layers))}
        write_noise(file, made, corpus, (sentences, layers, neurons))
    names = {"corpus": corpus, "activations": file, "output": folder / f"{name}.exemplars.h5"}
    return {key: str(path) for key, path in names.items()} | {"section": exemplar_section()}


def write_noise(
    path: Path, made: dict[str, Any], corpus: Path, shape: tuple[int, int, int]
) -> None:
    """A matrix of normal noise, block by block as the stage writes it."""
    ids = read_table(corpus, "corpus")["id"].to_pylist()
    index = {"id": np.array(ids, dtype="S")}
    part = begin(path, made, {}, Layout(*shape, "float32", BLOCK), index)
    with closing(Writer(part)) as writer:
        for block, start in enumerate(range(0, shape[0], BLOCK)):
            noise = np.random.default_rng([0, start])
            rows = min(BLOCK, shape[0] - start)
            values = noise.standard_normal((rows, *shape[1:]), np.float32)
            writer.write(block, start, values, noise.integers(6, 40, rows))
    part.rename(path)


# streaming


@app.command()
def streaming(
    small: int = 100_000,
    large: int = 1_000_000,
    work: Work = None,
    rounds: Rounds = 1,
    json_file: Json = None,
) -> None:
    """Peak memory of the stage at two sizes of corpus where only exemplars are stored."""
    words = vocabulary(400)
    with folder_for(work) as folder:
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = make_bert(folder / "tiny", words, 500, intermediate_size=32, **shape)
        found = medians(
            {
                f"{size:,} sentences": lambda size=size: stream(folder, model, words, size)
                for size in (small, large)
            },
            rounds,
        )
    rows = [
        {"corpus": name} | figures | {"sentences/s": size / figures["seconds"]}
        for (name, figures), size in zip(found.items(), (small, large), strict=True)
    ]
    rows.append({"corpus": "ratio"} | ratios(rows[1], rows[0]))
    report("streaming", rows, json_file, rounds=rounds)


def vocabulary(size: int) -> list[str]:
    """Words of three syllables."""
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    drawn = random.Random(0)
    return sorted({"".join(drawn.choices(syllables, k=3)) for _ in range(size)})


def stream(folder: Path, model: Path, words: list[str], size: int) -> Said:
    """One run of the stage over so many short sentences."""
    corpus, output = folder / f"{size}.parquet", folder / f"{size}.h5"
    if not corpus.exists():
        drawn = random.Random(size)
        ids = sorted(hashed(str(row)) for row in range(size))
        texts = [" ".join(drawn.choices(words, k=drawn.randint(3, 8))) for _ in ids]
        write_corpus(corpus, texts, ids)
    output.unlink(missing_ok=True)
    section = section_of(model, store="exemplars")
    job = {"corpus": str(corpus), "output": str(output), "section": section}
    return measured("activations", job)


# precision


@app.command()
def precision(
    reviews_file: Reviews = SAMPLE,
    sentences: int = 2000,
    rounds: Rounds = 1,
    model_folder: Folder = None,
    json_file: Json = None,
) -> None:
    """The exemplar sets at 1% in bfloat16 against those in float32."""
    texts = evenly(reviews(reviews_file), sentences)
    with folder_for(None) as folder:
        corpus = write_corpus(folder / "corpus.parquet", texts)
        found = medians(
            {
                dtype: lambda dtype=dtype: extract(folder, corpus, model_folder, dtype)
                for dtype in ("float32", "bfloat16")
            },
            rounds,
        )
        sets = [select(folder, corpus, dtype) for dtype in found]
    shared = shared_members(*sets)
    rows: list[Row] = [
        {"what": f"{dtype}, seconds", "figure": s["seconds"]} for dtype, s in found.items()
    ]
    rows += [
        {
            "what": "float32 against bfloat16, seconds",
            "figure": rows[0]["figure"] / rows[1]["figure"],
        },
        {"what": "exemplars of a neuron", "figure": sets[0].shape[-1]},
        {"what": "share of neurons whose set differs", "figure": float((shared < 1).mean())},
        {"what": "mean share of shared members", "figure": float(shared.mean())},
    ]
    report("precision", rows, json_file, sentences=len(texts), rounds=rounds)


def extract(folder: Path, corpus: Path, model: Path | None, dtype: str) -> Said:
    """Activations of a corpus in a dtype."""
    output = folder / f"{dtype}.h5"
    output.unlink(missing_ok=True)
    section = section_of(model, dtype)
    job = {"corpus": str(corpus), "output": str(output), "section": section}
    return measured("activations", job)


def select(folder: Path, corpus: Path, dtype: str) -> np.ndarray:
    """Their exemplar sets: [layer, neuron, exemplar]."""
    names = {"corpus": corpus, "activations": folder / f"{dtype}.h5"}
    output = folder / f"{dtype}.exemplars.h5"
    job = {key: str(path) for key, path in names.items()} | {"output": str(output)}
    measured("exemplars", job | {"section": exemplar_section()})
    return exemplar_rows(output)


def shared_members(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """Of every neuron, the share of its set that is in its other set."""
    size = these.shape[-1]
    pairs = zip(these.reshape(-1, size), those.reshape(-1, size), strict=True)
    return np.array([len(np.intersect1d(a, b)) / size for a, b in pairs])


# gpu


@app.command()
def gpu(
    reviews_file: Reviews = SAMPLE,
    sentences: int = PAPER,
    rounds: Rounds = 3,
    device: str = "cuda",
    dtype: str = "bfloat16",
    batch_tokens: int = 8192,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """BERT-base's shape, text to finished HDF5, against the measured matrix rate."""
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        print("gpu: no CUDA device on this machine; --device cpu --sentences 2000 tries it without")
        return
    source = reviews(reviews_file)
    with folder_for(work) as folder:
        model = make_bert(folder / "bert-base", source, 30_522)
        texts = drawn_texts(source, sentences)
        corpus = write_corpus(folder / "corpus.parquet", list(texts.values()), list(texts))
        size, times = (2048, 5) if device == "cpu" else (8192, 20)
        square = {"device": device, "dtype": dtype, "size": size, "times": times}
        machine = measured("rate", square)
        section = section_of(model, dtype, device=device, batch_tokens=batch_tokens)
        job = {"corpus": str(corpus), "output": str(folder / "activations.h5"), "section": section}
        said = [run_anew(job | {"watch": machine.get("gpu")}) for _ in range(rounds)]
        lengths = token_lengths(model, list(texts.values()))
        rows = gpu_rows(said, machine["rate"], lengths, read_json(model / "config.json", ANY))
    told = {"device": device, "dtype": dtype, "batch_tokens": batch_tokens, "rounds": rounds}
    if device != "cpu":
        told["name"] = torch.cuda.get_device_name(device)
    report("gpu", rows, json_file, sentences=sentences, **told)


def run_anew(job: Job) -> Said:
    """A run of the stage that finds nothing of an earlier one."""
    Path(job["output"]).unlink(missing_ok=True)
    return measured("activations", job)


def drawn_texts(source: list[str], number: int) -> dict[str, str]:
    """Texts by id, drawn with replacement: the ids make them different sentences."""
    drawn = random.Random(0).choices(source, k=number)
    return dict(sorted((hashed(f"{row} {text}"), text) for row, text in enumerate(drawn)))


def token_lengths(model: Path, texts: list[str]) -> np.ndarray:
    """How many tokens each sentence has, cut as the stage cuts."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    parts = (texts[start : start + 4096] for start in range(0, len(texts), 4096))
    return np.array([len(one.ids) for part in parts for one in tokenizer.encode_batch(part)])


def operations(lengths: np.ndarray, config: dict[str, int]) -> float:
    """Operations of a forward pass over the real tokens: two a weight and token, and attention.

    Attention's two products are L x L a sentence; embeddings and the pooler do not count.
    """
    width, layers = config["hidden_size"], config["num_hidden_layers"]
    weights = 4 * width**2 + 2 * width * config["intermediate_size"]
    tokens, squares = float(lengths.sum()), float((lengths.astype(np.float64) ** 2).sum())
    return layers * (2 * weights * tokens + 4 * width * squares)


def gpu_rows(
    said: list[Said], rate_: float, lengths: np.ndarray, config: dict[str, int]
) -> list[Row]:
    """What a run on the accelerator came to."""
    seconds, work = median(said, "seconds"), operations(lengths, config)
    busy = [one["busy"] for one in said if "busy" in one]
    figures = {
        "sentences": len(lengths),
        "tokens": int(lengths.sum()),
        "seconds": seconds,
        "sentences/s": len(lengths) / seconds,
        "tokens/s": float(lengths.sum()) / seconds,
        "operations, TFLOP": work / 1e12,
        "matrix rate, TFLOP/s": rate_ / 1e12,
        "share of the matrix rate": work / seconds / rate_,
        "share of the time the GPU was busy": statistics.median(busy) if busy else "not said",
        "peak MB of the host's memory": median(said, "peak_mb"),
    }
    return [{"what": what, "figure": figure} for what, figure in figures.items()]


if __name__ == "__main__":
    try:
        app()
    except Failed as failed:
        raise SystemExit(str(failed)) from None
