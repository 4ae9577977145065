"""What comes of faults: of kills at random moments, full disks, spoilt files and more.

Also: a clock that was set back, a second user, a full inode table, and files of newer versions.

A miniature in which every stage works (a judge, scores, graphs and random weights included) runs
undisturbed once. Then each fault is made for real, many times at random, under Snakemake, under
`dvc repro` and for the commands `descry STAGE`; afterwards all results and all answers in the
prompt cache are held against those of the undisturbed run.

    python benchmarks/faults.py --work FOLDER --json out.json --tries 10
    python benchmarks/faults.py --work FOLDER --json out.json --only kill --tool "dvc repro"

A try is `identical` where the same command, given once more, made every byte as it was; a `clear
stop` where one line says what to do; else it is `wrong`. What the JSON file has of other faults,
tools and stages stays, so that a long run can be done in parts (--only, --tool, --stages).
"""

import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import conftest  # noqa: F401  # a home of its own
import faults
import tiny
from faults import Run
from miniature import DVC, SNAKEMAKE, STAGES, Repo, check_out, copy_of

# What descry, SQLite and Snakemake say of a place where nothing can be written.
BARRED = "ead-only", "not a usable prompt cache", "Write-protected"
# What descry says of a full disk, and DVC, which tries links in results/ and has no other words.
FULL = "disk is full", "No possible cache link types"
ROW = 5  # kills in a row
SHARDED = ["describe", "activations", "graphs", "annotate"]
PARTS = 2
IDENTICAL, CLEAR, WRONG = "identical", "clear stop", "wrong"
TOOLS = {"snakemake": SNAKEMAKE, "dvc repro": DVC}
TAIL = ["exemplars", "label", "evaluate"]  # made anew where the tool itself is what is stopped
app = typer.Typer(add_completion=False)
console = Console(width=140)


class Tried(NamedTuple):
    """What came of one try, and what is worth knowing of it."""

    outcome: str
    note: str = ""


class Bench:
    """The undisturbed run, and what the tries are held against."""

    def __init__(self, work: Path, tries: int, seed: int, stages: list[str]) -> None:
        self.work, self.tries, self.seed, self.stages = work, tries, seed, stages
        self.base = _undisturbed(work)
        self.results, self.answers = self.base.results(), faults.exported(self.base)
        self.seconds = {stage: _seconds(self.base, stage) for stage in STAGES}

    def lots(self, *names: str) -> random.Random:
        return random.Random(f"{self.seed} {' '.join(names)}")

    def copy(self, name: str) -> Repo:
        path = self.work / "tries" / name.replace(" ", "-") / "repo"
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir(parents=True)
        return copy_of(self.base, path)

    def held(self, repo: Repo) -> Tried:
        """The checkout against the undisturbed run."""
        found = repo.results()
        other = [name for name in self.results.keys() | found.keys()
                 if self.results.get(name) != found.get(name)]  # fmt: skip
        if other:
            return Tried(WRONG, f"{len(other)} results differ, such as {min(other)}")
        if faults.exported(repo) != self.answers:
            return Tried(WRONG, "the answers in the cache differ")
        return Tried(IDENTICAL)

    def strange(self, repo: Repo) -> list[str]:
        """Results that are there and not as they should be: half written ones, say."""
        return [
            name
            for name, content in repo.results().items()
            if not any(part.startswith(".") for part in Path(name).parts)
            and self.results.get(name) != content
        ]

    @property
    def tail(self) -> float:
        """Seconds that those stages and the tool itself take, about."""
        return 4.0 + sum(self.seconds[stage] for stage in TAIL)

    def stopped(self, repo: Repo, command: str, ended: tuple[int, str], *words: str) -> Tried:
        """A run that should have stopped with such words, and the command without the fault."""
        status, said = ended
        if not status:
            return self.held(repo)
        after = self.again(repo, command)
        if not faults.is_clear(said) or not any(word in said for word in words):
            return Tried(WRONG, _trace(said))
        return Tried(CLEAR) if after.outcome == IDENTICAL else after

    def again(self, repo: Repo, command: str) -> Tried:
        """The same command once more, and what there is then."""
        status, said = Run(repo, command).end()
        if status:
            return Tried(CLEAR if faults.is_clear(said) else WRONG, _last(said))
        return self.held(repo)


