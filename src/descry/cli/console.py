"""Print results in the terminal. Reviews are printed as plain text, whatever they contain."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from descry.activations.exemplar_files import (
    activation_places,
    read_neurons,
    spread,
)
from descry.activations.top_k import HIGHEST, REASONS
from descry.activations.truncation import Cut
from descry.annotators.base import Price
from descry.annotators.prompt_cache.check import Verified
from descry.annotators.prompt_cache.store import PromptCache
from descry.cli.shown import cache_rows, compared, run_rows
from descry.corpus.units import POSITIONS
from descry.evaluation.confounders import told
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.io.number_format import PLACES, fixed, small
from descry.io.sanitize import printable
from descry.io.tree import Node
from descry.labels.results import verdict
from descry.models.neurons import whose
from descry.n2g.render import readable
from descry.provenance.verify.check import Link
from descry.run import Neuron, Run

if TYPE_CHECKING:  # they import every stage, which takes longer than to show a neuron
    from descry.workflow.doctor import Finding
    from descry.workflow.garbage import Garbage
    from descry.workflow.requests import Forecast

PLAIN_WIDTH = 160  # columns where there is no terminal


def console() -> Console:
    """Standard output; without a terminal, wide enough for whole lines."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def plain(text: str) -> Text:
    """A text without control characters: a review must not steer the terminal."""
    return Text(printable(text))


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


def show_compared(first: Path, second: Path) -> None:
    """Print how far the exemplar sets of two files differ."""
    rows = compared(first, second)
    table = Table(
        title=f"exemplar sets of {len(read_neurons(first))} neurons in {first} and {second}"
    )
    for column in ("sets", "size", "that differ", "members in common", "fewest"):
        table.add_column(column, justify="left" if column == "sets" else "right")
    for row in rows:
        shares = f"{row['differ']:.1%}", f"{row['common']:.2%}", f"{row['fewest']:.0%}"
        table.add_row(row["sets"], str(row["size"]), *shares)
    console().print(table)


def show_chain(node: Node) -> None:
    """Print an audit as a tree."""
    console().print(branch(node))


def branch(node: Node) -> Tree:
    """An outline as a tree of the terminal."""
    drawn = Tree(plain(node.text))
    drawn.children += [branch(child) for child in node.children]
    return drawn


def show_findings(found: "Sequence[Finding]") -> None:
    """Print what is in order and what is not, group by group, and what to type."""
    out = console()
    for group in dict.fromkeys(one.group for one in found):
        table = Table(title=group, title_justify="left", box=None, show_header=False)
        for column in ("name", "state", "said"):
            table.add_column(column, no_wrap=column == "state")
        for one in found:
            if one.group == group:
                said = plain(one.said)
                if one.remedy:
                    said.append(f"\n-> {printable(one.remedy)}")
                state = {"ok": "ok", "note": "note", "wrong": "WRONG"}[one.state]
                table.add_row(plain(one.name), state, said)
        out.print(table)
    wrong = sum(one.state == "wrong" for one in found)
    out.print(f"{wrong} wrong" if wrong else "nothing is wrong")


def show_link(link: Link) -> None:
    """Print what was checked of one link of the chain, and what is wrong."""
    verdict = "ok" if link.fault is None else "WRONG"
    console().print(plain(f"{verdict:5} {link.stage}: {link.checked}"), soft_wrap=True)
    if link.fault is not None:
        console().print(plain(f"      {link.fault}"), soft_wrap=True)


def show_lines(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        console().print(plain(line), soft_wrap=True)


def show_cache(cache: PromptCache, price: Price | None) -> None:
    """Print answers and tokens by model, failures by reason, the last runs, and pending batches."""
    told = cache_rows(cache, price)
    table = Table(title=f"answers in {told['folder']}")
    for column in ("task", "model", "revision", "answers", "tokens in", "tokens out", "cost"):
        table.add_column(column, justify="left" if column in ("task", "model") else "right")
    for row in told["answers"]:
        spent = "" if row["dollars"] is None else f"${row['dollars']:.2f}"
        shown = [f"{row[name]:,}" for name in ("answers", "tokens_in", "tokens_out")]
        table.add_row(row["task"], plain(row["model"]), plain(row["revision"][:12]), *shown, spent)
    every = sum(row["answers"] for row in told["answers"])
    table.add_row("", "all", "", f"{every:,}", "", "", "")
    console().print(table)
    for words in told["warnings"]:
        console().print(plain(f"warning: {words}"), soft_wrap=True)
    for reason, count in told["failures"].items():
        console().print(plain(f"{count:,} failed, to be asked again: {reason}"))
    for run, counted in told["runs"].items():
        console().print(plain(f"last run of {run}: {_last_run(counted)}"))
    for row in told["batches"]:
        words = f"{row['prompts']:,} pending, to be imported by the next run: {row['task']} of"
        words += f" {row['model']} at {row['host']}, batches: {row['batches']:,}"
        words += f" ({row['unsent']:,} not submitted)" if row["unsent"] else ""
        console().print(plain(words), soft_wrap=True)


def _last_run(counts: JSON) -> str:
    hits, misses = counts["cached"], counts["asked"]
    words = [f"{hits:,} hits, {misses:,} misses"]
    if misses:
        words.append(f"{counts['rate'] or 0:,} answers/s")
    if failed := sum(counts["failures"].values()):
        words.append(f"{failed:,} failed")
    if counts["cut"]:
        words.append(f"{counts['cut']:,} cut to the model's limit")
    words += [f"{n:,} prompts: {remark}" for remark, n in counts.get("remarks", {}).items()]
    return ", ".join(words)


def show_forecast(rows: "list[Forecast]") -> None:
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


def show_verified(found: Verified) -> None:
    """Print how many keys were checked, the wrong ones, and versions that have changed."""
    console().print(
        f"{found.checked:,} keys follow from their requests, {len(found.wrong):,} do not;"
        f" {found.elsewhere:,} are about sentences that are not in this corpus"
    )
    for key, reason in found.wrong.items():
        console().print(plain(f"wrong: {key}: {reason}"))
    for name, then in sorted(found.drift.items()):
        console().print(plain(f"drift: {name} was {', '.join(sorted(then))} for some answers"))


def show_garbage(found: "Garbage", deleted: bool) -> None:
    """Print how many answers the present params do not need."""
    for model, count in found.models.most_common():
        console().print(plain(f"{count:,} answers of {model}"))
    verb = "removed" if deleted else "would be removed by --delete"
    console().print(
        f"{len(found.answers):,} answers and {len(found.failures):,} failures {verb};"
        f" {found.kept:,} answers are needed"
    )


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
