"use strict";
/* Two models beside each other: one page, whose address may name a neuron (#L5:24). */
(() => {
  const { h, share, span } = descry;
  let diff;

  const score = (row, name) => ({
    value: row[name],
    low: row[`${name}_low`],
    high: row[`${name}_high`],
    null: row[`${name}_chance`],
  });
  const name = (layer, neuron) => (layer === null ? "none" : `L${layer}:${neuron}`);

  /** What the labels of two sets of sentences, or of two models, share. */
  function overview() {
    const row = diff.summary;
    const line = (words, key, hint) => [
      words,
      hint,
      [share(row[key]), span(row, key), share(row[`${key}_chance`])],
      score(row, key),
    ];
    return descry.gauges(
      "shared",
      "Labels that the models share",
      "labels that are shared",
      ["labels that both have, of those that either has", "share", "95% over neurons", "by chance"],
      [
        line("whole corpus", "whole", "the same sentences through both models"),
        line("same half", "same_half", "labels of half of the sentences, the same for both models"),
        line("other half", "other_half", "one half through the first model, the other half through the second"),
        line(`halves of ${diff.names[0]}`, "halves_first", "both halves through the first model"),
        line(`halves of ${diff.names[1]}`, "halves_second", "both halves through the second model"),
      ],
      h(
        "p",
        {},
        "Compare ",
        h("b", {}, "other half"),
        " with the halves of one model: both differ by their sentences, and only the first by the model, too. What the halves share more: ",
        h("b", { id: "beyond" }, share(row.beyond)),
        ` (95% ${span(row, "beyond")}; 0 where the models are the same to labels). Labels of the whole corpus rest on twice the sentences, and two models that saw the same sentences share what is peculiar to these: neither is to be held against halves.`,
      ),
      descry.facts([
        ["labels", `${descry.count(row.first)} in the first, ${descry.count(row.second)} in the second`],
        [
          "kept, lost, gained",
          `${descry.count(row.kept)} (${descry.number(row.kept_chance, 1)} by chance), ${descry.count(row.lost)}, ${descry.count(row.gained)}`,
        ],
        [
          "of those, whose descriptor came or went (q at most 0.05)",
          `${descry.count(row.lost_changed)} lost, ${descry.count(row.gained_changed)} gained`,
        ],
        [
          "came or went in both halves; the halves contradict",
          `${descry.count(row.both_halves)}; ${descry.count(row.contradicted)} (p ${descry.small(row.changes_p)})`,
        ],
        [
          "exemplars that both have",
          `${share(row.exemplars)}; ${share(row.exemplars_matched)} of random sets of the same strata`,
        ],
        ["rank correlation within strata, median", share(row.rho_within)],
      ]),
    );
  }

  const tally = [
    ["kept", "kept", "labels of the whole corpus"],
    ["lost", "lost"],
    ["gained", "gained"],
    ["lost, q ≤ .05", "lost_changed", "lost labels whose descriptor is rarer among the exemplars that came than among those that went"],
    ["gained, q ≤ .05", "gained_changed", "likewise, more frequent"],
  ].map(([title, key, hint]) => ({
    title,
    hint,
    number: true,
    of: (row) => row[key],
    show: (row) => descry.count(row[key]),
  }));
  const jaccards = [
    ["whole corpus", "whole"],
    ["other half", "other_half"],
    ["halves of the first", "halves_first"],
    ["halves of the second", "halves_second"],
    ["beyond", "beyond"],
  ].map(([title, key]) => ({
    title,
    number: true,
    hint: "share of the labels that both have; the 95% interval over neurons",
    of: (row) => row[key],
    show: (row) => h("span", { title: `95% ${span(row, key)}` }, share(row[key])),
  }));

  function layers() {
    const columns = [
      { title: "layer", head: true, of: (row) => row.layer, ascending: true, show: (row) => String(row.layer) },
      { title: "compared", number: true, of: (row) => row.compared, show: (row) => `${descry.count(row.compared)} of ${descry.count(row.neurons)}` },
      { title: "correlation", number: true, hint: "median rank correlation within strata", of: (row) => row.rho_within, show: (row) => share(row.rho_within) },
      { title: "exemplars", number: true, hint: "share of the exemplars that both have", of: (row) => row.exemplars, show: (row) => share(row.exemplars) },
      ...tally,
      ...jaccards,
    ];
    return descry.section("layers", "Layers", descry.table(columns, diff.layers, { caption: "layers" }));
  }

  function descriptors() {
    const columns = [
      { title: "descriptor", head: true, wide: true, of: (row) => row.descriptor, ascending: true, show: (row) => row.descriptor },
      ...tally,
      ...jaccards,
    ];
    const options = { caption: "descriptors", sort: { by: 2, descending: true } };
    return descry.section("descriptors", "Descriptors", descry.table(columns, diff.descriptors, options));
  }

  const chip = (label) =>
    h(
      "span",
      {
        class: label.changed ? "chip held" : "chip",
        title: `exemplars ${label.first_count} (${descry.number(label.first_expected, 1)} expected) → ${label.second_count} (${descry.number(label.second_expected, 1)} expected); change p ${descry.small(label.p)}, q ${descry.small(label.q)}`,
      },
      { kept: "= ", lost: "− ", gained: "+ " }[label.change],
      label.descriptor,
    );

  function neurons() {
    const columns = [
      {
        title: "neuron",
        head: true,
        of: (row) => row.n,
        ascending: true,
        show: (row) => h("a", { href: `#${row.name}`, class: "neuron" }, row.name),
      },
      { title: "its pair", of: (row) => row.other, ascending: true, show: (row) => (row.matched === false ? `${row.other} (not correlated)` : row.other) },
      { title: "labels", wide: true, show: (row) => (row.labels.length ? row.labels.map(chip) : h("span", { class: "quiet" }, "none")) },
      { title: "correlation", number: true, hint: "rank correlation within strata", of: (row) => row.rho_within, show: (row) => share(row.rho_within) },
      { title: "exemplars", number: true, hint: "share of its exemplars that the pair has, too", of: (row) => row.exemplars, show: (row) => share(row.exemplars) },
      { title: "change p", number: true, ascending: true, hint: "of the label that changed most surely", of: (row) => row.surest, show: (row) => descry.small(row.surest) },
    ];
    const is = (kind, row) => {
      if (kind === "changed") return row.labels.some((label) => label.changed);
      return kind === "unmatched" ? row.matched === false : row[kind] > 0;
    };
    const has = (text, row) =>
      row.name.toLowerCase() === text ||
      row.labels.some((label) => label.descriptor.toLowerCase().includes(text));
    const kinds = [
      ["", "all neurons"],
      ["changed", "a label changed (q at most 0.05)"],
      ["lost", "lost a label"],
      ["gained", "gained a label"],
      ["kept", "kept a label"],
      ["unmatched", "not correlated"],
    ];
    return descry.choice("neurons", "Neurons", columns, diff.neurons, {
      word: "neuron",
      hint: "= kept, − lost, + gained; a bar on its side where the change has q at most 0.05.",
      kinds,
      is,
      has,
      sort: { by: 5, descending: false },
    });
  }

  const item = ([row, ranks, values]) => {
    const at = (rank, value) =>
      rank === null ? "not among its exemplars" : `${rank}. (${descry.number(value, 3)})`;
    const measure = ranks.map((rank, side) => at(rank, values[side])).join(" → ");
    return descry.sentence(diff.sentences[row], measure, diff.names_of);
  };

  function details(row) {
    const parts = [h("h2", { id: "neuron", tabindex: "-1" }, `${row.name} → ${row.other}`)];
    parts.push(
      descry.facts([
        ["rank correlation", share(row.rho)],
        ["within strata", `${share(row.rho_within)} (p ${descry.small(row.p)}, q ${descry.small(row.q)})`],
        ["next best candidate", share(row.rival)],
        ["exemplars that both have", `${share(row.exemplars)}; ${share(row.exemplars_matched)} of random sets of the same strata`],
      ]),
    );
    const columns = [
      { title: "label", head: true, show: (label) => chip(label) },
      { title: "exemplars", number: true, show: (l) => `${l.first_count} → ${l.second_count}` },
      { title: "expected", number: true, show: (l) => `${descry.number(l.first_expected, 1)} → ${descry.number(l.second_expected, 1)}` },
      { title: "q", number: true, show: (l) => `${descry.small(l.first_q)} → ${descry.small(l.second_q)}` },
      { title: "only in one set", number: true, hint: "exemplars with it that went, and that came", show: (l) => `−${l.only_first} +${l.only_second}` },
      { title: "change p", number: true, show: (l) => descry.small(l.p) },
      { title: "change q", number: true, show: (l) => descry.small(l.change_q) },
      { title: "halves", show: (l) => ({ 1: "both halves show it", "-1": "the halves contradict", 0: "–" })[l.halves] },
    ];
    if (row.labels.length) parts.push(descry.table(columns, row.labels, { caption: "labels" }));
    const shown = diff.exemplars[row.n];
    if (!shown) parts.push(h("p", { class: "quiet" }, `The page has the sentences of the ${descry.count(Object.keys(diff.exemplars).length)} neurons that changed most surely: descry diff … --neuron ${row.name} shows these.`));
    parts.push(descry.lists(shown ?? [], item));
    return h("section", { "aria-labelledby": "neuron" }, parts);
  }

  async function start() {
    diff = await descry.contents();
    diff.neurons = diff.neurons.map((row, n) => ({ ...row, n, name: name(row.layer, row.neuron), other: name(row.other_layer, row.other_neuron), labels: [] }));
    const byName = new Map(diff.neurons.map((row) => [row.name, row]));
    for (const label of diff.labels) byName.get(name(label.layer, label.neuron)).labels.push(label);
    for (const row of diff.neurons) row.surest = row.labels.length ? row.labels[0].p : null;
    const matched = diff.matched_by === "index" ? "by their index" : `by the correlation of their activations, tested on ${descry.count(diff.matched_on)} other sentences`;
    descry.begin({
      title: `${diff.names[0]} → ${diff.names[1]}`,
      lead: `${descry.count(diff.sentences_in_all)} sentences through two models; ${descry.count(diff.summary.compared)} pairs of neurons, matched ${matched}.`,
      warnings: diff.warnings,
      version: diff.version,
      sections: [overview(), neurons(), layers(), descriptors(), descry.differences(diff.differences)],
      details: (address) => {
        const row = diff.neurons.find((one) => `#${one.name}` === address);
        return row && details(row);
      },
    });
  }

  start();
})();
