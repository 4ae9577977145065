"""Models and people that answer."""

from pathlib import Path
from typing import Annotated

import typer

from descry.cli.commands import cache as cache_commands
from descry.cli.options import CACHE, RESULTS, AllAsJson, AsJson, CacheFolder, Prices, Results
from descry.cli.panels import ANNOTATE, examples

app = typer.Typer()
app.add_typer(
    cache_commands.app,
    name="cache",
    rich_help_panel=ANNOTATE,
    epilog=examples("descry cache stats --price 0.15,0.60", "descry cache verify"),
)


@app.command(
    rich_help_panel=ANNOTATE,
    epilog=examples("descry forecast", "descry forecast --price 0.15,0.60 --json"),
)
def forecast(
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
    price: Prices = None,
    as_json: AsJson = False,
) -> None:
    """What a run would ask the annotators: answers, tokens, time and cost."""
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console.forecast import show_forecast
    from descry.cli.rows.as_json import as_json as data
    from descry.workflow.params import load, parse_price
    from descry.workflow.requests import forecast as foretell

    with PromptCache(cache) as opened:
        rows = foretell(load(Path("params.yaml")), results, opened, parse_price(price))
    if as_json:
        print(data(rows))
    else:
        show_forecast(rows)


@app.command(
    rich_help_panel=ANNOTATE,
    epilog=examples(
        "descry annotate-sheet sheet.csv --each 10", "descry annotate-sheet sheet.csv --import anna"
    ),
)
def annotate_sheet(
    sheet: Annotated[Path, typer.Argument(metavar="SHEET", help="The CSV file.")],
    person: Annotated[
        str | None,
        typer.Option("--import", metavar="PERSON", help="Take in the answers of PERSON."),
    ] = None,
    round: Annotated[
        str, typer.Option(help="Name of the round: a person who answers again needs another.")
    ] = "round-1",
    each: Annotated[
        int, typer.Option(min=1, help="Sentences with, and without, each descriptor.")
    ] = 15,
    seed: Annotated[int, typer.Option(help="Seed of the sentences.")] = 0,
    labels: Annotated[
        int,
        typer.Option(min=0, help="Ask about this number of labels instead, for `descry people`."),
    ] = 0,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Ask what annotate.cascade wants to know next.")
    ] = False,
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
) -> None:
    """Write a CSV sheet for people to fill with Yes and No, or take in a filled sheet."""
    from descry.annotators.factory import create
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.annotators.sheet import read_sheet, write_cells, write_sheet
    from descry.cli.progress import summary
    from descry.run import Run
    from descry.workflow.params import load, parse_human

    corpus, annotations = results / Run(results).units, results / "annotations.h5"
    if person is None and cascade:
        from descry.workflow.requests import wanted_of_people

        cells = wanted_of_people(load(Path("params.yaml")), results, cache)
        summary("annotate-sheet", write_cells(corpus, sheet, cells, seed))
        return
    if person is None and labels:
        from descry.workflow.people import Drawn, write_design

        summary("annotate-sheet", write_design(Run(results), sheet, Drawn(labels, each, seed)))
        return
    if person is None:
        counts = write_sheet(corpus, annotations, sheet, per_descriptor=each, seed=seed)
        summary("annotate-sheet", counts)
        return
    who = create(parse_human(person, round), "p2")
    with PromptCache(cache) as opened:
        counts = read_sheet(sheet, corpus, annotations, opened, who)
    summary("annotate-sheet", counts)


@app.command(
    rich_help_panel=ANNOTATE, epilog=examples("descry people anna.csv bert.csv --labels 40")
)
def people(
    sheets: Annotated[
        list[Path], typer.Argument(metavar="SHEETS", help="Filled sheets, one for each rater.")
    ],
    labels: Annotated[int, typer.Option(min=1, help="--labels of the sheet.")],
    each: Annotated[int, typer.Option(min=1, help="--each of the sheet.")] = 15,
    seed: Annotated[int, typer.Option(help="--seed of the sheet.")] = 0,
    as_json: AllAsJson = False,
    results: Results = RESULTS,
) -> None:
    """What people say of the labels: f(c), the share they support, and their agreement."""
    from descry.cli.console.people import show_people
    from descry.io.csv_rows import defined
    from descry.io.hashing import canonical
    from descry.run import Run
    from descry.workflow.people import Drawn, read_people
    from descry.workflow.people import as_json as whole

    found = whole(read_people(Run(results), sheets, Drawn(labels, each, seed)), sheets)
    if as_json:
        print(canonical(defined(found)))
    else:
        show_people(found)
