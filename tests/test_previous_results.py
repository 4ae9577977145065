"""A job that fails or is killed leaves the previous results, which pass for nothing newer."""

from pathlib import Path

import pytest
from miniature import DVC, SNAKEMAKE, copy_of, small_project

from descry.workflow import previous_results as previous
from descry.workflow.reconcile import STAMP

# Two files and a folder, each put in place whole; between the first file and the rest comes `stop`.
SNAKEFILE = """
from descry.workflow.previous_results import keep_previous

outputflags: update

keep_previous()

rule made:
    input: "words.txt"
    output: "results/first.txt", "results/second.txt", directory("results/page")
    params: words=yaml.safe_load(Path("params.yaml").read_text())["made"]["words"]
    shell:
        "put() {{ echo {params:q} > results/.part && mv results/.part $1; }}; put {output[0]};"
        " if [ -e stop ]; then source ./stop; fi; put {output[1]};"
        " mkdir results/.page; put results/.page/index.html;"
        " rm -rf {output[2]}; mv results/.page {output[2]}"
"""
OUTPUTS = ["results/first.txt", "results/second.txt", "results/page"]
STAGE = {
    "cmd": f"{SNAKEMAKE} made",
    "deps": ["words.txt"],
    "params": ["made"],
    "outs": [{out: {"persist": True}} for out in OUTPUTS],
}
FILES = [*OUTPUTS[:2], "results/page/index.html"]
STOPS = {  # what goes wrong, and how Snakemake ends
    "the stage fails": ("exit 3", 1),
    "the stage is killed": ("kill -9 $$", 1),
    "Ctrl-C": ("trap 'exit 130' INT; kill -INT 0; sleep 9", 1),
    "all is killed": ("kill -9 0", 137),
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The project with all made by the first words; nobody changes it."""
    path, stages = tmp_path_factory.mktemp("previous") / "whole", {"made": STAGE}
    repo = small_project(path, SNAKEFILE, stages, "made: {words: old}\n", [STAMP])
    (path / "profiles/default").mkdir(parents=True)
    (path / "profiles/default/config.yaml").write_text("rerun-incomplete: true\n")
    (path / "words.txt").write_text("any\n")
    repo.sh(f"{SNAKEMAKE} made")
    return repo


@pytest.fixture
def project(whole, tmp_path):
    """A copy of it, for a test to change."""
    return copy_of(whole, tmp_path / "project")


def held(repo):
    """What stands in the results."""
    return {(repo.path / name).read_text() for name in FILES}


def stopped(repo, how, words="new"):
    """Run into a stop, with other words."""
    script, status = STOPS[how]
    (repo.path / "stop").write_text(script)
    repo.set(**{"made.words": words})
    repo.sh(f"setsid -w {SNAKEMAKE} made", status)
    if status == 137:
        repo.sh("snakemake --unlock && snakemake -n made")
    (repo.path / "stop").unlink()


@pytest.mark.parametrize("how", STOPS)
def test_the_previous_results_are_there_and_are_not_taken_for_the_new(project, how):
    stopped(project, how)
    assert held(project) == {"old\n"}
    assert "Nothing to be done" not in project.sh("snakemake -n made")
    project.sh(f"{SNAKEMAKE} made")
    assert held(project) == {"new\n"}
    assert "Nothing to be done" in project.sh("snakemake -n made")


def test_after_a_failure_dvc_vouches_for_the_previous_results_if_all_is_as_it_was(project):
    project.sh(DVC)
    stopped(project, "the stage fails")
    assert "modified" in project.sh("dvc status")
    project.set(**{"made.words": "old"})
    assert "up to date" in project.sh("dvc status")
    said = project.sh("snakemake -n made")
    assert "adopting as recorded in dvc.lock" in said and "Nothing to be done" in said


def test_where_there_was_no_result_a_failure_leaves_none(project):
    for name in ("first.txt", "second.txt"):
        (project.path / "results" / name).unlink()
    stopped(project, "the stage fails")
    assert not (project.path / "results/first.txt").exists()
    assert (project.path / "results/page/index.html").read_text() == "old\n"


@pytest.fixture
def result(tmp_path, monkeypatch):
    """A result with a backup, and another one in its place."""
    monkeypatch.chdir(tmp_path)
    path = Path("results.txt")
    path.write_text("old")
    previous._back_up(None, path)
    assert (previous.BACKUPS / path).stat().st_ino == path.stat().st_ino  # a link
    path.unlink()
    path.write_text("new")
    return path


def test_restoring_twice_as_node_and_main_process_do_is_restoring_once(result):
    for _ in range(2):
        assert previous._restored(None, result)
        assert result.read_text() == "old"
    assert list(previous.outlasting([str(result)])) == [result]
    assert list(previous.outlasting([str(result)])) == []


def test_a_result_that_was_made_after_a_failure_is_its_jobs_own(result):
    previous._restored(None, result)
    previous._back_up(None, result)
    result.unlink()
    result.write_text("new")
    previous._forgotten(None, result)
    assert list(previous.outlasting([str(result)])) == []
    assert not previous._restored(None, result)  # of a job without a backup it is no earlier result
    assert result.read_text() == "new"
