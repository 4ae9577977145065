"""Files of a later time than now: the clock was set back, or they come from a machine ahead of it.

Snakemake and make compare times: what is edited now would seem older than such files, and a job
that reads them ends with an error, since what it writes is older than its inputs.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

SLACK = 60.0  # seconds by which the clocks of a network differ without harm


def back_to_now(outputs: Iterable[str], inputs: Iterable[str]) -> set[str]:
    """Give files, and files in folders, of a later time than now the time of now, and say so.

    Returns:
        Those of the outputs that were of a later time.

    """
    limit = time.time() + SLACK
    later = {path for path in outputs if _set(Path(path), limit)}
    read = sum(_set(Path(path), limit) for path in inputs if path not in later)
    if later or read:
        print(
            f"warning: {len(later) + read} files are of a later time than now, so the clock was set"
            f" back: they are of now, and {len(later)} results among them held against dvc.lock",
            file=sys.stderr,
        )
    return later


def _set(place: Path, limit: float) -> bool:
    """Whether there was something to set; a folder as its files."""
    late = [path for path in _every(place) if path.stat().st_mtime > limit]
    for path in late:
        os.utime(path)
    return bool(late)


def _every(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (path for path in place.rglob("*") if path.exists())
    if place.exists():
        yield place
