"""The real tools without their imports: each run is forked from a process that has them.

A run of Snakemake, DVC or descry spends most of its time on importing packages. `folder()` gives a
folder of commands with the tools' names. Each asks a process that has imported the packages once
(none of descry's own: a checkout runs its own code) to fork, and the fork runs the installed
command with the caller's arguments, folder, environment and files, then hands back its exit status.

Tests that kill, interrupt or block imports start the installed commands instead.
"""

import atexit
import contextlib
import gc
import hashlib
import importlib
import marshal
import os
import pickle
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path

PYTHON = sys.executable
TOOLS = ("snakemake", "dvc", "descry")
IMPATIENT = str(Path(__file__).with_name("impatient"))  # a PYTHONPATH
IMPORTED = [
    "accelerate",
    "datasketch",
    "diskcache",
    "faiss",
    "h5py",
    "jinja2",
    "keybert",
    "matplotlib.pyplot",
    "numba",
    "numpy",
    "openai",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pydantic",
    "py3langid",
    "rich.console",
    "rich.progress",
    "rocrate.rocrate",
    "scipy.stats",
    "scipy.sparse",
    "sentence_transformers",
    "sklearn.cluster",
    "sklearn.linear_model",
    "sklearn.metrics",
    "torch",
    "transformers",
    "transformers.models.bert.modeling_bert",
    "yaml",
    "typer",
    "snakemake.api",
    "snakemake.cli",
    "snakemake.executors.local",
    "snakemake.report",
    "dvc.cli",
    "dvc.cli.parser",
    "dvc.repo",
    "dvc.commands.repro",
    "dvc.commands.status",
    "dvc.commands.data_sync",
    "dvc.testing",
    "dvc_data.index",
    "dvc_objects.fs.local",
]

# Asks for a fork, passes signals on, and ends as the fork does. Few imports: it starts at once.
CLIENT = """#!{python} -IS
import _signal as signal, _socket as socket, marshal, os, sys
own = {{name: value for name, value in os.environ.items() if name.startswith("PYTHON")}}
if own not in {python_variables!r}:
    os.execv({command!r}, [{command!r}, *sys.argv[1:]])  # it wants another Python than the fork's
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
what = marshal.dumps(([{command!r}, *sys.argv[1:]], os.getcwd(), dict(os.environ)))
files = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
server.sendmsg([len(what).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
server.sendall(what)
pid = int.from_bytes(server.recv(8), "big")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: os.kill(pid, number))
ended = server.recv(8)
status = os.waitstatus_to_exitcode(int.from_bytes(ended, "big")) if ended else 70
if status < 0:
    if -status not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""
AS_PYTHON = """#!/bin/sh
case "$1 $2" in
  "-m snakemake"|"-m dvc"|"-m descry") tool=$2; shift 2; exec {folder}/$tool "$@" ;;
esac
exec {python} "$@"
"""


@cache
def folder() -> Path:
    """A folder of commands, to stand first in PATH; the process behind it ends with this one."""
    place = Path(tempfile.mkdtemp(prefix="descry-warm-"))
    address = str(place / "socket")
    own = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    known = [own, *(own | {"PYTHONPATH": path} for path in ("src", IMPATIENT))]
    for tool in TOOLS:
        command = str(Path(sys.executable).parent / tool)
        filled = {"python": sys.executable, "address": address, "command": command}
        _script(place / tool, CLIENT.format(python_variables=known, **filled))
    _script(place / "python", AS_PYTHON.format(python=sys.executable, folder=place))
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdout.read(1), "no process to fork from"
    atexit.register(_end, server, place)
    return place


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _end(server: "subprocess.Popen[bytes]", place: Path) -> None:
    server.stdin.close()  # the server ends with it
    server.wait()
    shutil.rmtree(place)


class Fork:
    """What a fork is to run."""

    def __init__(self, words: list[str], cwd: str, environment: dict[str, str], files: list[int]):
        self.words, self.cwd, self.environment, self.files = words, cwd, environment, files

    def run(self, place: Path) -> None:
        """Take the caller's place, and run the installed command."""
        os.setpgid(0, 0)  # what kills its group means its own, not that of the server
        for number, fd in enumerate(self.files):
            os.dup2(fd, number)
            os.close(fd)
        sys.stdout, sys.stderr = (
            open(fd, "w", buffering=1 if fd == 2 else -1, errors=errors, closefd=False)  # noqa: SIM115
            for fd, errors in ((1, "strict"), (2, "backslashreplace"))
        )
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.cwd)
        above = [str(Path.cwd() / p) for p in os.environ.get("PYTHONPATH", "").split(":") if p]
        sys.path[:0] = [str(Path(self.words[0]).parent), *above]
        if IMPATIENT in above:
            importlib.import_module("sitecustomize")  # as Python does at its start
        sys.argv[:] = self.words
        sys.executable = str(place / "python")  # what a tool starts is forked, too
        status = 1
        try:
            runpy.run_path(self.words[0], run_name="__main__")
            status = 0
        except SystemExit as end:
            status = _status(end)
        except BaseException:
            traceback.print_exc()
        # As Python ends, but without taking all packages apart, which costs most of a second.
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


