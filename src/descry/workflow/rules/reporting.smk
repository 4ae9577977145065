# Figures, tables and the explorer.


rule figures:
    """The paper's figures 5 to 9 and tables 1 to 5, and curves for `dvc plots`."""
    input:
        corpus=wiring.units,
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
        figures=[
            figure("precision_recall", "Figure 5", "precision and recall of the labels"),
            figure("jaccard_by_neuron", "Figure 6", "consistency of the labels, per neuron"),
            figure("jaccard_by_descriptor", "Figure 7", "consistency, per descriptor"),
            figure("correlation", "Figure 8", "correlation of the descriptors"),
            figure("descriptor_shares", "Figure 9", "share of sentences with each descriptor"),
            figure("alignment", "beyond it", "labels over all sentences"),
            "results/figures/precision_recall.png",
            "results/figures/jaccard_by_neuron.png",
            "results/figures/jaccard_by_descriptor.png",
            "results/figures/correlation.png",
            "results/figures/descriptor_shares.png",
            "results/figures/alignment.png",
        ],
        tables=[
            table(1, "raw descriptors of example sentences"),
            table(2, "clusters and their members"),
            table(3, "descriptors"),
            table(4, "descriptors that were dropped"),
            table(5, "what the clustering made"),
        ],
        plots=[
            "results/plots/precision_recall.csv",
            "results/plots/at_k.csv",
            "results/plots/jaccard.csv",
        ],
    log:
        "logs/figures.log",
    params:
        stage=arguments("figures"),
        figures=wiring.section("figures"),
    shell:
        LATER


rule report:
    """The explorer: all results as a static site."""
    input:
        corpus=wiring.units,
        candidates="results/candidates.parquet",
        clusters="results/descriptors.json",
        annotations="results/annotations.h5",
        judgements="results/judgements.h5",
        activations="results/activations.h5",
        exemplars="results/exemplars.h5",
        untrained="results/untrained.h5",
        labels="results/labels.parquet",
        composed="results/composed.parquet",
        writes="results/writes.parquet",
        facets="results/facets.parquet",
        metrics="results/metrics.json",
        curves="results/curves.csv",
        nulls="results/nulls.csv",
        alignment="results/alignment.csv",
        descriptors="results/descriptors.csv",
        correlation="results/correlation.csv",
        followed="results/confounders.parquet",
        scored="results/label_scores.parquet",
        scores="results/scores.json",
        trials="results/scores.csv",
        interventions="results/interventions.json",
        effects="results/interventions.csv",
        words="results/exemplar_words.parquet",
        graphs="results/graphs.parquet",
        graph_scores="results/graphs.csv",
        gold=wiring.user_files("evaluate", "gold"),
        tokens=wiring.of_positions("results/tokens.parquet"),
        code=wiring.code("report"),
    output:
        report=report(directory("results/report"), htmlindex="index.html", category="Report"),
    log:
        "logs/report.log",
    params:
        stage=arguments("report"),
        report=wiring.section("report"),
    shell:
        LATER
