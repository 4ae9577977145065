"""Stage report: all results -> report/index.html."""

from pathlib import Path
from typing import Any

import numpy as np

from descry.exemplars import HIGHEST, LOWEST
from descry.n2g.records import read_records
from descry.n2g.reported import reported
from descry.report import PAGE, render
from descry.results import (
    Annotations,
    Labels,
    labelled_ends,
    read_annotations,
    read_labels,
    read_neuron_exemplars,
    spread,
)
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
    graphs: Path,
    output: Path,
    *,
    section: dict[str, Any],
    title: str,
    neurons: int,
    exemplars_shown: int,
) -> dict[str, int]:
    """Write the page: the run in words, scores, descriptors, and the strongest neurons."""
    sentences = read_table(corpus, "corpus")
    tables = {end: read_labels(labels, end) for end in labelled_ends(labels)}
    table = tables[HIGHEST]
    b = read_annotations(annotations)
    with reading_hdf5(exemplars, "exemplars") as file:
        made = hdf5_provenance(file)
    with reading_hdf5(activations, "activations") as file:
        model = hdf5_provenance(file)
    ends = {
        end: {
            "labelled": len(of_end.strongest()),
            "neurons": [
                _neuron(of_end, sentences, b, exemplars, end, place, exemplars_shown)
                for place in of_end.strongest()[:neurons]
            ],
        }
        for end, of_end in tables.items()
    }
    scores = read_json(metrics, "evaluate")
    page = {"title": title, "ends": ends} | _words(sentences, table, b, made, model)
    page |= {"scores": _scores(scores), "agreement": _agreements(scores)}
    page |= {"aligned": _aligned(scores), "composed": _composed(scores)}
    page |= {"descriptors": _descriptors(read_json(descriptors, "cluster"), table)}
    page |= {"graphs": reported(*read_records(graphs), table, b)}
    write_text(output, render(PAGE, page))
    shown = sum(min(neurons, len(of_end.strongest())) for of_end in tables.values())
    return {"neurons": shown, "descriptors": len(table.descriptors)}


def _words(
    sentences: Any, table: Labels, b: Annotations, exemplars: JSON, model: JSON
) -> dict[str, Any]:
    """The run in words."""
    corpus = table_provenance(sentences)
    target, params = model["params"]["target"], table.made["params"]
    return {
        "sentences": len(sentences),
        "reviews": corpus["params"]["reviews"],
        "categories": len(set(sentences["category"].to_pylist())),
        "dropped": corpus["dropped"],
        "broad": table.made["dropped"],
        "target": f"{target['model']} @ {target['revision']}",
        "site": model["site"],
        "position": model["position"],
        "layers": len(table.neurons.layers),
        "width": table.neurons.width,
        "labeller": b.labeller["name"],
        "rule": params["rule"],
        "threshold": params["threshold"],
        "fdr": params["fdr"],
        "frequency": params["frequency"],
        "top_percent": exemplars["params"]["top_percent"],
    }


def _neuron(
    table: Labels,
    sentences: Any,
    b: Annotations,
    exemplars: Path,
    end: str,
    place: tuple[int, int],
    shown: int,
) -> dict[str, Any]:
    """A neuron's labels at one end, and the sentences there."""
    layer, index = place
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
    kept = b.only(table.descriptors)
    found = read_neuron_exemplars(exemplars, layer, index, [end])
    return {
        "name": table.neurons.name(layer, index),
        "labels": labels,
        "spread": spread(found.distribution),
        "exemplars": _exemplars(sentences, kept, *found.sets[end], shown),
    }


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
        _shown(f"{_title(against)}: {_title(name)}", score)
        for against, scores in metrics.items()
        if against.removeprefix(f"{LOWEST}_") in ("halves", "gold", "judge")
        for name, score in scores.items()
        if isinstance(score, dict)
    ]


def _aligned(metrics: JSON) -> list[dict[str, str]]:
    """Labels over all sentences of the half that did not choose them: means."""
    return [
        _shown(f"{chosen}{'' if end == HIGHEST else f', {end}'}: {_title(name)}", score)
        for end, halves in metrics["alignment"].items()
        for chosen, scores in halves.items()
        for name, score in scores.items()
    ]


def _composed(metrics: JSON) -> list[dict[str, str]]:
    """Mean IoU of composed labels."""
    return [
        {"name": f"{chosen}{'' if end == HIGHEST else f', {end}'}"}
        | {key: _number(value) for key, value in numbers.items()}
        for end, halves in metrics["composed"].items()
        for chosen, numbers in halves.items()
    ]


def _shown(name: str, score: JSON) -> dict[str, str]:
    interval = f"{_number(score['low'])} to {_number(score['high'])}"
    if score["low"] is None:
        interval = "undefined"
    numbers = {key: _number(score[key]) for key in ("value", "null", "corrected")}
    return {"name": name, "interval": interval, "defined": f"{score['defined']:,}"} | numbers


def _title(score: str) -> str:
    return score.replace("_at_k_", "@").replace("_", " ")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _agreements(metrics: JSON) -> list[str]:
    """The labeller against gold labels and against a judge, and the judge, each in words."""
    found = [f"Labeller against {name}: {_agreement(x)}" for name, x in metrics["labeller"].items()]
    if judge := metrics.get("judge_against_gold"):
        found.append(f"Judge against gold: {_agreement(judge)}")
    return found


def _agreement(found: JSON) -> str:
    if "undefined" in found:
        return str(found["undefined"]) + "."
    names = ("precision", "recall", "kappa")
    words = ", ".join(
        f"{name} {_number(found[name])} ({_number(found[f'{name}_low'])} to"
        f" {_number(found[f'{name}_high'])})"
        for name in names
    )
    means = ", ".join(f"{n} {_number(found[f'mean_{n}'])}" for n in (*names, "f1", "auroc"))
    return (
        f"{words} over {found['answers']:,} answers; means over {found['descriptors']}"
        f" descriptors: {means}."
    )


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
