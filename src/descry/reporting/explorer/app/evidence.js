"use strict";
/* Where a label comes from, step by step, each with the command that shows or checks it. */
descry.evidence = async (name, neuron, column) => {
  const { run } = descry;
  const { target, rule } = run;
  const label = run.descriptors[column]?.name ?? null;
  const [first] = await descry.sentences(
    [...neuron.sets.calibration, ...neuron.sets.validation].slice(0, 1).map(([row]) => row),
  );
  const where = `${run.reviews}: ${descry.some(run.sentences, "sentence")}, ${Object.values(run.dropped).reduce((a, b) => a + b, 0)} left out`;
  return descry.section(
    "evidence",
    "Where this comes from",
    descry.chain([
      ["Reviews", where, descry.command("descry", "verify", "--hashes")],
      [
        "Activations",
        `${target.model} @ ${target.revision}, ${target.site} at ${target.position}, ${target.dtype}; weights ${target.weights.slice(0, 12)}…`,
        descry.command("snakemake", "--cores", "all", "activations"),
      ],
      [
        "Exemplars",
        `the highest ${rule.top_percent}%: ${rule.sizes.all} of all sentences, ${rule.sizes.calibration} and ${rule.sizes.validation} of the halves`,
        first ? descry.command("descry", "audit", "--review", first.id) : null,
      ],
      [
        "Answers",
        run.proxy
          ? `${run.annotator.name} said Yes or No to ${descry.count(run.cascade.asked)} of ${descry.count(run.cascade.cells)} pairs of sentence and descriptor, its proxy ${run.proxy.name} to the others; the exact prompts, by exemplar:`
          : `${run.annotator.name} said Yes or No to each sentence and descriptor; the exact prompts, by exemplar:`,
        descry.command("descry", "audit", name),
      ],
      [
        "Descriptor",
        label
          ? `${label}: from raw descriptors of ${run.describers.map((one) => one.name).join("; ")}, clustered`
          : "no label",
        label ? descry.command("descry", "audit", "--descriptor", label) : null,
      ],
      [
        "Label",
        rule.name === "enrichment"
          ? `over-represented${rule.strata.length ? ` among sentences of the same ${descry.strata()}` : ""} at a false discovery rate of ${rule.fdr}`
          : `f(c) > ${rule.threshold} among ${rule.frequency}`,
        descry.command("descry", "audit", name, "--json"),
      ],
      [
        "All of it, computed anew",
        "results follow from their inputs, answers from their prompts",
        descry.command("descry", "verify"),
      ],
    ]),
  );
};
