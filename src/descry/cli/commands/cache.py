"""The prompt cache."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from descry.cli.options import CACHE, RESULTS, AsJson, CacheFolder, Prices, Results
from descry.cli.panels import examples

app = typer.Typer(
    help="The prompt cache, which keeps every answer: count, export, check, clean.",
    no_args_is_help=True,
)


@app.command(epilog=examples("descry cache stats", "descry cache stats --price 0.15,0.60 --json"))
def stats(
    cache: CacheFolder = CACHE,
    price: Prices = None,
    as_json: AsJson = False,
) -> None:
    """Count answers, tokens and cost of every model, failures by reason, and pending batches."""
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console.cache import show_cache
    from descry.cli.rows.as_json import as_json as data
    from descry.cli.rows.cache import cache_rows
    from descry.workflow.params import parse_price

    with PromptCache(cache) as opened:
        if as_json:
            print(data(cache_rows(opened, parse_price(price))))
        else:
            show_cache(opened, parse_price(price))


@app.command(epilog=examples("descry cache export", "descry cache export data/answers"))
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to.")] = Path(
        "data/answers"
    ),
    cache: CacheFolder = CACHE,
) -> None:
    """Write all answers as sorted JSON lines, a file for each task and model."""
    from descry.annotators.prompt_cache.jsonl import export as write
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.progress import summary

    with PromptCache(cache) as opened:
        summary(f"export to {folder}", write(opened, folder))


@app.command("import", epilog=examples("descry cache import data/answers"))
def load_exports(
    exports: Annotated[
        list[Path],
        typer.Argument(metavar="EXPORTS", help="Files or folders of `descry cache export`."),
    ],
    cache: CacheFolder = CACHE,
) -> None:
    """Take exports into the cache; list answers that contradict it, and leave them out."""
    from descry.annotators.prompt_cache.jsonl import load
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.progress import summary

    with PromptCache(cache) as opened:
        counts, conflicts = load(opened, exports)
    summary("import", {**counts, "conflicts": len(conflicts)})
    for key in conflicts:
        print(f"conflict: {key}: the cache has another response, which stays", file=sys.stderr)
    if conflicts:
        sys.exit(1)


@app.command(epilog=examples("descry cache verify", "descry cache verify --remove"))
def verify(
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the wrong answers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the key of every answer against its request, and report changed versions."""
    from descry.annotators.prompt_cache.check import verify as check
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console.cache import show_verified
    from descry.cli.rows.as_json import as_json as data

    with PromptCache(cache) as opened:
        found = check(opened, results)
        if remove:
            opened.remove(found.wrong, [])
    if as_json:
        print(data(found))
    else:
        show_verified(found)
    if found.wrong:
        sys.exit(1)


@app.command(epilog=examples("descry cache gc", "descry cache gc --delete"))
def gc(
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove these answers for good.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count the answers that the present params do not need; with --delete remove them."""
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console.cache import show_garbage
    from descry.cli.rows.as_json import as_json as data
    from descry.workflow.garbage import garbage
    from descry.workflow.params import load

    with PromptCache(cache) as opened:
        found = garbage(opened, load(Path("params.yaml")), results)
        if delete:
            opened.remove(found.answers, found.failures)
    if as_json:
        print(data(found))
    else:
        show_garbage(found, delete)
