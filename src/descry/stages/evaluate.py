"""Stage evaluate: labels against the other half, gold labels and a judge -> scores (section 5)."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from descry.activations.exemplar_files import (
    at_rows,
    has_exemplars,
    read_ends,
    read_exemplars,
    read_neurons,
    read_tokens,
)
from descry.activations.nan_stats import mean
from descry.activations.positions import SAMPLE, SampleMatrix
from descry.activations.store import DATA, neuron_blocks, read_block
from descry.activations.top_k import HIGHEST, LOWEST
from descry.activations.truncation import read_cut
from descry.annotators.annotations import Annotations, read_annotations, read_judgements
from descry.annotators.yes_share import in_percent, one_sided
from descry.corpus.covariates import covariates
from descry.corpus.splits import HALVES
from descry.corpus.units import read_split_rows, stand_for_all
from descry.errors import InputError
from descry.evaluation.agreement import (
    Agreement,
    Interval,
    OverCorpus,
    Table,
    agreement,
    doubt,
    kappa_within,
    over_corpus,
    summary,
    table,
)
from descry.evaluation.comparisons import Comparisons, ThresholdGrid
from descry.evaluation.confounders import by_layer, confounders
from descry.evaluation.gold import judged, read_gold, unused_gold
from descry.evaluation.headline import ANNOTATOR, first_words, headline
from descry.evaluation.label_scores import HeldOutScores
from descry.evaluation.metrics import Cuts, pearson
from descry.evaluation.null_models import Scores, means_of, scores
from descry.evaluation.relabelled import Labelling, shared_errors
from descry.evaluation.sides import Comparison
from descry.evaluation.thinned import Files, matrix, thinned
from descry.io.atomic import write_text
from descry.io.csv_rows import Row, defined, write_csv
from descry.io.hdf5 import hdf5_provenance, reading_hdf5
from descry.io.json_files import write_json
from descry.io.kept import FOLDER, Kept
from descry.io.parquet import (
    ROW_GROUP,
    read_blocks,
    read_table,
    row_count,
    table_provenance,
    write_table,
)
from descry.io.prefetch import cores, map_ahead
from descry.io.provenance import provenance
from descry.io.section import Count, Place, Section, Seed, Threshold
from descry.labels.results import Labels, read_labels
from descry.labels.rules import Rule
from descry.labels.strata import Matching, Strata
from descry.models.kinship import kinship
from descry.models.neurons import chosen_places

BRIEF = {  # name: labels compared with, score, and what of it
    "halves_jaccard": ("halves", "jaccard", "value"),
    "halves_jaccard_null": ("halves", "jaccard", "null"),
    "halves_jaccard_corrected": ("halves", "jaccard", "corrected"),
    "halves_precision_at_2": ("halves", "precision_at_k", "value"),
    "gold_precision": ("gold", "precision", "value"),
    "gold_recall": ("gold", "recall", "value"),
}
ALIKE = (
    "where it errs as the neurons do, they agree beyond what is true (shared_errors says how far)"
)
PACKAGES = ["h5py", "numba", "numpy", "pyarrow", "scipy"]
MEMORY = 2**28  # bytes of activations held at a time


class Evaluate(Section):
    """Scores of the labels (section 5), each beside its nulls."""

    gold: Place | None
    thresholds: Annotated[list[Threshold], Field(min_length=1)]
    rates: Annotated[list[Threshold], Field(min_length=1)]
    neurons: Count | None
    sentences: Count | None
    max_k: Count
    truth_top: Count
    permutations: Count
    seed: Seed


def evaluate_labels(
    params: Evaluate,
    *,
    corpus: Path,
    activations: Path,
    exemplars: Path,
    untrained: Path,
    annotations: Path,
    judgements: Path,
    labels: Path,
    composed: Path,
    gold: Path | None = None,
    metrics: Path,
    curves: Path,
    nulls: Path,
    alignment: Path,
    descriptors: Path,
    correlation: Path,
    followed: Path,
    scored: Path,
    brief: Path,
    cache_folder: Path | None = None,
) -> dict[str, object]:
    """Write metrics.json; as tidy CSV curves, nulls, alignment, descriptors, correlation; `scored`.

    Labels are compared with gold labels (`gold`) and a judge's answers (`judge`), if there are any.
    Labels of the calibration half are compared with labels of the validation half (`halves`). The
    lowest activations have the same comparisons (`lowest_halves` and so on). Each score stands
    beside its nulls. `scored` has a row per label: how well it predicts its neuron over all
    sentences of the half that did not choose it; `alignment` has the means. `followed` has a row
    per neuron and covariate, with the columns `CONFOUNDERS`: what a neuron follows beside topics.
    `brief` has the numbers by which runs are compared. Of a corpus with more than
    `sentences` a part by lot is looked at; how often the annotator says Yes, and what was cut, is
    of all.

    Args:
        cache_folder: of the prompt cache; beside it stays what took long, for another run.
    """
    store = Kept(cache_folder and cache_folder.with_name(FOLDER), PACKAGES)
    whole = Files(corpus, exemplars, untrained, annotations, judgements)
    # Positions are a sample already.
    most = params.sentences if stand_for_all(corpus) is None else None
    with (
        thinned(whole, most, params.seed, judged(gold)) as part,
        at_rows(part.untrained, part.corpus) as copy,
    ):
        rows, standing = read_split_rows(part.corpus), stand_for_all(part.corpus)
        ids = read_table(part.corpus, "corpus", ["id"])["id"].to_pylist()
        label_table = read_table(labels, "label", ["end", "descriptor"])
        labelled = table_provenance(label_table)
        rule, matching = Rule.of(labelled["params"]), Matching.of(labelled["params"])
        tokens = read_tokens(part.exemplars)
        of_sentences = covariates(part.corpus, matching.names, tokens)
        kept = list(dict.fromkeys(label_table["descriptor"].to_pylist()))
        every = read_annotations(part.annotations)
        b = every.only(kept)
        truths = {"gold": read_gold(gold, ids, b.descriptors)}
        unused = unused_gold(gold, _ids(corpus), every.descriptors)
        everything = np.ones(len(ids), dtype=bool)
        asked = {"gold": everything}
        yes = {"annotator": _yes(read_annotations(annotations), "annotate")}
        warnings = list(labelled["warnings"])
        if (judge := read_judgements(part.judgements)) and (of_all := read_judgements(judgements)):
            yes["judge"] = _yes(of_all, "judge")
            warnings += [words for words in [yes["judge"].pop("warning", None)] if words]
            if judge.ids != b.ids or not set(kept) <= set(judge.descriptors):
                raise InputError(
                    f"{judgements}: not of these annotations: run `descry stage judge` again"
                )
            judge = judge.only(kept)
            truths["judge"], asked["judge"] = judge.answer, judge.asked
        steps = params.thresholds if rule.name == "composition" else params.rates
        grid = ThresholdGrid(rule, sorted({*steps, rule.cut}), params.max_k, params.truth_top)
        how = params.model_dump(include={"permutations", "seed"})
        agreed = {name: _judged(b, truth) for name, truth in truths.items()}
        by = {
            name: Labelling.of(labelled["params"], b, about, of_sentences)
            for name, about in {ANNOTATOR: everything, **asked}.items()
        }
        chosen = chosen_places(params.neurons, read_neurons(part.exemplars), params.seed)
        confirmed: dict[str, Row] = {}
        cost: dict[str, Row] = {}
        rated: list[Row] = []
        by_chance: list[Row] = []
        aligned: list[Row] = []
        every_label: list[pa.Table] = []
        for end in read_ends(part.exemplars):
            of_end = label_table.filter(pc.equal(label_table["end"], end))
            named = b.only(of_end["descriptor"].to_pylist())
            study = Comparisons(named, rows, asked, rule, matching, of_sentences, chosen)
            columns = [b.descriptors.index(name) for name in study.b.descriptors]
            truth = {name: answers[:, columns] for name, answers in truths.items()}
            without = study.comparisons(copy, end, truth) if has_exemplars(copy) else {}
            for name, comparison in study.comparisons(part.exemplars, end, truth).items():
                against = name if end == HIGHEST else f"{end}_{name}"
                found = _scores(store, comparison, grid.cuts, **how)
                chance = means_of(without[name], grid.cuts) if name in without else None
                rated += grid.rows(against, found, chance)
                by_chance += grid.nulls(against, found, chance)
            own, sets = read_labels(labels, end), _sets(part.exemplars, "all", end)
            copies = _sets(copy, "all", end) if has_exemplars(copy) else None
            known = {name: answers for name, answers in truth.items() if (answers >= 0).any()}
            said = {ANNOTATOR: study.b.answer} | known
            confirmed[end] = headline(own, labelled["chance"][end], by, said, sets, copies)
            cost[end] = {
                name: _shared_errors(store, by[name], sets[chosen], study.b.answer, answers)
                for name, answers in known.items()
            }
            held_out = _held_out(activations, part, own, end, study.b, rows, params.seed, standing)
            every_label.append(held_out.table(truth["gold"]))
            aligned += held_out.means()
        inputs = [corpus, activations, exemplars, untrained, annotations, judgements]
        inputs += [labels, composed] if gold is None else [labels, composed, gold]
        made = provenance("evaluate", params.model_dump(), inputs, PACKAGES)
        shared = _shared(activations, every)
        warned = [f"annotator and target share a model: {shared}: {ALIKE}"] if shared else []
        if judge and (by_judge := _shared(activations, judge)):
            warned.append(
                f"judge and target share a model: {by_judge}: it bears out what it shares"
            )
        value = {
            "made": made,
            "headline": confirmed[HIGHEST],
            "annotator": {name: _annotator(found, name) for name, found in agreed.items()}
            | {"shares_target": shared},
            "shared_errors": cost[HIGHEST],
            "gold_file": unused._asdict(),
            "gold": {"undefined": "no gold label for these sentences and descriptors"},
            "judge": {"undefined": "no judge asked about these sentences and descriptors"},
        }
        answerers = {"annotator": (every, value["annotator"]["gold"])}
        if judge:
            by_judge_of_gold = _annotator(_judged(judge, truths["gold"]), "gold")
            value["judge_against_gold"] = by_judge_of_gold
            answerers["judge"] = judge, by_judge_of_gold
        doubts = [_doubt(who, found, yes[role]["yes"]) for role, (who, found) in answerers.items()]
        warned += [words for words in doubts if words]
        warnings += warned
        if LOWEST in confirmed:
            value["lowest_headline"] = confirmed[LOWEST] | {"shared_errors": cost[LOWEST]}
        yes["annotator"].pop("warning", None)  # stage label has said so
        value["answers"], value["warnings"] = yes, warnings
        value["chance"], value["without_exemplars"] = (
            labelled["chance"],
            labelled["without_exemplars"],
        )
        for against in dict.fromkeys(row["against"] for row in rated):
            value[against] = _headline(rated, against, rule)
        value["alignment"] = _by_end(aligned)
        if part.rows is not None:
            value["part"] = {"sentences": len(ids), "of": row_count(corpus, "corpus")}
        cut = read_cut(activations)
        value["cut"] = {
            "target_tokens": cut.most,
            "target_sentences": int(np.count_nonzero(cut.tokens)),
            "annotator_sentences": int(np.count_nonzero(read_annotations(annotations).cut)),
        }
        alike = everything if standing is None else standing
        strata = matching.strata(of_sentences, rows["all"], alike)
        looked_at = covariates(part.corpus, None, tokens)
        of_part = strata, looked_at, standing
        table = _confounders(activations, part.exemplars, *of_part, part.rows)
        value["confounders"] = by_layer(table)
        if has_exemplars(copy):
            followed_by_copy = by_layer(_confounders(None, copy, *of_part))
            for name, of_copy in followed_by_copy.items():
                value["confounders"][name]["untrained_exemplars"] = of_copy["exemplars"]
        write_table(followed, table, made)
        value["composed"] = _composed(read_table(composed, "label"))
        write_json(metrics, defined(value))
        write_csv(curves, rated)
        write_csv(nulls, by_chance)
        write_csv(alignment, aligned)
        write_csv(
            descriptors,
            [row for name in agreed for row in _agreements(name, b, agreed[name], rows)],
        )
        write_csv(correlation, _correlation(b))
        write_table(scored, pa.concat_tables(every_label), made)
        numbers = defined(_brief(labels, confirmed[HIGHEST], rated, aligned, rule))
        write_text(brief, "".join(f"{name}: {number}\n" for name, number in numbers.items()))
        said_yes = {
            f"{r} says Yes to": in_percent(n["yes"]) for r, n in yes.items() if n["answers"]
        }
        told: dict[str, object] = {}
        if part.rows is not None:
            told["sentences"] = f"{len(ids):,} by lot"
        told |= first_words(confirmed) | said_yes | _annotators(value["annotator"])
        told |= _summary(rated, rule)
        return told | unused.notes() | ({"warnings": warned} if warned else {})


def _scores(
    store: Kept, comparison: Comparison, cuts: Cuts, *, permutations: int, seed: int
) -> Scores:
    """As `scores`, kept by what the two sides are made of: a rule's cut is none of it."""
    depends: list[Any] = ["scores", asdict(cuts), permutations, seed, comparison.same]
    for side in (comparison.first, comparison.second):
        depends += [side.rule.name, side.rule.frequency, side.exemplars, side.answers]
        depends += [side.sampled, side.strata]
    found = store.arrays(
        lambda: scores(comparison, cuts, permutations=permutations, seed=seed).as_arrays(), *depends
    )
    return Scores.of_arrays(found)


