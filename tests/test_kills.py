"""Killed at any moment, or run by many processes at once, asking loses nothing."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from descry.annotators.prompt_cache.jsonl import export, load
from descry.annotators.prompt_cache.store import PromptCache

SENTENCES, DESCRIPTORS, GROUP = 80, 10, 5
KILLS = 20

WORKER = f"""
import os, signal, sys, time
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, {str(Path(__file__).parent)!r})
import descry.annotators.chunks
from stand_ins import Scripted
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.client import AskOptions, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.base import Answer, Identity
from descry.annotators.prompts import p2
from descry.annotators.parsing.answers import parse_verdict

signal.signal(signal.SIGINT, signal.default_int_handler)
descry.annotators.chunks.CHUNK = 64
folder, log, first, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


class Slow(Scripted):
    identity = Identity("slow", "slow", "r1", "none", "{{}}")
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def answer(self, prompts, wanted):
        for group in super().answer(prompts, wanted):
            keys = [self.identity.request(prompts[i]).key for i, _ in group]
            os.write(self.log, (" ".join([str(os.getpid()), *keys]) + "\\n").encode())
            time.sleep(0.005)
            yield group


def say(prompt):
    share = (sha256(prompt.text.encode()).digest()[0] + 1) / 257
    return Answer({{"yes": round(-share, 6), "no": round(share - 1, 6)}}, (len(prompt.text), 1))


sentences = [f"Sentence {{i}} of many, größer." for i in range(first, last)]
prompts = p2(sentences, [f"descriptor {{i}}" for i in range({DESCRIPTORS})])
tally = Counts()
print("ready", flush=True)
sys.stdin.readline()
with PromptCache(folder) as cache:
    how = AskOptions("annotate", cache, 0.0, False, lambda *_: None)
    slow = Slow(say, group={GROUP})
    for slab in answer_prompts(how, slow, prompts, lambda r: parse_verdict(r, 0.1), tally):
        assert all(slab.responses)
print(tally.cached, tally.asked)
"""


class Study:
    """Processes that ask about the same sentences, and the log of all they asked."""

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        self.cache, self.log, self.out = folder / "cache", folder / "log", folder / "out"
        self.workers = []

    def start(self, *parts):
        """Processes that begin together, each with its part of the sentences."""
        workers = []
        for first, last in parts or [(0, SENTENCES)]:
            command = [sys.executable, "-c", WORKER, self.cache, self.log, first, last]
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            workers.append(subprocess.Popen(list(map(str, command)), text=True, **pipes))
        self.workers += workers
        for worker in workers:
            assert worker.stdout.readline() == "ready\n", worker.communicate()[1]
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        return workers

    def finish(self, *parts):
        """Let processes end by themselves: how many answers were cached, and asked, by each."""
        workers = self.start(*parts)
        ended = [worker.communicate() for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * len(workers)
        assert [err for _, err in ended] == [""] * len(workers)
        return [tuple(map(int, out.split())) for out, _ in ended]

    def wait(self, worker, groups):
        """Until a process has asked so many groups."""
        while sum(process == worker.pid for process, _ in self.groups()) < groups:
            assert worker.poll() is None, worker.communicate()[1]
            time.sleep(0.002)

    def clear(self):
        for worker in self.workers:
            worker.kill()
            worker.communicate()

    def groups(self):
        """What was asked: (process, keys), group by group."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(process), keys) for process, *keys in map(str.split, lines)]

    def export(self):
        self.out.mkdir(exist_ok=True)
        with PromptCache(self.cache) as cache:
            export(cache, self.out)
        return {path.name: path.read_bytes() for path in self.out.iterdir()}

    def sound(self):
        with closing(sqlite3.connect(self.cache / "cache.db")) as database:
            return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def stats(self):
        with PromptCache(self.cache) as cache:
            return cache.stats()


