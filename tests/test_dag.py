"""What each rule depends on, and that rules and stages name the same files."""

import json
import os
from pathlib import Path

import pytest
import yaml
from miniature import ROOT, STAGES

from descry.errors import InputError
from descry.workflow.code import Code
from descry.workflow.dag import USER_FILES, Wiring, _named, _rules
from descry.workflow.params import load
from descry.workflow.stage import STARTED_WITH, Stage

OPENAI = {
    "kind": "openai", "model": "m", "revision": "m", "dtype": "unknown",
    "base_url": "http://localhost:1/v1", "api_key_env": None, "max_new_tokens": 8,
    "concurrency": 1, "timeout": 1.0, "retries": 0, "price": None,
}  # fmt: skip
HUMAN = {"kind": "human", "model": "ann", "revision": "round-1"}
KINDS = {"embedded": "embedding", "openai": "openai_server", "human": "human", "words": "words"}
ASKING = {"describe", "annotate", "judge", "score"}


@pytest.fixture
def wired(monkeypatch):
    """The wiring of the shipped params with some changed, in the process of a job."""
    monkeypatch.chdir(ROOT)

    def wire(**changes):
        sections = load(ROOT / "params.yaml").model_dump()
        for name, values in changes.items():
            sections[name] |= values
        monkeypatch.setenv(STARTED_WITH, json.dumps(sections))
        return Wiring(job=True)

    return wire


def kinds_in(code):
    folders = {kind: f"src/descry/annotators/{folder}/" for kind, folder in KINDS.items()}
    folders["transformers"] = "src/descry/annotators/huggingface/"
    return {kind for kind, folder in folders.items() if any(p.startswith(folder) for p in code)}


def test_of_the_annotators_a_stage_has_the_code_of_those_that_its_section_names(wired):
    wiring = wired(annotate={"annotator": OPENAI}, judge={"annotator": HUMAN})
    found = {stage: kinds_in(wiring.code(stage)) for stage in STAGES}
    named = {"describe": {"embedded"}, "annotate": {"openai"}, "judge": {"human"}}
    assert found == {stage: set() for stage in STAGES} | named
    several = wired(describe={"annotators": [OPENAI, HUMAN]}).code("describe")
    assert kinds_in(several) == {"openai", "human"}
    assert "src/descry/annotators/factory.py" in several


def test_where_no_kind_is_left_out_every_kind_is_code():
    source = Path("src/descry")
    code = {path.as_posix() for path in Code(source).imported(source / "stages/annotate.py")}
    assert kinds_in(code) == {*KINDS, "transformers"}


def test_what_is_imported_for_its_type_alone_is_no_code(wired):
    code = wired().code("graphs")
    assert "src/descry/stages/graphs.py" in code
    assert "src/descry/stages/activations.py" not in code


@pytest.mark.parametrize("stage", ["annotate", "judge"])
def test_with_another_kind_of_annotator_dvc_yaml_is_said_to_be_stale(wired, stage):
    wired().check_dvc_yaml()
    with pytest.raises(InputError, match=rf"section {stage} of params.yaml .* `descry dvc`$"):
        wired(**{stage: {"annotator": OPENAI}}).check_dvc_yaml()


@pytest.mark.parametrize(
    ("section", "key"), [name for name, optional in USER_FILES.items() if optional]
)
def test_with_another_file_dvc_yaml_is_said_to_be_stale(wired, section, key):
    for file in {None, "README.md"} - {wired().sections[section][key]}:
        with pytest.raises(InputError, match=rf"{section}\.{key} in params.yaml is another file"):
            wired(**{section: {key: file}}).check_dvc_yaml()


def test_rules_and_functions_of_the_stages_name_the_same_files(monkeypatch):
    monkeypatch.chdir(ROOT)
    before = dict(os.environ)
    rules = [rule for rule in _rules() if rule.name in STAGES]
    assert dict(os.environ) == before
    assert {rule.name for rule in rules} == {*STAGES}
    for rule in rules:
        words = _named(rule.input, rule.output)
        names = {word.partition("=")[0] for word in words}
        assert Stage(rule.name).files(words, None).keys() == names
        sections = [name for name, _ in rule.params._allitems() if name != "stage"]
        assert [type(s).__name__.lower() for s in Stage(rule.name).sections(None)] == sections


def test_every_stage_of_dvc_yaml_has_the_file_of_its_rule():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        rules = {Path(dep).name: dep for dep in stage["deps"] if dep.endswith(".smk")}
        assert {"common.smk", "study.smk"} < {*rules}
        (own,) = rules.keys() - {"common.smk", "study.smk"}
        assert f"rule {name}:" in (ROOT / rules[own]).read_text()
