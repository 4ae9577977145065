# What the labels are worth.


rule evaluate:
    """Scores of the labels, each with its interval and beside its nulls."""
    input:
        gold=wiring.user_files("evaluate", "gold"),
        corpus=wiring.units,
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
        followed="results/confounders.parquet",
        scored="results/label_scores.parquet",
        brief="results/summary.yaml",
    log:
        "logs/evaluate.log",
    threads: ALL_CORES
    params:
        stage=arguments("evaluate"),
        evaluate=wiring.section("evaluate"),
    shell:
        LATER


rule facets:
    """Groups of neurons' exemplars, descriptors that cover them, and sentences close by."""
    input:
        corpus=wiring.units,
        activations="results/activations.h5",
        exemplars="results/exemplars.h5",
        annotations="results/annotations.h5",
        labels="results/labels.parquet",
        code=wiring.code("facets"),
    output:
        facets="results/facets.parquet",
    log:
        "logs/facets.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("facets"),
        facets=wiring.section("facets"),
        cluster=wiring.section("cluster"),
    shell:
        LATER


rule score:
    """How well the annotator can use the labels, on sentences that did not choose them."""
    input:
        corpus=wiring.units,
        descriptors="results/descriptors.json",
        labels="results/labels.parquet",
        exemplars="results/exemplars.h5",
        activations="results/activations.h5",
        facets="results/facets.parquet",
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
        stage=arguments("score"),
        score=wiring.section("score"),
    shell:
        LATER


rule interventions:
    """What labelled neurons change at the model's output, and what words do for them."""
    input:
        corpus=wiring.units,
        descriptors="results/descriptors.json",
        annotations="results/annotations.h5",
        exemplars="results/exemplars.h5",
        labels="results/labels.parquet",
        code=wiring.code("interventions"),
    output:
        metrics="results/interventions.json",
        effects="results/interventions.csv",
        words="results/exemplar_words.parquet",
    log:
        "logs/interventions.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        stage=arguments("interventions"),
        interventions=wiring.section("interventions"),
        activations=wiring.section("activations"),
    shell:
        LATER
