"""Results that cannot be read: one line that names the file and says what to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.sanitize import printable

_SHOWN = 200  # characters shown of why a file cannot be read
ANY = "STAGE"  # for `made_by`: a file of whatever stage, or of none
# How files of a kind begin; one that does not was never a result.
_BEGINS = {"Parquet": b"PAR1", "HDF5": b"\x89HDF\r\n\x1a\n", "JSON": b"{"}


class MalformedError(Exception):
    """A file does not have the form that its reader expects."""


# What libraries throw at a damaged file, as far as known; besides pyarrow's own.
_LIBRARIES = (MalformedError, OSError, LookupError, ValueError, RuntimeError)


@contextmanager
def readable(path: Path, made_by: str, kind: str = "JSON") -> Iterator[None]:
    """Name the file that a library cannot read; wraps only library calls.

    Raises:
        InputError: it is missing, of another kind, or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: make it with `descry stage {made_by}`")
    try:
        if made_by != ANY:
            _refuse_another_kind(path, made_by, kind)
        yield
    except Exception as error:
        arrow = type(error).__module__.partition(".")[0] == "pyarrow"
        if not (arrow or isinstance(error, _LIBRARIES)):
            raise
        raise unreadable(path, made_by, error) from error


def unreadable(path: Path, made_by: str, why: Exception | str) -> InputError:
    """Return an error: a result is damaged or has another form, and what to do."""
    lines = printable(str(why).partition("\n")[0])
    reason = lines[:_SHOWN] or type(why).__name__
    advice = f"make it again: `descry stage {made_by}`"
    if _is_unfinished(path):
        advice = "remove it and run the stage again"
    if made_by == ANY:
        advice = "it is damaged"
    return InputError(f"{path}: cannot be read ({reason}): {advice}")


def not_ours(path: Path, made_by: str, what: str) -> InputError:
    """Return an error: descry, or the expected stage, did not write a file."""
    reviews = "; reviews are named by corpus.reviews in params.yaml" if made_by == "corpus" else ""
    return InputError(f"{path}: {what}: expected is what `descry stage {made_by}` writes{reviews}")


def _refuse_another_kind(path: Path, made_by: str, kind: str) -> None:
    beginning = _BEGINS[kind]
    with path.open("rb") as file:
        found = file.read(len(beginning))
    if not beginning.startswith(found) and not _is_unfinished(path):
        raise not_ours(path, made_by, f"not {kind}")


def _is_unfinished(path: Path) -> bool:
    """Whether a killed run left it, as the name of it or of its folder says (`part_of`)."""
    return any(name.startswith(".") and name.endswith(".part") for name in path.parts)


def made_in(path: Path, made_by: str, text: str | bytes | None) -> JSON:
    """Return what made a file, as the file records it.

    Raises:
        InputError: it does not say so: descry did not write it.
        MalformedError: that is damaged.
    """
    if text is None:
        raise not_ours(path, made_by, "no file of descry's, which would say what made it")
    made = json.loads(text)
    if not isinstance(made, dict):
        raise MalformedError("it does not say what made it")
    return made
