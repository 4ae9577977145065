"""Servers that will not be asked as others are: what they refuse, thoughts, what is too long."""

import json
import math
from functools import partial

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import MODEL, Reply, completion, error, serving

from descry.annotators.base import NO_FRAME, Identity, VariantChangedError
from descry.annotators.client import AskOptions, answer_prompts, go_on
from descry.annotators.cost import survey
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.openai_server.annotator import ONLY_THOUGHTS, reported_model
from descry.annotators.openai_server.refusal import TOO_LONG
from descry.annotators.openai_server.schema import Token
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.prompt_cache.store import Batch, PromptCache
from descry.annotators.prompts import p1, p2
from descry.annotators.templates import p1_template
from descry.annotators.thoughts import opens_thought
from descry.cli.progress import reporting
from descry.corpus.splits import sentence_id
from descry.errors import InputError
from descry.io.parquet import write_table
from descry.io.read_provenance import provenance_of
from descry.provenance.verify.recompute import _again
from descry.stages.describe import Describe, describe_sentences
from descry.workflow.requests import _frame

TOP = {"Yes": -0.2, "No": -2.0, "Maybe": -6.0}
THOUGHTS = {"<think>": -0.001, "Okay": -8.0, "Yes": -9.0, "No": -10.0}
OPTIONS = {
    "model": "tiny",
    "revision": MODEL,
    "dtype": "unknown",
    "api_key_env": None,
    "max_new_tokens": 40,
    "concurrency": 4,
    "timeout": 5.0,
    "retries": 0,
    "price": None,
}
TEXTS = ["It is cheap.", "It is sweet.", "It stinks.", "It is small.", "It is red."]


def annotator(url, task, **changes):
    return create({"kind": "openai", "base_url": url} | OPTIONS | changes, task)


def questions(task, texts=TEXTS):
    return p1(list(texts), p1_template(5)) if task == "p1" else p2(list(texts), ["price"])


def put(folder, who, prompts, *, max_failures=1.0, replay=False, told=None):
    """What ask() makes of it: the responses and the counts."""
    checks = {"p1": partial(parse_topics, max_descriptors=5, max_words=4)}
    checks["p2"] = partial(parse_verdict, min_mass=0.1)
    tally, responses = Counts(), []
    with PromptCache(folder) as cache:
        how = AskOptions("test", cache, max_failures, replay, told or (lambda *_: None))
        for chunk in answer_prompts(how, who, prompts, checks[who.task], tally):
            responses += chunk.responses
    return responses, tally


def usual(body):
    """An answer to whatever was asked."""
    if "Sentence:" in body["messages"][0]["content"]:
        return Reply(completion("price, taste"))
    return Reply(completion("Yes", top=TOP if body.get("logprobs") else None))


def refusing(*names, status=400):
    """A server that refuses a request with any of these options, and says which."""

    def script(body, before):
        for name in names:
            if name in body:
                return error(
                    status, f"Unsupported parameter: '{name}' is not supported", param=name
                )
        return usual(body)

    return script


def decodings(folder):
    with PromptCache(folder) as cache:
        return [json.loads(origin["decoding"]) for origin in cache.origins().values()]


GONE = "http://127.0.0.1:1/v1"


# What a server refuses


@pytest.mark.parametrize("task", ["p1", "p2"])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_refused_temperature_is_left_out_from_then_on(tmp_path, task, concurrency):
    with serving(refusing("temperature")) as server:
        who = annotator(server.url, task, concurrency=concurrency)
        responses, tally = put(tmp_path, who, questions(task), max_failures=0.0)
        with_it = [body for body in server.bodies if "temperature" in body]
    assert None not in responses and tally.asked == len(TEXTS)
    assert len(with_it) <= concurrency + 1  # those under way, and the question that finds the way
    assert not any("temperature" in body for body in server.bodies[-len(TEXTS) :])


