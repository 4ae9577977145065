"""Which tests are unit tests, and what each test costs.

A unit test starts no process (no study, no tool, no browser) and takes few processor seconds. It is
marked `unit` by itself (conftest.py): each test is one that is not marked `slow`, has no fixture of
the miniature study, and whose function is not listed in costly.txt. So that this stays true, a test
that starts a process fails where unit tests are run alone, and so does a name in the list that is
no test's.

    python -m pytest -n 0 -m "not slow" --costs build/costs.jsonl   records what each test costs
    python tests/costs.py build/costs.jsonl                         makes the list from that

What a fixture of several tests costs is divided among the functions that use it, and where it
starts a process, none of them is a unit test. Costs are those of fewer examples of each property
than the whole suite tries (`properties`), as where unit tests are run alone.
"""

import importlib
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import warm

COSTLY = Path(__file__).with_name("costly.txt")
MOST = 0.3  # processor seconds of a function, with all its parameters
MINIATURE = {"built", "rethought"}  # fixtures: whole studies, made by the real tools
STARTS = {
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"
}  # fmt: skip
ASKED = ("which",), ("scontrol",)  # by Snakemake's plug-in for Slurm, when it is imported
EXAMPLES = 20  # of a property that asks for no other number


def function_of(test: str) -> str:
    """A test's file and function, by its id."""
    return test.partition("[")[0].removeprefix("tests/")


def mark(items: list[pytest.Item]) -> None:
    """Mark the unit tests.

    Raises:
        pytest.UsageError: a name in the list is that of no test in its file.
    """
    costly = set(COSTLY.read_text().splitlines())
    there = {function_of(item.nodeid) for item in items}
    files = {name.partition("::")[0] for name in there}
    known = {name for name in costly if name.partition("::")[0] in files}
    whole = {item.config.args == item.config.getini("testpaths") for item in items}
    if whole == {True} and (gone := known - there):
        raise pytest.UsageError(f"{COSTLY.name}: {min(gone)} is no test: remove it")
    for item in items:
        study = MINIATURE & set(getattr(item, "fixturenames", ()))
        slow = item.get_closest_marker("slow") or function_of(item.nodeid) in costly
        if not slow and not study:
            item.add_marker("unit")


def properties(config: pytest.Config) -> None:
    """Set how many examples of a property are tried: 100, of unit tests alone fewer."""
    # A loaded machine must not fail a property by its clock.
    hypothesis.settings.register_profile("descry", deadline=None)
    hypothesis.settings.register_profile("unit", deadline=None, max_examples=EXAMPLES)
    alone = config.option.markexpr == "unit" or config.option.costs
    hypothesis.settings.load_profile("unit" if alone else "descry")


class Costs:
    """Looks at what each test does, and holds unit tests to what they are."""

    def __init__(self, path: str | None) -> None:
        self.path = path and str(Path(path).absolute())  # tests change the folder
        self.started = 0
        # Seconds and processes of those that the present test set up.
        self.fixtures: dict[str, tuple[float, int]] = {}
        sys.addaudithook(self._hear)
        if path:  # else the first test that needs a package would pay for its import
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            for name in warm.IMPORTED:
                importlib.import_module(name)

    def _hear(self, event: str, told: tuple[object, ...]) -> None:
        self.started += event in STARTS and told[:1] not in ASKED

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note where the test began."""
        self.fixtures.clear()
        item.before = used(), self.started

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Iterator[object]:
        """Note what a fixture takes that several tests share, without those that it uses."""
        before, started = used(), self.started
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                self.fixtures[_name(fixturedef)] = used() - before, self.started - started

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Run it, and write down, or judge, what it took."""
        result = yield
        before, started = item.before
        took, processes = used() - before, self.started - started
        if self.path:
            own = took - sum(seconds for seconds, _ in self.fixtures.values())
            shared = [_name(defs[-1]) for defs in item._fixtureinfo.name2fixturedefs.values()]
            of_itself = processes - sum(some for _, some in self.fixtures.values())
            told = {"test": item.nodeid, "seconds": own, "processes": of_itself}
            told |= {"made": self.fixtures, "uses": shared}
            with Path(self.path).open("a") as file:
                file.write(f"{json.dumps(told)}\n")
        elif processes and item.config.option.markexpr == "unit":
            pytest.fail(
                f"no unit test, it starts processes ({processes}): mark it slow, or list"
                f" {function_of(item.nodeid)} in {COSTLY.name}"
            )
        return result


def _name(fixture: pytest.FixtureDef[object]) -> str:
    return f"{fixture.baseid}::{fixture.argname}"


def used() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def main(path: str) -> None:
    """Write the list from what was recorded."""
    seconds: Counter[str] = Counter()
    made: Counter[str] = Counter()
    users: dict[str, set[str]] = defaultdict(set)
    starting: set[str] = set()
    costly = set()
    for line in Path(path).read_text().splitlines():
        told = json.loads(line)
        name = function_of(told["test"])
        seconds[name] += told["seconds"]
        for fixture, (some, processes) in told["made"].items():
            made[fixture] += some
            if processes:
                starting.add(fixture)
        for fixture in told["uses"]:
            users[fixture].add(name)
        if told["processes"]:
            costly.add(name)
    for fixture, names in users.items():
        for name in names:
            seconds[name] += made[fixture] / len(names)
        if fixture in starting:
            costly |= names
    costly |= {name for name, some in seconds.items() if some > MOST}
    COSTLY.write_text("".join(f"{name}\n" for name in sorted(costly)))


if __name__ == "__main__":
    main(*sys.argv[1:])
