"""Previous results stay in place until a stage has made new ones, and return if it fails.

Snakemake does that for outputs flagged `update`: it leaves them, copies them aside before the job,
and restores the copies after a failure. Here the copies are hard links, which cost nothing however
large a result is: stages put whole files in place and never write into an old one. Snakemake then
records the restored file as if the failed job had made it, so a note of it is left for the guard.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

BACKUPS = Path(".snakemake/backups")
FAILED = Path(".snakemake/failed")  # a note for each output that was restored


def keep_previous() -> None:
    """Have Snakemake back outputs up by hard links, and note which ones it restored."""
    from snakemake.persistence import FileBackupMixin

    FileBackupMixin.backup_output = _back_up
    FileBackupMixin.restore_output = _restored
    FileBackupMixin.cleanup_backup = _forgotten


def recover(outputs: Iterable[str]) -> None:
    """Restore what a killed run had replaced in part; no run may be active."""
    for output in outputs:
        _put_back(Path(output))
    shutil.rmtree(BACKUPS, ignore_errors=True)


def outlasting(outputs: Iterable[str]) -> Iterator[Path]:
    """The results that outlasted a failed job, which Snakemake has on record as their maker.

    The note of each goes when the next one is asked for.
    """
    for path in map(Path, outputs):
        if (FAILED / path).exists():
            if path.exists():
                yield path
            (FAILED / path).unlink()


def _back_up(_: Any, path: Path) -> None:
    backup = BACKUPS / path
    backup.parent.mkdir(parents=True, exist_ok=True)
    _remove(backup)
    if path.is_dir():
        shutil.copytree(path, backup, copy_function=_link)
    else:
        _link(path, backup)


def _restored(_: Any, path: Path) -> bool:
    """Put a failed job's output back, and say whether an earlier job's result is in place.

    On a cluster the node has put it back when the main process comes to it: the note says so.
    """
    note = FAILED / path
    if (BACKUPS / path).exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
        _put_back(path)
    return note.exists() and path.exists()


def _forgotten(_: Any, path: Path) -> None:
    """Remove the backup of an output that was made again."""
    _remove(BACKUPS / path)
    (FAILED / path).unlink(missing_ok=True)


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
