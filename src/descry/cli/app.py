"""The command line `descry`: reads arguments and params, calls one function, prints; no logic."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from descry.cli.errors import TRACEBACK, told
from descry.errors import InputError
from descry.io.sharding import WHOLE, Shard

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
ASK = "Ask annotators"
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
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
Parts = Annotated[
    list[Path] | None, typer.Argument(help="What the shards wrote, where there are some.")
]
OptionalFile = Annotated[Path | None, typer.Argument()]
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


def _section(stage: str, text: str | None, changes: list[str] | None = None) -> dict[str, Any]:
    """A stage's parameters as keyword arguments."""
    from descry.workflow.params import arguments, changed, load, parse

    if text is None:
        model = getattr(load(Path("params.yaml")), stage)
    else:
        try:
            model = parse(stage, json.loads(text), "--params")
        except json.JSONDecodeError as error:
            raise InputError(f"--params: not valid JSON ({error})") from error
    if changes:
        from descry.workflow.pinning import pinned

        model = parse(stage, pinned(changed(stage, model, changes).model_dump()), "--set")
    return arguments(model)


def _shard(part: str | None) -> Shard:
    return WHOLE if part is None else Shard.parse(part)


@app.command(rich_help_panel=STAGES)
def corpus(reviews: list[Path], output: Output, params: Params = None) -> None:
    """Reviews (files or folders) to filtered, deduplicated, split sentences."""
    from descry.cli.progress import finished
    from descry.corpus.files import passed_over, review_files
    from descry.stages import corpus as stage

    section = _section("corpus", params)
    files = [file for path in reviews for file in review_files(path)]
    beside = passed_over([*reviews, Path(section["section"]["reviews"])], files)
    finished("corpus", {**stage.run(files, output, **section), **beside})


@app.command(rich_help_panel=STAGES)
def describe(
    corpus: Path,
    output: Output,
    parts: Parts = None,
    cache: CacheFolder = CACHE,
    journals: Journals = None,
    replay: Replay = False,
    shard: Part = None,
    params: Params = None,
) -> None:
    """Raw descriptors of every sentence: prompt p1 to every annotator."""
    from descry.cli.progress import finished, reporting
    from descry.stages import describe as stage
    from descry.workflow.preflight import check_corpus

    check_corpus(corpus)
    how = _section("describe", params) | {"replay": replay, "journals": journals}
    how |= {"shard": _shard(shard), "again": not parts}
    with reporting("describe") as progress:
        counts = stage.run(corpus, output, cache, progress=progress, **how)
    finished("describe", counts)


@app.command(rich_help_panel=STAGES)
def cluster(
    candidates: Path, output: Output, edits: OptionalFile = None, params: Params = None
) -> None:
    """Raw descriptors to descriptors, with the edits made by hand."""
    from descry.cli.progress import finished
    from descry.stages import cluster as stage

    finished("cluster", stage.run(candidates, edits, output, **_section("cluster", params)))


@app.command(rich_help_panel=STAGES)
def annotate(
    corpus: Path,
    descriptors: Path,
    exemplars: Path,
    output: Output,
    parts: Parts = None,
    cache: CacheFolder = CACHE,
    journals: Journals = None,
    replay: Replay = False,
    shard: Part = None,
    params: Params = None,
) -> None:
    """B, whether each sentence talks about each descriptor: prompt p2 to the annotator."""
    files = corpus, descriptors, exemplars, output, cache
    how = {"shard": _shard(shard), "again": not parts}
    _ask_p2("annotate", files, params, replay=replay, journals=journals, **how)


@app.command(rich_help_panel=STAGES)
def judge(
    corpus: Path,
    descriptors: Path,
    exemplars: Path,
    output: Output,
    cache: CacheFolder = CACHE,
    journals: Journals = None,
    replay: Replay = False,
    params: Params = None,
) -> None:
    """The same of a second annotator, to hold the first against."""
    files = corpus, descriptors, exemplars, output, cache
    _ask_p2("judge", files, params, replay=replay, journals=journals)


