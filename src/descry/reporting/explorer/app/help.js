"use strict";
/* How to read the pages: each term as docs/glossary.md has it, and what to make of it. */
(() => {
  const { h } = descry;

  /** [id, term, definition of the glossary, what to make of it] */
  const TERMS = [
    ["neuron", "neuron", "one output of a site's module, or a latent of a dictionary there: L5:50 is neuron 50 of layer 5, both counted from 0", "It gives one number for each sentence, its activation."],
    ["exemplars", "exemplars", "the sentences that excite a neuron most: its exemplar set", "A label speaks of these top sentences alone, not of all that the neuron does."],
    ["descriptor", "descriptor", "a topic: a cluster of raw descriptors under one name", "An annotator said for each sentence and descriptor whether the sentence talks about it: Yes or No."],
    ["label", "label", "a descriptor that the rule gives to a neuron", "Read the sentence on top of a neuron's page first: how many top sentences talk about it, and how many would by chance."],
    ["f", "f(c)", "how frequent descriptor c is among a neuron's exemplars: its share of all descriptors that the exemplars have (label.frequency: occurrences), or the share of exemplars that have it (sentences)", "A high f(c) means little where the descriptor is frequent everywhere: look at the lift."],
    ["lift", "lift", "f(c) divided by the base rate: how many times as frequent as in the corpus", "1 is chance. A lift of 6 from 3 sentences may still be luck: look at q."],
    ["expected", "expected", "number of exemplars with a Yes if the exemplars were random sentences of the same strata", "It is the number behind the word chance in a neuron's sentence."],
    ["p", "p", "probability of a result at least as high if the null were true", "The lower, the harder it is to explain by chance."],
    ["q", "q", "false discovery rate at which a test passes: p, corrected for the number of tests", "Of all labels with q up to 0.05, about one in twenty is expected to be false."],
    ["null", "null", "a model of chance: what a score is when neurons and labels have nothing to do with each other", "A score is worth what it has above its null, not above 0."],
    ["interval", "interval", "range that contains the true value in 95% of samples", "Where it reaches down to the null, the score may be chance: the verdict is no."],
    ["half", "half", "the calibration or the validation half of the sentences, drawn at random; a split is a half, or all sentences", "Labels are made in each half alone, so that one can be held against the other."],
    ["replicated", "replicated", "said of a label that a half chose and the other half confirms: p below .05 within strata. On another corpus a label holds", "A neuron's sentence and a green ring say so where both halves confirm a label."],
    ["supported", "supported", "said of a label that gold labels or a judge confirm: p below .05 within strata by their answers", "It guards against an annotator that errs in the way the neuron does."],
    ["strata", "strata", "groups of sentences with similar covariates; exemplars are compared with sentences of the same groups", "So no label only says that a neuron likes, for example, long sentences."],
    ["explained", "explained", "said of a descriptor that would be a label without the strata: a covariate explains it", "It is shown, but is no label."],
    ["close-negatives", "close negatives", "sentences most like a neuron's exemplars, by embedding, that do not excite the neuron: their activation is at most its median", "A label that they have as often does not say what excites the neuron."],
    ["too-broad", "too broad", "said of a label that close negatives have about as often as exemplars", "The neuron responds to something narrower, or to something else."],
    ["facet", "facet", "a group of a neuron's exemplars that say similar things, where they fall apart further than random sets do", "A neuron with several facets responds to several things."],
    ["jaccard", "IoU, Jaccard", "size of the intersection of two sets, divided by the size of their union", "1 where two sets are the same, 0 where they share nothing."],
    ["auroc", "AUROC", "probability that the score of a random positive is above the score of a random negative. Of a label: of an annotated sentence and another one, how often the neuron's activation is higher for the former", "0.5 is chance: it looks at all sentences, not at the top ones alone."],
    ["precision-at-k", "P@K, R@K", "precision and recall of the first K labels of each neuron", "Precision: how many of them are true. Recall: how many of the true ones are among them."],
    ["graph", "graph", "what a neuron responds to, as a tree of tokens (N2G)", "It speaks of single tokens, labels speak of whole sentences: the two may differ."],
    ["random-weights", "random weights", "an untrained copy of the target, as a null", "What it shows, too, is no finding about the model."],
  ];
  descry.TERMS = TERMS;

  /** A link to what a term means. */
  descry.helpLink = (id, words = "How to read this") =>
    h("a", { class: "help", href: descry.place(["help", id]) }, words, h("span", { class: "unseen" }, `: ${TERMS.find(([own]) => own === id)?.[1] ?? "verdicts"}`));

  descry.help = async ([id]) => {
    const term = ([own, name, means, use]) =>
      h("div", { id: `term-${own}`, class: own === id ? "asked" : null }, h("dt", {}, name), h("dd", {}, h("p", {}, means), h("p", { class: "quiet" }, use)));
    return {
      title: "How to read this",
      at: id ? `term-${id}` : null,
      content: [
        h("h1", {}, "How to read this"),
        h("p", { class: "lead" }, "Start on a neuron's page with the sentence under its name: how many of its top sentences talk about a topic, and how many would by chance. Every other number says how far to believe it."),
        descry.section(
          "verdicts",
          "Verdicts",
          h("p", {}, "A verdict follows from three numbers: a score, its 95% interval and its null, the score that chance gives."),
          h(
            "div",
            { class: `facts${id === "verdicts" ? " asked" : ""}`, id: "term-verdicts" },
            descry.facts([
              ["Yes, better than chance", "The lower end of the interval is at least a tenth of the way from chance to the best score, 1."],
              ["Barely better than chance", "It is above chance, but less than a tenth of that way; or there is no interval."],
              ["No better than chance", "The interval reaches down to chance."],
              ["On the card of false labels", "Yes: random sets of sentences have at most the share of labels that the rule's false discovery rate allows. No: as many as the neurons."],
            ]),
          ),
          h("p", {}, "In a gauge the thick line is the score, the band its interval, the dotted line chance:", descry.gauge({ value: 0.6, low: 0.5, high: 0.7, null: 0.2 })),
        ),
        descry.section("terms", "Terms", h("dl", { class: "terms" }, TERMS.map(term))),
        descry.section(
          "marks",
          "Colours and marks",
          descry.facts([
            ["green ring, ✓", "both halves confirm the label; in a half's column, that half confirms it"],
            ["shaded row", "a label; rows without shade are descriptors that come close"],
            ["orange bar", "how far an activation is from the neuron's mean, the highest being full"],
            ["struck through", "the annotator said No although it is a label of the neuron"],
            ["dotted underline", "the annotator said Yes, people said No"],
          ]),
        ),
      ],
    };
  };
})();
