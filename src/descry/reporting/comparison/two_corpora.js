"use strict";
/* Labels of one corpus on another: one page, whose address may name a neuron (#L5:24). */
(() => {
  const { h, share, span } = descry;
  let found;

  const tests = {
    other_corpus: ["labels of the whole corpus, in the whole other one", "what there is to report"],
    halves: ["labels of a half, in the other half", "other sentences of the same corpus"],
    half_of_other: ["the same labels, in half of the other corpus", "as many sentences, of other data"],
    random_weights: ["labels of the whole corpus, on random weights", "the neurons of a copy of the model, over the other corpus"],
  };

  /** What share of which labels hold. */
  function overview() {
    const row = found.summary;
    const line = (one) => [
      ...tests[one.test],
      [descry.count(one.labels), share(one.value), span(one), share(one.chance), share(one.more)],
      { value: one.value, low: one.low, high: one.high, null: one.chance },
    ];
    const head = ["labels that hold: p < .05 within strata", "labels", "share", "95% interval", "other neurons", "more than expected"];
    return descry.gauges(
      "held",
      "Labels that hold on the other corpus",
      "labels that hold",
      head,
      found.shares.map(line),
      h(
        "p",
        {},
        "Other neurons: the same descriptors on the other neurons of the layer, which is what labels would have that say nothing of their own. What other data takes off beside other sentences, halves less half of the other corpus: ",
        h("b", { id: "beyond" }, share(row.beyond)),
        ` (95% over neurons ${span(row, "beyond")}).`,
      ),
      descry.facts([
        ["labels", descry.count(row.labels)],
        ["tested", descry.count(row.labels_tested)],
        ["hold", `${descry.count(row.held)}, of these ${descry.count(row.sure)} with q at most 0.05 over the labels tested`],
        ...Object.entries(found.untested).map(([reason, number]) => [`not tested: ${reason}`, descry.count(number)]),
      ]),
    );
  }

  const verdict = (row) => (row.untested ? `not tested: ${row.untested}` : row.holds ? "holds" : "does not hold");
  const numbers = (columns) =>
    columns.map(([title, key, show, hint]) => ({ title, hint, number: true, of: (row) => row[key], show: (row) => show(row[key]) }));
  const one = (value) => descry.number(value, 1);
  const whole = (value) => descry.number(value, 0);
  const evidence = numbers([
    ["exemplars", "count", whole, "with the descriptor, in the first corpus"],
    ["expected", "expected", one],
    ["q", "q", descry.small, "in the first corpus"],
    ["there", "other_count", whole, "exemplars with the descriptor, in the other corpus"],
    ["expected there", "other_expected", one],
    ["p there", "other_p", descry.small],
    ["q there", "other_q", descry.small, "over all labels tested"],
    ["other neurons", "other_chance", share, "share of the layer's other neurons with p < .05 there"],
  ]);

  function labels() {
    const columns = [
      { title: "neuron", head: true, of: (row) => row.place, ascending: true, show: (row) => h("a", { href: `#${row.name}`, class: "neuron" }, row.name) },
      { title: "label", wide: true, of: (row) => row.descriptor, ascending: true, show: (row) => row.descriptor },
      { title: "verdict", of: verdict, ascending: true, show: verdict },
      { title: "both halves", hint: "confirm it in the first corpus", of: (row) => Number(row.replicated), show: (row) => (row.replicated ? "yes" : "no") },
      ...evidence,
    ];
    const kinds = [
      ["", "all labels"],
      ["fails", "labels that do not hold"],
      ["holds", "labels that hold"],
      ["untested", "labels that cannot be tested"],
    ];
    const of = (row) => (row.untested ? "untested" : row.holds ? "holds" : "fails");
    return descry.choice("labels", "Labels", columns, found.labels, {
      word: "label",
      hint: "A label can fail because the other corpus hardly has its topic: read what is expected there before the verdict.",
      kinds,
      is: (kind, row) => of(row) === kind,
      has: (text, row) => row.name.toLowerCase() === text || row.descriptor.toLowerCase().includes(text),
    });
  }

  const counts = numbers([
    ["labels", "labels", descry.count],
    ["not tested", "untested", descry.count],
    ["hold", "held", descry.count],
    ["share", "value", share],
    ["other neurons", "chance", share],
  ]);

  function grouped(id, title, head, rows) {
    const columns = [{ title: head, head: true, wide: head === "descriptor", of: (row) => row[head], ascending: true, show: (row) => String(row[head]) }, ...counts];
    return descry.section(id, title, descry.table(columns, rows, { caption: id, sort: { by: 1, descending: true } }));
  }

  function details(name) {
    const own = found.labels.filter((row) => row.name === name);
    if (!own.length) return null;
    const columns = [{ title: "label", head: true, show: (row) => row.descriptor }, { title: "verdict", show: verdict }, ...evidence];
    const shown = found.exemplars[name];
    const lists = (shown ?? []).map(([number, items], side) =>
      descry.lists([[`Exemplars in the ${side ? "other" : "first"} corpus`, number, items]], ([row, rank, value]) =>
        descry.sentence(found.sentences[side][row], `${rank}. (${descry.number(value, 3)})`, found.names_of[side]),
      ),
    );
    return h(
      "section",
      { "aria-labelledby": "neuron" },
      h("h2", { id: "neuron", tabindex: "-1" }, name),
      descry.table(columns, own, { caption: "labels of the neuron" }),
      lists,
      shown ? null : h("p", { class: "quiet" }, `The page has the sentences of ${descry.count(Object.keys(found.exemplars).length)} neurons, those first whose labels do not hold.`),
    );
  }

  async function start() {
    found = await descry.contents();
    const places = new Map(found.layers.map((row, place) => [row.layer, place]));
    for (const row of found.labels) {
      row.name = `L${row.layer}:${row.neuron}`;
      row.place = 1e6 * places.get(row.layer) + row.neuron;
    }
    const [first, other] = found.sentences_in_all.map((number) => descry.some(number, found.unit));
    descry.begin({
      title: "Labels on another corpus",
      lead: `${descry.count(found.summary.labels)} labels of ${first}, tested on ${other} of other data through the same model.`,
      warnings: found.warnings,
      version: found.version,
      sections: [
        overview(),
        labels(),
        grouped("layers", "Layers", "layer", found.layers),
        grouped("descriptors", "Descriptors", "descriptor", found.descriptors),
        descry.differences(found.differences),
      ],
      details: (address) => details(address.slice(1)),
    });
  }

  start();
})();
