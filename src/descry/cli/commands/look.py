"""Look at results."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from descry.cli.completion import neurons_with
from descry.cli.options import (
    CACHE,
    RESULTS,
    AllAsJson,
    AsJson,
    CacheFolder,
    End,
    NeuronName,
    Results,
    Seed,
    Unlabelled,
)
from descry.cli.panels import LOOK, examples
from descry.errors import InputError

app = typer.Typer()


@app.command(
    rich_help_panel=LOOK,
    epilog=examples("descry show", "descry show L5:50 --rows 3", "descry show L5:50 --json"),
)
def show(
    neuron: NeuronName = None,
    results: Results = RESULTS,
    rows: Annotated[
        int, typer.Option(min=1, help="Labels of the table, or exemplars of the neuron.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """The labels and exemplars of a neuron; without a neuron, how far to believe the labels.

    The table without a neuron has the headline scores of the run, each beside what chance gives,
    and the labels of which there is most evidence.
    """
    from descry.run import Run
    from descry.workflow.preflight import check_made

    check_made(results, "labels.parquet")
    if as_json:
        from descry.cli.rows.as_json import as_json as data
        from descry.cli.rows.neuron import neuron_rows
        from descry.cli.rows.overview import run_rows

        run = Run(results)
        print(data(run_rows(run, rows) if neuron is None else neuron_rows(run, neuron, rows)))
    elif neuron is None:
        from descry.cli.console.overview import show_table

        show_table(results, rows)
    else:
        from descry.cli.console.neuron import show_neuron

        show_neuron(results, neuron, rows)


@app.command(
    "try",
    rich_help_panel=LOOK,
    epilog=examples(
        'descry try "The guitar stays in tune for weeks."',
        'descry try "The guitar stays in tune for weeks." --neuron L5:50',
        "cat review.txt | descry try - --all --json",
    ),
)
def try_text(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="In quotes; `-` reads stdin.")],
    neuron: Annotated[
        list[str] | None,
        typer.Option(
            "--neuron",
            "-n",
            metavar="NEURON",
            help="Only NEURON, word by word; may stand repeatedly.",
            autocompletion=neurons_with,
        ),
    ] = None,
    every: Unlabelled = False,
    rows: Annotated[int, typer.Option(min=1, help="Neurons and labels to list.")] = 10,
    as_json: AsJson = False,
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
) -> None:
    """Which neurons of the run fire on a text of your own, and at which words.

    A neuron fires on a text that would be one of its exemplars. The text goes through the model of
    the run; each activation stands beside those of the corpus. A word is shown with the activation
    of its highest token (position max, unit token), or with the activation that the text loses
    without the word (cls, last, mean).
    """
    from descry.cli.console.trial import show_trial
    from descry.cli.rows.as_json import as_json as data
    from descry.provenance.audit.project import Project
    from descry.workflow.preflight import check_made

    check_made(results, "exemplars.h5")
    typed = sys.stdin.read() if text == "-" else text
    trial = Project(results, cache).try_text(typed, neuron, every=every)
    if as_json:
        print(data(trial.as_json()))
    else:
        show_trial(trial, rows, by_word=neuron is not None)


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "descry diff results tuned",
        "descry diff results tuned --neuron L5:50",
        "descry diff results tuned --output diff.html",
    ),
)
def diff(
    first: Annotated[
        Path, typer.Argument(metavar="FIRST", help="Folder with the results of a model.")
    ],
    second: Annotated[
        Path,
        typer.Argument(metavar="SECOND", help="The results of another model from the same corpus."),
    ],
    neuron: Annotated[
        str | None,
        typer.Option(metavar="NEURON", help="One neuron of FIRST, with its sentences."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File .html, or folder with CSV files, to write to."),
    ] = None,
    as_json: AllAsJson = False,
    match: Annotated[
        str,
        typer.Option(
            help="How to match neurons: index, correlation, or auto (index where it is possible)."
        ),
    ] = "auto",
    across_layers: Annotated[
        bool,
        typer.Option(
            "--across-layers", help="Match by correlation over all layers, not within a layer."
        ),
    ] = False,
    end: End = "highest",
    draws: Annotated[int, typer.Option(min=2, help="Draws of each interval and null.")] = 1000,
    seed: Seed = 0,
    rows: Annotated[
        int, typer.Option(min=1, help="Rows of each table, or sentences of each kind.")
    ] = 10,
) -> None:
    """Which labels two models share over one corpus, such as before and after fine-tuning."""
    from descry.cli.console.diff import show_diff, show_pair
    from descry.cli.console.terminal import show_lines
    from descry.io.hashing import canonical
    from descry.two_models.contents import write
    from descry.two_models.diff import diff as compare_models

    if neuron is not None and output is not None:
        raise InputError("diff: --output is of all neurons: leave --neuron out")
    among = "all" if across_layers else "layer"
    how: dict[str, Any] = {"match": match, "among": among, "end": end}
    found = compare_models(first, second, **how, draws=draws, seed=seed)
    if output is not None:
        write(found, output)
        show_lines([f"written to {output}"])
    if as_json:
        print(canonical((found if neuron is None else found.neuron(neuron)).as_json()))
    elif neuron is not None:
        show_pair(found, neuron, rows)
    elif output is None:
        show_diff(found, rows)
