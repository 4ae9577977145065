"""Packs: pieces of data that the page asks for by name, each a script of one line.

A page that was opened from the disk can load scripts on demand, and nothing else. A pack's data are
in it as base64 of gzipped JSON: they are handed to the page and never run, whatever is in them.
"""

import base64
import json
import math
import zlib
from collections.abc import Iterator
from decimal import ROUND_05UP, Context
from typing import Any, NamedTuple

import numpy as np

from descry.io.hashing import JSON

DIGITS = 6  # significant ones of a number, one more than any page shows
_LEVEL = 6  # of compression: 9 takes three times as long for 1% less
_GZIP = 31  # zlib's word for its largest window in gzip's format
_POWERS = 10.0 ** np.arange(-18, 23)


class Pack(NamedTuple):
    """A name, of fixed words and numbers, and what is under it."""

    name: str
    value: JSON


def script(pack: Pack) -> str:
    """The script that hands a pack to the page: the same bytes for the same value."""
    return f'descry.take("{pack.name}","{packed(pack.value)}");\n'


def packed(value: JSON) -> str:
    """A value as base64 of gzipped JSON."""
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    )
    # Without a name or time. Filtered: what is short and alike in numbers by chance is no repeat.
    packing = zlib.compressobj(_LEVEL, wbits=_GZIP, strategy=zlib.Z_FILTERED)
    return base64.b64encode(packing.compress(text.encode()) + packing.flush()).decode("ascii")


def numbers(values: np.ndarray, digits: int = DIGITS) -> list[Any]:
    """An array as nested lists: floats with so many significant digits, NaN as None.

    The page rounds them to fewer, which must be as if it had all digits: 7.4478 is 7.4, not 7.45
    and then 7.5. So what is left off is never rounded to 0 or 5 (decimal.ROUND_05UP does the same).
    """
    if not np.issubdtype(values.dtype, np.floating):
        return list(values.tolist())
    defined = np.isfinite(values)
    found = _leading(np.where(defined, values, 0.0).astype(np.float64), digits)
    if defined.all():
        return list(found.tolist())
    whole = found.astype(object)
    whole[~defined] = None
    return list(whole.tolist())


def _leading(values: np.ndarray, digits: int) -> np.ndarray:
    """Floats cut to their leading digits, each the nearest to its decimal number."""
    size = np.abs(values)
    exponent = np.searchsorted(_POWERS, size, side="right") - 18 - digits
    up, down = 10.0 ** np.maximum(-exponent, 0), 10.0 ** np.maximum(exponent, 0)
    # Powers of ten up to 1e22 are exact.
    scaled = values * up / down
    whole = np.trunc(scaled)
    whole += np.where((whole != scaled) & (whole % 5 == 0), np.copysign(1, values), 0)
    found = np.where(whole == scaled, values, whole * down / up)
    for place in zip(*np.nonzero(((size < 1e-15) & (size > 0)) | (size > 1e15)), strict=True):
        found[place] = _cut(float(values[place]), digits)
    return np.asarray(found)


def _cut(value: float, digits: int = DIGITS) -> float:
    """One float with its leading digits; those that a person wrote stay as they are."""
    if float(f"{value:.{digits}g}") == value:
        return value
    return float(Context(prec=digits, rounding=ROUND_05UP).create_decimal_from_float(value))


def whole_numbers(values: np.ndarray, times: int) -> list[Any]:
    """An array as nested lists of so many times its values, as whole numbers, NaN as None."""
    found = np.rint(values * times)
    defined = np.isfinite(found)
    if defined.all():
        return list(found.astype(np.int64).tolist())
    whole = np.where(defined, found, 0).astype(np.int64).astype(object)
    whole[~defined] = None
    return list(whole.tolist())


def plain(value: Any) -> JSON:
    """Values as read from files: floats rounded, or whole numbers; undefined ones None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else _cut(value)
    return value


def slices(number: int, size: int) -> Iterator[slice]:
    """The packs of so many things, `size` in each but the last."""
    return (slice(start, min(start + size, number)) for start in range(0, number, size))
