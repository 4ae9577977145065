"""Print how the labels of one corpus hold on another."""

from rich.table import Table

from descry.cli.console.terminal import console, plain
from descry.io.csv_rows import Row
from descry.io.number_format import fixed, small
from descry.two_corpora.replicate import (
    HALF_OF_OTHER,
    HALVES_OF_FIRST,
    OTHER,
    RANDOM_WEIGHTS,
    Replication,
)

_TESTS = {
    OTHER: "labels of the whole corpus, in the whole other one",
    HALVES_OF_FIRST: "labels of a half, in the other half",
    HALF_OF_OTHER: "the same labels, in half of the other corpus",
    RANDOM_WEIGHTS: "labels of the whole corpus, on random weights in the other one",
}


def show_replication(found: Replication, rows: int) -> None:
    """Print the share of labels that hold, why others are not tested, and the surest that fail."""
    out, row = console(), found.summary
    for words in found.warnings:
        out.print(plain(f"warning: {words}"), soft_wrap=True)
    sizes = " and ".join(f"{len(of.corpus):,}" for of in (found.pair.first, found.pair.other))
    out.print(
        f"{row['labels_tested']:,} of {row['labels']:,} labels can be tested; {sizes}"
        f" {found.pair.unit}s",
        soft_wrap=True,
    )
    for reason, number in found.untested.items():
        out.print(plain(f"not tested: {number:,}, {reason}"), soft_wrap=True)
    out.print(_shares(found))
    out.print(
        f"{row['sure']:,} hold with q <= .05 over the labels tested; halves less half of the other"
        f" corpus: {fixed(row['beyond'])} (95% over neurons {fixed(row['beyond_low'])} to"
        f" {fixed(row['beyond_high'])}), what other data takes off beside other sentences",
        soft_wrap=True,
    )
    some = sorted(found.descriptors.to_pylist(), key=lambda one: -one["labels"])
    out.print(_by_descriptor(some[:rows], len(some)))
    out.print(_failed(found, rows))


def _shares(found: Replication) -> Table:
    table = Table(title="labels that hold: p < .05 within strata", title_justify="left")
    table.add_column("")
    for column in ("labels", "share", "95% interval", "other neurons", "more than expected"):
        table.add_column(column, justify="left" if column == "95% interval" else "right")
    for one in found.shares.to_pylist():
        span = f"{fixed(one['low'])} to {fixed(one['high'])}"
        numbers = f"{one['labels']:,}", fixed(one["value"]), span
        table.add_row(_TESTS[one["test"]], *numbers, fixed(one["chance"]), fixed(one["more"]))
    return table


def _by_descriptor(rows: list[Row], number: int) -> Table:
    title = f"by descriptor, {len(rows)} of {number} with the most labels"
    table = Table(title=title, title_justify="left")
    table.add_column("descriptor")
    for column in ("labels", "not tested", "hold", "share", "other neurons"):
        table.add_column(column, justify="right")
    for one in rows:
        counts = [f"{one[name]:,}" for name in ("labels", "untested", "held")]
        shares = [fixed(one[name], 2) if one[name] == one[name] else "–" for name in _OF_ROW]
        table.add_row(plain(one["descriptor"]), *counts, *shares)
    return table


_OF_ROW = ("value", "chance")


def _failed(found: Replication, rows: int) -> Table:
    """The labels that do not hold; the surest label of the first corpus comes first."""
    gone = [one for one in found.labels.to_pylist() if one["holds"] is False]
    gone.sort(key=lambda one: 1.0 if one["p"] is None else one["p"])
    shown = gone[:rows]
    title = f"labels that do not hold, the surest {len(shown)} of {len(gone):,}"
    table = Table(title=title, title_justify="left")
    for column in ("neuron", "label"):
        table.add_column(column)
    columns = ("exemplars", "expected", "lift", "q", "there", "expected there", "lift there", "p")
    for column in columns:
        table.add_column(column, justify="right")
    for one in shown:
        table.add_row(
            f"L{one['layer']}:{one['neuron']}",
            plain(one["descriptor"]),
            f"{one['count']:.0f}",
            fixed(one["expected"], 1),
            fixed(one["lift"], 1),
            small(one["q"]),
            f"{one['other_count']:.0f}",
            fixed(one["other_expected"], 1),
            fixed(one["other_lift"], 1),
            small(one["other_p"]),
        )
    return table