ALL = SENTENCES * DESCRIPTORS


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The export of one process that nothing happened to."""
    study = Study(tmp_path_factory.mktemp("undisturbed"))
    assert study.finish() == [(0, ALL)]
    assert len(study.groups()) >= ALL // GROUP
    return study.export()


@pytest.fixture
def study(tmp_path):
    study = Study(tmp_path / "study")
    yield study
    study.clear()


def stop(worker, number):
    """How a process ends that gets a signal."""
    worker.send_signal(number)
    worker.communicate()
    return worker.returncode


def test_twenty_kills_cost_no_more_than_the_group_in_flight_each(study, undisturbed):
    moments, before, in_flight, again = random.Random(7), set(), set(), []
    for _ in range(KILLS):
        (worker,) = study.start()
        if moments.random() < 0.25:
            time.sleep(moments.uniform(0, 0.03))  # maybe while it opens the cache
        else:
            study.wait(worker, moments.randint(1, 6))
            time.sleep(moments.uniform(0, 0.01))
        assert stop(worker, signal.SIGKILL) == -signal.SIGKILL
        asked = [keys for process, keys in study.groups() if process == worker.pid]
        repeated = before & set().union(*asked)
        assert repeated <= in_flight
        again.append(len(repeated))
        before.update(*asked)
        in_flight = set(asked[-1]) if asked else in_flight
    ((cached, asked),) = study.finish()
    times = Counter(key for _, keys in study.groups() for key in keys)
    assert (cached + asked, len(times)) == (ALL, ALL)
    assert max(again) <= GROUP
    assert 0 < times.total() - ALL <= KILLS * GROUP
    assert (study.stats(), study.sound()) == ({"answers": ALL, "failures": 0}, True)
    assert study.export() == undisturbed
    assert study.finish() == [(ALL, 0)]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stopped_run_leaves_the_cache_usable(study, undisturbed, name):
    number = signal.Signals[name]
    (worker,) = study.start()
    study.wait(worker, 10)
    assert stop(worker, number) == -number
    stored = study.stats()["answers"]
    assert 0 <= len(study.groups()) * GROUP - stored <= GROUP
    assert study.finish() == [(stored, ALL - stored)]
    assert study.sound()
    assert study.export() == undisturbed


def test_the_counts_of_an_interrupted_run_are_kept(study):
    (worker,) = study.start()
    study.wait(worker, 10)
    assert stop(worker, signal.SIGINT) == -signal.SIGINT
    with PromptCache(study.cache) as cache:
        counts = cache.runs()["annotate:slow"]
        assert 0 <= cache.stats()["answers"] - counts["asked"] <= GROUP
    assert (counts["total"], counts["failures"]) == (ALL, {})
    assert counts["rate"] > 0


def test_a_kill_of_one_process_does_not_disturb_another(study, undisturbed):
    victim, other = study.start(WHOLE, WHOLE)
    study.wait(victim, 10)
    assert stop(victim, signal.SIGKILL) == -signal.SIGKILL
    out, err = other.communicate()
    assert (other.returncode, err, sum(map(int, out.split()))) == (0, "", ALL)
    assert study.sound()
    assert study.export() == undisturbed


WHOLE = (0, SENTENCES)
PARTS = [(0, 20), (0, 20), WHOLE, (10, 50), (40, 80), (40, 80), (50, 80), WHOLE]


def test_eight_processes_at_once_lose_nothing(study, undisturbed):
    counts = study.finish(*PARTS)
    assert [sum(n) for n in counts] == [(last - first) * DESCRIPTORS for first, last in PARTS]
    assert (study.stats(), study.sound()) == ({"answers": ALL, "failures": 0}, True)
    assert study.export() == undisturbed
    assert study.finish() == [(ALL, 0)]


def test_eight_processes_killed_and_started_again_lose_nothing(study, undisturbed):
    moments = random.Random(11)
    for _ in range(3):
        workers = study.start(*PARTS)
        study.wait(workers[2], 2)
        for worker in moments.sample(workers, 8):
            time.sleep(moments.uniform(0, 0.01))
            worker.kill()
        for worker in workers:
            assert worker.communicate()[1] == ""
    assert study.stats()["answers"] > 0
    study.finish()
    assert (study.stats(), study.sound()) == ({"answers": ALL, "failures": 0}, True)
    assert study.export() == undisturbed


def test_an_export_taken_while_others_write_is_whole(study, undisturbed, tmp_path):
    workers = study.start(WHOLE, (10, 50), (40, 80))
    sizes = []
    while any(worker.poll() is None for worker in workers):
        study.export()
        files = list(study.out.glob("*.jsonl"))
        with PromptCache(tmp_path / f"copy{len(sizes)}") as copy:
            assert load(copy, files)[1] == []
            sizes.append(copy.stats()["answers"])
    assert [worker.communicate()[1] for worker in workers] == [""] * 3
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 1
    assert study.export() == undisturbed


def test_machines_that_each_did_a_part_merge_to_the_whole(tmp_path, undisturbed):
    folders = []
    for n, part in enumerate([(0, 20), (10, 50), (40, 80)]):
        machine = Study(tmp_path / f"machine{n}")
        machine.finish(part)
        machine.export()
        folders.append(machine.out)
    whole = Study(tmp_path / "whole")
    with PromptCache(whole.cache) as cache:
        assert load(cache, folders)[1] == []
    assert whole.export() == undisturbed
    assert whole.finish() == [(ALL, 0)]


HALF = """
import os, signal, sys
from pathlib import Path
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompt_cache.jsonl import export, load

writing, number = PromptCache.records, int(sys.argv[3])


def deadly(self):
    for n, row in enumerate(writing(self)):
        if n == number:
            os.kill(os.getpid(), signal.SIGKILL)
        yield row


PromptCache.records = deadly
with PromptCache(Path(sys.argv[1])) as cache:
    export(cache, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [0, 1, 300])
def test_a_killed_export_leaves_the_one_before(study, undisturbed, number):
    study.finish()
    study.export()
    killed = subprocess.run(
        [sys.executable, "-c", HALF, study.cache, study.out, str(number)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert {p.name: p.read_bytes() for p in study.out.glob("*.jsonl")} == undisturbed


def test_a_killed_import_is_whole_transactions_and_can_be_repeated(study, undisturbed, tmp_path):
    study.finish()
    study.export()
    script = """
import os, signal, sys
from pathlib import Path
from descry.annotators.prompt_cache import jsonl as exports
from descry.annotators.prompt_cache.store import PromptCache

exports.BATCH, done = 50, []
plain = PromptCache.merge


def deadly(self, rows):
    done.append(len(rows.answers))
    if len(done) == 4:
        change = self._cache.set
        self._cache.set = lambda *a, **k: (change(*a, **k), os.kill(os.getpid(), signal.SIGKILL))
    return plain(self, rows)


PromptCache.merge = deadly
with PromptCache(Path(sys.argv[1])) as cache:
    exports.load(cache, [Path(sys.argv[2])])
"""
    copy = Study(tmp_path / "copy")
    killed = subprocess.run([sys.executable, "-c", script, copy.cache, study.out], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert copy.stats()["answers"] == 150
    with PromptCache(copy.cache) as cache:
        load(cache, [study.out])
    assert copy.export() == undisturbed
