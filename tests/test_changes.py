"""What changed for a neuron between two commits, read from git and dvc.lock."""

from dataclasses import replace
from pathlib import Path

import pytest
from planted import lines_of

from descry.errors import InputError
from descry.io.dvc_lock import LOCK, in_order, parse_lock, read_lock, upstream
from descry.labels.results import read_labels
from descry.provenance.audit.changes import Cause, changes
from descry.provenance.audit.project import Project
from descry.provenance.audit.tree import tree_of_changes

LABELS = Path("results/labels.parquet")


@pytest.fixture
def study(repo, monkeypatch):
    """A copy of the built miniature, as the current folder."""
    monkeypatch.chdir(repo.path)
    return repo


def between(first, second, neuron="L5:24"):
    return changes(Project(Path("results"), Path("cache/prompts")), first, second, neuron)


def causes(found):
    return [(it.stage, it.kind, it.what, it.effective) for it in found.causes]


def labelled(row, index):
    labels = read_labels(LABELS)
    assigned = labels.splits["all"].assigned[row, index]
    return {labels.descriptors[column] for column in assigned.nonzero()[0]}


@pytest.mark.slow
def test_labels_and_their_causes_between_two_commits(study):
    before = labelled(1, 24)
    Path("data/descriptors.yaml").write_text("drop: [] # none: so no answer is another\n")
    with Path("src/descry/labels/rules.py").open("a") as file:
        file.write("# a word\n")
    study.set(**{"label.threshold": 0.05})
    study.sh("dvc repro -q label")
    study.sh("git add -A && git commit -qm 'Lower threshold, and why none is dropped'")
    after = labelled(1, 24)
    found = between("v1", "HEAD")
    assert {it.descriptor for it in found.labels if it.change != "gained"} == before
    assert {it.descriptor for it in found.labels if it.change != "lost"} == after
    size = len(read_labels(LABELS).splits)
    assert size == 3
    common, old, new = found.exemplars["highest"]
    assert common == old == new > 0  # the sets are the same: what changed is their labels
    assert causes(found) == [
        ("cluster", "hand edit", "data/descriptors.yaml is another", True),
        ("label", "parameter", "label.threshold 0.12 -> 0.05", True),
        ("label", "code", "src/descry/labels/rules.py is another", True),
    ]
    (commit,) = found.causes[-1].commits
    assert commit.endswith("Lower threshold, and why none is dropped")
    assert found.unchanged == ["corpus", "describe", "activations", "exemplars"]
    text = "\n".join(lines_of(tree_of_changes(found)))
    assert "stage label: parameter: label.threshold 0.12 -> 0.05" in text
    same = between("HEAD", "HEAD")
    assert (causes(same), {it.change for it in same.labels}) == ([], {"stays"} if after else set())


@pytest.mark.slow
def test_an_experiment_by_its_name_and_the_workspace(study):
    before = labelled(1, 24)
    study.sh("dvc exp run -q -n wide -S exemplars.top_percent=20.0 label")
    found = between("v1", "wide")
    assert ("exemplars", "parameter", "exemplars.top_percent 10.0 -> 20.0", True) in causes(found)
    assert {it.descriptor for it in found.labels if it.change != "gained"} == before
    assert {it.descriptor for it in found.labels if it.change != "lost"} == labelled(1, 24)
    common, old, new = found.exemplars["highest"]
    assert common == old < new
    here = between("v1", "workspace")
    assert (causes(here), here.exemplars) == (causes(found), found.exemplars)
    assert between("wide", "workspace").causes == []
    said = study.sh("descry audit L5:24 --diff v1 wide")
    assert "exemplars.top_percent 10.0 -> 20.0" in said
    with pytest.raises(InputError, match="nowhere: no such commit or DVC experiment here"):
        between("v1", "nowhere")
    with pytest.raises(InputError, match=r"the neurons are L3:0 to L5:383"):
        between("v1", "HEAD", "L9:0")


@pytest.mark.slow
def test_other_answers_and_a_lock_that_was_never_committed(study):
    lock = LOCK.read_text()
    outs = read_lock(LOCK)["annotate"].outs["results/annotations.h5"]
    LOCK.write_text(lock.replace(outs, "f" * 32))
    study.sh("git commit -qam forged")
    with pytest.raises(InputError, match=r"results/annotations\.h5 of \w{10} cannot be had"):
        between("v1", "HEAD")
    study.sh("git rm -q --cached dvc.lock && git commit -qm none")
    with pytest.raises(InputError, match=r"HEAD: no dvc\.lock with stage label"):
        between("v1", "HEAD")


LOCKED = """
stages:
  b:
    deps: [{path: a.out, md5: '1'}, {path: Snakefile, md5: '2'}, {path: src/descry/b.py, md5: '3'}]
    outs: [{path: b.out, md5: '4', size: 7}]
    params: {params.yaml: {b: {x: 1}}}
  a:
    deps: [{path: reviews, md5: 5.dir}]
    outs: [{path: a.out, md5: '1'}]
"""


def test_a_lock_tells_stages_in_the_order_of_their_inputs():
    stages = parse_lock(LOCKED, "here")
    assert [stage.name for stage in in_order(stages)] == ["a", "b"]
    assert upstream(stages, "b") == ["a", "b"]
    assert stages["b"].code == ["Snakefile", "src/descry/b.py"]
    assert stages["b"].outs == {"b.out": "4"}
    assert (stages["b"].params, stages["a"].params) == ({"b": {"x": 1}}, {})


def test_a_locked_stage_tells_which_of_its_sections_are_others_now():
    stage = parse_lock(LOCKED, "here")["b"]
    assert list(stage.unlike({"b": {"x": 1}, "c": {"y": 2}})) == []
    assert list(stage.unlike({"b": {"x": 2}})) == list(stage.unlike({})) == ["b"]


@pytest.mark.parametrize("text", ["stages: 7", "[]\n- 1", "a: 1", "stages: {a: {deps: [1]}}"])
def test_what_is_no_lock_is_an_error(text):
    with pytest.raises(InputError, match="here"):
        parse_lock(text, "here")


def test_an_empty_lock_has_no_stages(tmp_path):
    assert parse_lock("", "here") == {}
    assert read_lock(tmp_path / "none") == {}


def test_a_change_without_effect_says_so(tmp_path):
    from descry.provenance.audit.changes import Changes

    cause = Cause("label", "code", "src/descry/labels/rules.py is another", False, ["abc A word"])
    found = Changes("L0:1", "a", "b", [], {"highest": (1, 2, 3)}, [cause], [])
    lines = lines_of(tree_of_changes(found))
    assert lines[-2].endswith("(without effect: the stage's outputs are the same)")
    assert lines[-1] == "commit abc A word"
    quiet = replace(found, causes=[])
    assert "no cause: nothing differs" in lines_of(tree_of_changes(quiet))