@pytest.mark.parametrize("task", ["p1", "p2"])
def test_what_is_left_out_stands_in_the_key(tmp_path, task):
    plain = annotator(GONE, task)
    with serving(refusing("temperature")) as server:
        who = annotator(server.url, task)
        before = who.identity
        put(tmp_path, who, questions(task))
    assert before.decoding == plain.identity.decoding
    assert who.identity.decoding != before.decoding
    (decoding,) = decodings(tmp_path)
    assert decoding["without"] == ["temperature"] and "temperature" not in decoding
    assert json.loads(plain.identity.decoding) == {"temperature": 0} | {
        name: value for name, value in decoding.items() if name != "without"
    }


def test_the_next_session_and_a_replay_begin_with_the_way_that_was_found(tmp_path):
    prompts = questions("p2")
    with serving(refusing("temperature")) as server:
        first, _ = put(tmp_path, annotator(server.url, "p2"), prompts)
        server.bodies.clear()
        more = questions("p2", [*TEXTS, "It is new."])
        _, tally = put(tmp_path, annotator(server.url, "p2"), more)
        assert (tally.cached, tally.asked) == (5, 1)
        assert ["temperature" in body for body in server.bodies] == [False]
    again, tally = put(tmp_path, annotator(GONE, "p2"), prompts, replay=True)
    assert again == first and tally.asked == 0


def test_the_way_does_not_depend_on_which_prompt_came_first(tmp_path):
    keys = set()
    for i, texts in enumerate([TEXTS, TEXTS[::-1], TEXTS[2:3]]):
        with serving(refusing("temperature", "max_tokens")) as server:
            who = annotator(server.url, "p1", concurrency=1 + 3 * i)
            put(tmp_path / str(i), who, questions("p1", texts))
        keys.add(who.identity.decoding)
    assert len(keys) == 1


def test_a_kill_between_finding_the_way_and_the_first_answer_changes_nothing(tmp_path):
    with serving(refusing("temperature")) as server:
        killed = annotator(server.url, "p2")
        with pytest.raises(VariantChangedError):
            list(killed.answer(questions("p2"), range(5)))
        who = annotator(server.url, "p2")
        put(tmp_path, who, questions("p2"))
    assert who.identity == killed.identity


def test_the_name_of_the_limit_is_not_part_of_the_key(tmp_path):
    with serving(refusing("max_tokens", "temperature")) as server:
        one = annotator(server.url, "p1")
        put(tmp_path / "one", one, questions("p1"))
        assert server.bodies[-1]["max_completion_tokens"] == 40
        server.script = refusing("temperature")
        other = annotator(server.url, "p1")
        put(tmp_path / "other", other, questions("p1"))
    assert one.identity == other.identity


def test_a_limit_that_is_refused_under_both_names_is_left_out(tmp_path):
    with serving(refusing("max_tokens", "max_completion_tokens")) as server:
        who = annotator(server.url, "p1")
        responses, _ = put(tmp_path, who, questions("p1"))
    assert None not in responses
    assert json.loads(who.identity.decoding)["without"] == ["max_tokens"]


@pytest.mark.parametrize("status", [400, 403, 422, 500])
def test_whatever_the_status_the_named_option_is_left_out(tmp_path, status):
    with serving(refusing("temperature", status=status)) as server:
        responses, _ = put(tmp_path, annotator(server.url, "p2"), questions("p2"), max_failures=0.0)
    assert None not in responses


def test_answers_that_were_got_with_an_option_bind_it(tmp_path):
    with serving(lambda body, before: usual(body)) as server:
        put(tmp_path, annotator(server.url, "p2"), questions("p2", TEXTS[:2]))
        server.script = refusing("temperature")
        with pytest.raises(InputError, match=r"HTTP 400: .*'temperature'.*revision.*cache"):
            put(tmp_path, annotator(server.url, "p2"), questions("p2"))
    assert all("without" not in decoding for decoding in decodings(tmp_path))


