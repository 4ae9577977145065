"""The documentation as a site, and its tutorial."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
import typer
import yaml
from miniature import ROOT
from planted import run_evaluate, run_facets, run_untrained, topic_vectors

import descry
from descry.annotators.spec import KINDS
from descry.cli import app as cli
from descry.workflow.params import Params

HOOKS = ROOT / "docs/hooks"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def hooks(monkeypatch):
    """The modules that make pages can be imported."""
    monkeypatch.syspath_prepend(HOOKS)


# The tutorial


def test_the_tutorial_runs_on_a_run_of_ones_own(run, hooks):
    """Every cell says something, of the kind that its stored output is of."""
    import run_notebook

    run_facets(topic_vectors)
    run_untrained(seed=0)
    run_evaluate()
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    (run / "docs").mkdir()
    notebook = nbformat.read(ROOT / "docs/tutorial.ipynb", as_version=4)
    cells = list(run_notebook.outputs(notebook, run / "docs"))
    assert len(cells) > 10
    for cell, found in cells:
        assert [one.output_type for one in found] == [one.output_type for one in cell.outputs]
    said = [one.get("text", "") for _, found in cells for one in found]
    assert "faults: none" in said[-2] and "by chance" in said[-1]


def test_the_output_in_the_tutorial_is_that_of_the_sample():
    notebook = nbformat.read(ROOT / "docs/tutorial.ipynb", as_version=4)
    shown = [one for cell in notebook.cells for one in cell.get("outputs", ())]
    assert "1,800 sentences, 2,304 neurons" in shown[0]["data"]["text/html"]
    assert "/work" not in str(shown) and "rror" not in str(shown).replace("mirror", "")


# The commands


def shown_commands():
    """Every `descry ...` of a block or of a line of text in the documents: page, words."""
    for path in sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")]):
        text = path.read_text("utf-8")
        blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
        lines = "\n".join(lines).replace("\\\n", " ").splitlines()
        lines += re.findall(r"`(descry [^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in lines:
            for part in re.split(r"&&|[;&|]", line):
                if words := re.match(r"\s*(?:\w+=\S+ )*descry (.+)", part):
                    yield path.name, words[1].split()


def test_every_command_that_is_shown_exists_with_its_options():
    app, seen = typer.main.get_command(cli.app), 0
    for page, words in shown_commands():
        command = app
        while words and hasattr(command, "commands"):
            name = words.pop(0).rstrip(",.")
            assert name in command.commands or name.isupper() or name[0] in "-.…", f"{page}: {name}"
            command = command.commands.get(name)
        options = command.params if command else []
        known = {"--help"}.union(*(one.opts + one.secondary_opts for one in options))
        given = {re.sub(r"[=,.].*", "", word) for word in words if re.match(r"--?[a-z]", word)}
        assert not command or given <= known, f"{page}: {given - known}"
        seen += 1
    assert seen > 100


# The reference


def test_every_parameter_is_on_the_page_with_a_meaning(hooks):
    import params_page

    page = params_page.page()
    parts = re.split(r"^##+ (.*)$", page, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    for name, field in Params.model_fields.items():
        rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", sections[name], re.MULTILINE)
        assert {key for key, _ in rows} == set(field.annotation.model_fields)
        assert name == "shards" or all(meaning for _, meaning in rows)
    for kind in KINDS:
        name = kind.model_json_schema()["properties"]["kind"]["const"]
        rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", sections[f"kind: {name}"], re.MULTILINE)
        assert {key for key, _ in rows} == set(kind.model_fields) - {"kind"}
        assert all(meaning for _, meaning in rows)


def test_every_public_name_is_on_the_page_of_the_api():
    page = (ROOT / "docs/api.md").read_text("utf-8")
    shown = {path.rpartition(".")[2] for path in re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE)}
    assert {name for name in descry._LAZY if name != "N2G_SETTINGS"} <= shown


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Page(HTMLParser):
    """What a page loads, where its links lead, and where links can lead to in it."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.names = [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        self.names |= {of[key] for key in ("id", "name") if of.get(key)}
        if tag == "a" and "href" in of:
            self.links.append(of["href"])
        elif tag == "link" or "src" in of:
            self.loads.append(of.get("src") or of["href"])


OUTSIDE = re.compile(r"(https?:)?//")


@pytest.mark.slow
def test_no_link_is_dead_and_nothing_comes_from_elsewhere(site):
    pages = {path: Page(path) for path in site.glob("*.html") if path.name != "404.html"}
    assert len(pages) > 30
    for path, page in pages.items():
        assert not [one for one in page.loads if OUTSIDE.match(one)], path.name
        for link in {*page.loads, *page.links}:
            if OUTSIDE.match(link) or link.startswith(("mailto:", "data:")):
                continue
            place, anchor = urldefrag(unquote(link))
            target = (path.parent / place).resolve() if place else path
            assert target.is_file(), f"{path.name}: {link}"
            known = pages[target].names if target in pages else {anchor}
            assert not anchor or anchor in known, f"{path.name}: {link}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text("utf-8")), path


@pytest.mark.slow
def test_every_page_is_in_the_navigation(site):
    """Also those that the build makes: of the root's documents, the parameters, the tutorial."""
    navigation = Page(site / "index.html").links
    pages = {path.name for path in site.glob("*.html")} - {"404.html"}
    assert pages <= {urldefrag(link)[0] for link in navigation} | {"index.html"}
    named = re.findall(
        r"[\w-]+\.md", yaml.dump(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader))
    )
    assert {name.replace(".md", ".html") for name in named} == pages


class Loader(yaml.SafeLoader):
    """Of mkdocs.yml: what is made by Python is passed over."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_site_opens_from_a_file_and_its_search_finds(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    asked, wrong = [], []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        for name in ("index", "tutorial", "params", "api", "architecture"):
            page.goto((site / f"{name}.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("close negatives")
        found = page.locator(".md-search-result__item").first
        found.wait_for(timeout=20000)
        assert "negative" in found.inner_text().lower()
        browser.close()
    assert not wrong
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
