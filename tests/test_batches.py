"""Prompts in batches: asked once whatever happens, failures counted, one cache with live."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from batch_server import CANCELLED, EXPIRED, FAILED, done, serving_batches, written
from servers import MODEL, Reply, completion, error, free_port
from test_endpoint import KEY, OPTIONS, TOP, files_of, ledger, many, questions, stored, topics

from descry.annotators.client import PENDING, AskOptions, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.openai_server.annotator import ONLY_THOUGHTS
from descry.annotators.openai_server.batch import run
from descry.annotators.openai_server.batch.ledger import Ledger
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.prompt_cache.jsonl import opened
from descry.annotators.prompt_cache.store import PromptCache
from descry.cli.console.cache import show_cache
from descry.corpus.splits import sentence_id
from descry.errors import InputError
from descry.io.parquet import read_table, write_table
from descry.stages.describe import Describe, describe_sentences

GONE = "http://127.0.0.1:1/v1"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(run, "SHORTEST", 0.005)
    monkeypatch.setattr(run, "LONGEST", 0.02)


def annotator(url, task="p2", mode="batch", **changes):
    options = OPTIONS | {"api_key_env": None, "mode": mode} | changes
    return create({"kind": "openai", "base_url": url} | options, task)


def put(folder, who, prompts, *, max_failures=1.0, told=None, journals=None, **how):
    """What ask() makes of it: the responses and the counts."""
    checks = {"p1": partial(parse_topics, max_descriptors=5, max_words=4)}
    checks["p2"] = partial(parse_verdict, min_mass=0.1)
    tally, responses = Counts(), []
    with opened(folder, journals) as cache:
        told = told or (lambda *_: None)
        options = AskOptions("test", cache, max_failures, how.pop("replay", False), told, **how)
        for chunk in answer_prompts(options, who, prompts, checks[who.task], tally):
            responses += chunk.responses
    return responses, tally


def usual(body, before=0):
    """An answer to whatever was asked."""
    if "Sentence:" in body["messages"][0]["content"]:
        return Reply(completion("price, taste"))
    return Reply(completion("Yes", top=TOP if body.get("logprobs") else None))


def pending(folder):
    return Ledger(folder / "batches").names()


def left_behind(folder):
    """What lies in the ledger's folder, hidden or not."""
    return list((folder / "batches").iterdir()) if (folder / "batches").exists() else []


# One cache


@pytest.mark.parametrize("task", ["p1", "p2"])
def test_answers_are_those_of_live_requests_under_the_same_keys(tmp_path, task):
    prompts = topics() if task == "p1" else questions()
    with serving_batches(usual) as server:
        live, _ = put(tmp_path / "live", annotator(server.url, task, "live"), prompts)
        batch, tally = put(tmp_path / "batch", annotator(server.url, task), prompts)
        assert (tally.cached, tally.asked, tally.failed) == (0, len(prompts), 0)
        assert len(server.submitted) == len(prompts)
        sent = server.bodies[0]
        bodies = [line["body"] for line in server.submitted]
        server.calls.clear()
        for folder, mode in (("live", "batch"), ("batch", "live")):
            again, tally = put(tmp_path / folder, annotator(server.url, task, mode), prompts)
            assert again == live and (tally.cached, tally.asked) == (len(prompts), 0)
        assert not server.calls
    assert batch == live and None not in live
    assert all(body.keys() == sent.keys() for body in bodies)
    assert {body["temperature"] for body in bodies} == {0}
    records = []
    for folder in ("live", "batch"):
        with PromptCache(tmp_path / folder) as cache:
            records.append((dict(cache.records()), cache.origins()))
    assert records[0] == records[1]


def test_the_mode_and_the_prices_are_not_in_the_key():
    live, batch = annotator(GONE, mode="live"), annotator(GONE, batch_price=[1.0, 2.0])
    assert live.identity == batch.identity


def test_nothing_to_ask_needs_no_server(tmp_path):
    responses, tally = put(tmp_path, annotator(GONE), questions([]))
    assert responses == [] and tally.asked == 0


def test_only_what_is_missing_is_submitted(tmp_path):
    with serving_batches(usual) as server:
        put(tmp_path, annotator(server.url, mode="live"), many(10))
        _, tally = put(tmp_path, annotator(server.url), many(25))
        assert len(server.submitted) == 15 and server.calls["POST /batches"] == 1
    assert (tally.cached, tally.asked) == (10, 15)
    assert tally.tokens_in == 150 and not left_behind(tmp_path)


