"use strict";
/* Which page the address asks for; keys, the search box, and where one was. */
(() => {
  const { h } = descry;
  const PAGES = {
    "": descry.overview,
    map: descry.map,
    neurons: descry.neurons,
    neuron: descry.neuronPage,
    graph: descry.graphPage,
    descriptors: descry.descriptors,
    descriptor: descry.descriptorPage,
    sentence: descry.sentencePage,
    search: descry.found,
    help: descry.help,
    compare: descry.compare,
  };
  const main = document.getElementById("main");
  const box = document.getElementById("query");
  let turn = 0;
  let last = null;

  /** A page that says what is not there. */
  descry.absent = (words) => ({
    title: "Not here",
    content: [
      h("h1", {}, "Not here"),
      h("p", {}, words),
      h("p", {}, h("a", { href: "#/" }, "To the overview")),
    ],
  });

  function asked() {
    const text = location.hash.replace(/^#\/?/, "");
    const [path, query = ""] = text.split(/\?(.*)/s);
    if (/^[Ll]\d+:\d+$/.test(path))
      return { page: "neuron", parts: [path], query: new URLSearchParams() }; // links of older pages
    const [page, ...parts] = path.split("/").map(decoded);
    return { page, parts, query: new URLSearchParams(query) };
  }

  function decoded(part) {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  }

  async function show() {
    const own = ++turn;
    main.setAttribute("aria-busy", "true");
    const { page, parts, query } = asked();
    let found;
    try {
      found = Object.hasOwn(PAGES, page)
        ? await PAGES[page](parts, query)
        : descry.absent("There is no such page.");
    } catch (error) {
      found = {
        title: "Not read",
        content: [
          h("h1", {}, "This could not be read"),
          h(
            "p",
            {},
            `${error.message}: copy the whole folder results/report, or make it again with `,
            h("code", {}, "snakemake --cores all report"),
            ".",
          ),
        ],
      };
    }
    if (own !== turn) return; // another page was asked for meanwhile
    const typing = document.activeElement === box;
    main.replaceChildren(...found.content.flat(Infinity).filter(Boolean));
    document.title = page
      ? `${found.title} · ${descry.run?.title ?? "descry"}`
      : (descry.run?.title ?? "descry");
    for (const link of document.querySelectorAll("header nav a")) {
      const here =
        link.getAttribute("href") ===
        `#/${page === "neuron" ? "neurons" : page === "descriptor" ? "descriptors" : page}`;
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (page !== "search" && !typing) box.value = "";
    else if (page === "search" && !typing) box.value = query.get("q") ?? "";
    if (!(page === "search" && typing)) {
      window.scrollTo(0, history.state?.y ?? 0);
      if (last !== null) focus();
      if (found.at && !history.state?.y) document.getElementById(found.at)?.scrollIntoView({ block: "center" });
    }
    last = page;
    main.removeAttribute("aria-busy");
    main.dataset.shown = location.hash;
    performance.mark("shown");
  }

  /** To the new page's heading, so that it is read out and Tab goes on from there. */
  function focus() {
    const heading = main.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") {
      event.preventDefault();
      box.focus();
      box.select();
    }
    const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    if (rel && event.target.closest(".scroll") === null)
      main.querySelector(`.title a[rel=${rel}]`)?.click();
  }

  /** While one types, the page of what is found follows; one entry in the history for all of it. */
  function typed() {
    const place = descry.place(["search"], { q: box.value });
    if (asked().page === "search") history.replaceState(null, "", place);
    else history.pushState(null, "", place);
    show();
  }

  function scrolled() {
    clearTimeout(scrolled.timer);
    scrolled.timer = setTimeout(() => history.replaceState({ y: window.scrollY }, ""), 150);
  }

  async function ahead() {
    if (!descry.run) return;
    for (const name of ["table-highest", "shown"]) await descry.load(name).catch(() => {});
  }

  async function start() {
    history.scrollRestoration = "manual";
    await descry.open().catch(() => {});
    if (descry.run) document.getElementById("made").textContent = `descry ${descry.run.version}.`;
    await show();
    addEventListener("hashchange", show);
    addEventListener("keydown", keys);
    addEventListener("scroll", scrolled, { passive: true });
    box.addEventListener("input", typed);
    document.getElementById("search").addEventListener("submit", (event) => {
      event.preventDefault();
      if (descry.neuronNumber(box.value.trim()) !== null)
        location.hash = descry.place(["neuron", box.value.trim()]);
      else typed();
    });
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault();
      main.focus();
    });
    // What neurons' pages and a search need first, while nobody waits for it.
    requestIdleCallback(ahead, { timeout: 3000 });
  }

  start();
})();
