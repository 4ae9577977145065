"""A clone in which a commit's results can be made again: inputs, answers, and the run itself."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from descry.annotators.human.annotator import HUMAN
from descry.annotators.prompt_cache.store import PromptCache
from descry.errors import InputError
from descry.io.dvc_files import cache_of, config
from descry.io.dvc_lock import CODE
from descry.io.git import LEADING_ASTRAY
from descry.io.sanitize import printable
from descry.workflow.package import has_code

CACHE, ANSWERS = Path("cache/prompts"), Path("data/answers")
Progress = Callable[[str], None]
_DVC = (sys.executable, "-m", "dvc")
_LAST = 15  # lines of what Snakemake printed
_RULE = re.compile(r"(?:local)?rule (\w+):")


def _environment(clone: Path) -> dict[str, str]:
    """The environment of commands in a clone: its own code, and a place for DVC's state."""
    kept = {name: value for name, value in os.environ.items() if name not in LEADING_ASTRAY}
    kept |= {"PYTHONPATH": "src"} if has_code(clone) else {}
    return kept | {"DVC_SITE_CACHE_DIR": str(clone.parent / "dvc"), "DVC_NO_ANALYTICS": "1"}


def _run(clone: Path, *command: str) -> str | None:
    """Run a command in a clone: None if it is done, else the last line it printed."""
    done = subprocess.run(
        command,
        cwd=clone,
        env=_environment(clone),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 0:
        return None
    return printable((done.stdout.strip().splitlines() or [f"exit status {done.returncode}"])[-1])


def check_out(root: Path, commit: str, clone: Path) -> None:
    """Clone a project with a commit checked out; it shares the project's objects.

    Raises:
        InputError: git cannot.
    """
    clone.mkdir()
    # No hooks: those of a template could run anything.
    quiet = ("git", "-c", "core.hooksPath=/dev/null")
    error = _run(clone, *quiet, "clone", "-q", "--shared", "--no-checkout", str(root), ".")
    error = error or _run(clone, *quiet, "checkout", "-q", "--detach", commit)
    if error is not None:
        raise InputError(f"{root}: cannot be cloned ({error})")


def bring_inputs(root: Path, clone: Path, progress: Progress) -> None:
    """Check out what DVC tracks by itself (`dvc add`): from the project's cache, or a remote.

    What has to be fetched goes into a cache of the clone's own.

    Raises:
        InputError: something is in neither.
    """
    names = sorted(p.relative_to(clone).as_posix() for p in clone.rglob("*.dvc") if p.is_file())
    missing, theirs = dict.fromkeys(names, ""), config(root)
    from_cache = (cache_of(root), "checkout", "")
    for cache, command, source in (from_cache, (clone / ".dvc/cache", "pull", " from a remote")):
        if not missing:
            break
        with config(clone).edit("local") as ours:
            # A link could be written through, into the project's cache.
            ours["cache"] = {"dir": str(cache), "type": "copy"}
            ours["remote"] = theirs["remote"]
            ours["core"] = {"remote": name} if (name := theirs["core"].get("remote")) else {}
        for name in missing:
            progress(printable(f"input {name.removesuffix('.dvc')}{source}"))
        tried = {n: _run(clone, *_DVC, command, n, "--quiet") for n in missing}
        missing = {name: error for name, error in tried.items() if error is not None}
    for name, error in missing.items():
        raise InputError(f"{name}: neither in DVC's cache nor in a remote ({error})")
    (clone / ".dvc/config.local").unlink(missing_ok=True)  # it may hold passwords


def list_code(clone: Path, progress: Progress) -> None:
    """List the code of the installed package in the clone of a study that is made with it.

    Raises:
        InputError: this version of it does not take the clone's params.
    """
    if has_code(clone) or not (clone / CODE).is_dir():
        return
    progress("the code of the installed descry")
    if error := _run(clone, sys.executable, "-m", "descry", "dvc"):
        raise InputError(f"descry {version('descry')} cannot run this commit ({error})")


def bring_answers(root: Path, clone: Path, progress: Progress) -> None:
    """Fill the clone's prompt cache: from the exports of the commit, or from the project's cache.

    Raises:
        InputError: they cannot be read.
    """
    local = root / CACHE / "cache.db"
    if (clone / ANSWERS).exists():
        progress(f"answers of {ANSWERS}")
        command = (sys.executable, "-m", "descry", "cache", "import", ANSWERS.as_posix())
        if error := _run(clone, *command):
            raise InputError(f"{ANSWERS}: cannot be imported ({error})")
    elif local.is_file():
        progress(f"answers of {CACHE}, since the commit has no {ANSWERS}")
        copy_database(local, clone / CACHE / local.name)


def forget_answers(clone: Path, progress: Progress) -> None:
    """Remove the answers of annotators on this machine, so that they answer again.

    Those of servers, which cost money, and of people stay.
    """
    if not (clone / CACHE / "cache.db").is_file():
        return
    with PromptCache(clone / CACHE) as cache:
        local = {
            name
            for name, origin in cache.origins().items()
            if "server" not in origin and not origin["model"].startswith(HUMAN)
        }
        keys = [key for key, text in cache.records() if json.loads(text)["origin"] in local]
        cache.remove(keys, [])
    progress(f"{len(keys)} answers are asked for anew")


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database as it is at one moment, whoever is writing to it.

    Raises:
        InputError: it is damaged.
    """
    target.parent.mkdir(parents=True)
    # A reader leaves the files of the log beside the database; a writer removes them again, but
    # takes over what the log still holds.
    mode = "ro" if source.with_name(f"{source.name}-wal").exists() else "rw"
    address = f"{source.absolute().as_uri()}?mode={mode}"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=60)) as opened,
            closing(sqlite3.connect(target)) as copy,
        ):
            opened.backup(copy)
    except sqlite3.Error as error:
        raise InputError(f"{source}: not a usable prompt cache ({error})") from error


def rebuild(
    clone: Path, stages: Sequence[str], progress: Progress, *, replay: bool
) -> list[str] | None:
    """Make all results: None if that went well, else the last lines printed.

    Args:
        replay: nobody is asked.
    """
    command = ["-m", "snakemake", "--cores", "all", "--quiet", "host", "progress"]
    started, last = 0, deque[str](maxlen=_LAST)
    with subprocess.Popen(
        [sys.executable, *command, "--config", f"replay={str(replay).lower()}"],
        cwd=clone,
        env=_environment(clone),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as running:
        try:
            for line in running.stdout or ():
                last.append(printable(line.rstrip()))
                if (rule := _RULE.match(line)) and rule[1] in stages:
                    started += 1
                    progress(f"{rule[1]}: stage {started} of {len(stages)}")
                elif line.startswith(tuple(f"{stage}: " for stage in stages)):
                    progress(last[-1])
        except BaseException:
            os.killpg(running.pid, signal.SIGTERM)  # its stages, too
            running.wait()
            raise
    return list(last) if running.returncode else None
