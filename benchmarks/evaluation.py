"""How long labels and their evaluation take at the paper's size, all but the annotator's calls.

Synthetic: normal activations of 9,216 neurons (and again 9,216: a copy without training) for 86,948
sentences, and 26 descriptors that 1 to 20 in a hundred sentences have. The stages exemplars, label
and evaluate run as the pipeline runs them, each as a process of its own; evaluate also with half of
the neurons, for the growth.

    python benchmarks/evaluation.py --work FOLDER --json out.json

Writes 5 GB into --work and takes them up again.
"""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from activations import PAPER, Job, Json, Row, Said, Work, folder_for, report, synthetic
from cost import run

from descry.annotators.annotations import writing_annotations
from descry.io.hashing import canonical
from descry.io.hdf5 import writing_hdf5
from descry.io.parquet import read_table
from descry.workflow.params import load

ROOT = Path(__file__).parent.parent
DESCRIPTORS = 26
THRESHOLD = 0.07  # t at which lots give a neuron one or two labels
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    sentences: int = PAPER,
    layers: int = 12,
    neurons: int = 768,
    permutations: int = 1000,
    rule: str = "composition",
    work: Work = None,
    json_file: Json = None,
) -> None:
    """Time and peak memory of the stages exemplars, label and evaluate."""
    rows: list[Row] = []
    with folder_for(work) as folder:
        for of_layer in (neurons // 2, neurons):
            job = synthetic(folder, sentences, layers, of_layer)
            for stage, said in stages(folder, job, permutations, rule):
                rows.append({"stage": stage, "neurons": layers * of_layer} | said)
        half, whole = (row for row in rows if row["stage"] == "evaluate")
        growth = {name: whole[name] / half[name] for name in ("seconds", "peak_mb")}
        rows.append({"stage": "evaluate, twice the neurons, ratio"} | growth)
    options = {"sentences": sentences, "permutations": permutations, "rule": rule}
    report("evaluation", rows, json_file, descriptors=DESCRIPTORS, **options)


def stages(folder: Path, job: Job, permutations: int, rule: str) -> list[tuple[str, Said]]:
    """Run the stages one after the other."""
    params = load(ROOT / "params.yaml").model_dump()
    sections: dict[str, dict[str, Any]] = {
        "exemplars": params["exemplars"] | {"top_percent": 1.0},
        "label": params["label"] | {"rule": rule, "threshold": THRESHOLD, "broad": 1.0},
        "evaluate": params["evaluate"] | {"permutations": permutations},
    }
    file = {name: str(folder / name) for name in FILES}
    corpus, activations = job["corpus"], job["activations"]
    annotations(Path(file["annotations.h5"]), Path(corpus))
    with writing_hdf5(Path(file["judgements.h5"]), {"stage": "judge"}):
        pass
    Path(file["gold.jsonl"]).write_text("", encoding="utf-8")
    sets, answers, labels = (
        file[name] for name in ("exemplars.h5", "annotations.h5", "labels.parquet")
    )
    read = {"corpus": corpus, "exemplars": sets}
    labelled = {"annotations": answers, "labels": labels, "composed": file["composed.parquet"]}
    outputs = {name: file[f"{name}.csv"] for name in CSV}
    outputs |= {"scored": file["scored.parquet"], "metrics": file["metrics.json"]}
    outputs |= {"brief": file["summary.yaml"]}
    others = {"untrained": sets, "judgements": file["judgements.h5"], "gold": file["gold.jsonl"]}
    files = {
        "exemplars": read | {"activations": activations},
        "label": read | labelled | {"neurons": file["neurons.json"]},
        "evaluate": read | {"activations": activations} | labelled | others | outputs,
    }
    found = []
    for stage, named in files.items():
        command = ["stage", stage, *(f"{name}={path}" for name, path in named.items())]
        found.append((stage, run([*command, "-p", canonical(sections[stage])])))
    return found


CSV = ("curves", "nulls", "alignment", "descriptors", "correlation")
FILES = (
    "annotations.h5",
    "judgements.h5",
    "gold.jsonl",
    "exemplars.h5",
    "labels.parquet",
    "composed.parquet",
    "neurons.json",
    "metrics.json",
    "summary.yaml",
    "scored.parquet",
    *(f"{name}.csv" for name in CSV),
)


def annotations(path: Path, corpus: Path) -> None:
    """Answers by lot, as stage annotate writes them; the commoner the descriptor the more Yes."""
    ids = read_table(corpus, "corpus", ["id"])["id"].to_pylist()
    rng = np.random.default_rng(0)
    rates = np.linspace(0.01, 0.2, DESCRIPTORS)
    answer = (rng.random((len(ids), DESCRIPTORS)) < rates).astype(np.int8)
    names, every = [f"descriptor {i}" for i in range(DESCRIPTORS)], np.ones(len(ids), dtype=bool)
    rows, columns = np.indices(answer.shape).reshape(2, -1)
    with writing_annotations(path, ids, names, every, every) as b:
        b.put(rows, columns, answer.ravel() == 1, np.where(answer, 1.0, -1.0).ravel())
        b.sign({"stage": "annotate"}, {"name": "lots"}, ["", ""])


if __name__ == "__main__":
    app()