def _status(end: SystemExit) -> int:
    if isinstance(end.code, int | None):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def serve(listening: socket.socket) -> Fork | None:
    """Fork for every caller until standard input ends. Returns in the forks, and at the end."""
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    poll.register(0, select.POLLIN)
    callers: dict[int, tuple[int, socket.socket]] = {}  # by both descriptors: a fork and its caller
    while True:
        for fd, _ in poll.poll():
            if fd == 0:
                return None
            if fd == listening.fileno():
                caller, _ = listening.accept()
                fork = _asked(caller)
                if fork is None:  # the caller was killed meanwhile
                    caller.close()
                    continue
                pid = os.fork()
                if not pid:
                    for other in {caller, listening, *(c for _, c in callers.values())}:
                        other.close()
                    return fork
                for file in fork.files:
                    os.close(file)
                with contextlib.suppress(OSError):  # killed: its end is seen below
                    caller.sendall(pid.to_bytes(8, "big"))
                for end in (os.pidfd_open(pid), caller.fileno()):
                    poll.register(end, select.POLLIN)
                    callers[end] = pid, caller
            elif fd in callers:
                pid, caller = callers[fd]
                if fd == caller.fileno():  # it is gone: killed
                    poll.unregister(fd)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    continue
                _, status = os.waitpid(pid, 0)
                with contextlib.suppress(OSError):
                    caller.sendall(status.to_bytes(8, "big"))
                with contextlib.suppress(KeyError):
                    poll.unregister(caller)
                poll.unregister(fd)
                del callers[fd], callers[caller.fileno()]
                os.close(fd)
                caller.close()


def remember_yaml(place: Path) -> None:
    """Have each text be parsed once: DVC spends most of its time on that, and on the same texts."""
    from ruamel.yaml import YAML

    load = YAML.load

    def remembered(self: YAML, text: object) -> object:
        if not isinstance(text, str):
            return load(self, text)
        asked = hashlib.sha256(f"{self.typ} {text}".encode()).hexdigest()
        known = place / f"{asked}.pickle"
        if known.exists():
            return pickle.loads(known.read_bytes())
        parsed = load(self, text)
        part = known.with_suffix(f".{os.getpid()}")
        part.write_bytes(pickle.dumps(parsed))
        part.replace(known)
        return parsed

    YAML.load = remembered


def share_compiled(place: Path) -> None:
    """Have each loop be compiled once, not in each checkout anew (a second each)."""
    import numba
    from numba.core import caching

    numba.config.CACHE_DIR = str(place / "compiled")
    caching.UserProvidedCacheLocator.get_suitable_cache_subpath = staticmethod(
        lambda source: hashlib.sha256(Path(source).read_bytes()).hexdigest()
    )


def _asked(caller: socket.socket) -> Fork | None:
    head, files, _, _ = socket.recv_fds(caller, 8, 3)
    length, body = int.from_bytes(head, "big"), b""
    while len(body) < length:
        more = caller.recv(length - len(body))
        if not more:
            return None
        body += more
    return Fork(*marshal.loads(body), files) if len(files) == 3 else None


def main() -> None:
    address = sys.argv[1]
    sys.path.pop(0)  # the tests' folder
    for name in IMPORTED:
        importlib.import_module(name)
    assert "descry" not in sys.modules
    remember_yaml(Path(address).parent)
    share_compiled(Path(address).parent)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)  # a run of a second makes little garbage, and much that stays
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        os.write(1, b"!")
        fork = serve(listening)
    if fork:
        fork.run(Path(address).parent)


if __name__ == "__main__":
    main()
