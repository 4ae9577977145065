"""Print how far to believe the labels, and the labels of which there is most evidence."""

from pathlib import Path

from rich.table import Table

from descry.activations.top_k import REASONS
from descry.cli.console.terminal import console, plain
from descry.cli.rows.overview import run_rows
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.io.number_format import PLACES, fixed, small
from descry.models.neurons import whose
from descry.run import Run


def show_table(results: Path, rows: int) -> None:
    """Print how far to believe the labels, and the labels with the most evidence."""
    run, out = Run(results), console()
    told = run_rows(run, rows)
    out.print(_believed(told["believed"]))
    for words in told["warnings"]:
        out.print(plain(f"warning: {words}"), soft_wrap=True)
    if without := told["without_exemplars"]:
        why = ", ".join(f"{without[reason]:,} {reason}" for reason in REASONS if reason in without)
        out.print(f"{run.kind}s without exemplars: {why}", soft_wrap=True)
    if run.has("annotations.h5") and (words := _settled(run.provenance("annotations.h5"))):
        out.print(words)
    if run.dictionary:
        out.print(plain(f"{run.kind}s of the dictionary {whose(run.dictionary)}"))
    table = Table(
        title=f"{told['labelled']:,} of {told['neurons']:,} {run.kind}s have a label; both halves"
        f" confirm {told['replicated']:,} of the {told['labels']:,} labels; the surest"
        f" {len(told['surest'])}"
    )
    for column in (run.kind, "label"):
        table.add_column(column)
    tested = "within strata" if run.strata else "mid-p"
    for column in ("exemplars", "expected", f"q {tested}", "q among all", "both halves"):
        table.add_column(column, justify="right")
    for one in told["surest"]:
        table.add_row(
            one["neuron"],
            plain(one["descriptor"]),
            f"{one['count']:,}",
            fixed(one["expected"], 1),
            small(one["q"]),
            small(one["q_unmatched"]),
            "yes" if one["replicated"] else "no",
        )
    out.print(table)


def _settled(made: JSON) -> str | None:
    """How Yes and No were decided, if not by the answers of the annotator alone."""
    params = made["params"]
    if asked := made.get("cascade"):
        return (
            f"annotate: a cascade: its oracle answered {asked['asked']:,} of {asked['cells']:,}"
            " pairs of sentence and descriptor, the proxy the others"
        )
    centre, threshold = params.get("centre"), params.get("threshold", 0)
    if centre is None and threshold == 0:
        return None
    less = f"log-odds less their {centre}'s mean, " if centre else "log-odds "
    begins = f"{threshold:g}" if isinstance(threshold, int | float) else "a fitted threshold"
    return f"annotate: Yes is {less}above {begins}"


def _believed(rows: list[Row]) -> Table:
    """The headline scores, each with its interval and the score that chance gives."""
    table = Table(title="how far to believe the labels", title_justify="left")
    for column in ("", "value", "95% interval", "by chance", "over"):
        table.add_column(column, justify="right" if column in ("value", "by chance") else "left")
    for row in rows:
        spanned = row["low"] is not None
        span = f"{fixed(row['low'])} to {fixed(row['high'])}" if spanned else ""
        digits = PLACES if spanned else 2 if row["score"] == "labels" else 1
        value, by_chance = (_number(row[name], digits) for name in ("value", "by_chance"))
        table.add_row(row["score"], value, span, by_chance, row["over"])
    return table


def _number(value: float | None, digits: int) -> str:
    """A count, or a number with this number of digits behind the point."""
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else fixed(value, digits)
