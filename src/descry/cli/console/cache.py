"""Print what the prompt cache has."""

from typing import TYPE_CHECKING

from rich.table import Table

from descry.annotators.base import Price
from descry.annotators.prompt_cache.check import Verified
from descry.annotators.prompt_cache.store import PromptCache
from descry.cli.console.terminal import console, plain
from descry.cli.rows.cache import cache_rows
from descry.io.hashing import JSON

if TYPE_CHECKING:  # they import every stage, which takes longer than to show a neuron
    from descry.workflow.garbage import Garbage


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
