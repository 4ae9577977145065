"""Each process computes on a GPU of its own, whoever started it and in whatever order they end."""

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from descry.models import devices
from descry.models.devices import pick_device

# A process on a machine with so many GPUs: what its models are put on, until it is told to end.
PROCESS = """
import sys
from types import SimpleNamespace
uuids = sys.argv[1:]
cuda = SimpleNamespace(
    is_available=lambda: True,
    device_count=lambda: len(uuids),
    get_device_properties=lambda index: SimpleNamespace(uuid=uuids[index]),
)
mps = SimpleNamespace(is_available=lambda: False)
sys.modules["torch"] = SimpleNamespace(cuda=cuda, backends=SimpleNamespace(mps=mps))
from descry.models.devices import pick_device
print(pick_device("auto"), pick_device("auto"), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """No lock of other runs of the tests is in the way."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    devices._free_gpu.cache_clear()
    yield
    devices._free_gpu.cache_clear()


@contextmanager
def process(*uuids):
    """A process that sees these GPUs, and the device that it took."""
    command = [sys.executable, "-c", PROCESS, *uuids]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as started:
        try:
            first, again = started.stdout.readline().split()
            assert first == again  # all models of a process are on one GPU
            yield first
        finally:
            started.kill()


def test_every_process_has_a_gpu_of_its_own_until_it_ends_or_is_killed():
    gpus = ["a", "b"]
    with process(*gpus) as second:
        with process(*gpus) as third, process(*gpus) as beyond:
            assert (second, third, beyond) == ("cuda:0", "cuda:1", "cuda")
        with process(*gpus) as fourth:  # the third was killed
            assert fourth == "cuda:1"


def test_a_gpu_is_known_by_its_uuid_whatever_its_number_in_a_process():
    with process("a", "b") as first, process("b", "a") as second, process("a", "c") as third:
        assert (first, second, third) == ("cuda:0", "cuda:0", "cuda:1")


@pytest.fixture
def gpus(monkeypatch):
    def has(number):
        properties = lambda index: SimpleNamespace(uuid=f"{index}")  # noqa: E731
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.cuda, "get_device_properties", properties)

    return has


@pytest.mark.parametrize("number", [0, 1])
def test_nothing_is_locked_where_there_is_nothing_to_choose_from(gpus, tmp_path, number):
    gpus(number)
    assert pick_device("auto") == ("cuda" if number else "cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_named_is_taken_whoever_has_it(gpus, tmp_path, device):
    gpus(2)
    assert pick_device(device) == device
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_no_link_that_another_user_laid(gpus, tmp_path):
    gpus(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices.os, "getuid", lambda: 7)
        (tmp_path / "descry-7-gpu-0").symlink_to(tmp_path / "theirs")
        with pytest.raises(OSError, match="symbolic link"):
            pick_device("auto")
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("able", "device", "lacks"),
    [
        ({"architecture": "x86_64", "amx_bf16": True, "avx512_bf16": False}, "cpu", False),
        ({"architecture": "x86_64", "amx_bf16": False, "avx512_bf16": True}, "cpu", False),
        ({"architecture": "x86_64", "amx_bf16": False, "avx512_bf16": False}, "cpu", True),
        ({"architecture": "x86_64", "amx_bf16": False, "avx512_bf16": False}, "cuda", False),
        ({"architecture": "aarch64"}, "cpu", False),
    ],
)
def test_whether_bfloat16_pays_is_read_off_the_processor(monkeypatch, able, device, lacks):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert devices.lacks_bfloat16(device) == lacks