def test_a_prompt_that_stands_twice_is_asked_once(tmp_path):
    with serving_batches(usual) as server:
        responses, tally = put(tmp_path, annotator(server.url), questions(["price"] * 3))
        assert len(server.submitted) == 1
    assert len(responses) == 3 and None not in responses and tally.cached == 0


def test_examples_that_others_wait_for_are_asked_live(tmp_path):
    with serving_batches(usual) as server:
        put(tmp_path, annotator(server.url), questions(), live=True)
        assert not server.batches


def test_a_stage_asks_its_example_live_and_all_else_in_a_batch(tmp_path):
    texts = [f"It is cheap, {i}." for i in range(8)]
    ids = pa.array([sentence_id(text) for text in texts])
    write_table(tmp_path / "corpus.parquet", pa.table({"id": ids, "text": texts}), {})
    tables = []
    with serving_batches(usual) as server:
        for mode in ("batch", "live"):  # the second finds all answers in the cache
            spec = {"kind": "openai", "base_url": server.url} | OPTIONS
            spec |= {"api_key_env": None, "mode": mode}
            section = {"annotators": [spec], "max_descriptors": 3, "max_words": 4, "seed": 0}
            section |= {"examples": 1, "template": None, "max_failures": 0.0}
            file = tmp_path / f"{mode}.parquet"
            describe_sentences(
                Describe(**section),
                corpus=tmp_path / "corpus.parquet",
                candidates=file,
                cache_folder=tmp_path / "cache",
                progress=lambda *_: None,
            )
            tables.append(read_table(file, "describe").to_pylist())
        assert len(server.bodies) == 2  # the example, and the question before the batch
        assert len(server.submitted) == len(texts) == 8
    assert tables[0] == tables[1] and len(tables[0]) == 16


def test_a_replay_asks_nobody(tmp_path):
    with serving_batches(usual) as server:
        first, _ = put(tmp_path, annotator(server.url), questions())
    again, _ = put(tmp_path, annotator(GONE), questions(), replay=True)
    assert again == first
    with pytest.raises(InputError, match="replay: 1 of 5"):
        put(tmp_path, annotator(GONE), questions(["new", "price", "taste", "smell", "size"]),
            replay=True)  # fmt: skip


def test_large_files_are_parted_by_number_and_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "MAX_REQUESTS", 7)
    with serving_batches(usual) as server:
        put(tmp_path, annotator(server.url), many(20))
        sizes = [len(batch["requests"]) for batch in server.batches.values()]
        assert sizes == [7, 7, 6]
        monkeypatch.setattr(run, "MAX_BYTES", 1000)
        put(tmp_path / "small", annotator(server.url), many(20))
        small = [server.files[b["input_file_id"]] for b in list(server.batches.values())[3:]]
    assert len(small) > 3 and all(len(content) <= 1000 for content in small)
    assert sum(content.count(b"\n") for content in small) == 20


def test_prompts_of_several_slabs_share_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("descry.annotators.chunks.CHUNK", 4)
    with serving_batches(usual) as server:
        responses, tally = put(tmp_path, annotator(server.url), many(10))
        assert [len(batch["requests"]) for batch in server.batches.values()] == [10]
    assert len(responses) == 10 and None not in responses and tally.done == 10


def test_what_is_about_to_be_spent_is_said_before_it_is(tmp_path):
    said, calls = [], []
    with serving_batches(usual) as server:
        who = annotator(server.url, price=[2.0, 8.0])

        def told(name, tally):
            if tally.forecast and not said:
                said.append(tally.forecast)
                calls.append(dict(server.calls))

        put(tmp_path, who, many(1000), told=told)
    assert calls == [{"POST /chat/completions": 1}]
    assert "to ask: 1,000" in said[0] and "in 1 batches" in said[0] and "$0.0" in said[0]


def test_half_the_price_or_the_one_that_is_written():
    assert annotator(GONE, price=[2.0, 8.0]).price == (1.0, 4.0)
    assert annotator(GONE, price=[2.0, 8.0], mode="live").price == (2.0, 8.0)
    assert annotator(GONE, price=[2.0, 8.0], batch_price=[0.5, 3.0]).price == (0.5, 3.0)
    assert annotator(GONE, price=[2.0, 8.0]).live_price == (2.0, 8.0)
    assert annotator(GONE).price is None


# What a server refuses


