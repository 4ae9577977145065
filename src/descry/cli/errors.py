"""How errors are printed: a line for what a user can mend, a traceback for a bug."""

import errno
import os
import traceback

from typer.exceptions import TyperException

from descry.errors import InputError
from descry.io.sanitize import printable

TRACEBACK = "DESCRY_TRACEBACK"  # in the environment: print the traceback of every error
BUG = "this is a bug of descry: please report it, with the lines above"
# What the machine lacks or its owner forbids is no bug, wherever it happens.
_OF_THE_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ELOOP, errno.ENAMETOOLONG, errno.ESTALE),
    *(errno.EISDIR, errno.ENOTDIR),
}


def usage(error: TyperException) -> str:
    """A line that says what was typed wrongly; empty if the help was printed instead."""
    said = printable(" ".join(error.format_message().split()))
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" or not said:
        return ""
    said = said if said.endswith((".", "?")) else f"{said}."
    return f"error: {said}" + (f" Type `{context.command_path} --help`" if context else "")


def told(error: Exception) -> tuple[str, int]:
    """What to print of an error, a line or the traceback of a bug, and the exit status.

    The variable DESCRY_TRACEBACK in the environment asks for the traceback of any error.
    """
    line = _line(error)
    last = BUG if line is None else f"error: {printable(line)}"
    lines: list[str] = []
    if line is None or os.environ.get(TRACEBACK, "0").lower() not in ("", "0", "false", "no"):
        whole = "".join(traceback.format_exception(error)).splitlines()
        lines = [printable(one) for one in whole]
    return "\n".join([*lines, last]), 1 if line is None else 2


def _line(error: Exception) -> str | None:
    """The line of an error that is no bug; None for a bug."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory (docs/benchmarks.md: what stages take)"
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        return f"{error.filename or 'descry'}: {os.strerror(error.errno)}"
    return None
