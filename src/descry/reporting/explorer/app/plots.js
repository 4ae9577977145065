"use strict";
/* A figure: drawn by Observable Plot when it comes into view, as wide as there is room. */

descry.colours = {
  blue: "var(--blue)",
  orange: "var(--orange)",
  green: "var(--green)",
  purple: "var(--purple)",
  grey: "var(--grey)",
};

/**
 * name: of the file that it is saved as; draw(width): an SVG element, or null where nothing is
 * defined; numbers: {columns: [titles], rows: [[values]]}, the same as a table.
 */
descry.figure = (name, title, caption, { draw, height, numbers }) => {
  const { h } = descry;
  const canvas = h("div", { class: "canvas" });
  canvas.style.minHeight = `${height}px`; // nothing moves when it is drawn
  const save = h(
    "button",
    { type: "button", onclick: () => descry.saveSvg(canvas.querySelector("svg"), name) },
    "Save as SVG",
  );
  const table = h("details", {}, h("summary", {}, "Numbers"));
  table.addEventListener("toggle", () => {
    if (table.open && table.children.length === 1)
      table.append(descry.plainTable(title, numbers()));
  });
  let width = 0;
  const resized = new ResizeObserver(([entry]) => paint(Math.floor(entry.contentRect.width)));
  function paint(room) {
    if (room < 1 || Math.abs(room - width) < 8) return;
    width = room;
    const picture = draw(width);
    canvas.replaceChildren(picture ?? h("p", { class: "quiet" }, "Undefined in this run."));
    save.hidden = !picture;
    for (const part of picture?.querySelectorAll("[aria-label]") ?? [])
      part.removeAttribute("aria-label"); // it is one picture
    picture?.setAttribute("role", "img");
    picture?.setAttribute("aria-label", `${title}. Its numbers stand beneath.`);
  }
  const seen = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        seen.disconnect();
        resized.observe(canvas);
      }
    },
    { rootMargin: "300px" },
  );
  seen.observe(canvas);
  const whole = h(
    "figure",
    { id: `figure-${name}` },
    h("h3", {}, title),
    canvas,
    h("figcaption", {}, caption),
    h("div", { class: "below" }, save, table),
  );
  whole.drawNow = () => {
    if (!width) paint(canvas.clientWidth || 600);
  };
  return whole;
};

descry.plainTable = (caption, { columns, rows }) => {
  const { h } = descry;
  const cell = (value) =>
    typeof value === "number"
      ? h("td", { class: "number" }, Number.isInteger(value) ? String(value) : value.toPrecision(4))
      : h("td", {}, value ?? "–");
  return descry.framed(
    caption,
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        columns.map((title, k) =>
          h(
            "th",
            {
              scope: "col",
              class: rows.some((row) => typeof row[k] === "number") ? "number" : null,
            },
            title,
          ),
        ),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map((row) => h("tr", {}, row.map(cell))),
    ),
  );
};

/** Hand out a picture as a file that looks the same without this page's style. */
descry.saveSvg = (svg, name) => {
  const copy = svg.cloneNode(true);
  const style = getComputedStyle(document.documentElement);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.style.color = "#222";
  copy.style.background = "#fff";
  copy.style.fontFamily = "system-ui, sans-serif";
  const text = new XMLSerializer()
    .serializeToString(copy)
    .replace(
      /var\((--[a-z]+)\)/g,
      (whole, variable) => style.getPropertyValue(variable).trim() || "#888",
    );
  descry.save(`${name}.svg`, "image/svg+xml", text);
};

/** What a colour stands for: a ramp of colours between two numbers. */
descry.legend = (title, colours, low, high) => {
  const { h } = descry;
  const ramp = h("span", { class: "ramp", "aria-hidden": "true" });
  ramp.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
  return h("span", { class: "legend" }, `${title}: `, h("span", {}, low), ramp, h("span", {}, high));
};

// What was never scrolled to is not drawn yet; on paper all of it stands.
addEventListener("beforeprint", () => {
  for (const figure of document.querySelectorAll("figure")) figure.drawNow?.();
});

/** Plot with the look that all figures share. */
descry.plot = (options) =>
  Plot.plot({
    marginLeft: 48,
    marginBottom: 38,
    ...options,
    style: {
      background: "none",
      color: "currentColor",
      fontSize: "12px",
      overflow: "visible",
      ...options.style,
    },
  });
