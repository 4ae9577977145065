"""Stage label: exemplars and annotations -> labels, composed labels, neurons.json (section 3.3)."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from descry.composed import Formula, iou
from descry.composed import compose as composed_labels
from descry.enrichment import enrichment, strength
from descry.errors import InputError
from descry.exemplars import HIGHEST
from descry.labels import (
    Frequency,
    Neurons,
    asked_sets,
    assign,
    broad_descriptors,
    frequencies,
    inverse_map,
)
from descry.results import Annotations, read_annotations, read_ends, read_exemplars, read_neurons
from descry.rules import Rule, RuleName
from descry.splits import HALVES, SPLITS, other_half, split_rows
from descry.storage import provenance, read_table, write_json, write_table

PACKAGES = ["numpy", "pyarrow", "scipy"]


def run(
    corpus: Path,
    exemplars: Path,
    annotations: Path,
    labels: Path,
    composed: Path,
    neurons: Path,
    *,
    section: dict[str, Any],
    rule: RuleName,
    frequency: Frequency,
    threshold: float,
    fdr: float,
    top_k: int | None,
    broad: float,
    compose: int,
    beam: int,
    penalty: float,
) -> dict[str, int]:
    """Write the labels, a row per split, neuron and descriptor; composed labels; the inverse map.

    Columns of `labels`: end, split, layer, neuron, descriptor, f, count, base_rate, lift, p and q
    (of enrichment, over all pairs of the split), assigned. Of `composed`: end, split, layer,
    neuron, formula, length, iou; and in the other half other_iou of the same formula, other_single
    of the best lone descriptor, other_null of another neuron's formula.
    `neurons` maps each split's descriptors to the neurons tagged with them. Sets of the lowest
    activations, where there are any, are labelled apart: rows with end `lowest`, and a map of
    their own.
    """
    sentences = read_table(corpus, "corpus")
    rows = split_rows(sentences["split"].to_pylist())
    every = read_annotations(annotations)
    if every.ids != sentences["id"].to_pylist():
        raise InputError(f"{annotations}: not of this corpus: run `descry annotate` again")
    every_neuron = read_neurons(exemplars)
    applied = Rule.of(section)
    tables: list[pa.Table] = []
    formulas: list[pa.Table] = []
    inverse: dict[str, dict[str, dict[str, list[str]]]] = {}
    dropped: list[dict[str, str]] = []
    counts: Counter[str] = Counter()
    for end in read_ends(exemplars):
        sets = {name: read_exemplars(exemplars, name, end) for name in SPLITS}
        flat = {name: found.reshape(len(every_neuron), -1) for name, found in sets.items()}
        # Exemplar rows count in the whole corpus; a split's base rate counts its own sentences.
        within = {name: np.searchsorted(rows[name], found) for name, found in flat.items()}
        meant = flat["all"][asked_sets(flat["all"], every.asked)]
        wide = _broad(applied, meant, len(every_neuron), every, threshold, broad)
        dropped += [
            {
                "descriptor": every.descriptors[column],
                "end": end,
                "reason": f"f > {threshold} on {share:.0%} of neurons (label.broad)",
            }
            for column, share in wide
        ]
        b = every.without([column for column, _ in wide])
        inverse[end] = {}
        for split in SPLITS:
            part = b.answer[rows[split]], frequency, b.asked[rows[split]], b.sampled[rows[split]]
            found = frequencies(within[split], *part)
            base = found.base_count, found.base_answered, bool(part[3].all())
            tested = enrichment(found.count, found.answered, *base)
            strong = found.f if rule == "composition" else strength(tested.q)
            assigned = assign(strong, applied.bound(applied.cut), top_k)
            columns = {"f": found.f, "count": found.count, "lift": found.lift}
            columns |= {"p": tested.p, "q": tested.q, "assigned": assigned}
            tables.append(_table(end, split, every_neuron, b.descriptors, found.base, columns))
            inverse[end][split] = inverse_map(assigned, every_neuron.names, b.descriptors)
        if compose:
            answers = {name: b.answer[rows[name]] for name in SPLITS}
            how = {"length": compose, "beam": beam, "penalty": penalty}
            formulas += _composed(end, within, answers, b.descriptors, every_neuron, how)
        tagged = inverse[end]["all"].values()
        of = "" if end == HIGHEST else f"{end}: "
        counts[f"{of}neurons"] = len(meant)
        counts[f"{of}labelled"] = len({name for names in tagged for name in names})
        counts[f"{of}labels"] = sum(map(len, tagged))
    made = provenance("label", section, [corpus, exemplars, annotations], PACKAGES)
    made["dropped"] = dropped
    write_table(labels, pa.concat_tables(tables), made)
    write_table(composed, pa.concat_tables(formulas) if formulas else COMPOSED.empty_table(), made)
    found_neurons = {"neurons": inverse.pop(HIGHEST)} | inverse
    write_json(neurons, {"made": made} | found_neurons)
    return counts | {"broad descriptors dropped": len(dropped)}


def _broad(
    rule: Rule,
    exemplars: np.ndarray,
    neurons: int,
    b: Annotations,
    threshold: float,
    share: float,
) -> list[tuple[int, float]]:
    """Descriptors that are dropped. Enrichment has none: what is common everywhere is not enriched.

    Of a few chosen neurons nearly every label is on most: breadth is judged over all of them.
    """
    if rule.name == "enrichment" or len(exemplars) < neurons:
        return []
    return broad_descriptors(exemplars, b.answer, rule.frequency, threshold, share)


COMPOSED = pa.schema(
    {
        "end": pa.string(),
        "split": pa.string(),
        "layer": pa.int16(),
        "neuron": pa.int32(),
        "formula": pa.string(),
        "length": pa.int16(),
        "iou": pa.float64(),
        "other_iou": pa.float64(),
        "other_single": pa.float64(),
        "other_null": pa.float64(),
    }
)


def _composed(
    end: str,
    sets: dict[str, np.ndarray],
    answers: dict[str, np.ndarray],
    names: list[str],
    neurons: Neurons,
    how: dict[str, Any],
) -> list[pa.Table]:
    """The best formula of every neuron, chosen in each split; one chosen in a half, in both."""
    tables = []
    for split in SPLITS:
        found = composed_labels(sets[split], answers[split], **how)
        table = {
            "end": [end] * len(found),
            "split": [split] * len(found),
            "layer": np.repeat(np.array(neurons.layers, dtype=np.int16), neurons.width),
            "neuron": np.tile(np.arange(neurons.width, dtype=np.int32), len(neurons.layers)),
            "formula": [formula and formula.text(names) for formula in found],
            "length": [formula and formula.length for formula in found],
            "iou": _nullable(iou(found, sets[split], answers[split])),
        }
        unknown = [None] * len(found)
        table |= {"other_iou": unknown, "other_single": unknown, "other_null": unknown}
        if split in HALVES:
            other = other_half(split)
            single = composed_labels(sets[split], answers[split], **how | {"length": 1})
            tried = {"other_iou": found, "other_single": single, "other_null": _another(found)}
            for name, formulas in tried.items():
                table[name] = _nullable(iou(formulas, sets[other], answers[other]))
        tables.append(pa.table(table, schema=COMPOSED))
    return tables


def _another(formulas: list[Formula | None]) -> list[Formula | None]:
    """Formulas of other neurons: far away, as neighbours are of one layer."""
    half = len(formulas) // 2
    return formulas[half:] + formulas[:half]


def _table(
    end: str,
    split: str,
    neurons: Neurons,
    descriptors: list[str],
    base: np.ndarray,
    columns: dict[str, np.ndarray],
) -> pa.Table:
    n, d = len(neurons), len(descriptors)
    row = np.repeat(np.arange(n), d)
    layers = np.array(neurons.layers, dtype=np.int16)
    return pa.table(
        {
            "end": _constant(end, n * d),
            "split": _constant(split, n * d),
            "layer": pa.array(layers[row // neurons.width]),
            "neuron": pa.array((row % neurons.width).astype(np.int32)),
            "descriptor": pa.array(descriptors * n),
            "f": _nullable(columns["f"]),
            "count": pa.array(columns["count"].ravel().astype(np.int32)),
            "base_rate": _nullable(np.broadcast_to(base, (n, d))),
            "lift": _nullable(columns["lift"]),
            "p": _nullable(columns["p"]),
            "q": _nullable(columns["q"]),
            "assigned": pa.array(columns["assigned"].ravel()),
        }
    )


def _constant(value: str, number: int) -> pa.Array:
    indices = np.zeros(number, dtype=np.int8)
    return pa.DictionaryArray.from_arrays(indices, [value]).cast(pa.string())


def _nullable(values: np.ndarray) -> pa.Array:
    """Undefined values are null."""
    return pa.array(np.ascontiguousarray(values).ravel(), from_pandas=True)
