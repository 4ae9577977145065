"use strict";
/* One neuron: labels beside what chance gives, both halves, exemplars, graph, neighbours, evidence. */
(() => {
  const { h } = descry;
  const HALVES = ["calibration", "validation"];
  const FIELDS = { f: 0, count: 1, lift: 2, p: 3, q: 4, assigned: 5 };

  function labelTable({ labels, scores, size }) {
    const rows = labels.map(([column, splits]) => {
      const at = (split, name) => splits[split][FIELDS[name]];
      const auroc = (chosen) =>
        scores.find((score) => score.chosen === chosen && score.column === column)?.auroc ?? null;
      const half = (name) => [
        h(
          "td",
          { class: "number" },
          descry.number(at(name, "f"), 2),
          at(name, "assigned")
            ? h(
                "b",
                { title: "a label in this half" },
                " ✓",
                h("span", { class: "unseen" }, "label"),
              )
            : "",
        ),
        h("td", { class: "number" }, descry.times(at(name, "lift"))),
        h(
          "td",
          { class: "number", title: "over all sentences of the other half" },
          descry.number(auroc(name), 2),
        ),
      ];
      const lift = at("all", "lift");
      return h(
        "tr",
        { class: at("all", "assigned") ? "assigned" : "quiet" },
        h(
          "th",
          { scope: "row" },
          descry.descriptorLink(column),
          at("all", "assigned") ? h("b", {}, " ✓", h("span", { class: "unseen" }, "label")) : null,
        ),
        h("td", { class: "number" }, descry.number(at("all", "f"), 2)),
        h("td", { class: "number" }, lift ? descry.number(at("all", "f") / lift, 2) : "–"),
        h("td", { class: "number" }, descry.times(lift)),
        h("td", { class: "number" }, descry.small(at("all", "q"))),
        h("td", { class: "number" }, `${at("all", "count")} / ${descry.count(size)}`),
        HALVES.map(half),
      );
    });
    const head = (title, hint) => h("th", { scope: "col", class: "number", title: hint }, title);
    const f = () => head("f(c)", "share among the exemplars");
    return descry.framed(
      "Labels, over all sentences and in each half",
      { class: "labels" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", {}),
          h("th", { scope: "colgroup", colspan: 5 }, "all sentences"),
          HALVES.map((name) => h("th", { scope: "colgroup", colspan: 3 }, `${name} half`)),
        ),
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "descriptor"),
          f(),
          head("null", "f(c) that chance would give: f(c) / lift"),
          head("lift", "f(c) against the null"),
          head("q", "false discovery rate"),
          head("exemplars", "how many of them have it"),
          HALVES.map(() => [
            f(),
            head("lift", ""),
            head(
              "AUROC",
              "of that half's label over all sentences of the other half; 0.5 is chance",
            ),
          ]),
        ),
      ),
      h("tbody", {}, rows),
    );
  }

  function composedTable({ composed }) {
    if (!composed.length) return null;
    const number = (x) => h("td", { class: "number" }, descry.number(x, 3));
    const title = (text) => h("th", { scope: "col", class: "number" }, text);
    return [
      h("h3", {}, "Composed label"),
      descry.framed(
        "Composed labels",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "sentences"),
            h("th", { scope: "col" }, "formula"),
            title("IoU there"),
            title("in the other half"),
            title("lone descriptor there"),
            title("null"),
          ),
        ),
        h(
          "tbody",
          {},
          composed.map((row) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, row.split),
              h("td", {}, row.formula),
              number(row.iou),
              number(row.other_iou),
              number(row.other_single),
              number(row.other_null),
            ),
          ),
        ),
      ),
    ];
  }

  async function list(pairs, { distribution, own, words }) {
    if (!pairs.length)
      return h("p", { class: "quiet" }, "None: too many sentences have the same activation.");
    const sentences = await descry.sentences(pairs.map(([row]) => row));
    return h(
      "ol",
      { class: "exemplars" },
      sentences.map((sentence, k) =>
        descry.exemplar(sentence, {
          rank: k + 1,
          activation: pairs[k][1],
          distribution,
          own,
          words,
        }),
      ),
    );
  }

  async function exemplars(neuron, own, words) {
    const lists = await Promise.all(
      HALVES.map((half) =>
        list(neuron.sets[half], { distribution: neuron.distribution, own, words }),
      ),
    );
    return descry.section(
      "exemplars",
      "Exemplars",
      h(
        "p",
        {},
        "The sentences that excite it most, of each half, with its activation and the descriptors that the annotator said Yes to. Its labels are marked; a label with No is shown, too.",
      ),
      h(
        "div",
        { class: "halves" },
        HALVES.map((half, k) => h("div", {}, h("h3", {}, `${half} half`), lists[k])),
      ),
    );
  }

  function lowest(neuron, words) {
    const whole = h(
      "details",
      { class: "lowest" },
      h("summary", {}, h("h2", {}, "Lowest activations")),
      h("p", {}, "The sentences at the other end."),
    );
    const { distribution, sets } = neuron;
    return descry.readWhenOpened(whole, () => list(sets.lowest, { distribution, words }));
  }

  function trials({ trials: rows }) {
    if (!rows.length) return null;
    const shown = Object.keys(rows[0]).filter((key) => key !== "neuron");
    return [
      h("h3", {}, "Tried out"),
      h("p", {}, "How well the annotator can use the label on sentences that did not choose it."),
      descry.plainTable("Label scores", {
        columns: shown,
        rows: rows.map((row) => shown.map((key) => row[key])),
      }),
    ];
  }

  function similar(neuron, table) {
    const { run } = descry;
    const rows = neuron.similar.map(([n, jaccard]) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, descry.neuronLink(n)),
        h("td", { class: "number" }, descry.number(jaccard, 3)),
        h("td", {}, table.labels(n).map(descry.chip)),
      ),
    );
    return descry.section(
      "similar",
      "Similar neurons",
      h(
        "p",
        {},
        `Whose exemplars have most in common with its own (Jaccard; two random sets: ${descry.number(run.similar_null, 3)}).`,
      ),
      descry.framed(
        "similar neurons",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "neuron"),
            h("th", { scope: "col", class: "number" }, "Jaccard"),
            h("th", { scope: "col" }, "labels"),
          ),
        ),
        h("tbody", {}, rows),
      ),
    );
  }

  descry.neuronPage = async ([name], query) => {
    const { run } = descry;
    const n = descry.neuronNumber(name);
    if (n === null)
      return descry.absent(
        `There is no neuron ${name}: layers ${run.target.layers.join(", ")}, neurons 0 to ${run.target.width - 1}.`,
      );
    const [neuron, table] = await Promise.all([descry.neuron(n), descry.tableOf("highest")]);
    const words = descry.wordsOf(query.get("q") ?? "");
    const labels = table.labels(n);
    const own = new Set(labels.map(({ column }) => column));
    const { distribution } = neuron;
    const { silent } = neuron.ends.highest;
    const least = Math.min(
      ...HALVES.flatMap((half) => neuron.sets[half].map(([, activation]) => activation)),
    );
    const beside = (by, title) =>
      n + by >= 0 && n + by < run.neurons
        ? h(
            "a",
            {
              href: descry.place(["neuron", descry.neuronName(n + by)]),
              rel: by < 0 ? "prev" : "next",
              "aria-label": `${title}: ${descry.neuronName(n + by)}`,
            },
            by < 0 ? "‹" : "›",
          )
        : null;
    const [excites, graph, from] = await Promise.all([
      exemplars(neuron, own, words),
      neuron.graph ? descry.graphSection(n, descry.neuronName(n)) : null,
      descry.evidence(descry.neuronName(n), neuron, labels[0]?.column),
    ]);
    return {
      title: descry.neuronName(n),
      content: [
        h(
          "div",
          { class: "title" },
          beside(-1, "The neuron before"),
          h("h1", {}, descry.neuronName(n)),
          beside(1, "The neuron after"),
        ),
        h(
          "p",
          { class: "lead" },
          labels.length
            ? labels.map(descry.chip)
            : silent
              ? `No exemplars, no label: ${silent}.`
              : "No label: no descriptor is frequent enough among its exemplars.",
        ),
        descry.section(
          "labels",
          "Labels beside chance",
          silent ? null : labelTable(neuron.ends.highest),
          composedTable(neuron.ends.highest),
          trials(neuron),
        ),
        excites,
        graph,
        h(
          "div",
          { class: "halves" },
          h(
            "div",
            {},
            descry.histogram({ distribution, least }),
            descry.facts(
              ["mean", "deviation", "skewness", "kurtosis", "lowest", "highest"].map((key) => [
                key,
                descry.number(
                  distribution[key],
                  ["skewness", "kurtosis"].includes(key) ? 3 : descry.places(distribution),
                ),
              ]),
            ),
          ),
          similar(neuron, table),
        ),
        neuron.ends.lowest
          ? descry.section(
              "labels-lowest",
              "Labels of its lowest activations",
              neuron.ends.lowest.silent
                ? h("p", {}, `No exemplars, no label: ${neuron.ends.lowest.silent}.`)
                : labelTable(neuron.ends.lowest),
            )
          : null,
        lowest(neuron, words),
        from,
      ],
    };
  };
})();
