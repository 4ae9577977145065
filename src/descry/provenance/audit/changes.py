"""What changed for a neuron between two commits or DVC experiments, and why.

Read from git and dvc.lock: a cause is a parameter, a source file, data or a hand edit that differs;
what differs only because its inputs do is a consequence. A stage whose outputs differ though all
that dvc.lock knows is the same had other answers or packages.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from descry.activations.exemplar_files import read_neuron_exemplars, read_neurons
from descry.annotators.annotations import read_annotations
from descry.errors import InputError
from descry.io.dvc_lock import Locked, in_order, parse_lock
from descry.io.git import GitError, commit_of, log, text_at
from descry.io.hashing import canonical
from descry.io.nested import flat, unlike
from descry.io.parquet import read_table
from descry.io.provenance import without_places
from descry.io.read_provenance import provenance_of
from descry.labels.results import Numbers, neuron_labels
from descry.provenance.audit.project import STAGES, Project

WORKSPACE = "workspace"  # the files as they lie here, as DVC calls them


@dataclass(frozen=True)
class Cause:
    """A difference that is not the consequence of another.

    Attributes:
        kind: parameter, model, code, data, hand edit, stage, or answers or packages.
        what: the key, file or stage, and how it differs.
        effective: whether the outputs of its stage differ at all.
        commits: that changed a file, a line each.
    """

    stage: str
    kind: str
    what: str
    effective: bool
    commits: list[str]


@dataclass(frozen=True)
class LabelChange:
    """A descriptor of a neuron before and after, in the whole corpus.

    Attributes:
        change: gained, lost, or stays.
        same_answers: of the exemplars in common, those that the annotator said the same of.
    """

    descriptor: str
    end: str
    change: str
    before: Numbers | None
    after: Numbers | None
    same_answers: int


@dataclass(frozen=True)
class Changes:
    """What changed for a neuron between two commits.

    Attributes:
        exemplars: by end, how many are in both sets, and the sizes of the two.
        unchanged: stages on the way to the labels whose outputs are the same.
    """

    neuron: str
    first: str
    second: str
    labels: list[LabelChange]
    exemplars: dict[str, tuple[int, int, int]]
    causes: list[Cause]
    unchanged: list[str]


def changes(project: Project, first: str, second: str, neuron: str) -> Changes:
    """Compare a neuron at two commits or experiments (or in the workspace).

    Raises:
        InputError: no such revision or neuron, no dvc.lock there, or a result cannot be had.
    """
    with ExitStack() as stack:
        one, two = (_Version(project, name, stack) for name in (first, second))
        before, after = one.neuron(neuron), two.neuron(neuron)
        causes = list(_causes(project, one, two))
        same = [name for name in STAGES if not _differ(one.locked, two.locked, name)]
        exemplars = {}
        for end in dict.fromkeys([*before.exemplars, *after.exemplars]):
            old, new = (set(version.exemplars.get(end, ())) for version in (before, after))
            exemplars[end] = len(old & new), len(old), len(new)
        return Changes(
            neuron,
            one.name,
            two.name,
            list(label_changes(before, after)),
            exemplars,
            causes,
            same,
        )


@dataclass(frozen=True)
class State:
    """A neuron in one version, or of one model: its labels, exemplars and their answers.

    Attributes:
        exemplars: ids of sentences, by end.
        answers: what the annotator said, by sentence and descriptor.
    """

    labels: dict[str, dict[str, dict[str, Numbers]]]
    exemplars: dict[str, list[str]]
    answers: dict[tuple[str, str], int]


class _Version:
    """The project at a commit."""

    def __init__(self, project: Project, revision: str, stack: ExitStack) -> None:
        self.root, self.here = project.root, revision == WORKSPACE
        self.name = revision if self.here else commit_of(project.root, revision)
        self.locked = (
            project.locked
            if self.here
            else parse_lock(
                text_at(self.root, self.name, "dvc.lock") or "", f"{self.name}:dvc.lock"
            )
        )
        if "label" not in self.locked:
            raise InputError(f"{revision}: no dvc.lock with stage label: commit it with each run")
        self._project, self._stack = project, stack

    def result(self, stage: str) -> Path:
        """A stage's result, out of DVC's cache or remote."""
        if self.here:
            return self._project.result(stage)
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="descry-")))
        return _fetch(self.root, self.name, STAGES[stage], folder)

    def neuron(self, name: str) -> State:
        return read_state(name, self.result)


def read_state(name: str, result: Callable[[str], Path]) -> State:
    """Read a neuron out of results.

    Args:
        result: where the result of a stage on the way to the labels is.

    Raises:
        InputError: there is no such neuron, or a result cannot be had.
    """
    exemplars = result("exemplars")
    neurons = read_neurons(exemplars)
    row, index = neurons.find(name)
    labels = neuron_labels(result("label"), neurons.layers[row], index)
    sets = read_neuron_exemplars(exemplars, row, index, list(labels)).sets
    ids = np.array(read_table(result("corpus"), "corpus", ["id"])["id"].to_pylist())
    b = read_annotations(result("annotate"))
    rows = np.unique(np.concatenate([found for found, _ in sets.values()]))
    answers = {
        (str(ids[row]), descriptor): int(b.answer[row, column])
        for row in rows
        for column, descriptor in enumerate(b.descriptors)
    }
    return State(labels, {end: ids[r].tolist() for end, (r, _) in sets.items()}, answers)


def _fetch(root: Path, commit: str, name: str, folder: Path) -> Path:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    path = folder / name
    try:
        DVCFileSystem(str(root), rev=commit).get_file(f"results/{name}", str(path))
    except (DvcException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"results/{name} of {commit[:10]} cannot be had ({reason}): `dvc fetch` brings it from"
            " a remote"
        ) from error
    return path


def label_changes(before: State, after: State) -> Iterator[LabelChange]:
    """The descriptors that are a label in one of two versions of a neuron."""
    for end in dict.fromkeys([*before.labels, *after.labels]):
        old, new = before.labels.get(end, {}), after.labels.get(end, {})
        for name in dict.fromkeys([*old, *new]):
            was, now = (table.get(name, {}).get("all") for table in (old, new))
            had, has = bool(was and was.assigned), bool(now and now.assigned)
            if had or has:
                change = "stays" if had and has else "gained" if has else "lost"
                both = set(before.exemplars.get(end, ())) & set(after.exemplars.get(end, ()))
                said = [(v.answers.get((i, name)) for v in (before, after)) for i in sorted(both)]
                same = sum(one == other for one, other in said)
                yield LabelChange(name, end, change, was, now, same)


def _differ(one: Mapping[str, Locked], two: Mapping[str, Locked], name: str) -> bool:
    """Whether a stage's outputs differ."""
    old, new = (version[name].outs if name in version else {} for version in (one, two))
    return old != new


