"""Exports hold every answer, their bytes depend on nothing else, and damaged ones are refused."""

import json
import os
import pickle
import random
import re
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from itertools import permutations
from pathlib import Path

import faults
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_ins import Scripted

from descry.annotators.base import NO_FRAME, Answer, Identity
from descry.annotators.prompt_cache import jsonl as exports
from descry.annotators.prompt_cache.jsonl import export, file_name, load
from descry.annotators.prompt_cache.jsonl import opened as opened_by
from descry.annotators.prompt_cache.store import PromptCache, origin_id
from descry.annotators.prompts import p1, p2
from descry.annotators.records import origin_of, record_of, row_of
from descry.annotators.templates import p1_template
from descry.cli import app as cli
from descry.errors import InputError
from descry.io.hashing import canonical, sha256_text

TEMPLATE = p1_template(5, [{"sentence": "An example.", "concepts": ["price"]}])


def answers(model="org/model", task="p2", count=10, versions=None, say=None):
    """An origin and its records, as asking makes them."""
    texts = [f"Sentence {i}, größer \u2028 {i * i}." for i in range(count)]
    prompts = p2(texts, ["price"]) if task == "p2" else p1(texts, TEMPLATE)
    identity = Identity(f"{model} (toy)", model, "r1", "float32", "{}")
    toy = Scripted(identity=identity, packages=("numpy",))
    origin = origin_of(toy, NO_FRAME, prompts[0]) | ({"versions": versions} if versions else {})
    words = {"p1": {"text": "price, sound", "finish": "stop"}, "p2": {"yes": -0.25, "no": -1.5}}
    return origin, {
        identity.request(prompt).key: record_of(
            row_of(prompt), Answer(say or words[task], (10 + i, 1), cut=i % 3)
        )
        for i, prompt in enumerate(prompts)
    }


ALL = [answers(model, task) for model in ("org/model", "other") for task in ("p1", "p2")]
ENTRIES = [(origin, key, record) for origin, records in ALL for key, record in records.items()]


def part_of(given, numbers):
    origin, records = given
    keys = list(records)
    return origin, {keys[n]: records[keys[n]] for n in numbers}


def fill(folder, *given):
    with PromptCache(folder) as cache:
        for origin, records in given:
            cache.store(origin, records)
    return folder


def write(cache, folder):
    """The bytes of a cache's exports, by file."""
    with PromptCache(cache) as opened:
        export(opened, folder)
    return read(folder)


