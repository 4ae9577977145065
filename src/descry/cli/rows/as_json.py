"""Values as JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from descry.io.hashing import JSON, canonical


def as_json(found: Any) -> str:
    """A value, or a dataclass, as JSON: undefined numbers are null, sets are sorted lists."""
    return canonical(_plain(asdict(found) if is_dataclass(found) else found))  # type: ignore[arg-type]


def _plain(value: Any) -> JSON:
    if is_dataclass(value):
        return _plain(asdict(value))  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, Path) else value
