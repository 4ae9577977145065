"""What a crate is made from: the files of a run, and what dvc.lock, git and its results say."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml

from descry.errors import InputError
from descry.io.dvc_files import files_of, md5
from descry.io.dvc_lock import CODE as LISTS
from descry.io.dvc_lock import LOCK, Locked, in_order, parse_lock, read_lock
from descry.io.git import Head, head, made_at
from descry.io.hashing import JSON, digests
from descry.io.hdf5 import reading_hdf5
from descry.io.nested import flat
from descry.io.read_provenance import provenance_of
from descry.io.yaml_files import read_yaml
from descry.provenance.diff.files import made as made_in
from descry.provenance.rocrate.redact import Private, private_of

WORKFLOW = "Snakefile"
ANSWERS = "data/answers"
# Results that quote reviews.
TEXTS = ("results/corpus.parquet", "results/tables/table1.csv", "results/report")
ACTIVATIONS = "results/activations.h5"
BESIDE = ("dvc.yaml", "LICENSE", "pyproject.toml", "requirements.lock", f"{ANSWERS}/*.jsonl")
CODE = ("src/**/*.py", "src/**/*.html")
_BUILD = "run `snakemake --cores all && dvc repro`"
_OF_TEXTS = "it holds texts of reviews, which may not be anybody's to pass on"
_TOO_LARGE = "it is large, and made again from the rest"
_NAMES_A_PLACE = "a place on the machine that made it, or a password, stands in it"

Role = Literal["input", "result", "beside"]


@dataclass(frozen=True)
class Content:
    """A file of a run, or a folder.

    Attributes:
        place: on this machine.
        role: an input or a result of a stage, or what stands beside them: code, answers.
        quotes: whether it holds texts of reviews.
        absent: why it is only described; None where it is in the crate. A folder has a reason only
            where it is described as a whole, else its files have theirs.
        sha256, size: of a file; bytes.
        parts: the paths of a folder's files, unless it is described as a whole.
        count: how many files it has.
    """

    place: Path
    role: Role
    quotes: bool
    absent: str | None
    md5: str
    sha256: str = ""
    size: int = 0
    parts: tuple[str, ...] = ()
    count: int = 1

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder: DVC's md5 of its listing is all the hash that it has."""
        return not self.sha256


