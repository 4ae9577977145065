"""The explorer of a run of the paper's size: how long it takes to write and to look at, how large.

Synthetic: 86,948 sentences of 60 words on average, drawn by Zipf's law from a vocabulary of 80,000;
9,216 neurons of normal noise, 26 descriptors by lot. Exemplars, labels and scores are made by the
stages themselves (scores with few permutations: their number changes nothing here).

    python benchmarks/explorer.py write --work FOLDER --json out.json
    python benchmarks/explorer.py browse --work FOLDER --json out.json

Writes 4 GB into --work and takes them up again. `browse` wants Chromium: pages are opened from the
disk, each in a context that holds nothing.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import typer
from activations import PAPER, Json, Said, Work, folder_for, report
from making import (
    DESCRIPTORS,
    PHRASES,
    WHO,
    descry,
    files_of,
    lots,
    say,
    sections,
    write_activations,
    write_annotations,
    write_candidates,
    write_corpus,
    write_sets_and_labels,
)
from playwright.sync_api import sync_playwright

from descry.io.parquet import read_table

VOCABULARY, WORDS = 80_000, 60  # and words of a sentence on average
OFFSET = 2.7  # of Zipf's law, as Mandelbrot has it
LETTERS = "e" * 12 + "t" * 9 + "a" * 8 + "o" * 8 + "in" * 7 + "shr" * 6 + "dlcu" * 3 + "mwfgypbvk"
CHROMIUM = shutil.which("chromium")
app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    help=__doc__.splitlines()[0],
)


@app.callback()
def main() -> None:
    """One part at a time."""


@app.command()
def write(
    sentences: int = PAPER,
    layers: int = 12,
    neurons: int = 768,
    rounds: int = 3,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """Time and peak memory of stage report, and what it writes."""
    with folder_for(work) as folder:
        stand_in(folder, sentences, layers, neurons)
        rows = [{"round": number} | written() for number in range(1, rounds + 1)]
    shape = {"sentences": sentences, "neurons": layers * neurons, "descriptors": DESCRIPTORS}
    report("explorer: write", rows, json_file, **shape)


def written() -> Said:
    """Seconds and peak memory of the stage in a process of its own; files and bytes."""
    command = [sys.executable, "-m", "descry", "stage", "report", *files_of("report")]
    start = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"report: exit status {os.waitstatus_to_exitcode(status)}")
    data = [path.stat().st_size for path in Path("results/report/data").iterdir()]
    said = {"seconds": seconds, "cpu seconds": usage.ru_utime + usage.ru_stime}
    said |= {"peak_mb": usage.ru_maxrss / 1024, "packs": len(data), "data_mb": sum(data) / 1e6}
    return said | {"first_view_kb": Path("results/report/data/run.js").stat().st_size / 1e3}


@app.command()
def browse(
    sentences: int = PAPER,
    layers: int = 12,
    neurons: int = 768,
    rounds: int = 20,
    work: Work = None,
    json_file: Json = None,
) -> None:
    """How soon a page is there, in Chromium, from the disk: medians and the slowest."""
    with folder_for(work) as folder:
        stand_in(folder, sentences, layers, neurons)
        if not Path("results/report/index.html").exists():
            written()
        times = browsed(Path("results/report").resolve(), layers * neurons, rounds)
    rows = [
        {"what": what, "median ms": median(found), "slowest ms": max(found), "times": len(found)}
        for what, found in times.items()
    ]
    shape = {"sentences": sentences, "neurons": layers * neurons}
    report("explorer: browse", rows, json_file, **shape)


def browsed(site: Path, neurons: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds until a page is drawn, by what was asked for."""
    rng = np.random.default_rng(0)
    numbers = rng.choice(neurons, rounds, replace=False).tolist()
    first, pages = [], []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for number in numbers:
            # A context of its own: nothing is held from the one before.
            with browser.new_context() as context:
                page = context.new_page()
                page.goto(f"{site.as_uri()}/index.html")
                page.wait_for_selector("main:not([aria-busy])")
                first.append(page.evaluate(FIRST))
                page.wait_for_timeout(300)
                pages.append(page.evaluate(NEURON, number))
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(f"{site.as_uri()}/index.html")
            page.wait_for_selector("main:not([aria-busy])")
            page.wait_for_timeout(3_000)  # what is read while nobody waits
            words = page.evaluate(SOME_WORDS, rounds)
            keys = [page.evaluate(TYPED, word[:end]) for word in words for end in ends(word)]
            page.evaluate("location.hash = '#/neurons'")
            page.wait_for_selector("[name=q]")
            rows = [page.evaluate(FILTERED, word[:end]) for word in words for end in ends(word)]
            loaded, scans = page.evaluate(SCANNED, words)
        browser.close()
    return {
        "first view": first,
        "a neuron's page": pages,
        "a letter in the search": keys,
        "a letter in the table's filter": rows,
        "alternative: a scan of all texts": scans,
        "alternative: reading all texts for it": [loaded],
    }


def ends(word: str) -> range:
    """How much of a word there is, letter by letter, from the third on."""
    return range(3, len(word) + 1)