def _ask_p2(name: str, files: tuple[Path, ...], params: str | None, **how: Any) -> None:
    from descry.cli.progress import finished, reporting
    from descry.stages import annotate, judge

    run = {"annotate": annotate.run, "judge": judge.run}[name]
    how |= _section(name, params)
    with reporting(name) as progress:
        counts = run(*files, progress=progress, **how)
    finished(name, counts)


@app.command(rich_help_panel=STAGES)
def activations(
    corpus: Annotated[Path, typer.Argument(help="A corpus.parquet, as `descry corpus` writes.")],
    output: Output,
    parts: Parts = None,
    shard: Part = None,
    params: Params = None,
    changes: Changes = None,
) -> None:
    """What the neurons of the target model do with every sentence.

    Any encoder or decoder of the transformers library. What is wanted is said in the section
    `activations` of params.yaml, or here with --set:

    target.model: a folder, or a name on the hub; target.revision: its commit.

    site: ffn_output, ffn_hidden, attention_output, residual, or a module's path such as
    encoder.layer.*.output.dense; with :input behind it, what goes into the module.

    position: cls, last, mean, max, or tokens for every one. layers: null for all, or [0, 5].

    dtype: float32 or bfloat16. store_dtype: float32 or float16. batch_tokens, max_tokens, block.

    store: matrix, or exemplars, which keeps what the next stage needs in memory that does not grow.

    A run that was stopped is gone on with. The file is HDF5, dataset `activations` [sentence,
    layer, neuron].
    """
    from descry.cli.progress import counting, finished
    from descry.stages import activations as stage
    from descry.workflow.preflight import check_corpus

    check_corpus(corpus)
    section = _section("activations", params, changes)
    section |= {"shard": _shard(shard), "parts": parts or []}
    with counting("activations") as progress:
        counts = stage.run(corpus, output, progress=progress, **section)
    finished("activations", counts)


@app.command(rich_help_panel=STAGES)
def exemplars(corpus: Path, activations: Path, output: Output, params: Params = None) -> None:
    """The sentences that excite each neuron most."""
    from descry.cli.progress import finished
    from descry.stages import exemplars as stage

    finished("exemplars", stage.run(corpus, activations, output, **_section("exemplars", params)))


@app.command(rich_help_panel=STAGES)
def untrained(
    corpus: Path,
    output: Output,
    params: Params = None,
    activations: Annotated[
        str | None, typer.Option(help="Section activations as JSON; else that of ./params.yaml.")
    ] = None,
    exemplars: Annotated[str | None, typer.Option(help="Section exemplars, likewise.")] = None,
) -> None:
    """Exemplars of a copy of the target with random weights, as a null."""
    from descry.cli.progress import counting, finished
    from descry.stages import untrained as stage

    section = _section("untrained", params)
    made = _section("activations", activations)["section"]
    chosen = _section("exemplars", exemplars)["section"]
    with counting("untrained") as progress:
        counts = stage.run(
            corpus, output, extraction=made, selection=chosen, progress=progress, **section
        )
    finished("untrained", counts)


@app.command(rich_help_panel=STAGES)
def graphs(
    corpus: Path,
    output: Output,
    parts: Parts = None,
    scores: Annotated[Path | None, typer.Option(help="CSV: mean scores of each layer.")] = None,
    shard: Part = None,
    params: Params = None,
    activations: Annotated[
        str | None, typer.Option(help="Section activations as JSON; else that of ./params.yaml.")
    ] = None,
) -> None:
    """What neurons respond to, as graphs of tokens (N2G)."""
    from descry.cli.progress import counting, finished
    from descry.stages import graphs as stage
    from descry.workflow.preflight import check_corpus

    check_corpus(corpus)
    section = _section("graphs", params) | {"shard": _shard(shard), "parts": parts or []}
    made = _section("activations", activations)["section"]
    with counting("graphs") as progress:
        counts = stage.run(corpus, output, scores, extraction=made, progress=progress, **section)
    finished("graphs", counts)


@app.command(rich_help_panel=STAGES)
def label(
    corpus: Path,
    exemplars: Path,
    annotations: Path,
    output: Output,
    composed: Annotated[Path, typer.Option(help="File for the composed labels.")],
    neurons: Annotated[Path, typer.Option(help="File for the inverse map.")],
    params: Params = None,
) -> None:
    """Neuron labels, and the inverse map from descriptors to neurons."""
    from descry.cli.progress import finished
    from descry.stages import label as stage

    section = _section("label", params)
    outputs = output, composed, neurons
    finished("label", stage.run(corpus, exemplars, annotations, *outputs, **section))


