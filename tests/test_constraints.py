"""Answers that a server constrains: tried before they are believed, and part of the key."""

import json
import re

import pytest
from batch_server import serving_batches
from pydantic import ValidationError
from servers import Reply, completion, error, serving
from test_request_variants import GONE, OPTIONS, TEXTS, decodings, put, questions

from descry.annotators.factory import create
from descry.annotators.openai_server.constraints import constraints
from descry.annotators.openai_server.request_variant import RequestVariant, variant_of
from descry.annotators.openai_server.spec import OpenAI
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.prompt_cache.store import PromptCache
from descry.errors import InputError
from descry.io.hashing import canonical

PLAIN = {"p1": "Sure! The topics: price, and, hmm, taste?", "p2": "Well, it depends."}
NAMES = {
    "structured_outputs": "vLLM",
    "guided_choice": "vLLM before 0.12",
    "guided_json": "vLLM before 0.12",
    "grammar": "llama.cpp",
    "regex": "SGLang",
    "response_format": "most",
}


def annotator(url, task, **changes):
    spec = {"kind": "openai", "base_url": url} | OPTIONS | changes
    return create(spec, task, max_descriptors=5)


def schema_of(body):
    """The schema that a request has, under any of the names."""
    if "response_format" in body:
        return body["response_format"]["json_schema"]["schema"]
    return body.get("guided_json") or body.get("structured_outputs", {}).get("json")


def choices_of(body):
    if found := body.get("guided_choice") or body.get("structured_outputs", {}).get("choice"):
        return found
    return re.findall(r'"(\w+)"', body.get("grammar", "")) or re.findall(
        r"\w+", body.get("regex", "")
    )


def filled(schema):
    """A value of such a schema as we write: one key, of words or of a list."""
    (key, value), *_ = schema["properties"].items()
    if "enum" in value.get("items", {}):
        return json.dumps({key: value["items"]["enum"][:1]})
    words = value.get("enum")
    said = words[0] if words else ["price", "taste"][: value.get("maxItems", 9)]
    return json.dumps({key: said})


def knowing(*names, strict=False, refused=()):
    """A server that constrains answers under these names; a strict one refuses other names.

    Args:
        refused: what a schema may not have.
    """

    def script(body, before):
        task = "p1" if "Sentence:" in body["messages"][0]["content"] else "p2"
        for name in NAMES.keys() & body.keys() - set(names):
            if strict:
                return error(400, f"Unrecognized request argument supplied: {name}", param=name)
            body = {k: v for k, v in body.items() if k != name}
        if (schema := schema_of(body)) is not None:
            for keyword in refused:
                if keyword in json.dumps(schema):
                    return error(400, f"Invalid schema for response_format: {keyword}")
            return Reply(completion(filled(schema)))
        if choices := choices_of(body):
            return Reply(completion(choices[0]))
        return Reply(completion(PLAIN[task]))

    return script


def decoding(folder):
    (found,) = decodings(folder)
    return found


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ["structured_outputs", "guided_choice", "grammar", "regex"])
def test_verdicts_are_one_of_two_words_as_the_server_knows_it(tmp_path, name, strict):
    with serving(knowing(name, strict=strict)) as server:
        who = annotator(server.url, "p2", constrain=True)
        responses, tally = put(tmp_path, who, questions("p2"), max_failures=0.0)
        sent = server.bodies[-1]
    assert responses == [{"text": "Yes", "finish": "stop"}] * len(TEXTS) and not tally.failures
    assert choices_of(sent) == ["Yes", "No"] and sent["max_tokens"] == 8
    assert list(decoding(tmp_path)["constrained"]) == [name]


