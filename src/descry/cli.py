"""The command line `descry`: reads arguments and params, calls one function, prints; no logic."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from descry.errors import InputError

app = typer.Typer(
    name="descry",
    help="Explain the neurons of text models in words, and prove where every word came from.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cache_app = typer.Typer(
    help="The prompt cache: every answer is asked for once.", no_args_is_help=True
)
app.add_typer(cache_app, name="cache")

STAGES, LOOK, SETUP = "Stages (Snakemake runs them)", "Look at results", "Set up"
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
Params = Annotated[
    str | None,
    typer.Option("--params", "-p", help="The stage's section as JSON; else that of ./params.yaml."),
]
CacheFolder = Annotated[Path, typer.Option("--cache", help="Folder of the prompt cache.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of the results.")]
CACHE, RESULTS = Path("cache/prompts"), Path("results")


def main() -> None:
    """Run the command line; bad input gives one line and exit status 2."""
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _section(stage: str, text: str | None) -> dict[str, Any]:
    """A stage's parameters as keyword arguments: `section` whole, and each key but the paths."""
    from descry.params import input_paths, load, parse

    if text is None:
        model = getattr(load(Path("params.yaml")), stage)
    else:
        try:
            model = parse(stage, json.loads(text), "--params")
        except json.JSONDecodeError as error:
            raise InputError(f"--params: not valid JSON ({error})") from None
    section = model.model_dump()
    return {"section": section} | {k: v for k, v in section.items() if k not in input_paths(model)}


@app.command(rich_help_panel=STAGES)
def corpus(reviews: list[Path], output: Output, params: Params = None) -> None:
    """Reviews (files or folders) to filtered, deduplicated, split sentences."""
    from descry.progress import finished
    from descry.reviews import review_files
    from descry.stages import corpus as stage

    section = _section("corpus", params)
    files = [file for path in reviews for file in review_files(path)]
    finished("corpus", stage.run(files, output, **section))


@app.command(rich_help_panel=STAGES)
def describe(
    corpus: Path, output: Output, cache: CacheFolder = CACHE, params: Params = None
) -> None:
    """Raw descriptors of every sentence: prompt p1 to every labeller."""
    from descry.progress import finished, reporting
    from descry.stages import describe as stage

    section = _section("describe", params)
    with reporting("describe") as progress:
        counts = stage.run(corpus, output, cache, progress=progress, **section)
    finished("describe", counts)


@app.command(rich_help_panel=STAGES)
def cluster(candidates: Path, edits: Path, output: Output, params: Params = None) -> None:
    """Raw descriptors to descriptors, with the edits made by hand."""
    from descry.progress import finished
    from descry.stages import cluster as stage

    finished("cluster", stage.run(candidates, edits, output, **_section("cluster", params)))


@app.command(rich_help_panel=STAGES)
def annotate(
    corpus: Path,
    descriptors: Path,
    output: Output,
    cache: CacheFolder = CACHE,
    params: Params = None,
) -> None:
    """B, whether each sentence talks about each descriptor: prompt p2 to the labeller."""
    from descry.progress import finished, reporting
    from descry.stages import annotate as stage

    section = _section("annotate", params)
    with reporting("annotate") as progress:
        counts = stage.run(corpus, descriptors, output, cache, progress=progress, **section)
    finished("annotate", counts)


@app.command(rich_help_panel=STAGES)
def activations(corpus: Path, output: Output, params: Params = None) -> None:
    """Activation matrix of the target model."""
    from descry.progress import finished, reporting
    from descry.stages import activations as stage

    section = _section("activations", params)
    with reporting("activations") as progress:
        counts = stage.run(corpus, output, progress=progress, **section)
    finished("activations", counts)


@app.command(rich_help_panel=STAGES)
def exemplars(corpus: Path, activations: Path, output: Output, params: Params = None) -> None:
    """The sentences that excite each neuron most."""
    from descry.progress import finished
    from descry.stages import exemplars as stage

    finished("exemplars", stage.run(corpus, activations, output, **_section("exemplars", params)))


