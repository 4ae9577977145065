"use strict";
/* The first page: the run in words, its headline numbers beside their nulls, figures, descriptors. */
(() => {
  const { h } = descry;
  const TRUTH = { gold: "gold labels", judge: "the judge" };
  const AGREED = [
    ["precision", "precision"],
    ["recall", "recall"],
    ["kappa", "kappa"],
    ["within_kappa", "kappa within descriptors"],
  ];

  function words(run) {
    const { target, rule, labelled } = run;
    const bar =
      rule.name === "enrichment"
        ? `the descriptors over-represented among its exemplars${rule.strata.length ? `, held against sentences of the same ${descry.strata()},` : ","} at a false discovery rate of ${rule.fdr} over all pairs`
        : `the descriptors with f(c) > ${rule.threshold} (share of ${rule.frequency}) among its exemplars`;
    return [
      h(
        "p",
        { class: "lead" },
        `${descry.count(labelled.highest)} of ${descry.count(run.neurons)} ${descry.kind()}s of `,
        h("b", {}, target.dictionary ? `${target.dictionary} on ${target.model}` : target.model),
        ` have a label. Each comes from ${descry.some(run.sentences, "sentence")} of reviews, an exemplar set of ${descry.count(rule.sizes.all)} for a ${descry.kind()}, and the answers of `,
        h("b", {}, run.annotator.name),
        run.proxy
          ? `, who was asked about ${descry.count(run.cascade.asked)} of the ${descry.count(run.cascade.cells)} pairs of sentence and descriptor; the others are answered by ${run.proxy.name}.`
          : ".",
      ),
      h(
        "p",
        {},
        `A ${descry.kind()}'s exemplars are the ${rule.top_percent}% of sentences that excite it most; its labels are ${bar}. The same is done on two halves of the sentences apart, so that one half can be held against the other.`,
      ),
    ];
  }

  /** What speaks against the labels, and which neurons have none because they have no exemplars. */
  function cautions({ metrics, ends }) {
    const without = ends.flatMap((end) =>
      Object.entries(metrics.without_exemplars?.[end] ?? {}).map(
        ([why, n]) => `${descry.count(n)} ${why}${end === "highest" ? "" : ` (${end})`}`,
      ),
    );
    return [
      (metrics.warnings ?? []).map((words) => h("p", { class: "warning", role: "note" }, words)),
      without.length ? h("p", {}, `Neurons without exemplars: ${without.join(", ")}.`) : null,
    ];
  }

  /** Whether other data bears the labels out, and how many false ones to expect. */
  function evidence({ replicated, supported = {}, false_labels: wrong }, chance) {
    const found = [];
    const share = (title, score, hint, help) => {
      if (typeof score?.value === "number")
        found.push(descry.score(title, { ...score, null: score.base }, hint, help));
    };
    const some = ({ labels }) => descry.some(labels, "label");
    if (replicated)
      share(
        "Replicated",
        replicated,
        `share of ${some(replicated)} of one half with p < 0.05 within strata in the other, which did not choose them; null: the same descriptors on other neurons`,
        "replicated",
      );
    for (const [truth, score] of Object.entries(supported))
      share(
        `Supported by ${TRUTH[truth]}`,
        score,
        `share of ${some(score)} with p < 0.05 within strata by ${TRUTH[truth]} in the annotator's place; null: the same descriptors on other neurons`,
        "supported",
      );
    if (chance) found.push(falseLabels(chance, wrong?.random_weights));
    else
      found.push(
        h(
          "p",
          { class: "quiet" },
          "No random sets stand beside the labels: a stratum has too few sentences to draw from.",
        ),
      );
    return found;
  }

  /** Labels of random sets of sentences, and of the copy with random weights, beside the real ones. */
  function falseLabels({ labels, random_labels: random, random_any: any, draws, verdict }, copy) {
    const strata = descry.strata();
    return h(
      "div",
      { class: "score" },
      h("h3", {}, "False labels"),
      descry.verdict(verdict),
      h("p", { class: "big" }, descry.number(random, 2)),
      h("p", {}, "beside ", h("b", {}, descry.some(labels, "label")), " of the neurons"),
      h(
        "p",
        { class: "quiet" },
        `on random sentences${strata ? ` of the same ${strata}` : ""}: mean of ${descry.count(draws)} draws, with any label in ${Math.round(any * draws)} of them`,
        typeof copy === "number" ? `; the copy with random weights has ${descry.count(copy)}` : "",
      ),
      h("p", {}, descry.helpLink("random-weights")),
    );
  }

  /** Where labels live, and what share of each layer's other data bears out. */
  function layers({ metrics, target }) {
    const found = metrics.headline?.layers;
    if (!found) return null;
    const tests = Object.keys(found[target.layers[0]]).filter((name) => typeof found[target.layers[0]][name] === "object");
    const number = (title, hint) => h("th", { scope: "col", class: "number", title: hint }, title);
    const told = { replicated: "replicated", gold: "by gold labels", judge: "by the judge" };
    const share = ({ labels, value, base }) =>
      labels
        ? h("td", { class: "number" }, h("b", {}, descry.number(value, 2)), ` of ${descry.count(labels)}; by chance ${descry.number(base, 2)}`)
        : h("td", { class: "number" }, "–");
    return descry.section(
      "layers",
      "Labels by layer",
      h("p", {}, `Of ${descry.count(target.width)} neurons a layer, those that have a label, and the share of labels that other data bears out: the other half of the sentences, or people or a judge in the annotator's place.`),
      descry.framed(
        "Labels by layer",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "layer"),
            number("neurons", "with a label"),
            number("labels"),
            tests.map((name) => number(told[name] ?? name, "share of labels with p < 0.05 within strata; by chance: the same descriptors on other neurons")),
          ),
        ),
        h(
          "tbody",
          {},
          target.layers.map((layer) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, `L${layer}`),
              h("td", { class: "number" }, descry.count(found[layer].labelled)),
              h("td", { class: "number" }, descry.count(found[layer].labels)),
              tests.map((name) => share(found[layer][name])),
            ),
          ),
        ),
      ),
    );
  }

  /** What neurons follow beside topics, by layer. */
  function confounders({ metrics, target }) {
    const rows = Object.entries(metrics.confounders ?? {});
    if (!rows.length) return null;
    const strata = descry.strata();
    const cell = (value, chance) =>
      h(
        "td",
        { class: "number" },
        value > chance ? h("b", {}, descry.number(value, 2)) : descry.number(value, 2),
      );
    const head = (title, hint) => h("th", { scope: "col", class: "number", title: hint }, title);
    return descry.section(
      "confounders",
      "What neurons follow beside topics",
      h(
        "p",
        {},
        "Median correlation (Spearman, without its sign) of the neurons of a layer with what is no topic; bold where it is above what 95% of unrelated neurons stay below. ",
        strata
          ? `Labels are tested among sentences of the same ${strata}, so that no label only follows ${strata}.`
          : "Labels are tested among all sentences: any of this can make one.",
      ),
      descry.framed(
        "What neurons follow, by layer",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "covariate"),
            target.layers.map((layer) => head(`L${layer}`)),
            head("by chance", "what 95% of unrelated neurons stay below"),
            head("neurons above", "share of all neurons"),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map(([name, found]) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, descry.covariate(name)),
              target.layers.map((layer) => cell(found.layers[layer], found.chance_95)),
              h("td", { class: "number" }, descry.number(found.chance_95, 2)),
              h(
                "td",
                { class: "number" },
                typeof found.share_above_chance_95 === "number"
                  ? `${Math.round(100 * found.share_above_chance_95)}%`
                  : "–",
              ),
            ),
          ),
        ),
      ),
    );
  }

  function headline(run) {
    const { metrics } = run;
    const halves = metrics.halves?.jaccard;
    const found = evidence(metrics.headline ?? {}, metrics.chance?.highest);
    if (halves)
      found.push(
        descry.score(
          "Do the halves agree?",
          halves,
          "Jaccard similarity of a neuron's labels in the two halves",
          "jaccard",
        ),
      );
    for (const truth of ["gold", "judge"]) {
      const score = metrics[truth]?.precision_at_k_2;
      if (score?.value !== undefined)
        found.push(
          descry.score(
            `P@2 against ${TRUTH[truth]}`,
            score,
            "share of the two highest-ranking descriptors that are true",
            "precision-at-k",
          ),
        );
      const recall = metrics[truth]?.recall_at_k_2;
      if (recall?.value !== undefined)
        found.push(
          descry.score(
            `R@2 against ${TRUTH[truth]}`,
            recall,
            "share of the true descriptors among the two highest-ranking",
            "precision-at-k",
          ),
        );
    }
    const auroc = metrics.alignment?.highest?.["chosen by calibration"]?.auroc;
    if (auroc)
      found.push(
        descry.score(
          "Do labels predict neurons?",
          auroc,
          "AUROC of a label over all sentences of the half that did not choose it",
          "auroc",
        ),
      );
    return [h("h2", { class: "unseen" }, "Headline numbers"), h("div", { class: "scores" }, found)];
  }

  function every({ metrics, scores: triedOut }) {
    const rows = [];
    const add = (against, name, score) =>
      rows.push([
        against,
        name.replaceAll("_at_k_", "@").replaceAll("_", " "),
        score.value,
        score.low,
        score.high,
        score.null,
        score.corrected,
        score.defined,
        score.verdict ?? null,
      ]);
    for (const [against, scores] of Object.entries(metrics))
      if (/^(lowest_)?(halves|gold|judge)$/.test(against))
        for (const [name, score] of Object.entries(scores))
          if (score && typeof score === "object") add(against.replace("_", ", "), name, score);
    for (const [end, halves] of Object.entries(metrics.alignment ?? {}))
      for (const [chosen, scores] of Object.entries(halves))
        for (const [name, score] of Object.entries(scores))
          add(
            `all sentences of the other half, ${chosen}${end === "highest" ? "" : `, ${end}`}`,
            name,
            score,
          );
    for (const [scorer, scores] of Object.entries(triedOut))
      for (const [name, score] of Object.entries(scores))
        if (score && typeof score === "object")
          add(`the annotator's use of labels, ${scorer}`, name, score);
    return {
      columns: ["against", "score", "value", "95% low", "95% high", "null", "corrected", "over", "better than chance"],
      rows,
    };
  }

  function checked(metrics) {
    const said = {
      ...metrics.annotator,
      ...(metrics.judge_against_gold
        ? { "gold (the judge's answers)": metrics.judge_against_gold }
        : {}),
    };
    const tables = Object.entries(said).filter(([, found]) => typeof found === "object" && found);
    const yes = metrics.answers?.annotator?.yes;
    const rows = tables.map(([name, found]) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, name),
        found.undefined
          ? h("td", { colspan: AGREED.length + 1 }, found.undefined)
          : [
              ...AGREED.map(([key]) =>
                h(
                  "td",
                  { class: "number" },
                  `${descry.number(found[key], 2)} (${descry.number(found[`${key}_low`], 2)} to ${descry.number(found[`${key}_high`], 2)})`,
                ),
              ),
              h("td", { class: "number" }, descry.count(found.answers)),
            ],
      ),
    );
    if (!rows.length) return null;
    return descry.section(
      "annotator",
      "Is the annotator right?",
      h(
        "p",
        {},
        "Its answers held against others of the same sentences, with 95% intervals: the kappa of chance is 0. ",
        "Within descriptors it does not count which of them are frequent.",
        yes == null ? "" : ` It says Yes to ${(100 * yes).toFixed(1)}% of what it is asked.`,
      ),
      descry.framed(
        "The annotator against others",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["against", ...AGREED.map(([, title]) => title), "answers"].map((title) =>
              h("th", { scope: "col" }, title),
            ),
          ),
        ),
        h("tbody", {}, rows),
      ),
      sharedErrors(metrics),
    );
  }

  /** What labels owe to errors that the annotator has in common with the neurons. */
  function sharedErrors({ annotator, shared_errors: found = {} }) {
    const rows = Object.entries(found).map(([truth, n]) => [
      TRUTH[truth],
      n.descriptors,
      n.annotator,
      n.truth,
      n.both,
      `${descry.number(n.errs_by_lot, 1)} (${n.errs_by_lot_low} to ${n.errs_by_lot_high})`,
    ]);
    if (!rows.length) return null;
    return [
      h("h3", {}, "Labels that shared errors make"),
      h(
        "p",
        {},
        annotator.shares_target
          ? "Annotator and target share a model. "
          : "Annotator and target share no model that is known of. ",
        "Numbers of labels over the same sentences and descriptors: by the annotator, by the truth, by both; and by an annotator that is right as often, but errs by lot.",
      ),
      descry.plainTable("Labels that shared errors make", {
        columns: ["truth", "descriptors", "by the annotator", "by the truth", "both", "errs by lot"],
        rows,
      }),
    ];
  }

  function composed(metrics) {
    const rows = Object.entries(metrics.composed ?? {}).flatMap(([end, halves]) =>
      Object.entries(halves).map(([chosen, found]) => [
        `${chosen}${end === "highest" ? "" : `, ${end}`}`,
        found.chosen,
        found.value,
        found.single,
        found.null,
      ]),
    );
    if (!rows.length) return null;
    return [
      h("h3", {}, "Composed labels"),
      h(
        "p",
        {},
        "Mean IoU of the best formula with AND, OR, AND NOT, in the half that chose it and in the other, there beside the best lone descriptor, and beside another neuron's formula.",
      ),
      descry.plainTable("Composed labels", {
        columns: [
          "chosen by",
          "IoU there",
          "IoU in the other half",
          "lone descriptor there",
          "null",
        ],
        rows,
      }),
    ];
  }

  /** What neurons write, and what the labelled ones change at the output. */
  function written({ writes, interventions: found, neurons }) {
    const told = writes.undefined
      ? `What neurons write is not known: ${writes.undefined}.`
      : `${descry.count(writes.write)} of ${descry.some(neurons, "neuron")} promote or suppress tokens beyond permuted weights and mixtures of neurons, at a false discovery rate of ${writes.fdr}.`;
    const kinds = { label: "of the label", other: "others", difference: "difference of the two" };
    const rows = (found.undefined ? [] : ["ablated", "raised"]).flatMap((way) =>
      Object.entries(kinds).flatMap(([kind, words]) =>
        Object.entries(found[way][kind])
          .filter(([, one]) => one.neurons)
          .map(([measure, one]) => [
            way,
            words,
            found.measures[measure],
            one.value,
            one.others,
            one.low,
            one.high,
            one.verdict,
          ]),
      ),
    );
    return descry.section(
      "written",
      "What neurons write and change",
      h("p", {}, told),
      rows.length
        ? [
            h(
              "p",
              {},
              `${descry.some(found.neurons, "labelled neuron")} set to their mean over tokens, or raised, on sentences that did not choose the label: means over neurons, beside other neurons of the layer that write about as much, and 95% of the difference.`,
            ),
            descry.plainTable("Changes at the output", {
              columns: ["intervention", "sentences", "measure", "value", "others", "low", "high", "verdict"],
              rows,
            }),
          ]
        : null,
    );
  }

  /** How many neurons have facets, sets that cover and labels that are too broad. */
  function parted({ facets: found }) {
    if (found.undefined)
      return descry.section("facets", "Facets", h("p", { class: "quiet" }, `None: ${found.undefined}.`));
    const { chance, coverage } = found;
    const n = descry.number;
    const groups = chance.parted
      ? ` One of their facets has ${n(chance.facets_labels, 1)} labels, and ${n(chance.facets_alone, 1)} that no other of the neuron has; of exemplars dealt by lot ${n(chance.lots_labels, 1)} and ${n(chance.lots_alone, 1)}, of groups of random sets ${n(chance.random_labels, 1)} and ${n(chance.random_alone, 1)}: groups of sentences that are alike have labels whatever the neuron does. Of the facets' labels ${n(100 * chance.facets_sought, 0)}% are over-represented (p < 0.05) among all exemplars of the neuron, of those of random sets ${n(100 * chance.random_sought, 0)}%.`
      : "";
    const labelled =
      found.labelled === null
        ? ""
        : ` The labels of one half are on ${n(found.labelled, 2)} of the other half's exemplars, and on ${n(found.labelled_random, 2)} of random sentences of the same strata.`;
    const broad = found.no_close
      ? ` No close negatives: ${found.no_close}.`
      : ` Of ${descry.some(found.labels, "label")} ${descry.count(found.broad)} are too broad: close negatives, sentences most like the exemplars that do not excite the neuron, have them about as often.`;
    return descry.section(
      "facets",
      "Facets",
      h(
        "p",
        {},
        `The exemplars of ${descry.count(chance.parted)} of ${descry.some(chance.neurons, "labelled neuron")} fall into groups further apart than those of random sets; by chance ${n(0.05 * chance.neurons, 0)} would.${groups}`,
      ),
      h(
        "p",
        {},
        `${descry.some(found.cover, "neuron")} have a set of over-represented descriptors of which a further exemplar has one with probability ${coverage}.${labelled}${broad}`,
      ),
    );
  }

  /** The graphs' scores by layer, folded away where a table of tokens does better in most layers. */
  function beaten(scores) {
    const table = descry.plainTable("Graphs by layer", {
      columns: Object.keys(scores[0]),
      rows: scores.map(Object.values),
    });
    const layers = d3.group(scores, ({ layer }) => layer);
    const worse = [...layers.values()].filter((rows) => {
      const own = rows.find(({ predictor }) => predictor === "graph")?.f1 ?? 0;
      return rows.some(({ predictor, f1 }) => predictor !== "graph" && f1 > own);
    }).length;
    if (2 * worse <= layers.size) return table;
    const words = `In ${worse} of ${descry.some(layers.size, "layer")} a simpler table of tokens predicts neurons better than graphs do`;
    return h("details", {}, h("summary", {}, words), table);
  }

  function graphs({ graphs: found }) {
    if (!found?.scores?.length) return null;
    const { held, pages } = found;
    return descry.section(
      "graphs",
      "Graphs of tokens",
      h(
        "p",
        {},
        `What ${descry.some(found.number, "neuron")} respond to, as graphs of tokens (N2G, Foote et al. 2023)${found.site ? `, at site ${found.site}` : ""}, position ${found.position}: how well a graph predicts its neuron on sentences that it was not made from, beside tables of the training sentences' tokens. Means over the neurons that fire there.`,
      ),
      beaten(found.scores),
      pages
        ? h(
            "p",
            {},
            `They are no neurons of the labels, which are at site ${descry.run.target.site}. Each with the F1 of its graph: `,
            pages.map(([name, f1], k) => [
              k ? ", " : "",
              h("a", { href: descry.place(["graph", name]) }, name),
              ` ${descry.number(f1, 2)}`,
            ]),
            ".",
          )
        : null,
      held &&
        h(
          "p",
          {},
          `Of the ${descry.some(held.labels, "label")} of neurons whose graphs fire, ${descry.count(held.above)} have a lift above 1 in the sentences where their graph does; of the ${descry.count(held.others)} pairs of a labelled neuron and a descriptor that is not its label, ${descry.count(held.others_above)} have. (Labels and graphs both come from a neuron's top sentences, so that some agreement comes by itself.)`,
        ),
    );
  }

  function run(run) {
    const stages = Object.entries(run.made).map(([stage, made]) =>
      h(
        "details",
        {},
        h("summary", {}, stage),
        descry.facts(flat(made.params).map(([key, value]) => [key, String(value)])),
        h("h4", {}, "Inputs (sha256)"),
        descry.facts(
          Object.entries(made.inputs ?? {}).map(([path, sha]) => [
            path,
            h("code", { class: "hash" }, sha),
          ]),
        ),
        h("h4", {}, "Versions"),
        descry.facts(Object.entries(made.versions ?? {})),
      ),
    );
    const { target, annotator } = run;
    const commit = h("span", {}, "…");
    descry.load("commit").then(
      ({ sha, clean, unknown }) =>
        (commit.textContent = unknown
          ? `${sha ? `${sha}, changes` : ""} not known (git: ${unknown})`.trim()
          : sha
            ? `${sha}${clean ? "" : ", with changes that were not committed"}`
            : "none: the folder was not under git"),
      () => (commit.textContent = "not known here: `git log -1 dvc.lock` tells"),
    );
    return descry.section(
      "run",
      "The run",
      descry.facts([
        [
          "Reviews",
          `${run.reviews}; left out: ${
            Object.entries(run.dropped)
              .map(([why, n]) => `${descry.count(n)} ${why}`)
              .join(", ") || "none"
          }`,
        ],
        [
          "Sentences",
          `${descry.count(run.sentences)} in ${run.categories.length} categories; calibration half ${descry.count(run.halves.calibration)}, validation half ${descry.count(run.halves.validation)}`,
        ],
        ["On this site", run.held ? descry.heldWords() : null],
        [
          "Target",
          `${target.model} @ ${target.revision}: layers ${target.layers.join(", ")} of ${target.width} ${descry.kind()}s, ${target.site} at position ${target.position}${target.sinks ? ` without the first ${descry.some(target.sinks, "token")}` : ""}, ${target.dtype}`,
        ],
        ["Dictionary", target.dictionary ?? null],
        [
          "Sentences cut",
          target.cut
            ? `${descry.count(target.cut)} of which the target model saw the first ${descry.count(target.most)} tokens only`
            : null,
        ],
        [
          "Not read whole",
          run.metrics.cut?.annotator_sentences
            ? `${descry.some(run.metrics.cut.annotator_sentences, "sentence")}, by the annotator`
            : null,
        ],
        ["Weights (sha256)", h("code", { class: "hash" }, target.weights)],
        [
          "Weights were",
          target.quantization ? `quantised as ${target.quantization}, and are computed back` : null,
        ],
        ["Raw descriptors by", run.describers.map((one) => one.name).join("; ")],
        [
          "Annotator",
          `${annotator.name}, ${annotator.model} @ ${annotator.revision}, ${annotator.dtype}`,
        ],
        ["Judge", run.judge?.name],
        [
          "Descriptors dropped",
          run.broad.map((one) => `${one.descriptor}: ${one.reason}`).join("; "),
        ],
        ["Commit", commit],
        ["descry", run.version],
      ]),
      h("h3", {}, "Parameters, inputs and versions of each stage"),
      stages,
      h(
        "p",
        {},
        "Check all of it: ",
        descry.command("descry", "verify"),
        " ",
        descry.command("descry", "reproduce"),
      ),
    );
  }

  const flat = (value, key = "") =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? Object.entries(value).flatMap(([name, inner]) => flat(inner, key ? `${key}.${name}` : name))
      : [[key, Array.isArray(value) ? JSON.stringify(value) : value]];

  descry.overview = async () => {
    const { run: made } = descry;
    return {
      title: made.title,
      content: [
        h("h1", {}, made.title),
        descry.tour(),
        words(made),
        cautions(made),
        headline(made),
        h(
          "details",
          {},
          h("summary", {}, "All scores, each beside its null"),
          descry.plainTable("All scores", every(made)),
          composed(made.metrics),
        ),
        layers(made),
        confounders(made),
        descry.section("figures", "Figures", h("div", { class: "figures" }, descry.figures(made))),
        descry.section("descriptors", "Descriptors", descry.descriptorTable(made, 12)),
        checked(made.metrics),
        parted(made),
        written(made),
        graphs(made),
        run(made),
      ],
    };
  };
})();
