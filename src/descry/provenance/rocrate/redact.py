"""What must not leave this machine: absolute paths, passwords, keys."""

import html
import json
import mmap
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from descry.io.hashing import JSON
from descry.provenance.diff.files import unpacked

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(r"[?#]\S+")
_SHORTEST = 8  # characters of a password: a shorter word may well stand in a review


class Private:
    """Texts in params that a crate must not contain."""

    def __init__(self, places: Mapping[str, str], secrets: Collection[str]) -> None:
        """Take absolute paths with what is written instead, and passwords, which just go."""
        self._places = places
        # A path stands by itself: /data is not in x/data, nor in /database.
        before, behind = r"(?<![\w./~-])", r"(?!\w|[-.]\w)"
        place, secret = f"{before}(?:{_any(places)}){behind}", _any(secrets)
        self._in_text = re.compile(f"(?P<place>{place})|{secret}|{_USERINFO.pattern}")
        places_there, secrets_there = _escaped(places), _escaped(secrets)
        self._literally = [text.encode() for text in sorted(places_there | secrets_there)]
        place, secret = f"{before}(?:{_any(places_there)}){behind}", _any(secrets_there)
        self._in_bytes = re.compile(f"{place}|{secret}".encode())

    def clean(self, value: JSON) -> JSON:
        """A value without them, however deep they stand in it."""
        if isinstance(value, dict):
            return {self.clean(key): self.clean(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.clean(item) for item in value]
        return self._in_text.sub(self._instead, value) if isinstance(value, str) else value

    def _instead(self, found: re.Match[str]) -> str:
        return self._places[found[0]] if found.lastgroup == "place" else ""

    def is_in(self, path: Path) -> bool:
        """Whether any of them stands in a file, as text, JSON or XML, or in a pack of a page."""
        if not path.stat().st_size:
            return False
        if path.suffix == ".js" and (pack := unpacked(path)):
            return self._stands_in(pack[1].encode())
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return self._stands_in(data)

    def _stands_in(self, data: bytes | mmap.mmap) -> bool:
        # Looking for the texts themselves first is many times faster, and mostly ends there.
        nowhere = all(data.find(text) < 0 for text in self._literally)
        return not nowhere and self._in_bytes.search(data) is not None


def private_of(root: Path, params: JSON, files: Collection[str]) -> Private:
    """Find the private texts of a project.

    Args:
        params: its params, as nested sections.
        files: paths of its inputs and outputs. Those outside of the project are to be called
            inputs/KEY/NAME by their parameter; of any other path outside, the last part stays.
    """
    here = root.resolve()
    places = {str(Path.home()): "~", str(root.absolute()): ".", str(here): "."}
    places = {place: name for place, name in places.items() if len(Path(place).parts) > 1}
    secrets: list[str] = []
    for key, text in [*_texts(params), *(("", path) for path in files)]:
        place = text.rstrip("/")
        if (Path(text).is_absolute() or ".." in Path(text).parts) and place not in places:
            whole = (root / place).resolve()
            if whole.is_relative_to(here):
                places[place] = whole.relative_to(here).as_posix()
            elif place in files:
                places[place] = "/".join(filter(None, ["inputs", key, whole.name]))
            else:
                places[place] = whole.name
        if "://" in text:
            secrets += _USERINFO.findall(text)
        if key.endswith("base_url"):
            secrets += _QUERY.findall(text)
            address = _QUERY.sub("", _USERINFO.sub("", place))
            if address != place:
                places[place] = address
        if key.endswith("api_key_env"):
            secrets.append(os.environ.get(text, ""))
    return Private(places, {secret for secret in secrets if len(secret) >= _SHORTEST})


def _texts(value: JSON, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts in nested values, by dotted key."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)
    elif isinstance(value, str):
        yield key, value


def _any(texts: Collection[str]) -> str:
    """A pattern for any of some texts, the longest first; of none, one that is nowhere."""
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)"


def _escaped(texts: Collection[str]) -> set[str]:
    ways = (str, html.escape, lambda text: json.dumps(text)[1:-1])
    return {way(text) for way in ways for text in texts}
