"""How many small faults of the code the tests see: mutants of numerics, parsers and the guard.

A mutant is the code with one thing changed, such as a sign, a bound, a word or an argument
(mutmut's operators). Tests run once undisturbed, which says what functions each of them calls and
for how long. Then a process is forked for each mutant: its function gets the mutant's code, and the
tests that call it run, fastest first, until one fails. A mutant is `killed` by a test that fails or
takes ten times as long as before, `survived` where none does, and `not run` where no test calls its
function. A module's mutants are tried in a random order, all modules in turn, until
the processor time is up.

    pip install --no-deps mutmut==3.8.1 libcst==1.9.0
    python benchmarks/mutants.py --json out.json --minutes 60
    python benchmarks/mutants.py --json out.json --module labels.counting --minutes 5

Prints counts; the file has every survivor's change as a diff, and keeps what it says of other
modules, so that a long run can be done in parts. What processes do that a test starts is not seen,
and code behind a decorator, but for methods of classes, has no mutants.
"""

import ast
import difflib
import importlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Annotated, Any, NamedTuple

import pytest
import typer
from _pytest.runner import runtestprotocol
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
TESTS = {  # of each module, the files of tests that are about it
    "activations.top_k": "top_k streaming sparse",
    "activations.nan_stats": "metrics people scorers",
    "activations.histogram": "histogram streaming",
    "labels.assignment": "assignment label_blocks",
    "labels.compositional": "compositional",
    "labels.counting": "counting matched enrichment",
    "labels.enrichment": "enrichment",
    "labels.loops": "counting matched enrichment",
    "labels.matched": "matched null_models",
    "labels.neighbours": "neighbours clustering",
    "labels.random_labels": "chance null_models",
    "labels.results": "label_scores ends silent_neurons damage",
    "labels.rules": "enrichment null_models chance",
    "labels.shuffles": "shuffles confounders",
    "labels.stratum_sums": "matched enrichment",
    "labels.strata": "matched shuffles covariates",
    "labels.tables": "label_blocks",
    "labels.trigger_words": "positions",
    "evaluation.sides": "null_models",
    "evaluation.tiers": "tiers metrics",
    "evaluation.metrics": "metrics yes_share",
    "evaluation.agreement": "agreement people",
    "evaluation.chance": "chance",
    "evaluation.confounders": "confounders",
    "annotators.parsing.answers": "answers",
    "annotators.parsing.topics": "topics answers",
    "annotators.parsing.topics_json": "topics answers",
    "annotators.parsing.unwrap": "answers topics",
    "workflow.settled": "settled",
    "workflow.clock": "clock",
    "workflow.outdated": "changes settled",
    "provenance.verify.cached_answers": "verification",
    "provenance.verify.chain": "verification",
    "provenance.verify.contents": "verification damage",
    "provenance.verify.hashes": "verification",
    "provenance.verify.recompute": "verification",
}
KILLED, SURVIVED, NOT_RUN = "killed", "survived", "not run"
CALLED: set[tuple[str, str]] = set()  # paths and functions, since it was emptied
NOTE = "__called__"
LONGEST = 3.0  # processor seconds of a test that is run for a mutant
ENOUGH = 10.0  # processor seconds of tests for a mutant, beyond which the slowest are left out
STUCK = 300  # seconds by the clock, after which a mutant waits for what never comes
PATIENCE = 10.0  # times as long as undisturbed
os.environ["NUMBA_DISABLE_JIT"] = "1"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(width=120)


class Mutant(NamedTuple):
    """A module with one change."""

    module: str
    function: str | None  # by its qualified name; None: at the module's top
    text: str


