"""Stage label: exemplars and annotations -> labels, composed labels, neurons.json (section 3.3)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from descry.annotations import Annotations, read_annotations, read_ids
from descry.bits import Bits
from descry.composed import Composer, Formula, iou
from descry.enrichment import enrichment, strength
from descry.errors import InputError
from descry.exemplars import HIGHEST
from descry.label_tables import COMPOSED, LABELS, OTHER, composed_table, label_table
from descry.labels import (
    Frequency,
    Neurons,
    Tally,
    Tallying,
    assign,
    broad_descriptors,
    inverse_map,
)
from descry.results import exemplar_blocks, read_ends, read_neurons
from descry.rules import Rule, RuleName
from descry.splits import HALVES, SPLITS, other_half
from descry.storage import JSON, provenance, read_blocks, row_count, write_batches, write_json

PACKAGES = ["numpy", "pyarrow", "scipy"]
MEMBERS = 2**20  # exemplars that are held at a time
_SENTENCES, _ROWS = 2**16, 2**20  # read and written at a time


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
    applied, b = Rule.of(section), read_annotations(annotations)
    study = _Study(exemplars, read_neurons(exemplars), b, _within(corpus, annotations, b))
    ends = _ends(study, applied, threshold, broad)
    made = provenance("label", section, [corpus, exemplars, annotations], PACKAGES)
    made["dropped"] = [entry for end in ends for entry in end.dropped]
    inverse: Inverse = {}
    write_batches(labels, LABELS, _label_tables(study, ends, applied, top_k, inverse), made)
    how = {"length": compose, "beam": beam, "penalty": penalty}
    found = _composed_tables(study, ends, how) if compose else iter(())
    write_batches(composed, COMPOSED, found, made)
    counts = _counts(ends, inverse)
    found_neurons = {"neurons": inverse.pop(HIGHEST)} | inverse
    write_json(neurons, {"made": made} | found_neurons)
    return counts | {"broad descriptors dropped": len(made["dropped"])}


Inverse = dict[str, dict[str, dict[str, list[str]]]]


@dataclass(frozen=True)
class _Study:
    """What is labelled, and by what.

    Attributes:
        exemplars: exemplars.h5, read some neurons at a time.
        within: by split, its sentences: bool [sentences].
    """

    exemplars: Path
    neurons: Neurons
    b: Annotations
    within: dict[str, np.ndarray]

    def sets(self, end: str, split: str) -> Iterator[np.ndarray]:
        """Exemplar sets of some neurons after the others: int32 [neurons, size]."""
        return exemplar_blocks(self.exemplars, split, end, MEMBERS)


def _within(corpus: Path, annotations: Path, b: Annotations) -> dict[str, np.ndarray]:
    """The sentences of each split.

    Raises:
        InputError: the annotations are of another corpus.
    """
    number, start = row_count(corpus, "corpus"), 0
    same = number == len(b.asked)
    within = {half: np.zeros(number, dtype=bool) for half in HALVES}
    for block in read_blocks(corpus, "corpus", ["id", "split"], _SENTENCES) if same else ():
        stop = start + len(block)
        same = same and read_ids(annotations, start, stop) == block["id"].to_pylist()
        for half in HALVES:
            within[half][start:stop] = np.array(block["split"].to_pylist()) == half
        start = stop
    if not same:
        raise InputError(f"{annotations}: not of this corpus: run `descry annotate` again")
    return {"all": np.ones(number, dtype=bool)} | within


@dataclass(frozen=True)
class _End:
    """One end of the activations, without the descriptors that are dropped.

    Attributes:
        columns: of the descriptors that are left.
        tallies: by split.
    """

    name: str
    columns: list[int]
    tallies: dict[str, Tally]
    dropped: list[JSON]


def _ends(study: _Study, rule: Rule, threshold: float, share: float) -> list[_End]:
    """Count the sets of every end, and drop what is broad."""
    b, ends = study.b, []
    tallying = Tallying(b.bits, b.asked)
    for end in read_ends(study.exemplars):
        tallies = {
            split: tallying.tally(study.sets(end, split), b.sampled & study.within[split])
            for split in SPLITS
        }
        wide = dict(_broad(rule, tallies["all"], threshold, share))
        columns = [column for column in range(len(b.descriptors)) if column not in wide]
        kept = {split: tally.keep(columns) for split, tally in tallies.items()}
        dropped = [_reason(b.descriptors[c], end, threshold, on) for c, on in wide.items()]
        ends.append(_End(end, columns, kept, dropped))
    return ends


def _broad(rule: Rule, tally: Tally, threshold: float, share: float) -> list[tuple[int, float]]:
    """Descriptors that are dropped. Enrichment has none: what is common everywhere is not enriched.

    Of a few chosen neurons nearly every label is on most: breadth is judged over all of them.
    """
    if rule.name == "enrichment" or not tally.asked.all():
        return []
    return broad_descriptors(tally, rule.frequency, threshold, share)


def _reason(descriptor: str, end: str, threshold: float, share: float) -> JSON:
    reason = f"f > {threshold} on {share:.0%} of neurons (label.broad)"
    return {"descriptor": descriptor, "end": end, "reason": reason}


def _counts(ends: list[_End], inverse: Inverse) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for end in ends:
        tagged = inverse[end.name]["all"].values()
        of = "" if end.name == HIGHEST else f"{end.name}: "
        counts[f"{of}neurons"] = int(end.tallies["all"].asked.sum())
        counts[f"{of}labelled"] = len({name for names in tagged for name in names})
        counts[f"{of}labels"] = sum(map(len, tagged))
    return counts


def _label_tables(
    study: _Study, ends: list[_End], rule: Rule, top_k: int | None, inverse: Inverse
) -> Iterator[pa.Table]:
    """The rows of `labels`; on the way the inverse map is filled."""
    names = study.neurons.names
    for end in ends:
        descriptors = [study.b.descriptors[column] for column in end.columns]
        for split, tally in end.tallies.items():
            within = bool(study.b.sampled[study.within[split]].all())
            columns = _labels(tally, rule, top_k, within)
            tagged = inverse_map(columns["assigned"], names, descriptors)
            inverse.setdefault(end.name, {})[split] = tagged
            step = max(1, _ROWS // len(descriptors))
            for start in range(0, len(names), step):
                part = {name: of[start : start + step] for name, of in columns.items()}
                yield label_table(end.name, split, study.neurons, start, descriptors, part)


def _labels(tally: Tally, rule: Rule, top_k: int | None, within: bool) -> dict[str, np.ndarray]:
    """The numbers of a split's labels, each [neurons, descriptors]."""
    f, base = tally.f(rule.frequency), tally.base(rule.frequency)
    of_split = tally.base_count, tally.base_answered, within
    tested = enrichment(tally.count, tally.answered, *of_split)
    strong = f if rule.name == "composition" else strength(tested.q)
    return {
        "f": f,
        "count": tally.count,
        "base_rate": np.broadcast_to(base, f.shape),
        "lift": tally.lift(rule.frequency),
        "p": tested.p,
        "q": tested.q,
        "assigned": assign(strong, rule.bound(rule.cut), top_k),
    }


