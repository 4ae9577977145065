"""The command line `descry`: reads arguments and params, calls one function, prints; no logic."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from descry.cli.errors import TRACEBACK, told
from descry.errors import InputError
from descry.workflow.stage import STAGES

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

RUN, LOOK, SETUP = "Run", "Look at results", "Set up"
ASK = "Ask annotators"
Params = Annotated[
    str | None,
    typer.Option("--params", "-p", help="The stage's section as JSON; else that of ./params.yaml."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Another value: site=ffn_hidden, target.model=FOLDER, ..."),
]
CacheFolder = Annotated[Path, typer.Option("--cache", help="Folder of the prompt cache.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of the results.")]
Replay = Annotated[
    bool, typer.Option("--replay", help="Answers come from the cache alone; no model is loaded.")
]
Journals = Annotated[
    Path | None,
    typer.Option(help="Folder where answers live, for machines that share no disk but it."),
]
Part = Annotated[
    str | None,
    typer.Option("--shard", help="Only this part of the work, such as 3-of-8."),
]
Prices = Annotated[
    str | None,
    typer.Option("--price", help="Dollars per million tokens, in and out, such as 0.15,0.60."),
]
CACHE, EXPORTS, RESULTS = Path("cache/prompts"), Path("data/answers"), Path("results")


Traceback = Annotated[
    bool,
    typer.Option("--traceback", envvar=TRACEBACK, help="Show where an error comes from, in full."),
]


@app.callback()
def _options(traceback: Traceback = False) -> None:
    """What stands before the command."""
    if traceback:
        os.environ[TRACEBACK] = "1"  # also of the processes that this one starts


def main() -> None:
    """Run the command line.

    Bad input, and what this machine lacks, give one line and exit status 2; what nobody foresaw is
    a bug: its traceback, and exit status 1.
    """
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        lines, status = told(error)
        print(lines, file=sys.stderr)
        sys.exit(status)


@app.command(hidden=True)
def settled(stage: Annotated[str, typer.Argument(help="The stage.")]) -> None:
    """Whether a run has left a stage up to date: exit status 0, else 1. Asked by dvc.yaml."""
    from descry.workflow.settled import settled as is_settled

    if not is_settled(stage):
        raise typer.Exit(1)
    print(f"{stage}: up to date, as the last run left it")


@app.command(rich_help_panel=RUN, help=f"Run one stage, as Snakemake does: {', '.join(STAGES)}.")
def stage(
    name: Annotated[str, typer.Argument(help="The stage.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=PATH]...",
            help="Its files, by the names of its rule; those of the rule where one is missing.",
        ),
    ] = None,
    params: Params = None,
    changes: Changes = None,
    shard: Part = None,
    cache: CacheFolder = CACHE,
    journals: Journals = None,
    replay: Replay = False,
) -> None:
    """Find a stage's function, hand it its sections and files, and say what it did."""
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
        raise InputError(f"--shard: stage {name} has none")

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


@app.command(rich_help_panel=LOOK)
def show(
    neuron: Annotated[
        str | None, typer.Argument(help="Such as L5:24; without it, a table.")
    ] = None,
    results: Results = RESULTS,
    rows: Annotated[int, typer.Option(help="Rows of the table, or exemplar sentences.")] = 10,
) -> None:
    """A neuron's labels and exemplar sentences, or the neurons with the strongest labels."""
    from descry.cli.console import show_neuron, show_table
    from descry.workflow.preflight import check_made

    check_made(results, "labels.parquet")
    if neuron is None:
        show_table(results, rows)
    else:
        show_neuron(results, neuron, rows)


@app.command(rich_help_panel=LOOK)
def graph(
    neuron: Annotated[str | None, typer.Argument(help="Such as L5:24.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture to write: .svg, .dot or .json.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Neurons that respond to this word, in any case, or to id:1234."),
    ] = None,
    like: Annotated[str | None, typer.Option(help="Neurons with graphs like this one's.")] = None,
    subsets_of: Annotated[
        str | None, typer.Option(help="Neurons all of whose paths are in this one's graph.")
    ] = None,
    results: Results = RESULTS,
    rows: Annotated[int, typer.Option(min=1, help="Neurons to list.")] = 10,
) -> None:
    """What a neuron responds to, as a graph of tokens (N2G), and what all graphs say together."""
    from descry.cli.console_graphs import show_graph, show_like, show_subsets, show_token
    from descry.n2g.render import write_picture
    from descry.n2g.search import read_graphs
    from descry.workflow.preflight import check_made

    path = results / "graphs.parquet"
    if sum(one is not None for one in (neuron, token, like, subsets_of)) != 1:
        raise InputError("graph: name one neuron, --token, --like or --subsets-of")
    if output is not None and neuron is None:
        raise InputError("graph: --output is of one neuron, such as L5:24")
    check_made(results, "graphs.parquet")
    if token is not None:
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


