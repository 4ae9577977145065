"""Results in the terminal. Texts of reviews are shown as text, whatever is in them."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from descry.activations.exemplar_files import (
    activation_places,
    read_ends,
    read_exemplars,
    read_neurons,
    spread,
)
from descry.activations.top_k import ENDS, HIGHEST, REASONS, in_common
from descry.activations.truncation import Cut
from descry.annotators.base import Price
from descry.annotators.cost import cost
from descry.annotators.openai_server.batch.ledger import Ledger, State
from descry.annotators.prompt_cache.check import Verified, one_sided_annotators
from descry.annotators.prompt_cache.store import PromptCache
from descry.corpus.splits import SPLITS
from descry.corpus.units import POSITIONS
from descry.errors import InputError
from descry.evaluation.confounders import told
from descry.io.hashing import JSON
from descry.io.number_format import fixed, small
from descry.io.sanitize import printable
from descry.io.tree import Node
from descry.labels.counting import TOO_FEW
from descry.labels.results import verdict
from descry.models.neurons import whose
from descry.n2g.render import readable
from descry.provenance.verify.check import Link
from descry.run import Neuron, Run

if TYPE_CHECKING:  # they import every stage, which takes longer than to show a neuron
    from descry.workflow.garbage import Garbage
    from descry.workflow.requests import Forecast

PLAIN_WIDTH = 160  # columns where there is no terminal


def console() -> Console:
    """Standard output; wide enough for whole lines where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def plain(text: str) -> Text:
    """A text without control characters: a review must not steer the terminal."""
    return Text(printable(text))


def show_table(results: Path, rows: int) -> None:
    """How far to believe the labels, and those of which there is most evidence."""
    run, out = Run(results), console()
    labels, made = run.surest, run.provenance("labels.parquet")
    out.print(_believed(run, len(labels), made["chance"][HIGHEST]))
    warnings = run.metrics["warnings"] if run.has("metrics.json") else made.get("warnings", ())
    _warn(warnings, made, run.kind)
    if run.has("annotations.h5") and (words := _settled(run.provenance("annotations.h5"))):
        out.print(words)
    labelled = labels.group_by(["layer", "neuron"]).aggregate([]).num_rows
    both = pc.sum(labels["replicated"]).as_py() or 0
    if run.dictionary:
        out.print(plain(f"{run.kind}s of the dictionary {whose(run.dictionary)}"))
    table = Table(
        title=f"{labelled:,} of {len(run.neurons):,} {run.kind}s have a label; both halves confirm"
        f" {both:,} of the {len(labels):,} labels; the surest {min(rows, len(labels))}"
    )
    for column in (run.kind, "label"):
        table.add_column(column)
    tested = "within strata" if run.strata else "mid-p"
    for column in ("exemplars", "expected", f"q {tested}", "q among all", "both halves"):
        table.add_column(column, justify="right")
    for one in labels.slice(0, rows).to_pylist():
        table.add_row(
            f"L{one['layer']}:{one['neuron']}",
            plain(one["descriptor"]),
            f"{one['count']:,}",
            fixed(one["expected"], 1),
            small(one["q"]),
            small(one["q_unmatched"]),
            "yes" if one["replicated"] else "no",
        )
    out.print(table)


def _settled(made: JSON) -> str | None:
    """How Yes and No came about, where it was not by the annotator's answers as they are."""
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