def _composed_tables(study: _Study, ends: list[_End], how: dict[str, Any]) -> Iterator[pa.Table]:
    """The best formula of every neuron, chosen in each split; one chosen in a half, in both."""
    for end in ends:
        yes = study.b.bits.yes.keep(end.columns)
        names = [study.b.descriptors[column] for column in end.columns]
        for split in SPLITS:
            found = _formulas(study, end.name, split, yes, how)
            ious = {"iou": _ious(study, end.name, split, yes, found)}
            if split in HALVES:
                single = _formulas(study, end.name, split, yes, how | {"length": 1})
                for name, tried in zip(OTHER, (found, single, _another(found)), strict=True):
                    ious[name] = _ious(study, end.name, other_half(split), yes, tried)
            yield composed_table(end.name, split, study.neurons, names, found, ious)


def _formulas(
    study: _Study, end: str, split: str, yes: Bits, how: dict[str, Any]
) -> list[Formula | None]:
    composer = Composer(yes.among(study.within[split]), **how)
    return [formula for sets in study.sets(end, split) for formula in composer.compose(sets)]


def _ious(
    study: _Study, end: str, split: str, yes: Bits, formulas: list[Formula | None]
) -> np.ndarray:
    """IoU of each neuron's formula with its set of a split: float64 [neurons]."""
    among, parts, start = yes.among(study.within[split]), [], 0
    for sets in study.sets(end, split):
        parts.append(iou(formulas[start : start + len(sets)], sets, among))
        start += len(sets)
    return np.concatenate(parts)


def _another(formulas: list[Formula | None]) -> list[Formula | None]:
    """Formulas of other neurons: far away, as neighbours are of one layer."""
    half = len(formulas) // 2
    return formulas[half:] + formulas[:half]
