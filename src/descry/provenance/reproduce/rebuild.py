"""Rebuilds the results of a commit in a clone of its own, and compares them.

The clone gets what git has, the inputs that DVC has, and the recorded answers; then its own code
makes every result again, which is compared with dvc.lock. Nothing in the project is written:
neither its files nor its prompt cache, nor DVC's cache.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from descry.errors import InputError
from descry.io.dvc_files import IGNORE, cache_of
from descry.io.dvc_lock import LOCK, Locked, parse_lock, read_lock
from descry.io.git import commit_of, head, text_at
from descry.io.sanitize import printable
from descry.provenance.reproduce.clone import (
    Progress,
    bring_answers,
    bring_inputs,
    check_out,
    forget_answers,
    list_code,
    rebuild,
)
from descry.provenance.reproduce.comparison import (
    Differing,
    Failed,
    Originals,
    differing,
    failed,
    other_inputs,
    outputs,
)

_SHORT = 12  # digits of a commit


@dataclass(frozen=True)
class Reproduced:
    """The result of rebuilding a commit.

    Attributes:
        commit: its hash.
        identical: number of outputs with the recorded bytes.
        differing: those with others, in the order of the DAG: the first is where they go apart.
        unmade: outputs that were not made, in the same order.
        notes: what else there is to know, as lines.
        folder: where the clone is kept; None if it is gone.
    """

    commit: str
    identical: int
    differing: list[Differing]
    unmade: list[str]
    failed: Failed | None
    notes: list[str]
    folder: Path | None

    @property
    def is_whole(self) -> bool:
        """Whether every output was made again, byte for byte."""
        return not (self.differing or self.unmade or self.failed)

    def lines(self) -> Iterator[str]:
        """All of it in words, the cause before what follows from it."""
        total = self.identical + len(self.differing) + len(self.unmade)
        yield f"{self.commit[:_SHORT]}: {self.identical} of {total} outputs are identical"
        yield from self.notes
        if self.failed:
            yield f"{self.failed.stage or 'snakemake'} failed:"
            yield from (f"  {line}" for line in self.failed.said)
        for one in self.differing:
            after = f", which follows {one.follows}" if one.follows else ""
            yield printable(f"{one.path} (of {one.stage}{after}):")
            yield from (printable(f"  {line}") for line in one.why)
        if self.unmade:
            yield printable(f"{len(self.unmade)} were not made, the first of them {self.unmade[0]}")
        if self.folder:
            yield f"the clone is in {self.folder}"


def reproduce(
    root: Path,
    revision: str,
    *,
    scratch: Path | None,
    keep: bool,
    anew: bool,
    progress: Progress,
) -> Reproduced:
    """Rebuild the results of a commit, and compare them with those that its dvc.lock records.

    Args:
        root: the project.
        revision: a commit, or the name of a DVC experiment.
        scratch: where to make the folder for the clone; None for the system's place. It is removed
            where all comes out identical, unless it is to be kept.
        again: the annotators that run on this machine are asked again; else nobody is.
        progress: is told of every step, in a line.

    Raises:
        InputError: no such commit; no record of its results; an input or the answers cannot be had.
    """
    root = root.resolve()
    commit = commit_of(root, revision)
    stages, notes = _recorded(root, commit)
    folder = _new_folder(root, scratch)
    try:
        found = _rebuilt(root, commit, stages, notes, folder, anew, progress)
    except BaseException:
        shutil.rmtree(folder)
        raise
    if keep or not found.is_whole:
        return found
    shutil.rmtree(folder)
    return replace(found, folder=None)


def _recorded(root: Path, commit: str) -> tuple[dict[str, Locked], list[str]]:
    """The stages that a commit's dvc.lock records, and what is to be said of that."""
    here, notes = head(root), list[str]()
    is_head = here.sha == commit
    if is_head and here.changed != []:
        what = f"whether there are any is not known (git: {here.unknown})"
        if here.changed:
            what = printable(", ".join(here.changed))
        notes.append(f"uncommitted changes are not part of what is reproduced: {what}")
    text = text_at(root, commit, LOCK.as_posix())
    if text is not None:
        stages = parse_lock(text, f"{LOCK} of {commit[:_SHORT]}")
    elif is_head and (root / LOCK).is_file():
        stages = read_lock(root / LOCK)
        notes.append(f"{LOCK} is not in the commit: that of the working tree is taken")
    else:
        raise InputError(f"{commit[:_SHORT]}: has no {LOCK}, which records its results: commit it")
    if not stages:
        raise InputError(f"{LOCK} of {commit[:_SHORT]}: records no stage: run `dvc repro`")
    return stages, notes


def _new_folder(root: Path, scratch: Path | None) -> Path:
    place = (scratch or Path(tempfile.gettempdir())).resolve()
    if place.is_relative_to(root):
        raise InputError(f"{place}: inside the project, which must not change: choose another")
    try:
        return Path(tempfile.mkdtemp(prefix="descry-reproduce-", dir=place))
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror})") from error


def _rebuilt(
    root: Path,
    commit: str,
    stages: dict[str, Locked],
    notes: list[str],
    folder: Path,
    anew: bool,
    progress: Progress,
) -> Reproduced:
    """Make all results in a folder, and compare."""
    clone, committed = folder / "clone", folder / "committed"
    progress(f"{commit[:_SHORT]} into {clone}")
    check_out(root, commit, clone)
    _set_aside(clone, stages, committed)
    bring_inputs(root, clone, progress)
    list_code(clone, progress)
    others = other_inputs(clone, stages)
    for other, names in others.items():
        notes.append(printable(f"{LOCK} records another {other}: {', '.join(names)}"))
    for note in notes:
        progress(note)
    bring_answers(root, clone, progress)
    if anew:
        forget_answers(clone, progress)
    said = rebuild(clone, list(stages), progress, replay=not anew)
    originals = Originals(root, committed, cache_of(root))
    unmade = [path for path in outputs(stages) if not (clone / path).exists()]
    apart = list(differing(clone, stages, others, originals))
    identical = len(outputs(stages)) - len(unmade) - len(apart)
    why = None if said is None else failed(clone, stages, said)
    return Reproduced(commit, identical, apart, unmade, why, notes, folder)


def _set_aside(clone: Path, stages: dict[str, Locked], folder: Path) -> None:
    """Move the outputs that git has out of the clone: all are to be made."""
    folder.mkdir()
    if (clone / IGNORE).is_file():
        shutil.copy(clone / IGNORE, folder)
    for path in outputs(stages):
        if (clone / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).rename(folder / path)
