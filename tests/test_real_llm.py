"""A real instruction model answers both prompts: killed, resumed, replayed, and behind a server."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from servers import transformers_serve

from descry.annotators.annotations import read_annotations
from descry.annotators.openai_server.annotator import reported_model
from descry.annotators.prompt_cache.store import PromptCache
from descry.evaluation.agreement import doubt, kappa_within, table
from descry.evaluation.gold import read_gold
from descry.models.checkpoints import Checkpoint, contents_sha256

ROOT = Path(__file__).parent.parent
SMOLLM2 = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
REVIEWS = 40
FEW = 12  # for the server, which answers one prompt after another
NAMES = ["Price", "Durability", "Size / Fit", "Audio / Sound"]  # as the gold labels have them
EXAMPLE = {
    "sentence": "Great sound for the price; the battery lasts two days.",
    "concepts": ["Sound", "Price", "Battery life"],
}
COMMAND = Path(sys.executable).with_name("descry")
FILES = {
    "corpus": ["corpus=corpus.parquet"],
    "describe": ["corpus=corpus.parquet"],
    "annotate": ["corpus=corpus.parquet", "descriptors=descriptors.json", "exemplars=none.h5"],
}
WRITES = {"describe": "candidates=candidates.parquet", "annotate": "annotations=annotations.h5"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint():
    """SmolLM2-135M-Instruct, where its weights are here."""
    if not SMOLLM2.is_file():
        pytest.skip("`make decoder` has not fetched its weights")
    return Checkpoint(str(SMOLLM2), contents_sha256(SMOLLM2))


class Study:
    """A folder with so many reviews of the sample, and stages run in it as commands."""

    def __init__(self, folder, describer, annotator, reviews=REVIEWS):
        self.folder = folder
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        describe = {"annotators": [describer], "examples": [EXAMPLE], "max_failures": 1.0}
        params["describe"] |= describe
        params["annotate"] |= {"annotator": annotator, "max_failures": 1.0}
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        lines = [
            line
            for file in sorted((ROOT / "data/sample").glob("*.jsonl"))
            for line in file.read_text().splitlines()[:20]
            if 10 <= len(json.loads(line)["reviewText"].split()) <= 40
        ]
        step = len(lines) // reviews
        (folder / "reviews.jsonl").write_text("\n".join(lines[::step][:reviews]) + "\n")
        entries = [{"name": name, "phrases": [name]} for name in NAMES]
        value = {"made": {"stage": "cluster"}, "descriptors": entries}
        (folder / "descriptors.json").write_text(json.dumps(value))
        self.run("stage", "corpus", "reviews=reviews.jsonl", "corpus=corpus.parquet")
        self.sentences = pq.read_metadata(folder / "corpus.parquet").num_rows
        assert self.sentences >= 0.8 * reviews  # a few are left out

    def start(self, *words):
        kept = {name: value for name, value in os.environ.items() if name != "DESCRY_PARAMS"}
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([COMMAND, *words], cwd=self.folder, env=kept, **pipe)

    def run(self, *words):
        with self.start(*words) as process:
            said = process.communicate()[0]
        assert process.returncode == 0, said
        return said

    def stage(self, name):
        return ["stage", name, *FILES[name], WRITES[name]]

    @property
    def stored(self):
        """Answers in the cache, and those that failed."""
        with PromptCache(self.folder / "cache/prompts") as cache:
            good = sum(count for count, *_ in cache.by_origin().values())
            return good, sum(1 for _ in cache.failures())

    def killed(self, name, answers):
        """Run a stage until it has so many answers, good or failed, then kill it; the good ones."""
        before = self.stored
        with self.start(*self.stage(name)) as process:
            while sum(self.stored) - sum(before) < answers:
                assert process.poll() is None, process.stdout.read()
                time.sleep(0.2)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        return self.stored[0] - before[0]

    def asked(self, name):
        """How many prompts a stage finds answered, asks, and fails to have answered."""
        said = self.run(*self.stage(name))
        words = ("cached", "asked", "failed")
        return tuple(int(re.search(rf"{word} (\d+)", said)[1]) for word in words)

    def replayed(self, tmp_path):
        """Export, import elsewhere, replay there: the same bytes of results and exports."""
        self.run("cache", "export", "answers")
        copy = shutil.copytree(
            self.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("cache")
        )
        other = object.__new__(Study)
        other.folder = copy
        results = {}
        for result in ("candidates.parquet", "annotations.h5"):
            results[result] = (copy / result).read_bytes()
            (copy / result).unlink()
        other.run("cache", "import", "answers")
        other.run("cache", "export", "again")
        for name in WRITES:
            assert "asked 0" in other.run(*other.stage(name), "--replay")
        for result, made in results.items():
            assert (copy / result).read_bytes() == made
        exports = sorted(file.name for file in (copy / "answers").iterdir())
        assert exports
        for name in exports:
            assert (copy / "again" / name).read_bytes() == (copy / "answers" / name).read_bytes()


def told(checkpoint, **changes):
    """The annotator as params.yaml names it."""
    named = {"model": checkpoint.model, "revision": checkpoint.revision, "dtype": "float32"}
    named |= {"kind": "transformers", "device": "cpu", "max_tokens": 512}
    return named | {"max_new_tokens": 48, "batch_tokens": 3000} | changes


def doubted(study):
    """What is said of an annotator's answers beside people's."""
    b = read_annotations(study.folder / "annotations.h5")
    gold = read_gold(ROOT / "data/gold.jsonl", b.ids, b.descriptors)
    pairs = [table(answer, true) for answer, true in zip(b.answer.T, gold.T, strict=True)]
    said = b.answer[b.answer >= 0]
    answers = sum(int(pair.array.sum()) for pair in pairs)
    share = float((said == 1).mean())
    return doubt(b.annotator["name"], "gold labels", kappa_within(pairs), answers, share)


def test_killed_and_resumed_nothing_is_asked_twice_and_a_replay_gives_the_same_bytes(
    checkpoint, tmp_path
):
    (tmp_path / "study").mkdir()
    # Questions in many batches, so that a kill comes between two.
    study = Study(tmp_path / "study", told(checkpoint), told(checkpoint, batch_tokens=400))
    for name, prompts in (("describe", study.sentences), ("annotate", study.sentences * 4)):
        left = study.killed(name, prompts // 2)
        assert left < prompts
        cached, asked, failed = study.asked(name)
        assert (cached, asked) == (left, prompts - left)
        assert failed < prompts
    assert study.asked("annotate") == (prompts, 0, 0)
    study.replayed(tmp_path)
    assert "labels by it are not to be trusted" in doubted(study)


def test_behind_a_real_server_the_same_holds(checkpoint, tmp_path):
    (tmp_path / "study").mkdir()
    folder = str(checkpoint.folder)
    with transformers_serve(folder, tmp_path / "log") as url:
        named = {"kind": "openai", "base_url": url, "model": folder, "revision": "unpinned"}
        named |= {"dtype": "float32", "api_key_env": None, "max_new_tokens": 48, "timeout": 60.0}
        named |= {"concurrency": 2, "retries": 1, "price": None}
        named |= {"revision": reported_model(named)}
        study = Study(tmp_path / "study", named, named, reviews=FEW)
        study.killed("annotate", 2 * FEW)
        for name in WRITES:
            study.run(*study.stage(name))
    study.replayed(tmp_path)  # the server is gone
