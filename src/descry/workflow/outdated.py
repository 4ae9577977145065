"""Which stages of the study in the current folder are out of date, by the records of its runs.

Snakemake, which decides, is not started: that takes seconds. What it would look at is looked at
here: the record that it wrote of each result (its params and inputs), and the times of files.
dvc.yaml says which stages there are, and dvc.lock speaks for results that DVC brought here. Where
the installed package is the study's code, the lists in code/ say which stages have other code now.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from descry.corpus.files import review_files
from descry.io.dvc_lock import LOCK, Locked, read_lock
from descry.io.hashing import JSON, canonical, md5_file, sha256_file
from descry.io.nested import flat, unlike
from descry.io.yaml_files import read_yaml
from descry.workflow.code import other_code
from descry.workflow.dag import DVC_YAML
from descry.workflow.reconcile import STAMP, record_of
from descry.workflow.settled import settled

Kind = Literal["up to date", "outdated", "not made"]
_HASHED = 2**25  # bytes of a file that is hashed; a larger one is taken to be as DVC has it


@dataclass(frozen=True)
class StageState:
    """A stage; `why` it is outdated, in words."""

    stage: str
    kind: Kind
    why: str | None = None


def stage_states(sections: Mapping[str, JSON]) -> list[StageState]:
    """The state of every stage of dvc.yaml, in its order; none where there is no dvc.yaml.

    Args:
        sections: those of params.yaml, as plain values.

    Raises:
        InputError: dvc.yaml or dvc.lock is damaged.
    """
    if not DVC_YAML.is_file():
        return []
    stages: dict[str, Any] = read_yaml(DVC_YAML)["stages"]
    locked = read_lock(LOCK)
    makers = {out: name for name, stage in stages.items() for out in _outs(stage)}
    upgraded = other_code(Path(), sections)
    found = {
        name: _state(name, stage, sections, locked.get(name), name in upgraded)
        for name, stage in stages.items()
    }

    def settle(name: str) -> StageState:
        """The state of a stage, those before it taken into account."""
        if found[name].kind != "up to date":
            return found[name]
        for dep in stages[name].get("deps", ()):
            if dep in makers and settle(makers[dep]).kind != "up to date":
                found[name] = StageState(name, "outdated", f"follows from stage {makers[dep]}")
                break
        return found[name]

    return [settle(name) for name in stages]


def _outs(stage: JSON) -> list[str]:
    every = [*stage.get("outs", ()), *stage.get("metrics", ())]
    return [path for entry in every for path in ([entry] if isinstance(entry, str) else entry)]


def _state(
    name: str, stage: JSON, sections: Mapping[str, JSON], locked: Locked | None, upgraded: bool
) -> StageState:
    outs = [Path(out) for out in _outs(stage)]
    missing = [out for out in outs if not out.exists()]
    if len(missing) == len(outs):
        return StageState(name, "not made")
    if settled(name):
        return StageState(name, "up to date")
    own = {key: sections[key] for key in stage.get("params", ()) if key in sections}
    gone = (f"{out} is gone" for out in missing)
    record = next(filter(None, map(_record, outs)), None)
    reasons = _changed(record, outs, own, stage, sections) if record else _unlike_lock(locked, own)
    other = [f"descry {version('descry')} has other code for it"] if upgraded else []
    why = next(chain(gone, reasons, other), None)
    return StageState(name, "outdated" if why else "up to date", why)


def _record(out: Path) -> JSON | None:
    """Snakemake's record of an output, if there is one and it is of the file that is here."""
    try:
        found = json.loads(record_of(out).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ended = found.get("endtime") if isinstance(found, dict) else None
    same = isinstance(ended, float) and abs(_time(out) - ended) < 1e-3
    return found if same else None


def _time(out: Path) -> float:
    stamp = out / STAMP
    return (stamp if stamp.exists() else out).stat().st_mtime


def _changed(
    record: JSON, outs: list[Path], own: Mapping[str, JSON], stage: JSON, sections: JSON
) -> Iterator[str]:
    """Why a result does not follow from the present params and inputs, the first reason first."""
    if record.get("incomplete"):
        yield "its last run did not end"
    then = [ast.literal_eval(text) for text in record.get("params", ())]
    texts = [text for text in then if isinstance(text, str)]
    for section, now in own.items():
        if canonical(now) not in texts:
            yield _param(section, now, texts)
    made = min(_time(out) for out in outs if out.exists())
    sums = record.get("input_checksums", {})
    for path in sorted(record.get("input", ())):
        place = Path(path)
        if not place.exists():
            yield f"{path} is gone"
        elif place.is_file() and place.stat().st_mtime > made and not _same(place, sums.get(path)):
            yield f"{path} is newer"
    for path in _added(stage, sections, record):
        yield f"{path} is new"


def _param(section: str, now: JSON, texts: list[str]) -> str:
    """Which parameter of a section is another now, and what it was."""
    new = flat({section: now})
    for text in texts:
        try:
            old = flat({section: json.loads(text)})
        except ValueError:
            continue
        if set(old) & set(new):
            key = unlike(old, new)[0]
            was, here = (canonical(values.get(key)) for values in (old, new))
            return f"params.yaml: {key} is {here}, was {was}"
    return f"params.yaml: section {section} is another"


def _same(file: Path, recorded: str | None) -> bool:
    return recorded is not None and recorded == f"sha256:{sha256_file(file)}"


def _added(stage: JSON, sections: JSON, record: JSON) -> Iterator[str]:
    """The user's files that params.yaml names, and that the last run did not read."""
    known = set(record.get("input", ()))
    for dep in stage.get("deps", ()):
        if dep.startswith("${"):
            section, _, key = dep[2:-1].partition(".")
            place = Path(sections[section][key])
            if not place.exists():
                yield f"{place} is gone"
                return
            files = review_files(place)
            yield from (file.as_posix() for file in files if file.as_posix() not in known)


def _unlike_lock(locked: Locked | None, own: Mapping[str, JSON]) -> Iterator[str]:
    """How a result that DVC brought here is unlike dvc.lock."""
    if locked is None:
        yield "neither Snakemake nor dvc.lock has a record of it"
        return
    for section in locked.unlike(own):
        yield _param(section, own.get(section), [canonical(locked.params[section])])
    for path, md5 in {**locked.deps, **locked.outs}.items():
        place = Path(path)
        if not place.exists():
            yield f"{path} is gone"
        elif place.is_file() and place.stat().st_size <= _HASHED and md5_file(place) != md5:
            yield f"{path} is not the one that dvc.lock records"
