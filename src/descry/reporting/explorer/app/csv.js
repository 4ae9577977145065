"use strict";
/* A table as a CSV file. No spreadsheet may take a cell for a formula: texts are strangers'. */
(() => {
  // As src/descry/io/spreadsheets.py has it.
  const FORMULA = /^(?:[\s\x00-\x1f\ufeff]*[=+\-@＝＋－＠]|[\t\r\n]|')/;
  const NEXT_CELL = /([;\t\r\n])(?=[\s\x00-\x1f\ufeff]*[=+\-@＝＋－＠])/g;
  const NUMBER = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/;

  /** A cell that every spreadsheet takes for what it is: a number, or text. */
  function guarded(text) {
    const safe = NUMBER.test(text) ? text : (FORMULA.test(text) ? `'${text}` : text).replace(NEXT_CELL, "$1'");
    return /[",;'\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  /** What one reads in a cell: without words for those who cannot see it, numbers bare. */
  function said(cell) {
    const copy = cell.cloneNode(true);
    for (const part of copy.querySelectorAll(".unseen")) part.remove();
    const parts = [...copy.childNodes].map((part) => part.textContent.trim()).filter(Boolean);
    const text = parts.join(copy.querySelector(".chip") ? "; " : " ").replace(/\s+/g, " ");
    if (text === "–") return "";
    return /^-?[\d.,]+×?$/.test(text) ? text.replace("×", "").replaceAll(",", "") : text;
  }

  /** The titles of the columns; of two lines of titles both. */
  descry.titles = (table) => {
    const lines = [...table.querySelectorAll("thead tr")].map((line) =>
      [...line.children].flatMap((cell) => Array(cell.colSpan).fill(said(cell))),
    );
    const last = lines.at(-1) ?? [];
    return last.map((_, place) => lines.map((line) => line[place]).filter(Boolean).join(": "));
  };

  descry.csv = (table, lines) =>
    [descry.titles(table), ...lines.map((line) => [...line.children].map(said))]
      .map((cells) => `${cells.map(guarded).join(",")}\r\n`)
      .join("");

  /** Hand out a text as a file. */
  descry.save = (name, type, text) => {
    const link = descry.h("a", {
      download: name,
      href: URL.createObjectURL(new Blob([text], { type })),
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  /** Tell each cell its column's title, for narrow screens, where rows stand as cards. */
  descry.stacked = (table) => {
    // A table that is laid out as blocks is no table to a screen reader, unless it says so.
    const titles = descry.titles(table);
    table.setAttribute("role", "table");
    for (const part of table.querySelectorAll("thead, tbody")) part.setAttribute("role", "rowgroup");
    for (const line of table.rows) {
      line.setAttribute("role", "row");
      const head = line.parentNode.tagName === "THEAD";
      for (const [place, cell] of [...line.children].entries()) {
        const kind = cell.tagName === "TD" ? "cell" : head ? "columnheader" : "rowheader";
        cell.setAttribute("role", kind);
        if (kind === "cell" && !head && cell.colSpan === 1) cell.dataset.title = (titles[place] ?? "").replace(/^all \w+: /, "");
      }
    }
  };
})();
