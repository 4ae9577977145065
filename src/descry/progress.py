"""Progress of a stage: a rich bar on a terminal, else a plain line every few seconds."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from descry.labellers import Progress as Report

STARTED = time.monotonic()
EVERY = 5.0  # seconds between plain lines


@contextmanager
def reporting(stage: str) -> Iterator[Report]:
    """A function that shows how far a stage is: called with what, done and total."""
    if sys.stderr.isatty():
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
            tasks = {}

            def bar(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(f"{stage}: {what}", total=total)
                bars.update(tasks[what], completed=done, total=total)

            yield bar
        return
    last = time.monotonic()

    def line(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            print(f"{stage}: {what} {done} of {total}", file=sys.stderr, flush=True)

    yield line


def finished(stage: str, counts: Mapping[str, object]) -> None:
    """Print what a stage did, how long it took and how much memory it held at most."""
    import resource  # not there on Windows, where Snakemake's shell rules do not run either

    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    seconds = time.monotonic() - STARTED
    summary(stage, {**counts, "seconds": f"{seconds:.1f}", "peak MB": f"{peak:.0f}"})


def summary(stage: str, counts: Mapping[str, object]) -> None:
    """Print what a stage did: a table on a terminal, else one line."""
    if not sys.stdout.isatty():
        print(f"{stage}: " + ", ".join(f"{name} {value}" for name, value in counts.items()))
        return
    table = Table("", stage, box=None)
    for name, value in counts.items():
        table.add_row(name, Text(str(value)))
    Console().print(table)
