"""Run a stage, as Snakemake does."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from descry.cli.options import CACHE, CacheFolder, Replay
from descry.cli.panels import RUN, examples
from descry.errors import InputError
from descry.workflow.stage import STAGES

app = typer.Typer()


@app.command(
    rich_help_panel=RUN,
    help=f"Run one stage, as Snakemake does: {', '.join(STAGES)}.",
    epilog=examples(
        "descry stage label",
        "descry stage activations --set site=ffn_hidden",
        "descry stage annotate --shard 3-of-8 --replay",
    ),
)
def stage(
    name: Annotated[str, typer.Argument(metavar="STAGE", help="The name of the stage.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=PATH",
            help="Files of the stage by their names in its rule; those not named are the rule's.",
        ),
    ] = None,
    params: Annotated[
        str | None,
        typer.Option(
            "--params",
            "-p",
            help="The section of the stage as JSON, in place of that in params.yaml.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            help="Another value of a parameter, such as site=ffn_hidden; may stand repeatedly.",
        ),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Do one part of the work, such as 3-of-8.")
    ] = None,
    cache: CacheFolder = CACHE,
    journals: Annotated[
        Path | None,
        typer.Option(help="Folder for answers that several machines share (docs/cluster.md)."),
    ] = None,
    replay: Replay = False,
) -> None:
    """Run the function of a stage with its sections and files, and print what it did."""
    from descry.cli.progress import counting, finished, reporting
    from descry.io.sharding import WHOLE, Shard
    from descry.workflow.preflight import BEFORE_SETS, check_corpus
    from descry.workflow.stage import Stage

    found = Stage(name)
    sections: list[Any] = found.sections(params)
    if changes:
        from descry.workflow.params import changed, parse
        from descry.workflow.pinning import pinned

        values = changed(name, sections[0], changes).model_dump()
        sections[0] = parse(name, pinned(values), "--set")
    if shard is not None and "shard" not in found.options:
        raise InputError(f"--shard: stage {name} is not done in parts: leave --shard out")

    def of_rule() -> list[str]:
        from descry.workflow.dag import rule_files

        return rule_files(name)

    paths = found.files(files or [], None if shard else of_rule)
    if name in BEFORE_SETS:
        check_corpus(paths["corpus"])
    how: dict[str, Any] = {"cache_folder": cache, "journals": journals, "replay": replay}
    how["shard"] = WHOLE if shard is None else Shard.parse(shard)
    told = reporting(name) if "replay" in found.options else counting(name)
    with told if "progress" in found.options else nullcontext() as how["progress"]:
        options = {option: how[option] for option in found.options}
        counts = found.function(*sections, **paths, **options)
    finished(name, counts)


@app.command(hidden=True)
def settled(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="The name of the stage.")],
) -> None:
    """Whether a run has left a stage up to date: exit status 0, else 1. Asked by dvc.yaml."""
    from descry.workflow.settled import settled as is_settled

    if not is_settled(stage):
        raise typer.Exit(1)
    print(f"{stage}: up to date, as the last run left it")