def test_the_variant_is_found_before_anything_is_written(tmp_path):
    def script(body, before):
        if "temperature" in body or body.get("top_logprobs", 0) > 5:
            name = "temperature" if "temperature" in body else "top_logprobs"
            return error(400, f"'{name}' is not supported", param=name)
        return usual(body)

    with serving_batches(script) as server:
        live, _ = put(tmp_path / "live", annotator(server.url, mode="live"), questions())
        batch, tally = put(tmp_path / "batch", annotator(server.url), questions())
        assert all(line["body"]["top_logprobs"] == 5 for line in server.submitted)
        assert not any("temperature" in line["body"] for line in server.submitted)
    assert batch == live and not tally.failures
    with PromptCache(tmp_path / "batch") as cache:
        (origin,) = cache.origins().values()
    assert json.loads(origin["decoding"])["without"] == ["temperature"]


def test_words_are_taken_where_there_are_no_log_probabilities(tmp_path):
    def script(body, before):
        return Reply(completion("Yes, it does."))

    with serving_batches(script) as server:
        responses, _ = put(tmp_path, annotator(server.url), questions())
        assert {line["body"]["max_tokens"] for line in server.submitted} == {8}
    assert responses == [{"text": "Yes, it does.", "finish": "stop"}] * 4


def test_another_model_is_not_asked_and_never_stored(tmp_path):
    other = Reply(completion("Yes", top=TOP, model="tiny-2027"))
    with serving_batches(lambda body, before: other) as server:
        with pytest.raises(InputError, match="'tiny-2027'"):
            put(tmp_path, annotator(server.url), questions())
        assert not server.batches
        question = "Is water wet?"
        server.script = lambda body, _: usual(body) if question in str(body) else other
        responses, tally = put(tmp_path, annotator(server.url), questions())
    assert responses == [None] * 4 and not stored(tmp_path)
    assert tally.failures == {"answered by the model 'tiny-2027'": 4}


@pytest.mark.parametrize("route", ["POST /files", "POST /batches"])
@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refused_submission_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, route, status):
    monkeypatch.setattr(run, "MAX_REQUESTS", 2)
    with serving_batches(usual) as server:
        server.faults[route] = [error(status, "not for you")]
        with pytest.raises(InputError, match=f"HTTP {status}: not for you") as caught:
            put(tmp_path, annotator(server.url), questions())
        assert "\n" not in str(caught.value)
        assert not left_behind(tmp_path) and not stored(tmp_path)
        put(tmp_path, annotator(server.url, retries=2), questions(), max_failures=0.0)
        assert len(server.submitted) == 4


def test_an_unpinned_model_is_not_asked(tmp_path):
    with serving_batches(usual) as server, pytest.raises(InputError, match="run `descry pin`"):
        put(tmp_path, annotator(server.url, revision="unpinned"), questions())
    assert not server.calls


# What passes

BUSY = [error(429, "slow down"), error(500, "oops"), Reply({}, cut="before"), Reply({}, cut="half")]
EVERY = [
    "POST /files",
    "POST /batches",
    "GET /batches/{id}",
    "GET /files/{id}/content",
    "GET /batches",
]


@pytest.mark.parametrize("route", EVERY[:4])
@pytest.mark.parametrize("fault", BUSY, ids=["429", "500", "dropped", "half a reply"])
def test_what_passes_is_tried_again(tmp_path, route, fault):
    with serving_batches(usual) as server:
        server.faults[route] = [fault]
        who = annotator(server.url, retries=2)
        responses, _ = put(tmp_path, who, questions(), max_failures=0.0)
        assert None not in responses
        assert len(server.submitted) == 4 and len(server.batches) == 1


@pytest.mark.parametrize("fault", BUSY[1:], ids=["500", "dropped", "half a reply"])
def test_a_submission_that_was_taken_before_the_connection_broke_is_not_sent_again(tmp_path, fault):
    with serving_batches(usual) as server:
        lost = Reply(json.loads(fault.body), fault.status, cut=fault.cut)
        server.faults["POST /batches"] = [done(lost)]
        responses, _ = put(tmp_path, annotator(server.url, retries=3), questions())
        assert None not in responses
        assert len(server.batches) == 1 and server.calls["POST /batches"] == 1
        assert server.calls["GET /batches"] == 1


