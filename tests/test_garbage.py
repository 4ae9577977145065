"""Verify names what is wrong, gc removes what nobody asks for, and a forecast spends nothing."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
import yaml
from miniature import ROOT

from descry.annotators.base import Answer
from descry.annotators.factory import create
from descry.annotators.openai_server.annotator import EndpointAnnotator
from descry.annotators.prompt_cache.check import verify
from descry.annotators.prompt_cache.store import PromptCache, origin_id
from descry.annotators.prompts import p1, p2
from descry.annotators.records import origin_of, record_of, row_of
from descry.annotators.templates import p1_template
from descry.cli import app as cli
from descry.corpus.splits import sentence_id
from descry.errors import InputError
from descry.io.hashing import canonical
from descry.io.hdf5 import writing_hdf5
from descry.io.json_files import write_json
from descry.io.parquet import write_table
from descry.workflow.garbage import garbage
from descry.workflow.params import load
from descry.workflow.requests import forecast

COLUMNS = {
    "id": pa.string(),
    "split": pa.string(),
    "category": pa.string(),
    "text": pa.string(),
    "summary": pa.string(),
    "overall": pa.float64(),
    "asin": pa.string(),
    "reviewer": pa.string(),
    "time": pa.int64(),
    "source": pa.string(),
    "line": pa.int64(),
}
TEXTS = [f"Sentence {i} about the price of a thing, größer than {i * i}." for i in range(8)]
NAMES = ["price", "sound", "size"]
EXAMPLE = {"sentence": "It is cheap and loud.", "concepts": ["price", "sound"]}
MODEL = {
    "kind": "openai",
    "model": "toy-1",
    "revision": "toy-1-2024",
    "dtype": "unknown",
    "base_url": "http://localhost:1/v1",
    "api_key_env": None,
    "max_new_tokens": 32,
    "concurrency": 2,
    "timeout": 1.0,
    "retries": 0,
    "price": [1.0, 10.0],
}
ANN = {"kind": "human", "model": "ann", "revision": "round-1"}


class Study:
    """A folder with params, results and a prompt cache, and the command line in it."""

    def __init__(self, folder, capsys):
        self.results, self.file, self.capsys = folder / "results", folder / "params.yaml", capsys
        self.cache = folder / "cache/prompts"
        self.params = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())
        self.set("describe", annotators=[MODEL], examples=[EXAMPLE], max_failures=1.0)
        self.set("annotate", annotator=MODEL, max_failures=1.0)
        self.set("score", annotator=None)
        self.set("judge", annotator=None)
        self.corpus(TEXTS)
        self.descriptors(NAMES)

    def set(self, section, **values):
        self.params[section] |= values
        self.file.write_text(yaml.safe_dump(self.params))

    def model(self, stage, **changes):
        """The annotator of a stage is another."""
        spec = MODEL | changes
        self.set(stage, **({"annotators": [spec]} if stage == "describe" else {"annotator": spec}))

    def corpus(self, texts):
        halves = ("calibration", "validation")
        rows = [
            {
                "id": sentence_id(text),
                "split": halves[i % 2],
                "text": text,
                "source": "a",
                "line": i,
            }
            for i, text in enumerate(texts)
        ]
        table = pa.Table.from_pylist(rows, schema=pa.schema(list(COLUMNS.items())))
        write_table(self.results / "corpus.parquet", table, {"stage": "corpus"})

    def descriptors(self, names):
        entries = [
            {"name": name, "mentions": 9, "phrases": {name: 9}, "edited_from": []} for name in names
        ]
        made = {"made": {"stage": "cluster"}, "descriptors": entries, "dropped": []}
        write_json(self.results / "descriptors.json", made)

    def exemplars(self, rows, lowest=None):
        """Of a model with one neuron."""
        with writing_hdf5(self.results / "exemplars.h5", {"stage": "exemplars"}) as file:
            file.create_dataset("layer", data=np.array([0], dtype=np.int32))
            for split in ("all", "calibration", "validation"):
                file.create_dataset(f"{split}/row", data=np.array([[rows]], dtype=np.int32))
                if lowest:
                    data = np.array([[lowest]], dtype=np.int32)
                    file.create_dataset(f"lowest/{split}/row", data=data)

    def run(self, *arguments, status=0):
        """What the command line prints."""
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
            patch.setattr(sys, "argv", ["descry", *map(str, arguments)])
            cli.main()
        out, err = self.capsys.readouterr()
        assert (left.value.code or 0) == status, out + err
        return err if status == 2 else out

    def stage(self, name, *options, status=0):
        files = ["corpus=results/corpus.parquet"]
        if name == "describe":
            files.append("candidates=results/candidates.parquet")
        else:
            files += ["descriptors=results/descriptors.json", "exemplars=results/exemplars.h5"]
            written = {"annotate": "annotations", "judge": "judgements"}[name]
            files.append(f"{written}=results/{name}.h5")
        return self.run("stage", name, *files, *options, status=status)

    def open(self):
        return PromptCache(self.cache)

    def stored(self):
        """Answers, failures and origins by key."""
        with self.open() as cache:
            failures = dict(cache.failures())
            return dict(cache.records()), failures, cache.origins()

    def keys(self, annotator=None, texts=TEXTS, names=NAMES):
        """The keys of p2, made as annotate makes them, but not by it."""
        who = create(annotator or MODEL, "p2").identity
        return {who.request(prompt).key for prompt in p2(list(texts), list(names))}

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.cache / "cache.db")) as database, database:
            return database.execute(statement, values).fetchall()

    def verify(self):
        with self.open() as cache:
            return verify(cache, self.results)

    def forecast(self, price=None):
        with self.open() as cache:
            return {row.stage: row for row in forecast(load(self.file), self.results, cache, price)}


class Server:
    """In place of a server: answers by a hash of the prompt, until it has said enough."""

    enough = 10**9
    bad = ()  # sentences to which it has no answer
    asked = 0

    def answer(self, annotator, prompts, wanted):
        for i in sorted(wanted):
            self.asked += 1
            if self.asked > self.enough:
                raise InputError("the server is gone")
            yield [(i, self.say(annotator, prompts[i]))]

    def say(self, annotator, prompt):
        tokens = self.tokens(prompt)
        if prompt.sentence in self.bad:
            return Answer({"text": "Who knows?", "finish": "stop"}, tokens)
        words = "price, sound" if annotator.task == "p1" else ("Yes", "No")[len(prompt.text) % 2]
        return Answer({"text": words, "finish": "stop"}, tokens)

    def tokens(self, prompt):
        return len(prompt.text) // 3, 2 + len(prompt.descriptor)


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(EndpointAnnotator, "answer", lambda *given: server.answer(*given))
    return server


@pytest.fixture
def study(tmp_path, monkeypatch, capsys, server):
    monkeypatch.chdir(tmp_path)
    return Study(tmp_path, capsys)


@pytest.fixture
def asked(study):
    """A study whose stages have run: 8 answers to p1 and 24 to p2."""
    study.stage("describe")
    study.stage("annotate")
    assert [len(part) for part in study.stored()] == [32, 0, 2]
    return study


# Verify


def test_nothing_is_wrong_with_a_good_cache(asked):
    assert asdict(asked.verify()) == {"checked": 32, "elsewhere": 0, "wrong": {}, "drift": {}}
    out = asked.run("cache", "verify")
    assert out == (
        "32 keys follow from their requests, 0 do not; 0 are about sentences that are not in this"
        " corpus\n"
    )


def test_verify_checks_the_zero_shot_question_and_persons_too(study):
    study.set("describe", examples=1)
    study.stage("describe")
    study.set("judge", annotator=ANN, scope="corpus")
    with study.open() as cache:
        who = create(ANN, "p2")
        prompt = p2([TEXTS[0]], ["a descriptor | of any \x00 text"])[0]
        record = record_of(row_of(prompt), Answer({"text": "No", "finish": "stop"}))
        key = who.identity.request(prompt).key
        cache.store(origin_of(who, who.frame, prompt), {key: record})
    assert asdict(study.verify()) == {"checked": 10, "elsewhere": 0, "wrong": {}, "drift": {}}


def test_a_chat_template_is_part_of_what_is_verified(study):
    prompts = p1(TEXTS, p1_template(5, [{"sentence": "An example.", "concepts": ["price"]}]))
    frame = ("<|user|>", "<|assistant|>")
    who = create(MODEL, "p1")
    with study.open() as cache:
        records = {
            who.identity.request(prompt, frame).key: record_of(
                row_of(prompt), Answer({"text": "price", "finish": "stop"})
            )
            for prompt in prompts
        }
        cache.store(origin_of(who, frame, prompts[0]), records)
    assert (study.verify().checked, study.verify().wrong) == (8, {})


def p2_row(study):
    """Some answer to p2: its key and its record."""
    key = min(study.keys())
    return key, json.loads(study.stored()[0][key])


def put(study, key, record):
    text = record if isinstance(record, str) else canonical(record)
    study.sql("UPDATE Cache SET value = ?, tag = NULL WHERE key = ?", text, f"answer:{key}")


def other_sentence(study, key, record):
    ids = [sentence_id(text) for text in TEXTS]
    put(study, key, record | {"sentence": ids[ids.index(record["sentence"]) - 1]})


def other_descriptor(study, key, record):
    put(study, key, record | {"descriptor": record["descriptor"] + "s"})


def no_descriptor(study, key, record):
    del record["descriptor"]
    put(study, key, record)


def other_origin(study, key, record):
    put(
        study, key, record | {"origin": next(o for o in study.stored()[2] if o != record["origin"])}
    )


def unknown_origin(study, key, record):
    put(study, key, record | {"origin": "f" * 16})


def lose(name):
    def lost(study, key, record):
        del record[name]
        put(study, key, record)

    return lost


def flipped(study, key, record):
    """A bit of what was answered; what stands beside the text stays."""
    record["response"] |= {"finish": "stoq"}
    study.sql("UPDATE Cache SET value = ? WHERE key = ?", canonical(record), f"answer:{key}")


def no_json(study, key, record):
    put(study, key, canonical(record)[:-9])


TAMPERED = {
    "sentence": (other_sentence, "does not follow"),
    "descriptor": (other_descriptor, "does not follow"),
    "lost descriptor": (no_descriptor, "does not follow"),
    "other origin": (other_origin, "does not follow"),
    "unknown origin": (unknown_origin, "origin is missing"),
    "lost origin": (lose("origin"), "damaged"),
    "lost sentence": (lose("sentence"), "damaged"),
    "no JSON": (no_json, "damaged"),
    "another score": (flipped, "damaged"),
    "no object": (lambda study, key, _: put(study, key, "[1]"), "damaged"),
    "an object for an origin": (
        lambda study, key, record: put(study, key, record | {"origin": {}}),
        "damaged",
    ),
}


@pytest.mark.parametrize(("change", "words"), TAMPERED.values(), ids=TAMPERED)
def test_a_changed_answer_is_named(asked, change, words):
    key, record = p2_row(asked)
    change(asked, key, record)
    out = asked.run("cache", "verify", status=1)
    assert re.search(r"^31 keys follow from their requests, 1 do not; 0 are", out)
    (line,) = [line for line in out.splitlines() if line.startswith("wrong: ")]
    assert line.startswith(f"wrong: {key}: ")
    assert words in line


def test_a_changed_key_is_named(asked):
    key = min(asked.keys())
    other = "0" * 64
    asked.sql("UPDATE Cache SET key = ? WHERE key = ?", f"answer:{other}", f"answer:{key}")
    out = asked.run("cache", "verify", status=1)
    assert re.findall("^wrong: ([0-9a-f]+): the key does not follow", out, re.MULTILINE) == [other]


def test_two_swapped_answers_are_both_named(asked):
    one, two = sorted(asked.keys())[:2]
    records = asked.stored()[0]
    put(asked, one, records[two])
    put(asked, two, records[one])
    assert set(asked.verify().wrong) == {one, two}


FIELDS = {
    "template": ["Q: Does the Review: \u201c", '" talk about "', '"? Answer in Yes/No A:'],
    "frame": ["<|user|>", ""],
    "model": "toy-2",
    "revision": "toy-1-2025",
    "decoding": "{}",
    "dtype": "float32",
    "task": "p1",
}
SILENT = {"name": "toy-2", "versions": {"descry": "9"}, "server": {"base_url": "http://other/v1"}}


def p2_origin(study):
    return next((name, o) for name, o in study.stored()[2].items() if o["task"] == "p2")


def put_origin(study, name, origin):
    statement = "UPDATE Cache SET value = ?, tag = NULL WHERE key = ?"
    study.sql(statement, canonical(origin), f"origin:{name}")


@pytest.mark.parametrize(("field", "value"), (FIELDS | SILENT).items())
def test_a_changed_origin_is_named_with_all_its_answers(asked, field, value):
    name, origin = p2_origin(asked)
    put_origin(asked, name, origin | {field: value})
    found = asked.verify()
    assert found.wrong == dict.fromkeys(asked.keys(), "its origin is missing, or was changed")
    assert found.checked == 8
    out = asked.run("cache", "verify", status=1)
    assert set(re.findall("^wrong: ([0-9a-f]{64}): ", out, re.MULTILINE)) == asked.keys()


@pytest.mark.parametrize(("field", "value"), FIELDS.items())
def test_an_origin_that_was_changed_with_its_name_is_named(asked, field, value):
    name, origin = p2_origin(asked)
    forged = origin | {field: value}
    put_origin(asked, name, forged)
    for old, new in ((f'"{name}"', f'"{origin_id(forged)}"'), (f"origin:{name}", None)):
        if new:
            asked.sql("UPDATE Cache SET tag = NULL, value = replace(value, ?, ?)", old, new)
        else:
            asked.sql("UPDATE Cache SET key = ? WHERE key = ?", f"origin:{origin_id(forged)}", old)
    assert asked.verify().wrong == dict.fromkeys(
        asked.keys(), "the key does not follow from its request"
    )


def test_a_missing_origin_is_named_with_all_its_answers(asked):
    asked.sql("DELETE FROM Cache WHERE key = ?", f"origin:{p2_origin(asked)[0]}")
    assert asked.verify().wrong == dict.fromkeys(
        asked.keys(), "its origin is missing, or was changed"
    )
    asked.run("cache", "verify", status=1)


def test_answers_about_another_corpus_are_counted_and_not_wrong(asked):
    asked.corpus(TEXTS[:3])
    out = asked.run("cache", "verify")
    assert out.startswith("12 keys follow from their requests, 0 do not; 20 are about sentences")


def test_drift_of_versions_is_reported_and_not_wrong(asked):
    name, origin = p2_origin(asked)
    old = origin | {"versions": {"descry": "0.0.1", "numpy": np.__version__, "no-such-thing": "7"}}
    record = {"response": {"text": "No", "finish": "stop"}, "sentence": sentence_id("elsewhere")}
    unused = origin | {"versions": {"descry": "0.0.0"}}
    with asked.open() as cache:
        cache.store(old, {"a" * 64: record})
        cache.store(unused, {})
    assert asked.verify().drift == {"descry": {"0.0.1"}, "no-such-thing": {"7"}}
    out = asked.run("cache", "verify")
    assert re.findall("^drift: .*", out, re.MULTILINE) == [
        "drift: descry was 0.0.1 for some answers",
        "drift: no-such-thing was 7 for some answers",
    ]
    assert name in asked.stored()[2]


def test_verify_needs_the_corpus(asked):
    (asked.results / "corpus.parquet").unlink()
    assert "corpus.parquet: no such file" in asked.run("cache", "verify", status=2)


def test_an_empty_cache_is_good(study):
    assert study.run("cache", "verify").startswith("0 keys follow from their requests, 0 do not")


# Garbage


def removed(study, action):
    """Keys of answers, of failures and origins that go, and of answers and failures that stay."""
    before = study.stored()
    action()
    after = study.stored()
    assert all(after[n][key] == before[n][key] for n in range(3) for key in after[n])
    return [before[n].keys() - after[n].keys() for n in range(3)]


def test_there_is_nothing_to_remove_while_all_is_asked_for(asked):
    asked.set("judge", annotator=ANN, scope="corpus")
    out = asked.run("cache", "gc")
    assert out == ("0 answers and 0 failures would be removed by --delete; 32 answers are needed\n")
    assert removed(asked, lambda: asked.run("cache", "gc", "--delete")) == [set()] * 3


def test_a_dry_run_removes_nothing_and_says_what_it_would(asked):
    asked.model("annotate", revision="toy-1-2025")
    out = []
    assert removed(asked, lambda: out.append(asked.run("cache", "gc"))) == [set()] * 3
    assert out == [
        "24 answers of toy-1\n"
        "24 answers and 0 failures would be removed by --delete; 8 answers are needed\n"
    ]


def test_delete_removes_what_the_present_params_do_not_reach_and_no_more(asked):
    asked.model("annotate", revision="toy-1-2025")
    asked.stage("annotate")
    out = []
    answers, failures, origins = removed(
        asked, lambda: out.append(asked.run("cache", "gc", "--delete"))
    )
    assert (answers, failures, len(origins)) == (asked.keys(), set(), 1)
    assert "24 answers and 0 failures removed; 32 answers are needed" in out[0]
    asked.stage("describe", "--replay")
    asked.stage("annotate", "--replay")
    assert asked.verify().checked == 32


def test_answers_about_a_dropped_descriptor_and_a_dropped_sentence_go(asked):
    asked.descriptors(NAMES[:2])
    asked.corpus(TEXTS[1:])
    answers, _, origins = removed(asked, lambda: asked.run("cache", "gc", "--delete"))
    left = asked.keys(texts=TEXTS[1:], names=NAMES[:2])
    assert answers & asked.keys() == asked.keys() - left
    assert (len(answers), origins) == (24 - 14 + 1, set())
    asked.stage("describe", "--replay")
    asked.stage("annotate", "--replay")


def test_another_example_makes_all_of_p1_unreachable(asked):
    asked.set("describe", examples=[EXAMPLE | {"concepts": ["noise"]}])
    answers, _, origins = removed(asked, lambda: asked.run("cache", "gc", "--delete"))
    assert (len(answers), answers & asked.keys(), len(origins)) == (8, set(), 1)


def test_the_question_of_the_drawn_example_is_needed(study):
    study.set("describe", examples=1)
    study.stage("describe")
    study.stage("annotate")
    assert removed(study, lambda: study.run("cache", "gc", "--delete")) == [set()] * 3
    study.stage("describe", "--replay")


def test_answers_of_the_judge_are_needed_in_its_scope_only(asked):
    judge = MODEL | {"model": "judge-1"}
    asked.set("judge", annotator=judge, scope="corpus", max_failures=1.0)
    asked.stage("judge")
    asked.exemplars([1, 4])
    asked.set("judge", scope="exemplars", neurons=["L0:0"])
    answers, _, _ = removed(asked, lambda: asked.run("cache", "gc", "--delete"))
    kept = asked.keys(judge, texts=[TEXTS[1], TEXTS[4]])
    assert answers == asked.keys(judge) - kept
    asked.stage("judge", "--replay")


def test_unreachable_failures_go_and_reachable_ones_stay(study, server):
    server.bad = [TEXTS[0]]
    study.stage("annotate")
    study.model("annotate", revision="toy-1-2025")
    study.stage("annotate")
    _, failures, origins = study.stored()
    assert (len(failures), len(origins)) == (6, 2)
    answers, failures, origins = removed(study, lambda: study.run("cache", "gc", "--delete"))
    old = study.keys(texts=TEXTS[:1])
    assert (answers, failures, len(origins)) == (study.keys() - old, old, 1)


def test_an_origin_that_nobody_needs_goes(asked):
    with asked.open() as cache:
        cache.store(p2_origin(asked)[1] | {"versions": {"descry": "0.0.0"}}, {})
    assert [len(part) for part in removed(asked, lambda: asked.run("cache", "gc", "--delete"))] == [
        0,
        0,
        1,
    ]


def test_the_room_of_what_was_removed_is_given_back(asked):
    with asked.open() as cache:
        record = {"response": {"text": "x" * 2**20, "finish": "stop"}, "sentence": "none"}
        cache.store(p2_origin(asked)[1], {f"{i:064x}": record for i in range(4)})
    asked.run("cache", "gc", "--delete")
    assert (asked.cache / "cache.db").stat().st_size < 2**20


def test_gc_can_tell_what_is_damaged_apart(asked):
    key, record = p2_row(asked)
    put(asked, key, record | {"origin": "f" * 16})
    asked.descriptors(["size"] if record["descriptor"] != "size" else ["price"])
    assert "1 answers of a model that is not known: damaged" in asked.run("cache", "gc")


@pytest.mark.parametrize("options", [(), ("--delete",)])
@pytest.mark.parametrize("lost", ["descriptors.json", "corpus.parquet", "params.yaml"])
def test_gc_refuses_while_what_is_asked_is_not_known(asked, lost, options):
    (asked.file if lost == "params.yaml" else asked.results / lost).unlink()
    done = removed(asked, lambda: asked.run("cache", "gc", *options, status=2))
    assert done == [set()] * 3


def test_gc_refuses_while_the_exemplars_are_not_known(asked):
    asked.set("judge", annotator=ANN, scope="exemplars")
    out = asked.run("cache", "gc", "--delete", status=2)
    assert out == "error: what judge asks is not known yet: run the stages first\n"
    asked.exemplars([1, 4])
    asked.set("judge", neurons=1)
    asked.run("cache", "gc")


def test_gc_refuses_while_the_example_is_not_known(asked):
    asked.set("describe", examples=1)
    out = asked.run("cache", "gc", "--delete", status=2)
    assert out == "error: what describe asks is not known yet: run the stages first\n"
    assert len(asked.stored()[0]) == 32


def test_gc_counts_what_it_keeps_by_the_present_params(asked):
    with asked.open() as cache:
        found = garbage(cache, load(asked.file), asked.results)
    assert (found.answers, found.failures, found.kept, found.models) == ([], [], 32, {})


# Forecast


def row(out, stage):
    """The cells of a stage's line in a table."""
    (line,) = [line for line in out.splitlines() if line.startswith(f"│ {stage} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


P1 = list(p1(TEXTS, p1_template(5, [EXAMPLE])))
P2 = list(p2(TEXTS, NAMES))


def characters(prompts):
    return round(sum(len(prompt.text) for prompt in prompts) / 4)


def test_before_anything_ran_all_is_to_be_asked_and_tokens_are_estimated(study):
    found = study.forecast()
    assert list(found) == ["describe", "annotate"]
    for stage, prompts in (("describe", P1), ("annotate", P2)):
        got, tokens = found[stage], characters(prompts)
        assert (got.cached, got.to_ask, got.known) == (0, len(prompts), True)
        assert (got.tokens_in, got.tokens_out, got.seconds) == (tokens, None, None)
        assert got.dollars == pytest.approx(tokens * 1.0 / 1e6)
        assert got.batch_dollars == pytest.approx(tokens * 0.5 / 1e6)
        assert got.annotator == "toy-1 at localhost"


def test_half_way_tokens_are_the_mean_of_the_answers_so_far(study, server):
    study.stage("describe")
    server.enough = server.asked + 10
    study.stage("annotate", status=2)
    with study.open() as cache:
        cache.finish("annotate:toy-1 at localhost", {"rate": 0.5})
    found = study.forecast()["annotate"]
    spent = np.mean([server.tokens(prompt) for prompt in P2[:10]], axis=0)
    assert (found.cached, found.to_ask, found.known) == (10, 14, True)
    assert (found.tokens_in, found.tokens_out) == tuple(np.round(14 * spent).astype(int))
    assert found.seconds == 28
    assert found.dollars == pytest.approx((found.tokens_in + 10 * found.tokens_out) / 1e6)
    assert study.forecast()["describe"].to_ask == 0


def test_the_price_of_a_cascade_is_known_better_and_better(study):
    """At first the most it may be, then what the proxy's answers let expect, then what it was."""
    goals = {"recall": 0.5, "precision": 0.5, "accuracy": None, "delta": 0.2, "over": "descriptor"}
    how = {"proxy": {"kind": "words"}, "budget": None, "pilot": 3, "seed": 0}
    study.set("annotate", cascade=goals | how)

    def rows():
        with study.open() as cache:
            found = forecast(load(study.file), study.results, cache, (1.0, 1.0))
        return [row for row in found if row.stage == "annotate"]

    proxy, oracle = rows()
    assert proxy.annotator.startswith("words")
    assert (proxy.to_ask, oracle.to_ask, oracle.known, oracle.about) == (24, 24, False, False)
    assert "at most 24" in study.run("forecast", "--cache", "cache", "--results", "results")
    study.stage("annotate", "--shard", "1-of-2")
    proxy, oracle = rows()
    assert (proxy.to_ask, oracle.known, oracle.about) == (0, False, True)
    assert 0 < oracle.to_ask <= 24
    study.stage("annotate")
    proxy, oracle = rows()
    assert (oracle.to_ask, oracle.known, oracle.about) == (0, True, False)
    with study.open() as cache:
        asked = len(dict(cache.records())) - 24
        assert oracle.cached == asked
        assert garbage(cache, load(study.file), study.results).answers == []


def test_the_rate_is_that_of_the_last_run_that_asked(study, server):
    server.enough = 10
    study.stage("annotate", status=2)
    server.enough = 10**9
    with study.open() as cache:
        rate = cache.runs()["annotate:toy-1 at localhost"]["rate"]
    assert study.forecast()["annotate"].seconds == pytest.approx(14 / rate)
    study.stage("annotate")
    study.stage("annotate")
    with study.open() as cache:
        last = cache.runs()["annotate:toy-1 at localhost"]
    assert (last["cached"], last["asked"]) == (24, 0)
    assert last["rate"] > 0


def test_after_everything_nothing_is_to_be_asked(asked):
    for found in asked.forecast().values():
        assert (found.to_ask, found.tokens_in, found.tokens_out) == (0, 0, 0)
        assert (found.seconds, found.dollars, found.known) == (0, 0, True)
    out = asked.run("forecast")
    assert row(out, "describe")[2:] == ["8", "0", "0", "0", "0:00:00", "$0.00", "$0.00"]
    assert row(out, "annotate")[2:] == ["24", "0", "0", "0", "0:00:00", "$0.00", "$0.00"]


def test_what_failed_is_to_be_asked_again(study, server):
    server.bad = TEXTS[:2]
    study.stage("annotate")
    found = study.forecast()["annotate"]
    assert (found.cached, found.to_ask) == (18, 6)


def test_a_price_may_be_given_and_goes_before_that_of_params(study):
    tokens = characters(P2)
    assert study.forecast((0.5, 2.0))["annotate"].dollars == pytest.approx(tokens * 0.5 / 1e6)
    study.model("annotate", price=None)
    assert study.forecast()["annotate"].dollars is None
    assert row(study.run("forecast"), "annotate")[-1] == ""
    out = study.run("forecast", "--price", "1000,0")
    assert row(out, "annotate")[-2:] == [f"${tokens / 1000:.2f}", f"${tokens / 2000:.2f}"]


def test_a_batch_has_a_price_of_its_own_or_half_of_the_other_whichever_mode_is_set(study):
    tokens = characters(P2) / 1e6
    for changes, price in (({}, 0.5), ({"batch_price": [0.2, 1.0]}, 0.2), ({"mode": "batch"}, 0.5)):
        study.model("annotate", **changes)
        found = study.forecast()["annotate"]
        assert found.dollars == pytest.approx(tokens)
        assert found.batch_dollars == pytest.approx(tokens * price)


def test_without_a_server_nothing_is_said_of_batches(study):
    study.model("annotate", price=None)
    study.model("describe", price=None)
    assert "in batches" not in study.run("forecast")


@pytest.mark.parametrize("price", ["1", "1,2,3", "a,b", ""])
def test_a_bad_price_is_refused(study, price):
    assert "not two numbers" in study.run("forecast", "--price", price, status=2)
    assert "not two numbers" in study.run("cache", "stats", "--price", price, status=2)


def test_the_table_of_a_forecast(study, server):
    server.enough = 12
    study.stage("annotate", status=2)
    with study.open() as cache:
        cache.finish("annotate:toy-1 at localhost", {"rate": 0.01})
    study.set("judge", annotator=ANN, scope="corpus")
    out = study.run("forecast")
    spent = np.round(12 * np.mean([server.tokens(prompt) for prompt in P2[:12]], axis=0))
    tokens = [f"{int(n):,}" for n in spent]
    assert row(out, "annotate")[1:7] == ["toy-1 at localhost", "12", "12", *tokens, "0:20:00"]
    assert row(out, "describe")[4:7] == [f"{characters(P1):,}", "unknown", "no rate yet"]
    assert row(out, "judge")[1:4] == ["ann, round-1 (human)", "0", "24"]


def test_without_descriptors_there_are_as_many_as_there_may_be(study):
    (study.results / "descriptors.json").unlink()
    study.set("cluster", max_descriptors=35)
    found = study.forecast()
    assert (found["annotate"].to_ask, found["annotate"].known) == (8 * 35, False)
    assert found["describe"].known
    assert row(study.run("forecast"), "annotate")[3] == "at most 280"


def test_what_is_asked_about_exemplars_is_not_known_before_there_are_any(study):
    study.set("judge", annotator=ANN, scope="exemplars", neurons=3, sample=0)
    found = study.forecast()["judge"]
    assert (found.to_ask, found.known, found.after) == (0, False, "exemplars")
    assert row(study.run("forecast"), "judge")[3] == "not known before exemplars"
    study.exemplars([1, 4, 7])
    found = study.forecast()["judge"]
    assert (found.to_ask, found.known, found.after) == (9, True, None)
    study.exemplars([1, 4, 7], lowest=[4, 5, 6])
    assert study.forecast()["judge"].to_ask == 15


def test_the_drawn_example_is_forecast_before_what_depends_on_it(study):
    study.set("describe", examples=1)
    found = study.forecast()
    assert (found["examples"].to_ask, found["examples"].known) == (1, True)
    assert (found["describe"].to_ask, found["describe"].known) == (8, False)
    study.stage("describe")
    found = study.forecast()
    assert [found[stage].to_ask for stage in ("examples", "describe")] == [0, 0]
    assert found["describe"].known


def test_a_forecast_needs_a_corpus(study):
    (study.results / "corpus.parquet").unlink()
    assert "corpus.parquet: no such file" in study.run("forecast", status=2)


def test_a_forecast_asks_nothing_and_changes_nothing(study, server, monkeypatch):
    server.enough = 10
    study.stage("annotate", status=2)
    before, asked = study.sql("SELECT * FROM Cache ORDER BY rowid"), server.asked
    monkeypatch.setattr(EndpointAnnotator, "answer", None)
    study.run("forecast")
    assert server.asked == asked
    assert study.sql("SELECT * FROM Cache ORDER BY rowid") == before
    assert {path.name for path in study.results.iterdir()} == {"corpus.parquet", "descriptors.json"}


HEAVY = {"torch", "transformers", "sentence_transformers", "openai", "keybert", "sklearn"}


@pytest.mark.parametrize("command", [["forecast"], ["cache", "gc"], ["cache", "verify"]])
def test_no_model_is_loaded(asked, command):
    code = (
        "import sys\nfrom descry.cli import app as cli\ntry:\n    cli.main()\n"
        f"except SystemExit:\n    print(sorted({HEAVY} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert (run.stderr, run.stdout.splitlines()[-1]) == ("", "[]")


# Stats


def test_stats_count_answers_tokens_and_cost_by_model(asked, server):
    asked.model("annotate", model="toy-2", revision="toy-2-" + "x" * 40)
    asked.stage("annotate")
    out = asked.run("cache", "stats", "--price", "1000,10000")
    spent = {
        task: np.sum([server.tokens(prompt) for prompt in prompts], axis=0)
        for task, prompts in (("p1", P1), ("p2", P2))
    }
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in out.splitlines()
        if line.startswith("│")
    ]
    wanted = []
    for task, model, revision, count in (
        ("p1", "toy-1", "toy-1-2024", 8),
        ("p2", "toy-1", "toy-1-2024", 24),
        ("p2", "toy-2", "toy-2-xxxxxx", 24),
    ):
        tokens_in, tokens_out = spent[task]
        dollars = f"${tokens_in / 1000 + tokens_out / 100:.2f}"
        wanted.append(
            [task, model, revision, str(count), f"{tokens_in:,}", f"{tokens_out:,}", dollars]
        )
    assert rows == [*wanted, ["", "all", "", "56", "", "", ""]]
    assert "$" not in asked.run("cache", "stats")


def test_stats_show_failures_by_reason_and_hits_and_misses(study, server):
    server.bad = TEXTS[:2]
    study.stage("describe")
    server.enough = server.asked + 14
    study.stage("annotate", status=2)
    server.enough = 10**9
    study.stage("annotate")
    lines = study.run("cache", "stats").splitlines()
    assert "6 failed, to be asked again: neither Yes nor No" in lines
    (line,) = [line for line in lines if line.startswith("last run of annotate:")]
    assert re.fullmatch(
        r"last run of annotate:toy-1 at localhost: 8 hits, 16 misses, [\d,.]+ answers/s, 6 failed",
        line,
    )
    server.bad = ()
    study.stage("describe")
    study.stage("annotate")
    study.stage("annotate")
    lines = study.run("cache", "stats").splitlines()
    assert not [line for line in lines if "to be asked again" in line]
    assert "last run of annotate:toy-1 at localhost: 24 hits, 0 misses" in lines


def test_stats_show_how_many_sentences_were_cut(study, server, monkeypatch):
    plain = server.say
    monkeypatch.setattr(server, "say", lambda *given: plain(*given)._replace(cut=3))
    study.stage("annotate")
    assert ", 24 cut to the model's limit" in study.run("cache", "stats")


def test_a_hostile_name_does_not_steer_the_terminal(study):
    study.model("annotate", model="evil\x1b[31m\nlast run of x: [bold]", revision="\x1b[2J")
    study.stage("annotate")
    for command in (["cache", "stats"], ["forecast"]):
        out = study.run(*command)
        assert "\x1b" not in out
        assert "\nlast run of x" not in out
        assert "[bold]" in out


def test_the_stats_of_an_empty_cache(study):
    out = study.run("cache", "stats")
    assert "│      │ all   │          │       0 │" in out
