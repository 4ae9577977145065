"""Stage report: all results -> report/, a static site to explore them in."""

from pathlib import Path
from typing import Any

from descry.activations.top_k import HIGHEST
from descry.io.git import head
from descry.reporting.explorer.contents import Contents
from descry.reporting.explorer.packs import Pack
from descry.reporting.explorer.site import write_site
from descry.run import Run


def run(
    corpus: Path,
    candidates: Path,
    descriptors: Path,
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
    rated: Path,
    correlation: Path,
    scored: Path,
    scores: Path,
    trials: Path,
    graphs: Path,
    graph_scores: Path,
    gold: Path | None,
    output: Path,
    *,
    section: dict[str, Any],
    title: str | None,
    exemplars_shown: int,
) -> dict[str, int]:
    """Write the site: the page, and packs of data that it loads when they are looked at.

    Args:
        rated: descriptors.csv, how well the annotator did on each.
        trials: scores.csv.
        output: the folder, replaced as a whole.
        title: heading of the page; None: what the neurons of the target respond to.
        exemplars_shown: sentences shown of a neuron and half.

    Raises:
        InputError: a file is missing, or not what the stages write.
    """
    files = {
        "corpus.parquet": corpus,
        "candidates.parquet": candidates,
        "descriptors.json": descriptors,
        "annotations.h5": annotations,
        "judgements.h5": judgements,
        "activations.h5": activations,
        "exemplars.h5": exemplars,
        "labels.parquet": labels,
        "composed.parquet": composed,
        "metrics.json": metrics,
        "curves.csv": curves,
        "nulls.csv": nulls,
        "alignment.csv": alignment,
        "descriptors.csv": rated,
        "correlation.csv": correlation,
        "label_scores.parquet": scored,
        "scores.json": scores,
        "scores.csv": trials,
        "graphs.parquet": graphs,
        "graphs.csv": graph_scores,
    }
    found = Contents(Run(labels.parent, files=files), title, exemplars_shown, gold)
    written = write_site(output, found.packs(), _commit())
    return {"neurons": len(found.tables[HIGHEST].neurons), "sentences": len(found.b.ids)} | written


def _commit() -> Pack:
    """The commit that is checked out: a note apart, as the results do not depend on it."""
    found = head(Path())
    clean = None if found.changed is None else not found.changed
    return Pack("commit", {"sha": found.sha, "clean": clean, "unknown": found.unknown})
