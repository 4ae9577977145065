"""A commit is rebuilt in a clone and compared; the project stays as it is."""

import hashlib
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from miniature import STAGES, Repo

from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.templates import P2
from descry.errors import InputError
from descry.io.dvc_files import md5
from descry.io.dvc_lock import Locked, read_lock
from descry.io.parquet import write_table
from descry.provenance.reproduce import clone
from descry.provenance.reproduce.clone import (
    bring_answers,
    bring_inputs,
    check_out,
    copy_database,
    forget_answers,
    list_code,
)
from descry.provenance.reproduce.comparison import (
    Differing,
    Failed,
    Originals,
    differing,
    failed,
    other_inputs,
    outputs,
)
from descry.provenance.reproduce.rebuild import Reproduced, reproduce

STORED = {"stage": "label", "params": {}, "inputs": {}, "versions": {"numpy": "2.1"}}


def files(folder):
    """Every file with its hash, what git and DVC keep included."""
    return {
        path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def working_folders():
    """Those of all running processes, where the system tells."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has ended, or is another user's
            yield link.readlink()


def git(folder, *arguments):
    return subprocess.run(
        ["git", "-C", folder, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def run(scratch):
    """Reproduce a revision of a project; its files must be the same afterwards."""

    def rebuilt(project, revision="HEAD", keep=False, anew=False, progress=lambda _: None):
        before, how = files(project), {"keep": keep, "anew": anew, "progress": progress}
        try:
            return reproduce(project, revision, scratch=scratch, **how)
        finally:
            assert files(project) == before

    return rebuilt


# The whole of it


def leave_to_dvc(repo):
    """Commit a study that has its reviews in a remote of DVC alone, and its answers in DVC."""
    repo.sh("git rm -rq --cached data/sample && dvc add -q data/sample")
    repo.sh("descry cache export && dvc add -q data/answers && rm -r cache")
    repo.sh("dvc remote remove store && dvc remote add -q --local --default mine ../mine")
    repo.sh("dvc push -q data/sample.dvc && rm -r .dvc/cache && dvc commit -q data/answers.dvc")
    repo.sh("git add -A && git commit -qm 'data by DVC'")


def tamper(repo):
    """Commit another cell, number and page; returns the row that has the other cell."""
    labels = repo.path / "results/labels.parquet"
    table = pq.read_table(labels)
    flipped = table["assigned"].to_pylist()
    flipped[17] = not flipped[17]
    place = table.column_names.index("assigned")
    write_table(
        labels,
        table.set_column(place, "assigned", pa.array(flipped)),
        yaml.safe_load(table.schema.metadata[b"descry"]),
    )
    repo.sh("dvc commit -q -f label")  # which blesses it
    metrics = repo.path / "results/metrics.json"
    metrics.write_text(metrics.read_text().replace('"value": 0', '"value": 1', 1))
    page = repo.path / "src/descry/reporting/explorer/app/index.html"
    page.write_text(page.read_text() + "<!-- edited -->\n")
    repo.sh("git commit -qam tampered")
    return table.slice(17, 1).to_pylist()[0]


@pytest.mark.slow
def test_a_commit_comes_out_identical_but_for_what_was_tampered_with(repo, run):
    leave_to_dvc(repo)
    row = tamper(repo)
    told = []
    found = run(repo.path, progress=told.append)
    assert found.identical == len(outputs(read_lock(repo.path / "dvc.lock"))) - 3
    assert (found.unmade, found.failed) == ([], None)
    assert found.notes == [
        "dvc.lock records another src/descry/reporting/explorer/app/index.html: report"
    ]
    check_tampered(found.differing, row)
    check_told(told)
    check_rebuilt(Repo(found.folder / "clone"), repo.path)


def check_tampered(differing, row):
    """What was tampered with is named, with row and amount."""
    tampered, other, edited = differing
    assert (tampered.path, tampered.follows) == ("results/labels.parquet", None)
    (line,) = tampered.why
    assert line.startswith("assigned: 1 of ")
    assert line.endswith(
        f" differ, first row 17 (end {row['end']}, split {row['split']}, layer {row['layer']},"
        f" neuron {row['neuron']}, descriptor {row['descriptor']}): {row['assigned']},"
        f" expected {not row['assigned']}"
    )
    assert (other.path, other.follows) == ("results/metrics.json", "label")
    assert other.why[0] == "as dvc.lock records it, but not as committed"
    assert len(other.why) == 2 and ".value: 0" in other.why[1]
    assert (edited.path, edited.follows) == ("results/report", None)
    assert edited.why[0].startswith("index.html: line[]: 2 of ")
    assert "'<!-- edited -->', expected ''" in edited.why[0]


def check_told(told):
    """Where inputs and answers come from, and every stage as it starts."""
    assert "input data/sample from a remote" in told
    assert "input data/answers from a remote" not in told
    assert "answers of data/answers" in told
    started = [line for line in told if ": stage " in line]
    assert [line.partition(": ")[2] for line in started] == [
        f"stage {number} of {len(STAGES)}" for number in range(1, len(STAGES) + 1)
    ]
    assert started[0].startswith("corpus: ")
    assert {line.partition(":")[0] for line in started} == set(STAGES)
    assert any(line.startswith("annotate: sentences") for line in told)


def check_rebuilt(clone, project):
    """Nothing is left to do in the clone, and its answers are the project's."""
    assert "Nothing to be done" in clone.sh("snakemake -n --cores all")
    clone.sh("descry cache verify && descry cache export again")
    for file in (project / "data/answers").iterdir():
        assert (clone.path / "again" / file.name).read_bytes() == file.read_bytes()


# The same of a project that takes no time


RULES = """
rule describe:
    input: "results/corpus.parquet"
    output: "results/candidates.parquet"
    log: "logs/describe.log"
    shell: "(echo describe: replay {config[replay]}; COMMAND) | tee {log}; cp {input} {output}"

rule corpus:
    output: "results/corpus.parquet"
    shell: "echo made > {output}"
"""
TOY = """
stages:
  corpus:
    outs: [{path: results/corpus.parquet, md5: MADE}]
  describe:
    deps: [{path: results/corpus.parquet, md5: MADE}]
    outs: [{path: results/candidates.parquet, md5: MADE}]
"""


@pytest.fixture
def toy(tmp_path):
    """A repository of two stages that can be run."""
    return commit_toy(tmp_path / "toy", "true")


def commit_toy(folder, command):
    folder.mkdir()
    (folder / "dvc.lock").write_text(TOY.replace("MADE", hashlib.md5(b"made\n").hexdigest()))
    (folder / "params.yaml").write_text("corpus: {seed: 0}\n")
    (folder / "Snakefile").write_text(RULES.replace("COMMAND", command))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.mark.slow
def test_where_all_comes_out_identical_the_clone_goes(toy, run, scratch):
    told, commit = [], git(toy, "rev-parse", "HEAD")
    found = run(toy, progress=told.append)
    assert found == Reproduced(commit, 2, [], [], None, [], folder=None)
    assert found.is_whole
    assert list(scratch.iterdir()) == []
    assert told[1:] == [
        "corpus: stage 1 of 2",
        "describe: stage 2 of 2",
        "describe: replay true",
    ]


@pytest.mark.slow
def test_a_clone_that_is_to_be_kept_stays(toy, run):
    found = run(toy, keep=True)
    assert found.is_whole
    assert (found.folder / "clone/results/candidates.parquet").read_text() == "made\n"


@pytest.mark.slow
def test_anew_answers_of_this_machine_are_forgotten_and_asked_for(toy, run):
    with PromptCache(toy / "cache/prompts") as cache:
        origin = {"task": "p2", "revision": "v", "template": list(P2), "model": "descry-embedded/x"}
        cache.store(origin, {"key": {"response": {"text": "Yes"}, "sentence": "a"}})
    told = []
    assert run(toy, anew=True, progress=told.append).is_whole
    assert "1 answers are asked for anew" in told
    assert "describe: replay false" in told


@pytest.mark.slow
def test_a_stage_that_fails_ends_it_and_is_told(tmp_path, run, scratch):
    toy = commit_toy(tmp_path / "toy", "echo an answer is missing; false")
    git(toy, "rm", "-q", "--cached", "dvc.lock")
    for number in range(2):
        git(toy, "commit", "-q", "--allow-empty", "-m", f"without dvc.lock, {number}")
    (toy / "params.yaml").write_text("corpus: {seed: 1}\n")
    found = run(toy)
    said = ["describe: replay true", "an answer is missing"]
    assert found.failed == Failed("describe", said)
    assert (found.identical, found.unmade) == (1, ["results/candidates.parquet"])
    assert found.differing == []
    assert found.notes == [
        "uncommitted changes are not part of what is reproduced: params.yaml",
        "dvc.lock is not in the commit: that of the working tree is taken",
    ]
    assert list(scratch.iterdir()) == [found.folder]
    with pytest.raises(InputError, match=r"[0-9a-f]{12}: has no dvc\.lock"):
        run(toy, "HEAD~1")


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(tmp_path, run, scratch):
    def interrupt(line):
        if line.startswith("describe: replay"):  # its process runs
            assert any(scratch in folder.parents for folder in working_folders())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(commit_toy(tmp_path / "toy", "sleep 60"), progress=interrupt)
    assert list(scratch.iterdir()) == []
    assert not any(scratch in folder.parents for folder in working_folders())


# What is refused before anything runs


LOCK = "stages:\n  corpus:\n    cmd: x\n    outs: [{path: results/corpus.parquet, md5: aa}]\n"


@pytest.fixture
def project(tmp_path):
    """A repository with a dvc.lock; its clone could not be built."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.lock").write_text(LOCK)
    (folder / "params.yaml").write_text("corpus: {seed: 0}\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_revision_that_is_not_there(project, run):
    with pytest.raises(InputError, match="v9: no such commit"):
        run(project, "v9")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", r"dvc\.lock of [0-9a-f]{12}: .*not valid YAML"),
        ("stages: 3", r"dvc\.lock of [0-9a-f]{12}: not a dvc\.lock"),
        ("stages: {}", r"dvc\.lock of [0-9a-f]{12}: records no stage: run `dvc repro`"),
    ],
)
def test_a_committed_lock_that_is_of_no_use(project, run, text, words):
    (project / "dvc.lock").write_text(text)
    git(project, "commit", "-qam", "damaged")
    with pytest.raises(InputError, match=words):
        run(project)


def test_a_folder_within_the_project_or_that_is_not_there_is_refused(project, tmp_path):
    for place, words in (
        (project / "tmp", "inside the project"),
        (tmp_path / "no", "cannot be written"),
    ):
        with pytest.raises(InputError, match=words):
            reproduce(project, "HEAD", scratch=place, keep=False, anew=False, progress=print)
    assert not (project / "tmp").exists()


@pytest.fixture
def tracking(project):
    """The repository with reviews that DVC tracks."""
    dvc = [sys.executable, "-m", "dvc"]
    (project / "reviews.jsonl").write_text("{}\n")
    for command in ("init", "add reviews.jsonl", "remote add --local --default mine ../mine"):
        subprocess.run([*dvc, *command.split(), "-q"], cwd=project, check=True)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "reviews")
    return project


def test_inputs_come_from_dvcs_cache_and_where_remotes_are_does_not_stay(tracking, tmp_path):
    before, clone = files(tracking), tmp_path / "clone"
    check_out(tracking, git(tracking, "rev-parse", "HEAD"), clone)
    bring_inputs(tracking, clone, print)
    assert (clone / "reviews.jsonl").read_text() == "{}\n"
    assert not (clone / ".dvc/config.local").exists()
    assert files(tracking) == before


def test_where_dvc_has_no_data_for_an_input_its_name_is_told(tracking, run, scratch):
    shutil.rmtree(tracking / ".dvc/cache")
    with pytest.raises(InputError, match=r"reviews\.jsonl\.dvc: neither in DVC's cache nor in a"):
        run(tracking)
    assert list(scratch.iterdir()) == []


def test_a_configuration_that_dvc_refuses_is_named(project, run):
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_text("[cach]\ntype = copy\n")
    (project / "a.dvc").write_text("outs: [{path: a, md5: aa}]\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "misspelt")
    with pytest.raises(InputError, match=r"\.dvc/config: .*cach"):
        run(project)


def test_what_snakemake_says_is_told_where_no_stage_could_run(project, run):
    found = run(project, keep=True)
    assert (found.identical, found.unmade) == (0, ["results/corpus.parquet"])
    assert found.failed.stage is None
    assert any("No Snakefile found" in line for line in found.failed.said)
    assert (found.folder / "clone/dvc.lock").is_file()
    lines = list(found.lines())
    assert lines[0].endswith(": 0 of 1 outputs are identical")
    assert lines[-2:] == [
        "1 were not made, the first of them results/corpus.parquet",
        f"the clone is in {found.folder}",
    ]


def test_the_commit_of_an_experiment_is_checked_out_even_where_no_branch_has_it(project, tmp_path):
    (project / "params.yaml").write_text("corpus: {seed: 1}\n")
    tree = git(project, "stash", "create")
    git(project, "checkout", "-q", "params.yaml")
    git(project, "update-ref", "refs/exps/aa/bb/grave-toad", tree)
    clone = tmp_path / "clone"
    check_out(project, tree, clone)
    assert "seed: 1" in (clone / "params.yaml").read_text()
    assert git(clone, "rev-parse", "HEAD") == tree


def test_no_hook_runs_in_the_clone_and_a_calling_git_does_not_lead_it_back(
    project, tmp_path, monkeypatch
):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    git(project, "config", "core.hooksPath", str(hooks))
    commit, before = git(project, "rev-parse", "HEAD"), files(project)
    monkeypatch.setenv("GIT_DIR", str(project / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(project / ".git/index"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(hooks))
    check_out(project, commit, tmp_path / "clone")
    assert files(project) == before
    assert not (tmp_path / "ran").exists()


# A study of the installed package


def test_a_clone_without_source_files_lists_the_installed_code_and_others_do_not(
    tmp_path, monkeypatch
):
    ran, told = [], []
    monkeypatch.setattr(clone, "_run", lambda place, *command: ran.append(command[-2:]))
    for name, folders in {"own": ("code", "src/descry"), "foreign": ()}.items():
        for folder in folders:
            (tmp_path / name / folder).mkdir(parents=True)
        list_code(tmp_path / name, told.append)
    assert (ran, told) == ([], [])
    assert clone._environment(tmp_path / "own")["PYTHONPATH"] == "src"
    (tmp_path / "study/code").mkdir(parents=True)
    list_code(tmp_path / "study", told.append)
    assert ran == [("descry", "dvc")]
    monkeypatch.setattr(clone, "_run", lambda *_: "error: params.yaml: label.broad: missing key")
    with pytest.raises(InputError, match=r"descry 0\..* cannot run this commit .*label\.broad"):
        list_code(tmp_path / "study", told.append)


# The recorded answers


def test_only_answers_of_annotators_on_this_machine_are_asked_for_anew(tmp_path):
    who = {"task": "p2", "revision": "v", "template": list(P2)}
    origins = {
        "local": who | {"model": "descry-embedded/x"},
        "server": who | {"model": "gpt", "server": {"base_url": "http://localhost/v1"}},
        "person": who | {"model": "human/ann"},
    }
    with PromptCache(tmp_path / "cache/prompts") as cache:
        for name, origin in origins.items():
            cache.store(origin, {name: {"response": {"text": "Yes"}, "sentence": "a"}})
    told = []
    forget_answers(tmp_path, told.append)
    assert told == ["1 answers are asked for anew"]
    with PromptCache(tmp_path / "cache/prompts") as cache:
        assert {key for key, _ in cache.records()} == {"server", "person"}


def test_a_cache_is_copied_whole_while_another_process_writes_to_it(tmp_path):
    folder = tmp_path / "prompts"
    with PromptCache(folder) as cache:
        cache.finish("before", {"x": "y" * 200_000})
    code = (
        "import sys; from pathlib import Path\n"
        "from descry.annotators.prompt_cache.store import PromptCache\n"
        "with PromptCache(Path(sys.argv[1])) as cache:\n"
        "    for i in range(100_000): cache.finish(f'run {i % 50}', {'x': str(i) * 1000})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, folder]) as writer:
        with PromptCache(folder) as cache:
            while len(cache.runs()) < 10:
                time.sleep(0.01)
        for number in range(5):
            copy_database(folder / "cache.db", tmp_path / str(number) / "cache.db")
        assert writer.poll() is None
        writer.kill()
    for number in range(5):
        with closing(sqlite3.connect(tmp_path / str(number) / "cache.db")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        with PromptCache(tmp_path / str(number)) as cache:
            assert len(cache.runs()["before"]["x"]) == 200_000


@pytest.mark.parametrize("ending", ["closed", "killed"])
def test_a_cache_stays_as_it_is_and_what_its_log_holds_is_copied(tmp_path, ending):
    folder = tmp_path / "prompts"
    code = (
        "import os, sys; from pathlib import Path\n"
        "from descry.annotators.prompt_cache.store import PromptCache\n"
        "with PromptCache(Path(sys.argv[1])) as cache:\n"
        "    cache.finish('last', {'x': 1})\n"
        "    if sys.argv[2] == 'killed': os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, folder, ending], check=True)
    before = files(folder)
    assert ("cache.db-wal" in before) == (ending == "killed")
    copy_database(folder / "cache.db", tmp_path / "copy/cache.db")
    after = files(folder)
    index = {"cache.db-shm"}  # who is reading
    assert {k: v for k, v in after.items() if k not in index} == {
        k: v for k, v in before.items() if k not in index
    }
    assert after.keys() == before.keys()
    with PromptCache(tmp_path / "copy") as cache:
        assert cache.runs() == {"last": {"x": 1}}


def test_a_damaged_cache_or_export_is_named(tmp_path):
    root, clone = tmp_path / "root", tmp_path / "clone"
    (root / "cache/prompts").mkdir(parents=True)
    (root / "cache/prompts/cache.db").write_text("no database, but a text of some length")
    clone.mkdir()
    with pytest.raises(InputError, match=r"cache\.db: not a usable prompt cache"):
        bring_answers(root, clone, print)
    (clone / "data/answers").mkdir(parents=True)
    with pytest.raises(InputError, match=r"data/answers: cannot be imported .*no exports"):
        bring_answers(root, clone, print)


# The comparison


def locked(name, deps, outs, params=None):
    return Locked(name, deps, outs, params or {})


@pytest.fixture
def compared(tmp_path):
    """Compare files made in a clone with others of the same names, recorded as they are."""

    def compare(recorded, made, deps, others=None, committed=None, here=None):
        folders = {name: tmp_path / name for name in ("recorded", "clone", "committed", "root")}
        contents = {"recorded": recorded, "clone": made, "committed": committed or {}}
        for folder, texts in (contents | {"root": recorded if here is None else here}).items():
            for name, text in texts.items():
                (folders[folder] / name).parent.mkdir(parents=True, exist_ok=True)
                (folders[folder] / name).write_text(text)
        stages = {
            name.partition(".")[0]: locked(
                name.partition(".")[0],
                dict.fromkeys(deps.get(name, []), ""),
                {name: md5(folders["recorded"] / name, tmp_path)},
            )
            for name in dict.fromkeys(name.partition("/")[0] for name in recorded)
        }
        originals = Originals(folders["root"], folders["committed"], tmp_path / "cache")
        return list(differing(folders["clone"], stages, others or {}, originals))

    return compare


CHAIN = {"b.txt": ["a.txt"], "c.txt": ["b.txt"], "d.txt": []}


def test_what_follows_from_a_difference_stands_behind_it_and_names_it(compared):
    recorded = {"c.txt": "c", "b.txt": "b", "a.txt": "a", "d.txt": "d"}
    made = {"a.txt": "a", "b.txt": "B", "c.txt": "C", "d.txt": "D"}
    found = [(one.path, one.stage, one.follows) for one in compared(recorded, made, CHAIN)]
    assert found == [("b.txt", "b", None), ("c.txt", "c", "b"), ("d.txt", "d", None)]


def test_a_stage_whose_own_inputs_are_others_follows_nobody(compared):
    recorded, made = {"a.txt": "a", "b.txt": "b"}, {"a.txt": "A", "b.txt": "B"}
    assert [one.follows for one in compared(recorded, made, CHAIN)] == [None, "a"]
    own = {"src/b.py": ["b"]}
    assert [one.follows for one in compared(recorded, made, CHAIN, own)] == [None, None]


def test_what_was_not_made_is_no_difference(compared):
    assert compared({"a.txt": "a", "b.txt": "b"}, {"a.txt": "a"}, CHAIN) == []


def test_an_original_that_is_not_here_is_said(compared):
    (found,) = compared({"a.txt": "a"}, {"a.txt": "A"}, {}, here={"a.txt": "edited"})
    assert found.why == ["the original is not here: `dvc pull`"]


def test_a_committed_output_that_the_lock_does_not_know_is_named(compared):
    (found,) = compared({"a.txt": "a"}, {"a.txt": "a"}, {}, committed={"a.txt": "b"})
    assert found == Differing(
        "a.txt",
        "a",
        None,
        [
            "as dvc.lock records it, but not as committed",
            "line[]: 1 of 1 differ, first line[1]: 'a', expected 'b'",
        ],
    )


def test_originals_are_known_by_their_hash_wherever_they_are(tmp_path):
    digest = hashlib.md5(b"right").hexdigest()
    originals = Originals(*(tmp_path / name for name in ("root", "committed", "cache")))
    places = ["committed/a.txt", f"cache/files/md5/{digest[:2]}/{digest[2:]}", "root/a.txt"]
    assert originals.find("a.txt", digest) is None
    for place in reversed(places):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("right")
        assert originals.find("a.txt", digest) == {"": tmp_path / place}
    for place in places[:2]:
        (tmp_path / place).write_text("wrong")
    assert originals.find("a.txt", digest) == {"": tmp_path / "root/a.txt"}


# A page: its files as git and DVC may have them.
PAGE = {"page/index.html": "<p>a\n", "page/data/n.js": "1\n", "page/data/o.js": "2\n"}


def test_a_folder_is_compared_file_by_file(compared):
    assert compared(PAGE, PAGE, {}) == []
    (found,) = compared(PAGE, PAGE | {"page/data/o.js": "3\n"}, {})
    assert (found.path, found.stage) == ("page", "page")
    assert found.why == ["data/o.js: line[]: 1 of 2 differ by 1, first line[1]: '3', expected '2'"]
    (found,) = compared(PAGE, PAGE | {"page/data/x.js": ""}, {})
    assert found.why == ["data/x.js: 0 bytes, expected nothing"]


def test_a_folder_whose_original_is_not_here_and_one_that_was_committed_otherwise(compared):
    other = PAGE | {"page/index.html": "<p>b\n"}
    (found,) = compared(PAGE, other, {}, here=other)
    assert found.why == ["the original is not here: `dvc pull`"]
    (found,) = compared(PAGE, PAGE, {}, committed=other)
    assert found.why[0] == "as dvc.lock records it, but not as committed"
    assert found.why[1].startswith("index.html: line[]: 1 of 2 differ")


def test_a_folder_comes_out_of_dvcs_cache_and_what_dvc_ignores_is_not_compared(tracking, tmp_path):
    (tracking / ".dvcignore").write_text("page/data/commit.js\n")
    for name, text in (PAGE | {"page/data/commit.js": "first"}).items():
        (tracking / name).parent.mkdir(parents=True, exist_ok=True)
        (tracking / name).write_text(text)
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "page"], cwd=tracking, check=True)
    known = yaml.safe_load((tracking / "page.dvc").read_text())["outs"][0]["md5"]
    stages = {"page": locked("page", {}, {"page": known})}
    clone = tmp_path / "made"
    (clone / "page/data").mkdir(parents=True)
    shutil.copy(tracking / ".dvcignore", clone)
    made = PAGE | {"page/data/commit.js": "second"}
    for name, text in made.items():
        (clone / name).write_text(text)
    shutil.rmtree(tracking / "page")
    originals = Originals(tracking, tmp_path / "no", tracking / ".dvc/cache")
    assert list(differing(clone, stages, {}, originals)) == []
    (clone / "page/data/n.js").write_text("7\n")
    (found,) = differing(clone, stages, {}, originals)
    assert found.why == ["data/n.js: line[]: 1 of 2 differ by 6, first line[1]: '7', expected '1'"]


def test_a_folder_that_git_has_is_set_aside_with_what_dvc_ignores(project, run):
    (project / "dvc.lock").write_text(LOCK.replace("results/corpus.parquet", "page"))
    (project / ".dvcignore").write_text(".snakemake_timestamp\n")
    (project / "page").mkdir()
    (project / "page/index.html").write_text("<p>\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "page")
    found = run(project, keep=True)
    assert found.unmade == ["page"]
    assert not (found.folder / "clone/page").exists()
    assert (found.folder / "committed/page/index.html").is_file()
    assert (found.folder / "committed/.dvcignore").is_file()


def test_other_versions_are_told_of_the_cause(compared, tmp_path):
    table = pa.table({"x": [1.0]})
    write_table(tmp_path / "before.parquet", table, STORED)
    write_table(tmp_path / "after.parquet", table, STORED | {"versions": {"numpy": "2.2"}})
    digest = md5(tmp_path / "before.parquet", tmp_path)
    stages = {"a": locked("a", {}, {"a.parquet": digest})}
    (tmp_path / "root").mkdir()
    shutil.copy(tmp_path / "before.parquet", tmp_path / "root/a.parquet")
    shutil.copy(tmp_path / "after.parquet", tmp_path / "a.parquet")
    originals = Originals(tmp_path / "root", tmp_path / "no", tmp_path / "no")
    (found,) = differing(tmp_path, stages, {}, originals)
    assert found.why == ["made.versions.numpy: '2.2', expected '2.1'"]
    other = pa.table({"x": [1.5]})
    write_table(tmp_path / "a.parquet", other, STORED | {"versions": {"numpy": "2.2"}})
    (found,) = differing(tmp_path, stages, {}, originals)
    assert found.why == [
        "x: 1 of 1 differ by 0.5, first row 0: 1.5, expected 1.0",
        "made.versions.numpy: '2.2', expected '2.1'",
    ]


def test_bytes_that_differ_without_a_difference_are_said_to(compared):
    (found,) = compared({"a.json": '{"x": 1}'}, {"a.json": '{"x":1}'}, {})
    assert found.why == ["the same content in other bytes"]


def test_a_damaged_original_is_told_and_the_others_are_compared(compared):
    damaged, other = compared({"a.json": "{", "d.txt": "d"}, {"a.json": "{}", "d.txt": "D"}, {})
    assert "a.json: cannot be read" in damaged.why[0]
    assert other.path == "d.txt"


def test_inputs_that_the_lock_records_otherwise_name_the_stages(tmp_path):
    (tmp_path / "params.yaml").write_text("a: {x: 1}\nb: {x: 1}\n")
    (tmp_path / "same.py").write_text("")
    stages = {
        "b": locked(
            "b", {"made": "", "other.py": "bb", "same.py": md5(tmp_path / "same.py", tmp_path)}, {}
        ),
        "a": locked("a", {"other.py": "bb"}, {"made": ""}, {"a": {"x": 2}, "b": {"x": 1}}),
    }
    assert other_inputs(tmp_path, stages) == {"other.py": ["a", "b"], "params.yaml: a": ["a"]}


def test_the_log_of_the_first_stage_without_outputs_is_told(tmp_path):
    stages = {name: locked(name, {}, {f"{name}.txt": ""}) for name in "abc"}
    (tmp_path / "logs").mkdir()
    (tmp_path / "a.txt").write_text("made")
    assert failed(tmp_path, stages, ["snakemake: no"]) == Failed(None, ["snakemake: no"])
    (tmp_path / "logs/a.log").write_text("a: done\n")
    (tmp_path / "logs/b.log").write_text("line\n" * 50 + "error: \x1b[2Jbad\n")
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.txt").mkdir()  # an output that is a folder
    found = failed(tmp_path, stages, [])
    assert (found.stage, len(found.said)) == ("b", 15)
    assert found.said[-1] == "error: \N{REPLACEMENT CHARACTER}[2Jbad"


def test_the_words_name_causes_before_what_was_not_made(tmp_path):
    apart = [Differing("a.txt", "a", None, ["x", "y"]), Differing("b.txt", "b", "a", ["\x1b 1"])]
    found = Reproduced("c" * 40, 5, apart, ["d.txt"], Failed("d", ["error: no"]), ["note"], None)
    assert list(found.lines()) == [
        "cccccccccccc: 5 of 8 outputs are identical",
        "note",
        "d failed:",
        "  error: no",
        "a.txt (of a):",
        "  x",
        "  y",
        "b.txt (of b, which follows a):",
        "  \N{REPLACEMENT CHARACTER} 1",
        "1 were not made, the first of them d.txt",
    ]