# In the page: each gives milliseconds until what was asked for has been drawn.
DRAWN = """
const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
const shown = (selector, attribute, fits) => new Promise((done) => {
  const element = document.querySelector(selector);
  const observer = new MutationObserver(() => {
    if (!fits(element)) return;
    observer.disconnect();
    drawn().then(done);
  });
  observer.observe(element, { attributes: true, subtree: true, attributeFilter: [attribute] });
});
const here = () => shown("main", "aria-busy", (main) => !main.hasAttribute("aria-busy"));
const type = (box, text) => {
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
};
"""
FIRST = """() => Math.max(performance.getEntriesByName("shown")[0].startTime,
  performance.getEntriesByName("first-contentful-paint")[0].startTime)"""
NEURON = f"""async (number) => {{{DRAWN}
  const start = performance.now();
  const there = here();
  location.hash = "#/neuron/" + descry.neuronName(number);
  await there;
  return performance.now() - start;
}}"""
TYPED = f"""async (text) => {{{DRAWN}
  const box = document.getElementById("query");
  box.focus();
  const start = performance.now();
  const there = here();
  type(box, text);
  await there;
  return performance.now() - start;
}}"""
FILTERED = f"""async (text) => {{{DRAWN}
  const start = performance.now();
  const there = shown("main", "data-asked", () => true);
  type(document.querySelector("[name=q]"), text);
  await there;
  return performance.now() - start;
}}"""
SOME_WORDS = """async (count) => {
  const step = descry.run.sentences / count;
  const rows = Array.from({ length: count }, (_, k) => Math.floor(k * step));
  const sentences = await descry.sentences(rows);
  const long = (word) => word.length > 4 && !descry.run.common.includes(word);
  return sentences.map(({ text }) => descry.wordsOf(text).find(long) ?? "price");
}"""
SCANNED = """async (words) => {
  const start = performance.now();
  const packs = Math.ceil(descry.run.sentences / descry.run.pack.sentences);
  const texts = [];
  for (let pack = 0; pack < packs; pack++)
    for (const { text } of await descry.load(`sentences-${pack}`)) texts.push(text.toLowerCase());
  const loaded = performance.now() - start;
  return [loaded, words.map((word) => {
    const before = performance.now();
    texts.filter((text) => text.includes(word)).length;
    return performance.now() - before;
  })];
}"""


# The run


def stand_in(folder: Path, sentences: int, layers: int, neurons: int) -> None:
    """Make the folder the current one, with all that the stage reads; what is there stays."""
    os.chdir(folder)
    if not Path("results/scores.json").exists():
        Path("results").mkdir(exist_ok=True)
        build(sentences, layers, neurons)


def build(sentences: int, layers: int, neurons: int) -> None:
    """All that the stage reads; paths in it are relative to the current folder."""
    fast = {"permutations": 10, "gold": "gold.jsonl"}
    off = {name: {"enabled": False} for name in ("untrained", "facets", "interventions")}
    params = sections(evaluate=fast, graphs={"neurons": 0}, **off)
    say("reviews and corpus")
    write_corpus(texts(sentences), params)
    ids = read_table(Path("results/corpus.parquet"), "corpus")["id"].to_pylist()
    write_candidates(mentions(ids), params)
    answer = lots(sentences)
    noise = np.random.default_rng(1).exponential(2, answer.shape)
    write_annotations(ids, answer, np.where(answer, noise, -noise), params)
    say("activations")
    write_activations(sentences, layers, neurons, params)
    write_sets_and_labels()
    Path("gold.jsonl").write_text("", encoding="utf-8")
    write_others()


def write_others() -> None:
    """What the page reads besides, by the stages themselves; of some the empty files alone."""
    others = "graphs", "untrained", "judge", "writes", "facets", "interventions"
    for stage in (*others, "evaluate", "score"):
        say(stage)
        descry(stage)


def texts(sentences: int) -> list[str]:
    """Sentences of words drawn by Zipf's law, each another; lengths as those of reviews."""
    rng = np.random.default_rng(0)
    words = np.array(vocabulary(rng), dtype=object)
    share = np.cumsum(1 / (np.arange(VOCABULARY) + OFFSET))
    lengths = np.clip(rng.gamma(1.8, WORDS / 1.8, sentences).astype(int), 10, 200)
    drawn = words[np.searchsorted(share, rng.random(lengths.sum()) * share[-1])]
    parts = np.split(drawn, np.cumsum(lengths)[:-1])
    return [f"{' '.join(part)} {number}." for number, part in enumerate(parts)]


def vocabulary(rng: np.random.Generator) -> list[str]:
    """Different words, common ones short, of letters as frequent as in English."""
    letters = np.array([*LETTERS])
    found: dict[str, None] = {}
    while len(found) < VOCABULARY:
        length = 1 + int(rng.poisson(0.6 + 0.9 * np.log10(1 + len(found))))
        found["".join(rng.choice(letters, length))] = None
    return list(found)


def mentions(ids: list[str]) -> dict[str, list[str]]:
    """Raw descriptors by lot, one of each sentence."""
    drawn = np.random.default_rng(2).integers(0, DESCRIPTORS * PHRASES, len(ids)).tolist()
    said = {"id": ids, "annotator": [WHO.name] * len(ids), "phrase": [f"phrase {n}" for n in drawn]}
    return said | {"key": ["0" * 64] * len(ids)}


if __name__ == "__main__":
    app()
