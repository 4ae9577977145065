"""Faults made for real in a checkout: kills, spoilt files, full disks; and what came of them."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import psutil
import yaml
from miniature import Repo

from descry.annotators.prompt_cache.jsonl import export
from descry.annotators.prompt_cache.store import PromptCache

PATIENCE = 240.0  # seconds after which a run that has not ended is a hang


class HangError(AssertionError):
    """A run did not end."""


class Run:
    """A command in a checkout, in a session of its own, as a shell in a terminal starts it."""

    def __init__(self, repo: Repo, command: str) -> None:
        self.command = command
        self.log = repo.path.parent / f"said-{time.monotonic_ns()}.txt"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self.log.open("wb") as said:
            self.process = psutil.Popen(
                f"exec {command}", shell=True, cwd=repo.path, start_new_session=True,
                stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, "PATH": path},
            )  # fmt: skip

    def stage(self, name: str) -> psutil.Process | None:
        """The process of a stage as soon as it is there; None where the run ends without one."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            for child in self.children():
                if _is_stage(child, name):
                    return child
            time.sleep(0.01)
        return None

    def children(self) -> list[psutil.Process]:
        try:
            return list(self.process.children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def end(self, patience: float = PATIENCE) -> tuple[int, str]:
        """Exit status and all that was said, once the run has ended by itself."""
        try:
            status = self.process.wait(patience)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            self.clear()
            raise HangError(f"{self.command}: not ended after {patience:.0f} s") from None
        return status, self.log.read_text(errors="replace")

    def interrupt(self) -> None:
        """Ctrl-C: the terminal tells every process that the command has started."""
        os.killpg(self.process.pid, signal.SIGINT)

    def clear(self) -> None:
        """No process of it is left."""
        for one in [*self.children(), self.process]:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # those whose parent had gone
        except ProcessLookupError:
            return


def _is_stage(process: psutil.Process, name: str) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    runs = zip(words, words[1:], words[2:], strict=False)
    return any((Path(one).name, *behind) == ("descry", "stage", name) for one, *behind in runs)


def kill_stage(repo: Repo, command: str, stage: str, moment: float) -> str | None:
    """Kill a stage's process so many seconds after its start: what the run said of it.

    None where the stage was faster.
    """
    run = Run(repo, command)
    try:
        process = run.stage(stage)
        if process is None:
            raise AssertionError(f"{command} did not run {stage}:\n{run.end()[1]}")
        try:
            time.sleep(max(0.0, process.create_time() + moment - time.time()))
            process.kill()
        except psutil.NoSuchProcess:
            pass
        status, said = run.end()
        return said if status else None
    finally:
        run.clear()


def kill_all_but_the_stages(repo: Repo, command: str, moment: float) -> Run | None:
    """SIGKILL the tool itself so many seconds after its start; its stages live on.

    None where it was faster.
    """
    run = Run(repo, command)
    time.sleep(moment)
    if run.process.poll() is not None:
        return None
    tools = [one for one in run.children() if _runs(one, "snakemake")]
    for one in [run.process, *tools]:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    run.process.wait()
    return run


def _runs(process: psutil.Process, name: str) -> bool:
    try:
        return any(Path(word).name == name for word in process.cmdline()[:2])
    except psutil.Error:
        return False


def is_clear(said: str) -> bool:
    """Whether somebody who ran into a fault was told so without a traceback."""
    return "Traceback" not in said and "error" in said.lower()


def one_line(said: str) -> str:
    """The one line with which a `descry` command stops."""
    (line,) = said.strip().splitlines()
    assert line.startswith("error: "), said
    return line


def outputs(repo: Repo, stage: str) -> list[Path]:
    """The files that a stage writes, as dvc.yaml has them."""
    told = yaml.safe_load((repo.path / "dvc.yaml").read_text())["stages"][stage]
    entries = [*told.get("outs", []), *told.get("metrics", [])]
    return [repo.path / path for entry in entries for path in entry]


def inputs(repo: Repo, stage: str) -> list[Path]:
    """The files that a stage reads, as dvc.yaml has them."""
    told = yaml.safe_load((repo.path / "dvc.yaml").read_text())["stages"][stage]
    return [repo.path / path for path in told["deps"] if "$" not in path]


def forget(repo: Repo, stages: Iterable[str]) -> None:
    """Put a checkout back to before some stages: their outputs, records and answers go."""
    lock = repo.path / "dvc.lock"
    locked = yaml.safe_load(lock.read_text()) if lock.exists() else {"stages": {}}
    for stage in stages:
        remove_outputs(repo, stage)
        locked["stages"].pop(stage, None)
        forget_answers(repo, stage)
    if lock.exists():
        lock.write_text(yaml.safe_dump(locked, sort_keys=False))
    shutil.rmtree(repo.path / ".dvc/cache/runs", ignore_errors=True)  # DVC would restore from it


def remove_outputs(repo: Repo, stage: str) -> None:
    """Take a stage's results away, and nothing else."""
    for path in outputs(repo, stage):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def forget_answers(repo: Repo, stage: str) -> None:
    """Take the answers out of the prompt cache that a stage asks for."""
    section = yaml.safe_load((repo.path / "params.yaml").read_text()).get(stage, {})
    specs = section.get("annotators") or [section.get("annotator")]
    models = {Path(spec["model"]).name for spec in specs if spec}
    with PromptCache(repo.path / "cache/prompts") as cache:
        own = {
            name
            for name, origin in cache.origins().items()
            if Path(origin["model"]).name in models
            and (origin["task"] == "p1") == (stage == "describe")
        }
        if own:
            told = list(cache.records())
            cache.remove([key for key, text in told if json.loads(text)["origin"] in own], [])


def exported(repo: Repo) -> dict[str, bytes]:
    """Every answer in the prompt cache, as files."""
    with TemporaryDirectory() as folder, PromptCache(repo.path / "cache/prompts") as cache:
        export(cache, Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


class Trap:
    """A pickle of it makes a folder for whoever loads it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


def plant(cache: Path, key: str | bytes, **row: object) -> None:
    """Put a row into a prompt cache's database, as somebody who can write it may."""
    row = {"key": key, "raw": 1, "mode": 4, "filename": None, "access_count": 0} | row
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    with closing(sqlite3.connect(cache / "cache.db")) as database, database:
        database.execute("DELETE FROM Cache WHERE key = ?", [key])
        database.execute(f"INSERT INTO Cache ({columns}) VALUES ({marks})", list(row.values()))


def flip_bit(path: Path, lots: Random) -> int:
    """Turn one bit of a file over, and keep its time: the place of its byte."""
    times = path.stat()
    place = lots.randrange(times.st_size)
    with path.open("rb+") as file:
        file.seek(place)
        byte = file.read(1)[0] ^ (1 << lots.randrange(8))
        file.seek(place)
        file.write(bytes([byte]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return place


def cut(path: Path, share: float) -> None:
    """Leave so much of a file's beginning, and keep its time."""
    times = path.stat()
    os.truncate(path, int(times.st_size * share))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def on_a_small_disk(command: str, folder: Path, room: int) -> str:
    """The command, for which a folder, with all in it, is on a disk with a few bytes left."""
    left = f"$(($(df -k --output=used {folder} | tail -n 1) + {room // 1024}))k"
    return _on_its_own_disk(command, folder, f"size={left}")


def unwritable(command: str, folder: Path) -> str:
    """The command, for which nothing can be written into a folder."""
    steps = [
        f"mkdir -p {folder}",
        f"mount --bind {folder} {folder}",
        f"mount -o remount,bind,ro {folder}",
    ]
    return _in_its_own_mounts(steps, command)


def without_inodes(command: str, folder: Path, left: int) -> str:
    """The command, for which a folder, with all in it, has room for a few more files."""
    used = f"$(($(df --output=iused {folder} | tail -n 1) + {left}))"
    return _on_its_own_disk(command, folder, f"nr_inodes={used}")


def _on_its_own_disk(command: str, folder: Path, limit: str) -> str:
    """The command with a folder on a disk of its own, whose files are the folder's afterwards."""
    kept = folder.with_name(f".{folder.name}.kept")
    steps = [
        f"mkdir -p {kept} {folder}",
        f"mount --bind {folder} {kept}",
        f"mount -t tmpfs t {folder}",
        f"cp -a {kept}/. {folder}/",
        f"mount -o remount,{limit} {folder}",
    ]
    back = f"status=$?; cp -a {folder}/. {kept}/; exit $status"
    return _in_its_own_mounts(steps, f"{command}; {back}")


def set_clock_back(repo: Repo, seconds: float) -> None:
    """As if all in a checkout had been made so much later: the clock was set back since.

    Snakemake's records keep the times of its outputs, as they do then.
    """
    for record in (repo.path / ".snakemake/metadata").iterdir():
        told = json.loads(record.read_text())
        told |= {key: told[key] + seconds for key in ("starttime", "endtime")}
        record.write_text(json.dumps(told))
    for path in repo.path.rglob("*"):
        times = path.lstat()
        later = times.st_mtime_ns + round(seconds * 1e9)
        os.utime(path, ns=(times.st_atime_ns, later), follow_symlinks=False)


def put(path: Path, content: bytes) -> None:
    """Write a file's content, and keep its time."""
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _byte(place: int, value: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:place] + bytes([value]) + content[place + 1 :]


# What a newer version may have written, by name: a file, and how its content differs.
NEWER: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "HDF5": ("results/annotations.h5", _byte(8, 9)),  # of the superblock
    "SQLite, to write": ("cache/prompts/cache.db", _byte(18, 3)),
    "SQLite, to read": ("cache/prompts/cache.db", _byte(19, 3)),
    "Parquet": ("results/corpus.parquet", lambda content: content[:-4] + b"PAR2"),
    "dvc.lock": ("dvc.lock", lambda content: content.replace(b"schema: '2.0'", b"schema: '3.0'")),
    "params.yaml": ("params.yaml", lambda content: content.replace(b"label:", b"label:\n  new: 1")),
}
NOBODY = 65534


def give_away(repo: Repo) -> None:
    """Let a checkout belong to another user."""
    for path in [repo.path, *repo.path.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def as_second_user(command: str) -> str:
    """The command of a user who owns nothing there and may write only what everybody may."""
    return f"setpriv --bounding-set=-all --inh-caps=-all {command}"


def has_second_user() -> bool:
    """Whether this is root, who can be a user without rights, and a setpriv."""
    return os.geteuid() == 0 and bool(shutil.which("setpriv"))


def _in_its_own_mounts(steps: list[str], command: str) -> str:
    return f"unshare -m sh -c '{' && '.join(steps)} && {{ {command}; }}'"


def can_mount() -> str:
    """Why nothing can be mounted here; empty where it can."""
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "t", "/mnt"], capture_output=True, text=True
    )
    return tried.stderr.strip() if tried.returncode else ""


def outcome(read: Callable[..., object], *arguments: object) -> object:
    """What a reader gives; None where it refuses in one line that steers no terminal."""
    from descry.errors import InputError

    try:
        return read(*arguments)
    except InputError as error:
        assert str(error) and str(error).isprintable()
        return None


def read_apart(read: Callable[[], object], patience: float) -> str:
    """What comes of a read in a process of its own: same as its word, refused, crash, hang.

    Args:
        read: gives a word, raises an InputError, or worse.
    """
    from descry.errors import InputError

    inner, outer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(inner)
        try:
            word = str(read())
        except InputError:
            word = "refused"
        except BaseException as error:
            word = f"raises {type(error).__name__}"
        os.write(outer, word.encode()[:200])
        os._exit(0)
    os.close(outer)
    until = time.monotonic() + patience
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(inner)
            return "hang"
        time.sleep(0.0005)
    _, status = os.waitpid(child, 0)
    word = os.read(inner, 200).decode()
    os.close(inner)
    return f"crash by signal {status & 127}" if status & 127 else word
