"""Annotators are asked once, only for what is missing; the embedded one answers sensibly."""

import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache as once
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from stand_ins import Absent, Mute, Scripted
from transformers import AutoTokenizer

from descry.annotators import chunks
from descry.annotators.base import NO_FRAME, Answer, Identity
from descry.annotators.client import AskOptions, answer_prompts, stored_frame
from descry.annotators.cost import survey
from descry.annotators.counts import Counts
from descry.annotators.embedding import annotator as embedded
from descry.annotators.embedding.annotator import EmbeddedAnnotator
from descry.annotators.embedding.keyphrases import candidate_words, key_phrases
from descry.annotators.embedding.similarity import match, match_both, windows
from descry.annotators.embedding.tries import BEST, CLAUSE, PART, Tries, best
from descry.annotators.factory import create
from descry.annotators.parsing.answers import parse_intruder, parse_rating, parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import detection, intruder, p1, p2, simulation
from descry.annotators.records import origin_of
from descry.annotators.templates import p1_template
from descry.corpus.splits import sentence_id
from descry.errors import InputError
from descry.io.provenance import versions
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint
from descry.models.embedder import sentence_embedder

CHECKPOINT = Checkpoint(MINILM, MINILM_COMMIT)
TEMPLATE = p1_template(5)

# ask()


@pytest.fixture
def chunk(monkeypatch):
    """Slabs of three prompts."""
    monkeypatch.setattr(chunks, "CHUNK", 3)


def prompts(*sentences):
    return p1(list(sentences), TEMPLATE)


def no_bad(response):
    if response["text"].startswith("bad"):
        raise UnparsableError(response["text"])


def put(folder, annotator, questions, *, check=no_bad, max_failures=0.0, replay=False, told=None):
    """The responses, and the tally; `told` takes what progress was told."""
    responses, tally = [], Counts()

    def progress(name, tally):
        if told is not None:
            told.append((name, tally.done, tally.total, tally.asked, tally.forecast))

    with PromptCache(folder) as cache:
        how = AskOptions("test", cache, max_failures, replay, progress)
        for chunk in answer_prompts(how, annotator, questions, check, tally):
            assert chunk.start == len(responses)
            responses += chunk.responses
    return responses, tally


def answers(responses):
    return [response and response["text"] for response in responses]


def ledger(folder):
    with PromptCache(folder) as cache:
        return [record for _, record in cache.failures()]


def last_run(folder):
    with PromptCache(folder) as cache:
        return cache.runs()["test:scripted"]


@given(st.data())
@settings(max_examples=40)
def test_answers_are_in_the_order_of_the_prompts_however_they_come(tmp_path_factory, data):
    sentences = data.draw(st.lists(st.sampled_from("abcdefg"), max_size=12))
    order = data.draw(st.randoms(use_true_random=False))
    annotator = Scripted(
        {"c": {"text": "bad"}},
        group=data.draw(st.integers(1, 4)),
        order=lambda rows: order.sample(sorted(rows), len(rows)),
    )
    folder = tmp_path_factory.mktemp("order")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK", data.draw(st.integers(1, 5)))
        responses, tally = put(folder, annotator, prompts(*sentences), max_failures=1.0)
    assert answers(responses) == [None if s == "c" else s for s in sentences]
    assert sorted(s for s in annotator.sentences if s != "c") == sorted({*sentences} - {"c"})
    assert tally.done == tally.total == len(sentences)
    assert tally.cached + tally.asked == len(sentences)


def test_a_second_run_asks_nothing(tmp_path):
    _, first = put(tmp_path, Scripted(), prompts("a", "b"))
    responses, second = put(tmp_path, Mute(), prompts("b", "a"))
    assert answers(responses) == ["b", "a"]
    assert (first.asked, first.cached, second.asked, second.cached) == (2, 0, 0, 2)


def test_only_what_is_missing_is_asked(tmp_path):
    put(tmp_path, Scripted(), prompts("a", "c"))
    annotator = Scripted()
    responses, _ = put(tmp_path, annotator, prompts("a", "b", "c", "d"))
    assert annotator.sentences == ["b", "d"]
    assert answers(responses) == ["a", "b", "c", "d"]


def test_all_prompts_of_a_slab_are_given_whichever_are_wanted(tmp_path, chunk):
    class Watching(Scripted):
        def answer(self, prompts, wanted):
            self.given = [prompt.sentence for prompt in prompts], sorted(wanted)
            return super().answer(prompts, wanted)

    put(tmp_path, Scripted(), prompts("a", "c"))
    annotator = Watching()
    put(tmp_path, annotator, prompts("a", "b", "c"))
    assert annotator.given == (["a", "b", "c"], [1])


@pytest.mark.parametrize("size", [3, 100])
def test_a_prompt_that_comes_twice_is_asked_once(tmp_path, monkeypatch, size):
    monkeypatch.setattr(chunks, "CHUNK", size)
    annotator = Scripted()
    responses, tally = put(tmp_path, annotator, prompts("a", "b", "a", "c", "a", "b"))
    assert annotator.sentences == ["a", "b", "c"]
    assert answers(responses) == ["a", "b", "a", "c", "a", "b"]
    assert (tally.done, tally.cached, tally.asked) == (6, 3, 3)


def test_slabs_are_runs_of_the_prompts_and_asked_only_when_they_are_taken(tmp_path, chunk):
    annotator, questions = Scripted(), prompts(*"abcdefgh")
    with PromptCache(tmp_path) as cache:
        how = AskOptions("test", cache, 0.0, False, lambda *_: None)
        chunks = answer_prompts(how, annotator, questions, no_bad, Counts())
        first = next(chunks)
        assert annotator.sentences == ["a", "b", "c"]
        found = [first, *chunks]
    assert [(each.start, answers(each.responses)) for each in found] == [
        (0, ["a", "b", "c"]),
        (3, ["d", "e", "f"]),
        (6, ["g", "h"]),
    ]
    keys = [annotator.identity.request(prompt).key for prompt in questions]
    assert [key for each in found for key in each.keys] == keys