def test_a_submission_nobody_knows_of_is_found_by_the_next_run(tmp_path):
    with serving_batches(usual) as server:
        server.faults["POST /batches"] = [done(Reply({}, 503))]
        server.faults["GET /batches"] = [Reply({}, 503), Reply({}, 503)]
        with pytest.raises(InputError, match=r"HTTP 503.*the next run resumes them"):
            put(tmp_path, annotator(server.url), questions())
        with pytest.raises(InputError, match="HTTP 503"):
            put(tmp_path, annotator(server.url), questions())
        assert len(pending(tmp_path)) == 1
        responses, tally = put(tmp_path, annotator(server.url), questions())
        assert None not in responses and len(server.batches) == 1
    assert (tally.asked, tally.cached) == (4, 0) and not left_behind(tmp_path)


def test_the_batch_is_found_behind_many_others(tmp_path):
    with serving_batches(usual) as server:
        server.faults["POST /batches"] = [done(Reply({}, 503))]
        server.faults["GET /batches"] = [Reply({}, 503)]
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url), questions())
        mine = server.batches["batch-0"]
        for i in range(1, 250):
            server.batches[f"batch-{i}"] = mine | {"id": f"batch-{i}", "metadata": None}
        put(tmp_path, annotator(server.url), questions())
        assert server.calls["GET /batches"] == 1 + 3 and server.calls["POST /batches"] == 1


def test_a_server_that_stays_away_is_one_line_and_its_batch_is_kept(tmp_path):
    with serving_batches(usual) as server:
        server.faults["GET /batches/{id}"] = [Reply({}, 503)] * 50
        with pytest.raises(InputError, match=r"HTTP 503.*next run resumes"):
            put(tmp_path, annotator(server.url), questions())
        assert len(pending(tmp_path)) == 1
        server.faults.clear()
        responses, _ = put(tmp_path, annotator(server.url), questions())
        assert None not in responses and len(server.batches) == 1


def test_batches_for_which_there_is_no_room_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "MAX_REQUESTS", 2)
    with serving_batches(usual) as server:
        server.room, server.looks = 2, 3
        responses, tally = put(tmp_path, annotator(server.url), many(10), max_failures=0.0)
        refused = [batch for batch in server.batches.values() if batch["requests"] is None]
        assert refused and len(server.submitted) == 10
    assert None not in responses and tally.asked == 10


def test_no_room_at_all_is_a_failure_with_its_reason(tmp_path):
    with serving_batches(usual) as server:
        server.room = 0
        _, tally = put(tmp_path, annotator(server.url), questions())
    assert tally.failures == {"batch failed (Enqueued token limit reached)": 4}


# How a batch ends


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (EXPIRED, "batch expired"),
        (CANCELLED, "batch cancelled"),
        (FAILED, "batch failed (the model does not exist)"),
    ],
)
def test_what_a_batch_that_did_not_complete_has_answered_is_kept(tmp_path, end, reason):
    with serving_batches(usual) as server:
        server.end, server.share = lambda number: end, lambda number: 0.3
        responses, tally = put(tmp_path, annotator(server.url), many(10))
        assert [response is None for response in responses] == [False] * 3 + [True] * 7
        assert tally.failures == ledger(tmp_path) == {reason: 7}
        assert (tally.asked, tally.cached) == (10, 0) and len(stored(tmp_path)) == 3
        with pytest.raises(InputError, match=r"7 of 10 answers failed .7 batch"):
            put(tmp_path, annotator(GONE), many(10), max_failures=0.1, replay=True)
        # The next run asks again what failed, as it does live, and nothing else.
        server.end = lambda number: "completed"
        server.share = lambda number: 1.0
        responses, tally = put(tmp_path, annotator(server.url), many(10), max_failures=0.0)
        assert len(server.batches["batch-1"]["requests"]) == 7
    assert (tally.asked, tally.cached, tally.failed) == (7, 3, 0)
    assert None not in responses and not ledger(tmp_path)


def test_more_failures_than_allowed_end_the_run_and_keep_the_good(tmp_path):
    with serving_batches(usual) as server:
        server.end, server.share = lambda number: EXPIRED, lambda number: 0.5
        with pytest.raises(InputError, match=r"5 of 10 answers failed .5 batch expired"):
            put(tmp_path, annotator(server.url), many(10), max_failures=0.2)
    assert len(stored(tmp_path)) == 5


def test_failures_are_not_asked_again_where_live_ones_would_not_be(tmp_path):
    with serving_batches(usual) as server:
        server.end, server.share = lambda number: EXPIRED, lambda number: 0.5
        put(tmp_path, annotator(server.url), many(10))
        _, tally = put(tmp_path, annotator(server.url), many(10), again=False)
        assert len(server.batches) == 1
    assert tally.failures == {"batch expired": 5}


