"""Where the time of each stage goes: starting and importing, loading models, and the work itself.

In a copy of a finished study (the current folder's params.yaml, data and results) each stage runs
anew in a process of its own, with an empty cache, so that all is asked again; the copy is thrown
away. Seconds of wall time, of the processor (user and system), and of the processor within imports
and within loading models, wherever in the run those happen; the rest is work.

    python benchmarks/stages.py --json out.json
    python benchmarks/stages.py evaluate label
"""

import argparse
import builtins
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("wall", "cpu", "imports", "models", "work")
KEPT = ("params.yaml", "dvc.yaml", "Snakefile", "workflow", "data", "results")
Figures = dict[str, float]


class Clock:
    """Processor seconds of the main thread's outermost visits to a place."""

    def __init__(self) -> None:
        self.seconds, self._deep = 0.0, 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is within, once where visits are nested."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        start, self._deep = time.thread_time(), self._deep + 1
        try:
            yield
        finally:
            self._deep -= 1
            if not self._deep:
                self.seconds += time.thread_time() - start


def inside(stage: str, files: list[str]) -> None:
    """Run a stage in this process, and tell where its time went, in the last line."""
    began = time.monotonic()
    imports, models = Clock(), Clock()
    plain: Callable[..., Any] = builtins.__import__

    def timed_import(*args: Any, **named: Any) -> Any:
        with imports.running():
            return plain(*args, **named)

    builtins.__import__ = timed_import
    from descry.models import checkpoints

    loadable = checkpoints.loadable

    @contextmanager
    def timed_load(checkpoint: Any) -> Iterator[None]:
        imported = imports.seconds
        with models.running(), loadable(checkpoint):
            yield
        models.seconds -= imports.seconds - imported

    checkpoints.loadable = timed_load
    from descry.cli.app import main

    sys.argv = ["descry", "stage", stage, *files]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
    cpu = time.process_time()
    figures = {"wall": time.monotonic() - began, "cpu": cpu}
    figures |= {"imports": imports.seconds, "models": models.seconds}
    figures["work"] = cpu - imports.seconds - models.seconds
    print("\n" + json.dumps(figures))


def measured(stage: str, study: Path) -> Figures:
    """The figures of a stage, run in a copy of the study in the current folder."""
    from descry.workflow.dag import rule_files

    with tempfile.TemporaryDirectory(prefix="descry-benchmark-", dir=study.parent) as scratch:
        folder = Path(scratch)
        for name in KEPT:
            if (study / name).is_dir():
                shutil.copytree(study / name, folder / name)
            elif (study / name).exists():
                shutil.copy2(study / name, folder / name)
        command = [sys.executable, str(Path(__file__).resolve()), "--inside", stage]
        command += rule_files(stage)
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", help="those that are measured; without any, all")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    from descry.workflow.stage import STAGES

    study, found = Path.cwd(), dict[str, Figures]()
    for stage in arguments.stages or [name for name in STAGES if name != "tokens"]:
        print(stage, file=sys.stderr)
        found[stage] = measured(stage, study)
    found["together"] = {name: sum(of[name] for of in found.values()) for name in COLUMNS}
    table = Table("stage", *COLUMNS)
    for stage, figures in found.items():
        table.add_row(stage, *(f"{figures[name]:.1f}" for name in COLUMNS))
    Console().print(table)
    if arguments.json:
        value = {"cores": os.cpu_count(), "stages": found}
        arguments.json.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