def test_nothing_to_ask_is_no_fault(tmp_path):
    responses, tally = put(tmp_path, Mute(), prompts())
    assert (responses, tally.forecast) == ([], "")


def test_progress_ends_at_the_number_of_prompts(tmp_path, chunk):
    told = []
    put(tmp_path, Scripted(), prompts("a", "b", "a", "c", "d"), told=told)
    ticks = [(done, total) for _, done, total, *_ in told]
    assert ticks[-1] == (5, 5)
    assert ticks == sorted(ticks)
    assert {name for name, *_ in told} == {"scripted"}


def test_what_an_audit_needs_is_stored_with_the_answer(tmp_path):
    table = {"a": Answer({"text": "a"}, tokens=(12, 3), cut=4), "b": Answer({"text": "b"}, (8, 1))}
    annotator = Scripted(table, server="http://here/v1", packages=("numpy",))
    first, _ = p2(["a", "b"], ["price"])
    _, tally = put(tmp_path, annotator, p2(["a", "b"], ["price"]))
    assert (tally.tokens_in, tally.tokens_out, tally.cut) == (20, 4, 1)
    with PromptCache(tmp_path) as cache:
        (record,) = cache.recorded([annotator.identity.request(first).key]).values()
    del record["made"]
    assert record == {
        "response": {"text": "a"},
        "sentence": sentence_id("a"),
        "descriptor": "price",
        "tokens": [12, 3],
        "cut": 4,
        "origin": annotator.identity.as_json()
        | {
            "task": "p2",
            "template": list(first.template),
            "frame": ["", ""],
            "server": annotator.server,
            "versions": versions(["numpy"]),
        },
    }


def test_another_model_is_another_question(tmp_path):
    put(tmp_path, Scripted(), prompts("a"))
    annotator = Scripted(identity=Identity("other", "other", "0", "float32", "{}"))
    put(tmp_path, annotator, prompts("a"))
    assert annotator.sentences == ["a"]


# Failures


def test_a_failure_is_counted_by_reason_and_gives_no_answer(tmp_path):
    table = {"b": {"text": "bad smell"}, "c": {"text": "bad smell"}, "d": {"text": "bad"}}
    responses, tally = put(tmp_path, Scripted(table), prompts(*"abcd"), max_failures=1.0)
    assert answers(responses) == ["a", None, None, None]
    assert tally.failures == {"bad smell": 2, "bad": 1}
    assert tally.failed == 3


def test_a_failure_is_asked_again_by_the_next_run(tmp_path):
    put(tmp_path, Scripted({"b": {"text": "bad"}}), prompts("a", "b"), max_failures=1.0)
    annotator = Scripted()
    responses, tally = put(tmp_path, annotator, prompts("a", "b"))
    assert annotator.sentences == ["b"]
    assert answers(responses) == ["a", "b"]
    assert (tally.failed, ledger(tmp_path)) == (0, [])


def test_the_ledger_says_what_failed_and_why(tmp_path):
    put(tmp_path, Scripted({"b": {"text": "bad"}}), prompts("a", "b"), max_failures=1.0)
    failed = {"reason": "bad", "response": "{'text': 'bad'}", "model": "toy/scripted", "task": "p1"}
    assert ledger(tmp_path) == [failed | {"sentence": sentence_id("b")}]


def test_a_fault_is_in_the_ledger_and_no_answer_even_beside_a_response(tmp_path):
    lost, odd = Answer(None, fault="time-out"), Answer({"text": "b"}, (9, 1), fault="no choices")
    annotator = Scripted({"a": lost, "b": odd})
    responses, tally = put(tmp_path, annotator, prompts("a", "b", "c"), max_failures=1.0)
    assert answers(responses) == [None, None, "c"]
    assert tally.failures == {"time-out": 1, "no choices": 1}
    assert (tally.tokens_in, tally.tokens_out) == (9, 1)  # paid all the same
    found = {record["reason"]: record["response"] for record in ledger(tmp_path)}
    assert found == {"time-out": "None", "no choices": "{'text': 'b'}"}
    put(tmp_path, Scripted(), prompts("a", "b"))
    assert ledger(tmp_path) == []


def test_too_many_failures_end_the_run_but_keep_the_good_answers(tmp_path):
    table = {"b": {"text": "bad smell"}}
    told = r"1 of 4 answers failed \(1 bad smell, such as 'bad smell' to sentence \w{16}\).*20\.0%"
    with pytest.raises(InputError, match=told):
        put(tmp_path, Scripted(table, group=4), prompts(*"abcd"), max_failures=0.2)
    responses, _ = put(tmp_path, Mute(), prompts("a", "c", "d"))
    assert answers(responses) == ["a", "c", "d"]


@pytest.mark.parametrize("size", [3, 4, 100])
def test_nothing_is_asked_any_more_when_the_failures_can_no_longer_be_borne(
    tmp_path, monkeypatch, size
):
    monkeypatch.setattr(chunks, "CHUNK", size)
    annotator = Scripted({name: {"text": "bad"} for name in "bcf"}, group=1)
    with pytest.raises(InputError, match="3 of 12 answers failed"):
        put(tmp_path, annotator, prompts(*"abcdefghijkl"), max_failures=2 / 12)
    assert annotator.sentences == [*"abcdef"]


def test_each_reason_is_told_with_one_answer_short_and_printable(tmp_path):
    def check(response):
        if response["text"].startswith("bad"):
            raise UnparsableError("prose")

    table = {"b": {"text": "bad\x1b[2J\n" + "x" * 500}, "c": Answer(None, fault="time-out")}
    how = {"check": check, "max_failures": 0.4}
    for replay in (False, True):
        with pytest.raises(InputError, match="1 time-out, such as sentence ") as caught:
            put(tmp_path, Scripted(table, group=4), prompts(*"abcd"), replay=replay, **how)
        line = str(caught.value)
        assert f"to sentence {sentence_id('b')}" in line and "1 prose" in line and "[2J" in line
        assert line.isprintable() and len(line) < 500 + len(str(tmp_path))


