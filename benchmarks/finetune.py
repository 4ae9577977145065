"""Which neurons of a model change their labels when it is fine-tuned, and is it more than chance.

all-MiniLM-L6-v2 is trained for some minutes to tell the stars of the sample's reviews from its
[CLS] vector. Held-out reviews say whether it learnt that. Three trainings stand beside each other:
`stars`, `stars, another seed` (another order of the reviews and another head), and `permuted stars`
(the same stars, dealt to other reviews: there is nothing to learn but to remember). Each model, and
the one that was not trained, sees the same corpus and the same annotations; `descry diff` says what
came of it. All of it three times: labelled by the answers of the shipped annotator, which is the
model before training; by those of one that has no model (`words`), as labels that go with the
training may go because the annotator errs as the model before did; and by the shipped one's among
sentences of as many stars, too, as topics go with stars, and so with neurons that follow them.

    python benchmarks/finetune.py --work FOLDER --json out.json

What is in FOLDER is taken up again: trained models, and results that are whole.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from activations import ROOT, Json, Row, Work, folder_for, report

from descry.io.atomic import atomic_folder
from descry.io.csv_rows import defined
from descry.io.json_files import write_json
from descry.io.parquet import read_table
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, contents_sha256
from descry.two_models.label_overlap import BEYOND, COMPARISONS
from descry.workflow.dag import rule_files
from descry.workflow.params import load

UNTRAINED = "before"
TRAININGS = {  # seed of the training, and whether the stars are dealt anew
    "stars": (0, False),
    "stars, another seed": (1, False),
    "permuted stars": (0, True),
}
PAIRS = [
    (UNTRAINED, "stars"),
    (UNTRAINED, "stars, another seed"),
    (UNTRAINED, "permuted stars"),
    ("stars", "stars, another seed"),
]
ANNOTATORS = {"embedded": None, "words": {"kind": "words"}}
LABELS: dict[str, tuple[str, dict[str, Any]]] = {  # whose answers, and parameters of stage label
    "embedded": ("embedded", {}),
    "words": ("words", {}),
    "embedded, stars matched": ("embedded", {"strata": ["words", "overall"]}),
}
HELD_OUT = 0.2  # of the reviews
SPLIT_SEED = 0  # draws them, the same for every training
BATCH, MAX_TOKENS, RATE, WARM = 16, 128, 1e-4, 0.1

_COUNTS = ("first", "second", "kept", "kept_chance", "lost", "lost_changed", "gained")
_COUNTS += ("gained_changed", "both_halves", "contradicted", "exemplars", "rho_within")
_OF_LAYER = ("layer", "kept", "lost", "lost_changed", "gained", "gained_changed", "both_halves")
_OF_LAYER += ("contradicted", "exemplars", "exemplars_matched", "rho_within", "best", "beyond")

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command(help=__doc__.splitlines()[0])
def main(
    epochs: Annotated[int, typer.Option(min=1)] = 2,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """Train, run the stages for every model, compare."""
    rows: list[Row] = []
    with folder_for(work) as folder:
        folder = folder.resolve()
        base = folder / "runs" / UNTRAINED
        stages(base, ["corpus", "describe", "cluster", "activations", "exemplars"])
        annotated = {name: annotate(base, name, who) for name, who in ANNOTATORS.items()}
        for name, (seed, dealt) in TRAININGS.items():
            rows.append(trained(folder, name, epochs, seed, dealt) | {"training": name})
        for name in (UNTRAINED, *TRAININGS):
            for who, (annotator, rule) in LABELS.items():
                label(folder, name, who, annotated[annotator], rule)
        report("finetune: what was learnt", rows, None)
        for who in LABELS:
            found = [*compared(folder, who)]
            rows += found
            report(f"finetune: labels by {who}", [*map(shown, found)], None)
            report(f"finetune: layers, labels by {who}", [*by_layer(found)], None)
            found = [again(folder, who)]
            rows += found
            report(f"finetune: changes that another seed makes again, labels by {who}", found, None)
        found = [matched(folder, *pair) for pair in PAIRS]
        rows += found
        report("finetune: found by what they do", found, None)
    if json_file:
        write_json(json_file, defined({"epochs": epochs, "rows": rows}))


# Stages


def stages(folder: Path, names: list[str], **changes: dict[str, Any]) -> None:
    """Run stages in a folder with the shipped params, but for what is changed; not those done."""
    folder.mkdir(parents=True, exist_ok=True)
    params = load(ROOT / "params.yaml").model_dump()
    for section, values in changes.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    if not (folder / "data").exists():
        (folder / "data").symlink_to(ROOT / "data")
    cache = ["--cache", str(folder.parent / "cache")]
    for name in names:
        with chdir(ROOT):
            files = rule_files(name)
        made = [word.partition("=")[2] for word in files if "=results/" in word]
        if (folder / made[-1]).exists():
            continue
        print(f"{folder.name}: {name}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "descry", "stage", name, *files, *cache]
        subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)


def annotate(base: Path, name: str, who: dict[str, Any] | None) -> Path:
    """annotations.h5 by one annotator."""
    folder = base.parent / f"answers by {name}"
    share(
        base, folder, ["corpus.parquet", "descriptors.json", "exemplars.h5", "candidates.parquet"]
    )
    changes = {} if who is None else {"annotate": {"annotator": who}, "judge": {"annotator": None}}
    stages(folder, ["annotate"], **changes)
    return folder / "results/annotations.h5"


def share(source: Path, folder: Path, names: list[str]) -> None:
    """The same results in another folder."""
    (folder / "results").mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (folder / "results" / name).exists():
            (folder / "results" / name).symlink_to(source / "results" / name)


def label(folder: Path, name: str, who: str, answers: Path, rule: dict[str, Any]) -> None:
    """Labels of a model by the answers of one annotator."""
    base, own = folder / "runs" / UNTRAINED, folder / "runs" / name
    common = ["corpus.parquet", "candidates.parquet", "descriptors.json"]
    target = {}
    if name != UNTRAINED:
        share(base, own, common)
        place = folder / "models" / name
        target = {"target": {"model": str(place), "revision": contents_sha256(place)}}
    stages(own, ["activations", "exemplars"], activations=target)
    labelled = run_of(folder, name, who)
    share(own, labelled, [*common, "activations.h5", "exemplars.h5"])
    share(answers.parent.parent, labelled, ["annotations.h5"])
    stages(labelled, ["label"], activations=target, label={"compose": 0} | rule)  # no formulas


def run_of(folder: Path, name: str, who: str) -> Path:
    return folder / "runs" / f"{name} by {who}"


# Training


def trained(folder: Path, name: str, epochs: int, seed: int, dealt: bool) -> Row:
    """Fine-tune a copy of the model; its accuracy on held-out reviews beside the majority's."""
    place = folder / "models" / name
    told = folder / "models" / f"{name}.json"
    if not told.exists():
        table = read_table(folder / "runs" / UNTRAINED / "results/corpus.parquet", "corpus")
        known = np.flatnonzero(table["overall"].is_valid())
        stars = np.array([int(table["overall"][int(row)].as_py()) - 1 for row in known])
        texts = [table["text"][int(row)].as_py() for row in known]
        parts = np.random.default_rng(SPLIT_SEED).permutation(len(known))
        held, train = np.split(parts, [round(HELD_OUT * len(known))])
        learnt = stars.copy()
        if dealt:
            learnt[train] = np.random.default_rng(seed).permutation(stars[train])
        start = time.monotonic()
        model, said = fine_tune(texts, learnt, train, held, epochs, seed)
        row = {
            "reviews": len(train),
            "held out": len(held),
            "accuracy": float((said[held] == stars[held]).mean()),
            "majority": float((stars[held] == np.bincount(stars[train]).argmax()).mean()),
            "off by": float(np.abs(said[held] - stars[held]).mean()),
            "on what it was trained on": float((said[train] == learnt[train]).mean()),
            "seconds": time.monotonic() - start,
        }
        with atomic_folder(place) as part:
            save(model, part)
        write_json(told, row)
    found: Row = json.loads(told.read_text(encoding="utf-8"))
    return found


