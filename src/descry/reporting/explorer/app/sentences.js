"use strict";
/* One sentence: what it talks about, and the neurons that it excites. */
(() => {
  const { h } = descry;

  descry.sentencePage = async ([id]) => {
    const sentence = await descry.sentenceOf(id);
    if (!sentence && descry.run.held)
      return descry.absent(
        `There is no ${descry.unit()} ${id} here. This site holds ${descry.heldWords()}.`,
      );
    if (!sentence) return descry.absent(`There is no ${descry.unit()} ${id}.`);
    const title = descry.unit() === "position" ? "Position" : "Sentence";
    const table = await descry.tableOf("highest");
    const rows = sentence.neurons.map(([n, rank, activation]) => ({ n, rank, activation }));
    const columns = [
      descry.neuronColumn(),
      {
        title: "rank",
        number: true,
        ascending: true,
        of: (row) => row.rank,
        show: (row) => descry.count(row.rank),
        hint: "among the exemplars of that neuron",
      },
      {
        title: "activation",
        number: true,
        of: (row) => Number(row.activation),
        show: (row) => row.activation,
      },
      {
        title: "labels of the neuron",
        wide: true,
        show: ({ n }) => table.labels(n).map(descry.chip),
      },
    ];
    const score =
      sentence.overall === null || sentence.overall === undefined
        ? null
        : `${sentence.overall} of 5`;
    return {
      title: `${title} ${id}`,
      content: [
        h("h1", {}, `${title} `, h("code", {}, id)),
        h(
          "blockquote",
          { class: "whole" },
          sentence.summary ? h("p", {}, h("b", {}, sentence.summary)) : null,
          h("p", {}, descry.shown(sentence)),
          sentence.cut ? h("p", {}, descry.cutMark(sentence)) : null,
        ),
        descry.facts([
          ["category", descry.category(sentence)],
          ["rating", score],
          ["half", sentence.split],
          ["word", sentence.word ?? null],
          [
            "how often the corpus has it",
            sentence.frequency === undefined ? null : descry.count(sentence.frequency),
          ],
          [
            "source",
            sentence.line === null ? sentence.source : `${sentence.source}, line ${sentence.line}`,
          ],
        ]),
        descry.section(
          "answers",
          "What it talks about",
          h("p", {}, `What the annotator said Yes to. ${descry.scoreHint()}`),
          sentence.unread
            ? h(
                "p",
                {},
                h(
                  "span",
                  { class: "cut" },
                  `the annotator did not read ${descry.count(sentence.unread)} of its tokens`,
                ),
              )
            : null,
          descry.answers(sentence),
        ),
        descry.section(
          "neurons",
          "Neurons that it excites",
          h(
            "p",
            {},
            `It is in the exemplar sets of ${descry.some(sentence.excites, "neuron")}; here those where it ranks highest.`,
          ),
          descry.table(columns, rows, {
            caption: "Neurons that it excites",
            size: 12,
            sort: { by: 1, descending: false },
            empty: "It is in no exemplar set.",
          }),
        ),
        h(
          "p",
          {},
          "Which labels it influenced: ",
          descry.command("descry", "audit", "--review", id),
        ),
      ],
    };
  };
})();
