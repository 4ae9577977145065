"use strict";
/* Search over all texts: postings of words in packs, loaded for the words that are typed. */

/** The words of a text as the index has them. */
descry.wordsOf = (text) =>
  (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).filter((word) => word.length > 1);

/**
 * The sentences that have each of the words (beginnings of words: "batt" finds battery).
 * Returns {marks: Uint8Array by row, count, words that were looked for, common ones that were not}.
 */
descry.search = async (text) => {
  const asked = [...new Set(descry.wordsOf(text))];
  const common = asked.filter((word) => descry.run.common.includes(word));
  const words = asked.filter((word) => !common.includes(word));
  if (!words.length) return { marks: null, count: 0, words, common };
  const found = await Promise.all(words.map(descry.sentencesWith));
  const marks = found[0].slice();
  for (const other of found.slice(1))
    for (let row = 0; row < marks.length; row++) marks[row] &= other[row];
  let count = 0;
  for (let row = 0; row < marks.length; row++) count += marks[row];
  return { marks, count, words, common };
};

/** Marks of the sentences with a word that begins so. */
descry.sentencesWith = async (word) => {
  const WIDEST = 8; // packs that one beginning may ask for; a wider one counts as a whole word
  const { words: first, sentences, held } = descry.run;
  const marks = new Uint8Array(held ?? sentences);
  const from = Math.max(0, descry.lastUpTo(first, word));
  let to = descry.lastUpTo(first, `${word}\uffff`);
  const whole = to - from >= WIDEST || word.length < 3;
  if (whole) to = Math.max(0, descry.lastUpTo(first, word));
  const numbers = [];
  for (let number = from; number <= to; number++) numbers.push(number);
  const packs = first.length
    ? await Promise.all(numbers.map((number) => descry.load(`words-${number}`)))
    : [];
  for (const pack of packs) {
    let place = descry.lastUpTo(pack.words, word);
    if (pack.words[place] !== word) place++;
    for (; place < pack.words.length; place++) {
      if (whole ? pack.words[place] !== word : !pack.words[place].startsWith(word)) break;
      let row = 0;
      for (let k = pack.start[place]; k < pack.start[place + 1]; k++) {
        row += pack.rows[k];
        marks[row] = 1;
      }
    }
  }
  return marks;
};

/** For each neuron, how many of its exemplars shown are among the sentences marked. */
descry.exemplarsAmong = async (marks) => {
  const { size, rows } = await descry.load("shown");
  const counts = new Uint16Array(descry.run.neurons);
  for (let n = 0, k = 0; n < counts.length; n++) {
    for (const end = k + size; k < end; k++) if (rows[k] >= 0) counts[n] += marks[rows[k]];
  }
  return counts;
};

/** The first rows that are marked. */
descry.firstMarked = (marks, most) => {
  const rows = [];
  for (let row = 0; row < marks.length && rows.length < most; row++) if (marks[row]) rows.push(row);
  return rows;
};
