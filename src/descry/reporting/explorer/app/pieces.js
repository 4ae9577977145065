"use strict";
/* What several pages show: labels, links, sentences, values beside their nulls. */

descry.neuronLink = (n, query = {}) => {
  const name = descry.neuronName(n);
  return descry.h("a", { href: descry.place(["neuron", name], query), class: "neuron" }, name);
};

descry.descriptorLink = (column) => {
  const { name } = descry.run.descriptors[column];
  return descry.h("a", { href: descry.place(["descriptor", name]) }, name);
};

/** A label with its number; a bar on its side where both halves alone give it. */
descry.chip = ({ column, f, lift, held }) => {
  const { h } = descry;
  const { name } = descry.run.descriptors[column];
  const why = `${name}: f(c) ${descry.number(f, 2)}, ${descry.times(lift)} what chance gives${held ? "; each half alone gives it, too" : "; not in both halves"}`;
  return h(
    "a",
    { class: held ? "chip held" : "chip", href: descry.place(["descriptor", name]), title: why },
    name,
    " ",
    h("span", { class: "amount" }, descry.number(f, 2)),
    held ? h("span", { class: "unseen" }, " (both halves)") : null,
  );
};

/** Amazon's names have underscores. */
descry.category = ({ category }) => (category ?? "no category").replaceAll("_", " ");

/** What the annotator said of a sentence: the descriptors it said Yes to. */
descry.answers = (sentence, own = new Set()) => {
  const { h } = descry;
  const { descriptors } = descry.run;
  if (!sentence.asked) return h("p", { class: "quiet" }, "Not asked about.");
  const said = sentence.yes.map(([column, p]) =>
    h(
      "li",
      {
        class: own.has(column) ? "yes own" : "yes",
        title: p === null ? "Yes" : `Yes, with probability ${p}%`,
      },
      descriptors[column].name,
      p === null ? null : h("span", { class: "amount" }, ` ${p}%`),
    ),
  );
  const none = sentence.none.map((column) =>
    h("li", { class: "none", title: "no usable answer" }, `${descriptors[column].name}: no answer`),
  );
  const missing = [...own]
    .filter(
      (column) => !sentence.yes.some(([c]) => c === column) && !sentence.none.includes(column),
    )
    .map((column) =>
      h("li", { class: "no", title: "the annotator said No" }, `${descriptors[column].name}: No`),
    );
  if (!said.length && !none.length && !missing.length)
    return h("p", { class: "quiet" }, "The annotator said No to every descriptor.");
  return h("ul", { class: "answers", "aria-label": "The annotator's answers" }, said, missing, none);
};

/** That the model has not seen all of a sentence; nothing where it has. */
descry.cutMark = ({ cut }) => {
  if (!cut) return null;
  const { most } = descry.run.target;
  return descry.h(
    "span",
    { class: "cut" },
    `the model saw the first ${descry.count(most)} of ${descry.count(most + cut)} tokens`,
  );
};

/** A sentence with how strongly it excites a neuron. */
descry.exemplar = (sentence, { rank, activation, distribution, own, words = [] }) => {
  const { h } = descry;
  const bar = h("span", { class: "bar", "aria-hidden": "true" });
  const { mean, deviation, highest } = distribution;
  bar.style.setProperty(
    "--share",
    `${Math.max(0, Math.min(100, (100 * (activation - mean)) / (highest - mean)))}%`,
  );
  const away = `${descry.number((activation - mean) / deviation, 1)} deviations from the neuron's mean`;
  return h(
    "li",
    { class: "exemplar" },
    h(
      "p",
      { class: "measure" },
      rank ? h("span", {}, `${rank}.`) : null,
      bar,
      h("span", { class: "number", title: away }, descry.number(activation, descry.places(distribution))),
      h(
        "a",
        {
          href: descry.place(["sentence", sentence.id]),
          "aria-label": `${descry.category(sentence)}: sentence ${sentence.id}`,
        },
        descry.category(sentence),
      ),
      descry.cutMark(sentence),
    ),
    h("blockquote", {}, descry.marked(sentence.text, words)),
    descry.answers(sentence, own),
  );
};

/** A sentence in a list of those about something. */
descry.sentenceItem = (sentence, { own, words = [] }) => {
  const { h } = descry;
  const title = `${descry.category(sentence)}, ${sentence.id}`;
  const link = h("a", { href: descry.place(["sentence", sentence.id]) }, title);
  const text = h("blockquote", {}, descry.marked(sentence.text, words));
  return h(
    "li",
    { class: "exemplar" },
    h("p", { class: "measure" }, link),
    text,
    descry.answers(sentence, own),
  );
};

/** Details whose end is read when they are opened first: most people look elsewhere. */
descry.readWhenOpened = (details, read) => {
  details.addEventListener("toggle", async () => details.append(await read()), { once: true });
  return details;
};

/** The column of a table whose rows are neurons. */
descry.neuronColumn = (query = {}) => ({
  title: "neuron",
  head: true,
  of: (row) => row.n,
  ascending: true,
  show: ({ n }) => descry.neuronLink(n, query),
});

/** A value between 0 and 1 with its interval, and its null as a mark. */
descry.gauge = ({ value, low, high, null: chance }) => {
  const { h } = descry;
  const at = (share) => `${100 * Math.max(0, Math.min(1, share))}%`;
  const gauge = h(
    "span",
    { class: "gauge", "aria-hidden": "true" },
    h("i", { class: "interval" }),
    h("i", { class: "chance" }),
    h("i", { class: "value" }),
  );
  const set = (name, x) =>
    x === null || x === undefined
      ? gauge.classList.add(`no-${name}`)
      : gauge.style.setProperty(`--${name}`, at(x));
  set("value", value);
  set("low", low);
  set("high", high);
  set("chance", chance);
  return gauge;
};

/** A score in words. */
descry.score = (title, score, hint) => {
  const { h } = descry;
  const number = (x) => descry.number(x, 3);
  return h(
    "div",
    { class: "score" },
    h("h3", {}, title),
    h("p", { class: "big" }, number(score.value)),
    descry.gauge(score),
    h(
      "p",
      {},
      "null ",
      h("b", {}, number(score.null)),
      ` · 95% ${number(score.low)} to ${number(score.high)}`,
    ),
    h("p", { class: "quiet" }, hint),
    // Both are numbers: an interval that reaches down to the null.
    typeof score.low === "number" && typeof score.null === "number" && score.low <= score.null
      ? h("p", { class: "warning" }, "No better than chance: the interval reaches the null.")
      : null,
  );
};
