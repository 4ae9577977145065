"""Explain where labels come from."""

from pathlib import Path
from typing import Annotated

import typer

from descry.cli.completion import descriptors_with
from descry.cli.options import CACHE, RESULTS, AllAsJson, AsJson, CacheFolder, NeuronName, Results
from descry.cli.panels import EXPLAIN, examples
from descry.errors import InputError

app = typer.Typer()


@app.command(
    rich_help_panel=EXPLAIN,
    epilog=examples(
        "descry graph L5:50", "descry graph L5:50 --output l5-50.svg", "descry graph --token guitar"
    ),
)
def graph(
    neuron: NeuronName = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write the graph to: .svg, .dot or .json."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="WORD", help="Neurons that respond to WORD in any case, or to a token id:1234."
        ),
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="NEURON", help="Neurons with graphs like that of NEURON.")
    ] = None,
    subsets_of: Annotated[
        str | None,
        typer.Option(metavar="NEURON", help="Neurons all of whose paths the graph of NEURON has."),
    ] = None,
    results: Results = RESULTS,
    rows: Annotated[int, typer.Option(min=1, help="Neurons to list.")] = 10,
    as_json: AsJson = False,
) -> None:
    """What a neuron responds to, as a graph of tokens (N2G); or which neurons respond to a word."""
    from descry.cli.console.graphs import (
        graph_rows,
        show_graph,
        show_like,
        show_subsets,
        show_token,
    )
    from descry.cli.rows.as_json import as_json as data
    from descry.n2g.render import write_picture
    from descry.n2g.search import read_graphs
    from descry.workflow.preflight import check_made

    path = results / "graphs.parquet"
    if sum(one is not None for one in (neuron, token, like, subsets_of)) != 1:
        raise InputError(
            "graph: name one neuron, --token, --like or --subsets-of: type `descry graph L5:50`"
        )
    if output is not None and neuron is None:
        raise InputError("graph: --output is of one neuron: type `descry graph L5:50 -o FILE`")
    check_made(results, "graphs.parquet")
    if as_json and output is None:
        print(data(graph_rows(path, neuron, token, like, subsets_of, rows)))
    elif token is not None:
        show_token(path, token, rows)
    elif like is not None:
        show_like(path, like, rows)
    elif subsets_of is not None:
        show_subsets(path, subsets_of, rows)
    else:
        for name, entry in read_graphs(path, neuron).items():
            if output is None:
                show_graph(name, entry)
            else:
                write_picture(entry.graph, entry.words, output)


@app.command(
    rich_help_panel=EXPLAIN,
    epilog=examples(
        "descry audit L5:50",
        "descry audit L5:50 --full --rows 1",
        "descry audit --review e8c7fb85",
        "descry audit --descriptor music",
        "descry audit --diff main my-experiment L5:50",
    ),
)
def audit(
    neuron: NeuronName = None,
    review: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The labels that a sentence went into; ID may be its beginning."
        ),
    ] = None,
    descriptor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What a descriptor stands for, and which neurons it labels.",
            autocompletion=descriptors_with,
        ),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="FROM TO",
            help="What changed for the neuron between two commits or DVC experiments.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="All of the evidence for a neuron: prompts, answers, params, files."
        ),
    ] = False,
    as_json: AllAsJson = False,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many exemplars, raw descriptors and mentions to follow. [default: 3; with"
            " --json all exemplars]",
        ),
    ] = None,
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
) -> None:
    """Why a neuron has its labels: exemplars with file and line, and with --full all evidence.

    The evidence is the exact prompts and answers, the raw descriptors, the params, the versions,
    and every file on the way with its hash. Other questions: into which labels a sentence or a
    descriptor went, and what changed for a neuron between two versions of the study.
    """
    from descry.cli.console.terminal import show_chain
    from descry.io.hashing import canonical
    from descry.provenance.audit.project import Project
    from descry.provenance.audit.query import inquire
    from descry.workflow.preflight import check_made

    if diff is None:
        check_made(results, "labels.parquet")
    subjects = {"neuron": neuron, "review": review, "descriptor": descriptor}
    found = inquire(Project(results, cache), subjects, diff, rows, whole=as_json, full=full)
    if as_json:
        print(canonical(found.as_json()))
    else:
        show_chain(found.tree())
