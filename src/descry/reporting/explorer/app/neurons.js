"use strict";
/* All neurons as a table that sorts and filters; what is chosen stands in the address. */
(() => {
  const { h } = descry;
  const RATES = ["", "0.05", "0.01", "0.001"];

  /** What is chosen, as the address has it. */
  const filterOf = (chosen) => ({
    q: chosen.q,
    layer: chosen.layer,
    descriptor: chosen.descriptor,
    fdr: chosen.fdr,
    held: chosen.held ? 1 : "",
    all: chosen.all ? 1 : "",
    end: chosen.end === "highest" ? "" : chosen.end,
  });

  /** One row a neuron that the filters leave. */
  function rowsOf(table, chosen, counts, text) {
    const { run } = descry;
    const { width, layers } = run.target;
    const column = chosen.descriptor ? run.column.get(chosen.descriptor) : null;
    const layerRow = chosen.layer === "" ? -1 : layers.indexOf(Number(chosen.layer));
    const named = chosen.q ? descry.neuronNumber(chosen.q.trim()) : null;
    const asked = descry.wordsOf(text);
    const inName = run.descriptors.map(({ name }) => {
      const words = descry.wordsOf(name);
      return asked.length > 0 && asked.every((word) => words.some((own) => own.startsWith(word)));
    });
    const rows = [];
    for (let n = 0; n < run.neurons; n++) {
      if (layerRow >= 0 && Math.floor(n / width) !== layerRow) continue;
      if (named !== null && n !== named) continue;
      let best = null;
      let lettered = false;
      for (let k = table.start[n]; k < table.start[n + 1]; k++) {
        if (inName[table.descriptor[k]]) lettered = true;
        if (column !== null && table.descriptor[k] !== column) continue;
        if (chosen.held && !table.replicated[k]) continue;
        if (chosen.fdr && !(table.q[k] !== null && table.q[k] <= Number(chosen.fdr))) continue;
        best ??= k; // labels come in the order of their evidence
      }
      const picky = column !== null || chosen.held || chosen.fdr || !chosen.all;
      if (picky && best === null && named === null) continue;
      const matches = counts ? counts[n] : 0;
      if (chosen.q && named === null && !matches && !lettered) continue;
      rows.push({ n, best, matches, lettered });
    }
    return rows;
  }

  function columnsOf(table, chosen, matching) {
    const at = (row, name, unit) =>
      row.best === null || table[name][row.best] === null ? null : table[name][row.best] / unit;
    const columns = [
      descry.neuronColumn(filterOf(chosen)),
      {
        title: "labels",
        wide: true,
        show: ({ n, best }) => {
          const labels = table.labels(n);
          const told = labels.length
            ? descry.talk(labels[Math.max(0, best - table.start[n])], table.sizeOf(n), chosen.end)
            : descry.noLabel({ silent: table.silent[n], size: table.sizeOf(n), end: chosen.end });
          return [labels.map(descry.chip), h("p", { class: "sentence" }, told)];
        },
      },
      {
        title: "× expected",
        number: true,
        of: (row) => at(row, "times", 100),
        show: (row) => descry.times(at(row, "times", 100)),
        hint: "exemplars with the surest label, divided by how many random sentences of the same strata would have it",
      },
      {
        title: "both halves",
        of: (row) => at(row, "replicated", 1),
        show: ({ best }) => (best === null ? "–" : table.replicated[best] ? "yes" : "no"),
        hint: "whether p < 0.05 within strata in each half alone",
      },
      {
        title: "p",
        number: true,
        ascending: true,
        of: ({ best }) =>
          best === null
            ? null
            : descry.surest({ p: table.p[best], replicated: table.replicated[best] }),
        show: (row) => descry.small(at(row, "p", 1)),
        hint: "of that label within strata; labels that both halves confirm come first",
      },
      {
        title: "q",
        number: true,
        ascending: true,
        of: (row) => at(row, "q", 1),
        show: (row) => descry.small(at(row, "q", 1)),
        hint: "false discovery rate at which that label would pass (Benjamini-Hochberg)",
      },
      {
        title: "q among all",
        number: true,
        ascending: true,
        of: (row) => at(row, "unmatched", 1),
        show: (row) => descry.small(at(row, "unmatched", 1)),
        hint: "the same among all sentences, whatever explains it",
      },
      {
        title: "AUROC",
        number: true,
        of: (row) => at(row, "auroc", 1000),
        show: (row) => descry.number(at(row, "auroc", 1000), 2),
        hint: "that label over all sentences of the half that did not choose it: 0.5 is chance; –: neither half alone chose it",
      },
    ];
    if (matching)
      columns.splice(1, 0, {
        title: "matches",
        number: true,
        of: (row) => row.matches,
        show: (row) => (row.matches ? String(row.matches) : row.lettered ? "label" : ""),
        hint: "how many of its exemplars shown have these words",
      });
    return columns;
  }

  const field = (label, control) => h("label", {}, `${label} `, control);
  const select = (name, options, value) =>
    h(
      "select",
      { name },
      options.map(([key, title]) =>
        h("option", { value: key, selected: String(key) === String(value) }, title),
      ),
    );

  descry.neurons = async (_, query) => {
    const { run } = descry;
    const given = (name) => query.get(name) ?? "";
    const chosen = {
      q: given("q"),
      layer: given("layer"),
      descriptor: given("descriptor"),
      fdr: given("fdr"),
      held: given("held") === "1",
      all: given("all") === "1",
      end: query.get("end") ?? "highest",
    };
    const sort = { by: given("by"), descending: given("by") ? given("order") !== "up" : null };
    const table = await descry.tableOf(chosen.end);
    const holder = h("div", {});
    const told = h("p", { class: "counted", role: "status" });
    let turn = 0;
    let page = Number(given("page")) || 0;

    async function fill() {
      const own = ++turn;
      const named = descry.neuronNumber(chosen.q.trim()) !== null;
      const { text, changes } = named ? { text: chosen.q, changes: [] } : await descry.spelled(chosen.q);
      const found = chosen.q && !named ? await descry.search(text) : null;
      const counts = found?.marks ? await descry.exemplarsAmong(found.marks) : null;
      if (own !== turn) return; // something else was typed meanwhile
      const columns = columnsOf(table, chosen, Boolean(found));
      const rows = rowsOf(table, chosen, counts, text);
      const by = columns.findIndex(
        ({ title }) => title === (sort.by || (found ? "matches" : "p")),
      );
      holder.replaceChildren(
        descry.table(columns, rows, {
          caption: "Neurons",
          size: 50,
          page,
          sort: { by, descending: sort.descending ?? Boolean(found) },
          empty: "No neuron is like that.",
          changed: (state) => {
            sort.by = columns[state.by].title;
            sort.descending = state.descending;
            page = state.page;
            keep();
          },
        }),
      );
      const common = found?.common.length
        ? ` Not looked for, being in so many: ${found.common.join(", ")}.`
        : "";
      const among = found?.marks
        ? ` The words are in ${descry.some(found.count, "sentence")}.`
        : "";
      told.textContent = `${descry.some(rows.length, descry.kind())}.${descry.spelledNote(changes)}${among}${common}`;
      holder.dataset.asked = chosen.q;
    }

    function keep() {
      const asked = {
        ...filterOf(chosen),
        by: sort.by,
        order: sort.descending === false ? "up" : "",
        page: page || "",
      };
      history.replaceState(history.state, "", descry.place(["neurons"], asked));
    }

    function changed(event) {
      const { name, type, checked, value } = event.target;
      if (name === "end") return void (location.hash = descry.place(["neurons"], { end: value }));
      chosen[name] = type === "checkbox" ? checked : value;
      page = 0;
      if (name === "q") Object.assign(sort, { by: "", descending: null }); // the best first
      keep();
      return void fill();
    }

    const controls = h(
      "form",
      { class: "controls", oninput: changed, onsubmit: (event) => event.preventDefault() },
      field(
        "With the words",
        h("input", {
          type: "search",
          name: "q",
          value: chosen.q,
          placeholder: "in exemplars or labels, or L5:24",
          size: "30",
          autocomplete: "off",
          spellcheck: "false",
        }),
      ),
      field(
        "Layer",
        select(
          "layer",
          [["", "all"], ...run.target.layers.map((layer) => [layer, `L${layer}`])],
          chosen.layer,
        ),
      ),
      field(
        "Descriptor",
        select(
          "descriptor",
          [["", "any"], ...run.descriptors.map(({ name }) => [name, name])],
          chosen.descriptor,
        ),
      ),
      field(
        "Significant at",
        select(
          "fdr",
          RATES.map((rate) => [rate, rate ? `q ≤ ${rate}` : "any q"]),
          chosen.fdr,
        ),
      ),
      run.ends.length > 1
        ? field(
            "Activations",
            select(
              "end",
              run.ends.map((end) => [end, end]),
              chosen.end,
            ),
          )
        : null,
      h(
        "label",
        {},
        h("input", { type: "checkbox", name: "held", checked: chosen.held }),
        " confirmed by both halves",
      ),
      h(
        "label",
        {},
        h("input", { type: "checkbox", name: "all", checked: chosen.all }),
        " also those without a label",
      ),
    );
    await fill();
    return { title: "Neurons", content: [h("h1", {}, "Neurons"), controls, h("p", {}, descry.share()), told, holder] };
  };
})();
