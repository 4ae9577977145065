"""Set up a study."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from descry.cli.options import CACHE, RESULTS, AsJson, CacheFolder, Results
from descry.cli.panels import SETUP, examples
from descry.errors import InputError

app = typer.Typer()


@app.command(
    rich_help_panel=SETUP,
    epilog=examples(
        "descry init my-study --reviews hotels.csv --text review",
        "descry init my-study --reviews reviews.jsonl --model models/my-bert",
    ),
)
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The study's folder: a new one.")
    ],
    reviews: Annotated[
        Path | None, typer.Option(help="File or folder: JSON lines, CSV, TSV or Parquet; .gz too.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Column of the text; may stand repeatedly: the first that holds one."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to explain: on the hub, a folder, or a GGUF file.")
    ] = None,
    annotator: Annotated[
        str | None,
        typer.Option(help="Its kind: embedded (no LLM), openai, transformers or llama_cpp."),
    ] = None,
    annotator_model: Annotated[str | None, typer.Option(help="The annotator's model.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Of kind openai: http://localhost:11434/v1, ...")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Of kind openai: the variable that holds the API key.")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Link to the reviews; else they are copied.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Another value: exemplars.top_percent=10, ..."),
    ] = None,
) -> None:
    """Make the folder of a study of one's own, after checking all that it needs.

    On a terminal it asks for what is not given.
    """
    from descry.cli.console.init import asked, create
    from descry.workflow.study.choices import Choices

    given = {"reviews": reviews, "model": model, "kind": annotator, "annotator": annotator_model}
    given |= {"base_url": base_url, "api_key_env": api_key_env}
    said = {name: value for name, value in given.items() if value is not None}
    several = {"text": tuple(text or ()), "settings": tuple(changes or ())}
    choices = Choices(folder, **{"reviews": None, **said, **several}, link=link)  # type: ignore[arg-type]
    create(asked(choices, {*said}) if sys.stdin.isatty() else choices)


@app.command(
    rich_help_panel=SETUP,
    epilog=examples(
        "descry doctor",
        "descry doctor --json",
        end="Exit status 0 if nothing is wrong, else 1. A note is nothing wrong.",
    ),
)
def doctor(
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
    as_json: AsJson = False,
) -> None:
    """What is wrong here, and what to type: packages, machine, cache, models, params, stages.

    Nothing is computed or fetched, and no result is touched. A stage is outdated if the records of
    its last run say so; Snakemake itself is not started.
    """
    from descry.cli.console.doctor import show_findings
    from descry.cli.rows.as_json import as_json as data
    from descry.workflow.doctor import examine

    found = list(examine(results, cache))
    if as_json:
        print(data(found))
    else:
        show_findings(found)
    if any(one.state == "wrong" for one in found):
        sys.exit(1)


@app.command(rich_help_panel=SETUP, epilog=examples("descry preset decoder"))
def preset(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="One that descry has, or a file such as mine.yaml."),
    ],
) -> None:
    """Validate a preset and write it to params.yaml."""
    from descry.io.atomic import write_text
    from descry.workflow.package import PRESETS, preset_names
    from descry.workflow.params import load

    path = Path(name) if name.endswith(".yaml") else PRESETS / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"{name}: no such preset: there are {preset_names()}, or name a file")
    load(path)
    write_text(Path("params.yaml"), path.read_text(encoding="utf-8"))
    print(f"params.yaml is now preset {name}: run `descry dvc` when its files are in place")


@app.command(
    rich_help_panel=SETUP, epilog=examples("descry pin", "descry pin presets/decoder.yaml")
)
def pin(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The params file.")] = Path(
        "params.yaml"
    ),
) -> None:
    """Find the present commit of each unpinned model of a params file, and write it there."""
    from descry.workflow.pinning import pin_models

    for model, revision in pin_models(path).items():
        print(f"{model} @ {revision}")


@app.command(rich_help_panel=SETUP, epilog=examples("descry dvc", "descry dvc --check"))
def dvc(
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit status 2 if dvc.yaml is out of date."),
    ] = False,
) -> None:
    """Write dvc.yaml from the Snakefile; after an upgrade, say which stages have other code."""
    from descry.io.atomic import write_text
    from descry.workflow.dag import DVC_YAML, Wiring, dvc_yaml

    path, text = DVC_YAML, dvc_yaml()
    if not check:
        write_text(path, text)
        Wiring(job=False).list_code()
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        raise InputError("dvc.yaml is out of date: run `descry dvc`")
