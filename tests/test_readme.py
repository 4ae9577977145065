"""The README's commands work, in the order in which they stand there."""

import re
import sys
from pathlib import Path

import pytest
from miniature import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.slow
def test_every_command_of_the_readme_runs(repo):
    """`make run` takes the environment that runs the tests for the installed one."""
    (repo.path / ".venv").symlink_to(sys.prefix)
    sample = sorted(repo.path.glob("data/sample/*.jsonl"))
    (repo.path / "data/mine.jsonl").write_text("".join(file.read_text() for file in sample))
    said = {}
    for command in COMMANDS:
        if command == "make test":
            continue  # that is what is running now
        said[command] = repo.sh(re.sub("^make ", "make -o .venv/installed ", command))
    assert "neurons have a label" in said["make run"]
    assert "L5:50" in said["descry show L5:50"]
    assert "sha256" in said["descry audit L5:50 --rows 1"]
    assert "data/mine.jsonl" in (repo.path / "dvc.lock").read_text()


def test_the_ci_calls_the_readmes_test_command():
    assert "make test" in COMMANDS
    assert re.search(r"^make .*\btest$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_links_and_pictures_are_there():
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert "docs/benchmarks.md" in links
    assert [link for link in links if not Path(ROOT, link).exists()] == []


def test_what_the_readme_says_of_the_results_is_there(built):
    table = README.partition("| file in results/ |")[2].partition("\n\n")[0]
    names = re.findall(r"^\| ([a-z_]+\.[a-z0-9]+)", table, re.MULTILINE)
    assert len(names) == 15
    for name in names:
        assert (built.path / "results" / name).is_file(), name
