# Which sentences each descriptor applies to, and so which neurons it labels.


rule annotate_shard:
    """The answers to some of the prompts p2, into the cache."""
    input:
        corpus=wiring.units,
        template=wiring.user_files("annotate", "template"),
        descriptors="results/descriptors.json",
        exemplars="results/exemplars.h5",
        code=wiring.code("annotate"),
    output:
        annotations=temp("results/shards/annotate/{shard}-of-{of}.json"),
    log:
        "logs/annotate-{shard}-of-{of}.log",
    priority: LABELS_FIRST
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("annotate"),
        annotate=wiring.section("annotate"),
    shell:
        STAGE


rule annotate:
    """B, whether each sentence talks about each descriptor: prompt p2 to the annotator."""
    input:
        corpus=wiring.units,
        template=wiring.user_files("annotate", "template"),
        descriptors="results/descriptors.json",
        exemplars="results/exemplars.h5",
        parts=wiring.shards("annotate", ".json"),
        code=wiring.code("annotate"),
    output:
        annotations="results/annotations.h5",
    log:
        "logs/annotate.log",
    priority: LABELS_FIRST
    threads: ALL_CORES
    resources:
        gpu=wiring.gpu("annotate"),
    params:
        stage=arguments("annotate"),
        annotate=wiring.section("annotate"),
    shell:
        STAGE


rule judge:
    """The same of a second annotator, to hold the first against."""
    input:
        corpus=wiring.units,
        template=wiring.user_files("judge", "template"),
        descriptors="results/descriptors.json",
        exemplars="results/exemplars.h5",
        code=wiring.code("judge"),
    output:
        judgements="results/judgements.h5",
    log:
        "logs/judge.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("judge"),
        judge=wiring.section("judge"),
    shell:
        LATER


rule label:
    """Neuron labels, composed labels, and the inverse map from descriptors to neurons."""
    input:
        corpus=wiring.units,
        exemplars="results/exemplars.h5",
        annotations="results/annotations.h5",
        code=wiring.code("label"),
    output:
        labels="results/labels.parquet",
        composed="results/composed.parquet",
        neurons="results/neurons.json",
    log:
        "logs/label.log",
    priority: LABELS_FIRST
    params:
        stage=arguments("label"),
        label=wiring.section("label"),
    shell:
        STAGE
