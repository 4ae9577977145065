"""What a crate is made from: dvc.lock, params, git, and what the results say about themselves."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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
from descry.provenance.diff.images import png_made
from descry.provenance.rocrate.redact import Private, private_of

BUILD = "run `snakemake --cores all && dvc repro`"
WORKFLOW = "Snakefile"


@dataclass(frozen=True)
class CrateSources:
    """A run in a project's folder, without what is private of this machine.

    Attributes:
        stages: as dvc.lock records them, each behind those that make its inputs; an input from
            outside of the project has the path that it would have in a crate.
        places: where each of their inputs and outputs is on this machine.
        inputs: the files and folders that no stage makes, with the parameter that names each; it
            may be another stage's, which reads the same.
        about: what each stage does, in words.
        lock: dvc.lock, and `params` params.yaml, as a crate may have them.
        head: the project's commit.
        date: of the commit if git can tell, or of dvc.lock (ISO 8601).
    """

    root: Path
    private: Private
    stages: list[Locked]
    places: Mapping[str, Path]
    inputs: Mapping[str, str]
    about: Mapping[str, str]
    lock: str
    params: str
    head: Head
    date: str

    def values(self, stage: Locked) -> dict[str, JSON]:
        """The params of a stage by dotted key, without those that name its inputs."""
        named = {self.inputs.get(path) for path in stage.deps}
        return {key: value for key, value in flat(dict(stage.params)).items() if key not in named}

    def made(self, stage: Locked) -> JSON:
        """What made a stage's results, as the first that says so has it; {} if none does."""
        for path in (self.root / out for out in stage.outs):
            if path.suffix == ".png":
                return self.private.clean(png_made(path))
            if path.suffix in (".parquet", ".h5", ".json"):
                return self.private.clean(provenance_of(path, stage.name))
        return {}

    def annotators(self, stage: Locked) -> list[dict[str, str]]:
        """Who answered a stage's prompts, once each, as its results record it."""
        found: list[dict[str, str]] = []
        for path in (self.root / out for out in stage.outs):
            if path.suffix == ".h5":
                with reading_hdf5(path, stage.name) as file:
                    if "annotator" in file.attrs:
                        found.append(json.loads(file.attrs["annotator"]))
            elif path.suffix in (".parquet", ".json"):
                named = provenance_of(path, stage.name).get("annotators", [])
                found += named.values() if isinstance(named, dict) else named
        return [self.private.clean(who) for i, who in enumerate(found) if who not in found[:i]]


def is_code(path: str) -> bool:
    """Whether an input of a stage is code, not data."""
    return path == WORKFLOW or path.startswith("src/")


def read_sources(root: Path) -> CrateSources:
    """The run in a project's folder.

    Raises:
        InputError: dvc.lock does not record a whole run of the present params, or a file is missing
            or damaged.
    """
    params = read_yaml(root / "params.yaml") or {}
    described = (read_yaml(root / "dvc.yaml") or {}).get("stages", {})
    locked = _locked(root, described, params)
    paths = {path for stage in locked.values() for path in (*stage.deps, *stage.outs)}
    for path in (WORKFLOW, *sorted(paths)):
        if not (root / path).exists():
            raise InputError(f"{root / path}: not here: run `dvc pull`, or {BUILD}")
    private, whole, commit = private_of(root, params, paths), read_yaml(root / LOCK), head(root)
    whole["stages"] = {name: stage for name, stage in whole["stages"].items() if name in locked}
    lock = _yaml(private.clean(whole))
    stages = in_order(parse_lock(lock, str(LOCK)))
    if commit.sha is not None and commit.unknown is None:
        date = made_at(root, commit.sha)
    else:
        date = datetime.fromtimestamp((root / LOCK).stat().st_mtime, UTC).date().isoformat()
    return CrateSources(
        root=root,
        private=private,
        stages=stages,
        places={private.clean(path): root / path for path in sorted(paths)},
        inputs=_inputs(stages),
        about={name: stage.get("desc", "") for name, stage in described.items()},
        lock=lock,
        params=_yaml(private.clean(params)),
        head=commit,
        date=date,
    )


def _locked(root: Path, described: Mapping[str, JSON], params: JSON) -> dict[str, Locked]:
    """The stages of dvc.yaml as dvc.lock has them, run with the present params."""
    if not (root / LOCK).is_file():
        raise InputError(f"{root / LOCK}: no such file: {BUILD}")
    locked = read_lock(root / LOCK)
    for name in described:
        if name not in locked:
            raise InputError(f"{root / LOCK}: no stage {name}: {BUILD}")
        for section in locked[name].unlike(params):
            changed = f"{section} has changed since stage {name}"
            raise InputError(f"{root / 'params.yaml'}: {changed}: {BUILD}")
    return {name: locked[name] for name in described}


def _inputs(stages: list[Locked]) -> dict[str, str]:
    params = {key: value for stage in stages for key, value in flat(dict(stage.params)).items()}
    # A folder may be written with a / behind it.
    keys = {Path(value).as_posix(): key for key, value in params.items() if isinstance(value, str)}
    made = {out for stage in stages for out in stage.outs}
    read = (path for stage in stages for path in stage.deps)
    return {path: keys.get(path, path) for path in read if path not in made and not is_code(path)}


def _yaml(value: JSON) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))
