"""The prompt cache loses nothing, mixes nothing up, and runs nobody's code."""

import pickle
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict, astuple, fields, replace
from datetime import UTC, datetime, timedelta

import diskcache
import pytest
from faults import Trap, plant
from hypothesis import given
from hypothesis import strategies as st

from descry.annotators.prompt_cache.store import (
    Batch,
    CacheConflictError,
    PromptCache,
    Request,
    origin_id,
)
from descry.errors import InputError
from descry.io.hashing import canonical, sha256_text

REQUEST = Request("p1", "model", "revision", "float32", "a prompt", "{}")

text = st.text('ab"{,é', max_size=3)
requests = st.builds(Request, text, text, text, text, text, text, st.integers(0, 2))
ORIGIN = {"task": "p1", "model": "model", "versions": {"torch": "2"}}
LATER = ORIGIN | {"versions": {"torch": "3"}}


def record(response, **more):
    return {"response": response, "sentence": "0123456789abcdef"} | more


def records(answers):
    return {key: record(value) for key, value in answers.items()}


def open_with(folder, answers, origin=ORIGIN):
    with PromptCache(folder) as cache:
        cache.store(origin, records(answers))


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


pieces = st.sampled_from(['"prompt":null', '"', "\\", ",", ":", "null", "\x00", "é", "😀"])
anything = st.text() | st.lists(pieces, max_size=5).map("".join)


@given(st.builds(Request, *[anything] * 6, st.integers()))
def test_the_key_is_the_hash_of_the_canonical_json_whatever_is_in_it(request):
    assert request.key == sha256_text(canonical(asdict(request)))


# Answers


