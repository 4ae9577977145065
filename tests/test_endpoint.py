"""The annotator behind a server: nothing paid is lost, no failure is an answer, no key gets out."""

import json
import logging
import math
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Barrier

import pytest
from servers import (
    MODEL,
    Reply,
    completion,
    error,
    free_port,
    serving,
    transformers_serve,
)

from descry.annotators.client import AskOptions, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.openai_server.annotator import reported_model
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p1, p2
from descry.annotators.templates import p1_template
from descry.errors import InputError

KEY = "sk-very-secret-0123456789"
NAMES = ["price", "taste", "smell", "size"]
TOP = {"Yes": -0.2, "No": -2.0, "Maybe": -6.0}
YES = Reply(completion(top=TOP))
WORDS = Reply(completion("Yes, it does."))
TOPICS = Reply(completion("price, taste"))
OPTIONS = {
    "model": "tiny",
    "revision": MODEL,
    "dtype": "unknown",
    "api_key_env": "DESCRY_TEST_KEY",
    "max_new_tokens": 40,
    "concurrency": 2,
    "timeout": 5.0,
    "retries": 0,
    "price": None,
}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("DESCRY_TEST_KEY", KEY)


def annotator(url, task="p2", **changes):
    return create({"kind": "openai", "base_url": url} | OPTIONS | changes, task)


def questions(names=NAMES, sentence="It is cheap."):
    return p2([sentence], list(names))


def many(count):
    """Questions about n0, n1, ..."""
    return questions([f"n{i}" for i in range(count)])


def topics(sentences=("It is cheap.", "It is sweet.", "It stinks.")):
    return p1(list(sentences), p1_template(5))


def put(folder, who, prompts, *, max_failures=1.0, check=None):
    """What ask() makes of it: the responses and the counts."""
    checks = {"p1": partial(parse_topics, max_descriptors=5, max_words=4)}
    checks["p2"] = partial(parse_verdict, min_mass=0.1)
    tally, responses = Counts(), []
    with PromptCache(folder) as cache:
        how = AskOptions("test", cache, max_failures, False, lambda *_: None)
        for chunk in answer_prompts(how, who, prompts, check or checks[who.task], tally):
            responses += chunk.responses
    return responses, tally


def ledger(folder):
    with PromptCache(folder) as cache:
        return Counter(record["reason"] for _, record in cache.failures())


def stored(folder):
    with PromptCache(folder) as cache:
        return [json.loads(text) for _, text in cache.records()]


def of_prompt(name, *replies, otherwise=YES):
    """A script: these replies to the prompt about a name, in turn; the usual one to the rest."""

    def script(body, before):
        mine = f'"{name}"' in body["messages"][0]["content"]
        return replies[before] if mine and before < len(replies) else otherwise

    return script


def always(reply):
    return lambda body, before: reply


# What is asked, and who answers


