"use strict";
/* A table whose columns sort, a page of rows at a time. */

/**
 * columns: {title, show(row), of(row) to sort by, number, hint, ascending (first), wide};
 * options: caption, size (rows of a page), sort: {by (column), descending}, page, changed(state), empty.
 * The element has `fill(rows)`.
 */
descry.table = (columns, rows, options = {}) => {
  const { h } = descry;
  const { size = 50, caption = "", empty = "Nothing here." } = options;
  const state = {
    by: options.sort?.by ?? null,
    descending: options.sort?.descending ?? false,
    page: options.page ?? 0,
  };
  let sorted = rows;

  const heads = columns.map((column, place) => {
    const words = column.of
      ? h(
          "button",
          { type: "button", title: column.hint, onclick: () => sortBy(place) },
          column.title,
        )
      : h("span", { title: column.hint }, column.title);
    return h("th", { scope: "col", class: column.number ? "number" : null }, words);
  });
  const body = h("tbody");
  const counted = h("span", { class: "counted" });
  const back = h("button", { type: "button", onclick: () => turn(-1) }, "‹ Back");
  const on = h("button", { type: "button", onclick: () => turn(1) }, "On ›");
  const pager = h("p", { class: "pager" }, back, counted, on);
  const frame = descry.framed(caption, {}, h("thead", {}, h("tr", {}, heads)), body);
  frame.every = () => sorted.map(line); // not this page alone
  const whole = h("div", { class: "table" }, frame, pager);

  function sortBy(place) {
    const same = state.by === place;
    state.descending = same ? !state.descending : !columns[place].ascending;
    state.by = place;
    state.page = 0;
    show(true);
    descry.say(
      `Sorted by ${columns[place].title}, ${state.descending ? "highest" : "lowest"} first`,
    );
  }

  function turn(by) {
    state.page += by;
    show(true);
    frame.scrollIntoView({ block: "nearest" });
  }

  function ordered() {
    if (state.by === null) return rows;
    const { of } = columns[state.by];
    const sign = state.descending ? -1 : 1;
    const keyed = rows.map((row) => [of(row), row]);
    const missing = ([value]) => value === null || value === undefined || Number.isNaN(value);
    keyed.sort((a, b) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b); // last either way
      if (typeof a[0] === "string") return sign * a[0].localeCompare(b[0]);
      return sign * (a[0] - b[0]);
    });
    return keyed.map(([, row]) => row);
  }

  function show(changed) {
    sorted = ordered();
    const pages = Math.max(1, Math.ceil(sorted.length / size));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const first = state.page * size;
    const part = sorted.slice(first, first + size);
    body.replaceChildren(...part.map(line));
    if (!part.length)
      body.append(h("tr", {}, h("td", { colspan: columns.length, class: "quiet" }, empty)));
    descry.stacked(frame.querySelector("table"));
    heads.forEach((head, place) => {
      const order = state.descending ? "descending" : "ascending";
      if (columns[place].of) head.setAttribute("aria-sort", state.by === place ? order : "none");
    });
    pager.hidden = pages === 1;
    counted.textContent = `${descry.count(first + 1)} to ${descry.count(first + part.length)} of ${descry.count(sorted.length)}`;
    back.disabled = state.page === 0;
    on.disabled = state.page === pages - 1;
    if (changed) options.changed?.({ ...state });
  }

  function line(row) {
    return h(
      "tr",
      {},
      columns.map((column, place) => {
        const kind = [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ");
        return h(
          place || !column.head ? "td" : "th",
          { class: kind || null, scope: place || !column.head ? null : "row" },
          column.show(row),
        );
      }),
    );
  }

  whole.fill = (others, page = 0) => {
    rows = others;
    state.page = page;
    show(false);
  };
  show(false);
  return whole;
};
