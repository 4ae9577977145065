"""How long stage label takes, and how much memory, with many neurons and with many sentences.

Synthetic: exemplar sets by lot, as a share of the sentences; 26 descriptors that 1 to 20 in a
hundred sentences have. The stage runs as a process of its own, with composed labels of up to so
many descriptors (0: none). Lots make for as many different formulas as there can be.

    python benchmarks/labels.py --json out.json
"""

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import typer
from activations import Json, Row, Said, Work, folder_for, hashed, report, write_corpus
from cost import run

from descry.activations.exemplar_files import exemplar_group
from descry.activations.top_k import HIGHEST
from descry.annotators.annotations import writing_annotations
from descry.corpus.splits import HALVES, SPLITS
from descry.corpus.units import read_split_rows
from descry.io.hashing import canonical
from descry.io.hdf5 import writing_hdf5
from descry.workflow.params import load

ROOT = Path(__file__).parent.parent
DESCRIPTORS, LAYERS = 26, 10
SLAB = 50_000  # sentences whose answers are drawn at a time
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    neurons: list[int] = [12_500, 25_000, 50_000, 100_000],  # noqa: B006 # typer's lists
    sentences: list[int] = [20_000, 100_000, 1_000_000],  # noqa: B006
    composed: list[int] = [0, 3],  # noqa: B006
    work: Work = None,
    json_file: Json = None,
) -> None:
    """Time and peak memory: 1% of the fewest sentences, and 10,000 neurons with 0.1% of more."""
    cases = [(number, sentences[0], 1.0) for number in neurons]
    cases += [(10_000, number, 0.1) for number in sentences[1:]]
    rows: list[Row] = []
    with folder_for(work) as folder:
        for number, texts, percent in cases:
            study = make(folder, number, texts, percent)
            for length in composed:
                said = labelled(study, length)
                rows.append(study["row"] | {"compose": length} | said)
            for path in study["inputs"]:
                Path(path).unlink()
    report("labels", rows, json_file, descriptors=DESCRIPTORS)


def make(folder: Path, neurons: int, sentences: int, percent: float) -> Said:
    """The stage's inputs."""
    print(f"making {neurons:,} sets in {sentences:,} sentences", file=sys.stderr, flush=True)
    paths = [folder / name for name in ("corpus.parquet", "exemplars.h5", "annotations.h5")]
    ids = sorted(hashed(str(row)) for row in range(sentences))
    corpus = write_corpus(paths[0], ids, ids)
    splits = read_split_rows(corpus)
    with writing_hdf5(paths[1], {"stage": "exemplars"}) as file:
        exemplars(file, splits, neurons // LAYERS, percent)
    annotations(paths[2], ids)
    row = {"neurons": neurons, "sentences": sentences, "exemplars": int(sentences * percent / 100)}
    return {"inputs": [str(path) for path in paths], "folder": folder, "row": row}


def exemplars(file: h5py.File, splits: dict[str, np.ndarray], width: int, percent: float) -> None:
    """Sets by lot; those of the whole corpus are the first of its halves'."""
    rng = np.random.default_rng(0)
    file.create_dataset("layer", data=np.arange(LAYERS, dtype=np.int32))
    for name in ("lowest", "highest", "at_lowest", "at_highest", "counts"):
        file[f"distribution/{name}"] = np.ones((LAYERS, width, 1))
    sizes = {split: int(len(rows) * percent / 100) for split, rows in splits.items()}
    sets = {
        split: file.create_dataset(
            f"{exemplar_group(split, HIGHEST)}/row", (LAYERS, width, sizes[split]), np.int32
        )
        for split in SPLITS
    }
    for layer in range(LAYERS):
        drawn = {half: lots(rng, splits[half], width, sizes[half]) for half in HALVES}
        parts = sizes["all"] // 2, sizes["all"] - sizes["all"] // 2
        first = [drawn[half][:, :part] for half, part in zip(HALVES, parts, strict=True)]
        for split, rows in (drawn | {"all": np.concatenate(first, axis=1)}).items():
            sets[split][layer, :, : rows.shape[1]] = rows


def lots(rng: np.random.Generator, rows: np.ndarray, number: int, size: int) -> np.ndarray:
    """So many sets of so many rows: int32 [sets, size]."""
    drawn = [rng.choice(len(rows), size, replace=False, shuffle=False) for _ in range(number)]
    return rows[np.array(drawn)].astype(np.int32)


def annotations(path: Path, ids: list[str]) -> None:
    """Answers by lot; the commoner the descriptor the more Yes."""
    rates, rng = np.linspace(0.01, 0.2, DESCRIPTORS), np.random.default_rng(0)
    names, every = [f"descriptor {i}" for i in range(DESCRIPTORS)], np.ones(len(ids), dtype=bool)
    with writing_annotations(path, ids, names, every, every) as b:
        for start in range(0, len(ids), SLAB):
            yes = rng.random((len(ids[start : start + SLAB]), DESCRIPTORS)) < rates
            rows, columns = np.indices(yes.shape).reshape(2, -1)
            b.put(start + rows, columns, yes.ravel(), np.where(yes, 1.0, -1.0).ravel())
        b.sign({"stage": "annotate"}, {"name": "lots"}, ["", ""])


def labelled(study: Said, compose: int) -> Said:
    """Seconds and peak memory of stage label, and megabytes of what it writes."""
    section: dict[str, Any] = load(ROOT / "params.yaml").model_dump()["label"]
    section |= {"compose": compose, "broad": 1.0}
    made = [study["folder"] / name for name in ("labels.parquet", "composed.parquet", "n.json")]
    names = "corpus", "exemplars", "annotations", "labels", "composed", "neurons"
    paths = zip(names, [*study["inputs"], *made], strict=True)
    files = [f"{name}={path}" for name, path in paths]
    said = run(["stage", "label", *files, "-p", canonical(section)])
    written = sum(path.stat().st_size for path in made) / 1e6
    return said | {"written_mb": written}


if __name__ == "__main__":
    app()
