"""The command line `descry`: each command reads arguments, calls one function and prints."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from descry.cli.completion import descriptors_with, neurons_with
from descry.cli.errors import TRACEBACK, told, usage
from descry.cli.panels import (
    ANNOTATE,
    CHECK,
    EXPLAIN,
    EXPORT,
    LOOK,
    SETUP,
    STAGES_PANEL,
    Grouped,
    examples,
)
from descry.errors import InputError
from descry.workflow.stage import STAGES

app = typer.Typer(
    name="descry",
    cls=Grouped,
    help="Explain the neurons of text models in words, and prove where every word came from.",
    epilog=examples(
        "descry doctor",
        "descry show L5:50",
        "descry audit L5:50",
        "descry --install-completion",
        end="A neuron is named by layer and number, both from 0: `L5:50`, or `l5:50`."
        " Ids may be shortened to a beginning that no other id has; the case of names does not"
        " matter. `--json` prints the numbers of a table. The last example has the shell complete"
        " commands, options, neurons and descriptors by the Tab key (bash, zsh, fish, PowerShell).",
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
cache_app = typer.Typer(
    help="The prompt cache, which keeps every answer: count, export, check, clean.",
    no_args_is_help=True,
)
app.add_typer(
    cache_app,
    name="cache",
    rich_help_panel=ANNOTATE,
    epilog=examples("descry cache stats --price 0.15,0.60", "descry cache verify"),
)

Params = Annotated[
    str | None,
    typer.Option(
        "--params", "-p", help="The section of the stage as JSON, in place of that in params.yaml."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        help="Another value of a parameter, such as site=ffn_hidden; may stand repeatedly.",
    ),
]
CacheFolder = Annotated[Path, typer.Option("--cache", help="Folder of the prompt cache.")]
Results = Annotated[Path, typer.Option("--results", help="Folder with the results.")]
Replay = Annotated[
    bool, typer.Option("--replay", help="Take answers from the cache alone, and load no annotator.")
]
Journals = Annotated[
    Path | None,
    typer.Option(help="Folder for answers that several machines share (docs/cluster.md)."),
]
Part = Annotated[
    str | None,
    typer.Option("--shard", help="Do one part of the work, such as 3-of-8."),
]
Prices = Annotated[
    str | None,
    typer.Option(
        "--price", help="Dollars per million tokens, read and written, such as 0.15,0.60."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The same numbers as JSON.")]
NeuronName = Annotated[
    str | None,
    typer.Argument(
        metavar="NEURON",
        help="A neuron by layer and number, such as L5:50.",
        autocompletion=neurons_with,
    ),
]
CACHE, EXPORTS, RESULTS = Path("cache/prompts"), Path("data/answers"), Path("results")


Traceback = Annotated[
    bool,
    typer.Option("--traceback", envvar=TRACEBACK, help="Print the whole traceback of an error."),
]


@app.callback()
def _options(traceback: Traceback = False) -> None:
    """Options before the command."""
    if traceback:
        os.environ[TRACEBACK] = "1"  # also of the processes that this one starts


def main() -> None:
    """Run the command line.

    Bad input, and what this machine lacks, give one line and exit status 2; what nobody foresaw is
    a bug: its traceback, and exit status 1.
    """
    try:
        ended = app(prog_name="descry", standalone_mode=False)
    except typer.Abort:  # the end of the input, where something was asked
        print("aborted", file=sys.stderr)
        sys.exit(1)
    except TyperException as error:
        if lines := usage(error):
            print(lines, file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        lines, status = told(error)
        print(lines, file=sys.stderr)
        sys.exit(status)
    sys.exit(ended if isinstance(ended, int) else 0)


@app.command(hidden=True)
def settled(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="The name of the stage.")],
) -> None:
    """Whether a run has left a stage up to date: exit status 0, else 1. Asked by dvc.yaml."""
    from descry.workflow.settled import settled as is_settled

    if not is_settled(stage):
        raise typer.Exit(1)
    print(f"{stage}: up to date, as the last run left it")


@app.command(
    rich_help_panel=STAGES_PANEL,
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
    params: Params = None,
    changes: Changes = None,
    shard: Part = None,
    cache: CacheFolder = CACHE,
    journals: Journals = None,
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
    from descry.cli.console import show_neuron, show_table
    from descry.cli.shown import as_json as data
    from descry.cli.shown import neuron_rows, run_rows
    from descry.run import Run
    from descry.workflow.preflight import check_made

    check_made(results, "labels.parquet")
    if as_json:
        run = Run(results)
        print(data(run_rows(run, rows) if neuron is None else neuron_rows(run, neuron, rows)))
    elif neuron is None:
        show_table(results, rows)
    else:
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
    every: Annotated[bool, typer.Option("--all", help="Include neurons without a label.")] = False,
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
    from descry.cli.console_trial import show_trial
    from descry.cli.shown import as_json as data
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
    from descry.cli.console_graphs import (
        graph_rows,
        show_graph,
        show_like,
        show_subsets,
        show_token,
    )
    from descry.cli.shown import as_json as data
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
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
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
    from descry.cli.console import show_chain
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
    from descry.cli.console import show_link
    from descry.cli.shown import as_json as data
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
    from descry.cli.console import show_lines
    from descry.cli.shown import as_json as data
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
    every: Annotated[bool, typer.Option("--all", help="Include neurons without a label.")] = False,
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
    from descry.cli.console import show_compared
    from descry.cli.shown import as_json as data
    from descry.cli.shown import compared

    if as_json:
        print(data(compared(first, second)))
    else:
        show_compared(first, second)


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
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
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
    end: Annotated[
        str, typer.Option(help="highest or lowest: which end of the activations.")
    ] = "highest",
    draws: Annotated[int, typer.Option(min=2, help="Draws of each interval and null.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    rows: Annotated[
        int, typer.Option(min=1, help="Rows of each table, or sentences of each kind.")
    ] = 10,
) -> None:
    """Which labels two models share over one corpus, such as before and after fine-tuning."""
    from descry.cli.console import show_lines
    from descry.cli.console_diff import show_diff, show_pair
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
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    end: Annotated[
        str, typer.Option(help="highest or lowest: which end of the activations.")
    ] = "highest",
    draws: Annotated[
        int, typer.Option(min=2, help="Draws of the interval of a difference.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    rows: Annotated[int, typer.Option(min=1, help="Rows of each table.")] = 10,
) -> None:
    """Which labels hold on other data: the same model over another corpus."""
    from descry.cli.console import show_lines
    from descry.cli.console_replicate import show_replication
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
    from descry.cli.console_init import asked, create
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
    from descry.cli.console import show_findings
    from descry.cli.shown import as_json as data
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
    from descry.cli.console import show_forecast
    from descry.cli.shown import as_json as data
    from descry.workflow.params import load, parse_price
    from descry.workflow.requests import forecast as foretell

    with PromptCache(cache) as opened:
        rows = foretell(load(Path("params.yaml")), results, opened, parse_price(price))
    if as_json:
        print(data(rows))
    else:
        show_forecast(rows)


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
    from descry.cli.console_explanations import show_compared_explanations
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
    labels: Annotated[int, typer.Option(min=1, help="The value that the sheet was written with.")],
    each: Annotated[
        int, typer.Option(min=1, help="The value that the sheet was written with.")
    ] = 15,
    seed: Annotated[int, typer.Option(help="The value that the sheet was written with.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    results: Results = RESULTS,
) -> None:
    """What people say of the labels: f(c), the share they support, and their agreement."""
    from descry.cli.console import show_people
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


@cache_app.command(
    epilog=examples("descry cache stats", "descry cache stats --price 0.15,0.60 --json")
)
def stats(
    cache: CacheFolder = CACHE,
    price: Prices = None,
    as_json: AsJson = False,
) -> None:
    """Count answers, tokens and cost of every model, failures by reason, and pending batches."""
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console import show_cache
    from descry.cli.shown import as_json as data
    from descry.cli.shown import cache_rows
    from descry.workflow.params import parse_price

    with PromptCache(cache) as opened:
        if as_json:
            print(data(cache_rows(opened, parse_price(price))))
        else:
            show_cache(opened, parse_price(price))


@cache_app.command(epilog=examples("descry cache export", "descry cache export data/answers"))
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to.")] = EXPORTS,
    cache: CacheFolder = CACHE,
) -> None:
    """Write all answers as sorted JSON lines, a file for each task and model."""
    from descry.annotators.prompt_cache.jsonl import export as write
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.progress import summary

    with PromptCache(cache) as opened:
        summary(f"export to {folder}", write(opened, folder))


@cache_app.command("import", epilog=examples("descry cache import data/answers"))
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


@cache_app.command(epilog=examples("descry cache verify", "descry cache verify --remove"))
def verify(
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the wrong answers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the key of every answer against its request, and report changed versions."""
    from descry.annotators.prompt_cache.check import verify as check
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console import show_verified
    from descry.cli.shown import as_json as data

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


@cache_app.command(epilog=examples("descry cache gc", "descry cache gc --delete"))
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
    from descry.cli.console import show_garbage
    from descry.cli.shown import as_json as data
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