def test_as_many_failures_as_allowed_are_borne(tmp_path):
    table = {"b": {"text": "bad smell"}}
    _, tally = put(tmp_path, Scripted(table), prompts("a", "b", "c", "d"), max_failures=0.25)
    assert tally.failed == 1


def test_a_stored_answer_that_fails_a_later_check_is_a_failure_and_not_asked_again(tmp_path):
    def strict(response):
        if response["text"] in "ac":
            raise UnparsableError("too short")

    put(tmp_path, Scripted(), prompts("a", "b", "c"))
    questions = prompts("a", "b", "a", "c")
    responses, tally = put(tmp_path, Mute(), questions, check=strict, max_failures=0.75)
    assert answers(responses) == [None, "b", None, None]
    assert (tally.failures, tally.cached, tally.asked) == ({"too short": 3}, 4, 0)
    with pytest.raises(
        InputError, match=r"3 of 4 answers failed \(3 too short, such as 'a' to sentence \w{16}\)"
    ):
        put(tmp_path, Mute(), questions, check=strict, max_failures=0.7)
    assert answers(put(tmp_path, Mute(), questions)[0]) == ["a", "b", "a", "c"]


def test_what_came_before_a_crash_is_kept(tmp_path):
    def dying(prompt):
        if prompt.sentence == "e":
            raise RuntimeError("out of memory")
        return {"text": prompt.sentence}

    with pytest.raises(RuntimeError):
        put(tmp_path, Scripted(dying), prompts(*"abcdef"))
    responses, _ = put(tmp_path, Mute(), prompts(*"abcd"))
    assert answers(responses) == [*"abcd"]


def test_a_annotator_that_leaves_prompts_out_is_a_fault_of_the_program(tmp_path):
    forgetful = Scripted(order=lambda wanted: sorted(wanted)[:-2])
    with pytest.raises(RuntimeError, match="scripted left 2 prompts out"):
        put(tmp_path, forgetful, prompts(*"abcd"))
    assert answers(put(tmp_path, Mute(), prompts("a", "b"))[0]) == ["a", "b"]


def test_a_score_that_is_not_finite_is_a_failure_like_any_other(tmp_path):
    table = {"a": {"yes": math.nan, "no": -1.0}, "b": {"yes": -0.5, "no": -1.0}}
    check = partial(parse_verdict, min_mass=0.1)
    responses, tally = put(
        tmp_path, Scripted(table), prompts("a", "b"), check=check, max_failures=1.0
    )
    assert tally.failures == {"log-probabilities are not finite": 1}
    assert responses == [None, table["b"]]


# What is about to be spent, and what was


def test_what_is_missing_is_foretold_before_anything_is_asked(tmp_path, chunk):
    sentences = [f"{letter}{'.' * 19}" for letter in "abcdefgh"]
    put(tmp_path, Scripted(), prompts(*sentences[:4]))
    told = []
    _, tally = put(tmp_path, Scripted(), prompts(*sentences), told=told)
    tokens = round(4 * (len(TEMPLATE[0]) + 20) / 4)
    said = f"scripted: 4 of 8 answers are cached; to ask: 4 (about {tokens} tokens)"
    assert tally.forecast == said
    first = next(i for i, (*_, forecast) in enumerate(told) if forecast)
    assert told[first] == ("scripted", 4, 8, 0, said)
    assert {forecast for *_, forecast in told[first:]} == {said}


def test_what_is_foretold_has_a_price_where_there_is_one(tmp_path):
    paid = Scripted(price=(20_000.0, 60_000.0), frame=("<user>", "<bot>"))
    _, tally = put(tmp_path, paid, prompts("a" * 100, "b" * 100))
    tokens = round(2 * (len("<user><bot>" + TEMPLATE[0]) + 100) / 4)
    assert tally.forecast.endswith(f"to ask: 2 (about {tokens} tokens, about ${tokens / 50:.2f})")


def test_nothing_is_foretold_where_nothing_is_missing(tmp_path):
    put(tmp_path, Scripted(), prompts("a", "b"))
    _, tally = put(tmp_path, Mute(), prompts("a", "b"))
    assert tally.forecast == ""


def test_a_survey_counts_what_is_missing_and_asks_nothing(tmp_path, chunk):
    put(tmp_path, Scripted(), prompts(*"abdg"))
    with PromptCache(tmp_path) as cache:
        found = survey(cache, Scripted.identity, NO_FRAME, prompts(*"abcdefg"))
        assert (found.missing, found.first) == (3, TEMPLATE[0] + "c")
        assert found.tokens == round(3 * (len(TEMPLATE[0]) + 1) / 4)
        nothing = survey(cache, Scripted.identity, NO_FRAME, prompts(*"abdg"))
        assert (nothing.missing, nothing.tokens, nothing.first) == (0, 0, "")


def test_the_counts_of_the_last_run_are_kept_with_its_rate(tmp_path):
    table = {"b": {"text": "bad"}, "c": Answer({"text": "c"}, (5, 2), cut=1)}
    _, tally = put(tmp_path, Scripted(table), prompts("a", "b", "c"), max_failures=1.0)
    found = last_run(tmp_path)
    assert found.pop("seconds") == pytest.approx(tally.asking, abs=1e-3)
    assert found.pop("rate") == tally.rate > 0
    counts = {"total": 3, "cached": 0, "asked": 3, "tokens_in": 5, "tokens_out": 2, "cut": 1}
    assert found == counts | {"failures": {"bad": 1}}


def test_a_run_that_asks_nothing_keeps_the_rate_of_the_one_before(tmp_path):
    put(tmp_path, Scripted(), prompts("a", "b"))
    rate = last_run(tmp_path)["rate"]
    put(tmp_path, Mute(), prompts("a", "b"))
    found = last_run(tmp_path)
    assert (found["rate"], found["asked"], found["cached"]) == (rate, 0, 2)


