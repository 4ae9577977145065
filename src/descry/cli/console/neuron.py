"""Print a neuron: its labels, what else is known of it, and its exemplars."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from descry.activations.exemplar_files import activation_places, spread
from descry.activations.top_k import HIGHEST
from descry.activations.truncation import Cut
from descry.cli.console.terminal import console, plain
from descry.corpus.units import POSITIONS
from descry.evaluation.confounders import told
from descry.io.number_format import fixed, small
from descry.labels.results import verdict
from descry.models.neurons import whose
from descry.n2g.token_words import readable
from descry.run import Neuron, Run


def show_neuron(results: Path, name: str, rows: int) -> None:
    """Print a neuron: its activations, and at each end its labels by split and its exemplars."""
    run = Run(results)
    # activations.h5 is large, and may be on another machine.
    cut = run.cut if run.has("activations.h5") else None
    if run.dictionary:
        console().print(plain(f"{name}: a {run.kind} of {whose(run.dictionary)}"), soft_wrap=True)
    for neuron in (run.neuron(name, end) for end in run.ends):
        of = "" if neuron.end == HIGHEST else f", {neuron.end} activations"
        if neuron.silent is not None:
            why = f"{neuron.name}{of}: no exemplars, no label: {neuron.silent}"
            console().print(why, soft_wrap=True)
            continue
        console().print(_labels(neuron, neuron.name + of))
        if run.units == POSITIONS:
            words = neuron.tokens
            shown = _words(words.slice(0, rows)) if len(words) else "no word is at two positions"
            console().print(shown)
        if neuron.end == HIGHEST and run.has("confounders.parquet"):
            console().print(_follows(neuron))
        if neuron.end == HIGHEST and run.has("writes.parquet"):
            console().print(_writes(neuron), soft_wrap=True)
        if neuron.end == HIGHEST and run.has("facets.parquet") and neuron.facets is not None:
            for part in _facets(neuron):
                console().print(part, soft_wrap=True)
        if neuron.end == HIGHEST and run.has("interventions.csv") and neuron.interventions:
            console().print(_changes(neuron))
        console().print(_sentences(neuron, rows, cut))
    number = int(neuron.distribution["counts"].sum())
    of = "the highest of each" if run.units == POSITIONS else "activations"
    told = f"{of} of {number} sentences: {spread(neuron.distribution)}"
    console().print(told)


def _labels(neuron: Neuron, title: str) -> Table:
    """The labels, and descriptors that the strata explain; without any, the surest descriptor."""
    table = Table(title=title, title_justify="left")
    numbers = "exemplars", "expected", "f(c)", "lift", "p", "q", "q among all"
    for column in ("descriptor", "split", *numbers, ""):
        left = column in ("descriptor", "split", "")
        table.add_column(column, justify="left" if left else "right")
    every, explained = neuron.numbers, neuron.explained
    labels = [name for name, splits in every.items() if any(n.assigned for n in splits.values())]
    shown = [name for name in every if name in {*labels, *explained}] or list(every)[:1]
    for descriptor in shown:
        splits = every[descriptor]
        for split, one in splits.items() if descriptor in labels else [("all", splits["all"])]:
            table.add_row(
                plain(descriptor),
                split,
                str(one.count),
                fixed(one.expected, 1),
                fixed(one.f),
                fixed(one.lift, 1),
                small(one.p),
                small(one.q),
                small(one.q_unmatched),
                verdict(split, one, neuron.run.fdr, neuron.run.strata),
            )
    return table


def _words(words: pa.Table) -> Table:
    """The words that the neuron peaks at."""
    table = Table(title="words it peaks at", title_justify="left")
    for column in ("word", "positions", "expected", "p", "q", ""):
        table.add_column(column, justify="left" if column in ("word", "") else "right")
    for row in words.to_pylist():
        numbers = str(row["count"]), fixed(row["expected"], 2), small(row["p"]), small(row["q"])
        table.add_row(plain(row["word"]), *numbers, "sure" if row["assigned"] else "")
    return table


def _follows(neuron: Neuron) -> Table:
    """The covariates that the neuron follows beside topics."""
    table = Table(title="what it follows beside topics", title_justify="left")
    for column in ("covariate", "rho", "95% of unrelated below", "exemplars", "matched", "corpus"):
        table.add_column(column, justify="left" if column == "covariate" else "right")
    for row in neuron.confounders.to_pylist():
        rho, chance = fixed(row["rho"], 2), fixed(row["rho_chance"], 2)
        table.add_row(plain(row["covariate"]), rho, chance, *map(plain, told(row)))
    return table


def _writes(neuron: Neuron) -> Table | Text:
    """The tokens that the neuron promotes and suppresses beyond chance."""
    row = neuron.writes
    if row is None:
        return plain(f"what it writes: {neuron.run.writes_nothing}")
    chance = (
        f"its furthest token is {fixed(row['score'], 1)} deviations out, of permutations"
        f" {fixed(row['score_null'], 1)} (q {small(row['q'])}; among mixtures of neurons"
        f" {small(row['q_mixed'])})"
    )
    if not row["writes"]:
        return plain(f"what it writes: nothing beyond chance: {chance}")
    table = Table(title=f"what it writes: {chance}", title_justify="left")
    for column in ("", "tokens, with deviations"):
        table.add_column(column)
    for way in ("promoted", "suppressed"):
        pairs = zip(row[f"{way}_token"], row[f"{way}_z"], strict=True)
        said = "  ".join(f"{readable(token)} {fixed(abs(z), 1)}" for token, z in pairs)
        table.add_row(way, plain(said or "nothing beyond chance"))
    for what in ("exemplars", "labels"):
        own, other, p = (row[f"{what}_{name}"] for name in ("own", "other", "p"))
        if own is not None:
            said = f"{fixed(own, 2)}, of another neuron {fixed(other, 2)} (p {small(p)})"
            table.add_row(f"promoted words in its {what}", said)
    return table


def _facets(neuron: Neuron) -> Iterator[Table | Text]:
    """The groups of exemplars, the descriptors that cover them, and labels that are too broad."""
    own, chance = neuron.facets, neuron.run.facets_chance
    if own is None:
        return
    if len(own["facets"]) > 1:
        lots, random = (fixed(chance[f"{name}_labels"], 1) for name in ("lots", "random"))
        title = f"facets; labels of one by lot {lots}, of a random set's groups {random}"
        table = Table(title=title, title_justify="left")
        for column in ("exemplars", "labels of the facet, and p among all its exemplars"):
            table.add_column(column, justify="right" if column == "exemplars" else "left")
        for part in own["facets"]:
            said = [f"{one['descriptor']} ({small(one['neuron_p'])})" for one in part["labels"]]
            table.add_row(str(len(part["rows"])), plain(", ".join(said) or "none"))
        yield table
    if own["cover_reached"]:
        shares = f"{fixed(own['covered'], 2)}, random sentences {fixed(own['covered_random'], 2)}"
        yield plain(f"covers held-out exemplars: {', '.join(own['cover'])} ({shares})")
    if own["breadth"]:
        table = Table(title="labels beside close negatives", title_justify="left")
        for column in ("label", "exemplars", "close negatives", "all that do not excite", "p", ""):
            table.add_column(column, justify="left" if column in ("label", "") else "right")
        for one in own["breadth"]:
            of = [fixed(one[name], 2) for name in ("exemplars", "close", "quiet")]
            broad = "too broad" if one["broad"] else ""
            table.add_row(plain(one["descriptor"]), *of, small(one["p"]), broad)
        yield table


def _changes(neuron: Neuron) -> Table:
    """What changes at the output when the neuron is set to its mean, or raised."""
    measures = neuron.run.interventions["measures"]
    rows = neuron.interventions
    table = Table(title=plain(f"what it changes, as {rows[0]['descriptor']}"), title_justify="left")
    for column in ("", "sentences", *measures.values()):
        table.add_column(f"{column} (other neurons)" if column in measures.values() else column)
    for row in rows:
        pairs = [(row[name], row[f"{name}_others"]) for name in measures]
        said = [f"{value:.2g} ({others:.2g})" for value, others in pairs]
        table.add_row(row["intervention"], _KINDS[row["kind"]], *said)
    return table


_KINDS = {"label": "of the label", "other": "others"}


def _sentences(neuron: Neuron, rows: int, cut: Cut | None) -> Table:
    exemplars, places = neuron.exemplars, activation_places(neuron.distribution)
    table = Table(title=f"{min(rows, len(exemplars))} of {len(exemplars)} exemplars")
    for column in ("activation", "sentence", "descriptors"):
        table.add_column(column)
    for one in exemplars.slice(0, rows).to_pylist():
        mark = cut and cut.mark(one["row"])
        shown = one.get("marked", one["text"])
        text = f"{shown}\n[{mark}]" if mark else shown
        said = ", ".join(one["descriptors"])
        table.add_row(fixed(one["activation"], places), plain(text), plain(said))
    return table