@pytest.mark.parametrize("strict", [True, False])
def test_verdicts_are_json_where_the_server_knows_nothing_else(tmp_path, strict):
    with serving(knowing("response_format", strict=strict)) as server:
        who = annotator(server.url, "p2", constrain=True)
        responses, _ = put(tmp_path, who, questions("p2"), max_failures=0.0)
        assert server.bodies[-1]["max_tokens"] == 8 + 32
    assert responses[0]["text"] == '{"answer": "Yes"}'
    assert decoding(tmp_path)["more_tokens"] == 32


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ["response_format", "structured_outputs", "guided_json"])
def test_topics_are_json_as_the_server_knows_it(tmp_path, name, strict):
    with serving(knowing(name, strict=strict)) as server:
        who = annotator(server.url, "p1", constrain=True)
        responses, tally = put(tmp_path, who, questions("p1"), max_failures=0.0)
        assert server.bodies[-1]["max_tokens"] == 40 + 32
    assert responses == [{"text": '{"topics": ["price", "taste"]}', "finish": "stop"}] * len(TEXTS)
    assert not tally.failures and list(decoding(tmp_path)["constrained"]) == [name]


LIMITS = ("maxLength", "maxItems")


@pytest.mark.parametrize("refused", [(), LIMITS[:1], LIMITS])
def test_limits_are_left_out_where_they_are_refused(tmp_path, refused):
    with serving(knowing("response_format", refused=refused)) as server:
        who = annotator(server.url, "p1", constrain=True)
        responses, _ = put(tmp_path, who, questions("p1"), max_failures=0.0)
        sent = json.dumps(server.bodies[-1])
    assert [limit in sent for limit in LIMITS] == [limit not in refused for limit in LIMITS]
    assert None not in responses


def test_a_model_that_comes_to_no_end_is_no_obedient_one(tmp_path):
    def script(body, before):
        if "response_format" in body:
            return Reply(completion('{"topics": ["umber umber umber', finish="length"))
        return Reply(completion("price, taste"))

    with serving(script) as server:
        who = annotator(server.url, "p1", constrain=True)
        put(tmp_path, who, questions("p1"), max_failures=0.0)
    assert "constrained" not in decoding(tmp_path)


@pytest.mark.parametrize("task", ["p1", "p2"])
@pytest.mark.parametrize("strict", [True, False])
def test_a_server_that_cannot_is_asked_as_without_and_has_the_same_keys(tmp_path, task, strict):
    with serving(knowing(strict=strict)) as server:
        plain = annotator(server.url, task)
        put(tmp_path / "plain", plain, questions(task))
        who = annotator(server.url, task, constrain=True)
        _, tally = put(tmp_path / "constrained", who, questions(task))
        sent = server.bodies[-1]
    assert who.identity == plain.identity
    assert tally.failed == 0 or task == "p2"
    assert not NAMES.keys() & sent.keys()


def test_a_server_that_breaks_over_a_constraint_is_asked_as_without(tmp_path):
    def script(body, before):
        return error(500, "grammar") if NAMES.keys() & body.keys() else Reply(completion("No"))

    with serving(script) as server:
        who = annotator(server.url, "p2", constrain=True)
        responses, _ = put(tmp_path, who, questions("p2"), max_failures=0.0)
    assert responses == [{"text": "No", "finish": "stop"}] * len(TEXTS)
    assert "constrained" not in decoding(tmp_path)


def test_log_probabilities_need_no_constraint(tmp_path):
    top = {"Yes": -0.2, "No": -2.0, "Maybe": -6.0}

    def script(body, before):
        return Reply(completion("Yes", top=top if body.get("logprobs") else None))

    with serving(script) as server:
        who = annotator(server.url, "p2", constrain=True)
        plain = annotator(server.url, "p2").identity
        responses, _ = put(tmp_path, who, questions("p2"))
        assert not any(NAMES.keys() & body.keys() for body in server.bodies)
    assert all("yes" in response for response in responses) and who.identity == plain


@pytest.mark.parametrize("task", ["p1", "p2"])
def test_what_was_found_is_found_once_and_a_replay_knows_it(tmp_path, task):
    names = ("grammar", "response_format")
    with serving(knowing(*names)) as server:
        first, _ = put(tmp_path, annotator(server.url, task, constrain=True), questions(task))
        server.bodies.clear()
        more = [*TEXTS, "It is new."]
        who = annotator(server.url, task, constrain=True)
        _, tally = put(tmp_path, who, questions(task, more))
        assert (tally.cached, tally.asked, server.requests) == (5, 1, 1)
    replayed = annotator(GONE, task, constrain=True)
    again, _ = put(tmp_path, replayed, questions(task), replay=True)
    assert again == first and replayed.identity == who.identity