@app.command(rich_help_panel=STAGES)
def label(
    corpus: Path,
    exemplars: Path,
    annotations: Path,
    output: Output,
    neurons: Annotated[Path, typer.Option(help="File for the inverse map.")],
    params: Params = None,
) -> None:
    """Neuron labels, and the inverse map from descriptors to neurons."""
    from descry.progress import finished
    from descry.stages import label as stage

    section = _section("label", params)
    finished("label", stage.run(corpus, exemplars, annotations, output, neurons, **section))


@app.command(rich_help_panel=STAGES)
def evaluate(
    corpus: Path,
    exemplars: Path,
    annotations: Path,
    labels: Path,
    gold: Path,
    output: Output,
    curves: Annotated[Path, typer.Option(help="CSV: every score against t and K.")],
    descriptors: Annotated[Path, typer.Option(help="CSV: the labeller, per descriptor.")],
    correlation: Annotated[Path, typer.Option(help="CSV: Pearson correlation of descriptors.")],
    params: Params = None,
) -> None:
    """Scores of the labels, each beside that of shuffled neurons."""
    from descry.progress import finished
    from descry.stages import evaluate as stage

    section = _section("evaluate", params)
    inputs = (corpus, exemplars, annotations, labels, gold)
    outputs = (output, curves, descriptors, correlation)
    finished("evaluate", stage.run(*inputs, *outputs, **section))


@app.command(rich_help_panel=STAGES)
def report(
    corpus: Path,
    descriptors: Path,
    annotations: Path,
    activations: Path,
    exemplars: Path,
    labels: Path,
    metrics: Path,
    output: Output,
    params: Params = None,
) -> None:
    """The HTML page."""
    from descry.progress import finished
    from descry.stages import report as stage

    inputs = (corpus, descriptors, annotations, activations, exemplars, labels, metrics)
    finished("report", stage.run(*inputs, output, **_section("report", params)))


@app.command(rich_help_panel=LOOK)
def show(
    neuron: Annotated[
        str | None, typer.Argument(help="Such as L5:24; without it, a table.")
    ] = None,
    results: Results = RESULTS,
    rows: Annotated[int, typer.Option(help="Rows of the table, or exemplar sentences.")] = 10,
) -> None:
    """A neuron's labels and exemplar sentences, or the neurons with the strongest labels."""
    from descry.show import show_neuron, show_table

    if neuron is None:
        show_table(results, rows)
    else:
        show_neuron(results, neuron, rows)


@app.command(rich_help_panel=LOOK)
def audit(
    neuron: Annotated[str, typer.Argument(help="Such as L5:24.")],
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
    rows: Annotated[int, typer.Option(help="Exemplar sentences of each label.")] = 3,
) -> None:
    """The chain behind a neuron's labels, down to reviews, params and file hashes."""
    from descry.audit import chain
    from descry.show import show_chain

    show_chain(chain(results, cache, neuron, rows))


@app.command(rich_help_panel=SETUP)
def preset(
    name: Annotated[str, typer.Argument(help="A file of presets/, without .yaml.")],
) -> None:
    """Validate a preset and write it to params.yaml."""
    from descry.params import load
    from descry.storage import write_text

    path = Path("presets") / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in Path("presets").glob("*.yaml"))) or "none here"
        raise InputError(f"{path}: no such preset: there are {known}")
    load(path)
    write_text(Path("params.yaml"), path.read_text(encoding="utf-8"))
    print(f"params.yaml is now {path}")


@app.command(rich_help_panel=SETUP)
def pin(
    path: Annotated[Path, typer.Argument(help="The params file.")] = Path("params.yaml"),
) -> None:
    """Resolve the unpinned models of a params file to commits and write those."""
    from descry.pin import pin_models

    for model, revision in pin_models(path).items():
        print(f"{model} @ {revision}")


@app.command(rich_help_panel=SETUP)
def dvc(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it is out of date.")
    ] = False,
) -> None:
    """Write dvc.yaml from the Snakefile."""
    from descry.storage import write_text
    from descry.workflow import dvc_yaml

    path, text = Path("dvc.yaml"), dvc_yaml()
    if not check:
        write_text(path, text)
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        raise InputError("dvc.yaml is out of date: run `descry dvc`")


@cache_app.command()
def stats(cache: CacheFolder = CACHE) -> None:
    """Number of stored answers, and of failed ones that the next run asks again."""
    from descry.cache import PromptCache
    from descry.progress import summary

    with PromptCache(cache) as opened:
        summary("cache", dict(opened.stats()))