def test_the_first_run_has_no_rate_if_it_asks_nothing(tmp_path):
    put(tmp_path, Mute(), prompts())
    assert last_run(tmp_path)["rate"] is None


def test_the_counts_of_a_run_that_was_stopped_are_kept_too(tmp_path):
    with pytest.raises(InputError, match="1 of 4 answers failed"):
        put(tmp_path, Scripted({"b": {"text": "bad"}}), prompts(*"abcd"))
    found = last_run(tmp_path)
    assert (found["total"], found["asked"], found["failures"]) == (4, 2, {"bad": 1})
    assert found["rate"] > 0


# Replay


def test_in_replay_answers_come_from_the_cache_alone(tmp_path):
    put(tmp_path, Scripted(), prompts(*"abc"))
    responses, tally = put(tmp_path, Absent(), prompts(*"cab"), replay=True)
    assert answers(responses) == ["c", "a", "b"]
    assert (tally.cached, tally.asked) == (3, 0)


@pytest.mark.parametrize("frame", [NO_FRAME, ("<user>", "<bot>")])
def test_a_miss_in_replay_names_what_is_missing_and_touches_no_annotator(tmp_path, chunk, frame):
    made = Scripted()
    made.frame = frame
    put(tmp_path, made, prompts(*"abcd"))
    with pytest.raises(InputError) as caught:
        put(tmp_path, Absent(), prompts(*"abcdefgh"), replay=True)
    said = str(caught.value)
    assert said.startswith("scripted: replay: 4 of 8 answers to p1 are not in ")
    assert "(model toy/scripted)" in said
    assert said.endswith(repr(TEMPLATE[0] + "e"))


def test_a_replay_bears_the_failures_that_the_run_bore(tmp_path):
    table = {"b": {"text": "bad smell"}}
    asked, _ = put(tmp_path, Scripted(table), prompts(*"abca"), max_failures=0.5)
    again, tally = put(tmp_path, Absent(), prompts(*"abca"), max_failures=0.5, replay=True)
    assert again == asked
    assert tally.failures == {"bad smell": 1}
    assert tally.done == tally.total == 4
    with pytest.raises(InputError, match="1 of 4 answers failed"):
        put(tmp_path, Absent(), prompts(*"abca"), max_failures=0.2, replay=True)
    with pytest.raises(InputError, match="replay: 1 of 5 answers"):
        put(tmp_path, Absent(), prompts(*"abcax"), max_failures=0.5, replay=True)


def test_replay_of_an_empty_cache_touches_no_annotator_either(tmp_path):
    with pytest.raises(InputError, match="replay: 2 of 2 answers to p2"):
        put(tmp_path, Absent(), p2(["a"], ["price", "smell"]), replay=True)
    assert ledger(tmp_path) == []


def test_of_a_long_prompt_the_error_shows_the_beginning(tmp_path):
    with pytest.raises(InputError) as caught:
        put(tmp_path, Absent(), prompts("long " * 1000 + "\n"), replay=True)
    assert len(str(caught.value)) < 600 + len(str(tmp_path))
    assert "\n" not in str(caught.value)


# The frame


def test_the_frame_is_part_of_the_question(tmp_path):
    framed, question = Scripted(frame=("<user>", "<bot>")), prompts("a")
    put(tmp_path, framed, question)
    plain, around = (framed.identity.request(question[0], f) for f in (NO_FRAME, framed.frame))
    assert around.prompt == "<user>" + plain.prompt + "<bot>"
    with PromptCache(tmp_path) as cache:
        assert cache.known([plain.key, around.key]) == {around.key}
        assert cache.recorded([around.key])[around.key]["origin"]["frame"] == ["<user>", "<bot>"]


@pytest.mark.parametrize("name", Scripted.identity.as_json())
def test_an_origin_is_a_annotators_where_all_of_its_identity_is_in_it(name):
    who = Scripted.identity
    origin = origin_of(Scripted(), ("<user>", "<bot>"), prompts("a")[0])
    assert who.answered(origin)
    assert not who.answered(origin | {name: "another"})


def test_the_frame_in_the_cache_is_used_without_asking_the_annotator_for_it(tmp_path):
    framed = Scripted(frame=("<user>", "<bot>"))
    other = Absent(identity=Identity("other", "toy/scripted", "1", "float32", "{}"))
    put(tmp_path, framed, prompts("a", "b"))
    assert answers(put(tmp_path, Absent(), prompts("b", "a"))[0]) == ["b", "a"]
    with PromptCache(tmp_path) as cache:
        assert stored_frame(cache, Scripted.identity) == framed.frame
        assert stored_frame(cache, other.identity) is None
    with pytest.raises(AssertionError, match="the tokenizer was loaded"):
        put(tmp_path, other, prompts("a"))


# Kinds of annotators

SPECS = {
    "embedded": {"model": MINILM, "revision": MINILM_COMMIT},
    "transformers": {
        "model": "google/flan-t5-xl",
        "revision": "0" * 40,
        "dtype": "bfloat16",
        "device": "auto",
        "max_tokens": 512,
        "max_new_tokens": 64,
        "batch_tokens": 4096,
    },
    "openai": {
        "model": "tiny",
        "revision": "tiny-1",
        "dtype": "unknown",
        "base_url": "http://127.0.0.1:1/v1",
        "api_key_env": None,
        "max_new_tokens": 64,
        "concurrency": 2,
        "timeout": 5.0,
        "retries": 0,
        "price": None,
    },
    "human": {"model": "ann", "revision": "round-1"},
    "words": {},
}


