"""Inputs and outputs as DVC versions them: the files that count, their hashes, and DVC's cache.

DVC's code says what .dvcignore leaves out of a folder, and what a folder's listing is. `dvc status`
is not used: it takes a file with the same time and size for unchanged, so that a forged file
passes, and it writes into a project that may be read-only.
"""

import json
from collections.abc import Mapping
from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING

from descry.errors import InputError
from descry.io.hashing import md5_file

if TYPE_CHECKING:
    from dvc.config import Config

Files = Mapping[str, Path]  # by their path in a folder; a file alone is under ""
IGNORE = Path(".dvcignore")
_FOLDER = ".dir"  # ends the md5 of a folder, which is that of its listing


def files_of(place: Path, root: Path) -> dict[str, Path]:
    """Return the files of an input or output that DVC versions, in DVC's order.

    Args:
        place: a file or a folder; there are no files if neither exists.
        root: the project, whose .dvcignore says what in its folders does not count.
    """
    if place.is_file():
        return {"": place}
    from dvc.fs import localfs
    from dvc.ignore import DvcIgnoreFilter

    # DVC's paths have no `..`, which the place of a notebook in a subfolder has.
    folder, top = (normpath(path.absolute()) for path in (place, root))
    found = DvcIgnoreFilter(localfs, top).find(localfs, folder)
    names = sorted(Path(path).relative_to(folder).as_posix() for path in found)
    return {name: place / name for name in names}


def hashes_of(place: Path, root: Path) -> dict[str, str]:
    """Return the md5 of each file of `files_of`."""
    return {name: md5_file(path) for name, path in files_of(place, root).items()}


def md5(place: Path, root: Path) -> str | None:
    """Return the md5 by which dvc.lock knows a file or folder; None if neither exists.

    Args:
        root: the project: what its .dvcignore names in a folder does not count.
    """
    if not place.is_dir():
        return md5_file(place) if place.is_file() else None
    from dvc_data.hashfile.tree import Tree

    hashes = hashes_of(place, root)
    tree = Tree.from_list([{"relpath": name, "md5": of} for name, of in hashes.items()])
    tree.digest()
    return str(tree.oid)


def config(root: Path) -> "Config":
    """Read DVC's settings in a project or clone, from all its files, with absolute paths.

    Raises:
        InputError: DVC refuses it.
    """
    from dvc.config import Config, ConfigError

    try:
        return Config(str(root / ".dvc"))
    except ConfigError as error:
        raise InputError(f"{root}/.dvc/config: {' '.join(str(error).split())}") from error


def cache_of(root: Path) -> Path:
    """The folder of a project's DVC cache."""
    named = config(root)["cache"].get("dir")
    return Path(named) if named else root / ".dvc/cache"


def listing(cache: Path, md5: str) -> dict[str, str] | None:
    """Return each file's md5 by its path in a folder; None if the cache has no such listing."""
    place = _cached(cache, md5)
    if not place.is_file() or md5_file(place) + _FOLDER != md5:
        return None
    return {e["relpath"]: e["md5"] for e in json.loads(place.read_text(encoding="utf-8"))}


def kept(cache: Path, md5: str) -> Files | None:
    """Return the files of an output in DVC's cache; None if one is missing or damaged."""
    listed = listing(cache, md5) if md5.endswith(_FOLDER) else {"": md5}
    if listed is None:
        return None
    places = {name: _cached(cache, of) for name, of in listed.items()}
    whole = all(place.is_file() and md5_file(place) == listed[n] for n, place in places.items())
    return places if whole else None


def _cached(cache: Path, md5: str) -> Path:
    return cache / "files/md5" / md5[:2] / md5[2:]
