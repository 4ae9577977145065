"""The commands of README.md and of the pages for one's own study work, one after another."""

import json
import re
import sys

import pytest
import yaml
from miniature import ROOT, STAGES

from descry.models.checkpoints import contents_sha256
from descry.models.kinship import kinship
from descry.workflow.params import load

# In the order in which a study goes: each goes on with what those before it left.
PAGES = ["README.md", "docs/reviews.md", "docs/models.md", "docs/annotators.md"]
PAGES += ["docs/answers.md", "docs/orchestration.md"]
COMMANDS = [
    line
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    for line in block.splitlines()
]


def own_reviews(repo):
    """The sample's texts in a file of one's own: so no answer is another."""
    rows = [
        json.loads(line)
        for file in sorted(repo.path.glob("data/sample/*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    lines = (json.dumps({"text": row["reviewText"]}) + "\n" for row in rows)
    (repo.path / "data/mine.jsonl").write_text("".join(lines))


@pytest.mark.slow
def test_every_command_of_these_pages_runs(repo):
    """`make run` takes the environment that runs the tests for the installed one."""
    (repo.path / ".venv").symlink_to(sys.prefix)
    own_reviews(repo)
    said = {}
    for command in COMMANDS:
        if command in ("make test", "make decoder"):
            continue  # that is what is running now; and a quarter of an hour
        said[command] = repo.sh(re.sub("^make ", "make -o .venv/installed ", command))
    assert "neurons have a label" in said["make run"]
    assert "L5:50" in said["descry show L5:50"]
    assert "sha256" in said["descry audit L5:50"]
    assert repo.settled()
    check_rebuilt_of_own_reviews(repo)


def check_rebuilt_of_own_reviews(repo):
    """DVC ran every stage, on the file that was added, and nobody was asked anything."""
    locked = yaml.safe_load((repo.path / "dvc.lock").read_text())["stages"]["corpus"]
    assert "data/mine.jsonl" in {dep["path"] for dep in locked["deps"]}
    logs = {log.stem: log.read_text() for log in repo.path.glob("logs/*.log")}
    assert {stage for stage, log in logs.items() if log} == set(STAGES)
    for stage in ("describe", "annotate"):
        assert "asked 0, failed 0" in logs[stage]


def test_make_decoder_explains_the_file_that_it_fetches():
    told = (ROOT / "Makefile").read_text()
    preset = load(ROOT / "presets/decoder.yaml")
    target = preset.activations.target
    assert f"GGUF := {target.model}\n" in told
    assert "descry preset decoder" in told
    assert kinship(target.model_dump(), preset.annotate.annotator.model_dump()) is None
    if (ROOT / target.model).is_file():
        assert contents_sha256(ROOT / target.model) == target.revision


def test_the_ci_calls_the_readmes_test_command():
    assert "make test" in COMMANDS
    assert re.search(r"^make .*\btest$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def anchors(page):
    """Where links into a page can lead: its headings, as GitHub makes names of them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda path: path.name
)
def test_links_and_pictures_are_there(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for place, anchor in re.findall(r"\]\((?!http)([^)#\s]*)(?:#([^)]+))?\)", text):
        target = page.parent / place if place else page
        assert target.exists(), place
        assert not anchor or anchor in anchors(target), f"{place}#{anchor}"


def test_the_readme_is_short_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    linked = {page.name for page in ROOT.glob("docs/*.md") if f"(docs/{page.name}" in text}
    others = {page.name for page in ROOT.glob("docs/*.md")} - linked
    for name in others:  # at one remove, from a page that is linked
        assert any(f"({name}" in (ROOT / "docs" / page).read_text("utf-8") for page in linked), name


def test_what_is_said_of_the_files_of_a_run_is_there(built):
    text = (ROOT / "docs/files.md").read_text("utf-8")
    table = text.partition("| file in results/ |")[2].partition("\n\n")[0]
    names = re.findall(r"^\| ([a-z_]+\.[a-z0-9]+)", table, re.MULTILINE)
    assert len(names) == 21
    for name in names:
        assert (built.path / "results" / name).is_file(), name