def test_who_answers_is_known_of_every_kind_without_a_model_library():
    code = """
import json, sys
for name in ("torch", "transformers", "sentence_transformers", "openai"):
    sys.modules[name] = None
from descry.annotators.factory import create
for kind, spec in json.loads(sys.argv[1]).items():
    for task in ("p1", "p2"):
        made = create({"kind": kind} | spec, task, max_descriptors=5, descriptors={}, corpus=[])
        print(made.identity.name)
"""
    command = [sys.executable, "-c", code, json.dumps(SPECS)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[::2] == said[1::2]
    assert said[::2] == [
        f"embedded ({MINILM}, no generative model)",
        "google/flan-t5-xl (bfloat16)",
        "tiny at 127.0.0.1",
        "ann, round-1 (human)",
        "words (of the descriptors' phrases, no model)",
    ]


def test_no_two_kinds_share_an_answer():
    question = p2(["It is cheap."], ["price"])[0]
    specs = [{"kind": kind} | spec for kind, spec in SPECS.items()]
    made = [create(spec, "p2", descriptors={}, corpus=[]) for spec in specs]
    keys = {annotator.identity.request(question).key for annotator in made}
    assert len(keys) == len(SPECS)


@pytest.mark.parametrize("task", ["intruder", "simulation"])
@pytest.mark.parametrize(
    ("kind", "told"),
    [("human", r"ann \(human\): people answer only p2"), ("words", "words: they answer only p2")],
)
def test_people_and_words_are_asked_p2_alone(task, kind, told):
    with pytest.raises(InputError, match=rf"{told}.*for {task},"):
        create({"kind": kind} | SPECS[kind], task)


@pytest.mark.parametrize("kind", ["transformers", "openai"])
def test_numbers_are_asked_for_in_a_few_words(kind):
    made = {
        task: create({"kind": kind} | SPECS[kind], task).identity
        for task in ("p1", "p2", "intruder", "simulation")
    }
    # One model answers both, so that it is loaded once.
    assert made["intruder"] == made["simulation"]
    assert len(set(made.values())) == 3
    assert json.loads(made["intruder"].decoding)["max_new_tokens"] == 8


# The embedded annotator

REVIEWS = {
    "price": [
        "At twelve dollars you really cannot find a cheaper one.",
        "Far too expensive for what you get.",
        "I paid half as much for the same item elsewhere.",
        "It is a bargain and worth every penny.",
        "The cost has doubled since last year.",
        "Great value for the money, I will order two more.",
        "Overpriced, so wait until it goes on sale.",
        "My budget was tight and this was affordable.",
        "They charge thirty bucks for a piece of plastic.",
        "Good deal, I got it with a big discount.",
    ],
    "battery": [
        "The battery dies after two hours.",
        "It holds a charge for a whole week.",
        "I have to plug it in every night because it runs out of power.",
        "Takes forever to recharge once it is empty.",
        "The rechargeable batteries never lasted through a trip.",
        "After a year the battery swelled and would not charge.",
        "Two AA batteries keep it going for months.",
        "Battery life is excellent even with the screen on.",
        "It came with a dead battery and no charger.",
        "Drains the batteries overnight even when switched off.",
    ],
    "smell": [
        "It smells like burnt rubber when you open the box.",
        "A lovely scent of lavender fills the room.",
        "The odor never went away, even after washing.",
        "My wife says the fragrance is too strong.",
        "There was an awful chemical stench at first.",
        "It stinks of fish.",
        "A fresh, clean smell that lasts all day.",
        "The perfume reminds me of my grandmother.",
        "No unpleasant odour at all, which surprised me.",
        "The candle has a faint aroma of vanilla.",
    ],
    "size": [
        "It runs small, so order one size up.",
        "Much bigger than it looks in the picture.",
        "Too large to fit in my bag.",
        "The medium fits me perfectly.",
        "It was tiny, about as long as my thumb.",
        "These are too tight around the waist.",
        "The dimensions on the page are wrong by two inches.",
        "A compact size that slides under the bed.",
        "Way too long, I had to shorten the sleeves.",
        "I ordered the extra large and it was still small.",
    ],
    "taste": [
        "It tastes like cardboard.",
        "Delicious, my children ate the whole bag.",
        "The flavor is too sweet for me.",
        "A bitter aftertaste that stays in the mouth.",
        "The chocolate is rich and very tasty.",
        "Bland, it needs salt and pepper.",
        "The strawberry flavour is artificial.",
        "The best tasting coffee I have had in years.",
        "Too salty to eat on its own.",
        "It is yummy with milk in the morning.",
    ],
    "shipping": [
        "It arrived two days late.",
        "Fast delivery, well before the date they promised.",
        "The package was crushed when the mail carrier brought it.",
        "Shipping took three weeks from overseas.",
        "They shipped it the same day and I had it on Friday.",
        "The parcel got lost and had to be sent again.",
        "Delivered quickly to my door.",
        "The tracking number never worked, so I waited for the courier.",
        "Came on time and well packed.",
        "Slow shipment, it sat in a warehouse for a month.",
    ],
}
SENTENCES = [sentence for group in REVIEWS.values() for sentence in group]
PHRASES = {
    "price": {"cheap": 4, "expensive": 3, "cost": 2},
    "battery": {"charge": 3, "batteries": 2},
    "smell": {"scent": 3, "odor": 2},
    "size": {"small": 3, "large": 2, "fit": 2},
    "taste": {"flavor": 3, "delicious": 2},
    "shipping": {"delivery": 3, "arrived": 2},
}


@pytest.fixture(scope="module")
def embed():
    return sentence_embedder(CHECKPOINT)


@pytest.fixture
def model(embed, monkeypatch):
    """The packaged model, loaded once for the file."""
    monkeypatch.setattr(embedded, "sentence_embedder", lambda *_: embed)


@pytest.fixture
def broken_model(monkeypatch):
    def load(_):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(embedded, "sentence_embedder", load)


def said(annotator, questions):
    """The responses to all questions, in their order."""
    groups = annotator.answer(questions, range(len(questions)))
    found = dict(pair for group in groups for pair in group)
    return [found[row].response for row in range(len(questions))]


def topics(sentences, max_descriptors=5):
    annotator = EmbeddedAnnotator(CHECKPOINT, max_descriptors, None, None)
    return [response["text"] for response in said(annotator, prompts(*sentences))]


def judge(descriptors=PHRASES, corpus=SENTENCES):
    return EmbeddedAnnotator(CHECKPOINT, None, descriptors, corpus)


def odds_of(annotator, questions):
    return [parse_verdict(response, 0.1).odds for response in said(annotator, questions)]


def test_its_name_says_that_there_is_no_generative_model():
    assert "no generative model" in judge().identity.name


def test_it_is_what_params_yaml_calls_embedded():
    made = create({"kind": "embedded"} | SPECS["embedded"], "p1", max_descriptors=5)
    assert made.identity == EmbeddedAnnotator(CHECKPOINT, 5, None, None).identity


def test_the_model_is_not_loaded_when_every_answer_is_cached(tmp_path, broken_model):
    annotator = EmbeddedAnnotator(CHECKPOINT, 5, None, None)
    question = prompts("The battery dies.")
    key = annotator.identity.request(question[0]).key
    with PromptCache(tmp_path) as cache:
        origin = origin_of(annotator, NO_FRAME, question[0])
        cache.store(origin, {key: {"response": {"text": "battery", "finish": "stop"}}})
    responses, _ = put(tmp_path, annotator, question)
    assert answers(responses) == ["battery"]


@pytest.mark.usefixtures("model")
def test_only_what_is_wanted_is_answered_in_groups(monkeypatch):
    monkeypatch.setattr(embedded, "_GROUP", 2)
    annotator = EmbeddedAnnotator(CHECKPOINT, 5, None, None)
    groups = list(annotator.answer(prompts(*SENTENCES[:6]), {5, 0, 2}))
    assert [[row for row, _ in group] for group in groups] == [[0, 2], [5]]
    found = [answer.response["text"] for group in groups for _, answer in group]
    assert found == topics([SENTENCES[row] for row in (0, 2, 5)])


# p1: key phrases


@pytest.mark.usefixtures("model")
def test_the_topics_are_words_of_the_sentence_and_not_too_many():
    for sentence, answer in zip(SENTENCES[::3], topics(SENTENCES[::3], 3), strict=True):
        found = parse_topics({"text": answer, "finish": "stop"}, 3, 1)
        assert 1 <= len(found) <= 3
        assert set(found) <= set(candidate_words(sentence))


@pytest.mark.usefixtures("model")
def test_the_first_topic_is_the_nearest_to_the_sentence():
    assert topics(["The battery of this old phone dies after two hours."])[0].startswith("battery")


@pytest.mark.usefixtures("model")
def test_the_topics_of_a_sentence_do_not_depend_on_the_others():
    together = topics(SENTENCES[::15])
    assert [topics([sentence])[0] for sentence in SENTENCES[::15]] == together


@pytest.mark.parametrize("sentences", [["It is."], ["It is.", "To be, or not to be?"], [""]])
def test_sentences_without_content_words_get_no_topics(embed, sentences):
    assert key_phrases(sentences, embed, 5) == [[]] * len(sentences)


def test_a_sentence_without_content_words_takes_nothing_from_its_neighbours(embed):
    found = key_phrases(["Great battery.", "It is.", "Nice smell."], embed, 1)
    assert found == [["battery"], [], ["smell"]]


@pytest.mark.parametrize(
    "noise",
    [
        *(
            "don't",
            "DON’T",
            "can`t",
            "they´ll",
            "I've",
            "that's",
            "would've",
            "dont",
            "thats",
            "let's",
        ),
        *("do n't", "don ' t", "didn ’ t", "who'd"),
        *(
            "https://shop.example/lamp?id=kettle",
            "www.lamp.example/kettle",
            "amazon.com/dp/B07KETTLE",
        ),
        *("kettle.lamp@mail.example", "manual.pdf", ". com"),
        *(
            "<div class='lamp'>",
            "</span>",
            "<|lamp|>",
            "&nbsp;",
            "&#39;",
            "[[VIDEOID:lamp]]",
            "<!-- lamp -->",
        ),
        *("12345", "3.50", "B07XYZ123", "10x"),
        *("电池很耐用充电也快", "とても良い", "แบตเตอรี่ดี"),
    ],
)
def test_contractions_addresses_markup_and_numbers_are_no_topics(noise):
    assert candidate_words(f"The battery {noise} screen") == ["battery", "screen"]


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("My mother's lamp, the dog’s bowl", ["mother", "lamp", "dog", "bowl"]),
        ("Great.It works", ["great", "works"]),
        ("I <3 this lamp & the kettle > all", ["lamp", "kettle"]),
        ("Rock'n'roll, café", ["café"]),
    ],
)
def test_words_beside_what_is_no_topic_stay(sentence, words):
    assert candidate_words(sentence) == words