@app.command(rich_help_panel=LOOK)
def audit(
    neuron: Annotated[str | None, typer.Argument(help="Such as L5:24.")] = None,
    review: Annotated[str | None, typer.Option(help="Labels that this sentence went into.")] = None,
    descriptor: Annotated[str | None, typer.Option(help="Labels that this is, and why.")] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(help="What changed for the neuron between two commits or experiments."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Exemplars, raw descriptors and mentions to follow.")
    ] = None,
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
) -> None:
    """Which inputs produced a neuron's labels, down to reviews, prompts, params and file hashes."""
    from descry.cli.console import show_chain
    from descry.io.hashing import canonical
    from descry.provenance.audit.project import Project
    from descry.provenance.audit.query import inquire
    from descry.workflow.preflight import check_made

    if diff is None:
        check_made(results, "labels.parquet")
    subjects = {"neuron": neuron, "review": review, "descriptor": descriptor}
    found = inquire(Project(results, cache), subjects, diff, rows, whole=as_json)
    if as_json:
        print(canonical(found.as_json()))
    else:
        show_chain(found.tree())


@app.command("verify", rich_help_panel=LOOK)
def verify_chain(
    sample: Annotated[
        int, typer.Option(min=0, help="Sentences and answers that the models compute anew.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Draws them.")] = 0,
    hashes: Annotated[
        bool, typer.Option("--hashes", help="The files by their hashes alone.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Then compute all of it anew, as `reproduce --anew`.")
    ] = False,
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
) -> None:
    """Whether every result follows from its inputs; names the first thing that does not."""
    from descry.cli.console import show_link
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
        print(f"{words}: it checks them by its own", file=sys.stderr)
    faults = 0
    for link in verify(project, params, sample=sample, seed=seed, hashes=hashes):
        show_link(link)
        faults += link.fault is not None
    if faults:
        sys.exit(1)
    if full:
        reproduce(anew=True)


@app.command(rich_help_panel=LOOK)
def reproduce(
    revision: Annotated[str, typer.Argument(help="A commit, or a DVC experiment.")] = "HEAD",
    scratch: Annotated[Path | None, typer.Option(help="Where to make the clone.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep it also where all is identical.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Ask the annotators that run on this machine again.")
    ] = False,
) -> None:
    """Rebuild a commit's results in a clone, asking nobody, and compare them byte for byte."""
    from descry.cli.console import show_lines
    from descry.provenance.reproduce.rebuild import reproduce as run

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    found = run(Path(), revision, scratch=scratch, keep=keep, anew=anew, progress=progress)
    show_lines(found.lines())
    if not found.is_whole:
        sys.exit(1)


@app.command(rich_help_panel=LOOK)
def export_crate(
    output: Annotated[Path, typer.Argument(help="A new folder, or a new .zip.")],
    reviews: Annotated[
        bool, typer.Option("--reviews", help="Also files that hold texts of reviews.")
    ] = False,
    activations: Annotated[
        bool, typer.Option("--activations", help="Also the activation matrix.")
    ] = False,
) -> None:
    """The run as a Workflow Run RO-Crate: its files, and what made each of them."""
    from descry.cli.progress import summary
    from descry.provenance.rocrate.export import export_crate as export

    counts = export(Path(), output, reviews=reviews, activations=activations)
    summary(f"export-crate to {output}", counts)


