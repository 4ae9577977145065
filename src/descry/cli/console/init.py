"""`descry init`: questions on a terminal, and what there is to say of the new study."""

import sys
import tempfile
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from shlex import quote

import typer

from descry.cli.progress import summary
from descry.errors import InputError
from descry.io.sanitize import printable
from descry.workflow.study.checks import Refused, check, columns_of, usual_columns
from descry.workflow.study.choices import EMBEDDED, KINDS, SERVER, Choices
from descry.workflow.study.folder import make


def asked(choices: Choices, given: set[str]) -> Choices:
    """The choices with what a person at the terminal answers where nothing is given.

    Args:
        given: the names of the choices that options have made.
    """
    if "reviews" not in given:
        reviews = Path(typer.prompt("Reviews (a file or a folder)"))
        choices = replace(choices, reviews=reviews)
    if not choices.text and choices.reviews and choices.reviews.exists():
        choices = replace(choices, text=_text(choices.reviews))
    if "model" not in given:
        model = typer.prompt("Model to explain (a name on the hub, or a folder)", choices.model)
        choices = replace(choices, model=model)
    if "kind" not in given:
        kind = typer.prompt(f"Annotator ({', '.join(KINDS)})", choices.kind)
        choices = replace(choices, kind=kind)
    if choices.kind != EMBEDDED and choices.annotator is None:
        choices = replace(choices, annotator=typer.prompt("Its model"))
    if choices.kind == SERVER and choices.base_url is None:
        url = typer.prompt("Its address", "http://localhost:11434/v1")
        key = typer.prompt("Variable with its API key (empty: none)", "", show_default=False)
        choices = replace(choices, base_url=url, api_key_env=key or None)
    return choices


def _text(reviews: Path) -> tuple[str, ...]:
    """The column of the text, as a person says where none has a usual name."""
    try:
        columns = columns_of(reviews)
    except InputError:  # told with all else
        return ()
    if not columns or {*columns} & {*usual_columns()}:
        return ()
    shown = printable(", ".join(columns))
    return (typer.prompt(f"Column of the text ({shown})"),)


def create(choices: Choices) -> None:
    """Check a study, make its folder, and say what its annotators will be asked.

    Raises:
        typer.Exit: it cannot be made, for the reasons printed.
    """
    with tempfile.TemporaryDirectory(prefix="descry-init-") as scratch:
        results = Path(scratch).resolve()
        _say("reading the reviews, the target and the annotator")
        try:
            study = check(choices, results / "corpus.parquet")
        except Refused as refused:
            for problem in refused.problems:
                print(printable(f"error: {problem}"), file=sys.stderr)
            raise typer.Exit(2) from None
        from descry.annotators.prompt_cache.store import PromptCache
        from descry.cli.console.forecast import show_forecast
        from descry.workflow.params import load
        from descry.workflow.requests import forecast

        make(study, _say)
        folder = choices.folder
        summary("reviews", study.counts)
        kind = "decoder" if study.outline.decoder else "encoder"
        print(printable(f"target: {choices.model}, {kind} of {study.outline.layers} layers"))
        with chdir(folder), PromptCache(results / "cache") as cache:
            rows = forecast(load(Path("params.yaml")), results, cache, None)
        show_forecast(rows)
    print(f"{folder} is made; params.yaml in it has every parameter. To build it:\n")
    print(f"  cd {quote(str(folder))}\n  snakemake --cores all\n  dvc repro")


def _say(line: str) -> None:
    print(f"init: {line}", file=sys.stderr, flush=True)
