"use strict";
/* What a search finds: descriptors, neurons, sentences. */
(() => {
  const { h } = descry;

  descry.found = async (_, query) => {
    const asked = query.get("q") ?? "";
    const title = asked ? `Search: ${asked}` : "Search";
    const number = descry.neuronNumber(asked.trim());
    const { text, changes } = number === null ? await descry.spelled(asked) : { text: asked, changes: [] };
    const words = descry.wordsOf(text);
    const { run } = descry;
    const names = run.descriptors
      .map((descriptor, column) => ({ ...descriptor, column }))
      .filter(
        ({ name }) =>
          words.length &&
          words.every((word) => descry.wordsOf(name).some((own) => own.startsWith(word))),
      );
    const [result, table] = await Promise.all([descry.search(text), descry.tableOf("highest")]);
    const counts = result.marks
      ? await descry.exemplarsAmong(result.marks)
      : new Uint16Array(run.neurons);
    const best = Array.from(counts.keys())
      .filter((n) => counts[n])
      .sort((a, b) => counts[b] - counts[a] || a - b);
    const sentences = result.marks
      ? await descry.sentences(descry.firstMarked(result.marks, 10))
      : [];
    const common = descry.spelledNote(changes) + (result.common.length
      ? ` Not looked for, being in so many sentences: ${result.common.join(", ")}.`
      : "");
    const among = run.held ? ` of the ${descry.count(run.held)} that this site holds` : "";
    const nothing = !names.length && number === null && !best.length && !sentences.length;
    return {
      title,
      content: [
        h("h1", {}, title),
        h(
          "p",
          { role: "status" },
          asked
            ? nothing
              ? `Nothing${among}.${common}`
              : `The words are in ${descry.some(result.count, "sentence")}${among}.${common}`
            : "Type a word of a review, a descriptor, or a neuron such as L5:24.",
        ),
        number === null
          ? null
          : descry.section(
              "named",
              "Neuron",
              h("p", {}, descry.neuronLink(number), " ", table.labels(number).map(descry.chip)),
            ),
        names.length
          ? descry.section(
              "names",
              "Descriptors",
              h(
                "ul",
                { class: "plain" },
                names.map(({ column, neurons }) =>
                  h(
                    "li",
                    {},
                    descry.descriptorLink(column),
                    ` ${descry.some(neurons.highest.all, "neuron")}`,
                  ),
                ),
              ),
            )
          : null,
        best.length
          ? descry.section(
              "neurons",
              "Neurons with these words in their exemplars",
              h(
                "ul",
                { class: "plain" },
                best
                  .slice(0, 10)
                  .map((n) =>
                    h(
                      "li",
                      {},
                      descry.neuronLink(n, { q: text }),
                      ` ${descry.some(counts[n], "exemplar")} `,
                      table.labels(n).map(descry.chip),
                    ),
                  ),
              ),
              h(
                "p",
                {},
                h(
                  "a",
                  { href: descry.place(["neurons"], { q: text, all: 1 }) },
                  `All ${descry.some(best.length, "neuron")} as a table`,
                ),
              ),
            )
          : null,
        sentences.length
          ? descry.section(
              "sentences",
              "Sentences",
              h(
                "ol",
                { class: "exemplars" },
                sentences.map((sentence) => descry.sentenceItem(sentence, { words: result.words })),
              ),
            )
          : null,
      ],
    };
  };
})();