def test_lines_of_the_error_file_are_failures_with_their_reasons(tmp_path):
    replies = {
        "n0": error(400, "maximum context length is 128", code="context_length_exceeded"),
        "n1": error(500, "the server had an error"),
        "n2": error(429, "rate limit"),
        "n3": error(400, "blocked by our content policy", code="content_filter"),
        "n4": Reply(completion("Sure", top={"Sure": -0.1, "Of": -3.0})),
        "n5": Reply(completion(message={"content": None, "refusal": "no"})),
        "n6": Reply({"model": MODEL, "choices": []}),
        "n7": Reply(completion("Yes")),
        "n8": Reply(completion("<think>", top={"<think>": -0.01, "Yes": -6.0, "No": -7.0})),
    }

    def script(body, before):
        prompt = body["messages"][0]["content"]
        return next((r for n, r in replies.items() if f'"{n}"' in prompt), usual(body))

    with serving_batches(script) as server:
        responses, tally = put(tmp_path, annotator(server.url), many(12))
    assert [response is None for response in responses] == [True] * 9 + [False] * 3
    assert (
        tally.failures
        == ledger(tmp_path)
        == {
            "too long for the server (shorten by corpus.max_words, or raise max_failures)": 1,
            "HTTP 500": 1,
            "HTTP 429": 1,
            "refusal": 2,
            "neither Yes nor No": 1,
            "no choices": 1,
            "no log-probabilities": 1,
            ONLY_THOUGHTS: 1,
        }
    )
    assert "the server had an error" in tally.why


def test_a_batch_that_the_server_has_lost_is_a_failure(tmp_path):
    with serving_batches(usual) as server:
        server.faults["GET /batches/{id}"] = [error(404, "No such batch")]
        _, tally = put(tmp_path, annotator(server.url), questions())
        assert tally.failures == {"batch failed (the server no longer knows it)": 4}
        server.faults["GET /files/{id}/content"] = [error(404, "No such file")]
        _, tally = put(tmp_path, annotator(server.url), questions())
    assert tally.failures == {"batch completed, and its output is gone": 4}


# What an output file may look like


def test_lines_in_any_order_find_their_prompts(tmp_path):
    def script(body, before):
        number = int(body["messages"][0]["content"].split('"')[3].removeprefix("n"))
        return Reply(completion("Yes", top={"Yes": -0.1 - number / 100, "No": -3.0}))

    with serving_batches(lambda body, _: script(body, 0) if "n" in body else usual(body)) as server:
        server.script = lambda body, b: usual(body) if "water" in str(body) else script(body, b)
        server.edit = lambda output, errors: (output[::-1], errors)
        responses, _ = put(tmp_path, annotator(server.url), many(20))
    assert [response["yes"] for response in responses] == [
        pytest.approx(-0.1 - i / 100) for i in range(20)
    ]


def test_repeated_strange_and_broken_lines_are_counted_and_passed_over(tmp_path):
    def edit(output, errors):
        stranger = output[0] | {"custom_id": "f" * 64}
        no_id = {"id": "x", "response": output[0]["response"]}
        other = json.loads(json.dumps(output[1]))
        other["response"]["body"]["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = [
            {"token": "No", "logprob": -0.1},
            {"token": "Yes", "logprob": -5.0},
        ]
        lines = [output[0], stranger, *output[1:], other, no_id, b"not JSON\n", b"[1]\n", b"\n"]
        return lines, [output[2] | {"response": None, "error": {"code": "late", "message": "m"}}]

    with serving_batches(usual) as server:
        server.edit = edit
        responses, tally = put(tmp_path, annotator(server.url), questions(), max_failures=0.0)
    assert [response["yes"] for response in responses] == [-0.2] * 4  # the first answer counts
    assert dict(tally.remarks) == {run._AGAIN: 2, run._STRANGE: 4}


def test_an_answer_counts_though_an_error_line_came_before_it(tmp_path):
    def edit(output, errors):
        bad = output[0] | {"response": {"status_code": 500, "body": {}}}
        return [bad, *output], errors

    with serving_batches(usual) as server:
        server.edit = edit
        responses, tally = put(tmp_path, annotator(server.url), questions(), max_failures=0.0)
    assert None not in responses and not tally.failures


