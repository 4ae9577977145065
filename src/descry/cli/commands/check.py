"""Check labels and results."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from descry.cli.options import (
    CACHE,
    RESULTS,
    AllAsJson,
    AsJson,
    CacheFolder,
    End,
    Replay,
    Results,
    Seed,
)
from descry.cli.panels import CHECK, examples
from descry.errors import InputError

app = typer.Typer()


@app.command(
    "verify",
    rich_help_panel=CHECK,
    epilog=examples("descry verify --hashes", "descry verify --sample 50 --seed 1"),
)
def verify_chain(
    sample: Annotated[
        int, typer.Option(min=0, help="Sentences and answers to compute again; 0 loads no model.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    hashes: Annotated[
        bool,
        typer.Option(
            "--hashes", help="Compare files with their recorded hashes, and nothing else."
        ),
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Compute everything again afterwards, as `descry reproduce --anew`."
        ),
    ] = False,
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
    as_json: AsJson = False,
) -> None:
    """Whether every result follows from its inputs; names the first thing that does not.

    Exit status 0 if all follows, else 1. `--hashes` takes seconds; without it the models answer
    again for a sample, which takes minutes on a processor.
    """
    from descry.cli.console.verify import show_link
    from descry.cli.rows.as_json import as_json as data
    from descry.provenance.audit.project import Project
    from descry.provenance.verify.chain import verify
    from descry.workflow.code import other_code
    from descry.workflow.params import load
    from descry.workflow.preflight import check_made

    check_made(results, "labels.parquet")
    project = Project(results, cache)
    params = load(project.root / "params.yaml")
    if stages := other_code(project.root, params.model_dump()):
        of = ", ".join(stages)
        words = f"warning: the installed descry has other code than made the results of {of}"
        print(f"{words}: this one checks them", file=sys.stderr)
    links = []
    for link in verify(project, params, sample=sample, seed=seed, hashes=hashes):
        links.append(link)
        if not as_json:
            show_link(link)
    if as_json:
        print(data(links))
    if any(link.fault is not None for link in links):
        sys.exit(1)
    if full:
        reproduce(anew=True, as_json=as_json)


@app.command(
    rich_help_panel=CHECK,
    epilog=examples(
        "descry reproduce", "descry reproduce my-experiment --keep --scratch /tmp/again"
    ),
)
def reproduce(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="A commit or a DVC experiment.")
    ] = "HEAD",
    scratch: Annotated[
        Path | None, typer.Option(help="Folder for the clone; else a temporary one.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the clone even if all outputs are identical.")
    ] = False,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew", help="Ask the annotators of this machine again instead of the cache."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a commit's results in a clone, and compare them with the recorded ones.

    Answers come from the cache. Outputs are compared byte for byte: exit status 0 if all are the
    same, else 1.
    """
    from descry.cli.console.terminal import show_lines
    from descry.cli.rows.as_json import as_json as data
    from descry.provenance.reproduce.rebuild import reproduce as run

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    found = run(Path(), revision, scratch=scratch, keep=keep, anew=anew, progress=progress)
    if as_json:
        print(data(found))
    else:
        show_lines(found.lines())
    if not found.is_whole:
        sys.exit(1)


@app.command(
    rich_help_panel=CHECK,
    epilog=examples("descry compare results/exemplars.h5 bfloat16/exemplars.h5"),
)
def compare(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="A file exemplars.h5.")],
    second: Annotated[
        Path, typer.Argument(metavar="SECOND", help="Another, such as that of a run in bfloat16.")
    ],
    as_json: AsJson = False,
) -> None:
    """How many exemplar sets differ between two runs, and how far."""
    from descry.cli.console.compare import show_compared
    from descry.cli.rows.as_json import as_json as data
    from descry.cli.rows.compare import compared

    if as_json:
        print(data(compared(first, second)))
    else:
        show_compared(first, second)


@app.command(
    rich_help_panel=CHECK,
    epilog=examples("descry replicate other", "descry replicate other --rows 30 --json"),
)
def replicate(
    other: Annotated[
        Path, typer.Argument(metavar="OTHER", help="Results of the same model over another corpus.")
    ],
    results: Results = RESULTS,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Page to write: a file .html, or a folder with CSV."),
    ] = None,
    as_json: AllAsJson = False,
    end: End = "highest",
    draws: Annotated[
        int, typer.Option(min=2, help="Draws of the interval of a difference.")
    ] = 1000,
    seed: Seed = 0,
    rows: Annotated[int, typer.Option(min=1, help="Rows of each table.")] = 10,
) -> None:
    """Which labels hold on other data: the same model over another corpus."""
    from descry.cli.console.replicate import show_replication
    from descry.cli.console.terminal import show_lines
    from descry.io.hashing import canonical
    from descry.two_corpora.contents import write
    from descry.two_corpora.replicate import replicate as test_again

    found = test_again(results, other, end=end, draws=draws, seed=seed)
    if output is not None:
        write(found, output)
        show_lines([f"written to {output}"])
    if as_json:
        print(canonical(found.as_json()))
    elif output is None:
        show_replication(found, rows)