def test_who_answers_is_known_without_openai_torch_or_a_key(monkeypatch):
    code = """
import sys
sys.modules["torch"] = None
from descry.annotators.factory import create
spec = dict(kind="openai", model="m", revision="r", dtype="d", base_url="http://x.invalid/v1",
            api_key_env="NOT_SET", max_new_tokens=9, concurrency=1, timeout=1.0, retries=0,
            price=[1.0, 2.0])
made = create(spec, "p2")
print(made.identity.name, made.frame, made.server, made.price, "openai" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    server = "{'base_url': 'http://x.invalid/v1', 'model': 'r'}"
    assert run.stdout.strip() == f"m at x.invalid ('', '') {server} (1.0, 2.0) False"


def test_where_the_server_stands_and_how_it_is_asked_make_no_other_answers():
    one = annotator("http://127.0.0.1:1/v1")
    other = annotator("http://127.0.0.1:2/v1", timeout=9.0, retries=7, concurrency=5, price=[1, 1])
    assert one.identity == other.identity
    changed = [{"revision": "x"}, {"model": "x"}, {"dtype": "x"}]
    assert all(annotator("http://127.0.0.1:1/v1", **c).identity != one.identity for c in changed)


def test_p1_is_another_question_with_more_tokens_and_p2_is_not():
    def decoding(task, tokens):
        return annotator("http://h/v1", task, max_new_tokens=tokens).identity.decoding

    assert decoding("p1", 40) != decoding("p1", 50)
    assert decoding("p2", 40) == decoding("p2", 50)
    assert json.loads(decoding("p1", 40))["temperature"] == 0


@pytest.mark.parametrize("url", ["http://[", "http://host:99999/v1", "https://:80/v1"])
def test_an_address_that_is_none_is_named(url):
    with pytest.raises(InputError, match="base_url"):
        annotator(url)


def test_topics_are_asked_in_words_and_stored_with_their_tokens(tmp_path):
    with serving(always(TOPICS)) as server:
        responses, tally = put(tmp_path, annotator(server.url, "p1"), topics())
    assert responses == [{"text": "price, taste", "finish": "stop"}] * 3
    assert (tally.tokens_in, tally.tokens_out) == (30, 6)
    assert {record["origin"] for record in stored(tmp_path)} and not ledger(tmp_path)
    body = server.bodies[0]
    assert body["messages"] == [{"role": "user", "content": body["messages"][0]["content"]}]
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 40, "tiny")
    assert "logprobs" not in body


def test_verdicts_are_asked_as_log_probabilities_of_one_token(tmp_path):
    with serving(always(YES)) as server:
        responses, _ = put(tmp_path, annotator(server.url), questions())
    rest = round(math.log(1 - math.exp(-0.2) - math.exp(-2.0)), 6)
    assert responses == [{"yes": -0.2, "no": -2.0, "rest": rest}] * 4
    assert {(b["max_tokens"], b["logprobs"], b["top_logprobs"]) for b in server.bodies} == {
        (1, True, 20)
    }


def test_a_second_run_sends_nothing_and_another_address_neither(tmp_path):
    with serving(always(YES)) as server:
        first, _ = put(tmp_path, annotator(server.url), questions())
        second, _ = put(tmp_path, annotator("http://127.0.0.1:1/v1"), questions())
    assert first == second
    assert server.requests == 4


def test_the_record_says_where_the_answer_came_from(tmp_path):
    with serving(always(YES)) as server:
        put(tmp_path, annotator(server.url), questions())
    with PromptCache(tmp_path) as cache:
        (origin,) = cache.origins().values()
    assert origin["server"] == {"base_url": server.url, "model": MODEL}


# Log-probabilities


def scored(folder, top):
    with serving(always(Reply(completion(top=top)))) as server:
        (response,), tally = put(folder, annotator(server.url), questions(["price"]))
    return response, tally


def test_every_way_of_writing_a_word_counts(tmp_path):
    response, _ = scored(tmp_path, {"Yes": -1.0, " yes": -2.0, "No": -1.5, "NO": -3.0, "Y": -2.5})
    assert response["yes"] == pytest.approx(math.log(math.exp(-1) + math.exp(-2)), abs=1e-6)
    assert response["no"] == pytest.approx(math.log(math.exp(-1.5) + math.exp(-3)), abs=1e-6)
    total = sum(math.exp(response[name]) for name in ("yes", "no", "rest"))
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("word", "unlisted"), [("Yes", "no"), ("No", "yes")])
def test_a_word_that_is_not_listed_is_below_those_that_are(tmp_path, word, unlisted):
    response, _ = scored(tmp_path, {word: -0.01, "Maybe": -5.0, "It": -9.0})
    assert response["bound"] == unlisted
    assert response[unlisted] == pytest.approx(-9, abs=1e-5)
    assert parse_verdict(response, 0.1).yes is (word == "Yes")


def test_a_yes_that_is_the_last_one_listed_is_still_a_yes(tmp_path):
    response, _ = scored(tmp_path, {"Sure": -1.0, "Yes": -1.5})
    assert parse_verdict(response, 0.1).yes
    assert response["instead"] == "Sure"


def test_neither_word_is_a_failure_and_no_no(tmp_path):
    response, tally = scored(tmp_path, {"Sure": -0.1, "Of": -3.0})
    assert response is None
    assert tally.failures == ledger(tmp_path) == {"neither Yes nor No": 1}
    assert tally.tokens_in == 10


@pytest.mark.parametrize("log", [math.nan, math.inf, 3.0])
def test_a_log_probability_that_is_none_is_a_failure(tmp_path, log):
    response, tally = scored(tmp_path, {"Yes": log, "No": -1.0})
    assert response is None
    assert tally.failures == {"log-probabilities are not finite": 1}


def test_a_token_that_cannot_come_is_as_if_not_listed(tmp_path):
    response, _ = scored(tmp_path, {"Yes": -0.1, "Sure": -3.0, "No": -math.inf})
    assert response["bound"] == "no"


def test_a_certain_yes_leaves_numbers_that_can_be_stored(tmp_path):
    response, _ = scored(tmp_path, {"Yes": 0.0, "No": -9999.0})
    assert response == {"yes": 0.0, "no": -9999.0, "rest": pytest.approx(-20.723266)}


def no_more_than(most, status=400):
    """A server that gives at most so many log-probabilities, and says so."""

    def script(body, before):
        if body.get("top_logprobs", 0) > most:
            return error(status, f"top_logprobs: at most {most} are supported")
        return YES if body.get("logprobs") else WORDS

    return script


def test_fewer_log_probabilities_are_taken_where_the_server_has_no_more(tmp_path):
    with serving(no_more_than(5)) as server:
        responses, _ = put(tmp_path, annotator(server.url, concurrency=1), questions())
    assert [b["top_logprobs"] for b in server.bodies] == [20, 5, 5, 5, 5]
    assert all("yes" in response for response in responses)


@pytest.mark.parametrize("status", [400, 403, 422, 500])
def test_words_are_taken_where_log_probabilities_are_refused(tmp_path, status):
    with serving(no_more_than(0, status)) as server:
        responses, tally = put(tmp_path, annotator(server.url, concurrency=1), questions())
    assert responses == [{"text": "Yes, it does.", "finish": "stop"}] * 4
    assert [b.get("top_logprobs") for b in server.bodies] == [20, 5, None, None, None, None]
    assert server.bodies[-1]["max_tokens"] == 8
    assert tally.tokens_in == 40


def test_words_are_taken_where_log_probabilities_are_left_out(tmp_path):
    with serving(always(WORDS)) as server:
        responses, tally = put(tmp_path, annotator(server.url, concurrency=1), questions())
    assert responses == [{"text": "Yes, it does.", "finish": "stop"}] * 4
    assert server.requests == 5
    assert tally.tokens_in == 50  # the one that was in vain is counted


def test_words_and_log_probabilities_answer_the_same_question(tmp_path):
    with serving(always(WORDS)) as server:
        put(tmp_path, annotator(server.url), questions())
    with serving(always(YES)) as server:
        responses, _ = put(tmp_path, annotator(server.url), questions())
    assert server.requests == 0
    assert all("text" in response for response in responses)


def test_a_server_that_gives_log_probabilities_gives_them_always(tmp_path):
    with serving(of_prompt("smell", WORDS)) as server:
        _, tally = put(tmp_path, annotator(server.url, concurrency=1), questions())
    assert tally.failures == {"no log-probabilities": 1}
    assert server.requests == 4


def test_max_completion_tokens_is_said_where_the_server_wants_it(tmp_path):
    def script(body, before):
        if "max_tokens" in body:
            return error(400, "Unsupported 'max_tokens'. Use 'max_completion_tokens' instead.")
        return TOPICS

    with serving(script) as server:
        put(tmp_path, annotator(server.url, "p1", concurrency=1), topics())
    assert [b.get("max_completion_tokens") for b in server.bodies] == [None, 40, 40, 40]


# What passes of itself

CUT = Reply(completion(top=TOP), cut="within")
SLOW = Reply(completion(top=TOP), after=1.5)
PASSING = {
    "429": (error(429, "slow down"), "HTTP 429 after 2 tries"),
    "500": (error(500, "oh"), "HTTP 500 after 2 tries"),
    "503": (Reply(b"<h1>busy</h1>", 503, headers={"retry-after-ms": "10"}), "HTTP 503 after 2"),
    "409": (error(409, "conflict"), "HTTP 409 after 2 tries"),
    "slow": (SLOW, "time-out"),
    "cut before the response": (Reply(b"", cut="before"), "connection lost"),
    "cut within the response": (CUT, "connection lost"),
}


@pytest.mark.parametrize("reply", [reply for reply, _ in PASSING.values()], ids=PASSING)
def test_what_passes_of_itself_is_tried_again(tmp_path, reply):
    with serving(of_prompt("smell", reply)) as server:
        who = annotator(server.url, retries=1, timeout=1.0)
        responses, tally = put(tmp_path, who, questions(), max_failures=0.0)
    assert None not in responses
    assert (tally.asked, server.requests) == (4, 5)
    assert not ledger(tmp_path)


@pytest.mark.parametrize(("reply", "reason"), PASSING.values(), ids=PASSING)
def test_what_does_not_pass_is_a_failure_and_the_next_run_asks_it_alone(tmp_path, reply, reason):
    with serving(of_prompt("smell", reply, reply)) as server:
        who = annotator(server.url, retries=1, timeout=1.0)
        responses, tally = put(tmp_path, who, questions())
        assert [response is None for response in responses] == [name == "smell" for name in NAMES]
        assert len(stored(tmp_path)) == 3
        ((found, count),) = ledger(tmp_path).items()
        assert found.startswith(reason) and count == 1 and tally.failures == {found: 1}
        assert server.requests == 5
        responses, tally = put(tmp_path, who, questions(), max_failures=0.0)
    assert None not in responses
    assert (tally.cached, tally.asked, server.requests) == (3, 1, 6)
    assert not ledger(tmp_path)


def test_the_server_says_how_long_to_wait(tmp_path):
    wait = Reply({}, 429, headers={"Retry-After": "0.7"})
    with serving(always(YES)) as server:
        server.script = of_prompt("smell", wait)
        started = time.monotonic()
        put(tmp_path, annotator(server.url, retries=1), questions())
    assert time.monotonic() - started > 0.7
    assert server.requests == 5


def test_a_server_that_is_gone_ends_the_run(tmp_path):
    who = annotator(f"http://127.0.0.1:{free_port()}/v1")
    names = [f"n{i}" for i in range(60)]
    with pytest.raises(InputError, match=r"does not answer.*in a row.*refused") as caught:
        put(tmp_path, who, questions(names))
    assert "\n" not in str(caught.value)
    assert 10 < ledger(tmp_path)["connection lost"] < 30


def test_a_server_that_fails_for_good_ends_the_run_with_its_own_words(tmp_path):
    with serving(always(error(500, "no GPU left"))) as server:
        with pytest.raises(InputError, match=r"does not answer.*HTTP 500: no GPU left"):
            put(tmp_path, annotator(server.url), many(60))
        assert server.requests < 30


def test_failures_with_answers_between_them_do_not_end_it(tmp_path):
    def script(body, before):
        wrong = any(f'"n{i}"' in body["messages"][0]["content"] for i in range(0, 60, 3))
        return error(500, "oh") if wrong else YES

    with serving(script) as server:
        responses, _ = put(tmp_path, annotator(server.url), many(60))
    assert [i for i, response in enumerate(responses) if response is None] == [*range(0, 60, 3)]


def test_more_failures_than_allowed_end_the_run_and_the_good_answers_stay(tmp_path):
    names = [f"n{i}" for i in range(20)]
    with serving(of_prompt("n3", *[error(500, "oh")] * 3)) as server:
        with pytest.raises(InputError, match="1 of 20 answers failed"):
            put(tmp_path, annotator(server.url), questions(names), max_failures=0.04)
        kept = len(stored(tmp_path))
        assert kept >= 1
        before = server.requests
        put(tmp_path, annotator(server.url), questions(names), max_failures=0.05)
    assert server.requests - before == 20 - kept


# What is no answer

MALFORMED = {
    "no JSON": (Reply(b"{"), "invalid JSON"),
    "no text at all": (Reply(b""), "invalid JSON"),
    "no UTF-8": (Reply(b'{"model": "\xff"}'), "invalid JSON"),
    "HTML": (Reply(b"<html>", headers={"Content-Type": "text/html"}), "invalid JSON"),
    "nested too deep": (Reply(b'{"x":' + b"[" * 9_999), "invalid JSON"),
    "a list": (Reply([]), "malformed response: "),
    "an error with status 200": (Reply({"error": {"message": "x"}}), "malformed response: model"),
    "no model": (Reply(completion(model=None)), "malformed response: model"),
    "no choices": (Reply(completion(choices=[])), "no choices"),
    "choices that are null": (Reply(completion(choices=None)), "malformed response: choices"),
    "no message": (Reply(completion(choices=[{}])), "malformed response: choices.0.message"),
    "null text": (Reply(completion(None)), "no text"),
    "empty text": (Reply(completion("")), "empty answer"),
    "refusal": (Reply(completion(message={"content": None, "refusal": "I can't"})), "refusal"),
    "filtered": (Reply(completion(None, finish="content_filter")), "refusal"),
    "filtered prompt": (error(400, "policy", code="content_filter"), "refusal"),
    "cut off": (Reply(completion("price, tas", finish="length")), "cut off"),
    "unfinished": (Reply(completion("price", finish=None)), "finish reason none"),
}


@pytest.mark.parametrize(("reply", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_answer_is_a_failure_with_its_reason(tmp_path, reply, reason):
    def script(body, before):
        return reply if "sweet" in body["messages"][0]["content"] and not before else TOPICS

    with serving(script) as server:
        who = annotator(server.url, "p1")
        responses, tally = put(tmp_path, who, topics())
        assert [response is None for response in responses] == [False, True, False]
        assert tally.failures == ledger(tmp_path) == {reason: 1}
        responses, _ = put(tmp_path, who, topics(), max_failures=0.0)
    assert None not in responses
    assert server.requests == 4


VERDICTS = {
    "refusal": (Reply(completion(message={"content": None, "refusal": "I can't"})), "refusal"),
    "filtered": (Reply(completion(None, finish="content_filter")), "refusal"),
    "no JSON": (Reply(b"{"), "invalid JSON"),
    "no log-probability": (
        Reply(completion(choices=[{"message": {}, "logprobs": {"content": [{"token": "Yes"}]}}])),
        "malformed response: choices.0.logprobs.content.0.logprob",
    ),
}


@pytest.mark.parametrize(("reply", "reason"), VERDICTS.values(), ids=VERDICTS)
def test_what_is_no_verdict_is_no_no(tmp_path, reply, reason):
    with serving(of_prompt("price", reply)) as server:
        responses, tally = put(tmp_path, annotator(server.url, concurrency=1), questions())
    assert [response and response["yes"] for response in responses] == [None, -0.2, -0.2, -0.2]
    assert tally.failures == {reason: 1}


def test_words_that_are_no_verdict_are_a_failure(tmp_path):
    with serving(of_prompt("smell", Reply(completion("Sure")), otherwise=WORDS)) as server:
        who = annotator(server.url, concurrency=1)
        _, tally = put(tmp_path, who, questions())
    assert tally.failures == {"neither Yes nor No": 1}


def test_tokens_are_not_counted_where_they_are_not_said(tmp_path):
    replies = [Reply(completion("price", usage=None)), Reply(completion("price", usage={}))]
    with serving(lambda body, before: replies[0]) as server:
        _, tally = put(tmp_path, annotator(server.url, "p1"), topics())
        server.script = always(replies[1])
        _, other = put(tmp_path / "other", annotator(server.url, "p1"), topics())
    assert (tally.tokens_in, other.tokens_out) == (0, 0)


# What no trying again will change

REFUSALS = {
    "401": (error(401, "Incorrect API key"), "HTTP 401: Incorrect API key"),
    "403": (error(403, "not your model"), "HTTP 403: not your model"),
    "404": (Reply({"detail": "no such model"}, 404), "HTTP 404: no such model"),
    "400": (error(400, "no such format"), "HTTP 400: no such format"),
    "422": (Reply({"detail": [{"loc": ["body"]}]}, 422), "HTTP 422: .*loc.*"),
    "405": (Reply(b"not\nhere", 405), "HTTP 405: not here"),
    "307": (Reply(b"", 307, headers={"Location": "http://x.invalid/"}), "HTTP 307: Temporary"),
}


@pytest.mark.parametrize(("reply", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_ends_the_run_at_once(tmp_path, reply, message):
    with serving(always(reply)) as server:
        who = annotator(server.url, concurrency=3, retries=5)
        with pytest.raises(InputError, match=rf"tiny at {server.url}: {message}") as caught:
            put(tmp_path, who, many(50))
        assert server.requests <= 3
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert not stored(tmp_path) and not ledger(tmp_path)


def test_what_is_in_flight_at_a_refusal_is_stored(tmp_path):
    def script(body, before):
        text = body["messages"][0]["content"]
        if '"n3"' in text:
            return error(401, "expired")
        return Reply(completion(top=TOP), after=0.6 if '"n2"' in text else 0.0)

    with serving(script) as server:
        with pytest.raises(InputError, match="HTTP 401"):
            put(tmp_path, annotator(server.url), many(50))
        assert server.requests == 4
    assert {record["descriptor"] for record in stored(tmp_path)} == {"n0", "n1", "n2"}


def test_no_retry_is_sent_after_a_refusal(tmp_path):
    def script(body, before):
        if '"n1"' in body["messages"][0]["content"]:
            return Reply({"error": {"message": "no"}}, 401, after=0.2)
        return Reply({}, 503, headers={"retry-after-ms": "300"})

    with serving(script) as server:
        with pytest.raises(InputError, match="HTTP 401"):
            put(tmp_path, annotator(server.url, retries=9), questions(["n0", "n1", "n2"]))
        assert server.requests <= 3


def test_another_model_is_never_stored(tmp_path):
    other = Reply(completion(top=TOP, model="tiny-2027"))
    with serving(of_prompt("smell", other)) as server:
        who = annotator(server.url, concurrency=1)
        with pytest.raises(InputError) as caught:
            put(tmp_path, who, questions())
    said = str(caught.value)
    assert "'tiny-2027'" in said and f"'{MODEL}'" in said
    assert '`revision: "tiny-2027"`' in said and "params.yaml" in said
    assert {record["descriptor"] for record in stored(tmp_path)} == {"price", "taste"}
    assert server.requests == 3


def test_a_name_with_control_characters_stays_one_line(tmp_path):
    other = Reply(completion(top=TOP, model="a\x1b[31m\nb" + "c" * 5000))
    with serving(always(other)) as server, pytest.raises(InputError) as caught:
        put(tmp_path, annotator(server.url), questions())
    assert str(caught.value).isprintable() and len(str(caught.value)) < 900


def test_an_unpinned_model_is_not_asked(tmp_path):
    with serving(always(YES)) as server, pytest.raises(InputError, match="run `descry pin`"):
        put(tmp_path, annotator(server.url, revision="unpinned"), questions())
    assert server.requests == 0


# Many at a time


def test_as_many_requests_as_allowed_are_under_way_and_never_more(tmp_path):
    together = Barrier(5, timeout=5)

    def script(body, before):
        if int(body["messages"][0]["content"].split('"')[3].removeprefix("n")) < 5:
            together.wait()
        return Reply(completion(top=TOP), after=0.01)

    with serving(script) as server:
        put(tmp_path, annotator(server.url, concurrency=5), many(60))
    assert server.most == 5
    assert set(server.asked.values()) == {1} and len(server.asked) == 60


def test_answers_come_while_others_are_under_way():
    def script(body, before):
        return Reply(completion(top=TOP), after=1.5 if '"slow"' in str(body) else 0.0)

    with serving(script) as server:
        who = annotator(server.url)
        prompts = questions(["slow", "a", "b", "c"])
        started, came = time.monotonic(), []
        for group in who.answer(prompts, range(4)):
            came.append((sorted(row for row, _ in group), time.monotonic() - started))
    assert came[0][0] == [1, 2, 3] and came[0][1] < 1.2
    assert came[-1][0] == [0]


def test_one_who_stops_listening_need_not_wait_and_pays_for_no_more():
    def script(body, before):
        return Reply(completion(top=TOP), after=0.0 if '"n0"' in str(body) else 1.0)

    with serving(script) as server:
        answers = annotator(server.url).answer(many(40), range(40))
        next(answers)
        started = time.monotonic()
        answers.close()
        assert time.monotonic() - started < 0.5
        time.sleep(1.3)
        assert server.requests <= 4


KILLED = """
import sys
from pathlib import Path
from test_endpoint import annotator, many, put
put(Path(sys.argv[1]), annotator(sys.argv[2]), many(60))
"""


def test_a_killed_run_has_kept_what_it_paid_for_but_the_last_moment(tmp_path):
    with serving(always(Reply(completion(top=TOP), after=0.05))) as server:
        command = [sys.executable, "-c", KILLED, tmp_path, server.url]
        with subprocess.Popen(command, cwd=Path(__file__).parent) as process:
            while server.requests < 40 and process.poll() is None:
                time.sleep(0.01)
            process.kill()
        kept = len(stored(tmp_path))
        assert 20 <= kept < 60
        responses, tally = put(tmp_path, annotator(server.url), many(60))
        assert None not in responses and tally.cached == kept
        assert max(server.asked.values()) == 2


def test_only_the_wanted_are_asked():
    with serving(always(YES)) as server:
        groups = list(annotator(server.url).answer(questions(), {1, 3}))
    assert sorted(row for group in groups for row, _ in group) == [1, 3]
    assert server.requests == 2


# The key, and what else is in the environment


def files_of(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_key_is_sent_and_found_nowhere_else(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    echoes = {
        "price": Reply(completion(f"Your key is {KEY}", top={KEY: -0.1, "Yes": -2.6, "No": -4.0})),
        "taste": Reply(completion(message={"refusal": f"no, {KEY}", "content": KEY})),
        "smell": Reply(completion(top={KEY: -0.1, "Hm": -3.0})),
        "size": Reply({KEY: KEY}),
    }
    with serving(lambda body, _: next(r for n, r in echoes.items() if n in str(body))) as server:
        who = annotator(server.url)
        responses, _ = put(tmp_path, who, questions(), max_failures=1.0, check=lambda _: None)
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
        assert responses[0]["instead"] == "***"
        words = Reply(completion(f"price, {KEY}", finish=f"stop {KEY}"))
        server.script = always(words)
        talker = annotator(server.url, "p1")
        put(tmp_path, talker, topics(), check=lambda _: None)
        put(tmp_path / "refused", talker, topics())
    assert KEY.encode() not in files_of(tmp_path) and b"***" in files_of(tmp_path)
    assert KEY not in f"{who!r} {vars(who)} {talker!r} {vars(talker)}"
    assert KEY not in caplog.text


ECHOES = {
    "an error": error(401, f"Incorrect API key provided: {KEY}. " * 9),
    "an error of no form": Reply(f"bad header: Bearer {KEY}".encode(), 400),
    "a detail": Reply({"detail": [{"input": {"Authorization": KEY}}]}, 422),
    "a model": Reply(completion(top=TOP, model=KEY)),
    "a failure": error(500, KEY),
}


@pytest.mark.parametrize("reply", ECHOES.values(), ids=ECHOES)
def test_the_key_is_in_no_error_even_if_the_server_repeats_it(tmp_path, reply):
    with serving(always(reply)) as server, pytest.raises(InputError) as caught:
        put(tmp_path, annotator(server.url), many(40))
    assert "***" in str(caught.value)
    assert KEY[:12] not in str(caught.value)
    assert KEY.encode() not in files_of(tmp_path)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_named_by_its_variable(tmp_path, monkeypatch, value):
    monkeypatch.delenv("DESCRY_TEST_KEY")
    if value is not None:
        monkeypatch.setenv("DESCRY_TEST_KEY", value)
    with serving(always(YES)) as server:
        with pytest.raises(InputError, match="DESCRY_TEST_KEY: not in the environment"):
            put(tmp_path, annotator(server.url), questions())
        assert server.requests == 0


@pytest.mark.parametrize("value", [f"{KEY}\nX-Evil: 1", f"{KEY}é"])
def test_a_key_that_is_none_is_refused_unseen(tmp_path, monkeypatch, value):
    monkeypatch.setenv("DESCRY_TEST_KEY", value)
    with pytest.raises(InputError, match="DESCRY_TEST_KEY: no API key") as caught:
        put(tmp_path, annotator("http://127.0.0.1:1/v1"), questions())
    assert KEY not in str(caught.value)


def test_a_line_end_behind_the_key_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("DESCRY_TEST_KEY", f"{KEY}\n")
    with serving(always(YES)) as server:
        put(tmp_path, annotator(server.url), questions())
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_dummy_key_is_no_secret_and_leaves_answers_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("DESCRY_TEST_KEY", "price")
    with serving(always(TOPICS)) as server:
        responses, _ = put(tmp_path, annotator(server.url, "p1"), topics())
    assert responses[0]["text"] == "price, taste"


def test_a_server_without_a_key_gets_none_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(always(YES)) as server:
        put(tmp_path, annotator(server.url, api_key_env=None), questions())
    assert KEY not in str(server.headers)


def test_the_environment_moves_nothing(tmp_path, monkeypatch):
    gone = f"http://127.0.0.1:{free_port()}"
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, gone)
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer from-the-environment")
    with serving(always(YES)) as server:
        responses, _ = put(tmp_path, annotator(server.url), questions())
    assert None not in responses
    assert "from-the-environment" not in str(server.headers)


# Pinning


def spec(url, **changes):
    return {"kind": "openai", "base_url": url} | OPTIONS | {"revision": "unpinned"} | changes


def test_pinning_asks_the_server_what_it_is():
    with serving(always(WORDS)) as server:
        assert reported_model(spec(server.url)) == MODEL
    assert server.requests == 1 and server.bodies[0]["max_tokens"] == 8


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(401, f"bad key {KEY}"), r"HTTP 401: bad key \*\*\*"),
        (error(503, "starting"), "HTTP 503: starting"),
        (Reply(b"<html>"), "invalid JSON"),
        (Reply(completion(model="")), "malformed response: model"),
        (Reply(completion(model="a\nb")), "reports no model name"),
    ],
)
def test_pinning_says_why_it_cannot(reply, message):
    with serving(always(reply)) as server, pytest.raises(InputError, match=message) as caught:
        reported_model(spec(server.url))
    assert "\n" not in str(caught.value) and KEY not in str(caught.value)


def test_pinning_a_server_that_is_not_there_is_one_line():
    with pytest.raises(InputError, match=r"no answer .connection lost: .*refused") as caught:
        reported_model(spec(f"http://127.0.0.1:{free_port()}/v1"))
    assert "\n" not in str(caught.value)


# A real server


def tiny_chat_model(folder, follows, texts):
    """A Llama that says only what follows the last token: {ending: what comes}, then the end."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(special_tokens=["<end>"], initial_alphabet=alphabet)
    )
    size = -(-bpe.get_vocab_size() // 8) * 8
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        eos_token_id=0,
        pad_token_id=0,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    ends = {bpe.encode(end).ids[-1]: bpe.encode(text).ids for end, text in follows.items()}
    pairs = {pair for end, ids in ends.items() for pair in pairwise([end, *ids, 0])}
    assert len(pairs) == len(dict(pairs))  # a token is followed by one other
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for token, following in pairs:
            model.lm_head.weight[following, token] = 1.0
    model.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>", pad_token="<end>")
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(folder)


@pytest.mark.slow
def test_the_transformers_server_answers_both_prompts_once(tmp_path):
    verdicts, sentences = questions(), topics()
    model, log = tmp_path / "model", tmp_path / "log"
    follows = {"A:": "Yes", ".": "price, taste"}
    texts = [prompt.text for prompts in (verdicts, sentences) for prompt in prompts]
    tiny_chat_model(model, follows, [*texts, *follows.values()] * 2)
    with transformers_serve(model, log) as url:
        changes = {"model": str(model), "api_key_env": None, "timeout": 60.0}
        changes["revision"] = reported_model(spec(url, **changes))
        said = {}
        for task, prompts in (("p1", sentences), ("p2", verdicts)):
            said[task], tally = put(tmp_path / task, annotator(url, task, **changes), prompts)
            assert not tally.failures and tally.tokens_in and tally.tokens_out
    assert [topic["text"] for topic in said["p1"]] == ["price, taste"] * 3
    # It passes over logprobs, so that the words count.
    assert said["p2"] == [{"text": "Yes", "finish": "stop"}] * 4
    sent = log.read_text().count("POST /v1/chat/completions")
    assert 1 + 3 + 4 < sent <= 1 + 3 + 4 + OPTIONS["concurrency"]
    for task, prompts in (("p1", sentences), ("p2", verdicts)):  # the server is gone
        again, tally = put(tmp_path / task, annotator(url, task, **changes), prompts)
        assert again == said[task] and tally.asked == 0
