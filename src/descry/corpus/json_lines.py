"""JSON lines: one record on each line."""

import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from descry.io.json_files import RepeatedKeyError, strict_json

Record = dict[str, Any]


class Entry(NamedTuple):
    """The content of one or several lines of a file.

    Attributes:
        line: the first of the lines (of a Parquet file: the row), from 1.
        record: None if it cannot be read.
        lines: how many lines it takes.
        fault: why it cannot be read, and what to do.
    """

    line: int
    record: Record | None
    lines: int = 1
    fault: str = ""


class BrokenFileError(ValueError):
    """The whole file cannot be read, or not from a line on.

    Args:
        line: the line where it begins.
        reason: why, and what to do.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def json_lines(file: IO[str]) -> Iterator[Entry]:
    """Read the record of every line that is not blank.

    Raises:
        BrokenFileError: the file is a JSON array.
    """
    first = True
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        if first and line.lstrip()[0] == "[":
            raise BrokenFileError(
                number, "a JSON array, but one object a line is read: convert it with `jq -c '.[]'`"
            )
        first = False
        try:
            value = strict_json(line)
        except (ValueError, RecursionError) as error:  # also a number of thousands of digits
            yield Entry(number, None, fault=_fault(line.strip(), error))
            continue
        if isinstance(value, dict):
            yield Entry(number, value)
        else:
            yield Entry(number, None, fault="JSON, but no object with a review's fields")


def _fault(line: str, error: Exception) -> str:
    """What a line is that is no JSON."""
    if isinstance(error, RepeatedKeyError):
        return str(error)
    if line.startswith(("{'", "{u'")):
        return (
            "Python literals, not JSON: convert each line by json.dumps(ast.literal_eval(line))"
            " in Python"
        )
    if isinstance(error, json.JSONDecodeError):
        if error.msg == "Extra data":
            rest = line[error.pos :].strip()
            if rest == ",":
                return "a comma after the object: one object a line, with nothing between them"
            if rest.startswith("{"):
                return "several objects in a line: one object a line: convert it with `jq -c .`"
        if line.startswith("{") and error.pos >= len(line):
            return (
                "an object that is cut, or goes on over several lines: one object a line:"
                " convert it with `jq -c .`"
            )
    return "not JSON"