def test_answers_without_a_constraint_are_those_of_an_annotator_without(tmp_path):
    names = ("structured_outputs", "response_format")
    with serving(knowing(*names)) as server:
        put(tmp_path, annotator(server.url, "p2"), questions("p2"))
        _, tally = put(tmp_path, annotator(server.url, "p2", constrain=True), questions("p2"))
        assert (tally.cached, tally.asked, tally.failed) == (0, 5, 0)
        plain = annotator(server.url, "p2")
        _, tally = put(tmp_path, plain, questions("p2"))
        assert tally.asked == tally.failed == 5  # they had failed, and fail again
    assert "constrained" not in json.loads(plain.identity.decoding)
    assert sum("constrained" in found for found in decodings(tmp_path)) == 1


def test_a_refused_temperature_and_a_constraint_go_together(tmp_path):
    def script(body, before):
        if "temperature" in body:
            return error(400, "'temperature' is not supported", param="temperature")
        return knowing("response_format")(body, before)

    with serving(script) as server:
        who = annotator(server.url, "p1", constrain=True)
        responses, _ = put(tmp_path, who, questions("p1"), max_failures=0.0)
    assert None not in responses
    found = decoding(tmp_path)
    assert found["without"] == ["temperature"] and "constrained" in found


@pytest.mark.parametrize("task", ["p1", "p2"])
def test_batches_and_single_requests_are_constrained_alike(tmp_path, task):
    with serving_batches(knowing("response_format")) as server:
        live = annotator(server.url, task, constrain=True)
        said, _ = put(tmp_path / "live", live, questions(task))
        batch = annotator(server.url, task, constrain=True, mode="batch")
        again, _ = put(tmp_path / "batch", batch, questions(task))
        assert all("response_format" in line["body"] for line in server.submitted)
        assert len(server.submitted) == 5
    assert said == again and None not in said and live.identity == batch.identity


def test_another_model_is_noticed_before_the_first_prompt(tmp_path):
    def script(body, before):
        return Reply(completion("Yes", model="tiny-2027"))

    with serving(script) as server, pytest.raises(InputError, match="'tiny-2027'"):
        put(tmp_path, annotator(server.url, "p2", constrain=True), questions("p2"))
    with PromptCache(tmp_path) as cache:
        assert not cache.origins()


def test_the_variant_of_a_decoding_has_its_constraint():
    for task in ("p1", "p2"):
        for one in constraints(task, 5):
            variant = RequestVariant(("temperature",), "", one.sent)
            assert variant_of(canonical(variant.as_json())) == variant


@pytest.mark.parametrize("task", ["p1", "p2"])
def test_an_answer_to_the_question_itself_is_no_sign_of_obedience(task):
    for one in constraints(task, 5):
        for text in ("Yes", "No.", '{"answer": "Yes"}', '{"topics": ["water"]}', "", "null", "[1]"):
            assert not one.obeyed(text)
        assert one.sent != one.trial


def test_tasks_whose_answers_are_numbers_have_no_constraint():
    assert constraints("intruder", None) == constraints("simulation", None) == []


def test_no_topics_are_an_answer():
    assert parse_topics({"text": '{"topics": []}', "finish": "stop"}, 5, 4) == []


def test_a_constraint_and_thoughts_do_not_go_together():
    spec = {
        "kind": "openai", "model": "m", "revision": "r", "dtype": "d", "base_url": "http://h/v1",
        "api_key_env": None, "max_new_tokens": 9, "concurrency": 1, "timeout": 1.0, "retries": 0,
        "price": None, "constrain": True,
    }  # fmt: skip
    assert OpenAI(**spec).model_dump() == spec
    with pytest.raises(ValidationError, match=r"m: `constrain` forbids the thoughts"):
        OpenAI(**spec, thinking=100)
    with pytest.raises(ValidationError):
        OpenAI(**spec | {"constrain": False})
    spec.pop("constrain")
    assert OpenAI(**spec).model_dump() == spec
    assert OpenAI(**spec, mode="live").model_dump() == spec
    batch = {"mode": "batch", "batch_price": [0.5, 2.0]}
    assert OpenAI(**spec, **batch).model_dump() == spec | batch