@pytest.mark.parametrize("hostile", ["a" * 200_000, "a." * 100_000, "a@" * 100_000, "<a" * 100_000])
def test_topics_of_no_sentence_take_long(hostile):
    began = time.process_time()
    candidate_words(hostile)
    assert time.process_time() - began < 2


def test_sentences_of_a_script_without_blanks_are_refused(embed):
    sentences = ["电池很耐用充电也快我每天都用它", "屏幕很清楚字很大", "The battery is good."]
    with pytest.raises(InputError, match=r"words between blanks.*kind transformers or openai"):
        key_phrases(sentences, embed, 5)
    assert key_phrases([*sentences[1:], "Nice smell."], embed, 1) == [[], ["battery"], ["smell"]]


@pytest.mark.usefixtures("model")
def test_a_sentence_without_topics_is_a_failure_not_data(tmp_path):
    check = partial(parse_topics, max_descriptors=5, max_words=4)
    annotator = EmbeddedAnnotator(CHECKPOINT, 5, None, None)
    responses, tally = put(tmp_path, annotator, prompts("It is."), check=check, max_failures=1.0)
    assert responses == [None]
    assert tally.failures == {"empty answer": 1}


def test_a_sentence_beyond_what_the_embedder_reads_is_counted(model, tmp_path):
    long = "The battery is great. " * 80
    prompts = p1([long, "The battery is great."], TEMPLATE)
    annotator = EmbeddedAnnotator(CHECKPOINT, 5, None, None)
    (group,) = annotator.answer(prompts, {0, 1})
    tokens = AutoTokenizer.from_pretrained(CHECKPOINT.folder)(long)["input_ids"]
    assert [answer.cut for _, answer in group] == [len(tokens) - 256, 0]
    for _ in range(2):  # asked, then from the cache
        _, tally = put(tmp_path, annotator, prompts)
        assert tally.shortened == {sentence_id(long): len(tokens) - 256}


