"""Stage report: all results -> report/, a static site to explore them in."""

from pathlib import Path

from descry.activations.top_k import HIGHEST
from descry.io.git import head
from descry.io.section import Count, Section, Seed
from descry.reporting.explorer.contents import Contents
from descry.reporting.explorer.packs import Pack
from descry.reporting.explorer.site import write_site
from descry.run import Run


class Report(Section):
    """The explorer."""

    title: str | None
    exemplars_shown: Count
    sentences: Count | None
    seed: Seed


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
    untrained: Path,
    labels: Path,
    composed: Path,
    writes: Path,
    facets: Path,
    metrics: Path,
    curves: Path,
    nulls: Path,
    alignment: Path,
    descriptors: Path,
    correlation: Path,
    followed: Path,
    scored: Path,
    scores: Path,
    trials: Path,
    interventions: Path,
    effects: Path,
    words: Path,
    graphs: Path,
    graph_scores: Path,
    gold: Path | None = None,
    tokens: Path | None = None,
    report: Path,
) -> dict[str, int]:
    """Write the site: the page, and packs of data that it loads when they are looked at.

    Args:
        clusters: descriptors.json.
        descriptors: descriptors.csv, how well the annotator did on each.
        trials: scores.csv.
        effects: interventions.csv.
        words: exemplar_words.parquet.
        report: the folder, replaced as a whole.

    Raises:
        InputError: a file is missing, or not what the stages write.
    """
    files = {
        corpus.name: corpus,
        "candidates.parquet": candidates,
        "descriptors.json": clusters,
        "annotations.h5": annotations,
        "judgements.h5": judgements,
        "activations.h5": activations,
        "exemplars.h5": exemplars,
        "untrained.h5": untrained,
        "labels.parquet": labels,
        "composed.parquet": composed,
        "writes.parquet": writes,
        "facets.parquet": facets,
        "metrics.json": metrics,
        "curves.csv": curves,
        "nulls.csv": nulls,
        "alignment.csv": alignment,
        "descriptors.csv": descriptors,
        "correlation.csv": correlation,
        "confounders.parquet": followed,
        "label_scores.parquet": scored,
        "scores.json": scores,
        "scores.csv": trials,
        "interventions.json": interventions,
        "interventions.csv": effects,
        "exemplar_words.parquet": words,
        "graphs.parquet": graphs,
        "graphs.csv": graph_scores,
    } | ({"tokens.parquet": tokens} if tokens else {})
    how = params.title, params.exemplars_shown, params.sentences, params.seed
    found = Contents(Run(labels.parent, files=files), *how, gold)
    written = write_site(report, found.packs(), _commit())
    told = {"neurons": len(found.tables[HIGHEST].neurons), "sentences": found.sentences}
    told |= {} if found.held.whole else {"sentences on the site": len(found.held.rows)}
    return told | written


def _commit() -> Pack:
    """The commit that is checked out: a note apart, as the results do not depend on it."""
    found = head(Path())
    clean = None if found.changed is None else not found.changed
    return Pack("commit", {"sha": found.sha, "clean": clean, "unknown": found.unknown})
