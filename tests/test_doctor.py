"""What is wrong with a study and its machine, and what to type; which stages are outdated."""

import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from miniature import ROOT
from typer.testing import CliRunner

from descry.annotators.prompt_cache.store import PromptCache
from descry.cli.app import app
from descry.workflow import code, doctor
from descry.workflow.doctor import examine
from descry.workflow.outdated import stage_states
from descry.workflow.reconcile import record_of

SECTIONS = {"one": {"k": 1, "data": "in.txt"}, "two": {"t": 0.5}}
STAGES = {  # in the order of dvc.yaml, which need not be that of the stages
    "two": {"deps": ["results/one.h5"], "params": ["two"], "outs": ["results/two.h5"]},
    "one": {"deps": ["${one.data}", "c.py"], "params": ["one"], "outs": [{"results/one.h5": {}}]},
}


def record(out, inputs, section):
    """Write a result and what Snakemake would record of it."""
    path = Path(out)
    path.write_text(out)
    made = {
        "params": [repr(json.dumps(SECTIONS[section], sort_keys=True, separators=(",", ":")))],
        "input": inputs,
        "endtime": path.stat().st_mtime,
        "incomplete": False,
        "input_checksums": {},
    }
    place = record_of(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(made))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of two stages, made and up to date."""
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    for name in ("in.txt", "c.py"):
        Path(name).write_text(name)
        os.utime(name, (1000, 1000))
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    record("results/one.h5", ["in.txt", "c.py"], "one")
    record("results/two.h5", ["results/one.h5"], "two")
    return tmp_path


def states(sections=SECTIONS):
    return {one.stage: (one.kind, one.why) for one in stage_states(sections)}


DONE = ("up to date", None)


def test_stages_that_are_up_to_date(study):
    assert states() == {"two": DONE, "one": DONE}


def test_no_dvc_yaml(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert states() == {}


def test_a_parameter_that_changed_is_named_with_what_it_was(study):
    found = states(SECTIONS | {"two": {"t": 0.7}})
    assert found == {"two": ("outdated", "params.yaml: two.t is 0.7, was 0.5"), "one": DONE}


def test_what_follows_from_an_outdated_stage_is_outdated(study):
    found = states(SECTIONS | {"one": {"k": 2, "data": "in.txt"}})
    assert found["one"][1] == "params.yaml: one.k is 2, was 1"
    assert found["two"] == ("outdated", "follows from stage one")


def test_an_input_that_is_newer_and_one_that_is_only_touched(study):
    os.utime("c.py")
    assert states()["one"] == ("outdated", "c.py is newer")
    place = record_of(Path("results/one.h5"))
    made = json.loads(place.read_text())
    made["input_checksums"] = {"c.py": f"sha256:{doctor_hash('c.py')}"}
    place.write_text(json.dumps(made))
    assert states()["one"] == DONE


def doctor_hash(path):
    from hashlib import sha256

    return sha256(Path(path).read_bytes()).hexdigest()


def test_an_input_that_is_gone_or_new(study):
    Path("c.py").unlink()
    assert states()["one"] == ("outdated", "c.py is gone")
    Path("c.py").write_text("")
    os.utime("c.py", (1000, 1000))
    Path("other.csv").write_text("")
    found = states(SECTIONS | {"one": {"k": 1, "data": "other.csv"}})
    assert found["one"][1] == 'params.yaml: one.data is "other.csv", was "in.txt"'


def test_results_that_are_not_made_or_in_part(study):
    Path("results/one.h5").unlink()
    assert states() == {"one": ("not made", None), "two": ("outdated", "results/one.h5 is gone")}


def test_a_result_that_dvc_brought_is_held_against_its_lock(study):
    record_of(Path("results/two.h5")).unlink()
    assert states()["two"][1] == "neither Snakemake nor dvc.lock has a record of it"
    from descry.io.hashing import md5_file

    entry = {
        "deps": [{"path": "results/one.h5", "md5": md5_file(Path("results/one.h5"))}],
        "outs": [{"path": "results/two.h5", "md5": md5_file(Path("results/two.h5"))}],
        "params": {"params.yaml": {"two": SECTIONS["two"]}},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"two": entry}}))
    assert states()["two"] == DONE
    changed = states(SECTIONS | {"two": {"t": 1}})
    assert changed["two"][1] == "params.yaml: two.t is 1, was 0.5"
    Path("results/two.h5").write_text("edited")
    assert states()["two"][1] == "results/two.h5 is not the one that dvc.lock records"


def test_a_stage_is_outdated_if_the_installed_package_has_other_code_for_it(study, monkeypatch):
    sections = SECTIONS | {"activations": {"unit": "sentence"}}
    package = study / "site-packages/descry"
    (package / "stages").mkdir(parents=True)
    for name in SECTIONS:
        (package / f"stages/{name}.py").write_text("first = 1\n")
    monkeypatch.setattr(code, "PACKAGE", package)
    monkeypatch.setattr(code, "STAGES", tuple(SECTIONS))
    code.write_lists(Path(), code.Code(package).lists(sections))
    assert states(sections) == {"two": DONE, "one": DONE}
    (package / "stages/two.py").write_text("second = 2\n")
    assert states(sections) == {
        "two": ("outdated", f"descry {version('descry')} has other code for it"),
        "one": DONE,
    }
    Path("src/descry").mkdir(parents=True)  # a checkout, whose code is its own
    assert states(sections) == {"two": DONE, "one": DONE}


# the whole


def found_in(folder="results", cache="cache"):
    return {one.name: one for one in examine(Path(folder), Path(cache))}


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_without_a_study_has_nothing_wrong(empty):
    found = found_in()
    assert {one.state for one in found.values()} <= {"ok", "note"}
    assert found["params.yaml"].state == "note"
    assert "descry init" in found["params.yaml"].remedy
    assert {"descry", "Python", "torch", "cores", "memory", "GPU", "disk"} <= found.keys()
    assert not Path("cache").exists()  # looking makes none


def test_versions_beside_those_of_the_lock(empty):
    Path("requirements.lock").write_text("# all\ntorch==1.0\nnumpy==0.1\ntyper==0.0.1 # old\n")
    found = found_in()
    assert (found["torch"].state, found["torch"].remedy) == ("note", "pip install torch==1.0")
    assert "3 of 3 packages are other versions: torch" in found["requirements.lock"].said


def test_a_package_that_is_missing_is_wrong(empty, monkeypatch):
    monkeypatch.setattr(
        doctor, "requires", lambda _: ["numpy>=999", "nonesuch", "vllm; extra=='a'"]
    )
    found = found_in()
    assert (found["numpy"].state, found["numpy"].remedy) == ("wrong", "pip install 'numpy>=999'")
    assert found["nonesuch"].said.startswith("not installed")
    assert "vllm" not in found


def test_a_cache_and_a_broken_one(empty):
    with PromptCache(Path("cache")):
        pass
    assert found_in()["cache"].said.startswith("0 answers, 0 failures")
    Path("cache/cache.db").write_bytes(b"no database at all" * 100)
    broken = found_in()["cache"]
    assert broken.state == "wrong"
    assert "descry cache import" in broken.remedy


def test_params_that_are_not_valid_and_a_disk_that_is_full(empty, monkeypatch):
    Path("params.yaml").write_text("corpus: {}\n")
    found = found_in()["params.yaml"]
    assert (found.state, "corpus." in found.said) == ("wrong", True)
    Path("results").mkdir()
    Path("results/activations.h5").write_bytes(b"0" * 2048)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("", (), {"free": 1000}))
    assert "one has 2 kB" in found_in()["disk"].said
    assert found_in()["disk"].state == "wrong"


def test_files_that_params_name_and_that_are_not_here(empty):
    sections = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())
    found = {one.name: one for one in doctor._user_files(sections)}
    assert "data/sample: no such file or folder" in found["corpus.reviews"].said
    assert found["cluster.edits"].said.startswith("data/descriptors.yaml: no such file")
    assert "annotate.template" not in found  # null


def test_models_that_are_not_here(empty):
    params = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())
    target = params["activations"]["target"]
    for change, state, words in (
        ({}, "ok", "comes with descry"),
        ({"revision": "unpinned"}, "wrong", "descry pin"),
        ({"model": "no/such-model", "revision": "0" * 40}, "wrong", "not on this machine"),
        ({"model": "models/nope", "revision": "0" * 64}, "wrong", "no such folder or file"),
    ):
        finding = doctor._model("activations.target", target | change)
        assert (finding.state, words in finding.said) == (state, True), finding
    served = {"kind": "openai", "model": "m", "revision": "0" * 40, "base_url": "http://x"}
    told = doctor._model("annotate.annotator", served | {"api_key_env": None})
    assert told.said == "m at http://x, not asked now"
    lacking = doctor._model("annotate.annotator", served | {"api_key_env": "NO_SUCH_KEY"})
    assert (lacking.state, "NO_SUCH_KEY" in lacking.said) == ("wrong", True)


def test_damaged_results_and_a_locked_folder(study):
    Path("results/corpus.parquet").write_text("no parquet")
    Path(".snakemake/locks").mkdir()
    Path(".snakemake/locks/0.lock").write_text("")
    found = {one.name: one for one in doctor._study(SECTIONS, Path("results"))}
    assert found["corpus.parquet"].state == "wrong"
    assert "snakemake --unlock" in found["run"].remedy
    assert found["stages"].said == "up to date: two, one"


def test_the_command_says_all_of_it_and_ends_with_1_if_something_is_wrong(empty):
    run = CliRunner()
    done = run.invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    told = {one["name"]: one for one in json.loads(done.output)}
    assert told["descry"].keys() == {"group", "name", "state", "said", "remedy"}
    Path("params.yaml").write_text("corpus: {}\n")
    done = run.invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "WRONG" in done.output and "1 wrong" in done.output