def test_special_tokens_are_text_for_the_embedder(embed):
    vectors = embed(["It [MASK] works [SEP].", "It ( mask ) works ( sep ).", "It works."])
    plain = AutoTokenizer.from_pretrained(CHECKPOINT.folder)
    assert plain.mask_token_id in plain("It [MASK] works")["input_ids"]
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


# p2: matching


@once
def _scores():
    with pytest.MonkeyPatch.context() as patch:
        loaded = sentence_embedder(CHECKPOINT)
        patch.setattr(embedded, "sentence_embedder", lambda *_: loaded)
        odds = odds_of(judge(), p2(SENTENCES, list(PHRASES)))
    return np.reshape(odds, (len(SENTENCES), len(PHRASES)))


@pytest.fixture(scope="module")
def odds():
    """Log-odds of Yes: [sentence, descriptor]."""
    return _scores()


TRUTH = np.array([[s in group for group in REVIEWS.values()] for s in SENTENCES])


@pytest.mark.parametrize("name", list(REVIEWS))
def test_sentences_about_a_descriptor_rank_above_the_others(odds, name):
    column = list(REVIEWS).index(name)
    assert roc_auc_score(TRUTH[:, column], odds[:, column]) > 0.9


def test_most_sentences_fit_their_own_descriptor_best(odds):
    assert (odds.argmax(axis=1) == TRUTH.argmax(axis=1)).mean() > 0.85


def test_most_of_its_yes_answers_are_right_and_most_right_ones_are_yes(odds):
    yes = odds > 0
    assert (yes & TRUTH).sum() / yes.sum() > 0.75
    assert (yes & TRUTH).sum() / TRUTH.sum() > 0.6


@pytest.mark.usefixtures("model")
def test_the_answers_are_log_probabilities():
    annotator = judge(corpus=SENTENCES[:8])
    for response in said(annotator, p2(SENTENCES[:1], list(PHRASES))):
        assert math.exp(response["yes"]) + math.exp(response["no"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("model")
def test_an_answer_does_not_depend_on_what_else_is_asked(odds):
    row, column = 17, 3
    alone = odds_of(judge(), p2([SENTENCES[row]], [list(PHRASES)[column]]))
    assert alone == pytest.approx([odds[row, column]], abs=1e-3)


@pytest.mark.usefixtures("model")
def test_of_many_phrases_the_most_mentioned_count():
    """The alphabet, in which a JSON file brings them, must not choose."""
    common = {"zest": 90, "zing": 80}
    rare = {f"a{n:02} unrelated thing": 1 for n in range(40)}
    few = {**common, **dict(list(rare.items())[:28])}
    corpus, questions = SENTENCES[:6], p2(SENTENCES[:6], ["taste"])
    many = said(judge({"taste": {**rare, **common}}, corpus), questions)
    assert many == said(judge({"taste": few}, corpus), questions)


# Descriptions of several descriptors, line-ups and ratings


@pytest.mark.usefixtures("model")
def test_a_description_of_several_applies_to_what_is_about_either():
    found = np.array(odds_of(judge(), [detection(s, "price, taste") for s in SENTENCES]))
    either = TRUTH[:, list(REVIEWS).index("price")] | TRUTH[:, list(REVIEWS).index("taste")]
    assert roc_auc_score(either, found) > 0.8
    assert np.isfinite(found).all()


@pytest.mark.usefixtures("model")
def test_a_description_of_several_has_the_same_odds_whatever_else_is_asked():
    prompts = [detection(s, d) for s in SENTENCES[:4] for d in ("price, smell", "size, taste")]
    together, annotator = said(judge(), prompts), judge()
    alone = [said(annotator, [prompt])[0] for prompt in prompts[::-1]][::-1]
    assert together == alone  # to the last digit
    mixed = said(judge(), [*p2(SENTENCES[:2], ["price"]), *prompts])
    assert mixed[2:] == together


@pytest.mark.usefixtures("model")
def test_one_descriptor_is_answered_as_before_beside_several(odds):
    annotator = judge()
    said(annotator, [detection(SENTENCES[0], "price, smell")])
    found = odds_of(annotator, p2(SENTENCES[:3], list(PHRASES)))
    assert np.reshape(found, (3, -1)) == pytest.approx(odds[:3], abs=1e-3)


@pytest.mark.usefixtures("model")
def test_a_description_that_is_not_made_of_the_descriptors_is_refused():
    for description in ("price, nonsense", "nonsense\x1b[2J", "price,smell"):
        with pytest.raises(InputError, match="not made of the descriptors there are"):
            said(judge(), [detection(SENTENCES[0], description)])


@pytest.mark.usefixtures("model")
def test_the_phrases_of_several_are_merged_by_mentions():
    annotator = judge({"a": {"x": 2, "y": 1}, "b": {"y": 3, "z": 1}, "c": {}}, SENTENCES[:3])
    assert annotator._fitted.phrases_of("a, b") == ["y", "x", "z"]
    assert annotator._fitted.phrases_of("c, a") == ["x", "y"]


@pytest.mark.usefixtures("model")
def test_ratings_are_the_odds_on_a_scale(odds):
    prompts = [simulation(s, "taste") for s in SENTENCES]
    ratings = np.array([parse_rating(response) for response in said(judge(), prompts)])
    column = odds[:, list(PHRASES).index("taste")]
    assert ratings == pytest.approx(10 / (1 + np.exp(-column)), abs=1e-2)
    assert ratings.min() < 1
    assert ratings.max() > 9


@pytest.mark.usefixtures("model")
def test_the_intruder_is_the_sentence_least_like_the_others():
    groups, right, prompts = list(REVIEWS.values()), [], []
    for i, group in enumerate(groups):
        for j, other in enumerate(groups):
            if i != j:
                place = (i + j) % 5
                lineup = [*group[:4]]
                lineup.insert(place, other[i])
                right.append(place)
                prompts.append(intruder(lineup))
    found = [parse_intruder(response, 5) for response in said(judge(), prompts)]
    assert np.mean(np.array(found) == right) > 0.6  # by chance 0.2


def test_least_like_by_hand():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [1, 0]])
    assert embedded.least_like(vectors) == 2
    assert embedded.least_like(np.eye(3)) == 0


