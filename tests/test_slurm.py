"""Stages as jobs of a real Slurm: its own daemons, one node on the loopback, a GPU in name only."""

import fcntl
import math
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest
import warm
from faults import Run
from miniature import DVC, SNAKEMAKE, STAGES, copy_of
from servers import MODEL, Reply, completion, free_port, serving

from descry.annotators.prompt_cache.jsonl import opened

pytestmark = pytest.mark.slow

ON_SLURM = f"env SNAKEMAKE_PROFILE=profiles/slurm PYTHONPATH={warm.IMPATIENT}"
IN_SHARDS = {"describe_shard": 3, "activations_shard": 2, "graphs_shard": 3, "annotate_shard": 2}
ON_A_GPU = {*IN_SHARDS, "untrained", "judge", "score", "writes", "facets", "interventions"}
ETC = Path("/etc/slurm")  # the one place where a job's own srun looks
MARK = "# Written by descry's tests, which remove it.\n"
PROGRAMS = [
    "setpriv",
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "srun",
    "squeue",
    "scontrol",
    "scancel",
]
CONF = """ClusterName=descry
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=2
MinJobAge=3600
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 Gres=gpu:1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Job(NamedTuple):
    """What Slurm says of a job."""

    number: int
    stage: str
    state: str
    gpus: str
    limit: str
    submitted: datetime
    started: datetime
    ended: datetime


class Slurm:
    """A Slurm of one partition, `main`."""

    def __init__(self):
        self.seen = 0  # number of the last job that a test before was about

    def jobs(self):
        """This test's jobs, in the order of their numbers."""
        lines = said("scontrol", "show", "job", "--oneliner").splitlines()
        jobs = sorted(job_of(line) for line in lines if line.startswith("JobId="))
        return [job for job in jobs if job.number > self.seen]

    def states(self):
        return [(job.stage, job.state) for job in self.jobs()]

    def open(self, opened):
        said("scontrol", "update", "PartitionName=main", f"State={'UP' if opened else 'DOWN'}")