def _causes(project: Project, one: _Version, two: _Version) -> Iterator[Cause]:
    made = {out for version in (one, two) for s in version.locked.values() for out in s.outs}
    for stage in (stage for stage in in_order(two.locked) if stage.name in STAGES):
        effective = _differ(one.locked, two.locked, stage.name)
        before = one.locked.get(stage.name)
        if before is None:
            yield Cause(stage.name, "stage", "is new", effective, [])
            continue
        own = [*_params(before, stage), *_files(before, stage, made)]
        for kind, what, path in own:
            commits = _commits(project.root, one, two, path) if path and not two.here else []
            yield Cause(stage.name, kind, what, effective, commits)
        same_inputs = all(before.deps.get(p) == stage.deps.get(p) for p in made & {*stage.deps})
        if effective and same_inputs and not own:
            yield Cause(stage.name, "answers or packages", _versions(one, two, stage), True, [])


def _commits(root: Path, one: _Version, two: _Version, path: str) -> list[str]:
    """The commits that changed a file, a line each; or one line that says why git cannot tell."""
    try:
        return log(root, one.name, two.name, path)
    except GitError as error:
        return [f"not known ({error})"]


def _params(before: Locked, after: Locked) -> Iterator[tuple[str, str, None]]:
    """Parameters that differ."""
    old, new = (flat(without_places(stage.params)) for stage in (before, after))
    for key in unlike(old, new):
        kind = "model" if key.endswith((".model", ".revision", ".dtype")) else "parameter"
        was, now = (canonical(side[key]) if key in side else "not set" for side in (old, new))
        yield kind, f"{key} {was} -> {now}", None


def _files(before: Locked, after: Locked, made: set[str]) -> Iterator[tuple[str, str, str]]:
    """Source files, data and hand edits that differ."""
    edits = after.params.get("cluster", {}).get("edits")
    for path in dict.fromkeys([*before.deps, *after.deps]):
        old, new = before.deps.get(path), after.deps.get(path)
        if path in made or old == new:
            continue
        code = path in before.code or path in after.code
        kind = "code" if code else "hand edit" if path == edits else "data"
        how = "is new" if old is None else "is gone" if new is None else "is another"
        yield kind, f"{path} {how}", path


def _versions(one: _Version, two: _Version, stage: Locked) -> str:
    """The packages that differ between the runs of a stage."""
    old, new = (provenance_of(v.result(stage.name), stage.name)["versions"] for v in (one, two))
    pairs = ((name, old.get(name), version) for name, version in new.items())
    differ = ", ".join(f"{name} {was} -> {now}" for name, was, now in pairs if was != now)
    return differ or "same packages: other answers of the annotator, or another machine"
