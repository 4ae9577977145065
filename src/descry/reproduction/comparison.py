"""Results that were made again, held against those that dvc.lock records, cause by cause."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from descry.differences import content_difference, provenance_difference
from descry.errors import InputError
from descry.hostile import printable
from descry.lock import LOCK, Locked, in_order, md5, upstream
from descry.storage import read_yaml

_PARAMS = "params.yaml"
_LAST = 15  # lines of a stage's log


@dataclass(frozen=True)
class Differing:
    """An output that did not come out as recorded.

    Attributes:
        follows: the first stage before its own of which an output differs, too; None where it is
            here that things go apart.
        words: the first difference from the original, or why that cannot be told.
    """

    path: str
    stage: str
    follows: str | None
    words: str


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
        committed: a folder with the outputs that git has.
        cache: that of DVC.
    """

    root: Path
    committed: Path
    cache: Path

    def find(self, path: str, recorded: str) -> Path | None:
        """An output by its md5; None if it is nowhere."""
        cached = self.cache / "files/md5" / recorded[:2] / recorded[2:]
        places = (self.committed / path, cached, self.root / path)
        return next((place for place in places if md5(place) == recorded), None)

    def other(self, path: str, recorded: str) -> Path | None:
        """An output that git has otherwise than dvc.lock records it."""
        place = self.committed / path
        return place if md5(place) not in (None, recorded) else None


def outputs(stages: Mapping[str, Locked]) -> list[str]:
    """All outputs in the order of the DAG."""
    return [path for stage in in_order(stages) for path in stage.outs]


def other_inputs(clone: Path, stages: Mapping[str, Locked]) -> dict[str, list[str]]:
    """Code, data and params that a commit has otherwise than dvc.lock: {what: stages}."""
    made, params = set(outputs(stages)), read_yaml(clone / _PARAMS)
    others: dict[str, list[str]] = {}
    for stage in in_order(stages):
        for path, recorded in stage.deps.items():
            if path not in made and md5(clone / path) != recorded:
                others.setdefault(path, []).append(stage.name)
        for section, value in stage.params.items():
            if params.get(section) != value:
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
            if words := _difference(clone / path, path, recorded, originals, follows):
                yield Differing(path, stage.name, follows, words)
                apart[stage.name] = None


def _difference(
    made: Path, path: str, recorded: str, originals: Originals, follows: str | None
) -> str | None:
    """How an output differs from the recorded one; None if it does not, or was not made."""
    now, other = md5(made), originals.other(path, recorded)
    if now is None:
        return None
    if now != recorded:
        return _words(originals.find(path, recorded), made, follows)
    if other:
        return f"as {LOCK} records it, but not as committed: {_words(other, made, follows)}"
    return None


def _words(original: Path | None, made: Path, follows: str | None) -> str:
    """The first difference; where it is no follower, also by which versions it was made."""
    if original is None:
        return "the original is not here: `dvc pull`"
    try:
        content = content_difference(original, made)
        other = None if content and follows else provenance_difference(original, made)
    except InputError as error:
        return str(error)
    return "; ".join(filter(None, (content, other))) or "the same content in other bytes"


def failed(clone: Path, stages: Mapping[str, Locked], said: list[str]) -> Failed:
    """The first stage that left a log but not its outputs; else what Snakemake said."""
    for stage in in_order(stages):
        log = clone / "logs" / f"{stage.name}.log"
        if log.is_file() and not all((clone / path).is_file() for path in stage.outs):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            return Failed(stage.name, [printable(line) for line in lines[-_LAST:]] or said)
    return Failed(None, said)