class Tests:
    """pytest's plug-in: it runs the tests of a session, then the mutants in the place of it."""

    def __init__(
        self, modules: list[str], seconds: float, seed: int, said: Callable[..., None]
    ) -> None:
        self.modules, self.seconds, self.seed, self.said = modules, seconds, seed, said
        self.paths = {name: str(_path(name)) for name in modules}
        # Loops run uncompiled, and have mutants as other functions have.
        self.texts = {
            name: _path(name).read_text().replace("@compiled\n", "\n") for name in modules
        }
        self.called: dict[tuple[str, str], list[Any]] = defaultdict(list)  # tests by function
        self.took: dict[Any, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """The same examples each time, no time spent on making a failing one small."""
        import hypothesis  # here: pytest is to see it first

        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile(
            "mutants", hypothesis.settings.default, database=None, derandomize=True, phases=phases
        )
        hypothesis.settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run them."""
        until = _used() + self.seconds
        for name in self.modules:
            importlib.import_module(f"descry.{name}")
            self._put(Mutant(name, None, self.texts[name]), marked=True)
        for item, following in itertools.zip_longest(session.items, session.items[1:]):
            self._run(item, following)
        for name in self.modules:
            self._put(Mutant(name, None, self.texts[name]))
        told = f"{len(self.took)} tests"
        queues = [self._mutants(name) for name in self.modules]
        while queues and _used() < until:
            for queue in list(queues):
                mutant = next(queue, None)
                if mutant is None:
                    queues.remove(queue)
                else:
                    self.said(mutant, *self._of(mutant))
                if _used() > until:
                    break
        console.print(f"{told}; {_used():.0f} processor seconds; all tried: {not queues}")
        return True

    def _run(self, item: Any, following: Any) -> None:
        """One test, undisturbed; what it calls is noted."""
        for name in self.modules:
            _forget(sys.modules[f"descry.{name}"])
        CALLED.clear()
        start = time.process_time()
        reports = runtestprotocol(item, nextitem=following, log=False)
        self.took[item] = time.process_time() - start
        if any(report.failed for report in reports):
            console.print(f"left out, as it does not pass: {item.nodeid}")
        elif self.took[item] < LONGEST:
            for one in CALLED:
                self.called[one].append(item)

    def _mutants(self, name: str) -> Iterator[Mutant]:
        """What is to be tried of a module: first no change, which no test may see."""
        from mutmut.mutation.file_mutation import create_mutations

        text = self.texts[name]
        yield Mutant(name, None, text)
        tree, mutations, *_ = create_mutations(self.paths[name], text)
        random.Random(self.seed).shuffle(mutations)
        seen = {text}
        for one in mutations:
            other = tree.deep_replace(one.original_node, one.mutated_node).code
            if other not in seen and _compiles(other):
                seen.add(other)
                yield Mutant(name, _changed(text, other), other)

    def _put(self, mutant: Mutant, *, marked: bool = False) -> None:
        _put_in_place(mutant, self.paths[mutant.module], marked=marked)

    def _of(self, mutant: Mutant) -> tuple[str, str]:
        """What came of a mutant, and by which test."""
        path = self.paths[mutant.module]
        if mutant.function is None:  # a constant: every test of the module may use it
            items = {
                one for (where, _), some in self.called.items() if where == path for one in some
            }
        else:
            items = set(self.called[path, mutant.function])
        if not items:
            return NOT_RUN, ""
        fastest = sorted(items, key=lambda item: (self.took[item], item.nodeid))
        until = itertools.accumulate(self.took[item] for item in fastest)
        fastest = [item for item, end in zip(fastest, until, strict=True) if end < ENOUGH]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            _alone(mutant, path, fastest, self.took, writing)
        os.close(writing)
        with os.fdopen(reading) as told:
            by = told.read()
        _, status = os.waitpid(child, 0)
        return (KILLED, by.splitlines()[-1] if by else "") if status else (SURVIVED, "")


def _alone(mutant: Mutant, path: str, items: list[Any], took: dict[Any, float], out: int) -> None:
    """In a fork: run a mutant's tests, and end with status 0 only where all of them pass."""
    status = 1
    try:
        signal.alarm(STUCK)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        _put_in_place(mutant, path)
        for item, following in itertools.zip_longest(items, items[1:]):
            os.write(out, f"{item.nodeid}\n".encode())
            signal.setitimer(signal.ITIMER_PROF, 2 + PATIENCE * took[item])
            if any(one.failed for one in runtestprotocol(item, nextitem=following, log=False)):
                break
        else:
            status = 0
    finally:
        os._exit(status)


def _put_in_place(mutant: Mutant, path: str, *, marked: bool = False) -> None:
    """Give the module's functions, or what is at its top, the mutant's code.

    Args:
        marked: each function notes in CALLED that it is called.
    """
    name = f"descry.{mutant.module}"
    module = sys.modules[name]
    other = {"__name__": name, "__file__": path, "__package__": name.rpartition(".")[0]}
    tree = ast.parse(mutant.text)
    if marked:
        vars(module)[NOTE] = other[NOTE] = CALLED.add
        _mark(tree, path)
    exec(compile(tree, path, "exec"), other)
    if mutant.function is None:
        _change_values(vars(module), other)
    _forget(module)
    own, new = (_functions(some, path) for some in (vars(module), other))
    changed = own.keys() & new.keys() & {mutant.function or one for one in own}
    for function, there in ((own[one], new[one]) for one in changed):
        function.__code__ = there.__code__
        for defaults in ("__defaults__", "__kwdefaults__"):
            if repr(getattr(function, defaults)) != repr(getattr(there, defaults)):
                setattr(function, defaults, getattr(there, defaults))


def _mark(tree: ast.Module, path: str) -> None:
    """Let each function, and each method, begin with a note that it is called."""
    todo: list[tuple[str, ast.stmt]] = [("", one) for one in tree.body]
    for prefix, one in todo:
        if isinstance(one, ast.ClassDef):
            todo += [(f"{prefix}{one.name}.", inner) for inner in one.body]
        elif isinstance(one, ast.FunctionDef):
            note = ast.parse(f"{NOTE}({(path, prefix + one.name)!r})").body
            one.body[:0] = note
    ast.fix_missing_locations(tree)


def _change_values(module: dict[str, Any], other: dict[str, Any]) -> None:
    """Constants, wherever they have been imported to."""
    plain = (int, float, str, bytes, tuple, list, dict, set, frozenset, type(None))
    for key, old in list(module.items()):
        new = other.get(key)
        if key.startswith("__") or callable(old) or not (
            isinstance(old, plain) or type(old).__name__ == "Pattern"
        ):  # fmt: skip
            continue
        for there in [vars(one) for one in list(sys.modules.values()) if one]:
            if there.get(key) is old:
                there[key] = new


def _functions(names: Mapping[str, Any], path: str) -> dict[str, FunctionType]:
    """The functions and methods that a file defines, by their qualified names."""
    found: dict[str, FunctionType] = {}
    for one in names.values():
        inside = getattr(one, "__wrapped__", None) or getattr(one, "fget", None) or one
        function = getattr(inside, "__func__", inside)
        if isinstance(function, FunctionType) and function.__code__.co_filename == path:
            found[function.__code__.co_qualname] = function
        elif isinstance(one, type) and one.__module__ == names.get("__name__", one.__module__):
            found |= _functions(vars(one), path)
    return found


def _forget(module: ModuleType) -> None:
    """Empty its caches."""
    for one in vars(module).values():
        if hasattr(one, "cache_clear"):
            one.cache_clear()


def _changed(old: str, new: str) -> str | None:
    """The one function, or method, whose code differs; None where it is none of them."""
    before, after = (_codes(compile(text, "", "exec")) for text in (old, new))
    differ = [name for name, code in before.items() if after.get(name) != code]
    return differ[0] if len(differ) == 1 else None


def _codes(code: CodeType) -> dict[str, Any]:
    """Functions and methods by their qualified names, as what is the same in the same code."""
    found: dict[str, Any] = {}
    for one in code.co_consts:
        if not isinstance(one, CodeType):
            continue
        if one.co_flags & 2:  # a function: it has fast locals
            found[one.co_qualname] = _plain(one)
        else:  # a class
            found |= _codes(one)
    return found


def _plain(code: CodeType) -> Any:
    inner = [
        _plain(one) if isinstance(one, CodeType) else (type(one), one) for one in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, repr(inner)


def _compiles(text: str) -> bool:
    try:
        compile(text, "", "exec")
    except SyntaxError:
        return False
    return True


def _path(module: str) -> Path:
    return ROOT / "src/descry" / f"{module.replace('.', '/')}.py"


def _used() -> float:
    told = os.times()
    return sum(told[:4])


def _diff(mutant: Mutant) -> str:
    lines = (text.splitlines() for text in (_path(mutant.module).read_text(), mutant.text))
    return "\n".join(list(difflib.unified_diff(*lines, lineterm="", n=0))[2:])


@app.command()
def main(
    json_file: Annotated[Path, typer.Option("--json", help="File for the counts and survivors.")],
    minutes: Annotated[
        float, typer.Option(help="Of processor time, after which no mutant is begun.")
    ] = 60.0,
    module: Annotated[
        list[str] | None, typer.Option(help="Of these only, such as labels.counting.")
    ] = None,
    tests: Annotated[
        str | None, typer.Option(help="Names of tests' files, in the place of the module's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of the mutants.")] = 0,
) -> None:
    """Make mutants, and count those that no test sees."""
    modules = module or list(TESTS)
    if unknown := set(modules) - TESTS.keys():
        raise typer.BadParameter(
            f"{min(unknown)} is none of {', '.join(TESTS)}", param_hint="module"
        )
    files = sorted({f for name in modules for f in (tests or TESTS[name]).split()})
    found: dict[str, dict[str, Any]] = {name: {"survivors": []} for name in modules}
    counts: dict[str, Counter[str]] = {name: Counter() for name in modules}

    def said(mutant: Mutant, outcome: str, by: str) -> None:
        if mutant.text == _path(mutant.module).read_text():
            assert outcome != KILLED, f"{mutant.module}: {by} does not pass without a change"
            return
        counts[mutant.module][outcome] += 1
        if outcome != KILLED:
            one = {"function": mutant.function, "outcome": outcome, "change": _diff(mutant)}
            found[mutant.module]["survivors"].append(one)

    os.chdir(ROOT)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    paths = [f"tests/test_{file}.py" for file in files]
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "-m", "unit"]
    status = pytest.main([*options, *paths], [Tests(modules, minutes * 60, seed, said)])
    if status not in (0, 5):  # 5: no test was counted, for none ran by pytest's own loop
        raise SystemExit(int(status))
    told = json.loads(json_file.read_text()) if json_file.exists() else {}
    told |= {name: {**counts[name], **found[name]} for name in modules}
    json_file.write_text(json.dumps(told, indent=1) + "\n")
    console.print(_table(counts))


def _table(counts: dict[str, Counter[str]]) -> Table:
    table = Table("module", KILLED, SURVIVED, NOT_RUN, "killed, %")
    for name, some in {**counts, "all": sum(counts.values(), Counter())}.items():
        share = 100 * some[KILLED] / (some.total() or 1)
        table.add_row(
            name, *(str(some[one]) for one in (KILLED, SURVIVED, NOT_RUN)), f"{share:.0f}"
        )
    return table


if __name__ == "__main__":
    app()
