"""Stage label: exemplars and annotations -> labels, composed labels, neurons.json (section 3.3)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from descry.activations.exemplar_files import (
    exemplar_blocks,
    read_ends,
    read_neurons,
    read_silent,
    read_tokens,
)
from descry.activations.top_k import HIGHEST
from descry.annotators.annotations import Annotations, read_annotations, read_ids
from descry.annotators.bitset import BitMatrix
from descry.annotators.yes_share import in_percent, one_sided
from descry.corpus.covariates import TOKENS, covariates
from descry.corpus.splits import HALVES, SPLITS, other_half
from descry.errors import InputError
from descry.evaluation.chance import Chance, by_chance
from descry.io.hashing import JSON
from descry.io.json_files import write_json
from descry.io.kept import FOLDER, Kept
from descry.io.parquet import read_blocks, row_count, write_batches
from descry.io.provenance import provenance
from descry.io.section import Count, Section, Share, Threshold
from descry.labels.assignment import (
    SetCounter,
    SetCounts,
    asked_sets,
    inverse_map,
)
from descry.labels.compositional import Composer, Formula, iou
from descry.labels.matched import Matched, matched_enrichment
from descry.labels.random_labels import random_labels
from descry.labels.rules import Rule
from descry.labels.strata import Matching, Strata
from descry.labels.tables import COMPOSED, LABELS, OTHER, composed_table, label_table
from descry.models.neurons import Neurons

PACKAGES = ["numba", "numpy", "pyarrow", "scipy"]
MEMBERS = 2**20  # exemplars that are held at a time
_NAMED = 8  # descriptors whose share of Yes an error names
_SENTENCES, _ROWS = 2**16, 2**20  # read and written at a time


class Label(Section):
    """Exemplar sets and B to neuron labels (section 3.3)."""

    rule: Literal["composition", "enrichment"]
    frequency: Literal["occurrences", "sentences"]
    threshold: Threshold
    fdr: Threshold
    strata: list[str] | None
    strata_parts: Count
    top_k: Count | None
    broad: Share
    compose: Annotated[int, Field(ge=0, le=8)]
    beam: Count
    penalty: Annotated[float, Field(gt=0, le=1)]


def label_neurons(
    params: Label,
    *,
    corpus: Path,
    exemplars: Path,
    annotations: Path,
    labels: Path,
    composed: Path,
    neurons: Path,
    cache_folder: Path | None = None,
) -> dict[str, object]:
    """Write the labels, a row per split, neuron and descriptor; composed labels; the inverse map.

    Columns of `labels`: end, split, layer, neuron, descriptor, f, count, base_rate, lift; expected,
    how many exemplars with Yes random sentences of the same strata would have; p and q of
    enrichment within strata, over all pairs of the split; p_unmatched and q_unmatched, of
    enrichment among all sentences; assigned. Of `composed`: end, split, layer,
    neuron, formula, length, iou; and in the other half other_iou of the same formula, other_single
    of the best lone descriptor, other_null of another neuron's formula.
    `neurons` maps each split's descriptors to the neurons tagged with them, the surest first. Sets
    of the lowest activations, where there are any, are labelled apart: rows with end `lowest`, and
    a map of their own. A neuron without an exemplar set has no label, and its numbers are null.

    Args:
        cache_folder: of the prompt cache; beside it the composed labels stay, for another run.

    Raises:
        InputError: files of different runs, or no descriptor tells neurons apart.
    """
    applied, b = Rule.of(params.model_dump()), read_annotations(annotations)
    within = _within(corpus, annotations, b)
    matching = Matching.of(params.model_dump())
    tokens = read_tokens(exemplars) if TOKENS in matching.names else None
    of_sentences = covariates(corpus, matching.names, tokens)
    strata = {
        split: matching.strata(of_sentences, np.flatnonzero(part), b.sampled)
        for split, part in within.items()
    }
    study = _Study(exemplars, read_neurons(exemplars), b, within, strata)
    ends = _ends(study, applied, params.threshold, params.broad, params.top_k)
    read = [corpus, exemplars, annotations]
    made = provenance("label", params.model_dump(), read, PACKAGES)
    made["dropped"] = [entry for end in ends for entry in end.dropped]
    made["without_exemplars"] = {end.name: end.without for end in ends}
    made["strata"] = {split: list(found.names) for split, found in strata.items()}
    made["chance"] = {end.name: end.chance and end.chance.as_json() for end in ends}
    made["warnings"] = _warnings(b, applied, ends)
    inverse: Inverse = {}
    tables = _label_tables(study, ends, applied, params.top_k, inverse)
    write_batches(labels, LABELS, tables, made)
    how = {"length": params.compose, "beam": params.beam, "penalty": params.penalty}
    store = Kept(cache_folder and cache_folder.with_name(FOLDER), PACKAGES)
    found = _composed_tables(study, ends, how, store, made["inputs"]) if params.compose else ()
    write_batches(composed, COMPOSED, found, made)
    counts = _counts(ends, inverse)
    found_neurons = {"neurons": inverse.pop(HIGHEST)} | inverse
    write_json(neurons, {"made": made} | found_neurons)
    counts["broad descriptors dropped"] = len(made["dropped"])
    return counts | ({"warnings": made["warnings"]} if made["warnings"] else {})


Inverse = dict[str, dict[str, dict[str, list[str]]]]


@dataclass(frozen=True)
class _Study:
    """What is labelled, and by what.

    Attributes:
        exemplars: exemplars.h5, read some neurons at a time.
        within: by split, its sentences: bool [sentences].
        strata: by split, those of its sentences.
    """

    exemplars: Path
    neurons: Neurons
    b: Annotations
    within: dict[str, np.ndarray]
    strata: dict[str, Strata]

    def sets(self, end: str, split: str) -> Iterator[np.ndarray]:
        """Exemplar sets of some neurons after the others: int32 [neurons, size]."""
        return exemplar_blocks(self.exemplars, split, end, MEMBERS)

    def represented(self, split: str) -> bool:
        """Whether all sentences of a split stand for it: then the exemplars are among them."""
        return bool(self.b.sampled[self.within[split]].all())


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
        raise InputError(f"{annotations}: not of this corpus: run `descry stage annotate` again")
    return {"all": np.ones(number, dtype=bool)} | within


@dataclass(frozen=True)
class _End:
    """One end of the activations, without the descriptors that are dropped.

    Attributes:
        columns: of the descriptors that are left.
        tallies, matched: by split, counts of the sets and their test within strata.
        whole: the numbers of the labels of the whole corpus.
        without: how many neurons have no set in it, by reason.
        chance: those labels beside those of random sets.
    """

    name: str
    columns: list[int]
    tallies: dict[str, SetCounts]
    matched: dict[str, Matched]
    dropped: list[JSON]
    whole: dict[str, np.ndarray]
    without: dict[str, int]
    chance: Chance | None


def _ends(
    study: _Study, rule: Rule, threshold: float, share: float, top_k: int | None
) -> list[_End]:
    """Count the sets of every end, drop what is broad, and label the whole corpus.

    Raises:
        InputError: all descriptors are broad.
    """
    b, ends = study.b, []
    tallying = SetCounter(b.bits, b.asked)
    for end in read_ends(study.exemplars):
        tallies = {
            split: tallying.tally(study.sets(end, split), b.sampled & study.within[split])
            for split in SPLITS
        }
        silent = read_silent(study.exemplars, end)
        wide = dict(rule.broad(tallies["all"], len(silent.words), share))
        columns = [column for column in range(len(b.descriptors)) if column not in wide]
        if not columns:
            raise _nothing_told_apart(b, threshold, share)
        kept = {split: tally.keep(columns) for split, tally in tallies.items()}
        matched = {split: _matched(study, tallying, end, split).keep(columns) for split in SPLITS}
        dropped = [_reason(b.descriptors[c], end, threshold, on) for c, on in wide.items()]
        whole = rule.numbers(kept["all"], matched["all"], top_k, study.represented("all"))
        labels = whole["assigned"], whole["q"]
        chance = _by_chance(study, end, columns, labels, rule, top_k)
        ends.append(_End(end, columns, kept, matched, dropped, whole, silent.counts, chance))
    return ends


def _matched(study: _Study, counter: SetCounter, end: str, split: str) -> Matched:
    """The test of every pair of neuron and descriptor within the strata of a split."""
    return matched_enrichment(
        counter,
        study.sets(end, split),
        study.strata[split],
        study.b.sampled & study.within[split],
        within=study.represented(split),
    )


def _nothing_told_apart(b: Annotations, threshold: float, share: float) -> InputError:
    yes, answered = b.bits.yes.totals, b.bits.answered.totals
    shares = [
        f"{name} {in_percent(one / number)}" if number else f"{name}: no answers"
        for name, one, number in zip(b.descriptors, yes, answered, strict=True)
    ]
    more = f" and {len(shares) - _NAMED} more" if len(shares) > _NAMED else ""
    return InputError(
        f"no descriptor tells neurons apart: each has f(c) > {threshold:g} on over {share:.0%} of"
        f" them (label.broad). {b.annotator['name']} says Yes to: {', '.join(shares[:_NAMED])}"
        f"{more}: use another annotator or more descriptors, raise label.threshold, or use rule:"
        " enrichment"
    )


def _by_chance(
    study: _Study,
    end: str,
    columns: list[int],
    labels: tuple[np.ndarray, np.ndarray],
    rule: Rule,
    top_k: int | None,
) -> Chance | None:
    """The labels of the whole corpus beside those of random sets of sentences that stand for it.

    Args:
        labels: assigned and q, [neurons, descriptors].
    """
    b = study.b.keep(columns)

    def sets() -> Iterator[np.ndarray]:
        return (own[asked_sets(own, b.asked)] for own in study.sets(end, "all"))

    asked = np.concatenate([asked_sets(own, b.asked) for own in study.sets(end, "all")])
    assigned, q = (of[asked] for of in labels)
    counter = SetCounter(b.bits, b.asked)
    random = random_labels(sets, counter, study.strata["all"], b.sampled, rule, top_k)
    return by_chance(assigned, q, random)


def _warnings(b: Annotations, rule: Rule, ends: list[_End]) -> list[str]:
    """What speaks against the labels, a line each."""
    found = [one_sided(b.annotator["name"], b.bits.yes.totals, b.bits.answered.totals)]
    found.append(rule.low_cut(min(len(end.columns) for end in ends)))
    for end in ends:
        what = "neurons" if end.name == HIGHEST else f"neurons, {end.name} activations,"
        found.append(end.chance.words(what) if end.chance else None)
    return [words for words in found if words]


def _reason(descriptor: str, end: str, threshold: float, share: float) -> JSON:
    reason = f"f > {threshold} on {share:.0%} of neurons (label.broad)"
    return {"descriptor": descriptor, "end": end, "reason": reason}


def _counts(ends: list[_End], inverse: Inverse) -> dict[str, object]:
    counts: Counter[str] = Counter()
    for end in ends:
        tagged = inverse[end.name]["all"].values()
        of = "" if end.name == HIGHEST else f"{end.name}: "
        counts[f"{of}neurons"] = int(end.tallies["all"].asked.sum())
        counts[f"{of}labelled"] = len({name for names in tagged for name in names})
        counts[f"{of}labels"] = sum(map(len, tagged))
        counts.update({f"{of}{reason}": number for reason, number in end.without.items()})
    return dict(counts)


def _label_tables(
    study: _Study, ends: list[_End], rule: Rule, top_k: int | None, inverse: Inverse
) -> Iterator[pa.Table]:
    """The rows of `labels`; on the way the inverse map is filled."""
    names = study.neurons.names
    for end in ends:
        descriptors = [study.b.descriptors[column] for column in end.columns]
        for split, tally in end.tallies.items():
            columns = end.whole
            if split != "all":
                within = study.represented(split)
                columns = rule.numbers(tally, end.matched[split], top_k, within)
            tagged = inverse_map(columns["assigned"], columns["p"], names, descriptors)
            inverse.setdefault(end.name, {})[split] = tagged
            step = max(1, _ROWS // len(descriptors))
            for start in range(0, len(names), step):
                part = {name: of[start : start + step] for name, of in columns.items()}
                yield label_table(end.name, split, study.neurons, start, descriptors, part)


def _composed_tables(
    study: _Study, ends: list[_End], how: dict[str, Any], store: Kept, inputs: dict[str, str]
) -> Iterator[pa.Table]:
    """The best formula of every neuron, chosen in each split; one chosen in a half, in both.

    Args:
        store: has the tables that were made of the same `inputs`: no cut of labels is in them.
    """
    for end in ends:
        for split in SPLITS:
            compose = partial(_composed_table, study, end, split, how)
            yield store.table(compose, "composed", inputs, end.name, split, end.columns, how)


def _composed_table(study: _Study, end: _End, split: str, how: dict[str, Any]) -> pa.Table:
    yes = study.b.bits.yes.keep(end.columns)
    names = [study.b.descriptors[column] for column in end.columns]
    found = _formulas(study, end.name, split, yes, how)
    ious = {"iou": _ious(study, end.name, split, yes, found)}
    if split in HALVES:
        single = _formulas(study, end.name, split, yes, how | {"length": 1})
        for name, tried in zip(OTHER, (found, single, _another(found)), strict=True):
            ious[name] = _ious(study, end.name, other_half(split), yes, tried)
    return composed_table(end.name, split, study.neurons, names, found, ious)


def _formulas(
    study: _Study, end: str, split: str, yes: BitMatrix, how: dict[str, Any]
) -> list[Formula | None]:
    composer = Composer(yes.among(study.within[split]), **how)
    return [formula for sets in study.sets(end, split) for formula in composer.compose(sets)]


def _ious(
    study: _Study, end: str, split: str, yes: BitMatrix, formulas: list[Formula | None]
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