def read(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def take(cache, *paths):
    with PromptCache(cache) as opened:
        return load(opened, list(paths))


def rows(cache):
    """All that a cache knows, but for the times."""
    with PromptCache(cache) as opened:
        return opened.origins(), list(opened.records()), list(opened.failures())


def descry(capsys, *arguments):
    """Exit status, standard output and standard error of the command line."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(sys, "argv", ["descry", *map(str, arguments)])
        cli.main()
    return left.value.code or 0, *capsys.readouterr()


@pytest.fixture
def cache(tmp_path):
    return fill(tmp_path / "cache", *ALL)


# The bytes


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wanted")
    return write(fill(folder / "cache", *ALL), folder / "out")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(ENTRIES))), sizes=st.lists(st.integers(1, 20), min_size=1))
def test_bytes_do_not_depend_on_order_or_transactions(tmp_path_factory, wanted, order, sizes):
    folder = tmp_path_factory.mktemp("shuffled")
    left, turn = list(order), 0
    with PromptCache(folder / "cache") as opened:
        while left:
            size = sizes[turn % len(sizes)]
            part, left, turn = left[:size], left[size:], turn + 1
            for origin, _ in ALL:
                chosen = {ENTRIES[i][1]: ENTRIES[i][2] for i in part if ENTRIES[i][0] == origin}
                if chosen:
                    opened.store(origin, chosen)
    assert write(folder / "cache", folder / "out") == wanted


def test_bytes_do_not_depend_on_the_time(tmp_path, wanted, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.0)
    assert write(fill(tmp_path / "cache", *ALL), tmp_path / "out") == wanted
    with PromptCache(tmp_path / "cache") as opened:
        (found,) = opened.recorded([ENTRIES[0][1]]).values()
        assert found["made"].startswith("2001-09-09")


def test_a_second_export_over_the_first_has_the_same_bytes(cache, tmp_path, wanted):
    assert write(cache, tmp_path / "out") == write(cache, tmp_path / "out") == wanted


# The files


def test_there_is_one_file_for_each_task_and_model(wanted):
    names = [re.sub("-[0-9a-f]{8}.jsonl$", "", name) for name in wanted]
    assert names == ["p1--org-model", "p1--other", "p2--org-model", "p2--other"]


def test_every_line_is_the_canonical_json_of_an_origin_or_an_answer(wanted):
    for data in wanted.values():
        text = data.decode()
        assert text.endswith("\n")
        lines = text.split("\n")[:-1]
        entries = [json.loads(line) for line in lines]
        assert [set(entry) for entry in entries] == [{"origin", "is"}] + [{"key", "is"}] * 10
        for entry, line in zip(entries, lines, strict=True):
            name, *_ = entry.keys() - {"is"}
            assert canonical(entry["is"]) in line
            assert len(line) == len(canonical({name: entry[name], "is": entry["is"]}))


def test_lines_are_sorted(tmp_path):
    upgraded = answers(versions={"descry": "9"}, count=20)
    data = write(fill(tmp_path / "cache", answers(), upgraded), tmp_path / "out")
    (text,) = data.values()
    entries = [json.loads(line) for line in text.splitlines()]
    assert ["origin" in entry for entry in entries] == [True, True] + [False] * 20
    for kind in ("origin", "key"):
        names = [entry[kind] for entry in entries if kind in entry]
        assert names == sorted(names)


def test_an_export_has_every_answer_with_its_origin_and_no_time(wanted):
    found = []
    for data in wanted.values():
        entries = [json.loads(line) for line in data.splitlines()]
        origins = {entry["origin"]: entry["is"] for entry in entries if "origin" in entry}
        found += [
            (origins[entry["is"].pop("origin")], entry["key"], entry["is"])
            for entry in entries
            if "key" in entry
        ]
        assert b'"made"' not in data
        assert b'"time"' not in data
    assert sorted(found, key=str) == sorted(ENTRIES, key=str)


def test_the_counts_are_those_of_the_answers(cache, tmp_path):
    with PromptCache(cache) as opened:
        assert list(export(opened, tmp_path / "out").values()) == [10] * 4


HOSTILE = [
    "../../../etc/passwd",
    "..",
    ".",
    "/",
    "/home/user/model",
    "C:\\model",
    ".hidden",
    "-rf",
    "a/b",
    "a-b",
    "a b",
    "a.b",
    "A/b",
    "a//b",
    "a/b/",
    "é",
    "e\u0301",
    "模型",
    "con",
    "CON",
    "~",
    "line\nbreak",
    "nul\0",
    "$(touch x)",
    "*",
    "x" * 5000,
    "x" * 5001,
]


def test_names_are_safe_and_alike_models_do_not_collide(tmp_path):
    given = [answers(model, count=1) for model in HOSTILE]
    cache = fill(tmp_path / "cache", *given)
    files = write(cache, tmp_path / "sub" / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "sub"}
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["out"]
    assert len({name.casefold() for name in files}) == len(HOSTILE)
    for name in files:
        assert re.fullmatch(r"p2--[A-Za-z0-9.-]*-[0-9a-f]{8}\.jsonl", name)
        assert len(name) < 128
    models = {json.loads(data.splitlines()[0])["is"]["model"] for data in files.values()}
    assert models == set(HOSTILE)
    take(tmp_path / "copy", tmp_path / "sub" / "out")
    assert write(tmp_path / "copy", tmp_path / "again") == files


def test_exports_of_other_models_stay(cache, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p2--older-00000000.jsonl").write_text("older\n")
    assert write(cache, tmp_path / "out")["p2--older-00000000.jsonl"] == b"older\n"


FAILURE = {"reason": "refusal", "response": "None", "model": "org/model", "task": "p1"}


def test_failures_stand_below_the_answers_of_their_model(cache, tmp_path, wanted):
    with PromptCache(cache) as opened:
        opened.fail({"f" * 64: FAILURE, "e" * 64: FAILURE | {"model": "only fails"}})
        # Asking stores an empty batch where all of it failed.
        opened.store(answers("only fails")[0], {})
    files = write(cache, tmp_path / "out")
    (alone,) = files.keys() - wanted.keys()
    assert alone.startswith("p1--only-fails-")
    more = {name: data.removeprefix(wanted.get(name, b"")) for name, data in files.items()}
    lines = {name: json.loads(data) for name, data in more.items() if data}
    named = {name.partition("--")[2][:9]: line for name, line in lines.items()}
    assert {name: line["failed"] for name, line in named.items()} == {
        "org-model": "f" * 64,
        "only-fail": "e" * 64,
    }
    take(tmp_path / "copy", tmp_path / "out")
    with PromptCache(tmp_path / "copy") as opened:
        found = opened.failed(["f" * 64, "e" * 64, "0" * 64])
    assert {key: record["reason"] for key, record in found.items()} == dict.fromkeys(
        ("f" * 64, "e" * 64), "refusal"
    )
    assert write(tmp_path / "copy", tmp_path / "again") == files


def test_a_failure_that_is_none_any_more_leaves_the_next_export(cache, tmp_path, wanted):
    with PromptCache(cache) as opened:
        opened.fail({"f" * 64: FAILURE})
    assert write(cache, tmp_path / "out") != wanted
    with PromptCache(cache) as opened:
        opened.remove([], ["f" * 64])
    assert write(cache, tmp_path / "out") == wanted


# Files as versions before 0.1.0 wrote them: people have bought what is in them.
FORMER_ORIGIN = (
    '{"is":{"decoding":"{}","dtype":"float32","frame":["",""],"model":"m","name":"m (toy)",'
    '"revision":"r1","task":"p2","template":["a","b","c"],"versions":{"numpy":"2"}},'
    '"origin":"641ce766a1e2b8c0"}\n'
)
FORMER_ANSWER = (
    '{"key":"%s","is":{"descriptor":"price","origin":"641ce766a1e2b8c0","response":'
    '{"no":-1.5,"yes":-0.25},"sentence":"0123456789abcdef","tokens":[10,1]}}\n'
)
FORMER_FAILURE = (
    '{"failed":"%s","is":{"model":"m","reason":"refusal","response":"None",'
    '"sentence":"0123456789abcdef","task":"p2"}}\n'
)


def test_files_of_before_are_read_and_the_next_export_has_all_of_them_in_one(tmp_path):
    (tmp_path / "out").mkdir()
    name = file_name({"task": "p2", "model": "m"}).removesuffix(".jsonl")
    former = {
        f"{name}.jsonl": FORMER_ORIGIN + FORMER_ANSWER % ("1" * 64),
        f"{name}.failed.jsonl": FORMER_FAILURE % ("2" * 64) + FORMER_FAILURE % ("3" * 64),
        "0f.journal.jsonl": FORMER_FAILURE % ("4" * 64) + FORMER_ORIGIN
        + FORMER_ANSWER % ("3" * 64) + (FORMER_ANSWER % ("5" * 64))[:90],
    }  # fmt: skip
    for file, text in former.items():
        (tmp_path / "out" / file).write_text(text)
    counts, conflicts = take(tmp_path / "cache", tmp_path / "out")
    assert (sorted(counts.values()), conflicts) == ([1, 2, 2], [])
    (tmp_path / "out/0f.journal.jsonl").unlink()
    made = FORMER_ORIGIN + FORMER_ANSWER % ("1" * 64) + FORMER_ANSWER % ("3" * 64)
    made += FORMER_FAILURE % ("2" * 64) + FORMER_FAILURE % ("4" * 64)
    assert write(tmp_path / "cache", tmp_path / "out") == {f"{name}.jsonl": made.encode()}


def test_a_folder_of_journals_takes_exports_and_each_row_is_journaled_once(cache, tmp_path, wanted):
    write(cache, tmp_path / "shared")
    new = answers("late")
    with opened_by(tmp_path / "nowhere", tmp_path / "shared") as opened:
        assert opened.stats()["answers"] == len(ENTRIES)
        opened.fail({"f" * 64: FAILURE})
        for some in (range(4), range(7), range(10)):
            opened.store(*part_of(new, some))
        opened.store(*ALL[0])
    (journal,) = (tmp_path / "shared").glob("*.journal.jsonl")
    entries = map(json.loads, journal.read_text().splitlines())
    kinds = [next(iter(entry.keys() - {"is"})) for entry in entries]
    assert Counter(kinds) == {"failed": 1, "origin": 1, "key": 10}
    take(tmp_path / "copy", tmp_path / "shared")
    with PromptCache(cache) as opened:
        opened.fail({"f" * 64: FAILURE})
    fill(cache, new)
    assert rows(tmp_path / "copy") == rows(cache)


def test_an_imported_failure_is_none_where_there_is_an_answer(tmp_path):
    origin, records = answers()
    key = next(iter(records))
    with PromptCache(tmp_path / "failing") as opened:
        opened.fail({key: FAILURE})
    (tmp_path / "out").mkdir()
    write(tmp_path / "failing", tmp_path / "out")
    fill(tmp_path / "cache", (origin, records))
    take(tmp_path / "cache", tmp_path / "out")
    with PromptCache(tmp_path / "cache") as opened:
        assert opened.failed([key]) == {}
        assert opened.answers([key])


@pytest.mark.parametrize(
    "entry",
    [
        {"failed": "f" * 63, "is": FAILURE},
        {"failed": "f" * 64, "is": FAILURE | {"task": "../p1"}},
        {"failed": "f" * 64, "is": FAILURE | {"reason": 1}},
        {"failed": "f" * 64, "is": {"reason": "refusal"}},
    ],
)
def test_a_damaged_failure_is_refused(tmp_path, entry):
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(entry) + "\n")
    with PromptCache(tmp_path / "cache") as cache, pytest.raises(InputError, match="line 1"):
        load(cache, [file])


def test_an_origin_without_answers_is_not_exported(cache, tmp_path, wanted):
    fill(cache, answers(versions={"descry": "9"}))  # another process came second
    assert len(rows(cache)[0]) == len(ALL) + 1
    assert write(cache, tmp_path / "out") == wanted


def test_an_empty_cache_has_no_exports(tmp_path):
    with PromptCache(tmp_path / "cache") as opened:
        assert export(opened, tmp_path / "out") == {}


class StopError(Exception):
    pass


def stopping(monkeypatch, error):
    plain = PromptCache.records

    def some(self):
        for n, row in enumerate(plain(self)):
            if n == 15:
                raise error
            yield row

    monkeypatch.setattr(PromptCache, "records", some)


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_an_interrupted_export_leaves_no_file(cache, tmp_path, monkeypatch, error):
    (tmp_path / "out").mkdir()
    stopping(monkeypatch, error)
    with pytest.raises(error):
        write(cache, tmp_path / "out")
    assert read(tmp_path / "out") == {}


def test_an_interrupted_export_leaves_the_one_before(cache, tmp_path, monkeypatch, wanted):
    write(cache, tmp_path / "out")
    fill(cache, answers(count=50))
    stopping(monkeypatch, StopError)
    with pytest.raises(StopError):
        write(cache, tmp_path / "out")
    assert read(tmp_path / "out") == wanted


def test_what_a_killed_export_left_is_no_export(cache, tmp_path):
    write(cache, tmp_path / "out")
    (tmp_path / "out" / ".p2--org-model-12345678.jsonl.99.part").write_text('{"origin":')
    assert sum(take(tmp_path / "copy", tmp_path / "out")[0].values()) == len(ENTRIES)


def test_an_answer_without_its_origin_is_not_exported_in_silence(cache, tmp_path):
    with closing(sqlite3.connect(cache / "cache.db")) as database, database:
        database.execute("DELETE FROM Cache WHERE key = ?", [f"origin:{origin_id(ALL[0][0])}"])
    with pytest.raises(InputError, match=r"the answer [0-9a-f]{64} is damaged.*verify"):
        write(cache, tmp_path / "out")
    assert read(tmp_path / "out") == {}


def test_an_export_shows_the_cache_of_one_moment(cache, tmp_path, monkeypatch, wanted):
    plain = PromptCache.by_origin

    def late(self):
        fill(cache, answers("late", count=50), answers(count=50))
        return plain(self)

    monkeypatch.setattr(PromptCache, "by_origin", late)
    assert write(cache, tmp_path / "out") == wanted
    assert len(rows(cache)[1]) == len(ENTRIES) + 50 + 40


# There and back


def test_what_was_imported_is_exported_byte_for_byte(cache, tmp_path, wanted):
    write(cache, tmp_path / "out")
    counts, conflicts = take(tmp_path / "copy", tmp_path / "out")
    assert (counts, conflicts) == (dict.fromkeys(wanted, 10), [])
    assert rows(tmp_path / "copy") == rows(cache)
    assert write(tmp_path / "copy", tmp_path / "again") == wanted


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=40)
@given(said=texts, model=texts, version=texts)
def test_any_text_comes_back(tmp_path_factory, said, model, version):
    folder = tmp_path_factory.mktemp("any")
    origin, records = answers(
        model, versions={"descry": version}, count=2, say={"text": said, "finish": said}
    )
    with PromptCache(folder / "cache") as cache, PromptCache(folder / "copy") as copy:
        cache.store(origin, records)
        export(cache, folder / "out")
        load(copy, [folder / "out"])
        export(copy, folder / "again")
        assert list(copy.records()) == list(cache.records())
        assert copy.origins() == {origin_id(origin): origin}
        assert copy.answers(list(records)) == {k: r["response"] for k, r in records.items()}
    assert read(folder / "again") == read(folder / "out")


@pytest.mark.parametrize("batch", [1, 3, 10, 11])
def test_an_import_of_many_transactions_takes_all(cache, tmp_path, wanted, monkeypatch, batch):
    monkeypatch.setattr(exports, "BATCH", batch)
    write(cache, tmp_path / "out")
    assert sum(take(tmp_path / "copy", tmp_path / "out")[0].values()) == len(ENTRIES)
    assert write(tmp_path / "copy", tmp_path / "again") == wanted


def test_an_import_twice_changes_nothing(cache, tmp_path):
    write(cache, tmp_path / "out")
    first = take(tmp_path / "copy", tmp_path / "out")
    before = rows(tmp_path / "copy")
    assert take(tmp_path / "copy", tmp_path / "out") == first
    assert rows(tmp_path / "copy") == before


def test_an_import_into_the_cache_that_made_it_changes_nothing(cache, tmp_path):
    before = rows(cache)
    write(cache, tmp_path / "out")
    assert take(cache, tmp_path / "out")[1] == []
    assert rows(cache) == before


def test_an_imported_answer_is_no_failure_any_more(cache, tmp_path):
    write(cache, tmp_path / "out")
    with PromptCache(tmp_path / "copy") as opened:
        opened.fail({ENTRIES[0][1]: {"reason": "refusal"}, "f" * 64: {"reason": "refusal"}})
    take(tmp_path / "copy", tmp_path / "out")
    assert [key for key, _ in rows(tmp_path / "copy")[2]] == ["f" * 64]


def test_windows_line_ends_do_no_harm(cache, tmp_path, wanted):
    write(cache, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    take(tmp_path / "copy", tmp_path / "out")
    assert write(tmp_path / "copy", tmp_path / "again") == wanted


# Merging


@settings(max_examples=8)
@given(st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=3, max_size=3))
def test_the_order_of_merging_does_not_matter(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("merge")
    for n, numbers in enumerate(parts):  # three machines, each with other versions
        given = answers(count=12, versions={"descry": str(n), "numpy": "2"})
        write(fill(folder / f"cache{n}", part_of(given, numbers)), folder / f"export{n}")
    found = []
    for order in permutations(range(3)):
        cache = folder / "".join(map(str, order))
        assert take(cache, *(folder / f"export{n}" for n in order))[1] == []
        found.append(write(cache, folder / "merged" / cache.name))
    assert found == [found[0]] * 6
    (text,) = found[0].values()
    keys = [json.loads(line).get("key") for line in text.splitlines()]
    assert sum(key is not None for key in keys) == len(set.union(*parts))


def test_merging_the_merged_changes_nothing(tmp_path):
    old, new = (answers(versions={"descry": version}) for version in "12")
    write(fill(tmp_path / "a", old), tmp_path / "of a")
    write(fill(tmp_path / "b", new), tmp_path / "of b")
    take(tmp_path / "a", tmp_path / "of b")
    both = write(tmp_path / "a", tmp_path / "both")
    take(tmp_path / "b", tmp_path / "both")
    assert write(tmp_path / "b", tmp_path / "again") == both
    assert take(tmp_path / "a", tmp_path / "of a", tmp_path / "of b", tmp_path / "both")[1] == []
    assert write(tmp_path / "a", tmp_path / "last") == both


def test_two_machines_exports_of_one_name_are_counted_together(tmp_path, capsys):
    given = answers(count=30)
    for name, numbers in (("a", range(12)), ("b", range(10, 30))):
        write(fill(tmp_path / name, part_of(given, numbers)), tmp_path / f"of {name}")
    folders = tmp_path / "of a", tmp_path / "of b"
    done, out, _ = descry(capsys, "cache", "import", *folders, "--cache", tmp_path / "cache")
    assert done == 0
    assert re.fullmatch(r"import: p2--org-model-\w+\.jsonl 32, conflicts 0\n", out)
    assert len(rows(tmp_path / "cache")[1]) == 30


# Conflicts


@pytest.fixture
def contradicting(tmp_path):
    """An export of 12 answers, of which the last of the cache's 10 says something else."""
    origin, records = answers(count=12)
    key = list(records)[9]
    records[key] = records[key] | {"response": {"yes": -1.5, "no": -0.25}}
    write(fill(tmp_path / "other", (origin, records)), tmp_path / "contradicting")
    return tmp_path / "contradicting", key


def test_conflicts_are_listed_and_nothing_is_overwritten(cache, contradicting):
    folder, key = contradicting
    before = dict(rows(cache)[1])
    (counts, conflicts) = take(cache, folder)
    assert (list(counts.values()), conflicts) == ([12], [key])
    after = dict(rows(cache)[1])
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2


def test_the_command_line_names_the_key_of_a_conflict_and_exits_with_1(
    cache, contradicting, capsys
):
    folder, key = contradicting
    done, out, err = descry(capsys, "cache", "import", folder, "--cache", cache)
    assert done == 1
    assert "conflicts 1" in out
    assert err == f"conflict: {key}: the cache has another response, which stays\n"


def test_two_answers_for_a_key_in_one_file_are_a_conflict(contradicting, tmp_path):
    folder, key = contradicting
    (path,) = folder.iterdir()
    lines = path.read_text().splitlines(keepends=True)
    (line,) = [line for line in lines if key in line]
    path.write_text("".join([*lines, line.replace("-0.25", "-0.75")]))
    assert take(tmp_path / "copy", path)[1] == [key]
    with PromptCache(tmp_path / "copy") as opened:
        assert opened.answers([key]) == {key: {"yes": -1.5, "no": -0.25}}


# Damage


def line(number, change):
    """A change of one line of an export; lines count from 1."""

    def damaged(data):
        lines = data.splitlines(keepends=True)
        lines[number - 1] = change(lines[number - 1])
        return b"".join(lines)

    return damaged


def swap(old, new):
    def swapped(data):
        assert old in data
        return data.replace(old, new)

    return swapped


def value(**changes):
    """A change of what a line says; an origin keeps the hash of what it is."""

    def changed(data):
        entry = json.loads(data)
        entry["is"] |= changes
        if "origin" in entry:
            entry["origin"] = sha256_text(json.dumps(entry["is"], **CANONICAL))[:16]
        return json.dumps(entry).encode() + b"\n"

    return changed


CANONICAL = {"sort_keys": True, "ensure_ascii": False, "separators": (",", ":")}


def without(name):
    def changed(data):
        entry = json.loads(data)
        del entry["is"][name]
        if "origin" in entry:
            entry["origin"] = origin_id(entry["is"])
        return canonical(entry).encode() + b"\n"

    return changed


def instead(data):
    return lambda _: data


def key(change):
    return lambda data: canonical(
        (entry := json.loads(data)) | {"key": change(entry["key"])}
    ).encode()


def cut(share):
    return lambda data: data[: int(len(data) * share)]


DAMAGE = {
    "cut off in the last line": (lambda data: data[:-20], 11),
    "cut off in the middle": (line(6, cut(0.5)), 6),
    "cut off in the first line": (cut(0.01), 1),
    "an empty file": (instead(b""), 1),
    "no JSON": (line(3, instead(b"nonsense\n")), 3),
    "HTML": (instead(b"<!DOCTYPE html>\n<html>sign in</html>\n"), 1),
    "a blank line": (line(4, lambda data: b"\n" + data), 4),
    "NaN": (line(5, swap(b"-0.25", b"NaN")), 5),
    "infinity": (line(5, swap(b"-0.25", b"-Infinity")), 5),
    "too large a number": (line(5, swap(b"-0.25", b"-1e999")), 5),
    "too long a number": (line(5, swap(b"-0.25", b"9" * 5000)), 5),
    "deep nesting": (line(5, swap(b"-0.25", b"[" * 100_000)), 5),
    "half a surrogate pair": (line(5, swap(b"-0.25", rb'"\ud800"')), 5),
    "a list": (line(2, instead(b"[1]\n")), 2),
    "a number": (line(2, instead(b"5\n")), 2),
    "null": (line(2, instead(b"null\n")), 2),
    "an answer that is null": (line(2, instead(b'{"key":"%s","is":null}\n' % (b"a" * 64))), 2),
    "an origin that is a list": (line(1, instead(b'{"origin":"a","is":[]}\n')), 1),
    "neither origin nor key": (line(2, swap(b'"key"', b'"kez"')), 2),
    "nothing said": (line(2, swap(b'"is"', b'"iz"')), 2),
    "a short key": (line(2, key(lambda name: name[:63])), 2),
    "a key of another alphabet": (line(2, key(lambda name: "g" + name[1:])), 2),
    "a key in capitals": (line(2, key(lambda name: "A" + name[1:].upper())), 2),
    "a key with a line break": (line(2, key(lambda name: name + "\n")), 2),
    "a key that is a number": (line(2, key(lambda _: 5)), 2),
    "an unknown origin": (line(2, value(origin="f" * 16)), 2),
    "an origin below its answers": (lambda data: data[data.index(b"\n") + 1 :], 1),
    "an origin that is a number": (line(2, value(origin=5)), 2),
    "an origin that is an object": (line(2, value(origin={})), 2),
    "no origin": (line(2, without("origin")), 2),
    "no response": (line(2, without("response")), 2),
    "a response in words": (line(2, value(response="Yes")), 2),
    "no sentence": (line(2, without("sentence")), 2),
    "a changed revision": (line(1, swap(b'"r1"', b'"r2"')), 1),
    "a changed template": (line(1, swap(b"Yes/No", b"No/Yes")), 1),
    "a changed version": (line(1, swap(b'"versions":{', b'"versions":{"torch":"9",')), 1),
    "a task that is a path": (line(1, value(task="../../p2")), 1),
    "a model that is a number": (line(1, value(model=5)), 1),
    "a frame of three": (line(1, value(frame=["", "", ""])), 1),
    "a template in one": (line(1, value(template="Is it?")), 1),
    "versions that are a list": (line(1, value(versions=["numpy"])), 1),
    "an origin with NaN": (line(1, value(more=float("nan"))), 1),
    "binary": (instead(bytes(range(256)) * 16), 1),
    "random bytes": (instead(random.Random(0).randbytes(5000)), 1),
    "a pickle": (instead(pickle.dumps(faults.Trap("sprung"))), 1),
    "gzip": (instead(b"\x1f\x8b\x08\x00" + bytes(50)), 1),
    "a database": (instead(b"SQLite format 3\x00" + bytes(200)), 1),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), 1),
    "Latin-1": (line(7, swap(b'"sentence"', b'"caf\xe9"')), 7),
} | {f"an origin without {name}": (line(1, without(name)), 1) for name in sorted(ALL[0][0])}


