"""Keeps Snakemake's records in step with dvc.lock; run at the top of the Snakefile.

Snakemake judges an output by the record it wrote in .snakemake when it made the file. A file that
DVC restored (pull, checkout, `exp run --temp`) or that someone edited has no such record, or that
of another version: Snakemake would rerun stages that are up to date, or miss a changed parameter.
So every output whose time is not the recorded one is compared with dvc.lock:

* the stage is exactly as locked (outputs, inputs, params): it is adopted, by `snakemake --touch`;
  so is one whose outputs are the same in the restored version, and whose inputs are newer now;
* anything else: the output is made older than its inputs and its record goes, so that the stage
  reruns. (Snakemake passes over an output whose inputs are missing: so these must be there.)

Snakemake also writes a record when a job failed, with the params of that job, although the previous
result is there again. previous.py notes which these are: such a result is made older than its
inputs, its record goes, and then the above holds.

An output that is a folder has its time in a file of Snakemake's own, which DVC leaves there when it
puts other files beside it: so what is in the folder is looked at as well.

After the clock was set back, results are of a later time than what is edited now, and Snakemake
would pass over them. So their times are those of now (clock.py), and dvc.lock decides about them,
or, where it does not know them, they are made again.
"""

import atexit
import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.io.dvc_files import files_of, md5
from descry.io.dvc_lock import LOCK, Locked, read_lock
from descry.io.yaml_files import read_yaml
from descry.workflow.clock import back_to_now
from descry.workflow.dag import DVC_YAML, WIRING_ONLY
from descry.workflow.previous_results import outlasting, recover

PARAMS = Path("params.yaml")
ROOT = Path()
STAMP = ".snakemake_timestamp"  # in a folder: its time is that of the output
LOCKED = (
    "this folder is locked: wait for the run that is under way; if there is none, one was killed:"
    " run `snakemake --unlock`, then the same command again"
)
READ_ONLY = (
    "is read-only, and a stage would write there: look at the results with `descry show`, check"
    " them with `descry verify`, or copy the project"
)
ANOTHERS = (
    "belongs to {owner}, and this user may not {do}: to work on this study, clone it or copy it;"
    " `descry show` reads its results"
)


def writable(results: Path = Path("results")) -> None:
    """Stop with one line if there is something to make and the results are read-only."""
    if not results.is_dir() or os.access(results, os.W_OK):
        return
    from snakemake.jobs import Job

    async def refuse(job: Any) -> None:
        if not job.dag.workflow.dryrun:
            print(f"error: {results}: {READ_ONLY}", file=sys.stderr)
            raise SystemExit(2)

    Job.check_protected_output = refuse  # asked of every job before the first of them runs


def reconcile() -> None:
    """Adopt or age every output that differs from Snakemake's record.

    Raises:
        InputError: an output is here, its inputs are not, and dvc.lock does not vouch for it; or
            the records are another user's.
    """
    if os.environ.get(WIRING_ONLY):
        return
    records = Path(".snakemake")
    if records.is_dir() and not os.access(records, os.W_OK):
        raise _anothers(records, "write there")
    if _locked():
        if "--unlock" not in sys.argv:
            print(LOCKED, file=sys.stderr)
        return  # a run is under way: its new outputs have no record yet
    known = read_yaml(DVC_YAML)["stages"]
    every = [path for stage in known.values() for path in _outputs(stage)]
    recover(every)
    atexit.register(_recover_unlocked, every)  # after Ctrl-C, Snakemake restores nothing
    for path in outlasting(every):
        _forget(path)
    stages = {name: stage for name, stage in read_lock(LOCK).items() if name in known}
    later = back_to_now(every, _read(known, stages))
    vouched = {out for stage in stages.values() for out in stage.outs}
    for unknown in later - vouched:
        _forget(Path(unknown))
    adopt = []
    for name, stage in stages.items():
        outputs = _outputs(known[name])  # an older version of the code had others
        strange = [
            Path(out)
            for out in stage.outs
            if out in outputs and (out in later or _foreign(Path(out)))
        ]
        if strange and _as_locked(stage):
            adopt.append(name)
        elif strange:
            in_git = {out for out, options in outputs.items() if options.get("cache") is False}
            _age(strange, stage, in_git)
    if adopt:
        _touch(_with_followers(adopt, stages))


def _locked() -> bool:
    """Whether a run is under way in this folder, or was killed."""
    return any(Path(".snakemake/locks").glob("*"))


def _recover_unlocked(outputs: list[str]) -> None:
    """Put back what this run replaced in part, unless another run has begun."""
    if not _locked():
        recover(outputs)


