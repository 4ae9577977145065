"use strict";
/* Bars: a neuron's activations, a descriptor's layers. */
(() => {
  const { colours } = descry;

  /** A neuron's activations over all sentences, with where its exemplars begin. */
  descry.histogram = ({ distribution, least }) => {
    const { low, step, counts } = distribution;
    const bars = counts
      .map((count, k) => ({ count, from: low + (k - 1) * step, to: low + k * step }))
      .filter((bar) => bar.count);
    const draw = (width) =>
      !bars.length || !step
        ? null
        : descry.plot({
            width,
            height: 150,
            marginLeft: 52,
            x: { label: "activation" },
            y: { label: "sentences", type: "sqrt", grid: true, ticks: 4 },
            marks: [
              Plot.rectY(bars, {
                x1: "from",
                x2: "to",
                y: "count",
                fill: (bar) => (bar.to > least ? colours.orange : colours.blue),
                insetLeft: 0.5,
                insetRight: 0.5,
              }),
              Plot.ruleY([0]),
              Plot.tip(
                bars,
                Plot.pointerX({
                  x: (bar) => (bar.from + bar.to) / 2,
                  y: "count",
                  title: (bar) =>
                    `${bar.from.toPrecision(3)} to ${bar.to.toPrecision(3)}: ${descry.some(bar.count, "sentence")}`,
                  fill: "var(--panel)",
                }),
              ),
            ],
          });
    return descry.figure(
      "distribution",
      "Activations of all sentences",
      "Orange: where the exemplars are. Heights on a root scale.",
      {
        height: 150,
        draw,
        numbers: () => ({
          columns: ["from", "to", "sentences"],
          rows: bars.map((bar) => [bar.from, bar.to, bar.count]),
        }),
      },
    );
  };

  /** In how many neurons of each layer a descriptor is a label, beside what an even spread would give. */
  descry.byLayer = (labelled, expected) => {
    const { layers } = descry.run.target;
    const rows = layers.map((layer, row) => ({
      layer,
      labelled: labelled[row],
      expected: expected[row],
    }));
    const draw = (width) =>
      descry.plot({
        width,
        height: 190,
        x: { label: "layer", tickSize: 0 },
        y: { label: "neurons", grid: true },
        marks: [
          Plot.barY(rows, { x: "layer", y: "labelled", fill: colours.blue }),
          Plot.tickY(rows, {
            x: "layer",
            y: "expected",
            stroke: "currentColor",
            strokeWidth: 2,
            strokeDasharray: "3 2",
          }),
          Plot.tip(
            rows,
            Plot.pointerX({
              x: "layer",
              y: "labelled",
              title: (row) =>
                `layer ${row.layer}: ${descry.some(row.labelled, "neuron")}\nspread evenly: ${descry.number(row.expected, 1)}`,
              fill: "var(--panel)",
            }),
          ),
          Plot.ruleY([0]),
        ],
      });
    return descry.figure(
      "by-layer",
      "Neurons with this label, by layer",
      "Dashed: if the labels were spread evenly over the layers.",
      {
        height: 190,
        draw,
        numbers: () => ({
          columns: ["layer", "neurons", "spread evenly"],
          rows: rows.map((row) => [row.layer, row.labelled, row.expected]),
        }),
      },
    );
  };
})();