def save(model: Any, folder: Path) -> None:
    """The weights as safetensors, with the tokenizer and settings of the model that was trained."""
    origin = Checkpoint(MINILM, MINILM_COMMIT).folder
    for file in sorted(origin.glob("*.json")) + sorted(origin.glob("*.txt")):
        if file.name != "modules.json":  # a BERT alone: no pooling of sentences
            shutil.copyfile(file, folder / file.name)
    model.save_pretrained(folder, safe_serialization=True)


def fine_tune(
    texts: list[str], stars: np.ndarray, train: np.ndarray, held: np.ndarray, epochs: int, seed: int
) -> tuple[Any, np.ndarray]:
    """Train model and head together, but for the embeddings of words.

    One thread: several would differ in the last digits, and wait for each other on a busy machine.

    Returns:
        the trained model, and the stars it gives every text.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    origin = Checkpoint(MINILM, MINILM_COMMIT).folder
    words = AutoTokenizer.from_pretrained(origin)
    model = AutoModel.from_pretrained(origin, add_pooling_layer=False)
    head = torch.nn.Linear(model.config.hidden_size, 5)
    model.embeddings.requires_grad_(False)
    weights = [w for w in (*model.parameters(), *head.parameters()) if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.01)
    order = np.random.default_rng(seed)
    length = np.array(
        [len(words(text, truncation=True, max_length=MAX_TOKENS)["input_ids"]) for text in texts]
    )
    batches = [part for _ in range(epochs) for part in alike(order, train, length)]
    warm = WARM * len(batches)

    def rate(step: int) -> float:
        left = (len(batches) - step) / (len(batches) - warm)
        return min((step + 1) / warm, left)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def logits(rows: np.ndarray) -> Any:
        own = [texts[row] for row in rows]
        read = words(own, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        return head(model(**read).last_hidden_state[:, 0])

    model.train()
    for number, rows in enumerate(batches):
        loss = torch.nn.functional.cross_entropy(logits(rows), torch.from_numpy(stars[rows]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if number % 30 == 0:
            print(f"batch {number} of {len(batches)}: {loss:.3f}", file=sys.stderr, flush=True)
    model.eval()
    with torch.inference_mode():
        said = [
            logits(rows).argmax(dim=1).numpy() for rows in cut(np.argsort(length, kind="stable"))
        ]
    stars_of = np.empty(len(texts), dtype=int)
    stars_of[np.argsort(length, kind="stable")] = np.concatenate(said)
    return model, stars_of


def alike(rng: np.random.Generator, rows: np.ndarray, length: np.ndarray) -> list[np.ndarray]:
    """Batches of texts of similar length, in random order: little is padded."""
    batches = []
    for some in np.array_split(rng.permutation(rows), max(1, len(rows) // (20 * BATCH))):
        batches += cut(some[np.argsort(length[some], kind="stable")])
    return [batches[place] for place in rng.permutation(len(batches))]


def cut(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


# Comparison


def compared(folder: Path, who: str) -> Iterator[Row]:
    """A row for each pair of models: the summary, and that of each layer."""
    import descry

    for first, second in PAIRS:
        found = descry.diff(run_of(folder, first, who), run_of(folder, second, who))
        names = {"annotator": who, "models": f"{first} -> {second}"}
        yield names | found.summary | {"layers": found.layers.to_pylist()}


def again(folder: Path, who: str) -> Row:
    """Lost and gained labels that two trainings have in common, and those by descriptor.

    Beside them what chance gives: the second training's neurons exchanged within the layer.
    """
    import descry

    row: Row = {"annotator": who}
    seeds = ("stars", "stars, another seed")
    tables = [
        descry.diff(run_of(folder, UNTRAINED, who), run_of(folder, name, who)).labels.to_pylist()
        for name in seeds
    ]
    for change in ("lost", "gained"):
        first, second = (
            {
                (one["layer"], one["neuron"], one["descriptor"])
                for one in table
                if one["change"] == change and one["changed"]
            }
            for table in tables
        )
        cells = [Counter((layer, name) for layer, _, name in found) for found in (first, second)]
        width = descry.open(run_of(folder, UNTRAINED, who)).neurons.width
        row[f"{change}, first"], row[f"{change}, second"] = len(first), len(second)
        row[f"{change} in both"] = len(first & second)
        row[f"{change} by chance"] = sum(n * cells[1][cell] for cell, n in cells[0].items()) / width
        of = [Counter(name for _, _, name in found) for found in (first, second)]
        for number, names in enumerate(of, start=1):
            most = ", ".join(f"{name} {n}" for name, n in names.most_common(4))
            row[f"{change} most, {number}"] = most
    return row


def matched(folder: Path, first: str, second: str) -> Row:
    """Share of the neurons that correlation matches with themselves, among layer and model."""
    import descry

    row: Row = {"models": f"{first} -> {second}"}
    for among in ("layer", "all"):
        pair = (run_of(folder, name, "embedded") for name in (first, second))
        found = descry.diff(*pair, match="correlation", among=among).matches
        own = found.second == np.arange(len(found.second))
        row[f"itself, among {among}"] = float(own.mean())
        row[f"matched, among {among}"] = int(found.matched.sum())
    return row


def shown(row: Row) -> Row:
    """What is printed of a comparison."""
    spans = {
        name: f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
        for name in (*COMPARISONS, BEYOND)
    }
    return {name: row[name] for name in ("models", *_COUNTS)} | spans | {"p": row["changes_p"]}


def by_layer(rows: list[Row]) -> Iterator[Row]:
    for row in rows:
        for layer in row["layers"]:
            yield {"models": row["models"]} | {name: layer[name] for name in _OF_LAYER}


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    app()