@app.command(
    rich_help_panel=CHECK,
    epilog=examples(
        "descry sweep --top-percent 0.5,1,2", "descry sweep --cuts 0.01,0.05 --figure sweep.png"
    ),
)
def sweep(
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV to write.")] = Path(
        "sweep.csv"
    ),
    figure: Annotated[Path, typer.Option(help="Picture to draw, .svg or .png.")] = Path(
        "sweep.svg"
    ),
    top_percent: Annotated[
        str, typer.Option(help="Sizes k of the exemplar sets in percent, such as 0.5,1,2.")
    ] = "",
    cuts: Annotated[
        str,
        typer.Option(
            help="Thresholds t, or false discovery rates, such as 0.1,0.2; else those of evaluate."
        ),
    ] = "",
    clustering: Annotated[
        str,
        typer.Option(
            help="Cluster thresholds; the annotator is asked what it was not asked before."
        ),
    ] = "",
    draws: Annotated[int, typer.Option(min=2, help="Draws of each null and interval.")] = 100,
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
) -> None:
    """How consistent the labels are at other sizes k, thresholds t and cluster thresholds."""
    from descry.cli.progress import finished, reporting
    from descry.io.csv_rows import write_csv
    from descry.labels.rules import Rule
    from descry.reporting.sensitivity import sensitivity
    from descry.reporting.style import save
    from descry.workflow.params import load, parse_numbers
    from descry.workflow.preflight import check_made
    from descry.workflow.sweep import Swept
    from descry.workflow.sweep import sweep as run

    if figure.suffix not in (".svg", ".png"):
        raise InputError(f"--figure {figure}: a picture is .svg or .png")
    check_made(results, "annotations.h5")
    params = load(Path("params.yaml"))
    rule = Rule.of(params.label.model_dump())
    steps = params.evaluate.thresholds if rule.name == "composition" else params.evaluate.rates
    swept = Swept(
        parse_numbers(top_percent, "--top-percent") or [params.exemplars.top_percent],
        parse_numbers(cuts, "--cuts") or steps,
        parse_numbers(clustering, "--clustering"),
    )
    with reporting("annotate") as progress:
        rows = list(run(params, results, cache, swept, draws, progress))
    write_csv(output, rows)
    save(sensitivity(rows, rule), figure, {"stage": "sweep"}, 150)
    finished("sweep", {"rows": len(rows)})


@app.command(
    rich_help_panel=CHECK,
    epilog=examples("descry score-explanations theirs.csv --output scores.csv"),
)
def score_explanations(
    explanations: Annotated[
        Path,
        typer.Argument(
            metavar="EXPLANATIONS",
            help="A folder of neuronpedia or delphi, or a .csv or .jsonl file of neurons.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="CSV file to write, a row for each neuron."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The means as JSON.")] = False,
    sentences: Annotated[
        int | None,
        typer.Option(min=2, help="Sentences of each kind; else score.sentences of params.yaml."),
    ] = None,
    cache: CacheFolder = CACHE,
    replay: Replay = False,
    results: Results = RESULTS,
) -> None:
    """Score explanations from elsewhere beside the labels of the run."""
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console.explanations import show_compared_explanations
    from descry.cli.progress import reporting
    from descry.explanations.score import Settings
    from descry.explanations.score import score_explanations as score
    from descry.io.csv_rows import defined, write_csv
    from descry.io.hashing import canonical
    from descry.provenance.audit.project import open
    from descry.workflow.params import load
    from descry.workflow.preflight import check_made

    check_made(results, "labels.parquet")
    params = load(Path("params.yaml"))
    spec, own = params.score.annotator or params.annotate.annotator, params.score
    how = Settings(sentences or own.sentences, own.seed, own.min_mass, own.max_failures)
    asking: dict[str, Any] = {"settings": how, "replay": replay}
    with PromptCache(cache) as opened, reporting("score-explanations") as asking["progress"]:
        asking["cache"] = opened
        found = score(open(results), explanations, spec.model_dump(), **asking)
    if output is not None:
        write_csv(output, found.rows)
    if as_json:
        print(canonical(defined({"annotator": found.annotator, "means": found.means})))
    else:
        show_compared_explanations(found)