def _shared_errors(
    store: Kept, labelling: Labelling, sets: np.ndarray, said: np.ndarray, truth: np.ndarray
) -> Row:
    """As `shared_errors`, kept."""
    depends = [asdict(labelling.rule), labelling.top_k, labelling.asked, labelling.sampled]
    strata = labelling.strata
    found: Row = store.value(
        lambda: shared_errors(labelling, sets, said, truth),
        *("shared errors", *depends, strata.of, list(strata.names), sets, said, truth),
    )
    return found


def _ids(corpus: Path) -> Iterator[str]:
    for block in read_blocks(corpus, "corpus", ["id"], ROW_GROUP):
        yield from block["id"].to_pylist()


def _yes(b: Annotations, section: str) -> Row:
    """How often an annotator says Yes, of all it was asked; and a warning if it is one-sided.

    Args:
        section: of params.yaml, which has it.
    """
    yes, answered = b.bits.yes.totals, b.bits.answered.totals
    number = int(answered.sum())
    words = one_sided(b.annotator["name"], yes, answered, section)
    found: Row = {"answers": number, "yes": int(yes.sum()) / number if number else math.nan}
    params = b.made["params"]
    if b.offsets:
        found |= {"centre": params["centre"], "threshold": params["threshold"]}
    return found | ({"warning": words} if words else {})


