"use strict";
/* Commands to copy: how each claim of this page is checked. */

/** A word as the shell takes it. */
descry.quoted = (word) =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** A command with a button that copies it. */
descry.command = (...words) => {
  const { h } = descry;
  const text = words.map(descry.quoted).join(" ");
  return h("span", { class: "command" }, h("code", {}, text), descry.copy("Copy", () => text));
};

/** A link to the page as it is, with its filter and neuron. */
descry.share = () => descry.copy("Copy a link to this page", () => location.href, "Copy a link to this page");

/** A button that copies a text. */
descry.copy = (title, of, label = `${title}: ${of()}`) => {
  const button = descry.h("button", { type: "button", "aria-label": label, onclick: copy }, title);

  async function copy() {
    const text = of();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const box = descry.h("textarea", {});
      box.value = text;
      document.body.append(box);
      box.select();
      document.execCommand("copy");
      box.remove();
    }
    button.textContent = "Copied";
    descry.say(`Copied: ${text}`);
    setTimeout(() => (button.textContent = title), 1500);
  }

  return button;
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
