"""An SQLite database that cannot be written: on media, in a snapshot, in somebody else's folder.

A database that is written ahead (WAL) wants files beside it even to be read. Where they cannot be
made it is opened as one that nobody changes; what such files hold already is not passed over.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from descry.errors import InputError

_LEFT = ("-wal", "-journal")  # what a writer that was killed may have left beside a database


def can_write(database: Path) -> bool:
    """Whether an existing database, and files beside it, can be written here."""
    return os.access(database.parent, os.W_OK) and os.access(database, os.W_OK)


class ReadOnly:
    """A connection to a database that cannot be written; close it after use.

    Raises:
        sqlite3.Error: it is no database, or damaged.
    """

    def __init__(self, database: Path) -> None:
        self._database, self._before = database, _state(database)
        self._copy: TemporaryDirectory[str] | None = None
        self.connection = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            with closing(_connection(self._database, "mode=ro")) as tried:
                tried.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            pass
        else:
            return _connection(self._database, "mode=ro")
        left = [self._database.with_name(self._database.name + end) for end in _LEFT]
        left = [path for path in left if path.exists() and path.stat().st_size]
        if not left:
            return _connection(self._database, "mode=ro&immutable=1")
        self._copy = TemporaryDirectory(prefix="descry-")
        for path in (self._database, *left):
            shutil.copyfile(path, Path(self._copy.name, path.name))
        return _connection(Path(self._copy.name, self._database.name), "mode=rw")

    def close(self) -> None:
        """Close it.

        Raises:
            InputError: somebody who can write has changed the database in the meantime.
        """
        self.connection.close()
        if self._copy:
            self._copy.cleanup()
        if _state(self._database) != self._before:
            raise InputError(f"{self._database}: was changed while it was read: run again")


def _state(database: Path) -> tuple[int, int]:
    found = database.stat()
    return found.st_mtime_ns, found.st_size


def _connection(database: Path, how: str) -> sqlite3.Connection:
    # as_uri quotes the name: a "?" or "#" in it would make SQLite open another file.
    address = f"{database.absolute().as_uri()}?{how}"
    return sqlite3.connect(
        address, uri=True, timeout=60, isolation_level=None, check_same_thread=False
    )
