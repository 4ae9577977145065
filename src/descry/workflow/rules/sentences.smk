# Reviews to sentences.


rule corpus:
    """Reviews to filtered, deduplicated, split sentences."""
    input:
        reviews=wiring.user_files("corpus", "reviews"),
        code=wiring.code("corpus"),
    output:
        corpus="results/corpus.parquet",
    log:
        "logs/corpus.log",
    priority: LABELS_FIRST
    params:
        stage=arguments("corpus"),
        corpus=wiring.section("corpus"),
    shell:
        STAGE
