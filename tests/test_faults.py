"""Faults made for real: what comes out is the same as ever, or one line that says what to do.

What is tested elsewhere: kills while answers and activations are written (test_kills,
test_activation_store, test_activations), servers that fail (test_endpoint), damaged exports
(test_jsonl) and files of every kind (test_damage, test_fuzz, test_io). Many more random moments and
places: benchmarks/faults.py.
"""

import json
import os
import subprocess
import sys
import time
from functools import partial
from random import Random

import faults
import h5py
import numpy as np
import pytest
import tiny
import torch
from faults import Run
from miniature import DVC, SNAKEMAKE
from servers import MODEL, Reply, completion, serving

from descry.activations.extraction import Block, extract
from descry.annotators.client import AskOptions, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p2
from descry.annotators.templates import P2
from descry.errors import InputError
from descry.models.batching import lacks_memory
from descry.models.checkpoints import Checkpoint, contents_sha256
from descry.models.embedder import sentence_embedder
from descry.models.hooked_model import HookedModel
from descry.n2g.layer_model import LayerNeurons

TOOLS = pytest.mark.parametrize("tool", [SNAKEMAKE, DVC])
MOUNTS = pytest.mark.skipif(bool(faults.can_mount()), reason="a disk cannot be mounted here")


# Runs that are stopped


@pytest.mark.slow
@TOOLS
def test_a_killed_stage_is_made_again_with_the_same_bytes(repo, built, tool):
    faults.forget(repo, ["label"])
    moment = Random(tool).uniform(0, 1)
    said = faults.kill_stage(repo, f"{tool} label", "label", moment)
    assert said is None or faults.is_clear(said)
    repo.sh(f"{tool} label")
    assert repo.results() == built.results()


@pytest.mark.slow
def test_a_lock_that_a_killed_snakemake_left_is_explained_in_one_line(repo, built):
    faults.forget(repo, ["label"])
    run = Run(repo, f"{SNAKEMAKE} label")
    try:
        assert run.stage("label")
        run.process.kill()
        run.process.wait()
        status, said = Run(repo, SNAKEMAKE).end()
        (line,) = (line for line in said.splitlines() if line.startswith("this folder is locked: "))
        assert (status, "run `snakemake --unlock`" in line) == (1, True)
        repo.sh("snakemake --unlock")
        repo.sh(f"{SNAKEMAKE} label")  # while the killed one's stage may still be at it
        assert repo.results() == built.results()
    finally:
        run.clear()


@pytest.mark.slow
@TOOLS
def test_ctrl_c_ends_a_run_without_a_traceback_and_the_next_one_goes_on(repo, built, tool):
    faults.forget(repo, ["label"])
    run = Run(repo, f"{tool} label")
    assert run.stage("label")
    time.sleep(0.3)
    run.interrupt()
    _, said = run.end()
    assert "Traceback" not in said
    repo.sh(f"{tool} label")
    assert repo.results() == built.results()


@pytest.mark.slow
@TOOLS
def test_two_runs_at_once_do_not_disturb_each_other(repo, built, tool):
    faults.forget(repo, ["label"])
    runs = [Run(repo, f"{tool} label"), Run(repo, f"{tool} label")]
    for status, said in [run.end() for run in runs]:
        assert status == 0 or faults.is_clear(said)
    repo.sh(f"{tool} label")
    assert repo.results() == built.results()


# Disks

LABEL = "descry stage label"


@pytest.mark.slow
@MOUNTS
@pytest.mark.parametrize(
    ("disk", "told"),
    [
        (partial(faults.on_a_small_disk, room=60_000), "the disk is full"),
        (faults.unwritable, "cannot be written (Read-only file system)"),
    ],
    ids=["full", "read-only"],
)
def test_results_that_cannot_be_written_are_told_and_nothing_is_left_half(repo, built, disk, told):
    status, said = Run(repo, disk(LABEL, repo.path / "results")).end()
    assert (status, told in faults.one_line(said)) == (2, True)
    assert repo.results() == built.results()


@pytest.mark.slow
@MOUNTS
def test_snakemake_on_read_only_results_ends_in_one_line_where_it_would_write(repo):
    forced = faults.unwritable(f"{SNAKEMAKE} --forcerun label label", repo.path / "results")
    status, said = Run(repo, forced).end()
    assert (status, said.splitlines()[-1].startswith("error: results: is read-only")) == (2, True)
    assert "Traceback" not in said
    assert "affected files" not in said
    status, said = Run(repo, faults.unwritable(SNAKEMAKE, repo.path / "results")).end()
    assert status == 0  # all is up to date


