"""Read-only media: what is there is read, all of it; what must write says that it cannot."""

import os
import shutil
import sqlite3
import subprocess
import sys

import faults
import pytest

from descry.annotators.prompt_cache.jsonl import export
from descry.annotators.prompt_cache.store import PromptCache
from descry.errors import InputError

KEYS = {f"{n:064x}": {"yes": -n} for n in range(50)}
ORIGIN = {"task": "p2", "model": "m", "template": ["a", "b", "c"]}
MOUNTS = pytest.mark.skipif(bool(faults.can_mount()), reason="a disk cannot be mounted here")


def filled(folder, number=50):
    with PromptCache(folder) as cache:
        rows = dict(list(KEYS.items())[:number])
        cache.store(ORIGIN, {k: {"response": r, "sentence": "0" * 16} for k, r in rows.items()})
    return folder


LOOK = """
import sys
from pathlib import Path
from descry.annotators.prompt_cache.store import Batch, PromptCache
from descry.errors import InputError
from descry.annotators.prompt_cache.jsonl import export

folder, out = map(Path, sys.argv[1:])
with PromptCache(folder) as cache:
    assert cache.read_only
    cache.finish("annotate", {})
    print(cache.stats()["answers"], len(cache.answers([f"{n:064x}" for n in range(50)])))
    export(cache, out)
    for store in (
        lambda: cache.store({"task": "p2"}, {"f" * 64: {"response": {}, "sentence": "0" * 16}}),
        lambda: cache.fail({"f" * 64: {"reason": "r"}}),
        lambda: cache.merge(Batch({}, {"f" * 64: "{}"}, {})),
        lambda: cache.remove(["0" * 64], []),
    ):
        try:
            store()
        except InputError as error:
            assert str(error).startswith(f"{folder}: is read-only"), error
        else:
            raise AssertionError("stored")
"""


def looked(folder, tmp_path):
    """What is printed of a cache on media that cannot be written."""
    (tmp_path / "look.py").write_text(LOOK)
    command = f"{sys.executable} -W error {tmp_path}/look.py {folder} {tmp_path}/out"
    done = subprocess.run(
        faults.unwritable(command, folder), shell=True, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@MOUNTS
def test_a_cache_on_read_only_media_is_read_and_exported(tmp_path):
    folder = filled(tmp_path / "cache")
    assert not (folder / "cache.db-wal").exists()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert looked(folder, tmp_path) == ["50", "50"]
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    with PromptCache(folder) as cache:
        export(cache, tmp_path / "expected")
    for path in (tmp_path / "expected").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@MOUNTS
@pytest.mark.parametrize("left", [["-wal"], ["-wal", "-shm"]])
def test_answers_that_a_killed_run_left_in_the_log_are_not_passed_over(tmp_path, left):
    folder = filled(tmp_path / "cache", 20)
    with sqlite3.connect(folder / "cache.db") as holding:  # keeps the log from being taken over
        holding.execute("SELECT COUNT(*) FROM Cache").fetchall()
        filled(folder)
        killed = tmp_path / "killed"
        killed.mkdir()
        for end in ["", *left]:
            shutil.copyfile(folder / f"cache.db{end}", killed / f"cache.db{end}")
    holding.close()
    assert (killed / "cache.db-wal").stat().st_size
    assert looked(killed, tmp_path) == ["50", "50"]


def test_a_cache_of_somebody_else_is_read_and_what_changed_meanwhile_is_told(tmp_path, monkeypatch):
    folder = filled(tmp_path / "cache")
    plain = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **how: mode != os.W_OK and plain(path, mode, **how)
    )
    with PromptCache(folder) as cache:
        assert cache.answers(list(KEYS)) == KEYS
    with pytest.raises(InputError, match="was changed while it was read"), PromptCache(folder):
        os.utime(folder / "cache.db")


def test_a_damaged_cache_on_read_only_media_is_called_damaged(tmp_path, monkeypatch):
    folder = filled(tmp_path / "cache")
    (folder / "cache.db").write_bytes(b"spoilt" * 1000)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(InputError, match="not a usable prompt cache"):
        PromptCache(folder)


@MOUNTS
def test_a_cache_that_would_have_to_be_made_on_read_only_media_is_told(tmp_path):
    (tmp_path / "media").mkdir()
    code = f"{sys.executable} -m descry cache stats --cache {tmp_path}/media/none"
    done = subprocess.run(
        faults.unwritable(code, tmp_path / "media"), shell=True, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "media/none: cannot be written" in faults.one_line(done.stderr)


@MOUNTS
def test_a_disk_without_room_for_one_more_file_is_full(tmp_path):
    folder = filled(tmp_path / "cache")
    (tmp_path / "open.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        "from descry.annotators.prompt_cache.store import PromptCache\n"
        "from descry.errors import InputError\n"
        "try:\n    PromptCache(Path(sys.argv[1]))\nexcept InputError as error:\n    print(error)\n"
    )
    command = f"{sys.executable} {tmp_path}/open.py {folder}"
    full = faults.without_inodes(command, folder, 0)
    done = subprocess.run(full, shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (
        f"{folder}: the disk is full: free some space and run again\n",
        "",
    )