def _undisturbed(work: Path) -> Repo:
    """Build it once; a later run of this benchmark takes it as it is."""
    base = work / "base"
    if not (work / "whole").exists():
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        repo = check_out(base)
        other = tiny.spec(tiny.make("t5", work / "t5"), batch_tokens=400)
        some = {"annotator": other, "min_mass": 0.0, "max_failures": 1.0, "neurons": 3}
        third = tiny.spec(tiny.make("bart", work / "bart"), batch_tokens=400)
        changes = {f"judge.{key}": value for key, value in some.items()}
        changes |= {f"score.{key}": value for key, value in (some | {"annotator": third}).items()}
        changes |= {"graphs.neurons": 2, "graphs.texts": 4, "graphs.train": 2}
        changes |= {"untrained.enabled": True}
        repo.set(**changes)
        repo.sh("descry dvc && git commit -qam params")
        repo.sh(SNAKEMAKE)
        repo.sh(DVC)
        (work / "whole").touch()
    return Repo(base)


def _seconds(repo: Repo, stage: str) -> float:
    """How long a stage ran, by its log."""
    said = (repo.path / f"logs/{stage}.log").read_text()
    return float(said.rpartition("seconds ")[2].split(",")[0])


def _size(path: Path) -> int:
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inside if file.is_file())


def _trace(said: str) -> str:
    """The end of a traceback, where there is one."""
    behind = said.partition("Traceback")[2] or said
    lines = [line for line in behind.splitlines() if line[:1].strip()]
    return (lines or [_last(said)])[-1][:160]


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if "error" in line.lower()]
    return (lines or said.strip().splitlines() or ["nothing was said"])[0][:160]


