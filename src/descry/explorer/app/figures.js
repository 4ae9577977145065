"use strict";
/* The paper's figures 5 to 9 and one more, out of the rows of curves.csv, nulls.csv and so on. */
(() => {
  const { colours } = descry;
  const NULLS = {
    "shuffled neurons": [colours.orange, "5 2"],
    "permuted descriptors": [colours.green, "1.5 2"],
    "random sets": [colours.purple, "4 1.5 1 1.5"],
    "random weights": [colours.grey, "8 2"],
  };
  const METRICS = { f1: "F1", iou: "IoU", auroc: "AUROC", average_precision: "average precision", pearson: "Pearson", cosine: "cosine" };

  const defined = (row) => row.value !== null;
  const of = (rows, against, score) => rows.filter((row) => row.against === against && row.score === score).sort((a, b) => a.at - b.at);
  const truths = (curves) => ["gold", "judge", "halves"].filter((name) => curves.some((row) => row.against === name));
  const AGAINST = { gold: "gold labels", judge: "the judge", halves: "the other half" };

  /** The axis of the cut: t, or false discovery rates on a log scale. */
  function cut(rule) {
    const rates = rule.name === "enrichment";
    return { type: rates ? "log" : "linear", label: rates ? "false discovery rate" : "threshold t", tickFormat: rates ? "~g" : undefined, grid: false };
  }
  const inForce = (rule) => (rule.name === "enrichment" ? rule.fdr : rule.threshold);

  /** Names at the ends of lines, pushed apart where they would cover each other. */
  function ends(series, height, scale) {
    const placed = series.filter(({ row }) => row).map((one) => ({ ...one, y: one.row.value }));
    placed.sort((a, b) => b.y - a.y);
    const least = (scale * 15) / height;
    for (let k = 1; k < placed.length; k++) placed[k].y = Math.min(placed[k].y, placed[k - 1].y - least);
    const low = placed.length ? Math.min(...placed.map((one) => one.y)) : 0;
    if (low < 0) for (const one of placed) one.y -= low;
    const right = Math.max(...placed.map((one) => one.row.at));
    return Plot.text(placed, { x: () => right, y: "y", text: "name", fill: "colour", dx: 8, textAnchor: "start", fontWeight: 600 });
  }

  function tips(rows, words) {
    return Plot.tip(rows, Plot.pointer({ x: "at", y: "value", title: words, fill: "var(--panel)" }));
  }

  const told = (row) => `${row.score.replaceAll("_", " ")} at ${row.at}: ${descry.number(row.value)}\n95%: ${descry.number(row.low)} to ${descry.number(row.high)}\nnull: ${descry.number(row.null)}\nover ${descry.count(row.defined)}`;

  function sides(curves, against, names, x, height, width, rule) {
    const rows = names.flatMap((name) => of(curves, against, name)).filter(defined);
    if (!rows.length) return null;
    const colour = (row) => (row.score.startsWith("precision") ? colours.blue : colours.orange);
    const last = names.map((name, k) => ({ name: k ? "recall" : "precision", colour: k ? colours.orange : colours.blue, row: rows.findLast((row) => row.score === name) }));
    return descry.plot({
      width, height, marginRight: 74, x, y: { domain: [0, 1], label: null, grid: true },
      marks: [
        rule ? Plot.ruleX([inForce(rule)], { stroke: "currentColor", strokeOpacity: 0.4, strokeDasharray: "1 3" }) : null,
        rule
          ? Plot.areaY(rows, { x: "at", y1: "low", y2: "high", fill: colour, fillOpacity: 0.2, z: "score" })
          : Plot.ruleX(rows, { x: "at", y1: "low", y2: "high", stroke: colour }),
        Plot.line(rows, { x: "at", y: "null", stroke: colour, strokeDasharray: "4 3", z: "score", strokeWidth: 1.2 }),
        Plot.line(rows, { x: "at", y: "value", stroke: colour, z: "score", strokeWidth: 2 }),
        Plot.dot(rows, { x: "at", y: "value", fill: colour, r: 3 }),
        ends(last, height, 1),
        tips(rows, told),
      ],
    });
  }

  const numbers = (rows) => () => ({
    columns: ["against", "score", "at", "value", "95% low", "95% high", "null", "corrected", "over"],
    rows: rows.map((row) => [row.against, row.score, row.at, row.value, row.low, row.high, row.null, row.corrected, row.defined]),
  });

  /** Figure 5: precision and recall against the cut, and at K. */
  function precisionRecall({ curves, rule }) {
    return truths(curves).filter((name, k) => name !== "halves" || k === 0).flatMap((against) => {
      const height = 260;
      const scores = ["precision", "recall"];
      const atK = ["precision_at_k", "recall_at_k"];
      const words = `held against ${AGAINST[against]}. Bands and bars: 95% intervals. Dashed: the highest of the nulls.`;
      return [
        descry.figure(`precision-recall-${against}`, "Precision and recall", [`Figure 5. Labels `, words, " Dotted: the cut of the labels."], {
          height, draw: (width) => sides(curves, against, scores, cut(rule), height, width, rule), numbers: numbers(scores.flatMap((score) => of(curves, against, score))),
        }),
        descry.figure(`at-k-${against}`, "P@K and R@K", ["Beside figure 5. The K most frequent descriptors of each neuron, ", words], {
          height, draw: (width) => sides(curves, against, atK, { label: "K", ticks: [...new Set(of(curves, against, atK[0]).map((row) => row.at))], tickFormat: "d", inset: 12 }, height, width, null),
          numbers: numbers(atK.flatMap((score) => of(curves, against, score))),
        }),
      ];
    });
  }

  /** Figures 6 and 7: similarity of the labels of the two halves. */
  function jaccard({ curves, nulls, rule }, score, number, per) {
    const rows = of(curves, "halves", score).filter(defined);
    const chance = Object.keys(NULLS).map((name) => [name, of(nulls.filter((row) => row.null === name), "halves", score).filter((row) => row.mean !== null)]);
    const height = 280;
    const draw = (width) => {
      if (!rows.length) return null;
      const all = chance.flatMap(([, own]) => own);
      const top = Math.min(1, 1.08 * Math.max(...rows.map((row) => row.high ?? row.value), ...all.map((row) => row.high ?? row.mean)));
      const lines = chance.filter(([, own]) => own.length);
      const last = [{ name: "halves", colour: colours.blue, row: rows.at(-1) }, ...lines.map(([name, own]) => ({ name, colour: NULLS[name][0], row: { ...own.at(-1), value: own.at(-1).mean } }))];
      return descry.plot({
        width, height, marginRight: 162, x: cut(rule), y: { domain: [0, top], label: null, grid: true },
        marks: [
          Plot.ruleX([inForce(rule)], { stroke: "currentColor", strokeOpacity: 0.4, strokeDasharray: "1 3" }),
          lines.map(([name, own]) => Plot.areaY(own, { x: "at", y1: "low", y2: "high", fill: NULLS[name][0], fillOpacity: 0.2 })),
          lines.map(([name, own]) => Plot.line(own, { x: "at", y: "mean", stroke: NULLS[name][0], strokeDasharray: NULLS[name][1], strokeWidth: 1.5 })),
          Plot.areaY(rows, { x: "at", y1: "low", y2: "high", fill: colours.blue, fillOpacity: 0.25 }),
          Plot.line(rows, { x: "at", y: "value", stroke: colours.blue, strokeWidth: 2 }),
          Plot.dot(rows, { x: "at", y: "value", fill: colours.blue, r: 3 }),
          ends(last, height, top),
          tips(rows, told),
        ],
      });
    };
    return descry.figure(score.replaceAll("_", "-"), `Similarity of the halves, per ${per}`,
      `Figure ${number}. Jaccard similarity of the labels that each half of the sentences gives alone, with its 95% interval, beside each null with the central 95% of its draws. Dotted: the cut of the labels.`,
      { height, draw, numbers: numbers(rows) });
  }

  /** Figure 8: correlation of the descriptors. */
  function correlation({ correlation: { order, matrix }, descriptors }) {
    const names = order.map((column) => descriptors[column].name);
    const short = (name) => (name.length > 22 ? `${name.slice(0, 21)}…` : name);
    const cells = names.flatMap((first, i) => names.map((second, j) => ({ first, second, r: matrix[i][j] })));
    const off = cells.filter((cell) => cell.first !== cell.second && cell.r !== null);
    const bound = off.length ? Math.ceil(10 * Math.max(...off.map((cell) => Math.abs(cell.r)))) / 10 : 1;
    const tall = 200 + 17 * names.length;
    const draw = (width) => !off.length ? null : descry.plot({
      width: Math.min(width, tall + 30), height: Math.min(tall, width), marginLeft: 170, marginBottom: 150, padding: 0.04,
      x: { domain: names, label: null, tickRotate: -60, tickSize: 0, tickFormat: short }, y: { domain: names, label: null, tickSize: 0, tickFormat: short },
      color: { type: "diverging", scheme: "RdBu", domain: [-bound, bound], reverse: true, clamp: true },
      marks: [
        Plot.cell(cells.filter((cell) => cell.r !== null), { x: "first", y: "second", fill: "r" }),
        Plot.tip(cells, Plot.pointer({ x: "first", y: "second", title: (cell) => `${cell.first}\n${cell.second}\nr = ${descry.number(cell.r, 2)}`, fill: "var(--panel)" })),
      ],
    });
    return descry.figure("correlation", "Correlation of the descriptors",
      `Figure 8. Pearson correlation over all sentences, those alike beside each other; red: together more often than by chance, blue: less often; full colour at ±${bound.toFixed(1)}.`,
      { height: tall, draw, numbers: () => ({ columns: ["first", "second", "Pearson"], rows: off.filter((cell) => cell.first < cell.second).sort((a, b) => b.r - a.r).map((cell) => [cell.first, cell.second, cell.r]) }) });
  }

  /** Figure 9: share of the sentences with each descriptor. */
  function shares({ descriptors }) {
    const rows = descriptors.filter((one) => one.shares.all !== null).sort((a, b) => b.shares.all - a.shares.all).slice(0, 100);
    const height = 60 + 17 * rows.length;
    const names = rows.map((row) => row.name);
    const dot = (half, symbol, colour) => Plot.dot(rows, { x: (row) => row.shares[half], y: "name", symbol, stroke: colour, strokeWidth: 1.8, r: 4 });
    const draw = (width) => !rows.length ? null : descry.plot({
      width, height, marginLeft: 175, marginTop: 24, x: { label: "share of sentences", grid: true, zero: true, tickFormat: "~%" }, y: { domain: names, label: null, tickSize: 0, tickFormat: (name) => (name.length > 24 ? `${name.slice(0, 23)}…` : name) },
      marks: [
        Plot.ruleY(rows, { y: "name", x1: (row) => row.shares.calibration, x2: (row) => row.shares.validation, stroke: "currentColor", strokeOpacity: 0.4 }),
        dot("calibration", "circle", colours.blue), dot("validation", "square", colours.orange),
        Plot.tip(rows, Plot.pointerY({ x: (row) => row.shares.all, y: "name", title: (row) => `${row.name}: ${(100 * row.shares.all).toFixed(1)}%\ncalibration ${(100 * row.shares.calibration).toFixed(1)}%, validation ${(100 * row.shares.validation).toFixed(1)}%`, fill: "var(--panel)" })),
      ],
    });
    return descry.figure("descriptor-shares", "Share of the sentences with each descriptor", "Figure 9. Circles: the calibration half; squares: the validation half.",
      { height, draw, numbers: () => ({ columns: ["descriptor", "all", "calibration", "validation"], rows: rows.map((row) => [row.name, row.shares.all, row.shares.calibration, row.shares.validation]) }) });
  }

  /** Labels over all sentences of the half that did not choose them. */
  function alignment({ alignment: every }) {
    const rows = every.filter((row) => row.end === "highest" && METRICS[row.score] && row.value !== null).map((row) => ({ ...row, name: METRICS[row.score] }));
    const height = 260;
    const offset = (row) => (row.chosen === "calibration" ? -5 : 5);
    const of = (chosen) => rows.filter((row) => row.chosen === chosen);
    const draw = (width) => !rows.length ? null : descry.plot({
      width, height, marginLeft: 120, x: { label: "mean over labels, on the other half", grid: true }, y: { domain: Object.values(METRICS), label: null, tickSize: 0 },
      marks: [
        Plot.ruleX([0], { stroke: "currentColor", strokeOpacity: 0.4 }),
        [["calibration", colours.blue, "circle"], ["validation", colours.orange, "square"]].map(([chosen, colour, symbol]) => [
          Plot.ruleY(of(chosen), { y: "name", x1: "low", x2: "high", stroke: colour, dy: offset({ chosen }) }),
          Plot.dot(of(chosen), { y: "name", x: "value", symbol, fill: colour, r: 4, dy: offset({ chosen }) }),
          Plot.dot(of(chosen), { y: "name", x: "null", symbol, stroke: colour, r: 4, dy: offset({ chosen }) }),
        ]),
        Plot.tip(rows, Plot.pointer({ x: "value", y: "name", title: (row) => `${row.name}, labels of the ${row.chosen} half: ${descry.number(row.value)}\n95%: ${descry.number(row.low)} to ${descry.number(row.high)}\nnull: ${descry.number(row.null)}\n${descry.count(row.defined)} labels`, fill: "var(--panel)" })),
      ],
    });
    return descry.figure("alignment", "Labels over all sentences", "How well a label predicts its neuron on all sentences of the half that did not choose it. Circles: labels of the calibration half; squares: of the validation half. Hollow: another label in its place.",
      { height, draw, numbers: () => ({ columns: ["labels of", "score", "value", "95% low", "95% high", "null", "labels"], rows: rows.map((row) => [row.chosen, row.name, row.value, row.low, row.high, row.null, row.defined]) }) });
  }

  /** All figures of a run. */
  descry.figures = (run) => [
    ...precisionRecall(run),
    jaccard(run, "jaccard", 6, "neuron"),
    jaccard(run, "jaccard_by_descriptor", 7, "descriptor"),
    alignment(run),
    shares(run),
    correlation(run),
  ];

  /** A neuron's activations over all sentences, with where its exemplars begin. */
  descry.histogram = ({ distribution, least }) => {
    const { low, step, counts } = distribution;
    const bars = counts.map((count, k) => ({ count, from: low + (k - 1) * step, to: low + k * step })).filter((bar) => bar.count);
    const draw = (width) => !bars.length || !step ? null : descry.plot({
      width, height: 150, marginLeft: 52, x: { label: "activation" }, y: { label: "sentences", type: "sqrt", grid: true, ticks: 4 },
      marks: [
        Plot.rectY(bars, { x1: "from", x2: "to", y: "count", fill: (bar) => (bar.to > least ? colours.orange : colours.blue), insetLeft: 0.5, insetRight: 0.5 }),
        Plot.ruleY([0]),
        Plot.tip(bars, Plot.pointerX({ x: (bar) => (bar.from + bar.to) / 2, y: "count", title: (bar) => `${bar.from.toPrecision(3)} to ${bar.to.toPrecision(3)}: ${descry.some(bar.count, "sentence")}`, fill: "var(--panel)" })),
      ],
    });
    return descry.figure("distribution", "Activations of all sentences", "Orange: where the exemplars are. Heights on a root scale.",
      { height: 150, draw, numbers: () => ({ columns: ["from", "to", "sentences"], rows: bars.map((bar) => [bar.from, bar.to, bar.count]) }) });
  };

  /** In how many neurons of each layer a descriptor is a label, beside what an even spread would give. */
  descry.byLayer = (labelled, expected) => {
    const { layers } = descry.run.target;
    const rows = layers.map((layer, row) => ({ layer, labelled: labelled[row], expected: expected[row] }));
    const draw = (width) => descry.plot({
      width, height: 190, x: { label: "layer", tickSize: 0 }, y: { label: "neurons", grid: true },
      marks: [
        Plot.barY(rows, { x: "layer", y: "labelled", fill: colours.blue }),
        Plot.tickY(rows, { x: "layer", y: "expected", stroke: "currentColor", strokeWidth: 2, strokeDasharray: "3 2" }),
        Plot.tip(rows, Plot.pointerX({ x: "layer", y: "labelled", title: (row) => `layer ${row.layer}: ${descry.some(row.labelled, "neuron")}\nspread evenly: ${descry.number(row.expected, 1)}`, fill: "var(--panel)" })),
        Plot.ruleY([0]),
      ],
    });
    return descry.figure("by-layer", "Neurons with this label, by layer", "Dashed: if the labels were spread evenly over the layers.",
      { height: 190, draw, numbers: () => ({ columns: ["layer", "neurons", "spread evenly"], rows: rows.map((row) => [row.layer, row.labelled, row.expected]) }) });
  };
})();