def test_a_refusal_that_another_way_does_not_mend_is_told_in_the_servers_words(tmp_path):
    def script(body, before):
        return error(400, "the temperature of this data centre is too warm")

    with serving(script) as server:
        with pytest.raises(InputError, match="HTTP 400: the temperature of this"):
            put(tmp_path, annotator(server.url, "p2"), questions("p2"))
        assert server.requests <= 4 + 2


def test_an_option_in_the_request_that_a_server_repeats_is_no_complaint(tmp_path):
    def script(body, before):
        return Reply({"detail": [{"loc": ["body", "user"], "msg": "missing", "input": body}]}, 422)

    with serving(script) as server:
        with pytest.raises(InputError, match="HTTP 422"):
            put(tmp_path, annotator(server.url, "p2", concurrency=1), questions("p2"))
        assert server.requests == 1


def test_a_budget_that_is_too_large_is_for_people_to_mend(tmp_path):
    complaint = "max_tokens is too large: 4000. This model supports at most 2048 completion tokens"
    expected = pytest.raises(InputError, match="supports at most 2048 completion tokens")
    with serving(lambda body, before: error(400, complaint)) as server, expected:
        put(tmp_path, annotator(server.url, "p1", max_new_tokens=4000), questions("p1"))


def test_pinning_leaves_out_what_is_refused():
    with serving(refusing("temperature", "max_tokens")) as server:
        spec = {"kind": "openai", "base_url": server.url} | OPTIONS | {"revision": "unpinned"}
        assert reported_model(spec) == MODEL


def test_of_several_ways_in_a_cache_the_one_with_most_answers_goes_on(tmp_path):
    with serving(lambda body, before: usual(body)) as server:
        put(tmp_path, annotator(server.url, "p2"), questions("p2", TEXTS[:1]))
        server.script = refusing("temperature")
        other = annotator(server.url, "p2")
        put(tmp_path / "other", other, questions("p2", TEXTS[1:]))
    with PromptCache(tmp_path) as cache, PromptCache(tmp_path / "other") as more:
        cache.merge(Batch(more.origins(), dict(more.records()), {}))
        who = annotator(GONE, "p2")
        go_on(cache, who)
    assert who.identity.decoding == other.identity.decoding


# Thoughts


def thinking(switch=None, *, of=None):
    """A server whose model thinks unless it is sent this switch; it refuses unknown ones."""

    def script(body, before):
        sent = [name for name in SWITCHES if name in body]
        if sent and sent[0] not in (of or SWITCHES):
            return error(400, f"Unrecognized request argument supplied: {sent[0]}", param=sent[0])
        if switch is not None and all(body.get(name) == value for name, value in switch.items()):
            return usual(body)
        if body.get("logprobs"):
            return Reply(completion("<think>", top=THOUGHTS, finish="length"))
        if body["max_tokens"] <= 40:
            return Reply(completion("<think>Okay, they want", finish="length"))
        topics = "Sentence:" in body["messages"][0]["content"]
        return Reply(completion("<think>Okay.</think>\n" + ("price, taste" if topics else "Yes")))

    return script