@pytest.mark.parametrize("cut", ["a line short", "within a line"])
def test_a_truncated_output_is_fetched_again(tmp_path, cut):
    with serving_batches(usual) as server:
        whole = []

        def edit(output, errors):
            whole.append(written(output))
            return output, errors

        server.edit = edit
        take = {"a line short": lambda b: b[: b.rindex(b"\n", 0, -1) + 1]}
        take["within a line"] = lambda b: b[:-40]
        route = "GET /files/{id}/content"

        class Cut(Reply):
            def __init__(self):
                super().__init__({})

            def __call__(self, handler):
                self.body = take[cut](whole[0])
                super().__call__(handler)

        server.faults[route] = [Cut(), Cut()]
        responses, _ = put(tmp_path, annotator(server.url, retries=2), questions())
        assert None not in responses and server.calls[route] == 3


def test_what_a_truncated_output_never_has_is_a_failure(tmp_path):
    with serving_batches(usual) as server:
        server.edit = lambda output, errors: ([written(output)[:-40]], errors)
        responses, tally = put(tmp_path, annotator(server.url, retries=1), questions())
    assert [response is None for response in responses] == [False, False, False, True]
    assert tally.failures == {"no line in the batch's output": 1}


def test_the_key_is_sent_and_found_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("DESCRY_TEST_KEY", KEY)
    replies = {
        "n0": error(500, f"bad key {KEY}", code=KEY),
        "n1": Reply(completion("Yes", top={KEY: -0.1, "Yes": -2.6, "No": -4.0})),
        "n2": Reply(completion(message={"content": None, "refusal": f"no, {KEY}"})),
        "n3": Reply(completion("Yes", top=TOP, model=KEY)),
    }

    def script(body, before):
        prompt = body["messages"][0]["content"]
        return next((r for n, r in replies.items() if f'"{n}"' in prompt), usual(body))

    with serving_batches(script) as server:
        who = annotator(server.url, api_key_env="DESCRY_TEST_KEY")
        _, tally = put(tmp_path, who, many(5))
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
        server.faults["POST /files"] = [error(401, f"Incorrect API key provided: {KEY}")]
        with pytest.raises(InputError) as caught:
            put(tmp_path, who, many(9))
    assert KEY not in str(caught.value) and KEY not in tally.why
    assert len(tally.failures) == 4 and KEY.encode() not in files_of(tmp_path)


# Kills and other processes


class KilledError(BaseException):
    pass


def killed_at(monkeypatch, target, name, *, after=False, turn=1):
    """Let a function of `target` end the run at its n-th call, as a kill would."""
    real, calls = getattr(target, name), []

    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) == turn:
            if after:
                real(*args, **kwargs)
            raise KilledError
        return real(*args, **kwargs)

    monkeypatch.setattr(target, name, call)
    return lambda: monkeypatch.setattr(target, name, real)


STEPS = {
    "before the upload": ("BatchService.upload", False, 1),
    "after the upload": ("BatchService.upload", True, 1),
    "before the second submission": ("BatchService.submit", False, 2),
    "after a submission, before its record": ("BatchService.submit", True, 2),
    "after the record": ("Entry.update", True, 2),
    "while waiting": ("BatchService.batch", False, 2),
    "before the download": ("BatchService.download", False, 1),
    "after the download": ("BatchService.download", True, 2),
    "after the answers are stored": ("BatchRun._fail", False, 2),
    "before it is taken off the ledger": ("Entry.remove", False, 1),
}


@pytest.mark.parametrize(("where", "after", "turn"), STEPS.values(), ids=STEPS)
def test_a_kill_at_any_step_costs_no_second_submission(tmp_path, monkeypatch, where, after, turn):
    monkeypatch.setattr(run, "MAX_REQUESTS", 4)
    owner, name = where.split(".")
    revive = killed_at(monkeypatch, getattr(run, owner), name, after=after, turn=turn)
    with serving_batches(usual) as server:
        server.looks = 2
        with pytest.raises(KilledError):
            put(tmp_path, annotator(server.url), many(12))
        revive()
        responses, tally = put(tmp_path, annotator(server.url), many(12), max_failures=0.0)
        assert None not in responses
        asked = [line["custom_id"] for line in server.submitted]
        assert len(asked) == len(set(asked)) == 12
    assert not left_behind(tmp_path)
    assert tally.cached + tally.asked == 12