def _with_followers(adopt: list[str], stages: dict[str, Locked]) -> list[str]:
    """The stages to adopt, and the later stages that are as locked: all of them are touched."""
    adopted = list(adopt)
    for name in adopted:  # it grows
        made = set(stages[name].outs)
        adopted += [
            other
            for other, stage in stages.items()
            if other not in adopted and made & set(stage.deps) and _as_locked(stage)
        ]
    return adopted


def _read(known: dict[str, Any], stages: dict[str, Locked]) -> set[str]:
    """What stages read, by dvc.yaml and dvc.lock: the former does not say what params name."""
    told = {path for stage in known.values() for path in stage.get("deps", []) if "$" not in path}
    return told.union(*(stage.deps for stage in stages.values()))


def _outputs(stage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The outputs of a stage of dvc.yaml, with DVC's options of each."""
    entries = [*stage.get("outs", []), *stage.get("metrics", [])]
    return {path: options for entry in entries for path, options in entry.items()}


def record_of(path: Path) -> Path:
    """Where Snakemake keeps its record of an output, by the output's path."""
    name = base64.urlsafe_b64encode(path.as_posix().encode()).decode()
    return Path(".snakemake/metadata") / name


def _foreign(path: Path) -> bool:
    """Whether an existing output is not the file or folder that Snakemake's record is about."""
    if not path.exists():
        return False
    try:
        ended = json.loads(record_of(path).read_text(encoding="utf-8"))["endtime"]
    except (FileNotFoundError, KeyError, json.JSONDecodeError):
        return True
    except PermissionError as error:  # Snakemake writes its records for their owner alone
        raise _anothers(Path(".snakemake"), "read it") from error
    return abs(_time(path) - float(ended)) > 1e-3


def _anothers(path: Path, do: str) -> InputError:
    """That a second user may not do something in this folder."""
    try:
        owner = path.owner()
    except KeyError:  # nobody has a name here
        owner = f"user {path.stat().st_uid}"
    return InputError(f"{path}: {ANOTHERS.format(owner=owner, do=do)}")


def _forget(path: Path) -> None:
    """Remove Snakemake's record of an output, and make it older than its inputs."""
    record_of(path).unlink(missing_ok=True)
    stamp = path / STAMP
    os.utime(stamp if stamp.exists() else path, (1, 1))


def _time(path: Path) -> float:
    """When an output changed last, as Snakemake has it; or later, if what is in a folder did."""
    stamp = path / STAMP
    if not stamp.exists():
        return path.stat().st_mtime
    made, every = stamp.stat().st_mtime, [path, *filter(Path.exists, path.rglob("*"))]
    if all(place.stat().st_mtime <= made for place in every):
        return made  # without DVC's code, which would cost every call of Snakemake 0.2 s
    folders = (place for place in every if place.is_dir())  # removing tells by them
    inside = (*folders, *files_of(path, ROOT).values())
    return max(made, *(place.stat().st_mtime for place in inside))


def _as_locked(stage: Locked) -> bool:
    if any(stage.unlike(read_yaml(PARAMS))):
        return False
    files = {**stage.deps, **stage.outs}
    return all(md5(Path(path), ROOT) == locked for path, locked in files.items())


def _age(strange: list[Path], stage: Locked, in_git: set[str]) -> None:
    """Make outputs older than their inputs; `in_git`: those that git restores, before these."""
    if forbidden := [out for out in strange if not os.access(out.parent, os.W_OK)]:
        raise InputError(f"{forbidden[0].parent}: {READ_ONLY}")
    missing = next((dep for dep in map(Path, stage.deps) if not dep.exists()), None)
    for out in strange:
        if missing and out.as_posix() not in in_git:
            raise InputError(f"{out} is here without {missing}: run `dvc pull`, or delete {out}")
        _forget(out)
        if missing and out.is_dir():
            shutil.rmtree(out)
        elif missing:
            out.unlink()


def _touch(stages: list[str]) -> None:
    print(f"adopting as recorded in dvc.lock: {', '.join(stages)}", file=sys.stderr)
    in_shards = read_yaml(PARAMS).get("shards", {})
    rules = [*stages, *(f"{stage}_shard" for stage in stages if stage in in_shards)]
    command = ["snakemake", "--touch", "--forceall", "--cores", "1", "--quiet", "all"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--allowed-rules", *rules, "--", *stages],
        stdout=subprocess.DEVNULL,
        env={**os.environ, WIRING_ONLY: "1"},
    )
    if done.returncode:
        raise InputError(f"{', '.join(stages)}: not adopted, for the reason above: run again")
