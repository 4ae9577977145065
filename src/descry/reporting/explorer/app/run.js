"use strict";
/* The run: what its numbers stand for. */

/** Read data/run.js and keep it as descry.run. */
descry.open = async () => {
  const run = await descry.load("run");
  run.neurons = run.target.layers.length * run.target.width;
  run.column = new Map(run.descriptors.map((descriptor, column) => [descriptor.name, column]));
  descry.run = run;
};

/** What the neurons are: neurons, or latents or directions of a dictionary. */
descry.kind = () => descry.run.target.kind ?? "neuron";

/** Which of the sentences a site has that does not have all. */
descry.heldWords = () =>
  `${descry.count(descry.run.held)} of the ${descry.some(descry.run.sentences, descry.unit())}: those that its pages show, and others by lot`;

/** What the sentences have in common that labels are tested among: "length in words", or nothing. */
descry.strata = () => descry.run.rule.alike;

/** A covariate by the name that label.strata takes, and in words where that does not say what it is. */
descry.covariate = (name) => (name === "overall" ? "overall (star rating)" : name);

/** Whether the strata explain what is significant among all sentences. */
descry.explained = ({ q, unmatched }) => {
  const { fdr } = descry.run.rule;
  return q !== null && unmatched !== null && unmatched <= fdr && q > fdr;
};

/** What labels are ordered by: those that both halves confirm first, of these the lowest p. */
descry.surest = ({ p, replicated }) => (replicated ? 0 : 1) + (p ?? 1);

/** L5:24 of a neuron's number. */
descry.neuronName = (n) => {
  const { layers, width } = descry.run.target;
  return `L${layers[Math.floor(n / width)]}:${n % width}`;
};

/** A neuron's number by its name; null if there is none. */
descry.neuronNumber = (name) => {
  const { layers, width } = descry.run.target;
  const match = /^[Ll](\d{1,9}):(\d{1,9})$/.exec(name);
  const row = match ? layers.indexOf(Number(match[1])) : -1;
  return row < 0 || Number(match[2]) >= width ? null : row * width + Number(match[2]);
};

/** One neuron's entry in its pack. */
descry.neuron = async (n) => {
  const size = descry.run.pack.neurons;
  return (await descry.load(`neurons-${Math.floor(n / size)}`))[n % size];
};

/** One neuron's graph; null without one. */
descry.graphOf = async (n) => {
  const pack = await descry.load(`graphs-${Math.floor(n / descry.run.pack.neurons)}`);
  return pack[n] ?? null;
};

/** A neuron's exemplars at an end that are known word by word, by row: spans and strengths. */
descry.effectsOf = async (n, end) => {
  const pack = await descry.load(`effects-${Math.floor(n / descry.run.pack.neurons)}`);
  const rows = pack.neurons[n]?.[end] ?? [];
  return new Map(rows.map(([row, strengths]) => [row, { spans: pack.spans[row], strengths, end }]));
};

/** Sentences by their rows, in that order, each with its row. */
descry.sentences = (rows) => {
  const size = descry.run.pack.sentences;
  return Promise.all(
    rows.map(async (row) => {
      const pack = await descry.load(`sentences-${Math.floor(row / size)}`);
      return { row, ...pack[row % size] };
    }),
  );
};

/** A sentence by its id; null if there is none. Sentences are in the order of their ids. */
descry.sentenceOf = async (id) => {
  const { first_ids: first, pack } = descry.run;
  const number = descry.lastUpTo(first, id);
  if (number < 0) return null;
  const found = (await descry.load(`sentences-${number}`)).findIndex(
    (sentence) => sentence.id === id,
  );
  return found < 0 ? null : (await descry.sentences([number * pack.sentences + found]))[0];
};

/** The place of the last of some sorted texts that is not behind another; -1 for none. */
descry.lastUpTo = (sorted, text) => {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= text) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};

/** All neurons at one end, with the labels of one. */
descry.tableOf = async (end) => {
  const table = await descry.load(`table-${end}`);
  table.labels ??= (n) => {
    const places = [];
    for (let k = table.start[n]; k < table.start[n + 1]; k++) places.push(k);
    return places.map((k) => ({
      column: table.descriptor[k],
      count: table.count[k],
      expected: table.expected[k],
      f: table.f[k] / 1000,
      times: table.times[k] === null ? null : table.times[k] / 100,
      p: table.p[k],
      q: table.q[k],
      unmatched: table.unmatched[k],
      replicated: Boolean(table.replicated[k]),
      auroc: table.auroc[k] === null ? null : table.auroc[k] / 1000,
    }));
  };
  table.sizeOf ??= (n) => table.sizes[n] ?? table.size;
  return table;
};
