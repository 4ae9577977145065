"""Stage report: all results -> report/, a static site to explore them in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from descry.activations.exemplar_files import read_ends, read_exemplars, read_shown, read_silent
from descry.activations.top_k import HIGHEST
from descry.activations.truncation import read_cut
from descry.annotators.annotations import read_annotations, read_judgements
from descry.corpus.splits import SPLITS
from descry.errors import InputError
from descry.evaluation.gold import read_gold
from descry.io.csv_rows import Row, read_csv
from descry.io.git import head
from descry.io.hdf5 import reading_hdf5
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.io.read_provenance import provenance_of
from descry.io.section import Count, Section
from descry.labels.results import labelled_ends, read_labels
from descry.n2g.tables import read_records
from descry.reporting.explorer.labelled import over
from descry.reporting.explorer.packs import Pack
from descry.reporting.explorer.run import Run
from descry.reporting.explorer.site import write_site

_TEXTS = {
    "against", "score", "end", "chosen", "descriptor", "first", "second", "layer", "predictor",
    "neuron", "scorer", "description", "other", "undefined",
}  # fmt: skip


class Report(Section):
    """The explorer."""

    title: str | None
    exemplars_shown: Count


def write_report(
    params: Report,
    *,
    corpus: Path,
    candidates: Path,
    clusters: Path,
    annotations: Path,
    judgements: Path,
    activations: Path,
    exemplars: Path,
    labels: Path,
    composed: Path,
    metrics: Path,
    curves: Path,
    nulls: Path,
    alignment: Path,
    descriptors: Path,
    correlation: Path,
    scored: Path,
    scores: Path,
    trials: Path,
    graphs: Path,
    graph_scores: Path,
    gold: Path | None = None,
    report: Path,
) -> dict[str, int]:
    """Write the site: the page, and packs of data that it loads when they are looked at.

    Args:
        clusters: descriptors.json.
        descriptors: descriptors.csv, how well the annotator did on each.
        trials: scores.csv.
        report: the folder, replaced as a whole.

    Raises:
        InputError: a file is missing, or not what the stages write.
    """
    stages = {"corpus": corpus, "describe": candidates, "cluster": clusters}
    stages |= {"activations": activations, "exemplars": exemplars, "graphs": graphs}
    stages |= {"annotate": annotations, "judge": judgements, "label": labels}
    stages |= {"evaluate": metrics, "score": scores}
    tables = {end: read_labels(labels, end) for end in _ends(labels, exemplars)}
    every, judge = read_annotations(annotations), read_judgements(judgements)
    kept = {name for table in tables.values() for name in table.descriptors}
    b = every.only([name for name in every.descriptors if name in kept])
    per_descriptor = _rows(descriptors, "evaluate")
    if {row["descriptor"] for row in per_descriptor} != kept:
        raise InputError(f"{descriptors}: not of these labels: run `descry stage evaluate` again")
    sizes, sets = _sets(exemplars)
    made = {stage: provenance_of(path, stage) for stage, path in stages.items()}
    model = made["activations"]["params"]["target"]["model"].rstrip("/").rpartition("/")[2]
    found = Run(
        title=f"What the neurons of {model} respond to" if params.title is None else params.title,
        made=made,
        corpus=read_table(corpus, "corpus"),
        b=b,
        judge=judge,
        gold=read_gold(gold, b.ids, b.descriptors),
        tables={end: over(table, b.descriptors) for end, table in tables.items()},
        composed=read_table(composed, "label"),
        scored=read_table(scored, "evaluate"),
        clusters=read_json(clusters, "cluster"),
        metrics=read_json(metrics, "evaluate"),
        scores=read_json(scores, "score"),
        rows={
            "curves": _rows(curves, "evaluate"),
            "nulls": _rows(nulls, "evaluate", "null"),
            "alignment": _rows(alignment, "evaluate"),
            "descriptors": per_descriptor,
            "correlation": _rows(correlation, "evaluate"),
            "trials": _rows(trials, "score"),
            "graphs": _rows(graph_scores, "graphs"),
        },
        shown=read_shown(exemplars, params.exemplars_shown),
        number=params.exemplars_shown,
        sizes=sizes,
        sets=sets,
        silent={end: read_silent(exemplars, end).words for end in tables},
        set_sizes={end: _taken(read_exemplars(exemplars, "all", end)) for end in tables},
        cut=read_cut(activations),
        graphs=read_records(graphs)[0],
    )
    written = write_site(report, found.packs(), _commit())
    return {"neurons": len(tables[HIGHEST].neurons), "sentences": len(b.ids)} | written


def _ends(labels: Path, exemplars: Path) -> list[str]:
    """The ends that have labels.

    Raises:
        InputError: the exemplars were made again without one of them.
    """
    ends = labelled_ends(labels)
    if absent := set(ends) - set(read_ends(exemplars)):
        raise InputError(
            f"{exemplars}: no sets of the {min(absent)} activations, which labels.parquet has: run"
            " `descry stage label` again"
        )
    return ends


def _sets(exemplars: Path) -> tuple[dict[str, int], tuple[np.ndarray, np.ndarray]]:
    """Sizes of the sets by split, and rows and activations of those of the whole corpus."""
    with reading_hdf5(exemplars, "exemplars") as file:
        sizes = {split: int(file[split]["row"].shape[2]) for split in SPLITS}
        rows, activations = (file["all"][name][:] for name in ("row", "activation"))
    return sizes, (rows.reshape(-1, rows.shape[2]), activations.reshape(-1, rows.shape[2]))


def _taken(sets: np.ndarray) -> np.ndarray:
    """Sizes of sets, int [layers, neurons, size], neuron by neuron."""
    return np.asarray(np.count_nonzero(sets >= 0, axis=2)).ravel()


def _rows(path: Path, made_by: str, *texts: str) -> Sequence[Row]:
    """The rows of a tidy CSV file, with numbers in all columns but those of text."""
    first = read_csv(path, made_by, [])[:1]
    return read_csv(path, made_by, [n for row in first for n in row if n not in _TEXTS | {*texts}])


def _commit() -> Pack:
    """The commit that is checked out: a note apart, as the results do not depend on it."""
    found = head(Path())
    clean = None if found.changed is None else not found.changed
    return Pack("commit", {"sha": found.sha, "clean": clean, "unknown": found.unknown})
