"use strict";
/* Descriptors: all of them as a table, and one with its cluster, neurons, company and sentences. */
(() => {
  const { h } = descry;

  /** All descriptors. */
  descry.descriptorTable = (run, size = 100) => {
    const rows = run.descriptors.map((descriptor, column) => ({
      ...descriptor,
      column,
      all: descriptor.neurons.highest,
    }));
    const truth = ["gold", "judge"].find((name) =>
      run.descriptors.some(({ checked }) => checked?.[name]),
    );
    const columns = [
      {
        title: "descriptor",
        head: true,
        of: (row) => row.name,
        ascending: true,
        show: ({ column }) => descry.descriptorLink(column),
      },
      {
        title: "base rate",
        number: true,
        of: (row) => row.base.all,
        show: (row) => descry.number(row.base.all, 3),
        hint: `share of ${run.rule.frequency} in the corpus`,
      },
      {
        title: "neurons",
        number: true,
        of: (row) => row.all.all,
        show: (row) => descry.count(row.all.all),
        hint: "that have it as a label",
      },
      {
        title: "calibration",
        number: true,
        of: (row) => row.all.calibration,
        show: (row) => descry.count(row.all.calibration),
        hint: "neurons, by the calibration half alone",
      },
      {
        title: "validation",
        number: true,
        of: (row) => row.all.validation,
        show: (row) => descry.count(row.all.validation),
        hint: "neurons, by the validation half alone",
      },
      {
        title: "mentions",
        number: true,
        of: (row) => row.mentions,
        show: (row) => descry.count(row.mentions),
        hint: "of its raw descriptors",
      },
      {
        title: "members",
        number: true,
        of: (row) => row.phrases,
        show: (row) => descry.count(row.phrases),
        hint: "distinct raw descriptors in its cluster",
      },
    ];
    if (truth)
      columns.push({
        title: `F1 (${truth})`,
        number: true,
        of: (row) => row.checked?.[truth]?.f1 ?? null,
        show: (row) => descry.number(row.checked?.[truth]?.f1, 2),
        hint: "of the annotator's answers for it",
      });
    return descry.table(columns, rows, {
      caption: "Descriptors",
      size,
      sort: { by: 2, descending: true },
    });
  };

  descry.descriptors = async () => ({
    title: "Descriptors",
    content: [
      h("h1", {}, "Descriptors"),
      h(
        "p",
        {},
        "What neurons can be labelled with: clusters of the raw descriptors that were named in the sentences.",
      ),
      descry.descriptorTable(descry.run),
    ],
  });

  function company(column) {
    const { order, matrix } = descry.run.correlation;
    const row = order.indexOf(column);
    if (row < 0) return null;
    const others = order
      .map((other, place) => [other, matrix[row][place]])
      .filter(([other, r]) => other !== column && r !== null)
      .sort((a, b) => b[1] - a[1]);
    const part = (title, some) =>
      h(
        "div",
        {},
        h("h3", {}, title),
        h(
          "ul",
          { class: "plain" },
          some.map(([other, r]) =>
            h("li", {}, descry.descriptorLink(other), ` ${descry.number(r, 2)}`),
          ),
        ),
      );
    return descry.section(
      "company",
      "Correlated descriptors",
      h(
        "div",
        { class: "halves" },
        part("Together more often than by chance", others.filter(([, r]) => r > 0).slice(0, 6)),
        part(
          "Less often",
          others
            .filter(([, r]) => r < 0)
            .slice(-6)
            .reverse(),
        ),
      ),
    );
  }

  function checkedFacts(checked) {
    return Object.entries(checked ?? {}).map(([name, found]) => [
      `annotator against ${name}`,
      ["precision", "recall", "f1", "kappa", "auroc"]
        .map((key) => `${key} ${descry.number(found[key], 2)}`)
        .join(", "),
    ]);
  }

  descry.descriptorPage = async ([name]) => {
    const { run } = descry;
    const column = run.column.get(name);
    if (column === undefined) return descry.absent(`There is no descriptor ${name}.`);
    const descriptor = run.descriptors[column];
    const [table, map, phrases] = await Promise.all([
      descry.tableOf("highest"),
      descry.load("map-highest"),
      descry.load("phrases"),
    ]);
    const raw = phrases[column] ?? [];
    const examples = await descry.sentences(phrases.examples[column] ?? []);
    const rows = [];
    for (let n = 0; n < run.neurons; n++) {
      const label = table.labels(n).find((one) => one.column === column);
      if (label) rows.push({ n, ...label });
    }
    const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)}%`);
    const columns = [
      descry.neuronColumn(),
      {
        title: "p",
        number: true,
        ascending: true,
        of: descry.surest,
        show: (row) => descry.small(row.p),
        hint: "within strata; labels that both halves confirm come first",
      },
      { title: "f(c)", number: true, of: (row) => row.f, show: (row) => descry.number(row.f, 2) },
      {
        title: "× expected",
        number: true,
        of: (row) => row.times,
        show: (row) => descry.times(row.times),
        hint: "exemplars with it, divided by how many random sentences of the same strata would have it",
      },
      {
        title: "q",
        number: true,
        ascending: true,
        of: (row) => row.q,
        show: (row) => descry.small(row.q),
        hint: "false discovery rate within strata",
      },
      {
        title: "q among all",
        number: true,
        ascending: true,
        of: (row) => row.unmatched,
        show: (row) => descry.small(row.unmatched),
        hint: "false discovery rate among all sentences, whatever explains it",
      },
      {
        title: "both halves",
        of: (row) => Number(row.replicated),
        show: (row) => (row.replicated ? "yes" : "no"),
        hint: "whether p < 0.05 within strata in each half alone",
      },
      {
        title: "AUROC",
        number: true,
        of: (row) => row.auroc,
        show: (row) => descry.number(row.auroc, 2),
        hint: "over all sentences of the half that did not choose it; –: neither half alone chose it",
      },
      { title: "all its labels", wide: true, show: ({ n }) => table.labels(n).map(descry.chip) },
    ];
    return {
      title: name,
      content: [
        h("h1", {}, name),
        descry.facts([
          ["sentences with it", percent(descriptor.shares.all)],
          [
            "calibration, validation half",
            `${percent(descriptor.shares.calibration)}, ${percent(descriptor.shares.validation)}`,
          ],
          [
            "neurons with it as a label",
            `${descry.count(rows.length)} of ${descry.count(run.neurons)} (by each half alone: ${descry.count(descriptor.neurons.highest.calibration)}, ${descry.count(descriptor.neurons.highest.validation)})`,
          ],
          ...checkedFacts(descriptor.checked),
          ["merged or renamed by hand from", descriptor.edited_from.join(", ")],
        ]),
        descry.section(
          "neurons",
          "Neurons",
          descry.byLayer(
            map.labelled.map((layer) => layer[column]),
            map.expected.map((layer) => layer[column]),
          ),
          descry.table(columns, rows, {
            caption: `Neurons labelled ${name}`,
            size: 15,
            sort: { by: 1, descending: false },
          }),
        ),
        descry.section(
          "examples",
          "Sentences with it",
          h("p", {}, `Those with the annotator's highest scores. ${descry.scoreHint()}`),
          h(
            "ol",
            { class: "exemplars" },
            examples.map((sentence) => descry.sentenceItem(sentence, { own: new Set([column]) })),
          ),
        ),
        descry.section(
          "cluster",
          "Its cluster",
          h(
            "p",
            {},
            `${descry.some(raw.length, "raw descriptor")}, ${descry.some(descriptor.mentions, "mention")}.`,
          ),
          h(
            "ul",
            { class: "cloud" },
            raw
              .slice(0, 200)
              .map(([phrase, mentions]) =>
                h("li", {}, phrase, h("span", { class: "amount" }, ` ${mentions}`)),
              ),
          ),
          raw.length > 200
            ? h(
                "p",
                { class: "quiet" },
                `and ${descry.count(raw.length - 200)} more: results/descriptors.json`,
              )
            : null,
        ),
        company(column),
        h(
          "p",
          {},
          "Which labels and answers it influenced: ",
          descry.command("descry", "audit", "--descriptor", name),
        ),
      ],
    };
  };
})();