def _believed(run: Run, labels: int, chance: JSON) -> Table:
    """The headline numbers, each with its interval and what chance would give."""
    table = Table(title="how far to believe the labels", title_justify="left")
    for column in ("", "value", "95% interval", "by chance", "over"):
        table.add_column(column, justify="right" if column in ("value", "by chance") else "left")

    def add(name: str, score: JSON, null: str, of: str) -> None:
        if score.get("value") is not None:
            span = f"{fixed(score['low'])} to {fixed(score['high'])}"
            table.add_row(name, fixed(score["value"]), span, fixed(score[null]), of)

    metrics = run.metrics if run.has("metrics.json") else {}
    found = metrics.get("headline", {})
    if confirmed := found.get("replicated"):
        of = f"{confirmed['labels']:,} labels of the halves"
        add("replicated: the other half confirms them", confirmed, "base", of)
    for truth, confirmed in found.get("supported", {}).items():
        of = f"{confirmed['labels']:,} labels"
        add(f"supported: {_TRUTHS[truth]} confirm them", confirmed, "base", of)
    if chance:
        of = f"random sets{' of the same strata' if run.strata else ''}: mean of"
        of += f" {chance['draws']} draws, any in {chance['random_any']:.0%} of them"
        table.add_row("labels", f"{labels:,}", "", fixed(chance["random_labels"], 2), of)
    else:
        table.add_row("labels", f"{labels:,}", "", "none", f"random sets: {TOO_FEW}")
    copy = found.get("false_labels", {}).get("random_weights")
    if copy is not None:
        table.add_row("labels", f"{labels:,}", "", f"{copy:,}", "a copy with random weights")
    for truth, owed in metrics.get("shared_errors", {}).items():
        by = f"labels of {owed['descriptors']} descriptors ({_TRUTHS[truth]}: {owed['truth']:,})"
        lot, of = fixed(owed["errs_by_lot"], 1), "an annotator as good that errs by lot"
        of += f"; {owed['neurons']:,} neurons"
        table.add_row(by, f"{owed['annotator']:,}", "", lot, of)
    for against, score, words in _SCORES:
        one = metrics.get(against, {}).get(score, {})
        add(words, one, "null", f"{one.get('defined', 0):,} neurons")
    return table


_TRUTHS = {"gold": "gold labels", "judge": "the judge's answers"}
_SCORES = [
    ("halves", "jaccard", "the two halves' labels: Jaccard"),
    ("gold", "precision_at_k_2", "P@2 against gold labels"),
    ("judge", "precision_at_k_2", "P@2 against the judge"),
]


def _warn(warnings: Iterable[str], made: JSON, kind: str) -> None:
    """What speaks against the labels, and how many neurons have no exemplars, and why."""
    for words in warnings:
        console().print(plain(f"warning: {words}"), soft_wrap=True)
    without = made.get("without_exemplars", {}).get(HIGHEST, {})
    if without:
        why = ", ".join(f"{without[reason]:,} {reason}" for reason in REASONS if reason in without)
        console().print(f"{kind}s without exemplars: {why}", soft_wrap=True)


def show_neuron(results: Path, name: str, rows: int) -> None:
    """A neuron: its activations, and at each end its labels in each split and its exemplars."""
    run = Run(results)
    # activations.h5 is large: it may have been left where it was made.
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
    """Its labels, and what the strata explain; the surest other descriptor where there are none."""
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
    """The words that it peaks at."""
    table = Table(title="words it peaks at", title_justify="left")
    for column in ("word", "positions", "expected", "p", "q", ""):
        table.add_column(column, justify="left" if column in ("word", "") else "right")
    for row in words.to_pylist():
        numbers = str(row["count"]), fixed(row["expected"], 2), small(row["p"]), small(row["q"])
        table.add_row(plain(row["word"]), *numbers, "sure" if row["assigned"] else "")
    return table


def _follows(neuron: Neuron) -> Table:
    """What it follows beside topics."""
    table = Table(title="what it follows beside topics", title_justify="left")
    for column in ("covariate", "rho", "95% of unrelated below", "exemplars", "matched", "corpus"):
        table.add_column(column, justify="left" if column == "covariate" else "right")
    for row in neuron.confounders.to_pylist():
        rho, chance = fixed(row["rho"], 2), fixed(row["rho_chance"], 2)
        table.add_row(plain(row["covariate"]), rho, chance, *map(plain, told(row)))
    return table


def _writes(neuron: Neuron) -> Table | Text:
    """The tokens that it promotes and suppresses, where they are beyond chance."""
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
    """The groups of its exemplars, what covers them, and which labels are too broad."""
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
    """What it changes at the output when it is set to its mean, or raised."""
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
    """How far the exemplar sets of two files differ, as after a change of `activations.dtype`."""
    neurons = read_neurons(first)
    if neurons != read_neurons(second):
        raise InputError(f"{second}: not of the neurons that {first} is of")
    table = Table(title=f"exemplar sets of {len(neurons)} neurons in {first} and {second}")
    for column in ("sets", "size", "that differ", "members in common", "fewest"):
        table.add_column(column, justify="left" if column == "sets" else "right")
    both = set(read_ends(first)) & set(read_ends(second))
    for end in filter(both.__contains__, ENDS):
        for split in SPLITS:
            sets = [read_exemplars(path, split, end) for path in (first, second)]
            one, two = (found.reshape(len(neurons), -1) for found in sets)
            same = in_common(one, two)
            name = split if end == HIGHEST else f"{end}, {split}"
            shares = f"{(same < 1).mean():.1%}", f"{same.mean():.2%}", f"{same.min():.0%}"
            table.add_row(name, str(one.shape[1]), *shares)
    console().print(table)


