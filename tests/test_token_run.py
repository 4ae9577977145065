"""Unit token in both tools: positions from reviews to explorer, the same bytes each time."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from miniature import DVC, PARAMS, ROOT, SNAKEMAKE, Repo, check_out, clone_of

import descry
from descry.io.parquet import read_table

pytestmark = pytest.mark.slow

TOKENS = {
    "activations.layers": [
        5
    ],  # each neuron's positions are embedded, which most of the time goes to
    "activations.sample": 200,
    "exemplars.top_percent": 5.0,
    "exemplars.min_size": 3,
    "untrained.enabled": True,
    "tokens.fdr": 0.05,
    "score.scorers": ["detection"],
    "score.neurons": 4,
    "label.rule": "enrichment",
}
STAGES = {
    "corpus", "describe", "cluster", "activations", "exemplars", "untrained", "tokens",
    "graphs", "annotate", "judge", "label", "evaluate", "score", "figures", "report",
    "writes", "facets", "interventions",
}  # fmt: skip


def killed_on_its_way(repo, stage):
    """Start Snakemake, and kill it and its jobs while a stage is at work."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run = subprocess.Popen(
        SNAKEMAKE, shell=True, cwd=repo.path, env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    log, ends = repo.path / f"logs/{stage}.log", time.monotonic() + 300
    while not log.exists() and run.poll() is None and time.monotonic() < ends:
        time.sleep(0.1)
    assert log.exists() and run.poll() is None
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    repo.sh("snakemake --unlock")


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    """The miniature with positions, built in two shards by a run that was killed; committed."""
    repo = check_out(tmp_path_factory.mktemp("tokens") / "repo")
    shutil.copy(ROOT / "presets/tokens.yaml", repo.path / "params.yaml")
    repo.set(**PARAMS | TOKENS | {"shards.activations": 2, "shards.annotate": 2})
    repo.sh("descry dvc && git add -A && git commit -qm tokens")
    killed_on_its_way(repo, "exemplars")
    repo.sh(SNAKEMAKE)
    return repo


def test_dvc_has_nothing_to_do_behind_snakemake_and_records_all(repo):
    assert repo.ran(DVC) == set()
    stages = yaml.safe_load((repo.path / "dvc.lock").read_text())["stages"]
    assert set(stages) == STAGES
    assert repo.settled()
    repo.sh("git add -A && git commit -qm built")


def test_a_run_without_shards_in_a_clone_gives_the_same_bytes(repo, tmp_path):
    other = clone_of(repo, tmp_path / "other")
    shutil.copytree(repo.path / "cache", other.path / "cache")
    other.set(**{"shards.activations": 1, "shards.annotate": 1})
    other.sh(SNAKEMAKE)
    ours, theirs = repo.results(), other.results()
    apart = {name for name in ours if ours[name] != theirs.get(name)}
    assert not apart and ours.keys() == theirs.keys()


def test_a_label_can_be_audited_down_to_its_positions(repo):
    run = descry.open(repo.path)
    neuron = next(
        (run.neuron(f"L{row['layer']}:{row['neuron']}") for row in run.surest.to_pylist()),
        run.neuron("L5:0"),
    )
    for one in neuron.exemplars.to_pylist():
        assert re.fullmatch(r"[^«»]*«[^«»]+»[^«»]*", one["text"], re.DOTALL)
        assert re.fullmatch(r"[0-9a-f]{16}:\d{5}", one["id"])
    found = json.loads(repo.sh(f"descry audit {neuron.name} --json"))
    shown = [exemplar for label in found["labels"] for exemplar in label["exemplars"]]
    assert all("«" in one["answer"]["prompt"] and one["answer"]["follows"] for one in shown)
    first = neuron.exemplars["id"][0].as_py()
    used = json.loads(repo.sh(f"descry audit --review {first} --json"))
    assert used["exemplar_of"] >= 1
    said = repo.sh(f"descry show {neuron.name}")
    assert "words it peaks at" in said or "no word is at two positions" in said


def test_verify_follows_every_position_from_the_reviews(repo):
    repo.sh(DVC)  # another worker may have run the tests before
    said = repo.sh("descry verify --sample 3")
    assert "tokens.parquet computed anew" in said
    assert "positions.parquet computed anew" in said
    table = read_table(repo.path / "results/tokens.parquet", "tokens")
    assert table.num_rows > 0


def test_a_change_of_unit_wants_another_dvc_yaml(repo, tmp_path):
    other = clone_of(repo, tmp_path / "other")
    other.set(**{"activations.unit": "sentence"})
    assert "activations.unit token" in other.sh("snakemake -n --cores all", status=2)
    other.set(**{"activations.position": "cls", "activations.store": "matrix"})
    assert "run `descry dvc`" in other.sh("snakemake -n --cores all", status=2)
    other.set(**{"activations.unit": "token"})
    said = other.sh("snakemake -n --cores all", status=2)
    assert "activations.position to tokens" in said


def test_words_at_peaks_have_no_stage_without_positions():
    said = Repo(ROOT).sh("descry stage tokens", status=2)
    assert "only with activations.unit token" in said
