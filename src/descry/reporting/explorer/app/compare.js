"use strict";
/* Two neurons side by side: what each is about, what they share, and their top sentences. */
(() => {
  const { h } = descry;
  const HALVES = ["calibration", "validation"];

  /** A form that asks for the other neuron. */
  descry.compareForm = (name, other = "") => {
    const box = h("input", { type: "search", name: "other", value: other, placeholder: "L5:24", autocomplete: "off", size: "10" });
    return h(
      "form",
      {
        class: "controls",
        onsubmit: (event) => {
          event.preventDefault();
          const asked = box.value.trim();
          if (descry.neuronNumber(asked) === null) descry.say(`There is no neuron ${asked}.`);
          else location.hash = descry.place(["compare", name, asked.toUpperCase()]);
        },
      },
      h("label", {}, `Compare ${name} with `, box),
      h("button", {}, "Compare"),
    );
  };

  /** Descriptors that are among the surest of either, with the numbers of both. */
  function both(pair) {
    const of = pair.map(({ neuron }) => new Map(neuron.ends.highest.labels));
    const columns = [...new Set(of.flatMap((labels) => [...labels.keys()]))];
    const cells = (labels, column, size) => {
      const all = labels.get(column)?.all;
      if (!all) return [1, 2, 3].map(() => h("td", { class: "number" }, "–"));
      const [, count, , expected, , q, , assigned] = all;
      return [
        h("td", { class: "number" }, `${descry.count(count)} of ${descry.count(size)}`, assigned ? h("b", {}, " ✓", h("span", { class: "unseen" }, "label")) : null),
        h("td", { class: "number" }, descry.number(expected, 1)),
        h("td", { class: "number" }, descry.small(q)),
      ];
    };
    const head = (title) => h("th", { scope: "col", class: "number" }, title);
    return descry.framed(
      "Descriptors of both",
      {},
      h(
        "thead",
        {},
        h("tr", {}, h("td", {}), pair.map(({ name }) => h("th", { scope: "colgroup", colspan: 3 }, name))),
        h("tr", {}, h("th", { scope: "col" }, "descriptor"), pair.map(() => [head("exemplars"), head("by chance"), head("q")])),
      ),
      h(
        "tbody",
        {},
        columns.map((column) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, descry.descriptorLink(column)),
            pair.map(({ neuron }, k) => cells(of[k], column, neuron.ends.highest.size)),
          ),
        ),
      ),
    );
  }

  async function top({ n, neuron, own }) {
    const effects = neuron.by_word ? await descry.effectsOf(n, "highest") : null;
    const rows = HALVES.flatMap((half) => neuron.sets[half]);
    rows.sort((a, b) => b[1] - a[1]);
    const sentences = await descry.sentences(rows.map(([row]) => row));
    const { distribution } = neuron;
    return h(
      "ol",
      { class: "exemplars" },
      sentences.map((sentence, k) =>
        descry.exemplar(sentence, {
          rank: k + 1,
          activation: rows[k][1],
          place: rows[k].slice(2),
          distribution,
          own,
          effects: effects?.get(sentence.row),
        }),
      ),
    );
  }

  descry.compare = async (asked) => {
    const numbers = asked.slice(0, 2).map(descry.neuronNumber);
    const wrong = asked.find((_, k) => numbers[k] === null);
    if (asked.length < 2 || wrong !== undefined)
      return descry.absent(wrong === undefined ? "Two neurons stand side by side: #/compare/L0:0/L0:1." : `There is no neuron ${wrong}.`);
    const table = await descry.tableOf("highest");
    const pair = await Promise.all(
      numbers.map(async (n) => ({
        n,
        name: descry.neuronName(n),
        neuron: await descry.neuron(n),
        own: new Set(table.labels(n).map(({ column }) => column)),
      })),
    );
    const [first, second] = pair;
    const shown = pair.map(({ neuron }) => new Set(HALVES.flatMap((half) => neuron.sets[half].map(([row]) => row))));
    const common = [...shown[0]].filter((row) => shown[1].has(row)).length;
    const known = first.neuron.similar.find(([n]) => n === second.n);
    const lists = await Promise.all(pair.map(top));
    const title = `${first.name} beside ${second.name}`;
    return {
      title,
      content: [
        h("h1", {}, title),
        descry.compareForm(first.name, second.name),
        h(
          "div",
          { class: "halves" },
          pair.map(({ n, neuron }) =>
            h("div", {}, h("h2", {}, descry.neuronLink(n)), descry.sentencesOf(n, neuron.ends.highest, table)),
          ),
        ),
        descry.section(
          "shared",
          "What they share",
          h(
            "p",
            {},
            `Of the ${descry.count(shown[0].size)} and ${descry.count(shown[1].size)} ${descry.unit()}s shown of them ${descry.count(common)} are the same.`,
            known
              ? ` Jaccard similarity of their exemplars: ${descry.number(known[1], 3)}; two random sets: ${descry.number(descry.run.similar_null, 3)}.`
              : "",
          ),
          h("p", { class: "quiet" }, "The surest descriptors of either; a dash: not among the surest of that neuron."),
          both(pair),
        ),
        descry.section(
          "exemplars",
          "Top sentences",
          h("div", { class: "halves" }, pair.map(({ name }, k) => h("div", {}, h("h3", {}, name), lists[k]))),
        ),
      ],
    };
  };
})();
