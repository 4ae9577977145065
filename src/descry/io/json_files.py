"""JSON files."""

import json
from pathlib import Path

from descry.io.atomic import write_text
from descry.io.hashing import JSON
from descry.io.readable import ANY, not_ours, readable


def write_json(path: Path, value: JSON) -> None:
    """Write JSON atomically: indented, keys in the order given, one final newline."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    write_text(path, text + "\n")


def read_json(path: Path, made_by: str) -> JSON:
    """Read JSON.

    Raises:
        InputError: the file is missing, not JSON, or does not say what made it.
    """
    with readable(path, made_by):
        value = json.loads(path.read_text(encoding="utf-8"))
    if made_by != ANY and not (isinstance(value, dict) and isinstance(value.get("made"), dict)):
        raise not_ours(path, made_by, "no file of descry's, which would say what made it")
    return value


class RepeatedKeyError(ValueError):
    """Which of the values is meant is not known."""


def _distinct(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RepeatedKeyError("two values of one name in an object")
    return found


# JSON in which a key that stands twice is an error (RepeatedKeyError), for what strangers write.
strict_json = json.JSONDecoder(object_pairs_hook=_distinct).decode
