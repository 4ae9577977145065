"""A checkout of the project with a miniature corpus, in which both tools run for real."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import warm
import yaml

ROOT = Path(__file__).parent.parent
STAGES = [
    "corpus", "describe", "cluster", "activations", "exemplars", "untrained",
    "graphs", "annotate", "judge", "label", "writes", "facets", "evaluate", "score",
    "interventions", "figures", "report",
]  # fmt: skip
SNAKEMAKE, DVC = "snakemake --cores all", "dvc repro"
AFTER_LABEL = {
    "label",
    "writes",
    "facets",
    "evaluate",
    "score",
    "interventions",
    "figures",
    "report",
}
PARAMS = {
    "activations.layers": [3, 5],  # of six: most stages follow the number of neurons
    "cluster.min_size": 2,
    "cluster.min_mentions": 4,
    "cluster.max_descriptors": 8,
    "exemplars.top_percent": 10.0,
    "untrained.enabled": False,  # loads and runs the model once more: tests/test_untrained.py
    "graphs.neurons": 0,  # likewise: tests/test_graphs.py
    "interventions.enabled": False,  # likewise: tests/test_effects.py
    "facets.enabled": False,  # likewise: tests/test_facets_stage.py
    "label.rule": "composition",  # so few sentences have hardly a label by enrichment
    "label.compose": 2,
    "evaluate.permutations": 5,
}
BESIDE = {".gitignore", ".snakemake_timestamp", "commit.js"}  # results do not depend on these
LINES = 7  # reviews of each category


class Repo:
    """A checkout of the project in which both tools run."""

    def __init__(self, path):
        self.path = path

    def sh(self, command, status=0):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        if sys.executable == warm.PYTHON:  # not the environment of a package that a test installed
            path = f"{warm.folder()}:{path}"
        done = subprocess.run(
            command, shell=True, cwd=self.path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "PATH": path},
        )  # fmt: skip
        assert done.returncode == status, f"{command}\n{done.stdout}"
        return done.stdout

    def ran(self, command):
        """The stages that a command ran: those that wrote a log (touching makes an empty one)."""
        shutil.rmtree(self.path / "logs", ignore_errors=True)
        self.sh(command)
        return {log.stem for log in self.path.glob("logs/*.log") if log.stat().st_size}

    def due(self):
        """The stages that Snakemake would run, by a dry run."""
        said = self.sh("snakemake -n --cores all")
        return set(re.findall(r"^(\w+) +1$", said, re.MULTILINE)) & set(STAGES)

    def set(self, **values):
        file = self.path / "params.yaml"
        params = yaml.safe_load(file.read_text())
        for dotted, value in values.items():
            section, key = dotted.split(".")
            params[section][key] = value
        file.write_text(yaml.safe_dump(params, sort_keys=False))

    def settled(self):
        """Neither tool has anything to do."""
        return "up to date" in self.sh("dvc status") and "Nothing to be done" in self.sh(
            "snakemake -n --cores all"
        )

    def results(self):
        return {
            path.relative_to(self.path).as_posix(): path.read_bytes()
            for path in sorted(self.path.glob("results/**/*"))
            if path.is_file() and path.name not in BESIDE
        }


def copy_of(repo, path):
    """A copy of a checkout, with the times of its files."""
    subprocess.run(["cp", "-a", repo.path, path], check=True)
    return Repo(path)


def clone_of(repo, path):
    """A clone of a checkout: no data, no records of Snakemake."""
    subprocess.run(["git", "clone", "-q", repo.path, path], check=True)
    return Repo(path)


def small_project(path, snakefile, stages, params, ignored):
    """A project of a few rules, none of descry's, in which Snakemake and DVC have run nothing yet.

    Args:
        snakefile: its rules; above them the guard brings both tools' records in step.
        stages: of dvc.yaml.
        params: the text of params.yaml.
        ignored: what DVC passes over.
    """
    repo = Repo(path)
    path.mkdir(parents=True)
    (path / "params.yaml").write_text(params)
    (path / "Snakefile").write_text(GUARDED + snakefile)
    (path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    repo.sh("git init -q && dvc init -q && printf '.snakemake/\nlogs/\n' > .gitignore")
    (path / ".dvcignore").write_text("".join(f"{name}\n" for name in ignored))
    return repo


GUARDED = """
from pathlib import Path

import yaml

from descry.workflow.reconcile import reconcile

if workflow.is_main_process:
    reconcile()
"""


def check_out(path):
    """The files that git would commit, as a new repository with the miniature's params and data."""
    repo = Repo(path)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        there = (ROOT / name).is_file() or (ROOT / name).is_symlink()
        if there and not name.startswith(("tests/", "results/", "dvc.lock")):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name, follow_symlinks=False)
    for file in path.glob("data/sample/*.jsonl"):
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:LINES]))
    (path / "data/descriptors.yaml").write_text("drop: []\n")
    repo.set(**PARAMS)
    repo.sh("git init -q -b main && git add -A && git commit -qm init")
    return repo
