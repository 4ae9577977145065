# The one description of the DAG: one rule a stage, wiring only. `descry dvc` writes dvc.yaml from it.
import os
import sys

sys.path.insert(0, "src")
from descry.errors import InputError
from descry.guard import reconcile
from descry.workflow import Wiring


# Lets Snakemake deploy the software with `--sdm apptainer`; unused otherwise.
container: "docker://python:3.11"


try:
    wiring = Wiring()
    # Settles who vouches for files that DVC put here (after `dvc pull`, `dvc checkout`, `dvc exp`).
    if workflow.is_main_process:
        reconcile()
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

# For the stages that load a model: two of them at a time slow each other down. Scaled to --cores.
ALL_CORES = 1024

# `--config replay=true`: answers come from the cache alone. No parameter of a rule: it changes no
# result, and must make none outdated.
replay = "--replay" if str(config.get("replay")).lower() == "true" else ""

# The commands of the environment that runs Snakemake, and the code of this checkout.
# (Setting a prefix takes away Snakemake's own strict mode, without which `| tee` hides a failure.)
shell.prefix(
    f"set -euo pipefail; export PATH={os.path.dirname(sys.executable)}:$PATH PYTHONPATH=src;"
    f" replay={replay}; "
)


rule all:
    default_target: True
    input:
        "results/report/index.html",
        "results/neurons.json",


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
        "descry corpus {input.reviews} -o {output} -p {params:q} 2>&1 | tee {log}"


rule describe:
    """Raw descriptors of every sentence: prompt p1 to every labeller."""
    input:
        corpus="results/corpus.parquet",
        code=wiring.code("describe"),
    output:
        "results/candidates.parquet",
    log:
        "logs/describe.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        describe=wiring.section("describe"),
    shell:
        "descry describe {input.corpus} -o {output} $replay -p {params:q} 2>&1 | tee {log}"


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
        "descry cluster {input.candidates} {input.edits} -o {output} -p {params:q} 2>&1 | tee {log}"


rule activations:
    """Activation matrix of the target model."""
    input:
        corpus="results/corpus.parquet",
        code=wiring.code("activations"),
    output:
        "results/activations.h5",
    log:
        "logs/activations.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        activations=wiring.section("activations"),
    shell:
        "descry activations {input.corpus} -o {output} -p {params:q} 2>&1 | tee {log}"


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


rule annotate:
    """B, whether each sentence talks about each descriptor: prompt p2 to the labeller."""
    input:
        corpus="results/corpus.parquet",
        descriptors="results/descriptors.json",
        exemplars="results/exemplars.h5",
        code=wiring.code("annotate"),
    output:
        "results/annotations.h5",
    log:
        "logs/annotate.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        annotate=wiring.section("annotate"),
    shell:
        "descry annotate {input.corpus} {input.descriptors} {input.exemplars} -o {output} $replay"
        " -p {params:q} 2>&1 | tee {log}"


rule judge:
    """The same of a second labeller, to hold the first against."""
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
        "descry judge {input.corpus} {input.descriptors} {input.exemplars} -o {output} $replay"
        " -p {params:q} 2>&1 | tee {log}"


rule label:
    """Neuron labels, and the inverse map from descriptors to neurons."""
    input:
        corpus="results/corpus.parquet",
        exemplars="results/exemplars.h5",
        annotations="results/annotations.h5",
        code=wiring.code("label"),
    output:
        labels="results/labels.parquet",
        neurons="results/neurons.json",
    log:
        "logs/label.log",
    params:
        label=wiring.section("label"),
    shell:
        "descry label {input.corpus} {input.exemplars} {input.annotations}"
        " -o {output.labels} --neurons {output.neurons} -p {params:q} 2>&1 | tee {log}"


rule evaluate:
    """Scores of the labels, each beside that of shuffled neurons."""
    input:
        **wiring.inputs("evaluate"),
        corpus="results/corpus.parquet",
        exemplars="results/exemplars.h5",
        annotations="results/annotations.h5",
        judgements="results/judgements.h5",
        labels="results/labels.parquet",
        code=wiring.code("evaluate"),
    output:
        metrics="results/metrics.json",
        curves="results/curves.csv",
        descriptors="results/descriptors.csv",
        correlation="results/correlation.csv",
    log:
        "logs/evaluate.log",
    params:
        evaluate=wiring.section("evaluate"),
    shell:
        "descry evaluate {input.corpus} {input.exemplars} {input.annotations} {input.judgements}"
        " {input.labels} {input.gold} -o {output.metrics} --curves {output.curves}"
        " --descriptors {output.descriptors} --correlation {output.correlation}"
        " -p {params:q} 2>&1 | tee {log}"


rule report:
    """The HTML page."""
    input:
        corpus="results/corpus.parquet",
        descriptors="results/descriptors.json",
        annotations="results/annotations.h5",
        activations="results/activations.h5",
        exemplars="results/exemplars.h5",
        labels="results/labels.parquet",
        metrics="results/metrics.json",
        code=wiring.code("report"),
    output:
        report("results/report/index.html", category="Report"),
    log:
        "logs/report.log",
    params:
        report=wiring.section("report"),
    shell:
        "descry report {input.corpus} {input.descriptors} {input.annotations} {input.activations}"
        " {input.exemplars} {input.labels} {input.metrics} -o {output} -p {params:q} 2>&1 | tee {log}"