def test_an_answer_comes_back_in_a_new_process(tmp_path):
    open_with(tmp_path, {REQUEST.key: {"text": "Größe, prix"}})
    script = """
import sys
from pathlib import Path
from descry.annotators.prompt_cache.store import PromptCache, Request
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
        assert cache.recorded(["a", "b"]).keys() == {"a"}


def test_the_record_keeps_what_an_audit_needs(tmp_path):
    more = {"descriptor": "Größe", "tokens": [12, 1], "cut": 3}
    before = datetime.now(UTC) - timedelta(seconds=1)
    with PromptCache(tmp_path) as cache:
        cache.store(ORIGIN, {"a": record("yes", **more)})
        (found,) = cache.recorded(["a"]).values()
    made = datetime.fromisoformat(found.pop("made"))
    assert before <= made <= datetime.now(UTC)
    assert made.microsecond == 0
    assert found == record("yes", **more, origin=ORIGIN)


def test_an_origin_is_kept_once_for_all_its_answers(tmp_path):
    open_with(tmp_path, {"a": 1, "b": 2})
    open_with(tmp_path, {"c": 3})
    open_with(tmp_path, {"d": 4}, LATER)
    with PromptCache(tmp_path) as cache:
        assert cache.origins() == {origin_id(ORIGIN): ORIGIN, origin_id(LATER): LATER}
        found = cache.recorded(list("abcd"))
    versions = [found[key]["origin"]["versions"]["torch"] for key in "abcd"]
    assert versions == ["2", "2", "2", "3"]


def test_records_come_in_the_order_of_their_keys_as_canonical_json(tmp_path):
    open_with(tmp_path, {"b": 2, "a": "é"})
    stored = record("é", origin=origin_id(ORIGIN)), record(2, origin=origin_id(ORIGIN))
    with PromptCache(tmp_path) as cache:
        assert list(cache.records()) == [("a", canonical(stored[0])), ("b", canonical(stored[1]))]


def test_more_keys_than_sqlite_takes_variables(tmp_path):
    answers = {str(i): i for i in range(2500)}
    open_with(tmp_path, answers)
    assert read(tmp_path, list(answers)) == answers


def test_the_first_write_stays(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.store(ORIGIN, {"a": record("yes")})
        cache.store(LATER, {"a": record("yes", cut=1)})
        (found,) = cache.recorded(["a"]).values()
    assert (found["origin"], "cut" in found) == (ORIGIN, False)


def test_another_answer_for_a_key_is_a_conflict_and_stores_nothing(tmp_path):
    open_with(tmp_path, {"b": "yes"})
    with pytest.raises(CacheConflictError, match="another answer for b"):
        open_with(tmp_path, {"a": "new", "b": "no", "c": "new"})
    assert read(tmp_path, ["a", "b", "c"]) == {"b": "yes"}


def test_a_cache_can_be_used_after_a_conflict(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.store(ORIGIN, {"a": record("yes")})
        with pytest.raises(CacheConflictError):
            cache.store(ORIGIN, {"a": record("no")})
        cache.store(ORIGIN, {"b": record("yes")})
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
        cache.store(ORIGIN, {"a": record("yes")})
        assert cache.stats() == {"answers": 1, "failures": 1}
        assert list(cache.failures()) == [("b", {"reason": "empty list"})]


def test_stats_count_answers_and_failures(tmp_path):
    with PromptCache(tmp_path) as cache:
        assert cache.stats() == {"answers": 0, "failures": 0}
        cache.store(ORIGIN, records({str(i): i for i in range(5)}))
        cache.fail({"x": {}, "y": {}})
        assert cache.stats() == {"answers": 5, "failures": 2}


def test_tokens_are_counted_by_origin(tmp_path):
    with PromptCache(tmp_path) as cache:
        assert cache.by_origin() == {}
        cache.store(ORIGIN, {"a": record(1, tokens=[10, 2]), "b": record(2, tokens=[5, 1])})
        cache.store(LATER, {"c": record(3)})  # no tokens are known
        cache.fail({"x": {"reason": "refusal"}})
        assert cache.by_origin() == {origin_id(ORIGIN): (2, 15, 3), origin_id(LATER): (1, 0, 0)}


def test_known_keys_are_those_with_an_answer(tmp_path):
    open_with(tmp_path, {str(n): n for n in range(1500)})
    with PromptCache(tmp_path) as cache:
        cache.fail({"x": {"reason": "refusal"}})
        assert cache.known([*map(str, range(0, 3000, 2)), "x"]) == set(map(str, range(0, 1500, 2)))


def test_the_counts_of_the_last_run_of_each_stage_stay(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.finish("annotate:toy", {"asked": 5})
        cache.finish("describe:toy", {"asked": 7})
        cache.finish("annotate:toy", {"asked": 0})
    with PromptCache(tmp_path) as cache:
        assert cache.runs() == {"annotate:toy": {"asked": 0}, "describe:toy": {"asked": 7}}
        assert cache.stats() == {"answers": 0, "failures": 0}


# Merging and removing


def test_merging_takes_what_is_new_and_settles_its_failure(tmp_path):
    open_with(tmp_path, {"a": 1})
    stored = canonical(record(2, origin=origin_id(LATER)))
    with PromptCache(tmp_path) as cache:
        cache.fail({"b": {"reason": "refusal"}})
        assert cache.merge(Batch({origin_id(LATER): LATER}, {"b": stored}, {})) == []
        assert cache.answers(["a", "b"]) == {"a": 1, "b": 2}
        assert cache.recorded(["b"])["b"]["origin"] == LATER
        assert cache.stats() == {"answers": 2, "failures": 0}


def test_merging_lists_answers_that_contradict_and_keeps_its_own(tmp_path):
    open_with(tmp_path, {"a": "yes"})
    other = canonical(record("no", origin=origin_id(LATER)))
    with PromptCache(tmp_path) as cache:
        assert cache.merge(Batch({origin_id(LATER): LATER}, {"a": other}, {})) == ["a"]
        assert cache.answers(["a"]) == {"a": "yes"}


def test_the_order_of_merging_does_not_matter(tmp_path):
    origins = {origin_id(origin): origin for origin in (ORIGIN, LATER)}
    texts = [canonical(record("yes", origin=name)) for name in origins]
    kept = []
    for folder, order in (("one", texts), ("other", texts[::-1])):
        with PromptCache(tmp_path / folder) as cache:
            for text in order:
                cache.merge(Batch(origins, {"a": text}, {}))
            kept.append(list(cache.records()))
    assert kept[0] == kept[1]


def test_what_is_removed_is_gone_with_origins_that_nothing_has_any_more(tmp_path):
    open_with(tmp_path, {"a": 1, "b": 2})
    open_with(tmp_path, {"c": 3}, LATER)
    with PromptCache(tmp_path) as cache:
        cache.fail({"x": {"reason": "refusal"}, "y": {"reason": "refusal"}})
        cache.remove(["a", "c"], ["x"])
        assert cache.answers(["a", "b", "c"]) == {"b": 2}
        assert [key for key, _ in cache.failures()] == ["y"]
        assert cache.origins() == {origin_id(ORIGIN): ORIGIN}
        assert cache.recorded(["b"])["b"]["origin"] == ORIGIN


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


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE Cache RENAME COLUMN filename TO place",
        "ALTER TABLE Settings RENAME COLUMN value TO setting",
    ],
)
def test_a_cache_of_another_version_is_refused_in_one_line(tmp_path, change):
    open_with(tmp_path, {"a": 1})
    named = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    with closing(sqlite3.connect(tmp_path / "cache.db")) as database, database:
        for (trigger,) in database.execute(named).fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(change)
    with pytest.raises(InputError, match=f"{tmp_path}: not a usable prompt cache"):
        read(tmp_path, ["a"])


def test_a_corrupt_database_is_refused(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"\x00garbage" * 1000)
    with pytest.raises(InputError, match="not a usable prompt cache"):
        PromptCache(tmp_path)


# Planted rows


@pytest.fixture
def sprung(tmp_path):
    """The folder that a pickle in the cache would make; never there."""
    with PromptCache(tmp_path / "cache") as cache:
        cache.store(ORIGIN, {"a": record(1)})
    yield tmp_path / "sprung"
    assert not (tmp_path / "sprung").exists()


def test_the_trap_works_on_a_plain_diskcache(tmp_path, sprung):
    plant(tmp_path / "cache", "answer:a", value=pickle.dumps(Trap(sprung)))
    with diskcache.Cache(str(tmp_path / "cache"), disk=diskcache.Disk) as cache:
        cache.get("answer:a")
    sprung.rmdir()


READERS = {
    "answers": ("answer:a", lambda cache: cache.answers(["a"])),
    "known": ("answer:a", lambda cache: cache.known(["a"])),
    "recorded": ("answer:a", lambda cache: cache.recorded(["a"])),
    "records": ("answer:a", lambda cache: list(cache.records())),
    "store": ("answer:a", lambda cache: cache.store(ORIGIN, {"a": record(1)})),
    "merge": ("answer:a", lambda cache: cache.merge(Batch({}, {"a": canonical(record(1))}, {}))),
    "origins": (f"origin:{origin_id(ORIGIN)}", lambda cache: cache.origins()),
    "recorded origin": (f"origin:{origin_id(ORIGIN)}", lambda cache: cache.recorded(["a"])),
    "failures": ("failure:a", lambda cache: list(cache.failures())),
    "runs": ("run:describe:toy", lambda cache: cache.runs()),
}


@pytest.mark.parametrize(("key", "reader"), READERS.values(), ids=READERS)
def test_a_planted_row_that_is_no_text_is_refused_by_every_reader_unread(
    tmp_path, sprung, key, reader
):
    trap = pickle.dumps(Trap(sprung))
    (tmp_path / "cache" / "evil.val").write_bytes(trap)
    inside = [{"mode": mode, "value": trap} for mode in (0, 1, 2, 4)]
    beside = [{"mode": mode, "value": None, "filename": "evil.val"} for mode in (3, 4)]
    for row in inside + beside:
        plant(tmp_path / "cache", key, **row)
        refused = pytest.raises(InputError, match="a foreign row")
        with PromptCache(tmp_path / "cache") as cache, refused:
            reader(cache)


def test_a_planted_pickled_key_is_never_read(tmp_path, sprung):
    trap = pickle.dumps(Trap(sprung))
    plant(tmp_path / "cache", trap, raw=0, value=trap)
    with PromptCache(tmp_path / "cache") as cache:
        assert [key for key, _ in cache.records()] == ["a"]
        assert cache.answers(["a", trap.decode("latin1")]) == {"a": 1}
    plant(tmp_path / "cache", "answer:a", raw=0, value=trap)
    with PromptCache(tmp_path / "cache") as cache:
        assert cache.answers(["a"]) == {}
        for read_all in (lambda: list(cache._cache), lambda: list(cache.records())):
            with pytest.raises(InputError, match="a foreign row"):
                read_all()


# Sudden ends (test_kills has many more)

KILLED = """
import os, signal, sys
from pathlib import Path
from descry.annotators.prompt_cache import store
from descry.annotators.prompt_cache.store import PromptCache

