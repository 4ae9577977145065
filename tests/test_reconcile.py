"""The guard on an output that is a folder: both tools for real, on a project of two rules."""

import faults
import pytest
import yaml
from miniature import DVC, SNAKEMAKE, Repo, copy_of, small_project

from descry.workflow.reconcile import STAMP

SNAKEFILE = """
rule all:
    default_target: True
    input: "results/counted.txt"

rule page:
    input: "words.txt"
    output: directory("results/page")
    params: page=yaml.safe_load(Path("params.yaml").read_text())["page"]["title"]
    log: "logs/page.log"
    shell:
        "mkdir -p {output}/data && echo made > {log}; date +%N > {output}/data/commit.js;"
        " echo {params:q} | tee {output}/index.html > {output}/data/a-b.js;"
        " for w in $(cat words.txt); do echo $w > {output}/data/$w.js; done"

rule counted:
    input: "results/page"
    output: "results/counted.txt"
    log: "logs/counted.log"
    shell: "echo made > {log}; cat {input}/data/[a-z]*.js | grep -v [0-9] | wc -l > {output}"
"""
PERSIST = {"persist": True}
STAGES = {
    "page": {
        "cmd": f"{SNAKEMAKE} page",
        "deps": ["words.txt"],
        "params": ["page"],
        "outs": [{"results/page": PERSIST}],
    },
    "counted": {
        "cmd": f"{SNAKEMAKE} counted",
        "deps": ["results/page"],
        "outs": [{"results/counted.txt": PERSIST}],
    },
}
BOTH = {"page", "counted"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The project with all made and recorded, committed as v1; nobody changes it."""
    path = tmp_path_factory.mktemp("guarded") / "made"
    ignored = [STAMP, "results/page/data/commit.js"]
    repo = small_project(path, SNAKEFILE, STAGES, "page: {title: First}\n", ignored)
    (path / "words.txt").write_text("one two\n")
    assert repo.ran(DVC) == BOTH
    repo.sh("git add -A && git commit -qm v1 && git tag v1")
    return repo


@pytest.fixture
def project(made, tmp_path):
    """A copy of it, for a test to change."""
    return copy_of(made, tmp_path / "project")


def page(repo):
    """The folder's files that DVC versions, by name."""
    folder = repo.path / "results/page"
    ignored = {STAMP, "commit.js"}
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ignored
    }


def test_what_both_tools_made_stays_as_it_is_whatever_the_note_of_the_commit(project):
    assert set(page(project)) == {"index.html", "data/a-b.js", "data/one.js", "data/two.js"}
    (project.path / "results/page/data/commit.js").write_text("another commit")
    assert project.ran(SNAKEMAKE) == set()
    assert project.settled()


def test_a_folder_that_dvc_restored_into_a_fresh_clone_is_adopted(project, tmp_path):
    clone = Repo(tmp_path / "clone")
    project.sh(f"git clone -q . {clone.path}")
    clone.sh(f"dvc cache dir -q --local {project.path}/.dvc/cache && dvc checkout -q")
    assert not (clone.path / "results/page" / STAMP).exists()
    assert page(clone) == page(project)
    assert clone.ran(SNAKEMAKE) == set()
    assert (clone.path / "results/page" / STAMP).exists()
    assert clone.settled()
    clone.set(**{"page.title": "Second"})
    assert clone.ran(SNAKEMAKE) == BOTH


def test_an_older_version_that_dvc_puts_beside_the_newers_stamp_never_passes_for_it(project):
    first = page(project)
    project.set(**{"page.title": "Second"})
    assert project.ran(DVC) == {"page", "counted"}
    second = page(project)
    project.sh("git commit -qam v2 && git checkout -q v1 && dvc checkout -q")
    assert (project.path / "results/page" / STAMP).exists()
    assert page(project) == first != second
    assert project.settled()
    project.set(**{"page.title": "Second"})  # what .snakemake remembers; not what the folder is
    assert project.ran(SNAKEMAKE) == BOTH
    assert page(project) == second


def test_a_folder_in_which_a_file_was_edited_removed_or_added_is_made_again(project):
    before, data = page(project), project.path / "results/page/data"
    for change in (
        lambda: (data / "one.js").write_text("forged\n"),
        lambda: (data / "one.js").unlink(),
        lambda: (data / "more.js").write_text("more\n"),
    ):
        change()
        assert page(project) != before
        assert "page" in project.ran(SNAKEMAKE)
        assert page(project) == before
    assert project.settled()


def test_a_folder_without_its_inputs_is_named(project):
    (project.path / "words.txt").unlink()
    (project.path / "results/page/data/one.js").write_text("forged\n")
    said = project.sh(f"{SNAKEMAKE} page", status=1)
    assert "results/page is here without words.txt: run `dvc pull`, or delete results/page" in said
    assert page(project)["data/one.js"] == "forged\n"


def test_a_file_that_was_an_output_of_an_older_version_does_not_stand_in_the_way(project):
    lock = project.path / "dvc.lock"
    recorded = yaml.safe_load(lock.read_text())
    old = {"path": "results/page/index.html", "hash": "md5", "md5": "0" * 32, "size": 1}
    recorded["stages"]["page"]["outs"] = [old]
    lock.write_text(yaml.safe_dump(recorded))
    assert project.ran(DVC) == set()  # Snakemake has made the folder; DVC records it
    assert [out["path"] for out in yaml.safe_load(lock.read_text())["stages"]["page"]["outs"]] == [
        "results/page"
    ]
    assert project.settled()


def test_what_is_edited_after_the_clock_was_set_back_is_not_passed_over(project):
    faults.set_clock_back(project, 86_400)
    (project.path / "words.txt").write_text("one two three\n")
    assert project.ran(SNAKEMAKE) == BOTH
    assert "data/three.js" in page(project)
    assert project.ran(DVC) == set()
    assert project.settled()


def test_after_the_clock_was_set_back_results_are_adopted_as_recorded(project):
    faults.set_clock_back(project, 86_400)
    said = project.sh("snakemake -n --cores all")
    assert "files are of a later time than now, so the clock was set back" in said
    assert "adopting as recorded in dvc.lock: page, counted" in said
    assert project.settled()


def test_after_the_clock_was_set_back_what_nothing_vouches_for_is_made_again(project):
    (project.path / "dvc.lock").unlink()
    faults.set_clock_back(project, 86_400)
    assert project.ran(SNAKEMAKE) == BOTH
    assert project.ran(SNAKEMAKE) == set()


@pytest.mark.skipif(not faults.has_second_user(), reason="not root, or no setpriv")
@pytest.mark.parametrize("may_read", [False, True])
def test_a_second_user_is_told_to_clone_the_study(project, may_read):
    faults.give_away(project)
    if may_read:
        project.sh("chmod -R a+rX .")
    command = faults.as_second_user(SNAKEMAKE)
    status, said = faults.Run(project, command).end()
    assert status != 0 and "Traceback" not in said
    assert ".snakemake: belongs to" in said and "clone it or copy it" in said
