"""A temporary database, of one process, for data that do not fit into memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from descry.errors import InputError

_CACHE = 64  # MB of pages held in memory, and as much again by a sort
_FULL = sqlite3.SQLITE_FULL
_UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
_ANOTHER = "or set SQLITE_TMPDIR to a folder on another disk"


@contextmanager
def spilling() -> Iterator[sqlite3.Connection]:
    """Open an empty database on the disk of temporary files, in one open transaction.

    Raises:
        InputError: the disk is full or cannot be written.
    """
    # One without a name lies in SQLITE_TMPDIR, TMPDIR or /var/tmp: a disk of this machine, where
    # /tmp may be memory and the output's folder a network's. SQLite unlinks it when it opens it, so
    # that a kill leaves nothing; nobody else can open it, so it needs neither locks nor a journal.
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        for setting in (
            f"cache_size = -{_CACHE * 1024}",
            "journal_mode = OFF",
            "temp_store = FILE",
        ):
            database.execute(f"PRAGMA {setting}")
        database.execute("BEGIN")
        try:
            yield database
        except sqlite3.OperationalError as error:
            raise _clear(error) from error


def _clear(error: sqlite3.OperationalError) -> Exception:
    """One line for a disk that is full or cannot be written; any other error as it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what SQLite adds to it
    if code == _FULL:
        return InputError(f"temporary files: the disk is full: free some space, {_ANOTHER}")
    if code in _UNWRITABLE:
        return InputError(f"temporary files: cannot be written ({error}): mend that, {_ANOTHER}")
    return error
