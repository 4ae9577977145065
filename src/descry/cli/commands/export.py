"""Hand results on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from descry.cli.completion import neurons_with
from descry.cli.options import RESULTS, Results, Unlabelled
from descry.cli.panels import EXPORT, examples

app = typer.Typer()


@app.command(
    rich_help_panel=EXPORT,
    epilog=examples("descry export-crate run.zip", "descry export-crate run --activations"),
)
def export_crate(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A new folder, or a new .zip file.")
    ],
    reviews: Annotated[
        bool, typer.Option("--reviews", help="Include files with texts of reviews.")
    ] = False,
    activations: Annotated[
        bool, typer.Option("--activations", help="Include the activation matrix.")
    ] = False,
) -> None:
    """Write the run as a Workflow Run RO-Crate: its files, and what made each file."""
    from descry.cli.progress import summary
    from descry.provenance.rocrate.export import export_crate as export

    counts = export(Path(), output, reviews=reviews, activations=activations)
    summary(f"export-crate to {output}", counts)


@app.command(
    "export",
    rich_help_panel=EXPORT,
    epilog=examples(
        "descry export csv tables --no-sentences",
        "descry export neuronpedia out --neuron L5:50 --neuron L5:37",
    ),
)
def export_run(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="neuronpedia, circuit-tracer, hf-dataset or csv."),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="A new folder, or the folder of an export, which is replaced."
        ),
    ],
    neuron: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NEURON", help="Only NEURON; may stand repeatedly.", autocompletion=neurons_with
        ),
    ] = None,
    every: Unlabelled = False,
    exemplars: Annotated[int, typer.Option(min=1, help="Exemplars of each neuron, at most.")] = 20,
    sentences: Annotated[
        bool,
        typer.Option("--sentences/--no-sentences", help="Whether to include texts of reviews."),
    ] = True,
    model: Annotated[
        str | None, typer.Option(help="neuronpedia: the id of the model there; else from its name.")
    ] = None,
    source_set: Annotated[
        str | None, typer.Option(help="neuronpedia: the id of the source set.")
    ] = None,
    creator: Annotated[
        str | None, typer.Option(help="neuronpedia: the account; else the default account.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write labels, scores, exemplars by token and histograms in the form of another tool."""
    from descry.cli.progress import summary
    from descry.exports.export import export as write
    from descry.provenance.audit.project import open
    from descry.workflow.preflight import check_made

    check_made(results, "labels.parquet")
    how: dict[str, Any] = {"neurons": neuron, "every": every, "exemplars": exemplars}
    how |= {"sentences": sentences, "model": model, "source_set": source_set}
    how |= {} if creator is None else {"creator": creator}
    summary(f"export to {output}", write(open(results), kind, output, **how))
