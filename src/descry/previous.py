"""Previous results stay in place until a stage has made the new ones, and come back if it fails.

Snakemake does that for outputs flagged `update`: it leaves them, copies them aside before the job,
and restores the copies after a failure. Here the copies are hard links, which cost nothing however
large a result is: stages put whole files in place and never write into an old one. A link also
keeps the file's time, which tells the guard that the failed job did not make the file.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BACKUPS = Path(".snakemake/backups")


def keep_previous() -> None:
    """Have Snakemake back outputs up by hard links, and restore them with their times."""
    from snakemake.persistence import FileBackupMixin

    FileBackupMixin.backup_output = _back_up
    FileBackupMixin.restore_output = _restored


def recover(outputs: Iterable[str]) -> None:
    """Put back what a run that was killed had replaced in part; no run may be under way."""
    for output in outputs:
        _put_back(Path(output))
    shutil.rmtree(BACKUPS, ignore_errors=True)


def _back_up(_: Any, path: Path) -> None:
    backup = BACKUPS / path
    backup.parent.mkdir(parents=True, exist_ok=True)
    _remove(backup)
    if path.is_dir():
        shutil.copytree(path, backup, copy_function=_link)
    else:
        _link(path, backup)


def _restored(persistence: Any, path: Path) -> bool:
    """Put a failed job's output back, and say whether an earlier job's result is in place.

    On a cluster the node has put it back already when the main process comes to it.
    """
    _put_back(path)
    started = persistence._get_recorded_starttime(path.as_posix())
    return path.exists() and started is not None and path.stat().st_mtime < started


def _put_back(path: Path) -> None:
    backup = BACKUPS / path
    if backup.exists():
        _remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(backup, path)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
