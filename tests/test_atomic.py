"""Files that take their place when they are whole, and what a killed writer leaves."""

import os
import signal
import subprocess
import sys

import pytest

from descry.io import atomic as module
from descry.io.atomic import atomic, write_text

WRITES = """
import sys, time
from pathlib import Path
from descry.io.atomic import atomic
with atomic(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing a file."""
    command = [sys.executable, "-c", WRITES, str(tmp_path / "large.h5")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        yield process
        process.kill()


@pytest.mark.slow
def test_the_part_of_a_killed_writer_goes_with_the_next_file_and_that_of_a_live_one_stays(
    tmp_path, writer
):
    (part,) = names(tmp_path)
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == [part, "a.txt"]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    module._remove_left.cache_clear()  # another process would begin so
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == ["a.txt"]


def test_parts_of_other_machines_and_of_no_process_stay(tmp_path):
    dead = 2**22 + 1  # above any process that there is
    others = [
        f".a.{dead}-0123abcd.part",
        f".a.{dead}.part",
        ".a.part",
        f".a.x-{module._machine()}.part",
    ]
    own = f".a.{dead}-{module._machine()}.part"
    for name in (*others, own):
        (tmp_path / name).touch()
    write_text(tmp_path / "b", "")
    assert names(tmp_path) == sorted([*others, "b"])


def test_what_fails_leaves_the_old_file_and_no_part(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(KeyError), atomic(tmp_path / "a") as part:
        part.write_text("new")
        raise KeyError
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_listed_can_be_written(tmp_path):
    tmp_path.chmod(0o300)
    try:
        write_text(tmp_path / "a", "whole")
    finally:
        tmp_path.chmod(0o700)
    assert names(tmp_path) == ["a"]
