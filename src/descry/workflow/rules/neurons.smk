# What the neurons of the target model do with the sentences.


rule activations_shard:
    """Some blocks of the activation matrix, or what is kept of them."""
    input:
        corpus="results/corpus.parquet",
        code=wiring.code("activations"),
    output:
        activations=temp("results/shards/activations/{shard}-of-{of}.h5"),
    log:
        "logs/activations-{shard}-of-{of}.log",
    priority: LABELS_FIRST
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("activations"),
        activations=wiring.section("activations"),
    shell:
        STAGE


rule activations:
    """Activation matrix of the target model."""
    input:
        corpus="results/corpus.parquet",
        parts=wiring.shards("activations", ".h5"),
        code=wiring.code("activations"),
    output:
        activations="results/activations.h5",
    log:
        "logs/activations.log",
    priority: LABELS_FIRST
    threads: ALL_CORES
    resources:
        gpu=wiring.gpu("activations"),
    params:
        stage=arguments("activations"),
        activations=wiring.section("activations"),
    shell:
        STAGE


rule exemplars:
    """The sentences, or positions, that excite each neuron most."""
    input:
        corpus="results/corpus.parquet",
        activations="results/activations.h5",
        untrained=wiring.of_positions("results/untrained.h5"),
        code=wiring.code("exemplars"),
    output:
        exemplars="results/exemplars.h5",
        positions=wiring.of_positions("results/positions.parquet"),
    log:
        "logs/exemplars.log",
    priority: LABELS_FIRST
    params:
        stage=arguments("exemplars"),
        exemplars=wiring.section("exemplars"),
        activations=wiring.section("activations"),
    shell:
        STAGE


# With unit `token` alone: the words that neurons peak at.
if wiring.of_positions("results/positions.parquet"):

    rule tokens:
        """The words that each neuron peaks at."""
        input:
            corpus="results/corpus.parquet",
            positions="results/positions.parquet",
            exemplars="results/exemplars.h5",
            untrained="results/untrained.h5",
            code=wiring.code("tokens"),
        output:
            tokens="results/tokens.parquet",
        log:
            "logs/tokens.log",
        params:
            stage=arguments("tokens"),
            tokens=wiring.section("tokens"),
        shell:
            LATER


rule untrained:
    """Exemplars of a copy of the target with random weights, as a null."""
    input:
        corpus="results/corpus.parquet",
        code=wiring.code("untrained"),
    output:
        untrained="results/untrained.h5",
    log:
        "logs/untrained.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("untrained"),
        untrained=wiring.section("untrained"),
        activations=wiring.section("activations"),
        exemplars=wiring.section("exemplars"),
    shell:
        LATER


rule writes:
    """The tokens that neurons promote and suppress, and whether they read them."""
    input:
        corpus=wiring.units,
        descriptors="results/descriptors.json",
        labels="results/labels.parquet",
        exemplars="results/exemplars.h5",
        code=wiring.code("writes"),
    output:
        writes="results/writes.parquet",
    log:
        "logs/writes.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("writes"),
        writes=wiring.section("writes"),
        activations=wiring.section("activations"),
    shell:
        LATER


rule graphs_shard:
    """Graphs of some neurons; shard 0: the texts that excite each neuron most."""
    input:
        corpus="results/corpus.parquet",
        parts=wiring.before("graphs", ".part"),
        code=wiring.code("graphs"),
    output:
        graphs=temp("results/shards/graphs/{shard}-of-{of}.part"),
    log:
        "logs/graphs-{shard}-of-{of}.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("graphs"),
        graphs=wiring.section("graphs"),
        activations=wiring.section("activations"),
    shell:
        LATER


rule graphs:
    """What neurons respond to, as graphs of tokens (N2G)."""
    input:
        corpus="results/corpus.parquet",
        parts=wiring.shards("graphs", ".part"),
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
        stage=arguments("graphs"),
        graphs=wiring.section("graphs"),
        activations=wiring.section("activations"),
    shell:
        LATER