def job_of(line):
    """A job from its line, in which every name stands before its value."""
    told = dict(re.findall(r"(\w+)=(\S*)", line))
    times = [told[key] for key in ("SubmitTime", "StartTime", "EndTime")]
    return Job(
        int(told["JobId"]), re.search("rule_(.+?)(_wildcards.*)?$", told["Comment"])[1],
        told["JobState"],
        told.get("TresPerJob", ""), told["TimeLimit"],
        *(datetime.max if time == "Unknown" else datetime.fromisoformat(time) for time in times),
    )  # fmt: skip


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(true):
    """Wait for something that must come, or fail."""
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@contextmanager
def alone():
    """One at a time on this machine: there is one place for the configuration."""
    folder = os.open(ETC, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(folder)


@contextmanager
def configured(folder):
    """Slurm's configuration, where there is none; nobody else's is touched."""
    texts = {
        "slurm.conf": CONF.format(
            folder=folder, host=socket.gethostname().partition(".")[0],
            port=free_port(), node_port=free_port(),
        ),
        "gres.conf": "Name=gpu File=/dev/null\n",
    }  # fmt: skip
    for name in texts:
        if (ETC / name).exists() and not (ETC / name).read_text().startswith(MARK):
            pytest.skip(f"{ETC / name}: a Slurm is set up here, which is left alone")
    try:
        for name, text in texts.items():
            (ETC / name).write_text(MARK + text)
        yield
    finally:
        for name in texts:
            (ETC / name).unlink(missing_ok=True)


@contextmanager
def running(log, *command):
    """A daemon in the foreground, while the context lasts, and while this process does.

    Ctrl-C is for this process alone, which then stops the jobs, and the daemons after them.
    """
    mortal = ["setpriv", "--pdeathsig", "TERM", *command]
    with log.open("wb") as file:
        daemon = subprocess.Popen(
            mortal, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
        assert daemon.poll() is None, log.read_text()
    finally:
        daemon.terminate()
        daemon.wait()


def munged(folder):
    """The command that runs munge's daemon with everything of its own in a folder."""
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o600)
    options = {"key-file": "key", "socket": "munge.socket", "pid-file": "munged.pid"}
    options |= {"log-file": "munged.log", "seed-file": "munged.seed"}
    places = [f"--{option}={folder / name}" for option, name in options.items()]
    return ["munged", "--foreground", "--force", *places]


def answering():
    """Whether the node takes jobs."""
    with suppress(subprocess.CalledProcessError):
        return "idle" in said("sinfo", "--noheader", "--format=%T")
    return False


@pytest.fixture(scope="module")
def cluster():
    """A Slurm that takes jobs."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"Slurm is not installed here: no {', '.join(missing)}")
    if os.geteuid():
        pytest.skip("Slurm's daemons want root")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        stack.enter_context(alone())
        stack.enter_context(configured(folder))
        stack.enter_context(running(folder / "munged.out", *munged(folder)))
        until((folder / "munge.socket").exists)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        for daemon in ("slurmctld", "slurmd"):
            stack.enter_context(running(folder / f"{daemon}.out", daemon, "-D"))
        until(answering)
        yield Slurm()
        said("scancel", "--partition=main")
        until(answering)


@pytest.fixture
def slurm(cluster):
    """That Slurm, open, and with no jobs that this test knows of."""
    cluster.seen = max((job.number for job in cluster.jobs()), default=cluster.seen)
    cluster.open(True)
    return cluster


def without_accounting(repo):
    """The profile as set for a Slurm that keeps no accounts."""
    file = repo.path / "profiles/slurm/config.yaml"
    text = file.read_text()
    set_ = text.replace("# slurm-status-command", "slurm-status-command")
    assert set_ != text
    file.write_text(f"{set_}slurm-init-seconds-before-status-checks: 1\n")
    return repo


def test_every_stage_is_a_job_or_several_and_gives_the_same_bytes(slurm, built, repo):
    for folder in ("results", "cache"):
        shutil.rmtree(repo.path / folder)
    repo.set(**{f"shards.{stage.removesuffix('_shard')}": 2 for stage in IN_SHARDS})
    without_accounting(repo).sh(f"{ON_SLURM} {SNAKEMAKE}")
    jobs = slurm.jobs()
    print(*jobs, sep="\n")
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert Counter(job.stage for job in jobs) == Counter(STAGES) + Counter(IN_SHARDS)
    assert {job.limit for job in jobs} == {"04:00:00"}
    on_a_gpu = sorted((job for job in jobs if job.gpus), key=lambda job: job.started)
    assert {(job.stage, job.gpus) for job in on_a_gpu} == {(s, "gres:gpu:1") for s in ON_A_GPU}
    # All that could wait for the one GPU did so in Slurm's queue.
    assert max(job.submitted for job in on_a_gpu[:4]) <= min(job.ended for job in on_a_gpu)
    for before, after in pairwise(on_a_gpu):
        assert before.ended <= after.started
    assert repo.results() == built.results()
    assert not (repo.path / "cache/prompts").exists() and answers(repo)


def test_dvc_submits_exactly_the_jobs_that_a_param_changes(slurm, clone):
    without_accounting(clone).set(**{"judge.max_failures": 0.02})
    clone.sh(f"{ON_SLURM} {DVC}")
    # The judge's answers are the same, so the curves are: DVC stops before the figures.
    assert slurm.states() == [(s, "COMPLETED") for s in ("judge", "evaluate", "report")]
    assert clone.settled()


class Shop:
    """Answers to p1, each sold for good; whoever asks when the stock is gone waits."""

    def __init__(self):
        self.sold = Counter()
        self.stock = math.inf
        self.closing = Event()

    def __call__(self, body, before):
        prompt = body["messages"][-1]["content"]
        if self.sold.total() >= self.stock:
            self.closing.wait()
            return Reply(completion(), cut="before")
        self.sold[prompt] += 1
        return Reply(completion(["price, taste", "the smell", "size"][len(prompt) % 3]))


@pytest.fixture
def shop():
    shop = Shop()
    with serving(shop) as server:
        shop.url = server.url
        yield shop
        shop.closing.set()


def of_the_shop(repo, shop):
    """The checkout with answers from the shop."""
    model = {"kind": "openai", "model": "tiny", "revision": MODEL, "dtype": "unknown"}
    asking = {"base_url": shop.url, "api_key_env": None, "max_new_tokens": 40, "concurrency": 1}
    limits = {"timeout": 600.0, "retries": 0, "price": None}
    repo.set(**{"describe.annotators": [model | asking | limits]})
    repo.sh("descry dvc")
    return repo


def installed(repo, command, status=0):
    """Run the installed commands themselves: Slurm can end no fork of the tests' (warm.py)."""
    ended, said = Run(repo, command).end(900)
    assert ended == status, said


def last_log(repo):
    """What Slurm and Snakemake said on the node of the last job that failed."""
    logs = repo.path.glob(".snakemake/slurm_logs/*/*.log")
    return max(logs, key=lambda log: int(log.stem)).read_text()


def answers(repo):
    with opened(repo.path, repo.path / "cache/journals") as cache:
        return cache.stats()["answers"]


def test_a_job_that_is_ended_or_waits_long_buys_nothing_twice(slurm, shop, built, repo, tmp_path):
    here = of_the_shop(copy_of(built, tmp_path / "here"), shop)
    here.sh(f"{SNAKEMAKE} describe")
    whole = len(shop.sold)
    shop.sold.clear()
    of_the_shop(without_accounting(repo), shop)
    describe = f"{ON_SLURM} {SNAKEMAKE} describe"
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        stack.callback(shop.closing.set)  # else a failure here would wait for the runs for ever
        stack.callback(slurm.open, True)
        shop.stock = 5
        run = pool.submit(installed, repo, describe, 1)
        until(lambda: answers(repo) == 5)
        said("scancel", str(slurm.jobs()[-1].number))
        run.result()
        assert "CANCELLED" in last_log(repo)

        shop.stock = 10
        run = pool.submit(installed, repo, f"{describe} --set-resources describe:runtime=1", 1)
        until(lambda: answers(repo) == 10)
        job = slurm.jobs()[-1]
        assert job.limit == "00:01:00"  # the least that there is: it need not be waited for
        said("scontrol", "update", f"JobId={job.number}", "EndTime=now+1")
        run.result()
        assert "DUE TO TIME LIMIT" in last_log(repo)
        assert answers(repo) == 10

        shop.stock = math.inf
        slurm.open(False)
        run = pool.submit(installed, repo, describe)
        until(lambda: slurm.states()[-1] == ("describe", "PENDING"))
        repo.set(**{"describe.max_words": 1})  # while the job waits: it is none of its params
        slurm.open(True)
        run.result()
    assert [state for _, state in slurm.states()] == ["CANCELLED", "TIMEOUT", "COMPLETED"]
    shutil.copy(here.path / "params.yaml", repo.path / "params.yaml")
    assert "Nothing to be done" in repo.sh("snakemake -n --cores all describe")
    assert (shop.sold.total(), len(shop.sold)) == (whole, whole)
    made = (repo.path / "results/candidates.parquet").read_bytes()
    assert made == (here.path / "results/candidates.parquet").read_bytes()
