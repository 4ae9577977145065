"use strict";
/* One neuron: labels beside what chance gives, what it follows, both halves, exemplars, graph, neighbours, evidence. */
(() => {
  const { h } = descry;
  const HALVES = ["calibration", "validation"];
  const CONFIRMED = 0.05; // p within strata, below which a half confirms a label
  const FIELDS = { f: 0, count: 1, lift: 2, expected: 3, p: 4, q: 5, unmatched: 6, assigned: 7 };

  /** Its labels in sentences, the surest first, or why it has none. */
  descry.sentencesOf = (n, { labels, silent, size }, table, end = "highest") => {
    const MOST = 3;
    const own = table.labels(n);
    if (!own.length) {
      const [first] = labels;
      const at = (name) => first[1].all[FIELDS[name]];
      const nearest = first && {
        column: first[0],
        ...Object.fromEntries(["count", "expected", "q", "unmatched"].map((name) => [name, at(name)])),
      };
      return h("p", { class: "lead sentence" }, descry.noLabel({ silent, nearest, size, end }));
    }
    const more = own.length - MOST;
    return [
      own
        .slice(0, MOST)
        .map((label) => h("p", { class: "lead sentence" }, descry.talk(label, size, end))),
      more > 0 ? h("p", { class: "quiet" }, `and ${descry.some(more, "label")} more, below.`) : null,
    ];
  };

  function labelTable({ labels, scores, size }) {
    const rows = labels.map(([column, splits]) => {
      const at = (split, name) => splits[split][FIELDS[name]];
      const times = (split) => {
        const expected = at(split, "expected");
        return expected ? at(split, "count") / expected : null;
      };
      const auroc = (chosen) =>
        scores.find((score) => score.chosen === chosen && score.column === column)?.auroc ?? null;
      const half = (name) => [
        h("td", { class: "number" }, descry.times(times(name))),
        h(
          "td",
          { class: "number" },
          descry.small(at(name, "p")),
          at(name, "p") !== null && at(name, "p") < CONFIRMED
            ? h(
                "b",
                { title: "this half confirms it" },
                " ✓",
                h("span", { class: "unseen" }, "confirmed"),
              )
            : "",
        ),
        h(
          "td",
          { class: "number", title: "over all sentences of the other half" },
          descry.number(auroc(name), 2),
        ),
      ];
      const whole = { q: at("all", "q"), unmatched: at("all", "unmatched") };
      return h(
        "tr",
        { class: at("all", "assigned") ? "assigned" : "quiet" },
        h(
          "th",
          { scope: "row" },
          descry.descriptorLink(column),
          at("all", "assigned") ? h("b", {}, " ✓", h("span", { class: "unseen" }, "label")) : null,
          descry.explained(whole)
            ? h("span", { class: "explained" }, ` explained by ${descry.strata()}`)
            : null,
        ),
        h("td", { class: "number" }, `${at("all", "count")} of ${descry.count(size)}`),
        h("td", { class: "number" }, descry.number(at("all", "expected"), 1)),
        h("td", { class: "number" }, descry.times(times("all"))),
        h("td", { class: "number" }, descry.number(at("all", "f"), 2)),
        h("td", { class: "number" }, descry.small(whole.q)),
        h("td", { class: "number" }, descry.small(whole.unmatched)),
        HALVES.map(half),
      );
    });
    const head = (title, hint) => h("th", { scope: "col", class: "number", title: hint }, title);
    const strata = descry.strata();
    return descry.framed(
      "Labels, over all sentences and in each half",
      { class: "labels" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", {}),
          h("th", { scope: "colgroup", colspan: 6 }, `all ${descry.unit()}s`),
          HALVES.map((name) => h("th", { scope: "colgroup", colspan: 3 }, `${name} half`)),
        ),
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "descriptor"),
          head("exemplars", "how many of them have it"),
          head(
            "expected",
            strata
              ? `how many random ${descry.unit()}s of the same ${strata} would`
              : "how many random sentences would",
          ),
          head("×", "exemplars divided by expected"),
          head("f(c)", "share among the exemplars"),
          head(
            strata ? "q within strata" : "q",
            `false discovery rate${strata ? ` among sentences of the same ${strata}` : ""}`,
          ),
          head("q among all", "false discovery rate among all sentences, whatever explains it"),
          HALVES.map(() => [
            head("×", "exemplars of this half divided by expected"),
            head("p", "within strata, of this half alone; ✓: below 0.05, which confirms it"),
            head(
              "AUROC",
              "of that half's label over all sentences of the other half; 0.5 is chance",
            ),
          ]),
        ),
      ),
      h("tbody", {}, rows),
    );
  }

  /** What the neuron follows beside topics, each covariate beside what chance gives. */
  function follows({ follows: rows }) {
    const { followed, rule } = descry.run;
    const title = (text, hint) => h("th", { scope: "col", class: "number", title: hint }, text);
    const strata = descry.strata();
    return descry.section(
      "follows",
      "What it follows beside topics",
      h(
        "p",
        {},
        "How its activation goes with what is no topic. ",
        strata
          ? `Labels are tested among ${descry.unit()}s of the same ${strata}: what only follows ${strata} is no label.`
          : `Labels are tested among all ${descry.unit()}s: any of this can make one.`,
      ),
      descry.framed(
        "What it follows",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "covariate"),
            title("correlation", "Spearman's, over all sentences; without a sign for texts"),
            title("by chance", "what 95% of unrelated neurons stay below"),
            title("exemplars", "their median, or their most frequent value"),
            title("matched", "the same among random sentences of the same strata"),
            title("corpus", "the same among all sentences"),
          ),
        ),
        h(
          "tbody",
          {},
          followed.map(({ name, chance }, k) => {
            const [rho, ...told] = rows[k] ?? [null];
            const above = rho !== null && Math.abs(rho) > chance;
            const matched = rule.strata.includes(name) ? " (matched)" : "";
            return h(
              "tr",
              { class: above ? null : "quiet" },
              h("th", { scope: "row" }, descry.covariate(name), matched),
              h("td", { class: "number" }, above ? h("b", {}, descry.number(rho, 2)) : descry.number(rho, 2)),
              h("td", { class: "number" }, descry.number(chance, 2)),
              told.map((words) => h("td", { class: "number" }, words.replaceAll("_", " "))),
            );
          }),
        ),
      ),
    );
  }

  /** The words that it peaks at, beside words as frequent. */
  function tokens({ tokens: rows }) {
    if (descry.run.unit !== "token") return null;
    const title = (text, hint) => h("th", { scope: "col", class: "number", title: hint }, text);
    const { sure, untrained } = descry.run.words_at_peaks;
    const copy =
      untrained === null
        ? ""
        : ` A copy of the model with random weights surely has ${descry.some(untrained, "word")} in all, the model ${descry.count(sure)}: embeddings alone tell words apart.`;
    const about = `The words at its positions that are over-represented there, held against words about as frequent in the corpus.${copy}`;
    return descry.section(
      "tokens",
      "Words it peaks at",
      h("p", {}, rows.length ? about : "No word is at two of its positions."),
      rows.length
        ? descry.framed(
            "Words it peaks at",
            {},
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                h("th", { scope: "col" }, "word"),
                title("positions", "of its exemplars at this word"),
                title("expected", "where positions fall by lot on words as frequent"),
                title("p", "one-sided, of the whole corpus"),
                title("q", "false discovery rate over all neurons and words"),
                title("halves", "in how many of the two halves p < 0.05"),
              ),
            ),
            h(
              "tbody",
              {},
              rows.map((row) =>
                h(
                  "tr",
                  { class: row.assigned ? "assigned" : "quiet" },
                  h("th", { scope: "row" }, row.word, row.assigned ? h("b", {}, " ✓") : null),
                  h("td", { class: "number" }, descry.count(row.count)),
                  h("td", { class: "number" }, descry.number(row.expected, 2)),
                  h("td", { class: "number" }, descry.small(row.p)),
                  h("td", { class: "number" }, descry.small(row.q)),
                  h("td", { class: "number" }, descry.count(row.halves)),
                ),
              ),
            ),
          )
        : null,
    );
  }

  /** Positions of the sample from its lowest activations to its highest. */
  function quantiles({ quantiles: rows, distribution }, words) {
    if (descry.run.unit !== "token") return null;
    const whole = h(
      "details",
      { class: "lowest" },
      h("summary", {}, h("h2", {}, "At quantiles")),
      h("p", {}, "Of positions drawn from all, those at quantiles of its activations."),
    );
    return descry.readWhenOpened(whole, async () => {
      const sentences = await descry.sentences(rows.map(([, row]) => row));
      return h(
        "ol",
        { class: "exemplars" },
        sentences.map((sentence, k) => [
          h("h3", {}, `${descry.number(100 * rows[k][0], 1)}% are lower`),
          descry.exemplar(sentence, { activation: rows[k][2], distribution, words }),
        ]),
      );
    });
  }

  /** The tokens that the neuron promotes and suppresses, where they are beyond chance. */
  function writes({ writes: own }) {
    const { undefined: why, how, fdr } = descry.run.writes;
    const title = "What it writes";
    if (why) return descry.section("writes", title, h("p", { class: "quiet" }, `Not known: ${why}.`));
    if (!own) return null;
    const number = (x, digits) => descry.number(x, digits);
    const chance = `Its furthest token is ${number(own.score, 1)} deviations of its logits out; with its output weights permuted, ${number(own.score_null, 1)} (q ${descry.small(own.q)}; among mixtures of the layer's neurons ${descry.small(own.q_mixed)}). Kurtosis of its logits ${number(own.kurtosis, 1)}, permuted ${number(own.kurtosis_null, 1)}.`;
    if (!own.writes)
      return descry.section("writes", title, h("p", {}, `Nothing beyond chance. ${chance}`));
    const list = (tokens) =>
      tokens.length
        ? h(
            "ul",
            { class: "written" },
            tokens.map(([token, z]) =>
              h("li", {}, h("code", {}, token), h("span", { class: "amount" }, ` ${number(z, 1)}`)),
            ),
          )
        : h("p", { class: "quiet" }, "None beyond chance.");
    const shared = (what, words) => {
      const [mine, other, p] = own[what];
      return mine === null
        ? null
        : h(
            "p",
            {},
            `Of the words that it promotes, ${words}: ${number(mine, 2)}; in another neuron's ${number(other, 2)} (p ${descry.small(p)}).`,
          );
    };
    return descry.section(
      "writes",
      title,
      h(
        "p",
        {},
        `Tokens whose logits its output weights raise and lower, at a false discovery rate of ${fdr}, with their deviations (${how}). ${chance}`,
      ),
      h(
        "div",
        { class: "halves" },
        h("div", {}, h("h3", {}, "promoted"), list(own.promoted)),
        h("div", {}, h("h3", {}, "suppressed"), list(own.suppressed)),
      ),
      shared("exemplars", "share of its exemplars that have them"),
      shared("labels", "share among the words of its labels"),
    );
  }

  /** Groups of its exemplars, what covers them, and labels that fit close negatives, too. */
  function facets({ facets: own, distribution }, words) {
    const { undefined: why, chance, coverage } = descry.run.facets;
    const title = "Facets, and what is close by";
    if (why || !own) return null;
    const number = (x, digits) => h("td", { class: "number" }, descry.number(x, digits));
    const head = (text, hint) => h("th", { scope: "col", class: "number", title: hint }, text);
    const { parts, breadth, close } = own;
    const parted = parts.length
      ? [
          h(
            "p",
            {},
            `Its exemplars fall into ${parts.length} groups by what they say, further apart than 95% of random sets of the same strata. Any groups have labels: of these neurons' facets one has ${descry.number(chance.facets_labels, 1)}, of exemplars dealt into groups by lot ${descry.number(chance.lots_labels, 1)}, and a group of a random set ${descry.number(chance.random_labels, 1)}. A label of a facet says what the group is about; that the neuron seeks it is said by p among all its exemplars, below 0.05 for ${descry.number(100 * chance.facets_sought, 0)}% of the facets' labels and ${descry.number(100 * chance.random_sought, 0)}% of those of random sets.`,
          ),
          descry.framed(
            "Facets",
            {},
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                head("exemplars", "of the group"),
                h("th", { scope: "col" }, "label of the facet"),
                head("with it", "sentences of the group that have it"),
                head("expected", "of random sentences of the same strata"),
                head("p", "within strata"),
                head("p among all", "of all exemplars of the neuron"),
              ),
            ),
            h(
              "tbody",
              {},
              parts.flatMap(({ size, labels }) =>
                (labels.length ? labels : [null]).map((label, k) =>
                  h(
                    "tr",
                    {},
                    h("td", { class: "number" }, k ? "" : descry.count(size)),
                    h("th", { scope: "row" }, label ? label.descriptor : "no label"),
                    label
                      ? [
                          number(label.count, 0),
                          number(label.expected, 1),
                          h("td", { class: "number" }, descry.small(label.p)),
                          h("td", { class: "number" }, descry.small(label.neuron_p)),
                        ]
                      : [1, 2, 3, 4].map(() => h("td", {})),
                  ),
                ),
              ),
            ),
          ),
          descry.readWhenOpened(
            h("details", {}, h("summary", {}, h("h3", {}, "Sentences of the facets"))),
            () =>
              Promise.all(
                parts.map(async ({ size, rows }, k) => [
                  h("h4", {}, `Facet ${k + 1}: ${rows.length} of ${size}`),
                  await list(rows, { distribution, words }),
                ]),
              ).then((lists) => h("div", {}, lists)),
          ),
        ]
      : h("p", {}, "Its exemplars do not fall into groups further apart than those of random sets.");
    const cover = own.cover_reached
      ? `A further exemplar has one of ${own.cover.join(", ")} with probability ${coverage}: of the validation half ${descry.number(own.covered, 2)} have one, of random sentences of the same strata ${descry.number(own.covered_random, 2)}.`
      : `No set of over-represented descriptors covers a further exemplar with probability ${coverage}.`;
    const labelled =
      own.labelled === null
        ? ""
        : ` Its labels of the calibration half are on ${descry.number(own.labelled, 2)} of the exemplars of the validation half${own.labelled_low === null ? "" : ` (95% ${descry.number(own.labelled_low, 2)} to ${descry.number(own.labelled_high, 2)})`}, and on ${descry.number(own.labelled_random, 2)} of random sentences of the same strata.`;
    return descry.section(
      "facets",
      title,
      parted,
      h("p", {}, cover + labelled),
      breadth?.length
        ? [
            h("h3", {}, "Labels beside close negatives"),
            h(
              "p",
              {},
              "Close negatives are the sentences most like its exemplars that do not excite it: their activation is at most its median. A label that they have as often does not say what the neuron responds to: it is too broad.",
            ),
            descry.framed(
              "Labels beside close negatives",
              {},
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  h("th", { scope: "col" }, "label"),
                  head("exemplars", "share that has it"),
                  head("close negatives", "share that has it"),
                  head("all that do not excite", "share that has it"),
                  head("p", "that exemplars have it no more often than close negatives, within strata"),
                  h("th", { scope: "col" }, "verdict"),
                ),
              ),
              h(
                "tbody",
                {},
                breadth.map((one) =>
                  h(
                    "tr",
                    {},
                    h("th", { scope: "row" }, one.descriptor),
                    number(one.exemplars, 2),
                    number(one.close, 2),
                    number(one.quiet, 2),
                    h("td", { class: "number" }, descry.small(one.p)),
                    h("td", {}, one.broad ? h("b", {}, "too broad") : ""),
                  ),
                ),
              ),
            ),
          ]
        : null,
      close.length
        ? descry.readWhenOpened(
            h("details", {}, h("summary", {}, h("h3", {}, "Close negatives"))),
            () => list(close, { distribution, words }),
          )
        : null,
    );
  }

  /** What changes at the model's output when the neuron is set to its mean, or raised. */
  function changes({ changes: rows }) {
    const { measures, undefined: why } = descry.run.interventions;
    if (why || !rows.length) return null;
    const kinds = { label: "of the label", other: "others" };
    return descry.section(
      "changes",
      "What it changes",
      h(
        "p",
        {},
        `Set to its mean over tokens (ablated), or raised, at every token of sentences that did not choose its label ${rows[0].descriptor}; in brackets the same of other neurons of the layer that write about as much.`,
      ),
      descry.plainTable("Changes at the output", {
        columns: ["intervention", "sentences", ...Object.values(measures)],
        rows: rows.map((row) => [
          row.intervention,
          `${row.sentences} ${kinds[row.kind]}`,
          ...Object.keys(measures).map((name) =>
            row[name] === null
              ? "–"
              : `${row[name].toPrecision(2)} (${row[`${name}_others`].toPrecision(2)})`,
          ),
        ]),
      }),
    );
  }

  function composedTable({ composed }) {
    if (!composed.length) return null;
    const number = (x) => h("td", { class: "number" }, descry.number(x, 3));
    const title = (text) => h("th", { scope: "col", class: "number" }, text);
    // Shown openly only where it beats the best lone descriptor in the half that did not choose it.
    const wins = composed.some((row) => row.other_iou !== null && row.other_iou > row.other_single);
    return h(
      "details",
      { open: wins },
      h("summary", {}, h("h3", {}, wins ? "Composed label" : "Composed label: no better than the best lone descriptor")),
      descry.framed(
        "Composed labels",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "sentences"),
            h("th", { scope: "col" }, "formula"),
            title("IoU there"),
            title("in the other half"),
            title("lone descriptor there"),
            title("null"),
          ),
        ),
        h(
          "tbody",
          {},
          composed.map((row) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, row.split),
              h("td", {}, row.formula),
              number(row.iou),
              number(row.other_iou),
              number(row.other_single),
              number(row.other_null),
            ),
          ),
        ),
      ),
    );
  }

  async function list(pairs, { distribution, own, words, read, effects }) {
    if (!pairs.length)
      return h("p", { class: "quiet" }, "None: too many sentences have the same activation.");
    const sentences = await descry.sentences(pairs.map(([row]) => row));
    return h(
      "ol",
      { class: "exemplars" },
      sentences.map((sentence, k) =>
        descry.exemplar(sentence, {
          rank: k + 1,
          activation: pairs[k][1],
          place: pairs[k].slice(2),
          distribution,
          own,
          words,
          tokens: read?.get(sentence.row),
          effects: effects?.get(sentence.row),
        }),
      ),
    );
  }

  async function exemplars(n, neuron, own, words) {
    // Word by word, or token by token, where the run has it: the latter of the sentences that the
    // neuron's graph was made from.
    const effects = neuron.by_word ? await descry.effectsOf(n, "highest") : null;
    const graph = neuron.graph ? await descry.graphOf(n) : null;
    const read = new Map((graph?.tokens ?? []).map((one) => [one.row, one]));
    const lists = await Promise.all(
      HALVES.map((half) =>
        list(neuron.sets[half], { distribution: neuron.distribution, own, words, read, effects }),
      ),
    );
    return descry.section(
      "exemplars",
      "Exemplars",
      h(
        "p",
        {},
        `The ${descry.unit()}s that excite it most, of each half, with its activation and the descriptors that the annotator said Yes to. Its labels are marked; a label with No is shown, too. ${descry.scoreHint()}`,
      ),
      effects?.size ? h("p", {}, descry.wordLegend()) : null,
      read.size
        ? h("p", {}, descry.legend("Where a token's activation is known", ["transparent", "var(--hot)"], "0", "the neuron's highest"))
        : null,
      h(
        "div",
        { class: "halves" },
        HALVES.map((half, k) => h("div", {}, h("h3", {}, `${half} half`), lists[k])),
      ),
    );
  }

  function lowest(n, neuron, words) {
    const whole = h(
      "details",
      { class: "lowest" },
      h("summary", {}, h("h2", {}, "Lowest activations")),
      h("p", {}, `The ${descry.unit()}s at the other end.`),
    );
    const { distribution, sets } = neuron;
    return descry.readWhenOpened(whole, async () => {
      const effects = neuron.by_word ? await descry.effectsOf(n, "lowest") : null;
      return list(sets.lowest, { distribution, words, effects });
    });
  }

  function trials({ trials: rows }) {
    if (!rows.length) return null;
    const shown = Object.keys(rows[0]).filter((key) => key !== "neuron");
    return [
      h("h3", {}, "Tried out"),
      h("p", {}, "How well the annotator can use the label on sentences that did not choose it."),
      descry.plainTable("Label scores", {
        columns: shown,
        rows: rows.map((row) => shown.map((key) => row[key])),
      }),
    ];
  }

  function similar(name, neuron, table) {
    const { run } = descry;
    const rows = neuron.similar.map(([n, jaccard]) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, descry.neuronLink(n)),
        h("td", { class: "number" }, descry.number(jaccard, 3)),
        h("td", {}, table.labels(n).map(descry.chip)),
        h(
          "td",
          {},
          h("a", { href: descry.place(["compare", name, descry.neuronName(n)]), "aria-label": `Compare ${name} with ${descry.neuronName(n)}` }, "compare"),
        ),
      ),
    );
    return descry.section(
      "similar",
      "Similar neurons",
      h(
        "p",
        {},
        `Whose exemplars have most in common with its own (Jaccard; two random sets: ${descry.number(run.similar_null, 3)}).`,
      ),
      descry.framed(
        "similar neurons",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "neuron"),
            h("th", { scope: "col", class: "number" }, "Jaccard"),
            h("th", { scope: "col" }, "labels"),
            h("th", { scope: "col" }, "side by side"),
          ),
        ),
        h("tbody", {}, rows),
      ),
    );
  }

  descry.neuronPage = async ([name], query) => {
    const { run } = descry;
    const n = descry.neuronNumber(name);
    if (n === null)
      return descry.absent(
        `There is no neuron ${name}: layers ${run.target.layers.join(", ")}, neurons 0 to ${run.target.width - 1}.`,
      );
    const [neuron, table] = await Promise.all([descry.neuron(n), descry.tableOf("highest")]);
    const words = descry.wordsOf(query.get("q") ?? "");
    const filter = query; // of the table from which one came
    const labels = table.labels(n);
    const own = new Set(labels.map(({ column }) => column));
    const { distribution } = neuron;
    const { silent } = neuron.ends.highest;
    const least = Math.min(
      ...HALVES.flatMap((half) => neuron.sets[half].map(([, activation]) => activation)),
    );
    const beside = (by, title) =>
      n + by >= 0 && n + by < run.neurons
        ? h(
            "a",
            {
              href: descry.place(["neuron", descry.neuronName(n + by)], Object.fromEntries(filter)),
              rel: by < 0 ? "prev" : "next",
              "aria-label": `${title}: ${descry.neuronName(n + by)}`,
            },
            by < 0 ? "‹" : "›",
          )
        : null;
    const [excites, graph, from] = await Promise.all([
      exemplars(n, neuron, own, words),
      neuron.graph ? descry.graphSection(n, descry.neuronName(n)) : null,
      descry.evidence(descry.neuronName(n), neuron, labels[0]?.column),
    ]);
    return {
      title: descry.neuronName(n),
      content: [
        h(
          "div",
          { class: "title" },
          beside(-1, "The neuron before"),
          h("h1", {}, descry.neuronName(n)),
          beside(1, "The neuron after"),
        ),
        ...(run.target.dictionary
          ? [h("p", {}, `A ${descry.kind()} of ${run.target.dictionary} at ${run.target.site}.`)]
          : []),
        filter.size
          ? h("p", {}, h("a", { href: `#/neurons?${filter}` }, `The neurons with ${[...filter].map(([name, value]) => `${name} ${value}`).join(", ")}`))
          : null,
        descry.sentencesOf(n, neuron.ends.highest, table),
        labels.length ? h("p", {}, labels.map(descry.chip)) : null,
        h("div", { class: "tools start" }, descry.share(), descry.compareForm(descry.neuronName(n))),
        descry.section(
          "labels",
          "Labels beside chance",
          h(
            "p",
            {},
            "×: exemplars divided by expected, the number of random sentences of the same strata; pills have it, too. AUROC –: that half alone does not choose it as a label. ",
            descry.helpLink("expected"),
          ),
          silent ? null : labelTable(neuron.ends.highest),
          composedTable(neuron.ends.highest),
          trials(neuron),
        ),
        tokens(neuron),
        follows(neuron),
        facets(neuron, words),
        writes(neuron),
        changes(neuron),
        excites,
        graph,
        h(
          "div",
          { class: "halves" },
          h(
            "div",
            {},
            descry.histogram({ distribution, least }),
            descry.facts(
              ["mean", "deviation", "skewness", "kurtosis", "lowest", "highest"].map((key) => [
                key,
                descry.number(
                  distribution[key],
                  ["skewness", "kurtosis"].includes(key) ? 3 : descry.places(distribution),
                ),
              ]),
            ),
          ),
          similar(descry.neuronName(n), neuron, table),
        ),
        neuron.ends.lowest
          ? descry.section(
              "labels-lowest",
              "Labels of its lowest activations",
              neuron.ends.lowest.silent
                ? h("p", {}, `No exemplars, no label: ${neuron.ends.lowest.silent}.`)
                : labelTable(neuron.ends.lowest),
            )
          : null,
        lowest(n, neuron, words),
        quantiles(neuron, words),
        from,
      ],
    };
  };
})();
