"use strict";
/* Numbers in words: a verdict on a score, a sentence on a label, why a neuron has none. */
(() => {
  const { h } = descry;
  const VERDICTS = {
    yes: "Yes, better than chance",
    barely: "Barely better than chance",
    no: "No better than chance",
  };

  /** A verdict as stage report computed it; nothing where a score has none. */
  descry.verdict = (verdict) =>
    VERDICTS[verdict]
      ? h("p", { class: `verdict ${verdict}` }, h("b", {}, VERDICTS[verdict]))
      : null;

  /** The sentences at an end of a neuron, such as "top sentences". */
  const those = (end) => `${end === "lowest" ? "lowest" : "top"} ${descry.unit()}s`;

  /** "24 of its 36 top sentences talk about Music; chance: 3.3" */
  descry.talk = ({ column, count, expected, replicated }, size, end = "highest") => [
    `${descry.count(count)} of its ${descry.count(size)} ${those(end)} ${count === 1 ? "talks" : "talk"} about `,
    descry.descriptorLink(column),
    `; chance: ${descry.number(expected, 1)}`,
    replicated ? " (both halves confirm it)." : ".",
  ];

  /**
   * Why a neuron has no label.
   * silent: why it has no exemplars; nearest: its surest descriptor {column, count, expected, q, unmatched}.
   */
  descry.noLabel = ({ silent, nearest, size, end = "highest" }) => {
    const { rule } = descry.run;
    if (silent) return [`No label: no exemplars, ${silent}.`];
    const bar =
      rule.name === "enrichment"
        ? `no descriptor is more frequent among its ${those(end)} than by chance at q ≤ ${rule.fdr}`
        : `no descriptor has f(c) above ${rule.threshold} among its ${those(end)}`;
    if (!nearest) return [`No label: ${bar}.`];
    const { column, count, expected, q } = nearest;
    return [
      `No label: ${bar}; `,
      descry.descriptorLink(column),
      ` comes nearest: ${descry.count(count)} of ${descry.count(size)}, chance: ${descry.number(expected, 1)} (q ${descry.small(q)}`,
      descry.explained(nearest) ? `; explained by ${descry.strata()}` : "",
      ").",
    ];
  };
})();
