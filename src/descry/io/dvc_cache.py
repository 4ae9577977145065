"""DVC's cache of a project: files by their md5, and folders by a listing of theirs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from descry.errors import InputError
from descry.io.hashing import md5_file

if TYPE_CHECKING:
    from dvc.config import Config

FOLDER = ".dir"  # ends the md5 of a folder, which is that of its listing


def config(folder: Path) -> "Config":
    """What DVC is told in a project or clone, by all its files; paths are whole.

    Raises:
        InputError: DVC refuses it.
    """
    from dvc.config import Config, ConfigError

    try:
        return Config(str(folder / ".dvc"))
    except ConfigError as error:
        raise InputError(f"{folder}/.dvc/config: {' '.join(str(error).split())}") from error


def cache_of(root: Path) -> Path:
    """The folder of a project's DVC cache."""
    named = config(root)["cache"].get("dir")
    return Path(named) if named else root / ".dvc/cache"


def listing(cache: Path, md5: str) -> dict[str, str] | None:
    """The md5 of each file of a folder by its path in it; None if the cache has no such listing."""
    place = _place(cache, md5)
    if not place.is_file() or md5_file(place) + FOLDER != md5:
        return None
    entries = json.loads(place.read_text(encoding="utf-8"))
    return {entry["relpath"]: entry["md5"] for entry in entries}


def kept(cache: Path, md5: str) -> dict[str, Path] | None:
    """The files of an output, by their path in it; a file alone is under "".

    None if the cache has not all of them, with the bytes that they had.
    """
    listed = listing(cache, md5) if md5.endswith(FOLDER) else {"": md5}
    if listed is None:
        return None
    places = {name: _place(cache, of) for name, of in listed.items()}
    whole = all(place.is_file() and md5_file(place) == listed[n] for n, place in places.items())
    return places if whole else None


def _place(cache: Path, md5: str) -> Path:
    return cache / "files/md5" / md5[:2] / md5[2:]
