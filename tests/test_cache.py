"""The prompt cache loses nothing, mixes nothing up, and runs nobody's code."""

import pickle
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import astuple, fields, replace
from pathlib import Path

import diskcache
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.cache import CacheConflictError, PromptCache, Request
from descry.errors import InputError
from descry.storage import canonical, sha256_text

REQUEST = Request("p1", "model", "revision", "float32", "a prompt", "{}")

text = st.text('ab"{,é', max_size=3)
requests = st.builds(Request, text, text, text, text, text, text, st.integers(0, 2))


def record(response, **more):
    return {"response": response, "request": {"task": "p1"}, "versions": {}} | more


def open_with(folder, answers):
    with PromptCache(folder) as cache:
        cache.store({key: record(value) for key, value in answers.items()})


def read(folder, keys):
    with PromptCache(folder) as cache:
        return cache.answers(keys)


def python(script, *args):
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# The key


@given(requests, requests)
def test_two_requests_share_a_key_only_when_they_are_equal(one, other):
    assert (one.key == other.key) == (one == other)


@pytest.mark.parametrize("field", [field.name for field in fields(Request)])
def test_every_field_is_in_the_key(field):
    changed = 1 if field == "sample" else "changed"
    assert replace(REQUEST, **{field: changed}).key != REQUEST.key


def test_a_field_cannot_run_over_into_the_next():
    assert (
        replace(REQUEST, model="ab", revision="c").key
        != replace(REQUEST, model="a", revision="bc").key
    )


def test_the_key_is_the_hash_of_the_canonical_json_and_stays_so():
    assert REQUEST.key == sha256_text(
        '{"decoding":"{}","dtype":"float32","model":"model","prompt":"a prompt",'
        '"revision":"revision","sample":0,"task":"p1"}'
    )


# Answers


def test_an_answer_comes_back_in_a_new_process(tmp_path):
    open_with(tmp_path, {REQUEST.key: {"text": "Größe, prix"}})
    script = """
import sys
from pathlib import Path
from descry.cache import PromptCache, Request
request = Request(*sys.argv[2:8], 0)
with PromptCache(Path(sys.argv[1])) as cache:
    print(ascii(cache.answers([request.key])[request.key]["text"]))
"""
    out, err = python(script, tmp_path, *astuple(REQUEST)[:6]).communicate()
    assert (out.strip(), err) == (ascii("Größe, prix"), "")


def test_a_key_without_an_answer_is_left_out(tmp_path):
    open_with(tmp_path, {"a": 1})
    assert read(tmp_path, ["a", "b"]) == {"a": 1}
    with PromptCache(tmp_path) as cache:
        assert cache.record("b") is None


