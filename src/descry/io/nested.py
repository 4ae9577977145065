"""Nested objects by dotted key."""

from collections.abc import Mapping

from descry.io.hashing import JSON


def flat(value: JSON, key: str = "") -> dict[str, JSON]:
    """Return the leaves of nested objects by dotted key: {a: {b: 1}} is {a.b: 1}."""
    if not isinstance(value, dict):
        return {key: value}
    inner = (flat(item, f"{key}.{name}" if key else name) for name, item in value.items())
    return {name: leaf for leaves in inner for name, leaf in leaves.items()}


def unlike(old: Mapping[str, JSON], new: Mapping[str, JSON]) -> list[str]:
    """Return the keys at which two mappings differ, in the first's order; absent equals null."""
    return [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
