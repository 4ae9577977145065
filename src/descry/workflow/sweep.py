"""Sensitivity: how the labels change with k, t and the cluster threshold, in one process.

Nothing in results/ is touched. Other exemplar sets are chosen from the activations that are there;
another cluster threshold needs other answers, which come through the prompt cache and stay there.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from descry.activations.exemplar_files import read_exemplars, read_neurons, read_tokens
from descry.annotators.annotations import Annotations, read_annotations
from descry.annotators.client import Progress
from descry.corpus.covariates import TOKENS, covariates
from descry.corpus.splits import split_rows
from descry.corpus.units import POSITIONS
from descry.errors import InputError
from descry.evaluation.comparisons import Comparisons, ThresholdGrid
from descry.evaluation.null_models import scores
from descry.io.csv_rows import Row
from descry.labels.assignment import asked_sets
from descry.labels.rules import Rule
from descry.labels.strata import Matching
from descry.models.neurons import chosen_places
from descry.run import Run
from descry.stages.annotate import annotate_sentences
from descry.stages.cluster import Cluster, cluster_topics
from descry.stages.exemplars import Exemplars, select_exemplars
from descry.workflow.params import Params, changed

SCORES = ("jaccard", "jaccard_by_descriptor")


@dataclass(frozen=True)
class Swept:
    """The values to try.

    Attributes:
        top_percents: sizes of the exemplar sets, in percent.
        cuts: thresholds t, or false discovery rates where that is the rule.
        clusterings: cluster thresholds; none for the clusters that there are.
    """

    top_percents: list[float]
    cuts: list[float]
    clusterings: list[float]


def sweep(
    params: Params, results: Path, cache: Path, swept: Swept, draws: int, progress: Progress
) -> Iterator[Row]:
    """The consistency of the halves at every combination, with its interval and its null.

    Args:
        draws: of each null.

    Yields:
        a row a combination and score: cluster_threshold, descriptors, top_percent, at, score,
        value, low, high, null, corrected, and the share of neurons with a label.

    Raises:
        InputError: what is tried is no value that params.yaml could have.
    """
    sizes = {
        percent: changed("exemplars", params.exemplars, [f"top_percent={percent}", "lowest=false"])
        for percent in swept.top_percents
    }
    clusterings: dict[float | None, Cluster] = {
        threshold: changed("cluster", params.cluster, [f"threshold={threshold}"])
        for threshold in swept.clusterings
    }
    run = Run(results)
    _refuse_positions(run)
    with tempfile.TemporaryDirectory(prefix="descry-sweep-") as scratch:
        folder = Path(scratch)
        sets = _exemplars(params, sizes, run, folder)
        for threshold in clusterings or [None]:
            b = run.annotations
            if threshold is not None:
                b = _annotated(params, clusterings[threshold], run, folder, cache, progress)
            for percent, path in sets.items():
                yield from (
                    Row(cluster_threshold=threshold, top_percent=percent, **row)
                    for row in _rows(params, run, b, path, swept.cuts, draws)
                )


def _refuse_positions(run: Run) -> None:
    if run.units == POSITIONS:
        raise InputError(
            "sweep: of sentences alone: with activations.unit token the positions that are labelled"
            " follow from the size of the sets"
        )


def _exemplars(
    params: Params, sizes: dict[float, Exemplars], run: Run, folder: Path
) -> dict[float, Path]:
    corpus, activations = run.path("corpus.parquet"), run.path("activations.h5")
    paths = {percent: folder / f"{percent:g}.h5" for percent in sizes}
    for percent, section in sizes.items():
        files = {"corpus": corpus, "activations": activations, "exemplars": paths[percent]}
        select_exemplars(section, params.activations, **files)
    return paths


def _annotated(
    params: Params,
    clustering: Cluster,
    run: Run,
    folder: Path,
    cache: Path,
    progress: Progress,
) -> Annotations:
    """B of other clusters."""
    descriptors, output = folder / "descriptors.json", folder / "annotations.h5"
    edits = None if params.cluster.edits is None else Path(params.cluster.edits)
    candidates = run.path("candidates.parquet")
    cluster_topics(clustering, candidates=candidates, edits=edits, descriptors=descriptors)
    annotate_sentences(
        params.annotate,
        corpus=run.path("corpus.parquet"),
        descriptors=descriptors,
        exemplars=run.path("exemplars.h5"),
        annotations=output,
        cache_folder=cache,
        progress=progress,
    )
    return read_annotations(output)


def _rows(
    params: Params, run: Run, b: Annotations, sets: Path, cuts: list[float], draws: int
) -> Iterator[Row]:
    label, rows = params.label.model_dump(), split_rows(run.corpus["split"].to_pylist())
    rule, matching = Rule.of(label), Matching.of(label)
    tokens = read_tokens(sets) if TOKENS in matching.names else None
    of_sentences = covariates(run.path("corpus.parquet"), matching.names, tokens)
    compared = params.evaluate
    chosen = chosen_places(compared.neurons, read_neurons(sets), compared.seed)
    study = Comparisons(b, rows, {}, rule, matching, of_sentences, chosen)
    comparison = study.comparisons(sets, "highest", {}).get("halves")
    if comparison is None:
        return
    grid = ThresholdGrid(rule, cuts, 1, 1)
    labelled = _labelled(study, sets, grid)
    found = scores(comparison, grid.cuts, permutations=draws, seed=params.evaluate.seed)
    for row in grid.rows("halves", found, None):
        if row["score"] in SCORES:
            kept = ("score", "at", "value", "low", "high", "null", "corrected")
            yield (
                {"descriptors": len(b.descriptors)}
                | {name: row[name] for name in kept}
                | {"labelled": labelled[row["at"]]}
            )


def _labelled(study: Comparisons, sets: Path, grid: ThresholdGrid) -> dict[float, float]:
    """Share of neurons with a label at each cut, in the whole corpus."""
    rows = read_exemplars(sets, "all")
    rows = rows.reshape(-1, rows.shape[2])
    labels = study.side(rows[asked_sets(rows, study.b.asked)], "all").labels(grid.cuts)
    return dict(zip(grid.steps, (labels.sizes > 0).mean(axis=1).tolist(), strict=True))
