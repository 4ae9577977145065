"""What Snakemake left up to date is not asked anew, and any doubt is Snakemake's to settle."""

import os
import time
from types import SimpleNamespace

import pytest

from descry.workflow import settled as workflow
from descry.workflow.settled import SETTLED, note, settled


def job(name, read, written):
    return SimpleNamespace(rule=SimpleNamespace(name=name), input=read, output=written)


JOBS = [
    job("corpus", ["data/sample/a.jsonl", "src/corpus.py"], ["results/corpus.parquet"]),
    job("report", ["results/corpus.parquet", "src/app/page.js"], ["results/report"]),
]
FILES = ["data/sample/a.jsonl", "src/corpus.py", "src/app/page.js", "params.yaml", "Snakefile"]
FILES += ["dvc.yaml", "src/descry/workflow/rules/common.smk", "results/corpus.parquet"]
FILES += ["results/report/index.html", "results/report/data/one.js", "profiles/default/config.yaml"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    SETTLED.parent.mkdir()
    note(JOBS, time.time() + 1)
    return tmp_path


def both():
    return {settled("corpus"), settled("report")}


def test_what_a_run_left_is_settled_and_no_other_stage(project):
    assert both() == {True}
    assert not settled("label")


@pytest.mark.parametrize("name", FILES)
def test_whatever_changes_is_asked_about(project, name):
    path = project / name
    path.write_text(name[::-1])  # as long as it was
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert both() == {False}


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_gone_is_asked_about(project, name):
    (project / name).unlink()
    assert both() == {False}


@pytest.mark.parametrize(
    "name", ["data/sample/b.jsonl", "src/app/more.js", "results/report/more.html"]
)
def test_a_file_more_in_a_folder_that_is_read_or_written_is_asked_about(project, name):
    (project / name).write_text("new")
    assert both() == {False}


def test_what_python_leaves_beside_code_is_no_change(project):
    (project / "src/__pycache__").mkdir()
    (project / "src/.hidden").write_text("")
    assert both() == {True}


@pytest.mark.parametrize(
    "name", ["locks/0.input.lock", "failed/results/x", "backups/results/x", "incomplete/x"]
)
def test_a_run_under_way_or_its_remains_are_asked_about(project, name):
    path = SETTLED.parent / name
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert both() == {False}


def test_a_damaged_note_is_asked_about(project):
    SETTLED.write_text(SETTLED.read_text()[:50])
    assert both() == {False}
    SETTLED.unlink()
    assert both() == {False}


def test_nothing_is_noted_of_a_run_whose_inputs_changed_while_it_went_on(project):
    note(JOBS, (project / "params.yaml").stat().st_ctime)
    assert both() == {False}
    note(JOBS, time.time() + 1)
    assert both() == {True}


def test_without_source_files_the_installed_package_is_looked_at(tmp_path, monkeypatch):
    package = tmp_path / "site-packages/descry"
    monkeypatch.setattr(workflow, "PACKAGE", package)
    (tmp_path / "study/.snakemake").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "study")
    (package / "__pycache__").mkdir(parents=True)
    (package / "metrics.py").write_text("one = 1")
    (package / "__pycache__/io.cpython-311.pyc").write_text("")
    note([job("label", [], [])], time.time() + 1)
    assert settled("label")
    (package / "__pycache__/metrics.cpython-311.pyc").write_text("")
    (package / "__pycache__/io.cpython-311.pyc").write_text("compiled again")
    assert settled("label")
    (package / "metrics.py").write_text("one = 1  # upgraded")
    assert not settled("label")
