"""Print what is to be asked of the annotators."""

from datetime import timedelta

from rich.table import Table

from descry.cli.console.terminal import console, plain
from descry.workflow.requests import Forecast


def show_forecast(rows: list[Forecast]) -> None:
    """Print how many answers are cached and how many are to be asked, with time and cost."""
    table = Table(title="to be asked by the present params")
    batches = any(row.batch_dollars is not None for row in rows)
    for column in (
        "stage",
        "annotator",
        "cached",
        "to ask",
        "tokens in",
        "tokens out",
        "time",
        "cost",
        *(["in batches"] if batches else []),
    ):
        table.add_column(column, justify="left" if column in ("stage", "annotator") else "right")
    for row in rows:
        if row.after:
            table.add_row(row.stage, plain(row.annotator), "", f"not known before {row.after}")
            continue
        out = "unknown" if row.tokens_out is None else f"{row.tokens_out:,}"
        time = "no rate yet" if row.seconds is None else str(timedelta(seconds=round(row.seconds)))
        if not row.to_ask:
            out, time = "0", "0:00:00"
        spent = ["" if row.dollars is None else f"${row.dollars:,.2f}"]
        if batches:
            spent.append("" if row.batch_dollars is None else f"${row.batch_dollars:,.2f}")
        how = "" if row.known else "about " if row.about else "at most "
        asked = f"{how}{row.to_ask:,}"
        numbers = f"{row.cached:,}", asked, f"{row.tokens_in:,}", out, time, *spent
        table.add_row(row.stage, plain(row.annotator), *numbers)
    console().print(table)
