"""Every test runs offline, and in a home of its own."""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import certifi
import costs
import planted
import pytest
from filelock import FileLock
from miniature import (
    AFTER_LABEL,
    DVC,
    SNAKEMAKE,
    STAGES,
    Repo,
    check_out,
    clone_of,
    copy_of,
)
from planted import made_in

# What is imported and collected stays to the end: the garbage collector need not look through it.
gc.disable()


def pytest_addoption(parser):
    parser.addoption("--costs", help="file for the processor seconds of each test")


def pytest_configure(config):
    costs.properties(config)
    config.pluginmanager.register(costs.Costs(config.getoption("costs")))


def pytest_collection_modifyitems(items):
    """Unit tests are marked; those of Slurm come first, for they mostly wait."""
    costs.mark(items)
    items.sort(key=lambda item: "test_slurm" not in item.nodeid)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


# Else each process would compile the code anew, of which a run starts a thousand.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Each worker, and what it starts, keeps to one core: else torch's threads spin against each other.
worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if worker and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

HOME = tempfile.TemporaryDirectory(prefix="descry-home-")
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HOME": HOME.name,
    "XDG_CACHE_HOME": f"{HOME.name}/cache",
    "XDG_CONFIG_HOME": f"{HOME.name}/config",
    "DESCRY_CONVERTED": f"{HOME.name}/converted",
    "DVC_SITE_CACHE_DIR": f"{HOME.name}/dvc",
    "DVC_NO_ANALYTICS": "1",
    "GIT_CONFIG_GLOBAL": f"{HOME.name}/gitconfig",
    "COLUMNS": "160",
    "OMP_NUM_THREADS": "1",
    "SSL_CERT_FILE": f"{HOME.name}/one.pem",  # none is used, and all take 40 ms to load
}
ends = "-----END CERTIFICATE-----\n"
first = Path(certifi.where()).read_text().partition(ends)[0]
Path(HOME.name, "one.pem").write_text(f"{first}{ends}")
Path(HOME.name, "gitconfig").write_text("[user]\n\tname = t\n\temail = t@example.com\n")


@pytest.fixture
def fill_a_disk(tmp_path):
    """Run Python code on a file system of 64 KiB, mounted where only it can see it."""

    def run(code):
        mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=64k t "$0" && exec "$@"']
        try:
            subprocess.run([*mount, tmp_path, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a small tmpfs cannot be mounted here: {error}")
        python = [sys.executable, "-W", "error", "-c", code, tmp_path]
        return subprocess.run([*mount, tmp_path, *python], capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def planted_results(tmp_path_factory):
    """A folder with all results of the planted study (planted.py); nobody changes it."""
    return made_in(tmp_path_factory.mktemp("planted"), planted.build)


@pytest.fixture(scope="session")
def planted_ends(tmp_path_factory):
    """The same of both ends of each neuron."""
    return made_in(tmp_path_factory.mktemp("ends"), lambda: planted.build(lowest=True))


@pytest.fixture
def run(planted_results, tmp_path, monkeypatch):
    """A copy of planted results that a test may spoil, as the current folder.

    A module's own fixture planted_results takes the place of the common one.
    """
    folder = tmp_path / "run"
    shutil.copytree(planted_results, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The miniature; nobody changes it."""
    return once(tmp_path_factory, "miniature", build)


@pytest.fixture(scope="session")
def rethought(built, tmp_path_factory):
    """The miniature after a change that DVC ran, committed as v2; nobody changes it."""
    return once(tmp_path_factory, "rethought", lambda base: rethink(built, base))


def once(tmp_path_factory, name, make):
    """A checkout that the first worker that wants it makes for all."""
    own = tmp_path_factory.getbasetemp()
    base = (own.parent if worker else own) / name
    with FileLock(f"{base}.lock"):
        if not (base / "whole").exists():
            base.mkdir()
            make(base)
            (base / "whole").touch()
    return Repo(base / "repo")


def build(base):
    """Build it by Snakemake, have DVC record it, commit it as v1 and push."""
    repo = check_out(base / "repo")
    repo.sh(f"dvc remote add -d store {base}/store && git commit -qam remote")
    assert repo.ran(SNAKEMAKE) == set(STAGES)
    assert repo.ran(DVC) == set()  # Snakemake vouches for every stage
    assert repo.settled()
    repo.sh("dvc push -q && git add -A && git commit -qm v1 && git tag v1")


def rethink(built, base):
    """Change the threshold, have DVC run what depends on it, and commit that as v2."""
    repo = copy_of(built, base / "repo")
    repo.set(**{"label.threshold": 0.3})
    assert repo.ran(DVC) == AFTER_LABEL
    assert repo.ran(SNAKEMAKE) == set()  # DVC ran it through Snakemake
    assert repo.settled()
    repo.sh("git add -A && git commit -qm v2")


@pytest.fixture
def repo(built, tmp_path):
    """A copy of the built miniature, for a test to change."""
    return copy_of(built, tmp_path / "repo")


@pytest.fixture
def second(rethought, tmp_path):
    """A copy of the miniature at v2, for a test to change."""
    return copy_of(rethought, tmp_path / "repo")


@pytest.fixture
def clone(built, tmp_path):
    """A fresh clone of it, with the data pulled."""
    repo = clone_of(built, tmp_path / "clone")
    repo.sh("dvc pull -q")
    assert not (repo.path / ".snakemake").exists()
    return repo