def test_one_sentence_alone_stands_out_from_nothing(embed):
    assert match({"price": []}, ["Too expensive."], embed)[0, 0] < 0


def test_sentences_without_words_are_scored_too(embed):
    found = match({"price": [], "smell": []}, ["", "!!!", "Too expensive.", "It stinks."], embed)
    assert np.isfinite(found).all()


def test_one_pass_gives_the_vectors_of_the_texts_and_of_their_tokens(embed):
    texts = ["It works.", "", "The battery lasts for days, and it charges fast.", "[MASK] !"]
    read = {}
    for batch in embed.read(texts):
        for row, vector, tokens in zip(batch.rows, batch.vectors, batch.tokens, strict=True):
            read[row] = vector, tokens
    assert sorted(read) == [0, 1, 2, 3]
    vectors = np.stack([read[row][0] for row in range(4)])
    assert vectors == pytest.approx(embed(texts), abs=1e-5)
    assert [len(read[row][1]) for row in (0, 2, 3)] == [3, 11, 4]  # words and marks; [ mask ] !
    assert len(read[1][1]) > 0  # even of a text without words


def test_a_model_without_comparable_tokens_is_read_by_windows(embed):
    """Such as one whose texts are its first token, or pass through a further layer."""
    told = {name: list(phrases) for name, phrases in PHRASES.items()}
    found = match(told, SENTENCES, replace(embed, read=None))
    areas = [roc_auc_score(truth, column) for truth, column in zip(TRUTH.T, found.T, strict=True)]
    assert min(areas) > 0.9


def test_the_best_tokens_by_hand():
    cosines = np.array([[0.1, 0.9], [0.5, 0.2], [0.3, 0.4], [0.7, 0.3]])
    assert best(cosines) == pytest.approx([0.5, 1.6 / 3])
    assert best(cosines[:2]) == pytest.approx([0.3, 0.55])


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_what_tokens_at_random_reach_is_expected(seed):
    draw = np.random.default_rng(seed)
    cosines = np.tanh(draw.normal(0, 0.2, size=(4000, 2)))
    tries = Tries(2)
    for part in np.array_split(cosines, 7):
        tries.add(part)
    for length in (CLAUSE, 60, 200):
        sentences = draw.integers(0, len(cosines), size=(500, length))
        reached = np.mean([best(cosines[tokens]) for tokens in sentences], axis=0)
        # The mean of the highest share is what they reach but for a small bias upwards.
        assert tries.expected(np.array([length]))[0] == pytest.approx(PART * reached, abs=0.015)


def test_up_to_a_clause_nothing_is_taken_off_for_length():
    tries = Tries(1)
    tries.add(np.linspace(-0.5, 0.5, 999)[:, None])
    found = tries.expected(np.array([1, BEST, CLAUSE, CLAUSE + 1, 10 * CLAUSE]))[:, 0]
    assert found[0] == found[1] == found[2] < found[3] < found[4]


def test_tokens_are_counted_the_same_in_any_batches():
    cosines = np.random.default_rng(0).uniform(-1, 1, size=(300, 3)).astype(np.float32)
    one, several = Tries(3), Tries(3)
    one.add(cosines)
    for part in np.array_split(cosines[::-1], 11):
        several.add(part)
    lengths = np.array([1, 20, 5000])
    assert np.array_equal(one.expected(lengths), several.expected(lengths))


@given(st.text("ab '7.-", max_size=60))
def test_windows_cover_every_word_of_a_sentence(sentence):
    parts = windows(sentence)
    everything = " ".join(windows(sentence + " end"))
    assert parts and all(len(part.split()) <= 4 or part == sentence for part in parts)
    assert "end" in everything.split()


# Identity


def test_the_identity_is_that_of_equal_descriptors_and_corpus():
    again = judge({name: dict(PHRASES[name]) for name in PHRASES}, list(SENTENCES))
    assert again.identity == judge().identity


@pytest.mark.parametrize(
    "other",
    [
        judge(PHRASES | {"smell": {"scent": 3}}),
        judge(PHRASES | {"noise": {}}),
        judge(PHRASES, SENTENCES[1:]),
        EmbeddedAnnotator(Checkpoint(MINILM, "0" * 40), None, PHRASES, SENTENCES),
    ],
    ids=["phrases", "descriptors", "corpus", "revision"],
)
def test_the_identity_changes_with_what_p2_is_fitted_to(other):
    assert other.identity != judge().identity


def test_the_identity_for_p1_changes_with_the_number_of_topics():
    three, five = (EmbeddedAnnotator(CHECKPOINT, n, None, None).identity for n in (3, 5))
    assert three != five


def test_the_identity_needs_no_model(broken_model):
    assert judge().identity.revision == MINILM_COMMIT


def test_what_was_learnt_of_some_sentences_applies_to_others(embed):
    told = {name: list(phrases) for name, phrases in PHRASES.items()}
    (odds, _), apply = match_both(told, {}, SENTENCES, embed)
    again, _ = apply(SENTENCES)
    assert again == pytest.approx(odds, abs=1e-3)
    few, _ = apply(SENTENCES[:3])
    assert few == pytest.approx(odds[:3], abs=1e-3)
