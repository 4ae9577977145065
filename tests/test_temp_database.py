import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from descry.errors import InputError
from descry.io.temp_database import spilling

FILL = "INSERT INTO notes SELECT randomblob(1000) FROM generate"
MANY = (
    "WITH RECURSIVE generate(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM generate WHERE i < {n}) "
)
HOLD = """
import os, sys
from pathlib import Path
from descry.io.temp_database import spilling

with spilling() as database:
    database.execute("CREATE TABLE notes (text BLOB)")
    database.execute(sys.argv[1])
    links = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")[:-1]]
    print([link for link in links if "etilqs" in link], flush=True)
    sys.stdin.readline()
"""


def fill(database, megabytes):
    database.execute("CREATE TABLE notes (text BLOB)")
    database.execute(MANY.format(n=1000 * megabytes) + FILL)


def test_what_is_stored_comes_back():
    with spilling() as database:
        fill(database, 1)
        assert database.execute("SELECT count(*) FROM notes").fetchone() == (1000,)


def test_two_databases_know_nothing_of_each_other():
    with spilling() as one, spilling() as other:
        fill(one, 1)
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at open files as Linux does")
def test_it_lies_on_the_disk_that_is_named_and_a_kill_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", HOLD, MANY.format(n=100_000) + FILL]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with subprocess.Popen(
        command, env={"SQLITE_TMPDIR": str(tmp_path)}, text=True, **pipes
    ) as child:
        shown = child.stdout.readline()
        child.kill()
    assert str(tmp_path) in shown
    assert list(tmp_path.iterdir()) == []


def test_it_is_closed_after_an_error():
    with pytest.raises(ZeroDivisionError), spilling() as database:
        _ = 1 / 0
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


def test_a_full_disk_is_one_clear_line():
    with (
        pytest.raises(InputError, match=r"^temporary files: the disk is full: free .* SQLITE_TMP"),
        spilling() as database,
    ):
        database.execute("PRAGMA max_page_count = 100")
        fill(database, 1)


def test_a_disk_that_takes_no_more_of_a_file_is_one_clear_line():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        with (
            pytest.raises(InputError, match=r"^temporary files: cannot be written \(disk I/O"),
            spilling() as database,
        ):
            fill(database, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_mistake_in_the_code_is_no_matter_of_the_disk():
    with pytest.raises(sqlite3.OperationalError, match="no such table"), spilling() as database:
        database.execute("SELECT * FROM missing")