@app.command(rich_help_panel=STAGES)
def evaluate(
    corpus: Path,
    activations: Path,
    exemplars: Path,
    untrained: Path,
    annotations: Path,
    judgements: Path,
    labels: Path,
    composed: Path,
    output: Output,
    curves: Annotated[Path, typer.Option(help="CSV: every score against t and K.")],
    nulls: Annotated[Path, typer.Option(help="CSV: every score by chance.")],
    alignment: Annotated[Path, typer.Option(help="CSV: labels over all sentences, means.")],
    descriptors: Annotated[Path, typer.Option(help="CSV: the annotator, per descriptor.")],
    correlation: Annotated[Path, typer.Option(help="CSV: Pearson correlation of descriptors.")],
    scored: Annotated[Path, typer.Option(help="Parquet: each label over all sentences.")],
    brief: Annotated[Path, typer.Option(help="YAML: ten numbers, which `dvc metrics` compares.")],
    gold: OptionalFile = None,
    params: Params = None,
) -> None:
    """Scores of the labels, each with its interval and beside its nulls."""
    from descry.cli.progress import finished
    from descry.stages import evaluate as stage

    section = _section("evaluate", params)
    models = activations, exemplars, untrained
    inputs = (corpus, *models, annotations, judgements, labels, composed, gold)
    outputs = (output, curves, nulls, alignment, descriptors, correlation, scored, brief)
    finished("evaluate", stage.run(*inputs, *outputs, **section))


@app.command(rich_help_panel=STAGES)
def score(
    corpus: Path,
    descriptors: Path,
    labels: Path,
    exemplars: Path,
    activations: Path,
    output: Output,
    scores: Annotated[Path, typer.Option(help="CSV: a row per neuron and scorer.")],
    cache: CacheFolder = CACHE,
    journals: Journals = None,
    replay: Replay = False,
    params: Params = None,
) -> None:
    """How well an annotator can use the labels, on sentences that did not choose them."""
    from descry.cli.progress import finished, reporting
    from descry.stages import score as stage

    section = _section("score", params) | {"journals": journals}
    files = (corpus, descriptors, labels, exemplars, activations, output, scores, cache)
    with reporting("score") as progress:
        counts = stage.run(*files, replay=replay, progress=progress, **section)
    finished("score", counts)


@app.command(rich_help_panel=STAGES)
def figures(
    corpus: Path,
    candidates: Path,
    clusters: Annotated[Path, typer.Argument(help="descriptors.json")],
    labels: Path,
    curves: Path,
    nulls: Path,
    alignment: Path,
    descriptors: Annotated[Path, typer.Argument(help="descriptors.csv")],
    correlation: Path,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the figures.")],
    tables: Annotated[Path, typer.Option(help="Folder for the tables.")],
    plots: Annotated[Path, typer.Option(help="Folder for the curves that `dvc plots` draws.")],
    params: Params = None,
) -> None:
    """The paper's figures 5 to 9 and tables 1 to 5, and curves for `dvc plots`."""
    from descry.cli.progress import finished
    from descry.stages import figures as stage

    found = (corpus, candidates, clusters, labels)
    rated = (curves, nulls, alignment, descriptors, correlation)
    folders = (output, tables, plots)
    finished("figures", stage.run(*found, *rated, *folders, **_section("figures", params)))


