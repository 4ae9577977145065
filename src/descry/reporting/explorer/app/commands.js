"use strict";
/* Commands to copy: how each claim of this page is checked. */

/** A word as the shell takes it. */
descry.quoted = (word) =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** A command with a button that copies it. */
descry.command = (...words) => {
  const { h } = descry;
  const text = words.map(descry.quoted).join(" ");
  const button = h(
    "button",
    { type: "button", "aria-label": `Copy: ${text}`, onclick: copy },
    "Copy",
  );

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const box = h("textarea", {});
      box.value = text;
      document.body.append(box);
      box.select();
      document.execCommand("copy");
      box.remove();
    }
    button.textContent = "Copied";
    descry.say(`Copied: ${text}`);
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }

  return h("span", { class: "command" }, h("code", {}, text), button);
};

/** Steps from the evidence to a label: [what, words, command or null]. */
descry.chain = (steps) => {
  const { h } = descry;
  return h(
    "ol",
    { class: "chain" },
    steps.map(([what, words, command]) =>
      h("li", {}, h("h3", {}, what), h("p", {}, words), command),
    ),
  );
};
