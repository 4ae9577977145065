"use strict";
/* What the pages of two runs have in common: rows to choose from, a row's address, how the runs were made. */

descry.share = (value) => descry.number(value, 3);

/** A 95% interval, by the name of the number it belongs to, or the interval's own. */
descry.span = (row, name = "") => {
  const [low, high] = ["low", "high"].map((end) => row[name ? `${name}_${end}` : end]);
  return `${descry.share(low)} to ${descry.share(high)}`;
};

/** A table of numbers beside their bounds and what chance gives; each row ends in a gauge. */
descry.gauges = (id, title, caption, head, body, ...rest) => {
  const { h } = descry;
  return descry.section(
    id,
    title,
    descry.framed(caption, {}, [
      h("thead", {}, h("tr", {}, [...head, ""].map((words) => h("th", { scope: "col" }, words)))),
      h("tbody", {}, body.map(([words, hint, cells, score]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, words, h("p", { class: "quiet" }, hint)),
          cells.map((text) => h("td", { class: "number" }, text)),
          h("td", {}, descry.gauge(score)),
        ),
      )),
    ]),
    ...rest,
  );
};

/**
 * A table of which a kind of rows, or those with some words, can be chosen.
 * options: word (of a row), hint, kinds: [value, words][], is(kind, row), has(text, row), sort.
 */
descry.choice = (id, title, columns, rows, { word, hint, kinds, is, has, sort }) => {
  const { h } = descry;
  const wanted = { text: "", kind: "" };
  const table = descry.table(columns, rows, { caption: id, sort });
  const counted = h("p", { class: "counted" });
  const fill = () => {
    const text = wanted.text.trim().toLowerCase();
    const left = rows.filter(
      (row) => (!wanted.kind || is(wanted.kind, row)) && (!text || has(text, row)),
    );
    table.fill(left);
    counted.textContent = descry.some(left.length, word);
  };
  const select = h(
    "select",
    { name: "kind", onchange: (event) => { wanted.kind = event.target.value; fill(); } },
    kinds.map(([value, words]) => h("option", { value }, words)),
  );
  const box = h("input", {
    type: "search",
    name: "q",
    autocomplete: "off",
    oninput: (event) => { wanted.text = event.target.value; fill(); },
  });
  fill();
  return descry.section(
    id,
    title,
    h("p", {}, h("label", {}, "Show ", select), " ", h("label", {}, "Neuron or descriptor ", box)),
    h("p", { class: "quiet" }, hint),
    counted,
    table,
  );
};

/** What differs in how the runs were made. */
descry.differences = (rows) => {
  const { h } = descry;
  const columns = [
    { title: "stage", head: true, show: (row) => row.stage },
    { title: "what", wide: true, show: (row) => row.what },
    { title: "first", wide: true, show: (row) => h("code", {}, row.first) },
    { title: "second", wide: true, show: (row) => h("code", {}, row.second) },
    { title: "kind", show: (row) => (row.kind === "parameter" && !row.matters ? "changes no label" : row.kind) },
  ];
  return descry.section(
    "differences",
    "What differs in how the runs were made",
    descry.table(columns, rows, { caption: "differences", empty: "Nothing." }),
  );
};

/** Numbers of exemplars with titles, and the first of them. */
descry.lists = (lists, item) => {
  const { h } = descry;
  return lists.map(([title, number, items]) => [
    h("h3", {}, `${title}: ${descry.count(number)}${items.length < number ? `, ${items.length} shown` : ""}`),
    h("ol", { class: "exemplars" }, items.map(item)),
  ]);
};

/** A sentence as an exemplar: its id and rank, its text, and the descriptors that it has. */
descry.sentence = ([id, text, said], measure, names) => {
  const { h } = descry;
  return h(
    "li",
    { class: "exemplar" },
    h("p", { class: "measure" }, `${id}: ${measure}`),
    h("blockquote", {}, text),
    h("p", { class: "quiet" }, said.length ? said.map((c) => names[c]).join(", ") : "no descriptor"),
  );
};

/** Fill the page: title, lead, warnings, and sections; the place of details follows the address. */
descry.begin = ({ title, lead, warnings, version, sections, details }) => {
  const { h } = descry;
  const main = document.getElementById("main");
  const place = h("div", { id: "details" });
  const show = () => {
    const found = details(decodeURIComponent(location.hash));
    place.replaceChildren(...(found ? [found] : []));
    main.dataset.shown = location.hash;
    if (found) place.querySelector("h2").focus();
  };
  const [first, ...rest] = sections;
  main.replaceChildren(
    h("h1", {}, title),
    h("p", { class: "lead" }, lead),
    ...warnings.map((words) => h("p", { class: "warning" }, words)),
    first,
    place,
    ...rest,
  );
  document.getElementById("made").textContent = `descry ${version}.`;
  document.title = `${title} · descry`;
  addEventListener("hashchange", show);
  show();
  main.removeAttribute("aria-busy");
};

/** What the page has to show. */
descry.contents = () => descry.decoded(document.getElementById("data").content.textContent.trim());
