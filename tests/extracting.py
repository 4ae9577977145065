"""The stage activations on corpora of short sentences, in this process or in one of its own."""

import ctypes
import itertools
import multiprocessing
import os
import pkgutil
import resource
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from descry.corpus.splits import HALVES
from descry.io.hashing import sha256_text
from descry.io.parquet import write_table
from descry.models.checkpoints import contents_sha256

WORDS = ["battery", "price", "great", "small", "cheap", "and", "works", "love", "review", "about"]
BLOCK = 1024


def write_corpus(path, texts):
    """A corpus of these sentences, whose halves alternate."""
    table = {
        "id": [sha256_text(text)[:16] for text in texts],
        "text": texts,
        "split": [HALVES[row % 2] for row in range(len(texts))],
    }
    write_table(path, pa.table(table), {"stage": "corpus", "params": {"language": "en"}})
    return path


def sentences(number, most=6, seed=0):
    """Short sentences, no two the same, of one word up to `most` and a number."""
    lots = np.random.default_rng(seed)
    chosen = [lots.choice(WORDS, lots.integers(1, most + 1)) for _ in range(number)]
    return [f"{' '.join(words)} {row}" for row, words in enumerate(chosen)]


def section(folder, **changes):
    """What params.yaml would say of a model in a folder."""
    told = {
        "target": {"model": str(folder), "revision": contents_sha256(folder)},
        "unit": "sentence",
        "peaks": 1,
        "sample": 100,
        "seed": 0,
        "site": "ffn_output",
        "position": "last",
        "sinks": None,
        "layers": None,
        "dictionary": None,
        "dtype": "float32",
        "device": "cpu",
        "max_tokens": 64,
        "batch_tokens": 4096,
        "block": BLOCK,
        "store": "matrix",
        "store_dtype": "float32",
        "keep": 40,
    }
    return told | changes


def activation_params(told):
    """The section of these values, which need not be those of real params."""
    from descry.models.spec import Model
    from descry.stages.activations import Activations

    return Activations.model_construct(**told | {"target": Model.model_construct(**told["target"])})


def compute(corpus, output, told, progress=lambda *_: None):
    from descry.stages.activations import extract_activations

    files = {"corpus": corpus, "activations": output}
    return extract_activations(activation_params(told), **files, progress=progress)


# Processes of their own, to be killed or measured: forks of one that has imported everything.
_PRELOAD = [
    "pytest",
    "torch",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.gpt2.modeling_gpt2",
    "descry.stages.activations",
]


@contextmanager
def forked(run, *given):
    """A process that runs a function of a module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    process = context.Process(target=run, args=given)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def die_at(owner, name, call):
    """Have this process killed at a call of a function of `owner`, a module or `module:Class`."""
    owner = pkgutil.resolve_name(owner)
    function, calls = getattr(owner, name), itertools.count(1)

    def count(*given, **named):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **named)

    setattr(owner, name, count)


def killed(corpus, output, told, owner, name, call):
    """In a process: the stage, killed at a call; exemplars are saved after every block."""
    from descry.activations import outputs

    outputs.SAVE = -1
    die_at(owner, name, call)
    compute(corpus, output, told)


def slowly(corpus, output, told, seconds):
    """In a process: the stage, with a rest after every block."""
    from descry.activations.store import Writer

    write = Writer.write

    def rest(*given):
        write(*given)
        time.sleep(seconds)

    Writer.write = rest
    compute(corpus, output, told)


def measured(corpus, output, told, peak: Path):
    """In a process: the stage, and a file with the peak of its resident memory in bytes."""
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-3, 2**16)  # M_MMAP_THRESHOLD: no array's memory is kept for the next
    compute(corpus, output, told)
    peak.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
