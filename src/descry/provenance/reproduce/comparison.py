"""Results that were made again, compared with those that dvc.lock records, cause by cause."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from descry.errors import InputError
from descry.io.dvc_files import Files, files_of, kept, md5
from descry.io.dvc_lock import LOCK, Locked, in_order, upstream
from descry.io.sanitize import printable
from descry.io.yaml_files import read_yaml
from descry.provenance.diff.files import differences, made_differently

_PARAMS = "params.yaml"
_LAST = 15  # lines of a stage's log
_FEW = 12  # parts of an output that are told one by one


@dataclass(frozen=True)
class Differing:
    """An output that did not come out as recorded.

    Attributes:
        follows: the first stage before its own of which an output differs, too; None where it is
            here that things go apart.
        why: the parts that differ from the original, a line each, or why that cannot be told.
    """

    path: str
    stage: str
    follows: str | None
    why: list[str]


@dataclass(frozen=True)
class Failed:
    """What could not be run: a stage, or None for all of them; and the last lines it printed."""

    stage: str | None
    said: list[str]


@dataclass(frozen=True)
class Originals:
    """Where recorded outputs may be.

    Attributes:
        root: the project.
        committed: a folder with the outputs that git has, and its .dvcignore.
        cache: that of DVC.
    """

    root: Path
    committed: Path
    cache: Path

    def find(self, path: str, recorded: str) -> Files | None:
        """The files of an output by its md5; None if it is nowhere."""
        return (
            _recorded(self.committed, path, recorded)
            or kept(self.cache, recorded)
            or _recorded(self.root, path, recorded)
        )

    def other(self, path: str, recorded: str) -> Files | None:
        """The files of an output that git has otherwise than dvc.lock records it."""
        place = self.committed / path
        differs = md5(place, self.committed) not in (None, recorded)
        return files_of(place, self.committed) if differs else None


def _recorded(root: Path, path: str, recorded: str) -> Files | None:
    """The files of an output that lies in a folder, if it is the recorded one."""
    place = root / path
    return files_of(place, root) if md5(place, root) == recorded else None


def outputs(stages: Mapping[str, Locked]) -> list[str]:
    """All outputs in the order of the DAG."""
    return [path for stage in in_order(stages) for path in stage.outs]


def other_inputs(clone: Path, stages: Mapping[str, Locked]) -> dict[str, list[str]]:
    """Code, data and params that a commit has otherwise than dvc.lock: {what: stages}."""
    made, params = set(outputs(stages)), read_yaml(clone / _PARAMS)
    others: dict[str, list[str]] = {}
    for stage in in_order(stages):
        for path, recorded in stage.deps.items():
            if path not in made and md5(clone / path, clone) != recorded:
                others.setdefault(path, []).append(stage.name)
        for section in stage.unlike(params):
            others.setdefault(f"{_PARAMS}: {section}", []).append(stage.name)
    return others


def differing(
    clone: Path,
    stages: Mapping[str, Locked],
    others: Mapping[str, list[str]],
    originals: Originals,
) -> Iterator[Differing]:
    """The outputs in a clone that are not as recorded, in the order of the DAG.

    Args:
        others: of `other_inputs`; the stages that have one follow nobody.
    """
    causes = {name for names in others.values() for name in names}
    apart: dict[str, None] = {}
    for stage in in_order(stages):
        before = set() if stage.name in causes else set(upstream(stages, stage.name)[:-1])
        follows = next((name for name in apart if name in before), None)
        for path, recorded in stage.outs.items():
            if why := _differs(clone, path, recorded, originals, is_cause=follows is None):
                yield Differing(path, stage.name, follows, why)
                apart[stage.name] = None


def _differs(
    clone: Path, path: str, recorded: str, originals: Originals, *, is_cause: bool
) -> list[str]:
    """What of an output differs from the recorded one; nothing if it does not, or was not made.

    Args:
        is_cause: also tell by which parameters, inputs and versions a file was made differently.
    """
    now, made = md5(clone / path, clone), files_of(clone / path, clone)
    if now is None:
        return []
    as_recorded, lines = now == recorded, list[str]()
    original = originals.other(path, recorded) if as_recorded else originals.find(path, recorded)
    if original is None:
        return [] if as_recorded else ["the original is not here: `dvc pull`"]
    if as_recorded:
        lines.append(f"as {LOCK} records it, but not as committed")
    try:
        rows = differences(original, made)
        if (is_cause or not rows) and original.keys() == made.keys() == {""}:
            rows += made_differently(original[""], made[""])
    except InputError as error:
        return [*lines, str(error)]
    lines += map(str, rows[:_FEW]) if rows else ["the same content in other bytes"]
    return lines if len(rows) <= _FEW else [*lines, f"and {len(rows) - _FEW} more parts"]


def failed(clone: Path, stages: Mapping[str, Locked], said: list[str]) -> Failed:
    """The first stage that left a log but not its outputs; else what Snakemake said."""
    for stage in in_order(stages):
        log = clone / "logs" / f"{stage.name}.log"
        if log.is_file() and not all((clone / path).exists() for path in stage.outs):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            return Failed(stage.name, [printable(line) for line in lines[-_LAST:]] or said)
    return Failed(None, said)