@pytest.mark.parametrize("name", ["write", "finish"])
def test_a_kill_while_files_are_written_leaves_nothing_in_the_way(tmp_path, monkeypatch, name):
    monkeypatch.setattr(run, "MAX_REQUESTS", 4)

    def stopped(self):
        self._input.close()
        self._rows.close()
        os.close(self._lock)

    monkeypatch.setattr(run.Writing, "discard", stopped)
    monkeypatch.setattr(run.Entry, "remove", run.Entry.close)
    revive = killed_at(monkeypatch, run.Writing, name, turn=2)
    with serving_batches(usual) as server:
        with pytest.raises(KilledError):
            put(tmp_path, annotator(server.url), many(12))
        assert len(left_behind(tmp_path)) == 2
        monkeypatch.undo()
        monkeypatch.setattr(run, "SHORTEST", 0.005)
        revive()
        put(tmp_path, annotator(server.url), many(12), max_failures=0.0)
        assert len(server.submitted) == 12
    assert not left_behind(tmp_path)


def test_a_full_disk_while_writing_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with serving_batches(usual) as server:
        monkeypatch.setattr(run.Writing, "finish", full)
        with pytest.raises(OSError, match="No space"):
            put(tmp_path, annotator(server.url), many(5))
        assert not server.batches
    assert not left_behind(tmp_path)


def test_answers_of_prompts_that_nobody_asks_any_more_are_taken_in(tmp_path):
    with serving_batches(usual) as server:
        server.faults["GET /batches/{id}"] = [Reply({}, 503)] * 20
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url), many(10))
        server.faults.clear()
        responses, _ = put(tmp_path, annotator(server.url), questions(["n3", "new"]))
        assert None not in responses and len(server.submitted) == 11
    assert len(stored(tmp_path)) == 11


def test_a_batch_of_another_annotator_stays_pending(tmp_path):
    with serving_batches(usual) as server:
        server.faults["GET /batches/{id}"] = [Reply({}, 503)] * 20
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url, "p1"), topics())
        server.faults.clear()
        put(tmp_path, annotator(server.url), questions())
        assert len(pending(tmp_path)) == 1
        responses, _ = put(tmp_path, annotator(server.url, "p1"), topics())
        assert None not in responses and len(server.batches) == 2
    assert not left_behind(tmp_path)


def test_the_stats_of_the_cache_name_what_is_pending(tmp_path, monkeypatch, capsys):
    def said():
        with PromptCache(tmp_path) as cache:
            show_cache(cache, None)
        return [line for line in capsys.readouterr().out.splitlines() if "pending" in line]

    monkeypatch.setattr(run, "MAX_REQUESTS", 3)
    with serving_batches(usual) as server:
        server.faults["POST /batches"] = [error(503, "busy")] * 9
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url), questions())
        begins = "4 pending, to be imported by the next run: p2 of"
        ends = "tiny at 127.0.0.1, batches: 2"
        assert said() == [f"{begins} {ends} (2 not submitted)"]
        server.faults = {"GET /batches/{id}": [Reply({}, 503)] * 20}
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url), questions())
        assert said() == [f"{begins} {ends}"]
        server.faults.clear()
        put(tmp_path, annotator(server.url), questions())
    assert not said()


def test_an_answer_that_was_asked_live_meanwhile_stays(tmp_path):
    no = Reply(completion("No", top={"Yes": -3.0, "No": -0.1}))
    with serving_batches(usual) as server:
        server.faults["GET /batches/{id}"] = [Reply({}, 503)] * 20
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url), questions())
        server.faults.clear()
        server.script = lambda body, before: no
        _, tally = put(tmp_path, annotator(server.url, mode="live"), questions(["price"]))
        assert PENDING in tally.remarks
        server.script = usual
        responses, _ = put(tmp_path, annotator(server.url), questions())
    assert [response["yes"] for response in responses] == [-3.0, -0.2, -0.2, -0.2]


def test_a_damaged_ledger_is_one_line(tmp_path):
    with serving_batches(usual) as server:
        server.faults["GET /batches/{id}"] = [Reply({}, 503)] * 20
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url), questions())
        (name,) = pending(tmp_path)
        for file in ("rows.txt", "state.json"):
            (tmp_path / "batches" / name / file).write_text("{")
            with pytest.raises(InputError, match=f"{file}: damaged") as caught:
                put(tmp_path, annotator(server.url), questions())
            assert "\n" not in str(caught.value)