def killed_stages(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """SIGKILL of every stage, at moments within the time that it takes undisturbed.

    A few kills in a row, each of the run that goes on after the one before; then all is made again.
    """
    for stage in bench.stages:
        lots, repo, tried = bench.lots("kill", tool, stage), bench.copy(f"kill {tool}"), []
        while len(tried) < bench.tries:
            faults.forget(repo, [stage])
            said: list[str] = []
            while len(said) < min(ROW, bench.tries - len(tried)):
                moment = lots.uniform(0, bench.seconds[stage])
                words = faults.kill_stage(repo, f"{TOOLS[tool]} {stage}", stage, moment)
                if words is None:  # it was faster than undisturbed
                    if not said:
                        faults.forget(repo, [stage])
                        continue
                    break
                said.append(words)
                if strange := bench.strange(repo):
                    said[-1] += f"Traceback\nhalf written: {strange}"
            outcome = bench.again(repo, f"{TOOLS[tool]} {stage}")
            bench.seconds[stage] = min(bench.seconds[stage], _seconds(repo, stage))
            unclear = [Tried(WRONG, _last(words)) for words in said if not faults.is_clear(words)]
            row = unclear + [outcome] * (len(said) - len(unclear))
            tried += row
            if {one.outcome for one in row} != {IDENTICAL}:
                console.print(stage, row)
                repo = bench.copy(f"kill {tool}")
        yield f"SIGKILL of {stage}", tried


def killed_shards(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """SIGKILL of a job of a stage in parts, as on a cluster: its answers are in a journal."""
    if tool == "dvc repro":  # journals are a setting of Snakemake's
        return
    for stage in [one for one in SHARDED if one in bench.stages]:
        lots, repo, tried = bench.lots("shards", stage), bench.copy("shards"), []
        repo.set(**{f"shards.{stage}": PARTS})
        repo.sh("descry dvc")
        command = f"{SNAKEMAKE} {stage} --config journals=true"
        while len(tried) < bench.tries:
            faults.forget(repo, [stage])
            shutil.rmtree(repo.path / "cache/journals", ignore_errors=True)
            said: list[str] = []
            while len(said) < min(ROW, bench.tries - len(tried)):
                moment = lots.uniform(0, bench.seconds[stage])
                words = faults.kill_stage(repo, command, stage, moment)
                if words is None:
                    break
                said.append(words)
            status, last = Run(repo, command).end()
            if status:
                outcome = Tried(CLEAR if faults.is_clear(last) else WRONG, _last(last))
            else:
                if (repo.path / "cache/journals").exists():
                    repo.sh("descry cache import cache/journals")
                outcome = bench.held(repo)
            tried += [
                outcome if faults.is_clear(words) else Tried(WRONG, _last(words)) for words in said
            ]
        yield f"SIGKILL of a part of {stage}, with journals", tried


def killed_tools(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """SIGKILL of the tool while its stages go on; the same command at once, as the user would."""
    lots, tried = bench.lots("tool", tool), []
    repo, command = bench.copy(f"tool {tool}"), f"{TOOLS[tool]} {TAIL[-1]}"
    while len(tried) < bench.tries:
        faults.forget(repo, TAIL)
        moment = lots.uniform(0, bench.tail)
        run = faults.kill_all_but_the_stages(repo, command, moment)
        if run is None:
            continue
        status, said = Run(repo, command).end()
        if status and "snakemake --unlock" in said:
            Run(repo, "snakemake --unlock").end()
        tried.append(bench.again(repo, command) if faults.is_clear(said) or not status else
                     Tried(WRONG, _last(said)))  # fmt: skip
        run.clear()
    yield "SIGKILL of the tool", tried


def interrupted(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """Ctrl-C."""
    lots, tried = bench.lots("interrupt", tool), []
    repo, command = bench.copy(f"interrupt {tool}"), f"{TOOLS[tool]} {TAIL[-1]}"
    while len(tried) < bench.tries:
        faults.forget(repo, TAIL)
        run = Run(repo, command)
        time.sleep(lots.uniform(0, bench.tail))
        if run.process.poll() is None:
            run.interrupt()
            _, said = run.end()
            run.clear()
            outcome = bench.again(repo, command)
            tried.append(outcome if "Traceback" not in said else Tried(WRONG, _trace(said)))
    yield "Ctrl-C", tried


def twice(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """Two runs started at once."""
    lots, tried = bench.lots("twice", tool), []
    repo, command = bench.copy(f"twice {tool}"), f"{TOOLS[tool]} {TAIL[-1]}"
    for _ in range(bench.tries):
        faults.forget(repo, TAIL)
        one = Run(repo, command)
        time.sleep(lots.choice([0.0, 0.1, 1.0, 3.0]))
        ended = [Run(repo, command).end(), one.end()]
        unclear = [said for status, said in ended if status and not faults.is_clear(said)]
        both = "both ended well" if not any(status for status, _ in ended) else ""
        both = "both stopped" if all(status for status, _ in ended) else both
        outcome = Tried(WRONG, _trace(unclear[0])) if unclear else bench.again(repo, command)
        tried.append(outcome._replace(note=outcome.note or both))
    yield "two runs at once", tried


def full_disks(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """A disk that fills up while a stage writes its results, or its answers."""
    if why := faults.can_mount():
        console.print(f"no small disk: {why}")
        return
    lots, repo = bench.lots("disk", tool), bench.copy(f"disk {tool}")
    for what in ("results", "cache/prompts"):
        tried = []
        asking = [stage for stage in bench.stages if stage in ("describe", "annotate", "judge")]
        some = bench.stages if what == "results" else asking
        for stage in some[: max(1, bench.tries)]:
            size = sum(_size(path) for path in faults.outputs(repo, stage))
            faults.forget(repo, [stage])
            room = int(lots.uniform(0, 0.8) * (size if what == "results" else 40_000))
            command = f"{TOOLS[tool]} {stage}"
            small = faults.on_a_small_disk(command, repo.path / what, room)
            tried.append(bench.stopped(repo, command, Run(repo, small).end(), *FULL))
        yield f"disk full: {what}", tried


def unwritable(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """Results, or answers, where nothing can be written."""
    if why := faults.can_mount():
        console.print(f"no other mounts: {why}")
        return
    repo = bench.copy(f"unwritable {tool}")
    for what, stages in {"results": bench.stages, "cache/prompts": ["describe"]}.items():
        tried = []
        for stage in stages[: bench.tries]:
            faults.forget(repo, [stage])
            command = f"{TOOLS[tool]} {stage}"
            barred = faults.unwritable(command, repo.path / what)
            tried.append(bench.stopped(repo, command, Run(repo, barred).end(), *BARRED))
        yield f"read-only: {what}", tried


def spoilt(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """An input of a stage with a flipped bit, or cut short; its time is as before."""
    lots, repo = bench.lots("spoilt", tool), bench.copy(f"spoilt {tool}")
    for kind in ("bit flipped", "cut short"):
        tried = []
        while len(tried) < bench.tries:
            stage = lots.choice(["exemplars", "label", "evaluate", "figures", "report"])
            inputs = [path for path in faults.inputs(repo, stage) if path.parent.name == "results"]
            path = lots.choice(inputs)
            faults.forget(repo, [stage])
            if kind == "bit flipped":
                faults.flip_bit(path, lots)
            else:
                faults.cut(path, lots.random())
            status, said = Run(repo, f"{TOOLS[tool]} {stage}").end()
            tried.append(_of_spoilt(bench, repo, path, status, said))
            if tried[-1].outcome == WRONG:
                console.print(stage, path.name, tried[-1])
                repo = bench.copy(f"spoilt {tool}")
        yield f"input {kind}", tried


def _of_spoilt(bench: Bench, repo: Repo, path: Path, status: int, said: str) -> Tried:
    """What a stage made of a spoilt input; then that goes, as the line says, and comes back."""
    if status and not faults.is_clear(said):
        return Tried(WRONG, _trace(said))
    named = status != 0
    if not named and bench.held(repo).outcome == IDENTICAL:
        return Tried(IDENTICAL, "made again at once")
    if not named:
        status, told = Run(repo, "descry verify --hashes").end()
        named = bool(status) and path.name in told
    path.unlink()
    after = bench.again(repo, DVC)
    if after.outcome != IDENTICAL:
        return after
    if not named:
        return Tried(WRONG, "never named")
    return Tried(CLEAR, "" if "cannot be read" in said else "named by descry verify --hashes")


def clock_set_back(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """The clock set back by an hour to a month, then a stage is made again."""
    lots, tried = bench.lots("clock", tool), []
    while len(tried) < bench.tries:
        repo, stage = bench.copy(f"clock {tool}"), lots.choice(bench.stages)
        faults.set_clock_back(repo, lots.uniform(3_600, 30 * 86_400))
        faults.forget(repo, [stage])
        outcome = bench.again(repo, f"{TOOLS[tool]} {stage}")
        tried.append(outcome._replace(note=outcome.note and f"{stage}: {outcome.note}"))
    yield "clock set back", tried


def second_user(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """Another user's checkout, which this one may read, or read and write."""
    if not faults.has_second_user():
        console.print("no second user: this is not root, or there is no setpriv")
        return
    lots = bench.lots("user", tool)
    for may, rights in {"reads": "a+r", "as made": "g-x", "writes": "a+rw"}.items():
        tried = []
        while len(tried) < max(1, bench.tries // 3):
            repo, stage = bench.copy(f"user {tool}"), lots.choice(bench.stages)
            faults.forget(repo, [stage])
            Run(repo, f"chmod -R {rights} .").end()
            faults.give_away(repo)
            command = f"{TOOLS[tool]} {stage}"
            status, said = Run(repo, faults.as_second_user(command)).end()
            clear = "belongs to" in said or "Permission denied" in said
            if status and (not faults.is_clear(said) or not clear):
                tried.append(Tried(WRONG, _trace(said)))
            elif status:
                after = bench.again(repo, command)  # by one who may do all
                tried.append(Tried(CLEAR) if after.outcome == IDENTICAL else after)
            else:
                tried.append(bench.held(repo))
        yield f"second user: {may}", tried


def full_inodes(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """A disk with room for a few more files only."""
    if why := faults.can_mount():
        console.print(f"no small disk: {why}")
        return
    lots, repo = bench.lots("inodes", tool), bench.copy(f"inodes {tool}")
    for what in ("results", "cache/prompts"):
        tried = []
        asking = [stage for stage in bench.stages if stage in ("describe", "annotate", "judge")]
        for stage in (bench.stages if what == "results" else asking)[: max(1, bench.tries)]:
            faults.forget(repo, [stage])
            command = f"{TOOLS[tool]} {stage}"
            small = faults.without_inodes(command, repo.path / what, lots.randrange(3))
            tried.append(bench.stopped(repo, command, Run(repo, small).end(), *FULL))
        yield f"inodes full: {what}", tried


def newer(bench: Bench, tool: str) -> Iterator[tuple[str, list[Tried]]]:
    """Files whose version is one that this one does not know; then the file goes."""
    lots = bench.lots("newer", tool)
    for what, (name, raised) in faults.NEWER.items():
        repo = bench.copy(f"newer {tool}")
        reads = ["annotate"] if name.startswith("cache") else ["label", "evaluate"]
        stage = lots.choice(reads)
        file, command = repo.path / name, f"{TOOLS[tool]} {stage}"
        before = file.read_bytes()
        assert raised(before) != before, f"{name} has no such version"
        faults.put(file, raised(before))
        faults.remove_outputs(repo, stage)
        status, said = Run(repo, command).end()
        if not status:
            tried = bench.held(repo)
        elif not faults.is_clear(said):
            tried = Tried(WRONG, _trace(said))
        else:
            faults.put(file, before)
            after = bench.again(repo, command)
            tried = Tried(CLEAR) if after.outcome == IDENTICAL else after
        yield f"newer version: {what}", [tried]


FAULTS: dict[str, Callable[[Bench, str], Iterator[tuple[str, list[Tried]]]]] = {
    "kill": killed_stages,
    "shards": killed_shards,
    "tool": killed_tools,
    "interrupt": interrupted,
    "twice": twice,
    "disk": full_disks,
    "unwritable": unwritable,
    "spoilt": spoilt,
    "clock": clock_set_back,
    "user": second_user,
    "inodes": full_inodes,
    "newer": newer,
}


@app.command()
def main(
    work: Annotated[Path, typer.Option(help="Folder for the checkouts; kept.")],
    json_file: Annotated[Path, typer.Option("--json", help="File for the counts.")],
    tries: Annotated[int, typer.Option(help="Of each fault.")] = 10,
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(FAULTS)}.")] = ",".join(FAULTS),
    tool: Annotated[str, typer.Option(help="One or both of these.")] = ",".join(TOOLS),
    stages: Annotated[str, typer.Option(help="That are killed.")] = ",".join(STAGES),
    seed: Annotated[int, typer.Option(help="Of the moments and places.")] = 0,
) -> None:
    """Make faults, and count what comes of them."""
    bench = Bench(work.absolute(), tries, seed, stages.split(","))
    console.print(f"seed {seed}; seconds undisturbed: {bench.seconds}")
    counts: dict[str, Any] = json.loads(json_file.read_text()) if json_file.exists() else {}
    for name in only.split(","):
        for with_tool in tool.split(","):
            for fault, tried in FAULTS[name](bench, with_tool):
                _count(counts, fault, with_tool, tried)
                json_file.write_text(json.dumps(counts, indent=1) + "\n")
                console.print(
                    time.strftime("%H:%M:%S"), fault, with_tool, counts[f"{fault}; {with_tool}"]
                )
    console.print(_table(counts))


def _count(counts: dict[str, Any], fault: str, tool: str, tried: list[Tried]) -> None:
    found = Counter(one.outcome for one in tried)
    notes = Counter(one.note for one in tried if one.note)
    counts[f"{fault}; {tool}"] = {"fault": fault, "tool": tool, "tries": len(tried)} | {
        "identical": found[IDENTICAL], "clear stop": found[CLEAR], "wrong": found[WRONG],
        "notes": dict(notes.most_common()),
    }  # fmt: skip


def _table(counts: dict[str, Any]) -> Table:
    columns = ("fault", "tool", "tries", IDENTICAL, CLEAR, WRONG)
    table = Table(*columns)
    for row in counts.values():
        table.add_row(*(str(row[column]) for column in columns))
    return table


if __name__ == "__main__":
    app()