SWITCHES = ["chat_template_kwargs", "reasoning_effort", "thinking", "reasoning"]
OFF = [
    {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    {"reasoning_effort": "none"},
    {"reasoning_effort": "minimal"},
    {"thinking": {"type": "disabled"}},
    {"reasoning": {"enabled": False}},
]


@pytest.mark.parametrize("task", ["p1", "p2"])
@pytest.mark.parametrize("switch", OFF)
@pytest.mark.parametrize("strict", [True, False])
def test_thoughts_are_turned_off_as_the_server_knows_it(tmp_path, task, switch, strict):
    with serving(thinking(switch, of=list(switch) if strict else None)) as server:
        who = annotator(server.url, task)
        responses, _ = put(tmp_path, who, questions(task), max_failures=0.0)
        asked = server.requests
        again, tally = put(tmp_path, annotator(server.url, task), questions(task))
        assert (server.requests, tally.cached, again) == (asked, len(TEXTS), responses)
    assert None not in responses
    assert all("yes" in response for response in responses) == (task == "p2")
    assert json.loads(who.identity.decoding)["no_thinking"] == switch


def test_a_model_that_cannot_but_think_is_told_with_its_token_and_the_remedy(tmp_path):
    with serving(thinking()) as server:
        with pytest.raises(InputError, match=r"thinks.*'<think>'.*`thinking: 1024`") as caught:
            put(tmp_path, annotator(server.url, "p2"), questions("p2"))
        assert server.requests <= 4 + 1 + len(OFF)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", ["p1", "p2"])
def test_with_tokens_to_think_the_answer_is_read_from_the_words(tmp_path, task):
    with serving(thinking()) as server:
        who = annotator(server.url, task, thinking=500)
        responses, _ = put(tmp_path, who, questions(task))
        assert {body["max_tokens"] for body in server.bodies} == {500 + (40 if task == "p1" else 8)}
        assert not any("logprobs" in body or "reasoning_effort" in body for body in server.bodies)
    assert all(response is None or "text" in response for response in responses)
    assert json.loads(who.identity.decoding)["thinking"] == 500


@pytest.mark.parametrize(
    "reply",
    [
        completion("<think>Okay, they want", finish="length"),
        completion("<think>"),
        completion(message={"content": None, "reasoning": "Okay, they"}, finish="length"),
    ],
)
@pytest.mark.parametrize("task", ["p1", "p2"])
def test_thoughts_that_use_up_their_tokens_are_a_failure_with_the_remedy(tmp_path, task, reply):
    with serving(lambda body, before: Reply(reply)) as server:
        _, tally = put(tmp_path, annotator(server.url, task, thinking=9), questions(task))
    assert tally.failures == {ONLY_THOUGHTS: len(TEXTS)}


def test_thoughts_that_a_server_keeps_apart_are_no_answer(tmp_path):
    def script(body, before):
        message = {"content": "No", "reasoning_content": "Yes? Yes, or rather no."}
        return Reply(completion(message=message))

    with serving(script) as server:
        responses, _ = put(tmp_path, annotator(server.url, "p2", thinking=500), questions("p2"))
    assert responses == [{"text": "No", "finish": "stop"}] * len(TEXTS)


HIDDEN = {
    "nothing, cut off": completion("", finish="length"),
    "null, cut off": completion(None, finish="length"),
    "thoughts apart": completion(message={"content": None, "reasoning": "Okay"}, finish="length"),
    "thoughts apart and no answer": completion(message={"content": "", "reasoning_content": "Hm"}),
}


@pytest.mark.parametrize("task", ["p1", "p2"])
@pytest.mark.parametrize("reply", HIDDEN.values(), ids=HIDDEN)
def test_thoughts_that_are_not_shown_are_noticed(tmp_path, task, reply):
    def script(body, before):
        if body.get("logprobs"):
            return error(400, "logprobs are not supported with reasoning models")
        return usual(body) if body.get("reasoning_effort") == "none" else Reply(reply)

    with serving(script) as server:
        who = annotator(server.url, task)
        responses, _ = put(tmp_path, who, questions(task), max_failures=0.0)
    assert None not in responses
    assert json.loads(who.identity.decoding)["no_thinking"] == {"reasoning_effort": "none"}


def test_one_answer_that_begins_with_thoughts_is_a_failure_and_changes_no_way(tmp_path):
    def script(body, before):
        odd = "stinks" in body["messages"][0]["content"]
        return Reply(completion("<think>", top=THOUGHTS)) if odd else usual(body)

    for i, texts in enumerate([TEXTS, TEXTS[2:] + TEXTS[:2]]):
        with serving(script) as server:
            who = annotator(server.url, "p2", concurrency=1)
            _, tally = put(tmp_path / str(i), who, questions("p2", texts))
        assert tally.failures == {"neither Yes nor No": 1}
        assert "no_thinking" not in who.identity.decoding


def test_whole_answers_behind_thoughts_are_left_to_the_parser(tmp_path):
    whole = "<think>Okay, topics.</think>\n\nprice, taste"
    with serving(lambda body, before: Reply(completion(whole))) as server:
        who = annotator(server.url, "p1")
        put(tmp_path, who, questions("p1"))
        assert server.requests == len(TEXTS)
    assert "thinking" not in who.identity.decoding


def test_without_new_options_keys_are_what_they_were():
    decoding = json.loads(annotator(GONE, "p2").identity.decoding)
    assert decoding == {
        "endpoint": "chat.completions",
        "temperature": 0,
        "answers": ["Yes", "No"],
        "scoring": "log-probabilities of the first token where given, else 8 tokens of words",
    }
    assert json.loads(annotator(GONE, "p1").identity.decoding) == {
        "endpoint": "chat.completions",
        "temperature": 0,
        "max_new_tokens": 40,
    }


THINK = ["<think>", "<thinking>", "<|channel|>", "[THINK]", "◁think▷", "<reasoning>", "\n<think>\n"]
NO_THINK = ["Yes", "No", "<p>", "Think", "thinking", "[", "<thinkpad>", "", "**Yes**", "Okay"]


@pytest.mark.parametrize("text", THINK)
def test_what_opens_a_thought(text):
    assert opens_thought(text) and opens_thought(text + " so")


@pytest.mark.parametrize("text", NO_THINK)
def test_what_opens_none(text):
    assert not opens_thought(text)


# What is too long, and what is moderated

LONG = "long " * 200
LONG_SAID = {
    "OpenAI": error(400, "This model's maximum context length is 128 tokens.", code="x"),
    "a code alone": error(400, "no", code="context_length_exceeded"),
    "vLLM": error(
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 8. This model's maximum context"
        " length is 128 tokens and your request has 125 input tokens (8 > 128 - 125).",
    ),
    "llama.cpp": error(400, "the request exceeds", type="exceed_context_size_error"),
    "llama.cpp of old": error(500, "the request exceeds the available context size. try again"),
    "llama-cpp-python": error(400, "Requested tokens (600) exceed context window of 512"),
    "TGI": Reply(
        {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"}, 422
    ),
    "Anthropic": error(400, "prompt is too long: 205000 tokens > 200000 maximum"),
    "Gemini": error(400, "The input token count (40000) exceeds the maximum number of tokens"),
    "Mistral": error(400, "Prompt contains 40000 tokens, too large for model"),
    "a proxy": Reply(b"<html>Request Entity Too Large</html>", 413),
}


@pytest.mark.parametrize("reply", LONG_SAID.values(), ids=LONG_SAID)
@pytest.mark.parametrize("task", ["p1", "p2"])
def test_one_prompt_that_is_too_long_is_a_counted_failure(tmp_path, task, reply):
    def script(body, before):
        return reply if LONG in body["messages"][0]["content"] else usual(body)

    texts = [TEXTS[0], LONG, *TEXTS[1:]]
    with serving(script) as server:
        who = annotator(server.url, task, concurrency=1)
        responses, tally = put(tmp_path, who, questions(task, texts))
    assert [response is None for response in responses] == [False, True, *[False] * 4]
    assert tally.failures == {TOO_LONG: 1}
    with PromptCache(tmp_path) as cache:
        ((_, failure),) = cache.failures()
    assert failure["sentence"] == sentence_id(LONG)
    assert "without" not in who.identity.decoding


def test_where_every_prompt_is_too_long_the_run_ends_early_with_the_reason(tmp_path):
    texts = [f"It is number {i}." for i in range(200)]
    with serving(lambda body, before: LONG_SAID["OpenAI"]) as server:
        with pytest.raises(InputError, match=r"every prompt is too long.*maximum context length"):
            put(tmp_path, annotator(server.url, "p2"), questions("p2", texts))
        assert server.requests < 40


def test_many_questions_about_one_long_sentence_are_not_every_prompt(tmp_path):
    def script(body, before):
        long = LONG in body["messages"][0]["content"]
        return LONG_SAID["OpenAI"] if long else usual(body)

    prompts = p2([LONG, TEXTS[0]], [f"n{i}" for i in range(60)])
    with serving(script) as server:
        responses, tally = put(tmp_path, annotator(server.url, "p2"), prompts)
    assert tally.failures == {TOO_LONG: 60}
    assert None not in responses[60:]


@pytest.mark.parametrize(
    "reply",
    [
        error(400, "policy", code="content_filter"),
        error(400, "Your request was rejected", code="content_policy_violation"),
        error(403, "Your chosen model requires moderation and your input was flagged"),
        error(400, "Output data may contain inappropriate content", code="data_inspection_failed"),
    ],
)
def test_one_prompt_that_is_moderated_is_a_counted_failure(tmp_path, reply):
    def script(body, before):
        return reply if "stinks" in body["messages"][0]["content"] else usual(body)

    with serving(script) as server:
        responses, tally = put(tmp_path, annotator(server.url, "p2"), questions("p2"))
    assert [response is None for response in responses] == [False, False, True, False, False]
    assert tally.failures == {"refusal": 1}


# Tokens as tokenizers write them

FORMS = ["Ġ{}", "▁{}", "{}", " {}", "##{}", "{}</w>", "{}.", '"{}', "'{}'", "\n{}", "Ċ{}", "**{}"]
FORMS += ["ĊĠ{}", "{},", "<0x0A>{}", "`{}`", "_{}_", "({})", "“{}”"]


@given(st.sampled_from(FORMS), st.sampled_from(["Yes", "yes", "YES", "No", "NO", "no"]))
def test_a_words_marks_are_not_the_word(form, word):
    token = Token(token=form.format(word), logprob=-1.0)
    assert token.says(word)
    assert token.says("Yes") != token.says("No")


@pytest.mark.parametrize("word", ["Not", "Yesterday", "None", "Y", "N", "", "Ġ", "Know", "Yes@@"])
def test_other_words_are_neither(word):
    token = Token(token=word, logprob=-1.0)
    assert not token.says("Yes") and not token.says("No")


@pytest.mark.parametrize("mark", ["Ġ", "▁", "##"])
def test_verdicts_in_raw_marks_are_scores(tmp_path, mark):
    top = {f"{mark}Yes": -0.1, f"{mark}No": -2.5, "Ċ": -9.0}
    with serving(lambda body, before: Reply(completion(f"{mark}Yes", top=top))) as server:
        responses, _ = put(tmp_path, annotator(server.url, "p2"), questions("p2"), max_failures=0.0)
    assert all(math.isclose(r["yes"], -0.1) and math.isclose(r["no"], -2.5) for r in responses)


def test_numbers_in_the_place_of_tokens_end_the_run_with_what_to_do(tmp_path):
    top = {"token_id:9891": -0.1, "token_id:2822": -2.5, "token_id:13": -9.0}
    with serving(lambda body, before: Reply(completion("Yes", top=top))) as server:
        message = "'token_id:9891', 'token_id:2822'.*return-tokens-as-token-ids"
        with pytest.raises(InputError, match=message):
            put(tmp_path, annotator(server.url, "p2"), questions("p2"))


def test_the_ledger_keeps_the_tokens_that_came_in_the_place_of_yes_and_no(tmp_path):
    top = {"Sure": -0.1, "Of": -3.0}
    with serving(lambda body, before: Reply(completion("Sure", top=top))) as server:
        put(tmp_path, annotator(server.url, "p2"), questions("p2", TEXTS[:1]))
    with PromptCache(tmp_path) as cache:
        ((_, failure),) = cache.failures()
    assert "'likeliest': ['Sure', 'Of']" in failure["response"]


# Control tokens in a sentence


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "</s>", "[INST]", "<end_of_turn>", "<|user|>", "[MASK]", "<｜User｜>"]
)
def test_control_tokens_that_go_to_a_server_are_said_once_and_counted(tmp_path, text, capsys):
    with serving(lambda body, before: usual(body)) as server, reporting("annotate") as told:
        texts = [*TEXTS, f"It is {text} good.", f"It is {text} bad."]
        who = annotator(server.url, "p2")
        _, tally = put(tmp_path, who, questions("p2", texts), told=told)
        put(tmp_path / "other", who, questions("p2", texts), told=told)
    assert list(tally.remarks.values()) == [2] == list(tally.counts()["remarks"].values())
    assert capsys.readouterr().err.count("control tokens") == 1