def show_chain(node: Node) -> None:
    """An audit chain as a tree."""
    console().print(branch(node))


def branch(node: Node) -> Tree:
    """An outline as the terminal draws it."""
    drawn = Tree(plain(node.text))
    drawn.children += [branch(child) for child in node.children]
    return drawn


def show_link(link: Link) -> None:
    """What was checked of one link of the chain, and what is wrong with it."""
    verdict = "ok" if link.fault is None else "WRONG"
    console().print(plain(f"{verdict:5} {link.stage}: {link.checked}"), soft_wrap=True)
    if link.fault is not None:
        console().print(plain(f"      {link.fault}"), soft_wrap=True)


def show_lines(lines: Iterable[str]) -> None:
    """Lines as they are."""
    for line in lines:
        console().print(plain(line), soft_wrap=True)


def show_cache(cache: PromptCache, price: Price | None) -> None:
    """Answers and tokens by model, failures by reason, the last runs, and pending batches."""
    table = Table(title=f"answers in {cache.folder}")
    for column in ("task", "model", "revision", "answers", "tokens in", "tokens out", "cost"):
        table.add_column(column, justify="left" if column in ("task", "model") else "right")
    counts = cache.by_origin()
    rows: dict[tuple[str, str, str], np.ndarray] = {}
    for name, origin in cache.origins().items():
        who = origin["task"], origin["model"], origin["revision"]
        rows[who] = rows.get(who, 0) + np.array(counts.get(name, (0, 0, 0)))
    for (task, model, revision), numbers in sorted(rows.items()):
        spent = f"${cost(int(numbers[1]), int(numbers[2]), price):.2f}" if price else ""
        shown = [f"{number:,}" for number in numbers]
        table.add_row(task, plain(model), plain(revision[:12]), *shown, spent)
    table.add_row("", "all", "", f"{sum(int(n[0]) for n in rows.values()):,}", "", "", "")
    console().print(table)
    for words in one_sided_annotators(cache):
        console().print(plain(f"warning: {words}"), soft_wrap=True)
    reasons = Counter(record["reason"] for _, record in cache.failures())
    for reason, count in reasons.most_common():
        console().print(plain(f"{count:,} failed, to be asked again: {reason}"))
    for run, counted in sorted(cache.runs().items()):
        console().print(plain(f"last run of {run}: {_last_run(counted)}"))
    for words in _pending(Ledger(cache.batches)):
        console().print(plain(words), soft_wrap=True)


def _pending(ledger: Ledger) -> Iterator[str]:
    """What batches hold that are not taken in, by annotator and task."""
    found: dict[tuple[str, str, str], list[State]] = {}
    for state in ledger.states():
        who = state.origin["task"], state.origin["model"], state.base_url
        found.setdefault(who, []).append(state)
    for (task, model, url), states in sorted(found.items()):
        prompts, unsent = sum(s.requests for s in states), sum(s.batch is None for s in states)
        yield (
            f"{prompts:,} pending, to be taken in by the next run: {task} of {model} at"
            f" {urlsplit(url).hostname}, batches: {len(states):,}"
            + (f" ({unsent:,} not submitted)" if unsent else "")
        )


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
    """What is cached and what is to be asked, with tokens, time and cost."""
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
    """What was checked, what is wrong, and which versions have changed."""
    console().print(
        f"{found.checked:,} keys follow from their requests, {len(found.wrong):,} do not;"
        f" {found.elsewhere:,} are about sentences that are not in this corpus"
    )
    for key, reason in found.wrong.items():
        console().print(plain(f"wrong: {key}: {reason}"))
    for name, then in sorted(found.drift.items()):
        console().print(plain(f"drift: {name} was {', '.join(sorted(then))} for some answers"))


def show_garbage(found: "Garbage", deleted: bool) -> None:
    """What the present params do not reach."""
    for model, count in found.models.most_common():
        console().print(plain(f"{count:,} answers of {model}"))
    verb = "removed" if deleted else "would be removed by --delete"
    console().print(
        f"{len(found.answers):,} answers and {len(found.failures):,} failures {verb};"
        f" {found.kept:,} answers are needed"
    )


def show_people(found: JSON) -> None:
    """What people say of labels: of all, and of each that they were asked about."""
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
