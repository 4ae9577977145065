"""How long the whole pipeline takes, stage by stage, with its peak memory.

In a scratch copy of this checkout it times: a full build by Snakemake and `dvc repro` behind it,
both tools with nothing to do, and both after a change of t. With --reviews, the same on other
reviews. Stage times and peak memory are those that each stage prints; where its processor time goes
is what stages.py tells.

    python benchmarks/pipeline.py --json out.json
    python benchmarks/pipeline.py --reviews REVIEWS.jsonl.gz --set corpus.per_category=500
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from descry.workflow.stage import STAGES

ROOT = Path(__file__).parent.parent
EVERY = [name for name in STAGES if name != "tokens"]  # a stage of unit `token` alone


def copy_checkout(target: Path) -> None:
    """The files that git would commit, in a repository of their own."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        there = (ROOT / name).is_file() or (ROOT / name).is_symlink()
        if there and not name.startswith(("results/", "dvc.lock")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)


def change(folder: Path, settings: dict[str, object]) -> None:
    """Set parameters: {"label.threshold": 0.3}."""
    file = folder / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    for dotted, value in settings.items():
        section, key = dotted.split(".")
        params[section][key] = value
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def timed(folder: Path, command: str) -> float:
    """Seconds that a command takes; its output goes to standard error."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    start = time.monotonic()
    environment = {**os.environ, "PATH": path}
    subprocess.run(command, shell=True, cwd=folder, env=environment, stdout=sys.stderr, check=True)
    return time.monotonic() - start


def stage_figures(folder: Path) -> dict[str, dict[str, float]]:
    """Seconds and peak resident memory (MB) of each stage."""
    figures = {}
    for stage in EVERY:
        said = (folder / f"logs/{stage}.log").read_text(encoding="utf-8")
        seconds, memory = re.findall(r"seconds ([\d.]+), peak MB (\d+)", said)[-1]
        figures[stage] = {"seconds": float(seconds), "peak_mb": float(memory)}
    return figures


def measure(folder: Path) -> dict[str, float]:
    """The commands, in the order in which a person would give them."""
    snakemake, dvc = "snakemake --cores all", "dvc repro -q"
    threshold = yaml.safe_load((folder / "params.yaml").read_text())["label"]["threshold"]
    seconds = {"full build: snakemake": timed(folder, snakemake)}
    seconds["full build: dvc repro behind it"] = timed(folder, dvc)
    seconds["nothing to do: snakemake"] = timed(folder, snakemake)
    seconds["nothing to do: dvc repro"] = timed(folder, dvc)
    change(folder, {"label.threshold": threshold + 0.01})
    seconds["change of t: snakemake"] = timed(folder, snakemake)
    timed(folder, dvc)
    change(folder, {"label.threshold": threshold})
    seconds["change of t: dvc repro"] = timed(folder, dvc)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--reviews", type=Path, help="a file of reviews instead of the sample")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--keep", type=Path, help="copy results/ to this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="descry-benchmark-") as scratch:
        folder = Path(scratch)
        copy_checkout(folder)
        settings = {k: yaml.safe_load(v) for k, v in (item.split("=", 1) for item in arguments.set)}
        if arguments.reviews:
            name = f"data/{arguments.reviews.name}"
            shutil.copy2(arguments.reviews, folder / name)
            settings["corpus.reviews"] = name
        change(folder, settings)
        seconds = measure(folder)
        stages = stage_figures(folder)
        labels = subprocess.run(
            [sys.executable, "-m", "descry", "show", "--rows", "25"],
            cwd=folder, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        if arguments.keep:
            shutil.copytree(folder / "results", arguments.keep, dirs_exist_ok=True)
    table = Table("what", "seconds", "peak MB")
    for what, taken in seconds.items():
        table.add_row(what, f"{taken:.1f}", "")
    for stage, figure in stages.items():
        table.add_row(f"stage {stage}", f"{figure['seconds']:.1f}", f"{figure['peak_mb']:.0f}")
    Console().print(table)
    print(labels)
    if arguments.json:
        machine = {"cores": os.cpu_count(), "system": platform.platform()}
        found = {"machine": machine, "settings": settings, "seconds": seconds, "stages": stages}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