FILL = """
import sys
from pathlib import Path
from descry.annotators.prompt_cache.store import PromptCache
from descry.errors import InputError

folder, stored = Path(sys.argv[1]), 0
origin = {"task": "p2", "model": "m"}
try:
    with PromptCache(folder / "cache") as cache:
        try:
            while True:
                key = f"{stored:064x}"
                cache.store(origin, {key: {"response": {"text": "x" * 500}, "sentence": "0" * 16}})
                stored += 1
        finally:
            assert cache.stats() == {"answers": stored, "failures": 0}
except InputError as error:
    print(stored, error)
"""


@MOUNTS
@pytest.mark.parametrize("room", [20_000, 300_000])
def test_a_full_disk_costs_no_answer_that_was_stored(tmp_path, room):
    (tmp_path / "fill.py").write_text(FILL)
    fill = f"{sys.executable} {tmp_path}/fill.py {tmp_path}/disk"
    full = faults.on_a_small_disk(fill, tmp_path / "disk", room=room)
    done = subprocess.run(full, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    stored, _, told = done.stdout.partition(" ")
    assert "the disk is full: free some space" in told
    assert (int(stored) > 0) == (room > 100_000)


# Spoilt files


@pytest.mark.slow
def test_a_flipped_bit_that_no_reader_can_notice_is_named_by_the_hashes(repo):
    path = repo.path / "results/activations.h5"
    before = path.stat().st_mtime_ns
    with h5py.File(path) as file:
        place = file["activations"].id.get_chunk_info(0).byte_offset
    with path.open("rb+") as raw:
        raw.seek(place)
        byte = raw.read(1)[0]
        raw.seek(place)
        raw.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before, before))
    assert "activations.h5" in repo.sh("descry verify --hashes", status=1)


@pytest.mark.slow
def test_a_truncated_result_stops_a_stage_in_one_line(repo):
    faults.cut(repo.path / "results/annotations.h5", 0.7)
    status, said = Run(repo, LABEL).end()
    assert (status, "results/annotations.h5: cannot be read" in faults.one_line(said)) == (2, True)