@pytest.mark.parametrize(("damage", "number"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_export_is_refused_with_file_and_line(tmp_path, damage, number):
    write(fill(tmp_path / "source", answers()), tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    cache = fill(tmp_path / "cache", answers("mine"))
    before = rows(cache)
    with pytest.raises(InputError) as refused:
        take(cache, tmp_path / "out")
    assert f"{path}: line {number}: not of an export" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert rows(cache) == before
    assert not Path("sprung").exists()


def test_what_stood_before_the_damage_is_kept_and_the_rest_comes_later(
    tmp_path, wanted, cache, monkeypatch
):
    monkeypatch.setattr(exports, "BATCH", 4)
    write(cache, tmp_path / "out")
    path = min((tmp_path / "out").iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="line 11"):
        take(tmp_path / "copy", tmp_path / "out")
    assert len(rows(tmp_path / "copy")[1]) == 8
    path.write_bytes(whole)
    take(tmp_path / "copy", tmp_path / "out")
    assert write(tmp_path / "copy", tmp_path / "again") == wanted


def test_missing_exports_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no export")
    (tmp_path / "folders" / "in the place of a file.jsonl").mkdir(parents=True)
    for name, words in (
        ("missing.jsonl", "no such file"),
        ("empty", r"no exports \(\*\.jsonl\) in it"),
        ("folders", "cannot be read"),
    ):
        with pytest.raises(InputError, match=rf"{name}.*: {words}"):
            take(tmp_path / "cache", tmp_path / name)


def test_all_paths_are_looked_for_before_anything_is_taken(cache, tmp_path):
    write(cache, tmp_path / "out")
    with pytest.raises(InputError, match="no such file"):
        take(tmp_path / "copy", tmp_path / "out", tmp_path / "missing.jsonl")
    assert rows(tmp_path / "copy") == ({}, [], [])


def test_the_command_line_says_in_one_line_what_is_damaged(cache, tmp_path, capsys):
    write(cache, tmp_path / "out")
    path = max((tmp_path / "out").iterdir())
    path.write_bytes(path.read_bytes()[:-20])
    done, _, err = descry(capsys, "cache", "import", path, "--cache", tmp_path / "copy")
    assert done == 2
    assert re.fullmatch(rf"error: {re.escape(str(path))}: line 11: .*\n", err)


def test_export_and_import_by_the_command_line(cache, tmp_path, capsys, wanted):
    first, copy, again = tmp_path / "first", tmp_path / "copy", tmp_path / "again"
    assert descry(capsys, "cache", "export", first, "--cache", cache)[0] == 0
    done, out, _ = descry(capsys, "cache", "import", first, "--cache", copy)
    assert (done, Counter(out.split())["10,"], "conflicts 0" in out) == (0, 4, True)
    done, out, _ = descry(capsys, "cache", "export", again, "--cache", copy)
    assert (done, out.startswith(f"export to {again}: p1--org-model")) == (0, True)
    assert read(first) == read(again) == wanted


@pytest.mark.parametrize(
    "key",
    [f"answer:{ENTRIES[3][1]}", f"origin:{origin_id(ENTRIES[3][0])}"],
    ids=["answer", "origin"],
)
def test_a_planted_row_is_neither_exported_nor_imported_over(cache, key, tmp_path, capsys):
    write(cache, tmp_path / "out")
    faults.plant(cache, key, value=pickle.dumps(faults.Trap(tmp_path / "sprung")))
    done, _, err = descry(capsys, "cache", "export", tmp_path / "again", "--cache", cache)
    assert (done, "a foreign row" in err, err.count("\n")) == (2, True, 1)
    assert not list((tmp_path / "again").glob("*"))
    if key.startswith("answer:"):
        with pytest.raises(InputError, match="a foreign row"):
            take(cache, tmp_path / "out")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_folder_that_cannot_be_written_is_refused(cache, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot be written"):
        write(cache, tmp_path / "locked")
