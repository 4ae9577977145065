"use strict";
/* Elements and numbers. Whatever stands in data becomes text: nothing here parses markup. */

/** An element: attributes (functions become listeners, null ones are left out), then its children. */
descry.h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value);
  }
  element.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== null && child !== undefined && child !== ""),
  );
  return element;
};

/** A number with so many digits behind the point; what is undefined is a dash. */
descry.number = (value, digits = 3) =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);

/** Digits behind the point of a neuron's activations, as numerals.py has it: three of the deviation's. */
descry.places = ({ deviation, highest }) => {
  const size = Math.abs(deviation || highest || 1);
  const exponent = Number(size.toExponential(2).split("e")[1]);
  return Math.min(Math.max(3, 2 - exponent), 12);
};

descry.count = (value) => (value ?? 0).toLocaleString("en");

/** A p or q value: small ones as powers. */
descry.small = (value) => {
  if (value === null || value === undefined) return "–";
  return value !== 0 && value < 0.001 ? value.toExponential(0) : value.toFixed(3);
};

descry.times = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(1)}×`);

/** "1 sentence", "2 sentences". */
descry.some = (count, word) => `${descry.count(count)} ${word}${count === 1 ? "" : "s"}`;

/** A link within the page, such as link(["neuron", "L5:24"]), with a query. */
descry.place = (parts, query = {}) => {
  const given = Object.entries(query).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  const asked = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join("/").replaceAll("%3A", ":")}${asked && `?${asked}`}`;
};

/** Text with the words that were searched for marked. */
descry.marked = (text, words) => {
  if (!words.length) return [text];
  const parts = text.split(/([\p{L}\p{N}]+)/u); // every second is a word
  return parts.map((part, place) => {
    const hit = place % 2 && words.some((word) => part.toLowerCase().startsWith(word));
    return hit ? descry.h("mark", {}, part) : part;
  });
};

/** What is labelled, in words: sentences, or positions in them. */
descry.unit = () => (descry.run.unit === "token" ? "position" : "sentence");

/**
 * A sentence's text with its hits; of a position, the words around it, its own word in a mark.
 * A sentence may come with the place of the word that it peaks at: first character, and the one behind the last.
 */
descry.shown = ({ text }, words = [], [start, stop] = []) => {
  const every = [...text]; // characters, as they were counted
  const parts =
    start >= 0
      ? [every.slice(0, start), every.slice(start, stop), every.slice(stop)].map((p) => p.join(""))
      : descry.run.unit === "token"
        ? text.split(/[«»]/)
        : [];
  if (parts.length !== 3) return descry.marked(text, words);
  const [before, word, behind] = parts;
  return [
    descry.marked(before, words),
    descry.h("mark", { class: "peak" }, word),
    descry.marked(behind, words),
  ];
};

/** A section with a heading, and an id to link to. */
descry.section = (id, title, ...children) => {
  const { h } = descry;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), children);
};

/** A table that scrolls by itself where it is wider than the page, with a name for those who cannot see it. */
descry.framed = (caption, attributes, ...parts) => {
  const { h } = descry;
  const frame = {
    class: "scroll",
    tabindex: "0",
    role: "region",
    "aria-label": `Table: ${caption}`,
  };
  const table = h("table", attributes, h("caption", { class: "unseen" }, caption), parts);
  if (attributes.class !== "map") table.classList.add("stack");
  descry.stacked(table);
  const name = `${caption.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "table"}.csv`;
  const save = () =>
    descry.save(name, "text/csv", descry.csv(table, whole.every?.() ?? [...table.tBodies[0].rows]));
  const whole = h(
    "div",
    frame,
    table,
    h("button", { type: "button", class: "csv", "aria-label": `Save as CSV: ${caption}`, onclick: save }, "CSV"),
  );
  return whole;
};

/** A definition list. */
descry.facts = (pairs) => {
  const { h } = descry;
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "dl",
    {},
    shown.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
};

/** Say something to those who cannot see it. */
descry.say = (text) => {
  document.getElementById("said").textContent = text;
};
