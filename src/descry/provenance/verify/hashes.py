"""Hashes: every file of dvc.lock, every input that a result recorded; each file is read once."""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from descry.io.dvc_files import cache_of, hashes_of, listing, md5
from descry.io.dvc_lock import Locked
from descry.io.hashing import JSON, digests
from descry.io.nested import flat, unlike
from descry.io.provenance import without_places
from descry.io.read_provenance import provenance_of
from descry.io.sanitize import printable
from descry.io.yaml_files import read_yaml
from descry.provenance.audit.project import Project
from descry.provenance.verify.check import Check, Link

PROVEN = (".parquet", ".h5", ".json")  # results that say what made them


class Hashes:
    """The hashes of a project's files as they are now."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._digests = cache(digests)  # each file is read once

    def checks(self, stage: Locked) -> list[Check]:
        """Compare the params, inputs, code and outputs of a stage with dvc.lock and each other."""
        return [
            partial(self._params, stage),
            partial(self._files, stage.name, stage.deps, "inputs and source files"),
            partial(self._files, stage.name, stage.outs, "outputs"),
            *(
                partial(self.recorded, stage.name, out, stage.params)
                for out in stage.outs
                if Path(out).suffix in PROVEN
            ),
        ]

    def recorded(self, stage: str, out: str, params: JSON) -> Link:
        """Compare what a result records of its inputs with the files.

        Args:
            params: sections by name that dvc.lock records; empty where there is none.
        """
        made = provenance_of(self.project.place(out), stage)
        checked = f"{out}: the params and the {len(made['inputs'])} inputs that it records"
        return Link(stage, checked, self._unlike(stage, out, made, params))

    def _unlike(self, stage: str, out: str, made: JSON, params: JSON) -> str | None:
        for source, sha256 in made["inputs"].items():
            place = self.project.place(source)
            if not place.is_file():
                return f"{out} was made of {source}, which is not here"
            if self._digests(place).sha256 != sha256:
                return f"{out} was made of another {source} (sha256 {sha256})"
        own = made["params"]  # of its stage's section, or of several sections by their names
        then = without_places(params if own.keys() == params.keys() else params.get(stage, own))
        if own != then:
            return f"{out} was made with {_first(own, then)} in dvc.lock"
        return None

    def _params(self, stage: Locked) -> Link:
        now = read_yaml(self.project.root / "params.yaml") or {}
        section, fault = next(stage.unlike(now), None), None
        if section is not None:
            first = _first(now.get(section), stage.params[section])
            fault = f"params.yaml: {section}.{first} in dvc.lock"
        return Link(stage.name, f"params.yaml: {', '.join(stage.params)}", fault)

    def _files(self, stage: str, files: Mapping[str, str], what: str) -> Link:
        checked = f"{len(files)} {what} by their hashes in dvc.lock"
        for path, locked in files.items():
            place = self.project.place(path)
            folder = not place.is_file()
            now = md5(place, self.project.root) if folder else self._digests(place).md5
            if now is None:
                return Link(stage, checked, f"{path} is not here")
            if now != locked:
                return Link(stage, checked, self._another(path, locked, now))
        return Link(stage, checked)

    def _another(self, path: str, locked: str, now: str) -> str:
        """How a file or folder is not the one that dvc.lock records."""
        place = self.project.place(path)
        kind = "folder" if place.is_dir() else "file"
        fault = f"{path} is not the {kind} that dvc.lock records (md5 {locked}, now {now})"
        then = listing(cache_of(self.project.root), locked) if place.is_dir() else None
        if then is None:
            return fault
        here = hashes_of(place, self.project.root)
        other = unlike(then, here)
        first = min(other)
        how = "is not here" if first not in here else "is another" if first in then else "is new"
        return f"{fault}: {printable(first)} in it {how}; files that differ: {len(other)}"


def _first(now: JSON, then: JSON) -> str:
    """The first parameter that differs, in words."""
    old, new = flat(then), flat(now)
    key = unlike(old, new)[0]
    return f"{key} is {new.get(key)!r}, {old.get(key)!r}"
