"use strict";
/* A first-time reader's tour: four steps in a box of the overview, which blocks nothing. */
(() => {
  const { h } = descry;
  const KEY = "descry-tour";
  const STEPS = [
    ["Is there anything to see?", "Each card below holds a score against chance and says so in words: yes, barely, or no better than chance.", ["help", "verdicts"], "What the verdicts mean"],
    ["What is a neuron about?", "Under a neuron's name a sentence says how many of its top sentences talk about a topic, and how many would by chance. Then read the sentences themselves.", ["neurons"], "All neurons, the surest first"],
    ["Where are the topics?", "The map counts, for each topic, the neurons of each layer that have it as a label.", ["map"], "The map"],
    ["How far can it be believed?", "Labels are made in two halves of the sentences apart. Where both halves confirm a label, a ring of green stands around it; each neuron's page ends with the commands that check it.", ["help"], "Every term in two lines"],
  ];

  // A page from the disk may be allowed no memory: then the tour comes back.
  function kept() {
    try {
      return localStorage.getItem(KEY) !== null;
    } catch {
      return false;
    }
  }

  function keep() {
    try {
      localStorage.setItem(KEY, "done");
    } catch {}
  }

  /** The tour; nothing where it was dismissed. */
  descry.tour = () => {
    if (kept()) return null;
    let at = 0;
    const title = h("h2", { tabindex: "-1" });
    const words = h("p", {});
    const link = h("p", {});
    const button = (text, onclick) => h("button", { type: "button", onclick }, text);
    const back = button("Back", () => turn(-1));
    const next = button("Next", () => turn(1));
    const box = h(
      "aside",
      { class: "tour", "aria-label": "Tour for first-time readers" },
      title,
      words,
      link,
      h("p", { class: "controls" }, back, next, button("Do not show this again", end)),
    );

    function show() {
      const [heading, text, place, asked] = STEPS[at];
      title.textContent = `${at + 1} of ${STEPS.length}: ${heading}`;
      words.textContent = text;
      link.replaceChildren(h("a", { href: descry.place(place) }, asked));
      back.disabled = at === 0;
      next.textContent = at === STEPS.length - 1 ? "Finish" : "Next";
    }

    function turn(by) {
      at += by;
      if (at === STEPS.length) return end();
      show();
      title.focus({ preventScroll: true }); // read out; Tab goes on in the box
    }

    function end() {
      keep();
      box.remove();
      const heading = document.querySelector("main h1");
      heading?.setAttribute("tabindex", "-1");
      heading?.focus({ preventScroll: true });
      descry.say("The tour is closed.");
    }

    show();
    return box;
  };
})();