def _sets(exemplars: Path, split: str, end: str) -> np.ndarray:
    """Exemplar sets: int [neurons of all layers, size]."""
    found = read_exemplars(exemplars, split, end)
    return found.reshape(-1, found.shape[2])


def _confounders(
    activations: Path | None,
    exemplars: Path,
    strata: Strata,
    looked_at: dict[str, np.ndarray],
    standing: np.ndarray | None,
    rows: np.ndarray | None = None,
) -> pa.Table:
    """What the neurons of some exemplars follow; activations are of the same neurons.

    Args:
        rows: of the activations, those that the rest is of; None: all.
    """
    sets = read_exemplars(exemplars, "all")
    neurons = read_neurons(exemplars)
    told = neurons, sets.reshape(-1, sets.shape[2]), strata, looked_at, MEMORY, standing
    if activations is None:
        return confounders(None, *told)
    with reading_hdf5(activations, "activations") as file:
        if SAMPLE in file:
            return confounders(SampleMatrix(file, len(neurons.layers)), *told)
        return confounders(matrix(file[DATA], rows) if DATA in file else None, *told)


def _held_out(
    activations: Path,
    part: Files,
    labels: Labels,
    end: str,
    b: Annotations,
    rows: dict[str, np.ndarray],
    seed: int,
    standing: np.ndarray | None,
) -> HeldOutScores:
    """Score the labels of each half on the other, some neurons at a time."""
    sets = {half: _sets(part.exemplars, half, end) for half in HALVES}
    scores = HeldOutScores(labels, end, sets, b, rows, seed)
    threads = cores()
    with reading_hdf5(activations, "activations") as file:
        if DATA not in file:
            scores.add(slice(0, len(labels.neurons)), None)
        if DATA not in file and SAMPLE not in file:
            return scores
        layers = len(labels.neurons.layers)
        data: Any = matrix(file[DATA], part.rows) if DATA in file else SampleMatrix(file, layers)

        def read() -> Iterator[tuple[slice, np.ndarray]]:
            for layer, columns in neuron_blocks(data, MEMORY // (3 * (threads + 2))):
                first = layer * data.shape[2]
                span = slice(first + columns.start, first + columns.stop)
                if scores.wants(span):
                    yield span, read_block(data, layer, columns).astype(np.float32, copy=False)

        def add(block: tuple[slice, np.ndarray]) -> None:
            if DATA in file:
                scores.add(*block)
            else:
                assert standing is not None
                scores.add_sample(*block, standing)

        for _ in map_ahead(add, read(), threads):
            pass  # `scores` keeps what is found
    return scores


class _Judged(NamedTuple):
    """An annotator compared with the truth about one descriptor.

    Attributes:
        share: of the sentences that represent the corpus, those that the annotator says Yes to.
    """

    counts: Table
    found: Agreement
    share: float


def _judged(b: Annotations, truth: np.ndarray) -> list[_Judged]:
    """Descriptor by descriptor; `truth` is int8 [sentences, descriptors], as B."""
    return [
        _Judged(table(answer, true), agreement(answer, score, true), _yes_share(answer[b.sampled]))
        for answer, score, true in zip(b.answer.T, map(b.odds, b.descriptors), truth.T, strict=True)
    ]


def _composed(formulas: pa.Table) -> Row:
    """Mean IoU of the composed labels by end and half that chose: there, and in the other half.

    Beside them that of the best lone descriptor, and the null: that of another neuron's formula.
    """
    nested: Row = {}
    names = {"other_iou": "value", "other_single": "single", "other_null": "null", "iou": "chosen"}
    halves = formulas.filter(pc.is_in(formulas["split"], pa.array(HALVES)))
    means = halves.group_by(["end", "split"], use_threads=False).aggregate(
        [(column, "mean") for column in names]
    )
    for row in means.to_pylist():
        numbers = {name: row[f"{column}_mean"] for column, name in names.items()}
        nested.setdefault(row["end"], {})[f"chosen by {row['split']}"] = numbers
    return nested


def _shared(activations: Path, b: Annotations) -> str | None:
    """What target and annotator share, in words."""
    with reading_hdf5(activations, "activations") as file:
        made = hdf5_provenance(file)
    target, params = made["params"]["target"] | made, b.made["params"]
    shared = kinship(target, params.get("annotator") or {})
    cascade = params.get("cascade")
    return shared or (kinship(target, cascade["proxy"]) if cascade else None)


def _brief(labels: Path, confirmed: Row, rated: list[Row], aligned: list[Row], rule: Rule) -> Row:
    """The scores by which runs are compared, of the highest activations; undefined ones left out.

    `supported` is by gold labels, where there are any, else by a judge; `auroc` is the mean over
    the two halves.
    """
    by_truth = confirmed["supported"]
    found: Row = {}
    for name, row in (
        ("replicated", confirmed["replicated"]),
        ("supported", by_truth.get("gold") or by_truth.get("judge") or {}),
    ):
        parts = {"": "value", "_low": "low", "_high": "high", "_base": "base"}
        found |= {f"{name}{end}": row.get(part, math.nan) for end, part in parts.items()}
    whole = (pc.field("end") == HIGHEST) & (pc.field("split") == "all") & pc.field("assigned")
    own = read_table(labels, "label", ["layer", "neuron", "descriptor"], only=whole)
    found |= {
        "labels": len(own),
        "labelled_neurons": own.group_by(["layer", "neuron"]).aggregate([]).num_rows,
        "descriptors": pc.count_distinct(own["descriptor"]).as_py(),
    }
    rows = {(row["against"], row["score"]): row for row in rated if row["at"] in (rule.cut, 2)}
    for name, (against, score, part) in BRIEF.items():
        found[name] = rows.get((against, score), {}).get(part, math.nan)
    halves = [row["value"] for row in aligned if (row["end"], row["score"]) == (HIGHEST, "auroc")]
    found["auroc"] = mean(halves)
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _by_end(aligned: list[Row]) -> Row:
    """The means over labels by end, half that chose and metric."""
    nested: Row = {}
    for row in aligned:
        numbers = {k: v for k, v in row.items() if k not in ("end", "chosen", "score")}
        halves = nested.setdefault(row["end"], {})
        halves.setdefault(f"chosen by {row['chosen']}", {})[row["score"]] = numbers
    return nested


def _agreements(
    against: str, b: Annotations, judged: list[_Judged], rows: dict[str, np.ndarray]
) -> list[Row]:
    """Per descriptor: share of sentences with it in each split, and agreement with the truth."""
    return [
        {"against": against, "descriptor": name}
        | {
            f"share_{split}": _yes_share(answer[part[b.sampled[part]]])
            for split, part in rows.items()
        }
        | _flat(own.found)
        for name, answer, own in zip(b.descriptors, b.answer.T, judged, strict=True)
    ]


def _flat(row: Agreement | OverCorpus) -> Row:
    """An agreement with its intervals as columns of their own."""
    flat: Row = {}
    for name, value in (row._asdict() if isinstance(row, OverCorpus) else vars(row)).items():
        if isinstance(value, tuple):
            flat |= {name: value[0], f"{name}_low": value[1], f"{name}_high": value[2]}
        else:
            flat[name] = value
    return flat


def _yes_share(answer: np.ndarray) -> float:
    return float((answer == 1).mean()) if len(answer) else math.nan


def _annotator(judged: list[_Judged], against: str) -> Row:
    """An annotator against others' labels: all pairs together, and means over the descriptors.

    `precision`, `recall` and `kappa` are those over what was judged, `corpus_precision` and so on
    what they are over the corpus; `within_kappa` is kappa within descriptors.
    """
    known = [own for own in judged if own.found.truth_yes]
    if not known:
        return {"undefined": f"no {against} label for these sentences and descriptors"}
    together = _flat(summary(sum((own.counts for own in known[1:]), known[0].counts)))
    together = {"answers": together.pop("sentences")} | together
    del together["auroc"]  # of one descriptor only: scores of several do not compare
    within = kappa_within([own.counts for own in known])
    together |= {f"within_kappa{e}": n for e, n in zip(("", "_low", "_high"), within, strict=True)}
    whole = _flat(over_corpus([(own.counts, own.share) for own in known]))
    together |= {f"corpus_{name}": number for name, number in whole.items()}
    flat = [_flat(own.found) for own in known]
    means = {
        f"mean_{name}": mean([row[name] for row in flat])
        for name in ("precision", "recall", "f1", "kappa", "auroc")
    }
    return together | means | {"descriptors": len(known)}


def _doubt(b: Annotations, against_gold: Row, yes: float) -> str | None:
    """A warning where an annotator agrees with the gold labels hardly better than chance."""
    if "within_kappa" not in against_gold:
        return None
    within = Interval(*(against_gold[f"within_kappa{end}"] for end in ("", "_low", "_high")))
    return doubt(b.annotator["name"], "gold labels", within, against_gold["answers"], yes)


def _headline(rated: list[Row], against: str, rule: Rule) -> Row:
    """The scores at the cut in force, and at every K."""
    left_out = ("against", "score", "at")
    return {
        row["score"] + (f"_{row['at']}" if row["score"].endswith("_k") else ""): {
            key: value for key, value in row.items() if key not in left_out
        }
        for row in rated
        if row["against"] == against and (row["score"].endswith("_k") or row["at"] == rule.cut)
    }


def _correlation(b: Annotations) -> list[Row]:
    matrix = pearson(b.answer)
    return [
        {"first": first, "second": second, "pearson": matrix[i, j]}
        for i, first in enumerate(b.descriptors)
        for j, second in enumerate(b.descriptors)
    ]


def _annotators(against: Row) -> dict[str, object]:
    """Recall and kappa over what was judged, and over the corpus, which may be far from it."""
    return {
        f"annotator against {name}": ", ".join(
            f"{score} {row[score]:.3f} (over the corpus {row[f'corpus_{score}']:.3f})"
            for score in ("precision", "recall", "kappa")
        )
        for name, row in against.items()
        if isinstance(row, dict) and "recall" in row
    }


def _summary(rated: list[Row], rule: Rule) -> dict[str, str]:
    """What the terminal shows of the main scores: value, null, chance-corrected, interval."""
    return {
        f"{row['against']}: {row['score'].replace('_', ' ')}": (
            f"{row['value']:.3f}, null {row['null']:.3f}, corrected {row['corrected']:.3f}, 95%"
            f" {row['low']:.3f} to {row['high']:.3f}"
        )
        for row in rated
        if (not row["score"].endswith("_k") and row["at"] == rule.cut)
        or (row["score"].endswith("_k") and row["at"] == 2)
    }
