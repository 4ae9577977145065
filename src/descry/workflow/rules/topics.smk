# Sentences to topics (raw descriptors), and these to descriptors.


rule describe_shard:
    """The answers to some of the prompts p1, into the cache; shard 0: the examples."""
    input:
        corpus=wiring.units,
        template=wiring.user_files("describe", "template"),
        before=wiring.before("describe", ".json"),
        code=wiring.code("describe"),
    output:
        candidates=temp("results/shards/describe/{shard}-of-{of}.json"),
    log:
        "logs/describe-{shard}-of-{of}.log",
    priority: LABELS_FIRST
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("describe"),
        describe=wiring.section("describe"),
    shell:
        STAGE


rule describe:
    """Raw descriptors of every sentence: prompt p1 to every annotator."""
    input:
        corpus=wiring.units,
        template=wiring.user_files("describe", "template"),
        parts=wiring.shards("describe", ".json"),
        code=wiring.code("describe"),
    output:
        candidates="results/candidates.parquet",
    log:
        "logs/describe.log",
    priority: LABELS_FIRST
    threads: ALL_CORES
    resources:
        gpu=wiring.gpu("describe"),
    params:
        stage=arguments("describe"),
        describe=wiring.section("describe"),
    shell:
        STAGE


rule cluster:
    """Raw descriptors to descriptors."""
    input:
        edits=wiring.user_files("cluster", "edits"),
        candidates="results/candidates.parquet",
        code=wiring.code("cluster"),
    output:
        descriptors="results/descriptors.json",
    log:
        "logs/cluster.log",
    priority: LABELS_FIRST
    threads: ALL_CORES
    params:
        stage=arguments("cluster"),
        cluster=wiring.section("cluster"),
    shell:
        STAGE