@app.command("export", rich_help_panel=LOOK)
def export_run(
    kind: Annotated[
        str, typer.Argument(help="Whose form: neuronpedia, circuit-tracer, hf-dataset or csv.")
    ],
    output: Annotated[
        Path, typer.Argument(help="A new folder, or that of an export, which it replaces.")
    ],
    neuron: Annotated[
        list[str] | None, typer.Option(help="Only this one, such as L5:24; may stand repeatedly.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also neurons without a label.")] = False,
    exemplars: Annotated[int, typer.Option(min=1, help="Of each neuron, at most.")] = 20,
    sentences: Annotated[
        bool, typer.Option("--sentences/--no-sentences", help="Whether texts of reviews go along.")
    ] = True,
    model: Annotated[
        str | None, typer.Option(help="For neuronpedia: the model's id there; else of its name.")
    ] = None,
    source_set: Annotated[
        str | None, typer.Option(help="For neuronpedia: the id of the neurons' set of sources.")
    ] = None,
    creator: Annotated[
        str | None, typer.Option(help="For neuronpedia: the account; else its default one.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Labels with scores, exemplars by token and histograms, as other tools take them in."""
    from descry.cli.progress import summary
    from descry.exports.export import export as write
    from descry.provenance.audit.project import open
    from descry.workflow.preflight import check_made

    check_made(results, "labels.parquet")
    how: dict[str, Any] = {"neurons": neuron, "every": every, "exemplars": exemplars}
    how |= {"sentences": sentences, "model": model, "source_set": source_set}
    how |= {} if creator is None else {"creator": creator}
    summary(f"export to {output}", write(open(results), kind, output, **how))


@app.command(rich_help_panel=LOOK)
def compare(
    first: Annotated[Path, typer.Argument(help="An exemplars.h5.")],
    second: Annotated[Path, typer.Argument(help="Another, such as one in bfloat16.")],
) -> None:
    """How many exemplar sets differ between two runs, and how far."""
    from descry.cli.console import show_compared

    show_compared(first, second)


@app.command(rich_help_panel=LOOK)
def diff(
    first: Annotated[Path, typer.Argument(help="Results of a model.")],
    second: Annotated[Path, typer.Argument(help="Of another, from the same corpus.")],
    neuron: Annotated[
        str | None, typer.Option(help="One neuron of the first, such as L5:24, and its sentences.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Page to write: a file .html, or a folder with CSV."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    match: Annotated[
        str,
        typer.Option(help="Which neuron is which: by index or correlation; auto: index if it can."),
    ] = "auto",
    across_layers: Annotated[
        bool, typer.Option("--across-layers", help="Match by correlation among all layers.")
    ] = False,
    end: Annotated[str, typer.Option(help="highest or lowest activations.")] = "highest",
    draws: Annotated[int, typer.Option(min=2, help="Of each interval and null.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a table, or sentences of a kind.")] = 10,
) -> None:
    """Which labels two models share: the same corpus, before and after fine-tuning, say."""
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


@app.command(rich_help_panel=LOOK)
def replicate(
    other: Annotated[Path, typer.Argument(help="Results of the same model over another corpus.")],
    results: Results = RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    end: Annotated[str, typer.Option(help="highest or lowest activations.")] = "highest",
    draws: Annotated[int, typer.Option(min=2, help="Of the interval of a difference.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a table.")] = 10,
) -> None:
    """Which labels hold on other data: the same model over another corpus."""
    from descry.cli.console_replicate import show_replication
    from descry.io.hashing import canonical
    from descry.two_corpora.replicate import replicate as test_again

    found = test_again(results, other, end=end, draws=draws, seed=seed)
    if as_json:
        print(canonical(found.as_json()))
    else:
        show_replication(found, rows)


@app.command(rich_help_panel=LOOK)
def sweep(
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV to write.")] = Path(
        "sweep.csv"
    ),
    figure: Annotated[Path, typer.Option(help="Picture to draw, .svg or .png.")] = Path(
        "sweep.svg"
    ),
    top_percent: Annotated[str, typer.Option(help="k of the exemplar sets, such as 0.5,1,2.")] = "",
    cuts: Annotated[
        str,
        typer.Option(help="t (or false discovery rates), such as 0.1,0.2; else those of evaluate."),
    ] = "",
    clustering: Annotated[
        str, typer.Option(help="Cluster thresholds; what was not asked before is asked.")
    ] = "",
    draws: Annotated[int, typer.Option(min=2, help="Of each null and interval.")] = 100,
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
) -> None:
    """How the labels' consistency changes with k, t and the cluster threshold, with bands."""
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


@app.command(rich_help_panel=SETUP)
def init(
    folder: Annotated[Path, typer.Argument(help="The study's folder: a new one.")],
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


@app.command(rich_help_panel=SETUP)
def preset(
    name: Annotated[str, typer.Argument(help="One that descry has, or a file such as mine.yaml.")],
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


@app.command(rich_help_panel=SETUP)
def pin(
    path: Annotated[Path, typer.Argument(help="The params file.")] = Path("params.yaml"),
) -> None:
    """Resolve the unpinned models of a params file to commits and write those."""
    from descry.workflow.pinning import pin_models

    for model, revision in pin_models(path).items():
        print(f"{model} @ {revision}")


@app.command(rich_help_panel=SETUP)
def dvc(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it is out of date.")
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


@app.command(rich_help_panel=ASK)
def forecast(
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
    price: Prices = None,
) -> None:
    """What the annotators would be asked by the present params: answers, tokens, time, cost."""
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console import show_forecast
    from descry.workflow.params import load, parse_price
    from descry.workflow.requests import forecast as foretell

    with PromptCache(cache) as opened:
        rows = foretell(load(Path("params.yaml")), results, opened, parse_price(price))
    show_forecast(rows)


@app.command(rich_help_panel=ASK)
def score_explanations(
    explanations: Annotated[
        Path,
        typer.Argument(help="Neuronpedia's or delphi's folder, or a .csv or .jsonl of neurons."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV to write, a row a neuron.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The means, as JSON.")] = False,
    sentences: Annotated[
        int | None, typer.Option(min=2, help="Of each kind; else score.sentences.")
    ] = None,
    cache: CacheFolder = CACHE,
    replay: Replay = False,
    results: Results = RESULTS,
) -> None:
    """Other people's explanations of the run's neurons, scored beside its labels."""
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


@app.command(rich_help_panel=ASK)
def annotate_sheet(
    sheet: Annotated[Path, typer.Argument(help="The CSV file.")],
    person: Annotated[
        str | None, typer.Option("--import", help="Take in the answers of this person.")
    ] = None,
    round: Annotated[str, typer.Option(help="A changed mind is another round.")] = "round-1",
    each: Annotated[
        int, typer.Option(min=1, help="Sentences tagged, and not tagged, a descriptor.")
    ] = 15,
    seed: Annotated[int, typer.Option(help="Draws the sentences.")] = 0,
    labels: Annotated[
        int, typer.Option(min=0, help="Ask about so many labels instead, for `descry people`.")
    ] = 0,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="What annotate.cascade asks its people next.")
    ] = False,
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
) -> None:
    """Write a CSV for people to fill with Yes and No, or take a filled one into the cache."""
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


@app.command(rich_help_panel=ASK)
def people(
    sheets: Annotated[list[Path], typer.Argument(help="Filled sheets, one a rater.")],
    labels: Annotated[int, typer.Option(min=1, help="As the sheet was written with.")],
    each: Annotated[int, typer.Option(min=1, help="As the sheet was written with.")] = 15,
    seed: Annotated[int, typer.Option(help="As the sheet was written with.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    results: Results = RESULTS,
) -> None:
    """What people say of the labels: f(c), the share that they support, and how they agree."""
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


@cache_app.command()
def stats(
    cache: CacheFolder = CACHE,
    price: Prices = None,
) -> None:
    """Answers and tokens of every model, failures by reason, and the last runs."""
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console import show_cache
    from descry.workflow.params import parse_price

    with PromptCache(cache) as opened:
        show_cache(opened, parse_price(price))


@cache_app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")] = EXPORTS,
    cache: CacheFolder = CACHE,
) -> None:
    """Write all answers as sorted JSON lines, one file a task and model, for DVC to version."""
    from descry.annotators.prompt_cache.jsonl import export as write
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.progress import summary

    with PromptCache(cache) as opened:
        summary(f"export to {folder}", write(opened, folder))


@cache_app.command("import")
def load_exports(
    exports: Annotated[list[Path], typer.Argument(help="Files or folders.")],
    cache: CacheFolder = CACHE,
) -> None:
    """Take exports into the cache; answers that contradict it are listed, and left out."""
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


@cache_app.command()
def verify(
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
    remove: Annotated[bool, typer.Option("--remove", help="Remove those that are wrong.")] = False,
) -> None:
    """Compute the key of every answer anew from its request, and report changed versions."""
    from descry.annotators.prompt_cache.check import verify as check
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console import show_verified

    with PromptCache(cache) as opened:
        found = check(opened, results)
        if remove:
            opened.remove(found.wrong, [])
    show_verified(found)
    if found.wrong:
        sys.exit(1)


@cache_app.command()
def gc(
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
    delete: Annotated[bool, typer.Option("--delete", help="Remove them for good.")] = False,
) -> None:
    """The answers that the present params do not reach; only counted, unless told to delete."""
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.cli.console import show_garbage
    from descry.workflow.garbage import garbage
    from descry.workflow.params import load

    with PromptCache(cache) as opened:
        found = garbage(opened, load(Path("params.yaml")), results)
        if delete:
            opened.remove(found.answers, found.failures)
    show_garbage(found, delete)
