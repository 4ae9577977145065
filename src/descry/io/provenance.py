"""The provenance that each result carries: stage, params, hashes of inputs, versions."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from descry.io.hashing import JSON, sha256_file

PROVENANCE = "descry"  # the attribute or metadata key that says what made a file


def provenance(stage: str, params: JSON, inputs: list[Path], packages: list[str]) -> JSON:
    """Return what made a file: stage, params section, input hashes and package versions.

    No commit: the bytes of a result would change with each; dvc.lock has the hash of every source
    file that made it, which says more.
    """
    return {
        "stage": stage,
        "params": without_places(params),
        "inputs": {recorded(path): sha256_file(path) for path in inputs},
        "versions": versions(packages),
    }


def recorded(path: Path) -> str:
    """Return a path as records have it: relative to the project, or else only its last part."""
    if path.is_absolute():
        here = Path.cwd()
        return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
    return path.as_posix()


def without_places(value: JSON) -> JSON:
    """Replace absolute paths in a value by `recorded` ones: they are never written."""
    if isinstance(value, dict):
        return {key: without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_places(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return recorded(Path(value))
    return value


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of descry and of some packages."""
    return {name: version(name) for name in ["descry", *packages]}
