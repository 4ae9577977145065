"use strict";
/* What a neuron responds to, token by token: its graph, and its activation in the graph's sentences. */
(() => {
  const { h } = descry;

  /** A word without the space before it where none belongs: words come as the tokenizer parted them. */
  const closed = (word, before) =>
    /^ [.,!?;:)%'’-]/.test(word) || /^ ?['’(-]$/.test(before) ? word.slice(1) : word;

  /** A sentence token by token, each as strong as the neuron's activation there. */
  descry.tokenLine = ({ words, activations }) =>
    h(
      "p",
      { class: "tokens" },
      words.map((word, k) => {
        const share = activations[k];
        const text = k ? closed(word, words[k - 1]) : word.trimStart();
        const token = h(
          "span",
          { title: `${word.trim()}: ${descry.number(share, 2)} of its highest` },
          text.trimStart(),
        );
        token.style.setProperty(
          "--strength",
          `${Math.round(100 * Math.max(0, Math.min(1, share ?? 0)))}%`,
        );
        return [text.startsWith(" ") ? " " : null, token];
      }),
    );

  /** A sentence with each word as strong as what it does for the neuron. */
  descry.wordLine = ({ text }, { spans, strengths, end }) => {
    const parts = [];
    let place = 0;
    strengths.forEach((strength, k) => {
      const [start, stop] = spans.slice(2 * k, 2 * k + 2);
      const word = h("span", { title: `${text.slice(start, stop)}: ${descry.wordEffect(strength, end)}` }, text.slice(start, stop));
      word.style.setProperty("--strength", `${Math.max(0, Math.min(100, strength ?? 0))}%`);
      parts.push(text.slice(place, start), word);
      place = stop;
    });
    return h("p", { class: "tokens" }, parts, text.slice(place));
  };

  /** What a word does for the neuron, in words; strength in hundredths, null where unknown. */
  descry.wordEffect = (strength, end) => {
    if (strength === null) return "not known";
    const share = descry.number(strength / 100, 2);
    if (descry.run.word_measure === "activation")
      return `${share} of the way from the neuron's mean to its ${end}`;
    return `without it the activation loses ${share} of what parts it from the neuron's mean`;
  };

  /** What the colour of words says. */
  descry.wordLegend = () => {
    const ramp = (low, high) => descry.legend("Colour of a word", ["transparent", "var(--hot)"], low, high);
    if (descry.run.word_measure === "activation")
      return ["Some are shown word by word. ", ramp("the neuron's mean", "its highest activation")];
    return [
      "Some are shown word by word: what the activation loses when the sentence goes through the model without the word. ",
      ramp("nothing", "all that parts it from the neuron's mean"),
    ];
  };

  /** The training sentences of its graph, each token as strong as the neuron's activation there. */
  function tokens(graph) {
    if (!graph.tokens.length) return null;
    return [
      h("h3", {}, "Token by token"),
      h(
        "p",
        {},
        "Where the activation is, in the sentences that the graph was made from; point at a token for its share of the highest.",
      ),
      h("p", {}, descry.legend("Share of the highest", ["transparent", "var(--hot)"], "0", "1")),
      graph.tokens.map(descry.tokenLine),
    ];
  }

  /** A graph and its numbers, folded away where a table of tokens predicts the neuron better. */
  function folded(scores, parts) {
    const { graph, ...simpler } = scores;
    const better = Object.entries(simpler)
      .filter(([, { f1 }]) => f1 !== null && f1 > (graph.f1 ?? 0))
      .sort(([, a], [, b]) => b.f1 - a.f1)[0];
    if (!better) return parts;
    const [name, { f1 }] = better;
    const words = `A simpler predictor, ${name}, does better than the graph: F1 ${descry.number(f1, 2)} against ${descry.number(graph.f1, 2)}`;
    return [h("details", {}, h("summary", {}, words), parts)];
  }

  /** Some of the sentences in which the graph predicts the neuron to fire. */
  function firing({ shown }) {
    if (!shown.length) return null;
    const some = h(
      "details",
      { class: "firing" },
      h("summary", {}, "Sentences in which the graph predicts it to fire"),
    );
    const items = async () =>
      (await descry.sentences(shown)).map((one) => descry.sentenceItem(one, {}));
    return descry.readWhenOpened(some, async () => h("ol", { class: "exemplars" }, await items()));
  }

  /** The page of a graph whose neuron, at another site than the labels', has no other page. */
  descry.graphPage = async ([name = ""]) => {
    const { pages, site } = descry.run.graphs ?? {};
    const n = pages?.findIndex(([own]) => own === name.toUpperCase()) ?? -1;
    if (n < 0) return descry.absent(`There is no graph of ${name}.`);
    return {
      title: `Graph of ${pages[n][0]}`,
      content: [
        h("h1", {}, `${pages[n][0]} at ${site}`),
        h(
          "p",
          {},
          `Graphs are of the neurons at ${site}, labels of those at ${descry.run.target.site}: ${pages[n][0]} there is another neuron.`,
        ),
        await descry.graphSection(n, pages[n][0]),
      ],
    };
  };

  /** The graph's part of a neuron's page. */
  descry.graphSection = async (n, name) => {
    const graph = await descry.graphOf(n);
    const { position, site, method } = descry.run.graphs;
    const from =
      method === "weighted"
        ? `learnt from ${descry.some(graph.learnt, "sentence")}: what a token, and each token beside it, adds to the activation there`
        : `made from ${descry.some(graph.train.length, "sentence")} that excite it most`;
    const scores = Object.entries(graph.scores).map(([predictor, score]) => [
      predictor,
      score.fires,
      score.precision,
      score.recall,
      score.f1,
      score.pearson,
    ]);
    return descry.section(
      "graph",
      "Graph of tokens",
      h(
        "p",
        {},
        `What it responds to (N2G, Foote et al. 2023)${site ? `, at site ${site}` : ""}, position ${position}: ${from}. Scored on ${graph.held.length} others that excite it most. The graph predicts the neuron to fire in ${descry.some(graph.fires, "sentence")} of all.`,
      ),
      ...folded(graph.scores, [
        descry.graphFigure(name, graph),
        descry.plainTable("How well the graph predicts", {
          columns: ["predictor", "tokens that fire", "precision", "recall", "F1", "Pearson"],
          rows: scores,
        }),
      ]),
      tokens(graph),
      firing(graph),
      h("p", {}, descry.command("descry", "graph", name, "-o", `${name.replace(":", "-")}.svg`)),
    );
  };
})();
