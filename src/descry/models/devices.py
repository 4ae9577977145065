"""The device of a process: of several GPUs, one that no other process uses."""

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from descry.errors import InputError

_GPU_FILES = (  # NVIDIA's driver, AMD's, and Apple's library
    "/dev/nvidia0",
    "/dev/kfd",
    "/System/Library/Frameworks/Metal.framework",
)


def may_have_gpu() -> bool:
    """Whether this machine looks like one with a GPU: told without loading torch."""
    return any(map(os.path.exists, _GPU_FILES))


def pick_device(device: str) -> str:
    """Return torch's name of the device: for `auto` a free GPU, if there is one.

    Raises:
        InputError: the device asked for is not here.
    """
    import torch

    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        found = next(name for name in ("cuda", "mps", "cpu") if here[name])
        return _free_gpu() if found == "cuda" else found
    if not here[device.split(":")[0]]:
        raise InputError(f"device {device}: none on this machine: use auto or cpu")
    return device


def lacks_bfloat16(device: str) -> bool:
    """Whether the processor computes bfloat16 through float32, slower than float32 itself."""
    import torch

    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of a recent release
    if device != "cpu" or able.get("architecture") != "x86_64":
        return False
    return not (able.get("amx_bf16") or able.get("avx512_bf16"))


@cache  # all models of a process are on one GPU
def _free_gpu() -> str:
    """The first GPU that no other of the user's processes has locked; locked until this one ends.

    If all are taken, the first. So shards and parallel stages are spread over the GPUs of a
    machine, however they are started and in whatever order they end.
    """
    import torch

    for index in range(torch.cuda.device_count() if torch.cuda.device_count() > 1 else 0):
        # By its UUID: which GPU is number 0 depends on CUDA_VISIBLE_DEVICES.
        if _locked(f"descry-{os.getuid()}-gpu-{torch.cuda.get_device_properties(index).uuid}"):
            return f"cuda:{index}"
    return "cuda"


def _locked(name: str) -> bool:
    """Lock a file of this machine until the process ends, unless another process has locked it."""
    import fcntl

    path = Path(tempfile.gettempdir(), name)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    return True
