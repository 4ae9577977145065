"""Stages that Snakemake left up to date, for which DVC need not start it again.

A stage of dvc.yaml first asks here, then Snakemake. When a run ends well, all that its stages read
and wrote is noted with size and time, the rules and params.yaml included. While nothing of it has
changed since, Snakemake would have nothing to do. Any doubt leaves the question to Snakemake.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

from descry.io.json_files import write_json
from descry.workflow.package import CHECKOUT, PACKAGE, RULES, has_code

if TYPE_CHECKING:
    from snakemake.jobs import Job

SETTLED = Path(".snakemake/settled.json")
RESULTS = "results/"
_COMMON = ("params.yaml", "dvc.yaml", "Snakefile", "profiles")
_UNDER_WAY = ("locks", "backups", "failed", "incomplete")  # of .snakemake: a run, or its remains


def note(jobs: "Iterable[Job]", started: float) -> None:
    """Note that these jobs are up to date.

    Nothing is noted where something that they read has changed since.

    Args:
        jobs: of a whole graph, those that had nothing to do included.
        started: before params.yaml and the rules were read, in seconds since the epoch.
    """
    SETTLED.unlink(missing_ok=True)
    every = list(jobs)
    outputs = {str(path) for job in every for path in job.output}
    read = {str(path) for job in every for path in job.input} - outputs
    read |= {str(path) for place in (*map(Path, _COMMON), _code()) for path in _files(place)}
    written = {str(path) for place in outputs for path in _files(Path(place))}
    there = [Path(path) for path in read if Path(path).exists()]
    if any(path.stat().st_ctime >= started for path in there):
        return
    folders = {str(Path(path).parent) for path in read if not path.startswith(RESULTS)}
    folders |= {path for path in outputs if Path(path).is_dir()}
    files = {path: _stamp(path) for path in sorted(read | written)}
    stages = sorted({job.rule.name for job in every})
    names = {folder: _names(folder) for folder in sorted(folders - {"."})}
    write_json(SETTLED, {"stages": stages, "files": files, "folders": names})


def settled(stage: str) -> bool:
    """Whether a stage, and all that it follows from, is as the last run left it."""
    try:
        noted: dict[str, Any] = json.loads(SETTLED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if stage not in noted["stages"]:
        return False
    if any(any(_files(SETTLED.parent / name)) for name in _UNDER_WAY):
        return False
    return all(_stamp(path) == was for path, was in noted["files"].items()) and all(
        _names(folder) == was for folder, was in noted["folders"].items()
    )


def _code() -> Path:
    """What is read without being any job's input: the rules, or the whole installed package."""
    return CHECKOUT / RULES if has_code() else PACKAGE


def _files(place: Path) -> Iterator[Path]:
    """A file, or all files of a folder."""
    if place.is_dir():
        yield from (path for path in place.rglob("*") if path.is_file() and path.suffix != ".pyc")
    elif place.exists():
        yield place


def _stamp(path: str) -> list[int] | None:
    """Size and time of change of a file; of a folder that it is one; None where there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return [-1, 0] if S_ISDIR(found.st_mode) else [found.st_size, found.st_mtime_ns]


def _names(folder: str) -> list[str]:
    """What is in a folder, but for what is hidden or made by Python."""
    try:
        names = [path.name for path in Path(folder).iterdir()]
    except OSError:
        return []
    return sorted(name for name in names if not name.startswith((".", "__")))
