"""One job in several processes, one GPU each, by accelerate: who has which share, and waiting.

`launch` starts them on this machine; `accelerate launch` and `torchrun` do as well. They share
nothing but files and a place to wait, so that what they write does not depend on their number.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from descry.io.prefetch import cores
from descry.io.sharding import Shard

MEETING = "DESCRY_MEETING"  # the file where launched processes find each other
PATIENCE = timedelta(days=7)
ELSEWHERE = 3  # the exit status of a process that ended since another had failed
MOMENT = 2.0  # seconds that others have to end in after the first that failed


@dataclass(frozen=True)
class Share(Shard):
    """A process's part of a job.

    Attributes:
        device: the device asked for, or this process's own GPU.
    """

    device: str

    @property
    def main(self) -> bool:
        """Whether this process begins and ends the job for all."""
        return self.index == 0

    def wait(self) -> None:
        """Wait until all processes are here; end quietly where one has failed, which says why."""
        if self.number == 1:
            return
        from accelerate import PartialState

        try:
            PartialState().wait_for_everyone()
        except RuntimeError:
            sys.stderr.close()
            os._exit(ELSEWHERE)


def share(device: str) -> Share:
    """This process's share: all, unless it was launched as one of several."""
    number = int(os.environ.get("WORLD_SIZE", "1"))
    if number == 1:
        return Share(0, 1, device)
    from accelerate import PartialState

    meeting = {}
    if place := os.environ.get(MEETING):
        meeting = {"init_method": f"file://{place}", "world_size": number}
        meeting |= {"rank": int(os.environ["RANK"])}
    state = PartialState(cpu=device == "cpu", timeout=PATIENCE, **meeting)
    own = str(state.device) if device == "auto" else device
    return Share(state.process_index, number, own.removesuffix(":0") if "cpu" in own else own)


def gpus(device: str) -> int:
    """How many processes a job wants: one a GPU, if all were asked for and there are several."""
    if device != "auto" or "WORLD_SIZE" in os.environ:
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def launch(number: int, command: Sequence[str]) -> int:
    """Run a command in so many processes on this machine; the first that fails ends all.

    The main one's output is shown; of another's its errors, if it is the one that failed.

    Returns:
        The exit status: that of the one that failed, else 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        shared = {MEETING: str(Path(folder, "meeting")), "GLOO_SOCKET_IFNAME": "lo"}
        shared |= {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number)}
        shared |= {"OMP_NUM_THREADS": str(max(1, cores() // number))}
        started: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(number):
                own = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                with Path(folder, str(rank)).open("wb") as errors:
                    output = (subprocess.DEVNULL, errors) if rank else (None, None)
                    started.append(
                        subprocess.Popen(command, env=own, stdout=output[0], stderr=output[1])
                    )
            failed = _failed(started)
        finally:
            for process in started:
                process.kill()
                process.wait()
        if failed is None:
            return 0
        status = int(started[failed].returncode)
        sys.stderr.write(Path(folder, str(failed)).read_text(errors="replace"))
        if status < 0:
            sys.stderr.write(f"error: process {failed} was ended by signal {-status}\n")
        return status


def _failed(started: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all, or for one that fails: which it is.

    What is wrong for all is told by the main one; who ended for another's failure tells nothing.
    """
    left = list(started)
    while left:
        for process in left:
            if _status(process, 0.2) is None:
                continue
            left.remove(process)
            if process.returncode:
                end = time.monotonic() + MOMENT
                for other, its in enumerate(started):
                    if _status(its, end - time.monotonic()) not in (None, 0, ELSEWHERE):
                        return other
                return started.index(process)
            break
    return None


def _status(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit status of a process, if it ends within so many seconds."""
    try:
        return process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return None