@dataclass(frozen=True)
class CrateSources:
    """A run in a project's folder, without what is private of this machine.

    Attributes:
        stages: as dvc.lock records them, each behind those that make its inputs; an input from
            outside of the project has the path that it would have in a crate.
        places: where each of their inputs and outputs is on this machine.
        about: what each stage does, in words.
        lock: dvc.lock, and `params` params.yaml, as a crate may have them.
        head: the project's commit.
    """

    root: Path
    private: Private
    stages: list[Locked]
    places: Mapping[str, Path]
    about: Mapping[str, str]
    lock: str
    params: str
    head: Head

    @cached_property
    def inputs(self) -> dict[str, str]:
        """The files and folders that no stage makes, with the parameter that names each.

        The parameter may be another stage's, which reads the same.
        """
        params = {k: v for stage in self.stages for k, v in flat(dict(stage.params)).items()}
        # A folder may be written with a / behind it.
        keys = {Path(v).as_posix(): key for key, v in params.items() if isinstance(v, str)}
        made = {out for stage in self.stages for out in stage.outs}
        read = (dep for stage in self.stages for dep in stage.deps if not is_code(dep))
        return {path: keys.get(path, path) for path in read if path not in made}

    @property
    def date(self) -> str:
        """The date of the commit if git knows it, else of dvc.lock (ISO 8601)."""
        if self.head.sha is not None and self.head.unknown is None:
            return made_at(self.root, self.head.sha)
        return datetime.fromtimestamp((self.root / LOCK).stat().st_mtime, UTC).date().isoformat()

    def values(self, stage: Locked) -> dict[str, JSON]:
        """The params of a stage by dotted key, without those that name an input of any stage."""
        named = {*self.inputs.values()}
        return {key: value for key, value in flat(dict(stage.params)).items() if key not in named}

    def made(self, stage: Locked) -> JSON:
        """What made a stage's results, as the first that says so has it; {} if none does."""
        for path in (self.root / out for out in stage.outs):
            if path.suffix == ".png":
                return self.private.clean(made_in(path, ".png") or {})
            if path.suffix in (".parquet", ".h5", ".json"):
                return self.private.clean(provenance_of(path, stage.name))
        return {}

    def annotators(self, stage: Locked) -> list[dict[str, str]]:
        """Who answered a stage's prompts, once each, as its results record it."""
        found: list[dict[str, str]] = []
        for path in (self.root / out for out in stage.outs):
            if path.suffix == ".h5":
                with reading_hdf5(path, stage.name) as file:
                    asked = [name for name in ("annotator", "proxy") if name in file.attrs]
                    found += [json.loads(file.attrs[name]) for name in asked]
            elif path.suffix in (".parquet", ".json"):
                named = provenance_of(path, stage.name).get("annotators", [])
                found += named.values() if isinstance(named, dict) else named
        return [self.private.clean(who) for i, who in enumerate(found) if who not in found[:i]]

    def contents(self, *, reviews: bool, activations: bool) -> dict[str, Content]:
        """Find and hash the files and folders of the run: by the path that a crate gives them.

        Args:
            reviews: whether files that hold texts of reviews go into the crate.
            activations: whether the activation matrix does.

        Raises:
            InputError: a file is not as dvc.lock records it, or is code in which something private
                stands.
        """
        found, folders = self._code(), {}
        quoting = {*TEXTS, *(dep for s in self.stages if s.name == "corpus" for dep in s.deps)}
        left_out = {} if reviews else dict.fromkeys(quoting, _OF_TEXTS)
        left_out |= {} if activations else {ACTIVATIONS: _TOO_LARGE}
        for path, locked in self._locked().items():
            if path in found:
                continue
            place, quotes, absent = self.places[path], path in quoting, left_out.get(path)
            role: Role = "input" if path in self.inputs else "result"
            files, is_folder = files_of(place, self.root), place.is_dir()
            whole = absent if is_folder and role == "result" else None
            parts = {f"{path}/{name}" if name else path: file for name, file in files.items()}
            parts = {} if whole else parts
            found |= {p: self._content(file, role, quotes, absent) for p, file in parts.items()}
            of = md5(place, self.root) if is_folder else found[path].md5
            if of != locked:
                raise InputError(f"{place}: not as dvc.lock records it: {_BUILD}")
            if is_folder:
                folders[path] = Content(
                    place, role, quotes, whole, of, parts=tuple(parts), count=len(files)
                )
        beside = (file for kind in BESIDE for file in sorted(self.root.glob(kind)))
        for file in filter(Path.is_file, beside):
            found[file.relative_to(self.root).as_posix()] = self._content(file, "beside")
        return found | folders

    def _code(self) -> dict[str, Content]:
        """The workflow and its source; what made results is checked to be the same still."""
        locked, code = self._locked(), {}
        found = {file for kind in CODE for file in self.root.glob(kind) if file.is_file()}
        source = {file.relative_to(self.root).as_posix() for file in found}
        for path in sorted({WORKFLOW, *source, *filter(is_code, locked)}):
            code[path] = content = self._content(self.root / path, "beside")
            if content.md5 != locked.get(path, content.md5):
                raise InputError(f"{content.place}: not as dvc.lock records it: {_BUILD}")
            if content.absent:
                raise InputError(f"{content.place}: {content.absent}: take it out")
        return code

    def _locked(self) -> dict[str, str]:
        """The md5 of every input and output, code among them, as dvc.lock has it."""
        return {path: of for s in self.stages for path, of in {**s.deps, **s.outs}.items()}

    def _content(
        self, place: Path, role: Role, quotes: bool = False, absent: str | None = None
    ) -> Content:
        if absent is None and self.private.is_in(place):
            absent = _NAMES_A_PLACE
        return Content(place, role, quotes, absent, *digests(place), place.stat().st_size)


def is_code(path: str) -> bool:
    """Whether an input of a stage is code, not data."""
    return path == WORKFLOW or path.startswith(("src/", LISTS))


def read_sources(root: Path) -> CrateSources:
    """Read what is recorded of the run in a project's folder.

    Raises:
        InputError: dvc.lock does not record a whole run of the present params, or a file is missing
            or damaged.
    """
    params = read_yaml(root / "params.yaml") or {}
    described = (read_yaml(root / "dvc.yaml") or {}).get("stages", {})
    if not (root / LOCK).is_file():
        raise InputError(f"{root / LOCK}: no such file: {_BUILD}")
    locked, whole = read_lock(root / LOCK), read_yaml(root / LOCK)
    for name in described:
        if name not in locked:
            raise InputError(f"{root / LOCK}: no stage {name}: {_BUILD}")
        for section in locked[name].unlike(params):
            changed = f"{section} has changed since stage {name}"
            raise InputError(f"{root / 'params.yaml'}: {changed}: {_BUILD}")
    paths = sorted({p for name in described for p in (*locked[name].deps, *locked[name].outs)})
    for path in (WORKFLOW, *paths):
        if not (root / path).exists():
            raise InputError(f"{root / path}: not here: run `dvc pull`, or {_BUILD}")
    private = private_of(root, params, paths)
    whole["stages"] = {name: stage for name, stage in whole["stages"].items() if name in described}
    lock = _yaml(private.clean(whole))
    return CrateSources(
        root=root,
        private=private,
        stages=in_order(parse_lock(lock, str(LOCK))),
        places={private.clean(path): root / path for path in paths},
        about={name: stage.get("desc", "") for name, stage in described.items()},
        lock=lock,
        params=_yaml(private.clean(params)),
        head=head(root),
    )


def _yaml(value: JSON) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))
