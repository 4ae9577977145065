"""What one neuron of a large run takes as an object, and what reading whole tables would take.

Synthetic: 86,948 sentences, 18,432 neurons, 700 descriptors: labels.parquet has 38.7 million rows.
Labels, sets and answers are by lot. Each way is a process of its own.

    python benchmarks/run.py --json out.json
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import typer
from activations import PAPER, Json, Row, Said, Work, folder_for, hashed, report, write_corpus
from cost import MEASURE

from descry.annotators.annotations import writing_annotations
from descry.corpus.splits import SPLITS
from descry.io.hdf5 import writing_hdf5
from descry.io.parquet import write_batches
from descry.labels.tables import LABELS, label_table
from descry.models.neurons import Neurons

ROWS = 2**20  # of labels.parquet in a row group, as stage label writes them
SHARE = 0.01  # of the sentences in a set
WAYS = {
    "import descry": "",
    "open": "run = descry.open({folder!r})",
    "open, a neuron's labels": "descry.open({folder!r}).neuron('L5:50').labels",
    "open, its labels and exemplars": (
        "n = descry.open({folder!r}).neuron('L5:50'); n.labels; n.exemplars"
    ),
    "the whole of labels.parquet": "assert len(descry.open({folder!r}).labels)",
}
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    sentences: int = PAPER,
    layers: int = 24,
    neurons: int = 768,
    descriptors: int = 700,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """Seconds and peak memory of each way."""
    with folder_for(work) as folder:
        if not (folder / "labels.parquet").exists():
            make(folder, sentences, Neurons(tuple(range(layers)), neurons), descriptors)
        rows: list[Row] = [
            {"way": way} | measured("import descry; " + code.format(folder=str(folder)))
            for way, code in WAYS.items()
        ]
    report("run", rows, json_file, neurons=layers * neurons, descriptors=descriptors)


def make(folder: Path, sentences: int, neurons: Neurons, number: int) -> None:
    """The results that are read."""
    ids = sorted(hashed(str(row)) for row in range(sentences))
    write_corpus(folder / "corpus.parquet", [f"{name} " * 10 for name in ids], ids)
    names, every = [f"descriptor {i}" for i in range(number)], np.ones(sentences, dtype=bool)
    with writing_annotations(folder / "annotations.h5", ids, names, every, every) as b:
        b.sign({"stage": "annotate", "inputs": {}}, {"name": "lots"}, ["", ""])
    with h5py.File(folder / "annotations.h5", "r+") as file:
        file["yes"][:] = np.random.default_rng(0).integers(0, 256, file["yes"].shape, np.uint8)
        file["yes"][:, -1] = 0
        file["answered"][:] = file["yes"][:]
    with writing_hdf5(folder / "exemplars.h5", {"stage": "exemplars", "inputs": {}}) as file:
        exemplars(file, sentences, neurons)
    made = {"stage": "label", "inputs": {}}
    write_batches(folder / "labels.parquet", LABELS, labels(neurons, names, sentences), made)


def exemplars(file: h5py.File, sentences: int, neurons: Neurons) -> None:
    """Sets of neighbours, from a row on that is drawn."""
    size, shape = int(sentences * SHARE), (len(neurons.layers), neurons.width)
    file["layer"] = np.array(neurons.layers, dtype=np.int32)
    first = np.random.default_rng(0).integers(0, sentences - size, shape)[..., None]
    file["all/row"] = (first + np.arange(size)).astype(np.int32)
    file["all/activation"] = np.ones((*shape, size), np.float32)
    for name in ("mean", "deviation", "skewness", "kurtosis", "lowest", "highest"):
        file[f"distribution/{name}"] = np.ones(shape, np.float32)


def labels(neurons: Neurons, names: list[str], sentences: int) -> Iterator[pa.Table]:
    """Rows as stage label writes them: counts by lot, and what follows from them."""
    rng, size = np.random.default_rng(0), int(sentences * SHARE)
    for split in SPLITS:
        step = ROWS // len(names)
        for start in range(0, len(neurons), step):
            shape = min(step, len(neurons) - start), len(names)
            count = rng.binomial(size, 0.1, shape).astype(np.int32)
            f = count / size
            columns = {"f": f, "count": count, "base_rate": np.full(shape, 0.1), "lift": f / 0.1}
            columns |= {"p": 1 - f, "q": 1 - f / 2, "assigned": f > 0.13}
            yield label_table("highest", split, neurons, start, names, columns)


def measured(code: str) -> Said:
    """Seconds and peak memory of a process that runs some code."""
    command = [sys.executable, "-c", MEASURE, sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    said: Said = json.loads(done.stdout)
    return said


if __name__ == "__main__":
    app()
