"""Stage figures: result files -> the paper's figures 5 to 9 and tables 1 to 5, and data for DVC."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from descry.io.csv_rows import Row, read_csv, write_csv
from descry.io.hashing import JSON
from descry.io.json_files import read_json
from descry.io.parquet import ROW_GROUP, read_blocks, read_table, table_provenance
from descry.io.provenance import provenance
from descry.io.section import Count, Section, Seed
from descry.labels.results import labelled_ends, read_labels
from descry.labels.rules import Rule
from descry.reporting import paper_tables as tabulate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ["matplotlib", "numpy", "pyarrow", "scipy"]
KINDS = ("svg", "png")
SHARES = ("share_all", "share_calibration", "share_validation")
RATED = ("at", "value", "low", "high", "null", "deviation", "defined")
BY_CHANCE = ("at", "mean", "low", "high")
ALIGNED = ("value", "low", "high", "null")


class Figures(Section):
    """The paper's figures and tables."""

    dpi: Annotated[int, Field(ge=50, le=600)]
    sentences: Count
    seed: Seed


def draw_figures(
    params: Figures,
    *,
    corpus: Path,
    candidates: Path,
    clusters: Path,
    labels: Path,
    curves: Path,
    nulls: Path,
    alignment: Path,
    descriptors: Path,
    correlation: Path,
    figures: Path,
    tables: Path,
    plots: Path,
) -> dict[str, int]:
    """Write figures as SVG and PNG, tables as tidy CSV, and curves in the form that DVC plots.

    Args:
        figures, tables, plots: the folders to write to.

    Raises:
        InputError: a file is missing, or not what the stages write.
    """
    from descry.reporting import figures as draw  # here, as it imports matplotlib
    from descry.reporting.style import save

    of_labels = table_provenance(read_table(labels, "label", []))
    rated = read_csv(curves, "evaluate", RATED)
    shares = read_csv(descriptors, "evaluate", SHARES)
    drawn = {
        "alignment": draw.alignment(read_csv(alignment, "evaluate", ALIGNED)),
        "correlation": draw.correlation(
            read_csv(correlation, "evaluate", ("pearson",)),
            {row["descriptor"]: row["share_all"] for row in shares},
        ),
        "descriptor_shares": draw.descriptor_shares(shares),
    }
    drawn |= _curves(rated, read_csv(nulls, "evaluate", BY_CHANCE), Rule.of(of_labels["params"]))
    written = _tables(
        corpus, candidates, clusters, labels, of_labels, params.sentences, params.seed
    )
    inputs = [corpus, candidates, clusters, labels, curves, nulls, alignment]
    made = provenance("figures", params.model_dump(), [*inputs, descriptors, correlation], PACKAGES)
    for name, figure in drawn.items():
        for kind in KINDS:
            save(figure, figures / f"{name}.{kind}", made, params.dpi)
    for name, rows in written.items():
        write_csv(tables / f"{name}.csv", rows, tabulate.COLUMNS[name])
    for name, (columns, rows) in plotted(rated).items():
        write_csv(plots / f"{name}.csv", rows, columns)
    return {"figures": len(drawn), "tables": len(written)}


def _curves(rated: list[Row], by_chance: list[Row], rule: Rule) -> "dict[str, Figure]":
    from descry.reporting import figures as draw

    return {
        "precision_recall": draw.precision_recall(rated, rule),
        "jaccard_by_neuron": draw.jaccard(rated, by_chance, "jaccard", rule),
        "jaccard_by_descriptor": draw.jaccard(rated, by_chance, "jaccard_by_descriptor", rule),
    }


def _tables(
    corpus: Path,
    candidates: Path,
    clusters: Path,
    labels: Path,
    of_labels: JSON,
    number: int,
    seed: int,
) -> dict[str, list[Row]]:
    """Every table's rows by its name."""
    sentences = tabulate.examples(_sentences(corpus), number, seed)
    of_examples, mentions = _mentions(candidates, list(sentences))
    made = read_json(clusters, "cluster")
    return {
        "table1": tabulate.raw_descriptors(sentences, of_examples),
        "table2": tabulate.clusters(made),
        "table3": [
            row
            for end in labelled_ends(labels)
            for row in tabulate.descriptors(made, end, dict(_labelled(labels, end)))
        ],
        "table4": tabulate.dropped(made, of_labels),
        "table5": tabulate.clustering(made, mentions),
    }


def _sentences(corpus: Path) -> Iterator[tuple[str, str]]:
    """Ids and texts, of which a row group is held at a time."""
    for block in read_blocks(corpus, "corpus", ["id", "text"], ROW_GROUP):
        yield from zip(*(block[name].to_pylist() for name in ("id", "text")), strict=True)


def _mentions(candidates: Path, ids: list[str]) -> tuple[list[Row], Counter[str]]:
    """The raw descriptors of some sentences, and how often each was given in the whole corpus."""
    some, often, wanted = list[Row](), Counter[str](), pa.array(ids, pa.string())
    for block in read_blocks(candidates, "describe", ["id", "annotator", "phrase"], ROW_GROUP):
        some += block.filter(pc.is_in(block["id"], wanted)).to_pylist()
        for phrase, number in map(dict.values, pc.value_counts(block["phrase"]).to_pylist()):
            often[phrase] += number
    return some, often


def _labelled(labels: Path, end: str) -> Iterator[tuple[str, tuple[float, int]]]:
    """Each descriptor's base rate, and how many neurons have it."""
    table = read_labels(labels, end)
    whole = table.splits["all"]
    for column, name in enumerate(table.descriptors):
        neurons = int(whole.assigned[:, :, column].sum())
        yield name, (float(whole.base_rate[0, 0, column]), neurons)


def plotted(rated: list[Row]) -> dict[str, tuple[list[str], list[Row]]]:
    """Columns and rows of the files that `dvc plots` draws: it cannot filter rows by itself."""
    from descry.reporting.figures import compared

    against = compared(rated)[0]
    files = {
        "precision_recall": (against, {"precision": "precision", "recall": "recall"}),
        "at_k": (against, {"precision": "precision_at_k", "recall": "recall_at_k"}),
        "jaccard": (
            "halves",
            {"by_neuron": "jaccard", "by_descriptor": "jaccard_by_descriptor"},
        ),
    }
    return {
        name: (_columns(scores), _pivoted(rated, compared, scores))
        for name, (compared, scores) in files.items()
    }


def _columns(scores: dict[str, str]) -> list[str]:
    return ["against", "at", *scores, *(f"{name}_null" for name in scores)]


def _pivoted(rated: list[Row], against: str, scores: dict[str, str]) -> list[Row]:
    """A row a cut: the scores, and the highest null of each."""
    own = {(row["score"], row["at"]): row for row in rated if row["against"] == against}
    cuts = sorted({at for score, at in own if score in scores.values()})
    return [
        {"against": against, "at": at}
        | {name: own[score, at]["value"] for name, score in scores.items()}
        | {f"{name}_null": own[score, at]["null"] for name, score in scores.items()}
        for at in cuts
    ]
