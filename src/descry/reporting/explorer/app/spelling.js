"use strict";
/* A word that nothing has: the nearest word that something has. */
(() => {
  const WIDEST = 8; // packs of words that are looked through for one word
  /** Edits that a word of so many letters may be away, as in Lucene's fuzziness AUTO. */
  const allowed = ({ length }) => (length < 4 ? 0 : length < 6 ? 1 : 2);

  /** Letters to add, drop, change, or swap with the next, that make one word the other. */
  descry.edits = (one, other) => {
    let before = null;
    let last = Array.from({ length: other.length + 1 }, (_, k) => k);
    for (let i = 1; i <= one.length; i++) {
      const line = [i];
      for (let k = 1; k <= other.length; k++) {
        const same = one[i - 1] === other[k - 1];
        line[k] = Math.min(last[k] + 1, line[k - 1] + 1, last[k - 1] + (same ? 0 : 1));
        if (i > 1 && k > 1 && one[i - 1] === other[k - 2] && one[i - 2] === other[k - 1])
          line[k] = Math.min(line[k], before[k - 2] + 1);
      }
      [before, last] = [last, line];
    }
    return last[other.length];
  };

  /** Of words with the same first letter the nearest one; ties by how often [word, times] it is, then by the alphabet. */
  descry.nearest = (asked, words) => {
    const most = allowed(asked);
    let best = null;
    for (const [word, times] of words) {
      if (word[0] !== asked[0] || Math.abs(word.length - asked.length) > most) continue;
      const found = { word, times, edits: descry.edits(asked, word) };
      if (found.edits > most) continue;
      const behind =
        best &&
        (found.edits - best.edits || best.times - found.times || (found.word < best.word ? -1 : 1));
      if (!best || behind < 0) best = found;
    }
    return best?.word ?? null;
  };

  /** The words of texts that begin as a word does: with its first letter, or two where those are too many. */
  async function wordsLike(asked) {
    const { words: first } = descry.run;
    for (const start of [asked.slice(0, 1), asked.slice(0, 2)]) {
      const from = Math.max(0, descry.lastUpTo(first, start));
      const to = descry.lastUpTo(first, `${start}\uffff`);
      if (!first.length || to - from >= WIDEST) continue;
      const numbers = Array.from({ length: to - from + 1 }, (_, k) => from + k);
      const packs = await Promise.all(numbers.map((number) => descry.load(`words-${number}`)));
      return packs.flatMap(({ words, start: at }) => words.map((word, k) => [word, at[k + 1] - at[k]]));
    }
    return [];
  }

  /** The words of the descriptors, each as often as neurons have it as a label. */
  const inNames = () =>
    descry.run.descriptors.flatMap(({ name, neurons }) =>
      descry.wordsOf(name).map((word) => [word, neurons.highest.all]),
    );

  /** A text with each word that neither a descriptor nor a sentence has as the nearest that one has. */
  descry.spelled = async (text) => {
    const known = inNames();
    const changes = [];
    for (const word of new Set(descry.wordsOf(text))) {
      if (!allowed(word) || descry.run.common.includes(word)) continue;
      if (known.some(([own]) => own.startsWith(word))) continue;
      if ((await descry.sentencesWith(word)).includes(1)) continue;
      const near = descry.nearest(word, [...known, ...(await wordsLike(word))]);
      if (near) changes.push([word, near]);
    }
    const taken = new Map(changes);
    const words = descry.wordsOf(text).map((word) => taken.get(word) ?? word);
    return { text: changes.length ? words.join(" ") : text, changes };
  };

  /** What was looked for in place of what was typed, in words. */
  descry.spelledNote = (changes) =>
    changes.map(([word, near]) => ` “${word}” is nowhere: looked for “${near}”.`).join("");
})();
