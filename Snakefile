# The one description of the DAG: one rule a stage, wiring only. `descry dvc` writes dvc.yaml from it.
import os
import sys
from shlex import quote

from snakemake.settings.enums import Quietness

sys.path.insert(0, "src")
from descry.errors import InputError
from descry.workflow.reconcile import reconcile, writable
from descry.workflow.previous_results import keep_previous
from descry.workflow.preflight import check_start
from descry.workflow.dag import Wiring, name_failures


# Lets Snakemake deploy the software with `--sdm apptainer`; unused otherwise.
container: "docker://python:3.11"


# A result stays where it is until the stage has made the next one, and if the stage fails.
outputflags:
    update,


keep_previous()
if Quietness.RULES in (workflow.output_settings.quiet or ()):
    name_failures()

try:
    wiring = Wiring(job=not workflow.is_main_process)
    # Settles who vouches for files that DVC put here (after `dvc pull`, `dvc checkout`, `dvc exp`).
    if workflow.is_main_process:
        wiring.check_dvc_yaml()
        writable()
        reconcile()
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

# For the stages that load a model: two of them at a time slow each other down. Scaled to --cores.
# Where `--resources gpu=2` says that this machine has two GPUs, two stages or shards share the cores.
ALL_CORES = 1024
limits = {name: limit.value for name, limit in workflow.global_resources.items()}
if workflow.is_main_process and limits.get("gpu"):  # for a job on a cluster, `gpu` is its own
    ALL_CORES = max(1, (limits["_cores"] or ALL_CORES) // limits["gpu"])

# `--config replay=true`: answers come from the cache alone. `--config journals=true`: they live in
# journals, for machines that share this folder, but no disk. No parameters of a rule: they change no
# result, and must make none outdated.
ASKING = {"replay": "--replay", "journals": "--journals cache/journals"}
asking = " ".join(how for key, how in ASKING.items() if str(config.get(key)).lower() == "true")

# The commands of the environment that runs Snakemake, and the code of this checkout.
# (Setting a prefix takes away Snakemake's own strict mode, without which `| tee` hides a failure.)
shell.prefix(
    f"set -euo pipefail; export PATH={quote(os.path.dirname(sys.executable))}:$PATH PYTHONPATH=src;"
    f" asking={quote(asking)}; "
)


# Before the first job: what the params of the stages that will run get wrong.
onstart:
    jobs = list(workflow.dag.needrun_jobs())
    sections = {name for job in jobs for name, _ in job.rule.params._allitems()}
    try:
        check_start(wiring.params, sections, replay="--replay" in asking)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


rule all:
    default_target: True
    input:
        # Every result: one that somebody removed is made again, with what follows from it.
        lambda _: [
            path for rule in workflow.rules if not rule.has_wildcards() for path in rule.output
        ],


rule corpus:
    """Reviews to filtered, deduplicated, split sentences."""
    input:
        **wiring.inputs("corpus"),
        code=wiring.code("corpus"),
    output:
        "results/corpus.parquet",
    log:
        "logs/corpus.log",
    params:
        corpus=wiring.section("corpus"),
    shell:
        "descry corpus {input.reviews:q} -o {output} -p {params:q} 2>&1 | tee {log}"


wildcard_constraints:
    shard=r"\d+",
    of=r"\d+",


# A stage with several shards (docs/cluster.md): what each of them writes, the stage itself takes in.
# The shard 0, where there is one, makes what the others need.
rule describe_shard:
    """The answers to some of the prompts p1, into the cache; shard 0: the 1-shot example."""
    input:
        corpus="results/corpus.parquet",
        before=wiring.before("describe", ".json"),
        code=wiring.code("describe"),
    output:
        temp("results/shards/describe/{shard}-of-{of}.json"),
    log:
        "logs/describe-{shard}-of-{of}.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        describe=wiring.section("describe"),
    shell:
        "descry describe {input.corpus} -o {output} --shard {wildcards.shard}-of-{wildcards.of}"
        " $asking -p {params:q} 2>&1 | tee {log}"


rule describe:
    """Raw descriptors of every sentence: prompt p1 to every annotator."""
    input:
        corpus="results/corpus.parquet",
        shards=wiring.shards("describe", ".json"),
        code=wiring.code("describe"),
    output:
        "results/candidates.parquet",
    log:
        "logs/describe.log",
    threads: ALL_CORES
    resources:
        gpu=wiring.gpu("describe"),
    params:
        describe=wiring.section("describe"),
    shell:
        "descry describe {input.corpus} {input.shards} -o {output} $asking -p {params:q}"
        " 2>&1 | tee {log}"


rule cluster:
    """Raw descriptors to descriptors."""
    input:
        **wiring.inputs("cluster"),
        candidates="results/candidates.parquet",
        code=wiring.code("cluster"),
    output:
        "results/descriptors.json",
    log:
        "logs/cluster.log",
    threads: ALL_CORES
    params:
        cluster=wiring.section("cluster"),
    shell:
        "descry cluster {input.candidates} {input.edits:q} -o {output} -p {params:q} 2>&1 | tee {log}"


rule activations_shard:
    """Some blocks of the activation matrix, or what is kept of them."""
    input:
        corpus="results/corpus.parquet",
        code=wiring.code("activations"),
    output:
        temp("results/shards/activations/{shard}-of-{of}.h5"),
    log:
        "logs/activations-{shard}-of-{of}.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        activations=wiring.section("activations"),
    shell:
        "descry activations {input.corpus} -o {output} --shard {wildcards.shard}-of-{wildcards.of}"
        " -p {params:q} 2>&1 | tee {log}"


rule activations:
    """Activation matrix of the target model."""
    input:
        corpus="results/corpus.parquet",
        shards=wiring.shards("activations", ".h5"),
        code=wiring.code("activations"),
    output:
        "results/activations.h5",
    log:
        "logs/activations.log",
    threads: ALL_CORES
    resources:
        gpu=wiring.gpu("activations"),
    params:
        activations=wiring.section("activations"),
    shell:
        "descry activations {input.corpus} {input.shards} -o {output} -p {params:q} 2>&1 | tee {log}"


rule exemplars:
    """The sentences that excite each neuron most."""
    input:
        corpus="results/corpus.parquet",
        activations="results/activations.h5",
        code=wiring.code("exemplars"),
    output:
        "results/exemplars.h5",
    log:
        "logs/exemplars.log",
    params:
        exemplars=wiring.section("exemplars"),
    shell:
        "descry exemplars {input.corpus} {input.activations} -o {output} -p {params:q}"
        " 2>&1 | tee {log}"


rule untrained:
    """Exemplars of a copy of the target with random weights, as a null."""
    input:
        corpus="results/corpus.parquet",
        code=wiring.code("untrained"),
    output:
        "results/untrained.h5",
    log:
        "logs/untrained.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        untrained=wiring.section("untrained"),
        activations=wiring.section("activations"),
        exemplars=wiring.section("exemplars"),
    shell:
        "descry untrained {input.corpus} -o {output} -p {params.untrained:q}"
        " --activations {params.activations:q} --exemplars {params.exemplars:q} 2>&1 | tee {log}"


rule graphs_shard:
    """Graphs of some neurons; shard 0: the texts that excite each neuron most."""
    input:
        corpus="results/corpus.parquet",
        before=wiring.before("graphs", ".part"),
        code=wiring.code("graphs"),
    output:
        temp("results/shards/graphs/{shard}-of-{of}.part"),
    log:
        "logs/graphs-{shard}-of-{of}.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        graphs=wiring.section("graphs"),
        activations=wiring.section("activations"),
    shell:
        "descry graphs {input.corpus} {input.before} -o {output}"
        " --shard {wildcards.shard}-of-{wildcards.of}"
        " -p {params.graphs:q} --activations {params.activations:q} 2>&1 | tee {log}"


rule graphs:
    """What neurons respond to, as graphs of tokens (N2G)."""
    input:
        corpus="results/corpus.parquet",
        shards=wiring.shards("graphs", ".part"),
        code=wiring.code("graphs"),
    output:
        graphs="results/graphs.parquet",
        scores="results/graphs.csv",
    log:
        "logs/graphs.log",
    threads: ALL_CORES
    resources:
        gpu=wiring.gpu("graphs"),
    params:
        graphs=wiring.section("graphs"),
        activations=wiring.section("activations"),
    shell:
        "descry graphs {input.corpus} {input.shards} -o {output.graphs} --scores {output.scores}"
        " -p {params.graphs:q} --activations {params.activations:q} 2>&1 | tee {log}"


rule annotate_shard:
    """The answers to some of the prompts p2, into the cache."""
    input:
        corpus="results/corpus.parquet",
        descriptors="results/descriptors.json",
        exemplars="results/exemplars.h5",
        code=wiring.code("annotate"),
    output:
        temp("results/shards/annotate/{shard}-of-{of}.json"),
    log:
        "logs/annotate-{shard}-of-{of}.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        annotate=wiring.section("annotate"),
    shell:
        "descry annotate {input.corpus} {input.descriptors} {input.exemplars} -o {output}"
        " --shard {wildcards.shard}-of-{wildcards.of} $asking -p {params:q} 2>&1 | tee {log}"


rule annotate:
    """B, whether each sentence talks about each descriptor: prompt p2 to the annotator."""
    input:
        corpus="results/corpus.parquet",
        descriptors="results/descriptors.json",
        exemplars="results/exemplars.h5",
        shards=wiring.shards("annotate", ".json"),
        code=wiring.code("annotate"),
    output:
        "results/annotations.h5",
    log:
        "logs/annotate.log",
    threads: ALL_CORES
    resources:
        gpu=wiring.gpu("annotate"),
    params:
        annotate=wiring.section("annotate"),
    shell:
        "descry annotate {input.corpus} {input.descriptors} {input.exemplars} {input.shards}"
        " -o {output} $asking -p {params:q} 2>&1 | tee {log}"


rule judge:
    """The same of a second annotator, to hold the first against."""
    input:
        corpus="results/corpus.parquet",
        descriptors="results/descriptors.json",
        exemplars="results/exemplars.h5",
        code=wiring.code("judge"),
    output:
        "results/judgements.h5",
    log:
        "logs/judge.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        judge=wiring.section("judge"),
    shell:
        "descry judge {input.corpus} {input.descriptors} {input.exemplars} -o {output} $asking"
        " -p {params:q} 2>&1 | tee {log}"


rule label:
    """Neuron labels, composed labels, and the inverse map from descriptors to neurons."""
    input:
        corpus="results/corpus.parquet",
        exemplars="results/exemplars.h5",
        annotations="results/annotations.h5",
        code=wiring.code("label"),
    output:
        labels="results/labels.parquet",
        composed="results/composed.parquet",
        neurons="results/neurons.json",
    log:
        "logs/label.log",
    params:
        label=wiring.section("label"),
    shell:
        "descry label {input.corpus} {input.exemplars} {input.annotations}"
        " -o {output.labels} --composed {output.composed} --neurons {output.neurons}"
        " -p {params:q} 2>&1 | tee {log}"


rule evaluate:
    """Scores of the labels, each with its interval and beside its nulls."""
    input:
        **wiring.inputs("evaluate"),
        corpus="results/corpus.parquet",
        activations="results/activations.h5",
        exemplars="results/exemplars.h5",
        untrained="results/untrained.h5",
        annotations="results/annotations.h5",
        judgements="results/judgements.h5",
        labels="results/labels.parquet",
        composed="results/composed.parquet",
        code=wiring.code("evaluate"),
    output:
        metrics="results/metrics.json",
        curves="results/curves.csv",
        nulls="results/nulls.csv",
        alignment="results/alignment.csv",
        descriptors="results/descriptors.csv",
        correlation="results/correlation.csv",
        scored="results/label_scores.parquet",
        brief="results/summary.yaml",
    log:
        "logs/evaluate.log",
    threads: ALL_CORES
    params:
        evaluate=wiring.section("evaluate"),
    shell:
        "descry evaluate {input.corpus} {input.activations} {input.exemplars} {input.untrained}"
        " {input.annotations} {input.judgements} {input.labels} {input.composed} {input.gold:q}"
        " -o {output.metrics}"
        " --curves {output.curves} --nulls {output.nulls} --alignment {output.alignment}"
        " --descriptors {output.descriptors} --correlation {output.correlation}"
        " --scored {output.scored} --brief {output.brief} -p {params:q} 2>&1 | tee {log}"


rule score:
    """How well the annotator can use the labels, on sentences that did not choose them."""
    input:
        corpus="results/corpus.parquet",
        descriptors="results/descriptors.json",
        labels="results/labels.parquet",
        exemplars="results/exemplars.h5",
        activations="results/activations.h5",
        code=wiring.code("score"),
    output:
        metrics="results/scores.json",
        scores="results/scores.csv",
    log:
        "logs/score.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        score=wiring.section("score"),
    shell:
        "descry score {input.corpus} {input.descriptors} {input.labels} {input.exemplars}"
        " {input.activations} -o {output.metrics} --scores {output.scores} $asking"
        " -p {params:q} 2>&1 | tee {log}"


def shown(path, caption, category, **labels):
    """An output that `snakemake --report` shows."""
    return report(path, caption=f"captions/{caption}.rst", category=category, labels=labels)


def figure(name, paper, what):
    return shown(f"results/figures/{name}.svg", name, "Figures", paper=paper, figure=what)


def table(number, what):
    name = f"table{number}"
    return shown(f"results/tables/{name}.csv", name, "Tables", paper=f"Table {number}", table=what)


rule figures:
    """The paper's figures 5 to 9 and tables 1 to 5, and curves for `dvc plots`."""
    input:
        corpus="results/corpus.parquet",
        candidates="results/candidates.parquet",
        clusters="results/descriptors.json",
        labels="results/labels.parquet",
        curves="results/curves.csv",
        nulls="results/nulls.csv",
        alignment="results/alignment.csv",
        descriptors="results/descriptors.csv",
        correlation="results/correlation.csv",
        code=wiring.code("figures"),
    output:
        figure("precision_recall", "Figure 5", "precision and recall of the labels"),
        figure("jaccard_by_neuron", "Figure 6", "consistency of the labels, per neuron"),
        figure("jaccard_by_descriptor", "Figure 7", "consistency, per descriptor"),
        figure("correlation", "Figure 8", "correlation of the descriptors"),
        figure("descriptor_shares", "Figure 9", "share of sentences with each descriptor"),
        figure("alignment", "beyond it", "labels over all sentences"),
        table(1, "raw descriptors of example sentences"),
        table(2, "clusters and their members"),
        table(3, "descriptors"),
        table(4, "descriptors that were dropped"),
        table(5, "what the clustering made"),
        "results/figures/precision_recall.png",
        "results/figures/jaccard_by_neuron.png",
        "results/figures/jaccard_by_descriptor.png",
        "results/figures/correlation.png",
        "results/figures/descriptor_shares.png",
        "results/figures/alignment.png",
        "results/plots/precision_recall.csv",
        "results/plots/at_k.csv",
        "results/plots/jaccard.csv",
    log:
        "logs/figures.log",
    params:
        figures=wiring.section("figures"),
    shell:
        "descry figures {input.corpus} {input.candidates} {input.clusters} {input.labels}"
        " {input.curves} {input.nulls} {input.alignment} {input.descriptors} {input.correlation}"
        " -o results/figures --tables results/tables --plots results/plots -p {params:q}"
        " 2>&1 | tee {log}"


rule report:
    """The explorer: all results as a static site."""
    input:
        corpus="results/corpus.parquet",
        candidates="results/candidates.parquet",
        clusters="results/descriptors.json",
        annotations="results/annotations.h5",
        judgements="results/judgements.h5",
        activations="results/activations.h5",
        exemplars="results/exemplars.h5",
        labels="results/labels.parquet",
        composed="results/composed.parquet",
        metrics="results/metrics.json",
        curves="results/curves.csv",
        nulls="results/nulls.csv",
        alignment="results/alignment.csv",
        descriptors="results/descriptors.csv",
        correlation="results/correlation.csv",
        scored="results/label_scores.parquet",
        scores="results/scores.json",
        trials="results/scores.csv",
        graphs="results/graphs.parquet",
        graph_scores="results/graphs.csv",
        gold=wiring.inputs("evaluate")["gold"],
        code=wiring.code("report"),
    output:
        report(directory("results/report"), htmlindex="index.html", category="Report"),
    log:
        "logs/report.log",
    params:
        report=wiring.section("report"),
    shell:
        "descry report {input.corpus} {input.candidates} {input.clusters} {input.annotations}"
        " {input.judgements} {input.activations} {input.exemplars} {input.labels} {input.composed}"
        " {input.metrics} {input.curves} {input.nulls} {input.alignment} {input.descriptors}"
        " {input.correlation} {input.scored} {input.scores} {input.trials} {input.graphs}"
        " {input.graph_scores} {input.gold:q} -o {output} -p {params:q} 2>&1 | tee {log}"
