"use strict";
/* Figures 5 to 7: curves against the cut of the labels, out of the rows of curves.csv and nulls.csv. */
(() => {
  const { colours } = descry;
  const NULLS = {
    "shuffled neurons": [colours.orange, "5 2"],
    "permuted descriptors": [colours.green, "1.5 2"],
    "random sets": [colours.purple, "4 1.5 1 1.5"],
    "random weights": [colours.grey, "8 2"],
  };

  const defined = (row) => row.value !== null;
  const of = (rows, against, score) =>
    rows
      .filter((row) => row.against === against && row.score === score)
      .sort((a, b) => a.at - b.at);
  const truths = (curves) =>
    ["gold", "judge", "halves"].filter((name) => curves.some((row) => row.against === name));
  const AGAINST = { gold: "gold labels", judge: "the judge", halves: "the other half" };

  /** The axis of the cut: t, or false discovery rates on a log scale. */
  function cut(rule) {
    const rates = rule.name === "enrichment";
    return {
      type: rates ? "log" : "linear",
      label: rates ? "false discovery rate" : "threshold t",
      tickFormat: rates ? "~g" : undefined,
      grid: false,
    };
  }
  const inForce = (rule) => (rule.name === "enrichment" ? rule.fdr : rule.threshold);

  /** Names at the ends of lines, pushed apart where they would cover each other. */
  function ends(series, height, scale) {
    const placed = series.filter(({ row }) => row).map((one) => ({ ...one, y: one.row.value }));
    placed.sort((a, b) => b.y - a.y);
    const least = (scale * 15) / height;
    for (let k = 1; k < placed.length; k++)
      placed[k].y = Math.min(placed[k].y, placed[k - 1].y - least);
    const low = placed.length ? Math.min(...placed.map((one) => one.y)) : 0;
    if (low < 0) for (const one of placed) one.y -= low;
    const right = Math.max(...placed.map((one) => one.row.at));
    return Plot.text(placed, {
      x: () => right,
      y: "y",
      text: "name",
      fill: "colour",
      dx: 8,
      textAnchor: "start",
      fontWeight: 600,
    });
  }

  function tips(rows, words) {
    return Plot.tip(
      rows,
      Plot.pointer({ x: "at", y: "value", title: words, fill: "var(--panel)" }),
    );
  }

  const told = (row) =>
    `${row.score.replaceAll("_", " ")} at ${row.at}: ${descry.number(row.value)}\n95%: ${descry.number(row.low)} to ${descry.number(row.high)}\nnull: ${descry.number(row.null)}\nover ${descry.count(row.defined)}`;

  function sides(curves, against, names, x, height, width, rule) {
    const rows = names.flatMap((name) => of(curves, against, name)).filter(defined);
    if (!rows.length) return null;
    const colour = (row) => (row.score.startsWith("precision") ? colours.blue : colours.orange);
    const last = names.map((name, k) => ({
      name: k ? "recall" : "precision",
      colour: k ? colours.orange : colours.blue,
      row: rows.findLast((row) => row.score === name),
    }));
    return descry.plot({
      width,
      height,
      marginRight: 74,
      x,
      y: { domain: [0, 1], label: null, grid: true },
      marks: [
        rule
          ? Plot.ruleX([inForce(rule)], {
              stroke: "currentColor",
              strokeOpacity: 0.4,
              strokeDasharray: "1 3",
            })
          : null,
        rule
          ? Plot.areaY(rows, {
              x: "at",
              y1: "low",
              y2: "high",
              fill: colour,
              fillOpacity: 0.2,
              z: "score",
            })
          : Plot.ruleX(rows, { x: "at", y1: "low", y2: "high", stroke: colour }),
        Plot.line(rows, {
          x: "at",
          y: "null",
          stroke: colour,
          strokeDasharray: "4 3",
          z: "score",
          strokeWidth: 1.2,
        }),
        Plot.line(rows, { x: "at", y: "value", stroke: colour, z: "score", strokeWidth: 2 }),
        Plot.dot(rows, { x: "at", y: "value", fill: colour, r: 3 }),
        ends(last, height, 1),
        tips(rows, told),
      ],
    });
  }

  const numbers = (rows) => () => ({
    columns: [
      "against",
      "score",
      "at",
      "value",
      "95% low",
      "95% high",
      "null",
      "corrected",
      "over",
    ],
    rows: rows.map((row) => [
      row.against,
      row.score,
      row.at,
      row.value,
      row.low,
      row.high,
      row.null,
      row.corrected,
      row.defined,
    ]),
  });

  /** Figure 5: precision and recall against the cut, and at K. */
  function precisionRecall({ curves, rule }) {
    return truths(curves)
      .filter((name, k) => name !== "halves" || k === 0)
      .flatMap((against) => {
        const height = 260;
        const scores = ["precision", "recall"];
        const atK = ["precision_at_k", "recall_at_k"];
        const words = `held against ${AGAINST[against]}. Bands and bars: 95% intervals. Dashed: the highest of the nulls.`;
        return [
          descry.figure(
            `precision-recall-${against}`,
            "Precision and recall",
            [`Figure 5. Labels `, words, " Dotted: the cut of the labels."],
            {
              height,
              draw: (width) => sides(curves, against, scores, cut(rule), height, width, rule),
              numbers: numbers(scores.flatMap((score) => of(curves, against, score))),
            },
          ),
          descry.figure(
            `at-k-${against}`,
            "P@K and R@K",
            ["Beside figure 5. The K most frequent descriptors of each neuron, ", words],
            {
              height,
              draw: (width) =>
                sides(
                  curves,
                  against,
                  atK,
                  {
                    label: "K",
                    ticks: [...new Set(of(curves, against, atK[0]).map((row) => row.at))],
                    tickFormat: "d",
                    inset: 12,
                  },
                  height,
                  width,
                  null,
                ),
              numbers: numbers(atK.flatMap((score) => of(curves, against, score))),
            },
          ),
        ];
      });
  }

  /** Figures 6 and 7: similarity of the labels of the two halves. */
  function jaccard({ curves, nulls, rule }, score, number, per) {
    const rows = of(curves, "halves", score).filter(defined);
    const chance = Object.keys(NULLS).map((name) => [
      name,
      of(
        nulls.filter((row) => row.null === name),
        "halves",
        score,
      ).filter((row) => row.mean !== null),
    ]);
    const height = 280;
    const draw = (width) => {
      if (!rows.length) return null;
      const all = chance.flatMap(([, own]) => own);
      const top = Math.min(
        1,
        1.08 *
          Math.max(
            ...rows.map((row) => row.high ?? row.value),
            ...all.map((row) => row.high ?? row.mean),
          ),
      );
      const lines = chance.filter(([, own]) => own.length);
      const last = [
        { name: "halves", colour: colours.blue, row: rows.at(-1) },
        ...lines.map(([name, own]) => ({
          name,
          colour: NULLS[name][0],
          row: { ...own.at(-1), value: own.at(-1).mean },
        })),
      ];
      return descry.plot({
        width,
        height,
        marginRight: 162,
        x: cut(rule),
        y: { domain: [0, top], label: null, grid: true },
        marks: [
          Plot.ruleX([inForce(rule)], {
            stroke: "currentColor",
            strokeOpacity: 0.4,
            strokeDasharray: "1 3",
          }),
          lines.map(([name, own]) =>
            Plot.areaY(own, {
              x: "at",
              y1: "low",
              y2: "high",
              fill: NULLS[name][0],
              fillOpacity: 0.2,
            }),
          ),
          lines.map(([name, own]) =>
            Plot.line(own, {
              x: "at",
              y: "mean",
              stroke: NULLS[name][0],
              strokeDasharray: NULLS[name][1],
              strokeWidth: 1.5,
            }),
          ),
          Plot.areaY(rows, {
            x: "at",
            y1: "low",
            y2: "high",
            fill: colours.blue,
            fillOpacity: 0.25,
          }),
          Plot.line(rows, { x: "at", y: "value", stroke: colours.blue, strokeWidth: 2 }),
          Plot.dot(rows, { x: "at", y: "value", fill: colours.blue, r: 3 }),
          ends(last, height, top),
          tips(rows, told),
        ],
      });
    };
    return descry.figure(
      score.replaceAll("_", "-"),
      `Similarity of the halves, per ${per}`,
      `Figure ${number}. Jaccard similarity of the labels that each half of the sentences gives alone, with its 95% interval, beside each null with the central 95% of its draws. Dotted: the cut of the labels.`,
      { height, draw, numbers: numbers(rows) },
    );
  }

  /** Figures 5 to 7. */
  descry.curves = (run) => [
    ...precisionRecall(run),
    jaccard(run, "jaccard", 6, "neuron"),
    jaccard(run, "jaccard_by_descriptor", 7, "descriptor"),
  ];
})();
