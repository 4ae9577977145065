"""The table of what differs between two versions of a file: a row for each part that does."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from descry.io.hashing import JSON
from descry.io.sanitize import printable

_SHOWN = 60  # characters of a value

# Values of one part side by side: its name, expected and found [n], and where value i stands.
Block = tuple[str, np.ndarray, np.ndarray, Callable[[int], str]]
Key = tuple[str | int, ...]  # the way to a leaf of nested values: names, and numbers of items


class _Nothing:
    """Stands where only the other version has a value."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


@dataclass(frozen=True)
class Row:
    """A part of a file in which two versions differ; as text one line without control characters.

    Attributes:
        file: path in a folder; empty where single files were compared.
        part: a column, a dataset, or a dotted key, in which `[]` stands for all items of a list;
            empty where only one version has the file.
        where: place of the first value that differs; empty where the part is a single value.
        values: that value as text: found, and expected.
        differ: number of values that differ, `of` all values of the part.
        largest: difference between two numbers; None where the values are no numbers.
    """

    part: str
    where: str
    values: tuple[str, str]
    differ: int
    of: int
    largest: float | None = None
    file: str = ""

    def __str__(self) -> str:
        words = "{}, expected {}".format(*self.values)
        if self.where:
            most = "at most " if self.differ > 1 else ""
            by = "" if self.largest is None else f" by {most}{self.largest:.6g}"
            words = f"{self.differ} of {self.of} differ{by}, first {self.where}: {words}"
        return printable(": ".join(filter(None, (self.file, self.part, words))))


def rows(blocks: Iterable[Block]) -> list[Row]:
    """The parts that differ, in the order of the blocks; a part may come in several blocks.

    NaN equals NaN. Python objects are equal if their `repr` is: True is not 1, nor is 1.0.
    """
    found, sizes = dict[str, Row](), Counter[str]()
    for part, before, after, where in blocks:
        sizes[part] += len(before)
        unequal = _unequal(before, after)
        if unequal.any():
            first = int(unequal.argmax())
            row = found.get(part)
            row = row or Row(part, where(first), _shown(after[first], before[first]), 0, 0)
            far = [row.largest, _largest(before[unequal], after[unequal])]
            largest = max((value for value in far if value is not None), default=None)
            found[part] = replace(row, differ=row.differ + int(unequal.sum()), largest=largest)
    return [replace(row, of=sizes[part]) for part, row in found.items()]


def leaves(expected: JSON, found: JSON) -> Iterator[Block]:
    """The leaves of two nested values; those that differ in numbers of items alone are one part."""
    before, after = dict(_leaves(expected, ())), dict(_leaves(found, ()))
    parts: dict[str, list[Key]] = {}
    for key in {**before, **after}:
        parts.setdefault(_name(key, "[]"), []).append(key)
    for part, keys in parts.items():
        ours, theirs = (objects(side.get(key, NOTHING) for key in keys) for side in (before, after))
        names = [_name(key, "[{}]") if "[]" in part else "" for key in keys]
        yield part, ours, theirs, names.__getitem__


def objects(values: Iterable[object]) -> np.ndarray:
    """Python objects as an array [n]; lists among them are objects, too."""
    return np.fromiter(values, dtype=object)


def _leaves(value: JSON, key: Key) -> Iterator[tuple[Key, JSON]]:
    if not isinstance(value, dict | list) or not value:
        yield key, value
        return
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(inner, (*key, name))


def _name(key: Key, item: str) -> str:
    names = (item.format(name) if isinstance(name, int) else f".{name}" for name in key)
    return "".join(names).removeprefix(".") or "the whole"


def _unequal(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    if before.dtype.kind == "O":
        pairs = zip(before, after, strict=True)
        return np.fromiter((repr(x) != repr(y) for x, y in pairs), bool)
    both_nan = (before != before) & (after != after)
    return np.asarray((before != after) & ~both_nan)


def _largest(before: np.ndarray, after: np.ndarray) -> float | None:
    """The largest difference between numbers, or texts of numbers; None if there are none."""
    if before.dtype.kind == "O":
        before, after = (np.fromiter(map(_number, side), float) for side in (before, after))
    elif before.dtype.kind not in "iuf":
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        far = np.abs(before.astype(np.float64) - after.astype(np.float64))
    return float(np.nanmax(far)) if not np.isnan(far).all() else None


def _number(value: object) -> float:
    """NaN for what is no number."""
    try:
        return np.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _shown(found: object, expected: object) -> tuple[str, str]:
    """Two values as short texts; long texts from shortly before the place where they part."""
    if isinstance(found, str) and isinstance(expected, str):
        pairs = enumerate(zip(found, expected, strict=False))
        start = next((i for i, (x, y) in pairs if x != y), min(len(found), len(expected)))
        if (start := start - _SHOWN // 4) > 0:
            found, expected = f"…{found[start:]}", f"…{expected[start:]}"
    return _cut(found), _cut(expected)


def _cut(value: object) -> str:
    text = str(value) if isinstance(value, np.generic) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
