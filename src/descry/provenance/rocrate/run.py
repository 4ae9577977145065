"""A run that is to be packed: what dvc.lock, git and the results themselves say about it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import yaml

from descry.errors import InputError
from descry.io.dvc_lock import LOCK, Locked, in_order, parse_lock, read_lock
from descry.io.git import Head, head, made_at
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5
from descry.io.nested import flat
from descry.io.read_provenance import provenance_of
from descry.io.yaml_files import read_yaml
from descry.provenance.diff.files import made
from descry.provenance.rocrate.redact import Private, private_of

BUILD = "run `snakemake --cores all && dvc repro`"
WORKFLOW = "Snakefile"
_TELLING = (".parquet", ".h5", ".json", ".png")  # results that say what made them


@dataclass(frozen=True)
class Run:
    """A run in a project's folder, without what is private of this machine.

    Attributes:
        stages: as dvc.lock records them, each behind those that make its inputs; an input from
            outside of the project has the path that it would have in a crate.
        places: where each of their inputs and outputs is on this machine.
        about: what each stage does, in words.
        lock: dvc.lock, and `params` params.yaml, as a crate may have them.
        head: the project's commit.
        date: of the commit if git can tell, or of dvc.lock (ISO 8601).
    """

    root: Path
    private: Private
    stages: list[Locked]
    places: Mapping[str, Path]
    about: Mapping[str, str]
    lock: str
    params: str
    head: Head
    date: str

    @cached_property
    def made(self) -> dict[str, JSON]:
        """What the results of each stage say made them; nothing for those that do not say."""
        return {s.name: self.private.clean(_made(self.root, s)) for s in self.stages}

    @cached_property
    def annotators(self) -> dict[str, list[dict[str, str]]]:
        """Who answered each stage's prompts."""
        return {s.name: self.private.clean(_annotators(self.root, s)) for s in self.stages}

    def inputs(self, stage: Locked) -> dict[str, str]:
        """The files and folders that a stage reads and no stage makes, with their parameters.

        The parameter may be another stage's, which reads the same.
        """
        made = {out for other in self.stages for out in other.outs}
        params = {k: v for other in self.stages for k, v in flat(dict(other.params)).items()}
        # A folder may be written with a / behind it.
        keys = {Path(v).as_posix(): key for key, v in params.items() if isinstance(v, str)}
        paths = [dep for dep in stage.deps if dep not in made and not is_code(dep)]
        return {path: keys.get(path, path) for path in paths}

    def values(self, stage: Locked) -> dict[str, JSON]:
        """The params of a stage by dotted key, without those that name its inputs."""
        named = self.inputs(stage).values()
        params = flat(dict(stage.params))
        return {key: value for key, value in params.items() if key not in named}


def is_code(path: str) -> bool:
    """Whether an input of a stage is code, not data."""
    return path == WORKFLOW or path.startswith("src/")


def read_run(root: Path) -> Run:
    """The run in a project's folder.

    Raises:
        InputError: dvc.lock does not record a whole run of the present params, or a file is missing
            or damaged.
    """
    params = read_yaml(root / "params.yaml") or {}
    locked = _lock_of_all_stages(root, params)
    paths = {path for stage in locked.values() for path in (*stage.deps, *stage.outs)}
    private = private_of(root, params, paths)
    whole = read_yaml(root / LOCK)
    whole["stages"] = {name: stage for name, stage in whole["stages"].items() if name in locked}
    lock = _yaml(private.clean(whole))
    checked_out = head(root)
    return Run(
        root=root,
        private=private,
        stages=in_order(parse_lock(lock, str(LOCK))),
        places={private.clean(path): root / path for path in sorted(paths)},
        about=_descriptions(root),
        lock=lock,
        params=_yaml(private.clean(params)),
        head=checked_out,
        date=_date(root, checked_out),
    )


def _lock_of_all_stages(root: Path, params: JSON) -> dict[str, Locked]:
    """The stages of dvc.yaml as dvc.lock has them, run with the present params."""
    if not (root / LOCK).is_file():
        raise InputError(f"{root / LOCK}: no such file: {BUILD}")
    locked, stages = read_lock(root / LOCK), {}
    for name in _described(root):
        if name not in locked:
            raise InputError(f"{root / LOCK}: no stage {name}: {BUILD}")
        for section in locked[name].unlike(params):
            raise InputError(
                f"{root / 'params.yaml'}: {section} has changed since stage {name}: {BUILD}"
            )
        stages[name] = locked[name]
    _check_presence(root, stages)
    return stages


def _check_presence(root: Path, stages: Mapping[str, Locked]) -> None:
    paths = (path for stage in stages.values() for path in (*stage.deps, *stage.outs))
    for path in (WORKFLOW, *paths):
        if not (root / path).exists():
            raise InputError(f"{root / path}: not here: run `dvc pull`, or {BUILD}")


def _described(root: Path) -> dict[str, JSON]:
    return dict((read_yaml(root / "dvc.yaml") or {}).get("stages", {}))


def _descriptions(root: Path) -> dict[str, str]:
    return {name: stage.get("desc", "") for name, stage in _described(root).items()}


def _yaml(value: JSON) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))


def _made(root: Path, stage: Locked) -> JSON:
    """What made a stage's results, as the first that says so has it."""
    telling = (root / out for out in stage.outs if out.endswith(_TELLING))
    path = next(telling, None)
    if path is None:
        return {}
    return (made(path, ".png") or {}) if path.suffix == ".png" else provenance_of(path, stage.name)


def _annotators(root: Path, stage: Locked) -> list[dict[str, str]]:
    """Who answered a stage's prompts, once each, as the results record it."""
    found: list[dict[str, str]] = []
    for path in (root / out for out in stage.outs):
        if path.suffix == ".h5":
            with reading_hdf5(path, stage.name) as file:
                found += [json.loads(file.attrs["annotator"])] if "annotator" in file.attrs else []
        elif path.suffix in (".parquet", ".json"):
            named = provenance_of(path, stage.name).get("annotators", [])
            found += named.values() if isinstance(named, dict) else named
    return [who for row, who in enumerate(found) if who not in found[:row]]


def _date(root: Path, head: Head) -> str:
    if head.sha is not None and head.unknown is None:
        return made_at(root, head.sha)
    return datetime.fromtimestamp((root / LOCK).stat().st_mtime, UTC).date().isoformat()