def test_two_processes_do_not_take_the_same_batch(tmp_path):
    with serving_batches(usual) as server:
        server.faults["GET /batches/{id}"] = [Reply({}, 503)] * 20
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url), questions())
        server.faults.clear()
        (name,) = pending(tmp_path)
        held = Ledger(tmp_path / "batches").take(name)
        assert Ledger(tmp_path / "batches").take(name) is None
        waits = []

        def told(_, tally):
            waits.append(tally.done)
            if len(waits) == 5:
                held.close()  # the other process is killed

        responses, _ = put(tmp_path, annotator(server.url), questions(), told=told)
        assert None not in responses and len(server.batches) == 1 and len(waits) >= 5


def test_pending_batches_stay_where_machines_share_journals(tmp_path):
    journals = tmp_path / "journals"
    journals.mkdir()
    with serving_batches(usual) as server:
        server.faults["GET /batches/{id}"] = [Reply({}, 503)] * 20
        with pytest.raises(InputError):
            put(tmp_path, annotator(server.url), questions(), journals=journals)
        server.faults.clear()
        assert len(pending(journals)) == 1
        responses, _ = put(tmp_path, annotator(server.url), questions(), journals=journals)
        assert None not in responses and len(server.batches) == 1
    again, tally = put(tmp_path, annotator(GONE), questions(), journals=journals)
    assert again == responses and tally.cached == 4


KILLED = """
import sys
from pathlib import Path
from test_batches import annotator, many, put, run
run.SHORTEST, run.LONGEST, run.MAX_REQUESTS = 0.02, 0.02, 200
put(Path(sys.argv[1]), annotator(sys.argv[2]), many(1000))
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", ["POST /files", "POST /batches", "GET /batches/{id}"])
def test_a_killed_process_submits_nothing_a_second_time(tmp_path, at):
    """SIGKILL, again and again, at the n-th request of a kind; at last a run goes to its end."""
    with serving_batches(usual) as server:
        server.looks = 12
        command = [sys.executable, "-c", KILLED, tmp_path, server.url]
        for turn in range(1, 5):
            reached = server.calls[at] + 2 * turn
            with subprocess.Popen(command, cwd=Path(__file__).parent) as process:
                while server.calls[at] < reached and process.poll() is None:
                    time.sleep(0.001)
                process.send_signal(signal.SIGKILL)
        responses, _ = put(tmp_path, annotator(server.url), many(1000), max_failures=0.0)
        assert None not in responses and len(responses) == 1000
        asked = [line["custom_id"] for line in server.submitted]
        assert len(set(asked)) == 1000
        assert len(asked) == 1000
    assert not left_behind(tmp_path)
    assert len(stored(tmp_path)) == 1000


AIBRIX = """
import sys
import aibrix.metadata.app as app
from aibrix.batch.client.sources.static import GatewayEndpointSource
port, url = sys.argv[1:]
app.NoopEndpointSource = lambda: GatewayEndpointSource(url)
sys.argv = ["aibrix", "--dry-run", "--host", "127.0.0.1", "--port", port]
app.main()
"""


@contextmanager
def aibrix(folder, chat):
    """AIBrix's own batch service, which asks the given server for each line of a batch."""
    folder.mkdir()
    port = free_port()
    command = [os.environ["DESCRY_AIBRIX"], "-c", AIBRIX, str(port), chat]
    log = folder / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, cwd=folder) as process,
    ):
        try:
            for _ in range(600):
                assert process.poll() is None, log.read_text()
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.skipif(
    "DESCRY_AIBRIX" not in os.environ,
    reason="set DESCRY_AIBRIX to the Python of an environment that has aibrix (docs/batch.md)",
)
@pytest.mark.parametrize("task", ["p1", "p2"])
def test_a_batch_service_that_is_not_ours_answers_as_live(tmp_path, task):
    prompts = topics([f"It is cheap, {i}." for i in range(50)]) if task == "p1" else many(50)

    def script(body, before):
        if body["messages"][0]["content"].count('"n7"'):
            return error(500, "an error on one line")
        return usual(body)

    with serving_batches(script) as server:
        live, _ = put(tmp_path / "live", annotator(server.url, task, "live"), prompts)
        with aibrix(tmp_path / "aibrix", server.url.removesuffix("/v1")) as url:
            server.behind = url
            who = annotator(server.url, task, timeout=30.0)
            batch, tally = put(tmp_path / "batch", who, prompts)
            assert tally.asked == 50
            again, tally = put(tmp_path / "batch", who, prompts)
    assert batch == again == live
    assert sum(response is None for response in live) == (0 if task == "p1" else 1)
    assert server.calls["POST /batches"] == (1 if task == "p1" else 2)
