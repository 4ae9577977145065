"""Stage report: all results -> report/index.html."""

from pathlib import Path
from typing import Any

import numpy as np

from descry.labels import neuron_name
from descry.report import render
from descry.results import Annotations, Labels, read_annotations, read_labels
from descry.splits import HALVES
from descry.storage import (
    JSON,
    hdf5_provenance,
    read_json,
    read_table,
    reading_hdf5,
    table_provenance,
    write_text,
)

PHRASES = 12  # raw descriptors shown of a descriptor


def run(
    corpus: Path,
    descriptors: Path,
    annotations: Path,
    activations: Path,
    exemplars: Path,
    labels: Path,
    metrics: Path,
    output: Path,
    *,
    section: dict[str, Any],
    title: str,
    neurons: int,
    exemplars_shown: int,
) -> dict[str, int]:
    """Write the page: the run in words, scores, descriptors, and the strongest neurons."""
    sentences = read_table(corpus, "corpus")
    table = read_labels(labels)
    b = read_annotations(annotations).only(table.descriptors)
    strongest = table.strongest()
    with reading_hdf5(exemplars, "exemplars") as file:
        rows, values = file["all/row"][:], file["all/activation"][:]
        made = hdf5_provenance(file)
    with reading_hdf5(activations, "activations") as file:
        model = hdf5_provenance(file)
    shown = [
        _neuron(table, layer, index)
        | {
            "exemplars": _exemplars(
                sentences, b, rows[layer, index], values[layer, index], exemplars_shown
            )
        }
        for layer, index in strongest[:neurons]
    ]
    scores = read_json(metrics, "evaluate")
    words = _words(sentences, table, b, made, model)
    page = {"title": title, "labelled": len(strongest), "neurons": shown} | words
    page |= {"scores": _scores(scores), "agreement": _agreements(scores["labeller"])}
    page |= {"descriptors": _descriptors(read_json(descriptors, "cluster"), table)}
    write_text(output, render(page))
    return {"neurons": len(shown), "descriptors": len(table.descriptors)}


def _words(
    sentences: Any, table: Labels, b: Annotations, exemplars: JSON, model: JSON
) -> dict[str, Any]:
    """The run in words."""
    corpus = table_provenance(sentences)
    target, params = model["params"]["target"], table.made["params"]
    layers, width = table.shape
    return {
        "sentences": len(sentences),
        "reviews": corpus["params"]["reviews"],
        "categories": len(set(sentences["category"].to_pylist())),
        "dropped": corpus["dropped"],
        "broad": table.made["dropped"],
        "target": f"{target['model']} @ {target['revision']}",
        "site": model["site"],
        "position": model["position"],
        "layers": layers,
        "width": width,
        "labeller": b.labeller["name"],
        "threshold": params["threshold"],
        "frequency": params["frequency"],
        "top_percent": exemplars["params"]["top_percent"],
    }


def _neuron(table: Labels, layer: int, index: int) -> dict[str, Any]:
    whole = table.splits["all"]
    columns = np.flatnonzero(whole.assigned[layer, index])
    labels = [
        {
            "name": table.descriptors[c],
            "f": f"{whole.f[layer, index, c]:.2f}",
            "lift": f"{whole.lift[layer, index, c]:.1f}",
            "held": all(table.splits[half].assigned[layer, index, c] for half in HALVES),
        }
        for c in sorted(columns, key=lambda c: -whole.f[layer, index, c])
    ]
    return {"name": neuron_name(layer, index), "labels": labels}


def _exemplars(
    sentences: Any, b: Annotations, rows: np.ndarray, values: np.ndarray, limit: int
) -> list[dict[str, str]]:
    return [
        {
            "activation": f"{value:.3f}",
            "text": sentences["text"][int(row)].as_py(),
            "descriptors": ", ".join(b.descriptors[c] for c in np.flatnonzero(b.answer[row] == 1)),
        }
        for row, value in list(zip(rows, values, strict=True))[:limit]
    ]


def _scores(metrics: JSON) -> list[dict[str, str]]:
    return [
        {"name": f"{against}: {_title(name)}", "defined": score["defined"]}
        | {key: _number(score[key]) for key in ("value", "null", "corrected")}
        for against in ("halves", "gold", "judge")
        for name, score in metrics[against].items()
        if isinstance(score, dict)
    ]


def _title(score: str) -> str:
    return score.replace("_at_k_", "@").replace("_", " ")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _agreements(labeller: JSON) -> list[dict[str, str]]:
    """The labeller against gold labels and against a judge, each in words."""
    return [{"against": name, "words": _agreement(found)} for name, found in labeller.items()]


def _agreement(labeller: JSON) -> str:
    if "undefined" in labeller:
        return str(labeller["undefined"]) + "."
    names = ("precision", "recall", "f1", "kappa", "auroc")
    means = ", ".join(f"{name} {_number(labeller[name])}" for name in names)
    judged = f"{labeller['descriptors']} descriptors, {labeller['sentences']} sentences"
    return f"{means}; means over {judged}."


def _descriptors(clusters: JSON, table: Labels) -> list[dict[str, str | int]]:
    phrases = {entry["name"]: entry["phrases"] for entry in clusters["descriptors"]}
    whole = table.splits["all"]
    return [
        {
            "name": name,
            "base": _number(float(whole.base_rate[0, 0, column])),
            "neurons": int(whole.assigned[:, :, column].sum()),
            "phrases": ", ".join(f"{p} ({n})" for p, n in list(phrases[name].items())[:PHRASES]),
        }
        for column, name in enumerate(table.descriptors)
    ]
