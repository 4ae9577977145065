"""The folder of an export: written whole or not at all, with a manifest, over nobody's files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from descry.errors import InputError
from descry.io.atomic import atomic_folder
from descry.io.hashing import JSON, sha256_file
from descry.io.json_files import write_json

MANIFEST = "manifest.json"


@contextmanager
def export_folder(path: Path, manifest: JSON) -> Iterator[Path]:
    """Yield an empty folder to write to; it takes its place with manifest.json when it is whole.

    Args:
        manifest: what made the files; their hashes are added.

    Raises:
        InputError: there are files that no export of descry's wrote, or that were changed since.
    """
    path = path.absolute()
    _refuse_others(path)
    with atomic_folder(path) as folder:
        yield folder
        write_json(folder / MANIFEST, manifest | {"files": _hashes(folder)})


def _refuse_others(path: Path) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir() or path.is_symlink() or _written(path) != _hashes(path):
        raise InputError(
            f"{path}: exists already, and is no unchanged export of descry: name another, or"
            " remove it"
        )


def _written(path: Path) -> JSON:
    """The hashes that the manifest in a folder has; None where there is none of ours."""
    try:
        found = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        ours = found["made"]["stage"] == "export"
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found.get("files") if ours else None


def _hashes(folder: Path) -> dict[str, str]:
    """The sha256 of each file but the manifest, by its path in the folder."""
    files = sorted(file for file in folder.rglob("*") if not file.is_dir())
    names = {file.relative_to(folder).as_posix(): file for file in files}
    return {name: sha256_file(file) for name, file in names.items() if name != MANIFEST}
