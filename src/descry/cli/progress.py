"""Progress of a stage: a bar on a terminal, else a line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from descry.annotators.client import Progress as Report
from descry.annotators.counts import Counts
from descry.io.sanitize import printable

STARTED = time.monotonic()
EVERY = 5.0  # seconds between plain lines
Say = Callable[[str], None]
Show = Callable[[str, int, int, str], None]  # what, done, total, rates
Count = Callable[[str, int, int], None]  # what, done, total


@contextmanager
def reporting(stage: str) -> Iterator[Report]:
    """A function that shows the progress of an annotator, given its name and tally."""
    told: set[str] = set()
    tallies: dict[int, tuple[str, Counts]] = {}
    with _lines(stage) if not sys.stderr.isatty() else _bars(stage) as (say, show):

        def report(name: str, tally: Counts) -> None:
            tallies[id(tally)] = name, tally
            if tally.forecast and name not in told:
                told.add(name)
                say(f"{stage}: {tally.forecast}")
            for remark in sorted(tally.remarks.keys() - told):
                told.add(remark)
                say(f"{stage}: {name}: {remark}")
            show(name, tally.done, tally.total, rates(tally))

        yield report
        for name, tally in tallies.values():
            if tally.failed:
                say(f"{stage}: {name}: {tally.failed} of {tally.total} failed: {tally.why}")


@contextmanager
def counting(stage: str) -> Iterator[Count]:
    """A function that shows the progress of a stage: what is counted, done, total."""
    with _lines(stage) if not sys.stderr.isatty() else _bars(stage) as (_, show):
        yield lambda what, done, total: show(what, done, total, "")


def rates(tally: Counts) -> str:
    """Share of cached answers, answers and tokens per second, failures."""
    seconds = max(tally.asking, 1e-9)
    words = [f"{tally.cached / max(tally.done, 1):.0%} cached"]
    if tally.asked:
        words.append(f"{tally.asked / seconds:,.1f} answers/s")
        if tokens := tally.tokens_in + tally.tokens_out:
            words.append(f"{tokens / seconds:,.0f} tokens/s")
    if tally.failed:
        words.append(f"{tally.failed} failed")
    return ", ".join(words)


@contextmanager
def _bars(stage: str) -> Iterator[tuple[Say, Show]]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    more = TextColumn("{task.fields[rates]}"), TimeRemainingColumn()
    with Progress(*columns, *more, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int, rates: str) -> None:
            if what not in tasks:
                label = escape(f"{stage}: {what}")
                tasks[what] = bars.add_task(label, total=total, rates=rates)
            bars.update(tasks[what], completed=done, total=total, rates=rates)

        yield lambda text: bars.console.print(Text(text)), show


@contextmanager
def _lines(stage: str) -> Iterator[tuple[Say, Show]]:
    last, before = time.monotonic(), dict[str, int]()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show(what: str, done: int, total: int, rates: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= EVERY:
            # The speed since the last line: cached answers take no time.
            left = (now - last) * (total - done) / max(done - before.get(what, 0), 1)
            last, before[what] = now, done
            also = f", {rates}" if rates else ""
            say(f"{stage}: {what}: {done} of {total}{also}, {_clock(left)} left")

    yield say, show


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def finished(stage: str, counts: Mapping[str, object]) -> None:
    """Print what a stage did, its seconds, and its peak of memory."""
    import resource  # not there on Windows, where Snakemake's shell rules do not run either

    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    seconds = time.monotonic() - STARTED
    summary(stage, {**counts, "seconds": f"{seconds:.1f}", "peak MB": f"{peak:.0f}"})


def summary(stage: str, counts: Mapping[str, object]) -> None:
    """Print what a stage did: a table on a terminal, else one line; a line for each warning."""
    counts = dict(counts)
    warnings = counts.pop("warnings", None)
    _summary(stage, counts)
    for words in warnings if isinstance(warnings, list) else ():
        print(printable(f"{stage}: warning: {words}"))


def _summary(stage: str, counts: Mapping[str, object]) -> None:
    if not sys.stdout.isatty():
        print(f"{stage}: " + ", ".join(f"{name} {value}" for name, value in counts.items()))
        return
    table = Table("", stage, box=None)
    for name, value in counts.items():
        table.add_row(name, Text(str(value)))
    Console().print(table)