# Models


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A model whose weights are several files, of which one is not there."""
    folder = tiny.make("llama", tmp_path_factory.mktemp("shards"))
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    named = index["weight_map"].values()
    (folder / max(named)).unlink()
    return folder


def test_a_model_without_one_of_its_shards_is_refused_in_one_line(shards):
    pinned = Checkpoint(str(shards), contents_sha256(shards))
    how = {"site": "ffn_output", "position": "last", "layers": None, "dtype": "float32"}
    with pytest.raises(InputError, match=r"cannot be loaded \(.*\)") as target:
        HookedModel(pinned, device="cpu", max_tokens=64, **how)
    annotator = create(tiny.spec(shards), "p2")
    with pytest.raises(InputError, match=r"cannot be loaded \(.*\)") as answers:
        list(annotator.answer(p2(["It works."], ["Price"]), {0}))
    with pytest.raises(InputError, match=r"cannot be loaded \(.*\)") as embedder:
        sentence_embedder(pinned)
    for stopped in (target, answers, embedder):
        assert "\n" not in str(stopped.value)


# Memory

LACKS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return tiny.make("gpt2", tmp_path_factory.mktemp("gpt2"))


def target_of(folder, position="last"):
    return HookedModel(
        Checkpoint(str(folder), contents_sha256(folder)),
        site="ffn_output",
        position=position,
        layers=[0],
        dtype="float32",
        device="cpu",
        max_tokens=64,
    )


def lacking(error, after=0):
    """A function that has no memory, after so many calls of another."""
    calls = iter(range(1000))

    def run(plain, *given, **named):
        if next(calls) < after:
            return plain(*given, **named)
        raise error

    return run


def test_a_lack_of_memory_is_known_in_all_its_words():
    for wish in (lambda: torch.empty(2**56), lambda: np.empty(2**56)):
        with pytest.raises((RuntimeError, MemoryError)) as lack:
            wish()
        assert lacks_memory(lack.value)
    assert not lacks_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not lacks_memory(ValueError("out of memory"))


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_activations_without_memory_name_the_parameter_to_lower(gpt2, monkeypatch, error):
    target = target_of(gpt2)
    monkeypatch.setattr(target, "activations", partial(lacking(error), target.activations))
    ids = target.tokenize(["great price", "works"])
    block = Block(0, ids, np.arange(2), 2, np.array(["calibration", "validation"]), np.zeros(2))
    with pytest.raises(InputError, match=r"out of memory: halve activations.batch_tokens \(512\)"):
        list(extract(target, [block], 512, "float32"))


def test_graphs_without_memory_name_the_parameter_to_lower(gpt2, monkeypatch):
    subject = LayerNeurons(target_of(gpt2, "tokens"), bos=False, batch_tokens=256)
    monkeypatch.setattr(
        subject.target, "activations", partial(lacking(LACKS[0]), subject.target.activations)
    )
    with pytest.raises(InputError, match=r"halve activations.batch_tokens \(256\)"):
        subject([(1, 2)], [[0]])


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_a_annotator_without_memory_keeps_what_it_answered(tmp_path, monkeypatch, error):
    folder = tiny.make("t5", tmp_path / "t5")
    questions = p2([f"{'great ' * n}price" for n in range(1, 9)], ["price"])
    whole = answers_of(create(tiny.spec(folder, batch_tokens=60), "p2"), questions, tmp_path / "a")
    poor = create(tiny.spec(folder, batch_tokens=60), "p2")
    model = poor._loaded.model
    monkeypatch.setattr(model, "forward", partial(lacking(error, after=3), model.forward))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with pytest.raises(InputError, match=r"halve batch_tokens \(60\); what was answered is kept"):
        answers_of(poor, questions, tmp_path / "b")
    kept = rows_of(tmp_path / "b")
    assert 0 < len(kept) < len(whole)
    again = create(tiny.spec(folder, batch_tokens=60), "p2")
    assert answers_of(again, questions, tmp_path / "b") == whole


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_does_not_pass_for_a_model_that_shares_nothing(
    tmp_path, monkeypatch, error
):
    poor = create(tiny.spec(tiny.make("llama", tmp_path)), "p2")
    model = poor._loaded.model
    scorer = poor._scorer(P2)  # looks up what forward takes
    monkeypatch.setattr(scorer, "_logits", partial(lacking(error), scorer._logits))
    with pytest.raises(InputError, match="out of memory"):
        list(poor.answer(p2(["great price", "works"], ["price", "battery"]), {0, 1}))
    assert model


def answers_of(annotator, questions, folder, max_failures=1.0):
    """Ask all, through a cache: every row of it afterwards."""
    with PromptCache(folder) as cache:
        how = AskOptions("annotate", cache, max_failures, False, lambda *_: None)
        for _ in answer_prompts(
            how, annotator, questions, partial(parse_verdict, min_mass=0.0), Counts()
        ):
            pass
    return rows_of(folder)


def rows_of(folder):
    with PromptCache(folder) as cache:
        return dict(cache.records())


# Servers

GOOD = Reply(completion(top={"Yes": -0.2, "No": -2.0}))
NONSENSE = Reply(completion("colourless green ideas", top={"▁▁": -0.1, "ideas": -3.0}))
SERVER = {"model": "tiny", "revision": MODEL, "dtype": "unknown", "api_key_env": None}
SERVER |= {"max_new_tokens": 40, "concurrency": 2, "timeout": 0.3, "retries": 0, "price": None}
QUESTIONS = p2([f"It is cheap, number {n}." for n in range(30)], ["price"])


def served(url):
    return create({"kind": "openai", "base_url": url} | SERVER, "p2")


class Drip:
    """A reply that never ends: a byte now and then keeps a client's own time-out from coming."""

    cut = "drips"

    def __call__(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while True:  # until the client has gone
            handler.wfile.write(b" ")
            time.sleep(0.05)


LATE = {"nonsense": NONSENSE, "hangs": Reply(b"", after=1.0), "drips": Drip()}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_a_server_that_goes_wrong_halfway_costs_no_answer_and_leaves_no_wrong_one(tmp_path, late):
    with serving(lambda *_: GOOD) as server:
        whole = answers_of(served(server.url), QUESTIONS, tmp_path / "whole")
    well = iter(range(1000))
    stop = pytest.raises(InputError, match=r"answers failed|does not answer")
    with serving(lambda *_: GOOD if next(well) < 12 else late) as server, stop:
        answers_of(served(server.url), QUESTIONS, tmp_path / "spoilt", max_failures=0.1)
    kept = rows_of(tmp_path / "spoilt")
    assert len(kept) >= 10
    assert {key: record(text) for key, text in kept.items()}.items() <= {
        key: record(text) for key, text in whole.items()
    }.items()
    with serving(lambda *_: GOOD) as server:
        again = answers_of(served(server.url), QUESTIONS, tmp_path / "spoilt", max_failures=0.1)
        assert server.requests == len(QUESTIONS) - len(kept)
    assert list(map(record, again.values())) == list(map(record, whole.values()))


def record(text):
    """A row without its origin, which names the server's address."""
    return json.dumps({key: value for key, value in json.loads(text).items() if key != "origin"})