def test_the_record_keeps_what_an_audit_needs(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.store({"a": record("yes", versions={"torch": "2"})})
        assert cache.record("a") == record("yes", versions={"torch": "2"})


def test_more_keys_than_sqlite_takes_variables(tmp_path):
    answers = {str(i): i for i in range(2500)}
    open_with(tmp_path, answers)
    assert read(tmp_path, list(answers)) == answers


def test_the_first_write_stays(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.store({"a": record("yes", versions={"torch": "2"})})
        cache.store({"a": record("yes", versions={"torch": "3"})})
        assert cache.record("a") == record("yes", versions={"torch": "2"})


def test_another_answer_for_a_key_is_a_conflict_and_stores_nothing(tmp_path):
    open_with(tmp_path, {"b": "yes"})
    with pytest.raises(CacheConflictError, match="another answer for b"):
        open_with(tmp_path, {"a": "new", "b": "no", "c": "new"})
    assert read(tmp_path, ["a", "b", "c"]) == {"b": "yes"}


def test_a_cache_can_be_used_after_a_conflict(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.store({"a": record("yes")})
        with pytest.raises(CacheConflictError):
            cache.store({"a": record("no")})
        cache.store({"b": record("yes")})
        assert cache.answers(["a", "b"]) == {"a": "yes", "b": "yes"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_not_finite_is_never_stored(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        open_with(tmp_path, {"good": 1, "bad": value})
    assert read(tmp_path, ["good", "bad"]) == {}


# Failures


def test_a_failure_is_no_answer(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.fail({"a": {"reason": "refusal"}})
        assert cache.answers(["a"]) == {}
        assert cache.stats() == {"answers": 0, "failures": 1}


def test_a_failure_goes_when_the_answer_comes(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.fail({"a": {"reason": "refusal"}, "b": {"reason": "empty list"}})
        cache.fail({"a": {"reason": "empty list"}})
        cache.store({"a": record("yes")})
        assert cache.stats() == {"answers": 1, "failures": 1}


def test_stats_count_answers_and_failures(tmp_path):
    with PromptCache(tmp_path) as cache:
        assert cache.stats() == {"answers": 0, "failures": 0}
        cache.store({str(i): record(i) for i in range(5)})
        cache.fail({"x": {}, "y": {}})
        assert cache.stats() == {"answers": 5, "failures": 2}


# Settings and files


def settings(folder):
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        return dict(database.execute("SELECT key, value FROM Settings"))


def test_nothing_is_ever_evicted(tmp_path):
    open_with(tmp_path, {"a": 1})
    found = settings(tmp_path)
    assert (found["eviction_policy"], found["cull_limit"]) == ("none", 0)
    assert found["size_limit"] == 2**62
    assert found["statistics"] == 0


@pytest.mark.parametrize(
    "changed",
    [{"eviction_policy": "least-recently-used"}, {"cull_limit": 10}, {"size_limit": 2**30}],
)
def test_a_cache_that_another_program_let_evict_is_refused(tmp_path, changed):
    open_with(tmp_path, {"a": 1})
    diskcache.Cache(str(tmp_path), **changed).close()
    with pytest.raises(InputError, match=next(iter(changed))):
        PromptCache(tmp_path)


def test_only_the_owner_may_enter_the_folder(tmp_path):
    open_with(tmp_path / "new", {"a": 1})
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "what? 100%20 #1 é"
    open_with(folder, {"a": 1})
    assert read(folder, ["a"]) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="not a usable prompt cache"):
        PromptCache(tmp_path / "file")


def test_a_database_of_another_kind_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "cache.db")) as database:
        database.execute("CREATE TABLE Visits (url TEXT)")
    with pytest.raises(InputError, match="not a usable prompt cache"):
        PromptCache(tmp_path)


def test_a_database_that_another_process_is_just_making_is_no_fault(tmp_path):
    (tmp_path / "cache.db").touch()
    open_with(tmp_path, {"a": 1})
    assert read(tmp_path, ["a"]) == {"a": 1}


def test_a_corrupt_database_is_refused(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"\x00garbage" * 1000)
    with pytest.raises(InputError, match="not a usable prompt cache"):
        PromptCache(tmp_path)


# Planted rows


class Trap:
    """A pickle of it creates a file in whoever loads it."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def plant(folder, **row):
    row = {"raw": 1, "mode": 4, "filename": None, "value": None, "access_count": 0} | row
    columns = ", ".join(row)
    marks = ", ".join("?" * len(row))
    with closing(sqlite3.connect(folder / "cache.db")) as database, database:
        database.execute(f"INSERT INTO Cache ({columns}) VALUES ({marks})", list(row.values()))


@pytest.fixture
def trap(tmp_path):
    """The pickle, and the file that must never come to be."""
    open_with(tmp_path / "cache", {})
    sprung = tmp_path / "sprung"
    return pickle.dumps(Trap(sprung)), sprung


def test_the_trap_works_on_a_plain_diskcache(tmp_path, trap):
    planted, sprung = trap
    plant(tmp_path / "cache", key="answer:a", value=planted)
    with diskcache.Cache(str(tmp_path / "cache"), disk=diskcache.Disk) as cache:
        cache.get("answer:a")
    assert sprung.exists()


@pytest.mark.parametrize("mode", [0, 1, 2, 4])
def test_a_planted_row_that_is_no_text_is_refused_unread(tmp_path, trap, mode):
    planted, sprung = trap
    plant(tmp_path / "cache", key="answer:a", mode=mode, value=planted)
    with pytest.raises(InputError, match="a foreign row"):
        read(tmp_path / "cache", ["a"])
    assert not sprung.exists()


@pytest.mark.parametrize("mode", [3, 4])
def test_a_planted_row_that_points_to_a_file_is_refused_unread(tmp_path, trap, mode):
    planted, sprung = trap
    (tmp_path / "cache" / "evil.val").write_bytes(planted)
    plant(tmp_path / "cache", key="answer:a", mode=mode, filename="evil.val")
    with pytest.raises(InputError, match="a foreign row"):
        read(tmp_path / "cache", ["a"])
    assert not sprung.exists()


def test_a_planted_row_is_not_overwritten_in_silence(tmp_path, trap):
    planted, sprung = trap
    plant(tmp_path / "cache", key="answer:a", value=planted)
    with pytest.raises(InputError, match="a foreign row"):
        open_with(tmp_path / "cache", {"a": 1})
    assert not sprung.exists()


def test_a_planted_pickled_key_is_never_read(tmp_path, trap):
    planted, sprung = trap
    plant(tmp_path / "cache", key=planted, raw=0, value=planted)
    plant(tmp_path / "cache", key="answer:a", raw=0, value=planted)
    with PromptCache(tmp_path / "cache") as cache:
        assert cache.answers(["a", planted.decode("latin1")]) == {}
        with pytest.raises(InputError, match="a foreign row"):
            list(cache._cache)
    assert not sprung.exists()


# Many processes, and sudden ends

WRITER = """
import sys
from pathlib import Path
from descry.cache import PromptCache

first = int(sys.argv[2])
with PromptCache(Path(sys.argv[1])) as cache:
    for start in range(first, first + 500, 50):
        keys = range(start, start + 50)
        cache.store({str(n): {"response": n * n} for n in keys})
"""


def test_eight_processes_write_into_one_new_folder_and_lose_nothing(tmp_path):
    writers = [python(WRITER, tmp_path / "cache", 200 * n) for n in range(8)]
    errors = [writer.communicate()[1] for writer in writers]
    assert errors == [""] * 8
    wanted = {str(n): n * n for n in range(200 * 7 + 500)}
    assert read(tmp_path / "cache", list(wanted)) == wanted


KILLED = """
import os, signal, sys
from pathlib import Path
from descry.cache import PromptCache

with PromptCache(Path(sys.argv[1])) as cache:
    plain, done = cache._cache.set, 0

    def deadly(*args, **kwargs):
        global done
        done += 1
        if done == 125:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*args, **kwargs)

    cache._cache.set = deadly
    for start in range(0, 1000, 50):
        cache.store({str(n): {"response": n} for n in range(start, start + 50)})
"""


def test_a_writer_killed_in_a_batch_leaves_the_whole_batches_before_it(tmp_path):
    writer = python(KILLED, tmp_path)
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    assert read(tmp_path, [str(n) for n in range(1000)]) == {str(n): n for n in range(100)}


def test_the_next_run_goes_on_after_a_kill(tmp_path):
    python(KILLED, tmp_path).communicate()
    open_with(tmp_path, {str(n): n for n in range(1000)})
    with PromptCache(tmp_path) as cache:
        assert cache.stats() == {"answers": 1000, "failures": 0}


def test_a_record_is_canonical_json_text_in_the_database(tmp_path):
    open_with(tmp_path, {"a": "é"})
    with closing(sqlite3.connect(tmp_path / "cache.db")) as database:
        rows = database.execute("SELECT key, raw, mode, value FROM Cache").fetchall()
    assert rows == [("answer:a", 1, 3, canonical(record("é")))]
