"""Print a comparison of two models in the terminal."""

import pyarrow.compute as pc
from rich.table import Table

from descry.cli.console.terminal import console, plain, show_chain
from descry.io.csv_rows import Row
from descry.io.number_format import fixed, small
from descry.two_models.diff import CHANGED, Diff
from descry.two_models.neuron import tree_of_pair

_SHARED = {
    "whole": "whole corpus, the same sentences",
    "same_half": "same half, the same sentences",
    "other_half": "other half",
    "halves_first": "halves of the first",
    "halves_second": "halves of the second",
}


def show_diff(found: Diff, rows: int) -> None:
    """Print what two models share, by layer and descriptor, and the surest changes of labels."""
    out, row = console(), found.summary
    for words in found.warnings:
        out.print(plain(f"warning: {words}"), soft_wrap=True)
    out.print(plain(_matched(found)), soft_wrap=True)
    out.print(_shared(found))
    out.print(
        f"beyond halves: {fixed(row['beyond'])} (95% {_span(row, 'beyond')}): what the halves of"
        " one model share more than other halves of two; 0 where the models are the same to labels",
        soft_wrap=True,
    )
    out.print(
        f"labels: {row['first']:,} in the first, {row['second']:,} in the second; {row['kept']:,}"
        f" kept ({fixed(row['kept_chance'], 1)} by chance), {row['lost']:,} lost, {row['gained']:,}"
        f" gained; of these {row['lost_changed']:,} lost and {row['gained_changed']:,} gained with"
        f" q <= {CHANGED:g}; {row['both_halves']:,} came or went in both halves,"
        f" {row['contradicted']:,} contradict (p {small(row['changes_p'])})",
        soft_wrap=True,
    )
    out.print(_by(found.layers.to_pylist(), "layer", ("rho_within", "exemplars")))
    some = found.descriptors.to_pylist()
    some.sort(key=lambda one: -(one["lost"] + one["gained"]))
    out.print(_by(some[:rows], "descriptor", ()))
    out.print(_labels(found, rows))


def show_pair(found: Diff, name: str, rows: int) -> None:
    """Print one pair of neurons, and the sentences that make the difference."""
    for words in found.warnings:
        console().print(plain(f"warning: {words}"), soft_wrap=True)
    show_chain(tree_of_pair(found.neuron(name), rows))


def _matched(found: Diff) -> str:
    row, names = found.summary, found.pair.names
    told = f"{names[0]} -> {names[1]}: {row['compared']:,} of {row['neurons']:,} neurons compared"
    if found.matches.how == "index":
        by = "by index"
        if found.matches.tested:
            by += f"; {row['matched']:,} pairs are correlated (q <= .05), and in"
            by += f" {100 * row['best']:.1f}% no other neuron of the layer is more so"
    else:
        by = f"by correlation, tested on {found.matches.sentences:,} other sentences;"
        by += f" {row['neurons'] - row['matched']:,} neurons of the first and"
        by += f" {len(found.alone):,} of the second have no match"
    return f"{told}, matched {by}"


def _shared(found: Diff) -> Table:
    table = Table(title="labels that both have, of those that either has", title_justify="left")
    for column in ("", "share", "95% over neurons", "by chance"):
        table.add_column(column, justify="left" if column in ("", "95% over neurons") else "right")
    row = found.summary
    for key, words in _SHARED.items():
        table.add_row(words, fixed(row[key]), _span(row, key), fixed(row[f"{key}_chance"]))
    expected = fixed(row["exemplars_matched"])
    table.add_row("exemplars that both have", fixed(row["exemplars"]), "", expected)
    table.add_row("rank correlation within strata, median", fixed(row["rho_within"]), "", "0")
    return table


def _span(row: Row, key: str) -> str:
    return f"{fixed(row[f'{key}_low'])} to {fixed(row[f'{key}_high'])}"


def _by(rows: list[Row], key: str, further: tuple[str, ...]) -> Table:
    table = Table(title=f"by {key}", title_justify="left")
    table.add_column(key)
    shares = [*further, "whole", "other_half", "halves_first", "halves_second", "beyond"]
    counts = ["kept", "lost", "gained", "lost_changed", "gained_changed"]
    for column in (*counts, *shares):
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        numbers = [f"{row[name]:,}" for name in counts]
        numbers += [_share(row[name]) for name in shares]
        table.add_row(plain(str(row[key])), *numbers)
    return table


def _share(value: float) -> str:
    return fixed(value, 2) if value == value else "–"


def _labels(found: Diff, rows: int) -> Table:
    gone = found.labels.filter(pc.not_equal(found.labels["change"], "kept"))
    shown = gone.slice(0, rows).to_pylist()
    title = f"labels that came or went, the surest {len(shown)} of {len(gone):,}"
    table = Table(title=title, title_justify="left")
    for column in ("neuron", "pair", "label", "change"):
        table.add_column(column)
    for column in ("exemplars", "expected", "only in one set", "p", "q", "halves"):
        table.add_column(column, justify="right")
    for one in shown:
        table.add_row(
            f"L{one['layer']}:{one['neuron']}",
            f"L{one['other_layer']}:{one['other_neuron']}",
            plain(one["descriptor"]),
            one["change"],
            f"{one['first_count']} -> {one['second_count']}",
            f"{fixed(one['first_expected'], 1)} -> {fixed(one['second_expected'], 1)}",
            f"-{one['only_first']} +{one['only_second']}",
            small(one["p"]),
            small(one["q"]),
            {1: "both", -1: "contradict"}.get(one["halves"], ""),
        )
    return table