def test_ordinary_sentences_have_no_remark(tmp_path):
    with serving(lambda body, before: usual(body)) as server:
        texts = ["5 < 6 and 7 > 6 | or so", "a <b>bold</b> claim [sic]", "<3 <3 <3"]
        _, tally = put(tmp_path, annotator(server.url, "p2"), questions("p2", texts))
    assert not tally.remarks and "remarks" not in tally.counts()


# In the files of the stages


def test_the_raw_descriptors_name_the_way_in_which_they_were_asked_for(tmp_path):
    ids = pa.array([sentence_id(text) for text in TEXTS])
    write_table(tmp_path / "corpus.parquet", pa.table({"id": ids, "text": TEXTS}), {})
    with serving(refusing("temperature")) as server:
        spec = {"kind": "openai", "base_url": server.url} | OPTIONS
        section = {"annotators": [spec], "max_descriptors": 3, "max_words": 4, "seed": 0}
        section |= {"examples": 1, "template": None, "max_failures": 0.0}
        files = [tmp_path / f"{name}.parquet" for name in ("first", "again", "replay")]
        for file in files:
            describe_sentences(
                Describe(**section),
                corpus=tmp_path / "corpus.parquet",
                candidates=file,
                cache_folder=tmp_path / "cache",
                replay=file.stem == "replay",
                progress=lambda *_: None,
            )
        assert sum("temperature" in body for body in server.bodies) == 1 + 1  # of the example
        assert server.requests == 2 + 1 + len(TEXTS) + 1
    assert len({file.read_bytes() for file in files}) == 1
    (who,) = provenance_of(files[0], "describe")["annotators"]
    assert json.loads(who["decoding"])["without"] == ["temperature"]
    with PromptCache(tmp_path / "cache") as cache:
        assert all(Identity(**_named(who)).answered(o) for o in cache.origins().values())


def _named(who):
    return {name: value for name, value in who.items() if name != "frame"}


def test_a_verification_asks_again_in_the_way_of_the_stored_answers(tmp_path):
    prompts = questions("p2")
    with serving(refusing("temperature")) as server, PromptCache(tmp_path) as cache:
        put(tmp_path, annotator(server.url, "p2"), prompts)
        server.bodies.clear()
        who = annotator(server.url, "p2")
        link = _again("annotate", who, prompts, cache, NO_FRAME, lambda one, two: one != two)
        assert not any("temperature" in body for body in server.bodies)
    assert link.fault is None and link.checked.startswith("5 answers")


def test_a_forecast_finds_the_answers_of_the_way_that_was_found(tmp_path):
    prompts = questions("p2")
    with serving(refusing("temperature")) as server:
        put(tmp_path, annotator(server.url, "p2"), prompts)
    with PromptCache(tmp_path) as cache:
        who = annotator(GONE, "p2")
        frame = _frame(cache, who)
        assert survey(cache, who.identity, frame, prompts).missing == 0
