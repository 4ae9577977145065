"use strict";
/* The paper's figures: those that are no curves, and all together. */
(() => {
  const { colours } = descry;
  const METRICS = {
    f1: "F1",
    iou: "IoU",
    auroc: "AUROC",
    average_precision: "average precision",
    pearson: "Pearson",
    cosine: "cosine",
  };

  /** Figure 8: correlation of the descriptors. */
  function correlation({ correlation: { order, matrix }, descriptors }) {
    const names = order.map((column) => descriptors[column].name);
    const short = (name) => (name.length > 22 ? `${name.slice(0, 21)}…` : name);
    const cells = names.flatMap((first, i) =>
      names.map((second, j) => ({ first, second, r: matrix[i][j] })),
    );
    const off = cells.filter((cell) => cell.first !== cell.second && cell.r !== null);
    const bound = off.length
      ? Math.ceil(10 * Math.max(...off.map((cell) => Math.abs(cell.r)))) / 10
      : 1;
    const tall = 200 + 17 * names.length;
    const draw = (width) =>
      !off.length
        ? null
        : descry.plot({
            width: Math.min(width, tall + 30),
            height: Math.min(tall, width),
            marginLeft: 170,
            marginBottom: 150,
            padding: 0.04,
            x: { domain: names, label: null, tickRotate: -60, tickSize: 0, tickFormat: short },
            y: { domain: names, label: null, tickSize: 0, tickFormat: short },
            color: {
              type: "diverging",
              scheme: "RdBu",
              domain: [-bound, bound],
              reverse: true,
              clamp: true,
            },
            marks: [
              Plot.cell(
                cells.filter((cell) => cell.r !== null),
                { x: "first", y: "second", fill: "r" },
              ),
              Plot.tip(
                cells,
                Plot.pointer({
                  x: "first",
                  y: "second",
                  title: (cell) => `${cell.first}\n${cell.second}\nr = ${descry.number(cell.r, 2)}`,
                  fill: "var(--panel)",
                }),
              ),
            ],
          });
    return descry.figure(
      "correlation",
      "Correlation of the descriptors",
      [
        "Figure 8. Pearson correlation over all sentences, those alike beside each other; red: together more often than by chance, blue: less often. ",
        descry.legend("Pearson", d3.range(1, -0.01, -0.1).map(d3.interpolateRdBu), (-bound).toFixed(1), bound.toFixed(1)),
      ],
      {
        height: tall,
        draw,
        numbers: () => ({
          columns: ["first", "second", "Pearson"],
          rows: off
            .filter((cell) => cell.first < cell.second)
            .sort((a, b) => b.r - a.r)
            .map((cell) => [cell.first, cell.second, cell.r]),
        }),
      },
    );
  }

  /** Figure 9: share of the sentences with each descriptor. */
  function shares({ descriptors }) {
    const rows = descriptors
      .filter((one) => one.shares.all !== null)
      .sort((a, b) => b.shares.all - a.shares.all)
      .slice(0, 100);
    const height = 60 + 17 * rows.length;
    const names = rows.map((row) => row.name);
    const dot = (half, symbol, colour) =>
      Plot.dot(rows, {
        x: (row) => row.shares[half],
        y: "name",
        symbol,
        stroke: colour,
        strokeWidth: 1.8,
        r: 4,
      });
    const draw = (width) =>
      !rows.length
        ? null
        : descry.plot({
            width,
            height,
            marginLeft: 175,
            marginTop: 24,
            x: { label: "share of sentences", grid: true, zero: true, tickFormat: "~%" },
            y: {
              domain: names,
              label: null,
              tickSize: 0,
              tickFormat: (name) => (name.length > 24 ? `${name.slice(0, 23)}…` : name),
            },
            marks: [
              Plot.ruleY(rows, {
                y: "name",
                x1: (row) => row.shares.calibration,
                x2: (row) => row.shares.validation,
                stroke: "currentColor",
                strokeOpacity: 0.4,
              }),
              dot("calibration", "circle", colours.blue),
              dot("validation", "square", colours.orange),
              Plot.tip(
                rows,
                Plot.pointerY({
                  x: (row) => row.shares.all,
                  y: "name",
                  title: (row) =>
                    `${row.name}: ${(100 * row.shares.all).toFixed(1)}%\ncalibration ${(100 * row.shares.calibration).toFixed(1)}%, validation ${(100 * row.shares.validation).toFixed(1)}%`,
                  fill: "var(--panel)",
                }),
              ),
            ],
          });
    return descry.figure(
      "descriptor-shares",
      "Share of the sentences with each descriptor",
      "Figure 9. Circles: the calibration half; squares: the validation half.",
      {
        height,
        draw,
        numbers: () => ({
          columns: ["descriptor", "all", "calibration", "validation"],
          rows: rows.map((row) => [
            row.name,
            row.shares.all,
            row.shares.calibration,
            row.shares.validation,
          ]),
        }),
      },
    );
  }

  /** Labels over all sentences of the half that did not choose them. */
  function alignment({ alignment: every }) {
    const rows = every
      .filter((row) => row.end === "highest" && METRICS[row.score] && row.value !== null)
      .map((row) => ({ ...row, name: METRICS[row.score] }));
    const height = 260;
    const offset = (row) => (row.chosen === "calibration" ? -5 : 5);
    const of = (chosen) => rows.filter((row) => row.chosen === chosen);
    const draw = (width) =>
      !rows.length
        ? null
        : descry.plot({
            width,
            height,
            marginLeft: 120,
            x: { label: "mean over labels, on the other half", grid: true },
            y: { domain: Object.values(METRICS), label: null, tickSize: 0 },
            marks: [
              Plot.ruleX([0], { stroke: "currentColor", strokeOpacity: 0.4 }),
              [
                ["calibration", colours.blue, "circle"],
                ["validation", colours.orange, "square"],
              ].map(([chosen, colour, symbol]) => [
                Plot.ruleY(of(chosen), {
                  y: "name",
                  x1: "low",
                  x2: "high",
                  stroke: colour,
                  dy: offset({ chosen }),
                }),
                Plot.dot(of(chosen), {
                  y: "name",
                  x: "value",
                  symbol,
                  fill: colour,
                  r: 4,
                  dy: offset({ chosen }),
                }),
                Plot.dot(of(chosen), {
                  y: "name",
                  x: "null",
                  symbol,
                  stroke: colour,
                  r: 4,
                  dy: offset({ chosen }),
                }),
              ]),
              Plot.tip(
                rows,
                Plot.pointer({
                  x: "value",
                  y: "name",
                  title: (row) =>
                    `${row.name}, labels of the ${row.chosen} half: ${descry.number(row.value)}\n95%: ${descry.number(row.low)} to ${descry.number(row.high)}\nnull: ${descry.number(row.null)}\n${descry.count(row.defined)} labels`,
                  fill: "var(--panel)",
                }),
              ),
            ],
          });
    return descry.figure(
      "alignment",
      "Labels over all sentences",
      "How well a label predicts its neuron on all sentences of the half that did not choose it. Circles: labels of the calibration half; squares: of the validation half. Hollow: another label in its place.",
      {
        height,
        draw,
        numbers: () => ({
          columns: ["labels of", "score", "value", "95% low", "95% high", "null", "labels"],
          rows: rows.map((row) => [
            row.chosen,
            row.name,
            row.value,
            row.low,
            row.high,
            row.null,
            row.defined,
          ]),
        }),
      },
    );
  }

  /** All figures of a run. */
  descry.figures = (run) => [...descry.curves(run), alignment(run), shares(run), correlation(run)];
})();
