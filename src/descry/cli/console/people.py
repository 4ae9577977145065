"""Print what people say of the labels."""

from rich.table import Table
from rich.text import Text

from descry.cli.console.terminal import console, plain
from descry.io.hashing import JSON
from descry.io.number_format import fixed


def show_people(found: JSON) -> None:
    """Print what people say of all labels, and of each label that was asked about."""
    table = Table(title="what people say of the labels", title_justify="left")
    for column in ("", "value", "95% interval", "over"):
        table.add_column(column, justify="right" if column == "value" else "left")

    def add(name: str | Text, one: JSON, over: str) -> None:
        if one["value"] == one["value"]:  # defined
            shown = [fixed(min(1.0, max(-1.0, one[key]))) for key in ("value", "low", "high")]
            table.add_row(name, shown[0], f"{shown[1]} to {shown[2]}", over)

    drawn = f"{found['f']['labels']:,} labels drawn"
    add("f(c): exemplars that talk about the label", found["f"], drawn)
    add("supported: more than elsewhere, p < .05", found["supported"], drawn)
    agreement = found["agreement"]
    shared = f"{agreement['questions']:,} questions of several raters"
    add("agreement: Krippendorff's alpha", agreement["alpha"], shared)
    for pair in agreement["kappa"]:
        names = " and ".join(pair["raters"])
        add(plain(f"agreement: Cohen's kappa, {names}"), pair, "")
    console().print(table)
    rows = Table()
    columns = "neuron", "label", "f by people", "95% interval", "by the annotator", "elsewhere"
    for column in columns:
        rows.add_column(column)
    for one in found["labels"]:
        value, low, high, own, other = (
            fixed(min(1.0, max(0.0, one[key])))
            for key in ("f", "low", "high", "f_by_annotator", "among_others")
        )
        rows.add_row(one["neuron"], plain(one["descriptor"]), value, f"{low} to {high}", own, other)
    console().print(rows)
    if found["unanswered"]:
        console().print(f"not answered by anybody, as if not drawn: {found['unanswered']:,}")