with PromptCache(Path(sys.argv[1])) as cache:
    plain, done = store._seal, 0

    def deadly(text):
        global done
        done += 1
        if done == 125:  # in the third batch, each of which has an origin besides
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(text)

    store._seal = deadly
    for start in range(0, 1000, 50):
        cache.store({}, {str(n): {"response": n} for n in range(start, start + 50)})
"""


def test_a_writer_killed_in_a_batch_leaves_the_whole_batches_before_it(tmp_path):
    writer = python(KILLED, tmp_path)
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    assert read(tmp_path, [str(n) for n in range(1000)]) == {str(n): n for n in range(100)}


def test_a_record_is_canonical_json_text_in_the_database(tmp_path):
    open_with(tmp_path, {"a": "é"})
    with closing(sqlite3.connect(tmp_path / "cache.db")) as database:
        rows = database.execute("SELECT key, raw, mode, value FROM Cache ORDER BY key").fetchall()
    name = origin_id(ORIGIN)
    assert rows == [
        ("answer:a", 1, 3, canonical(record("é", origin=name))),
        (f"origin:{name}", 1, 3, canonical(ORIGIN)),
    ]


# Many answers at once


def test_many_answers_are_counted_as_the_triggers_of_diskcache_count_one(tmp_path):
    def triggers(database):
        rows = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return set(rows.fetchall())

    with PromptCache(tmp_path) as cache:
        before = triggers(cache._cache._con)
        answers = {sha256_text(str(i)): i for i in range(1_200)}
        cache.store(ORIGIN, records(answers))
        assert len(cache._cache) == 1 + len(answers)  # and their origin
        assert triggers(cache._cache._con) == before
        cache.store(ORIGIN, records({"one": 1}))
        assert len(cache._cache) == 2 + len(answers)
        cache.remove(list(answers)[:200], [])
        assert len(cache._cache) == 1_002
    assert read(tmp_path, list(answers)[200:]) == dict(list(answers.items())[200:])


def test_an_error_among_many_answers_leaves_nothing_of_them(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.store(ORIGIN, records({"one": 1}))
        known = cache.known
        cache.known = lambda keys: set()  # as if another process had stored it just now
        with pytest.raises(InputError):
            cache.store_missing(
                ORIGIN, records({sha256_text(str(i)): i for i in range(1_200)} | {"one": 1})
            )
        cache.known = known
        assert cache.stats()["answers"] == 1 and len(cache._cache) == 2
        cache.store(ORIGIN, records({"two": 2}))
        assert len(cache._cache) == 3


def test_of_answers_that_come_later_those_without_one_are_stored(tmp_path):
    with PromptCache(tmp_path) as cache:
        cache.store(ORIGIN, records({"one": 1}))
        cache.fail({"two": record(None, reason="time-out", model="model", task="p1")})
        assert cache.store_missing(LATER, records({"one": 3, "two": 2})) == {"two"}
        assert cache.answers(["one", "two"]) == {"one": 1, "two": 2}
        assert not cache.failed(["two"])
