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

/** A label with how many times as often as expected it is there; a bar on its side where both halves confirm it. */
descry.chip = (label) => {
  const { h } = descry;
  const { column, times, q, unmatched, replicated } = label;
  const { name } = descry.run.descriptors[column];
  const by = descry.explained(label) ? `explained by ${descry.strata()}` : null;
  const why = [
    `${name}: ${descry.times(times)} as many exemplars as expected`,
    `q ${descry.small(q)}, among all sentences ${descry.small(unmatched)}`,
    replicated ? "both halves confirm it" : "not both halves confirm it",
    by,
  ];
  return h(
    "a",
    {
      class: replicated ? "chip held" : "chip",
      href: descry.place(["descriptor", name]),
      title: why.filter(Boolean).join("; "),
    },
    name,
    " ",
    h("span", { class: "amount" }, descry.times(times)),
    replicated ? h("span", { class: "unseen" }, " (both halves)") : null,
    by ? h("span", { class: "amount" }, ` ${by}`) : null,
  );
};

/** Amazon's names have underscores. */
descry.category = ({ category }) => (category ?? "no category").replaceAll("_", " ");

/** Ten times the log-odds of an annotator's Yes, in words. */
descry.said = (odds) => {
  if (odds === null) return "";
  if (!descry.run.probabilities) return descry.number(odds / 10, 1);
  return `P(Yes) ${descry.number(1 / (1 + Math.exp(-odds / 10)), 2)}`;
};

/** What the numbers beside an annotator's answers are. */
descry.scoreHint = () =>
  descry.run.probabilities
    ? "P(Yes) is the annotator's own probability of the answer Yes."
    : "Numbers beside a descriptor are the annotator's uncalibrated score (log-odds of Yes): good to order sentences by, not probabilities.";

/** What the annotator said of a sentence: the descriptors it said Yes to; and gold labels. */
descry.answers = (sentence, own = new Set()) => {
  const { h } = descry;
  const { descriptors } = descry.run;
  if (!sentence.asked) return h("p", { class: "quiet" }, "Not asked about.");
  // Gold labels of a sentence are about every descriptor that the gold labels know.
  const denied = (column) =>
    sentence.gold && descriptors[column].checked.gold && !sentence.gold.includes(column);
  // Of a cascade: whether its oracle was not asked.
  const byProxy = (column) => descry.run.proxy && !sentence.by_oracle.includes(column);
  const said = sentence.yes.map(([column, odds]) =>
    h(
      "li",
      {
        class: ["yes", own.has(column) && "own", denied(column) && "denied"]
          .filter(Boolean)
          .join(" "),
        title: `Yes${odds === null ? "" : `: ${descry.run.probabilities ? "" : "uncalibrated score "}${descry.said(odds)}`}`,
      },
      descriptors[column].name,
      odds === null ? null : h("span", { class: "amount" }, ` ${descry.said(odds)}`),
      byProxy(column) ? h("span", { class: "amount" }, " by the proxy") : null,
      denied(column) ? h("span", { class: "amount" }, " gold: No") : null,
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
      h(
        "li",
        { class: "no", title: "the annotator said No" },
        `${descriptors[column].name}: No${byProxy(column) ? " by the proxy" : ""}`,
      ),
    );
  const gold = sentence.gold
    ? h(
        "li",
        { class: "gold" },
        `gold: ${sentence.gold.map((column) => descriptors[column].name).join(", ") || "none"}`,
      )
    : null;
  if (!said.length && !none.length && !missing.length)
    return [
      h("p", { class: "quiet" }, "The annotator said No to every descriptor."),
      gold && h("ul", { class: "answers" }, gold),
    ];
  return h(
    "ul",
    { class: "answers", "aria-label": "The annotator's answers" },
    said,
    missing,
    none,
    gold,
  );
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
descry.exemplar = (sentence, { rank, activation, place, distribution, own, tokens, effects, words = [] }) => {
  const { h } = descry;
  const bar = h("span", { class: "bar", "aria-hidden": "true" });
  const { mean, deviation, highest } = distribution;
  bar.style.setProperty(
    "--share",
    `${Math.max(0, Math.min(100, (100 * (activation - mean)) / (highest - mean)))}%`,
  );
  const line = () => {
    if (effects) return descry.wordLine(sentence, effects);
    return tokens ? descry.tokenLine(tokens) : descry.shown(sentence, words, place);
  };
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
    h("blockquote", {}, words.length ? descry.shown(sentence, words, place) : line()),
    descry.answers(sentence, own),
  );
};

/** A sentence in a list of those about something. */
descry.sentenceItem = (sentence, { own, words = [] }) => {
  const { h } = descry;
  const title = `${descry.category(sentence)}, ${sentence.id}`;
  const link = h("a", { href: descry.place(["sentence", sentence.id]) }, title);
  const text = h("blockquote", {}, descry.shown(sentence, words));
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
descry.score = (title, score, hint, help = "verdicts") => {
  const { h } = descry;
  const number = (x) => descry.number(x, 3);
  const known = (x) => x !== null && x !== undefined;
  return h(
    "div",
    { class: "score" },
    h("h3", {}, title),
    descry.verdict(score.verdict),
    h("p", { class: "big" }, number(score.value)),
    descry.gauge(score),
    h(
      "p",
      {},
      "null ",
      h("b", {}, number(score.null)),
      known(score.low) ? ` · 95% ${number(score.low)} to ${number(score.high)}` : " · no interval: too few to tell",
    ),
    h("p", { class: "quiet" }, hint),
    h("p", {}, descry.helpLink(help)),
  );
};
