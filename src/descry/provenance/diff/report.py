"""Values that differ, in words: the first of them, how many there are, and how far they are off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from csv import Error as CsvError
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zlib import error as ZlibError

import numpy as np

from descry.errors import InputError

_SHOWN = 60  # characters of a value
_DAMAGE = (
    *(OSError, EOFError, RuntimeError, KeyError, ValueError, SyntaxError),
    *(CsvError, ZlibError),
)
_IDENTIFYING = (
    *("id", "annotator", "phrase", "against", "score", "at"),
    *("end", "split", "chosen", "layer", "neuron", "descriptor"),
)


class _Nothing:
    """Stands where only the other file has something."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name a file that turns out to be damaged only while its values are read.

    Raises:
        InputError: it is.
    """
    try:
        yield
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}): it is damaged") from error


def plain(text: str) -> str:
    """A name as it is, or escaped where it could steer a terminal."""
    return text if text.isprintable() else repr(text)


def cut(text: str) -> str:
    """A text, shortened where it is long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def shown(value: object) -> str:
    """A value as text, short and on one line."""
    if isinstance(value, np.generic) and not isinstance(value, bytes):
        return cut(plain(str(value)))
    return cut(repr(bytes(value)) if isinstance(value, bytes) else plain(repr(value)))


def versus(expected: object, found: object) -> str:
    """Both values; of long texts what stands around the first character that differs."""
    if isinstance(expected, str) and isinstance(found, str):
        pairs = enumerate(zip(expected, found, strict=False))
        shorter = min(len(expected), len(found))
        same = next((place for place, (was, now) in pairs if was != now), shorter)
        if same > _SHOWN // 2:
            start = same - _SHOWN // 4
            expected, found = f"…{expected[start:]}", f"…{found[start:]}"
    return f"{shown(found)}, expected {shown(expected)}"


def identified(row: str, values: Mapping[str, Any], but: str) -> str:
    """A row by its number and by those columns that tell it from others, but one."""
    known = {name: values[name] for name in _IDENTIFYING if name in values and name != but}
    told = (f"{name} {cut(plain(str(value)))}" for name, value in known.items())
    return f"{row} ({', '.join(told)})" if known else row


def other_layout(what: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    """The first column or dataset that only one of two files has, or that is of another type."""
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            was, now = (plain(layout.get(name, "nothing")) for layout in (ours, theirs))
            return f"{what} {plain(name)}: {now}, expected {was}"
    return None


def equal(expected: object, found: object) -> bool:
    """Whether two values, however nested, are the same; NaN is, and True is not 1."""
    return next(partings(expected, found, ""), None) is None


def partings(expected: Any, found: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """The leaves in which two values differ: dotted key, and what stands there in each."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in {**expected, **found}:
            inner = expected.get(name, NOTHING), found.get(name, NOTHING)
            yield from partings(*inner, f"{key}.{plain(name)}" if key else plain(name))
    elif isinstance(expected, list) and isinstance(found, list):
        for number, inner in enumerate(zip_longest(expected, found, fillvalue=NOTHING)):
            yield from partings(*inner, f"{key}[{number}]")
    elif _is_nan(expected) and _is_nan(found):
        return
    elif expected != found or isinstance(expected, bool) != isinstance(found, bool):
        yield key, expected, found


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and value != value


@dataclass
class Tally:
    """How many values differ; by how much at most, where they are numbers."""

    count: int = 0
    largest: float = 0.0

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Take in pairs of values that differ."""
        self.count += len(expected)
        far = distances(expected, found)
        self.largest = max(self.largest, far.max().item() if len(far) else 0.0)

    def __str__(self) -> str:
        if not self.largest:
            return str(self.count)
        return f"{self.count} (by {self.largest}{' at most' if self.count > 1 else ''})"


def distances(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """How far apart numbers are: integers exactly, others in float64; none of NaN, or of texts."""
    kinds = expected.dtype.kind + found.dtype.kind
    if kinds in ("ii", "uu"):
        high, low = np.maximum(expected, found), np.minimum(expected, found)
        return np.asarray(high.astype(np.uint64) - low.astype(np.uint64))  # modulo 2^64: exact
    if not set(kinds) <= set("iuf"):
        return np.empty(0)
    with np.errstate(over="ignore", invalid="ignore"):
        far = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    return np.asarray(far[~np.isnan(far)])


@dataclass
class Account:
    """The first difference of two files, and how much differs in each column or dataset."""

    first: str = ""
    tallies: dict[str, Tally] = field(default_factory=dict)

    def tally(self, name: str) -> Tally:
        """That of a column or dataset."""
        return self.tallies.setdefault(name, Tally())

    def add(self, where: str, name: str, expected: object, found: object) -> None:
        """Take in a single value that differs."""
        self.first = self.first or f"{where}: {versus(expected, found)}"
        both = _is_number(expected) and _is_number(found)
        was, now = (np.array([value if both else None]) for value in (expected, found))
        self.tally(name).add(was, now)

    def words(self) -> str | None:
        """All of it; None if nothing differs."""
        told = ", ".join(f"{plain(name)} {of}".strip() for name, of in self.tallies.items())
        return f"{self.first}; values that differ: {told}" if self.first else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