@app.command(rich_help_panel=STAGES)
def report(
    corpus: Path,
    candidates: Path,
    descriptors: Annotated[Path, typer.Argument(help="descriptors.json")],
    annotations: Path,
    judgements: Path,
    activations: Path,
    exemplars: Path,
    labels: Path,
    composed: Path,
    metrics: Path,
    curves: Path,
    nulls: Path,
    alignment: Path,
    rated: Annotated[Path, typer.Argument(help="descriptors.csv")],
    correlation: Path,
    scored: Annotated[Path, typer.Argument(help="label_scores.parquet")],
    scores: Annotated[Path, typer.Argument(help="scores.json")],
    trials: Annotated[Path, typer.Argument(help="scores.csv")],
    graphs: Path,
    graph_scores: Annotated[Path, typer.Argument(help="graphs.csv")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    gold: OptionalFile = None,
    params: Params = None,
) -> None:
    """The explorer: all results as a static site."""
    from descry.cli.progress import finished
    from descry.stages import report as stage

    found = (corpus, candidates, descriptors, annotations, judgements, activations, exemplars)
    rates = (labels, composed, metrics, curves, nulls, alignment, rated, correlation, scored)
    others = (scores, trials, graphs, graph_scores, gold)
    section = _section("report", params)
    finished("report", stage.run(*found, *rates, *others, output, **section))


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
    prompt: Annotated[
        str | None, typer.Option(help="Labels that the answer of this key went into.")
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(help="What changed for the neuron between two commits or experiments."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Page to write.")] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Exemplars, raw descriptors and mentions to follow.")
    ] = None,
    results: Results = RESULTS,
    cache: CacheFolder = CACHE,
) -> None:
    """Which inputs produced a neuron's labels, down to reviews, prompts, params and file hashes."""
    from descry.cli.console import show_chain
    from descry.io.hashing import canonical
    from descry.provenance.audit.page import write_page
    from descry.provenance.audit.project import Project
    from descry.provenance.audit.query import inquire
    from descry.workflow.preflight import check_made

    if diff is None:
        check_made(results, "labels.parquet")
    subjects = {"neuron": neuron, "review": review, "descriptor": descriptor, "prompt": prompt}
    found = inquire(Project(results, cache), subjects, diff, rows, whole=as_json)
    if html is not None:
        write_page(found.tree(), html)
    if as_json:
        print(canonical(found.as_json()))
    if html is None and not as_json:
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
    from descry.workflow.params import load
    from descry.workflow.preflight import check_made

    check_made(results, "labels.parquet")
    project = Project(results, cache)
    params = load(project.root / "params.yaml")
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


@app.command(rich_help_panel=LOOK)
def compare(
    first: Annotated[Path, typer.Argument(help="An exemplars.h5.")],
    second: Annotated[Path, typer.Argument(help="Another, such as one in bfloat16.")],
) -> None:
    """How many exemplar sets differ between two runs, and how far."""
    from descry.cli.console import show_compared

    show_compared(first, second)


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
    from descry.reporting.figures import sensitivity
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
def preset(
    name: Annotated[str, typer.Argument(help="A file of presets/, without .yaml.")],
) -> None:
    """Validate a preset and write it to params.yaml."""
    from descry.io.atomic import write_text
    from descry.workflow.params import load

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
    from descry.workflow.pinning import pin_models

    for model, revision in pin_models(path).items():
        print(f"{model} @ {revision}")


@app.command(rich_help_panel=SETUP)
def dvc(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it is out of date.")
    ] = False,
) -> None:
    """Write dvc.yaml from the Snakefile."""
    from descry.io.atomic import write_text
    from descry.workflow.dag import DVC_YAML, dvc_yaml

    path, text = DVC_YAML, dvc_yaml()
    if not check:
        write_text(path, text)
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
    from descry.workflow.forecast import forecast as foretell
    from descry.workflow.params import load, parse_price

    with PromptCache(cache) as opened:
        rows = foretell(load(Path("params.yaml")), results, opened, parse_price(price))
    show_forecast(rows)


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
    cache: CacheFolder = CACHE,
    results: Results = RESULTS,
) -> None:
    """Write a CSV for people to fill with Yes and No, or take a filled one into the cache."""
    from descry.annotators.factory import create
    from descry.annotators.prompt_cache.store import PromptCache
    from descry.annotators.sheet import read_sheet, write_sheet
    from descry.cli.progress import summary
    from descry.workflow.params import parse_human

    corpus, annotations = results / "corpus.parquet", results / "annotations.h5"
    if person is None:
        counts = write_sheet(corpus, annotations, sheet, per_descriptor=each, seed=seed)
        summary("annotate-sheet", counts)
        return
    who = create(parse_human(person, round), "p2")
    with PromptCache(cache) as opened:
        counts = read_sheet(sheet, corpus, annotations, opened, who)
    summary("annotate-sheet", counts)


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
