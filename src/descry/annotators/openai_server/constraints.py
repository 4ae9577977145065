"""Answers that cannot be but of one form: Yes or No for p2, topics as JSON for p1.

Servers know that under several names, and most pass over a name that they do not know. So a server
is tried first: asked a question of which no model would answer `umber`, it must answer that. Only
then is it known to obey.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from descry.annotators.prompts import NO, YES, Task
from descry.io.hashing import JSON, canonical

_TRIED = ("umber", "ochre")  # words that answer no question of ours
_LONGEST = 60  # characters of a topic
# What a JSON answer needs besides that in words: brackets, quotes, and the name of its key.
JSON_TOKENS = 32


class Constraint(NamedTuple):
    """A way to say what an answer may be.

    Attributes:
        sent: what is added to a request, as canonical JSON.
        trial: the same with another answer, by which a server shows that it obeys.
        obeyed: whether an answer to the trial shows that.
    """

    sent: str
    trial: str
    obeyed: Callable[[str], bool]


def constraints(task: Task, max_descriptors: int | None) -> list[Constraint]:
    """The ways for a task, the most exact first; none for a task whose answers are numbers.

    Args:
        max_descriptors: for p1, how many topics there may be.
    """
    if task == "p2":
        return [*map(_choice, _CHOICES), _formed(_answer_schema((YES, NO)), _answer_schema(_TRIED))]
    if task != "p1":
        return []
    short, listed, loose = (
        _topics_schema(max_descriptors, _LONGEST),
        _topics_schema(max_descriptors, None),
        _topics_schema(None, None),
    )
    tried = _tried_schema({"maxLength": _LONGEST}), _tried_schema({}), _answer_schema(_TRIED)
    return [
        _formed(short, tried[0]),
        _formed(listed, tried[1]),  # OpenAI's models refuse a length
        _formed(loose, tried[2]),  # and older ones a number of items
        *(_schema(names, short, tried[0]) for names in _SCHEMAS),
    ]


def is_json(sent: str) -> bool:
    """Whether an answer under this constraint is JSON."""
    said = json.loads(sent)
    return "response_format" in said or "guided_json" in said or "json" in said.get(_VLLM, {})


# Yes or No

_VLLM = "structured_outputs"
_CHOICES: tuple[Callable[[str, str], JSON], ...] = (
    lambda a, b: {_VLLM: {"choice": [a, b]}},  # vLLM
    lambda a, b: {"guided_choice": [a, b]},  # vLLM before 0.12
    lambda a, b: {"grammar": f'root ::= "{a}" | "{b}"'},  # llama.cpp
    lambda a, b: {"regex": f"({a}|{b})"},  # SGLang
)


def _choice(of: Callable[[str, str], JSON]) -> Constraint:
    def obeyed(text: str) -> bool:
        return text.strip() in _TRIED

    return Constraint(canonical(of(YES, NO)), canonical(of(*_TRIED)), obeyed)


def _answer_schema(words: tuple[str, str]) -> JSON:
    return _object("answer", {"type": "string", "enum": list(words)})


# JSON

_SCHEMAS = ((_VLLM, "json"), ("guided_json",))  # vLLM, where response_format is turned off


def _topics_schema(most: int | None, longest: int | None) -> JSON:
    """Topics of limited number and length: without limits a weak model does not stop."""
    items = {"type": "string"} | ({} if longest is None else {"maxLength": longest})
    limit = {} if most is None else {"maxItems": most}
    return _object("topics", {"type": "array", "items": items} | limit)


def _tried_schema(items: JSON) -> JSON:
    """One of the words in a list, with what is tried of its items besides."""
    one = {"type": "string", "enum": list(_TRIED)} | items
    return _object("topics", {"type": "array", "items": one, "minItems": 1, "maxItems": 1})


def _object(key: str, value: JSON) -> JSON:
    return {
        "type": "object",
        "properties": {key: value},
        "required": [key],
        "additionalProperties": False,
    }


def _formed(schema: JSON, trial: JSON) -> Constraint:
    """By response_format: OpenAI, vLLM, llama.cpp, SGLang, Ollama and most others."""

    def sent(schema: JSON) -> JSON:
        named = {"name": "answer", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    return Constraint(canonical(sent(schema)), canonical(sent(trial)), _obeys(trial))


def _schema(names: tuple[str, ...], schema: JSON, trial: JSON) -> Constraint:
    def sent(value: JSON) -> JSON:
        for name in reversed(names):
            value = {name: value}
        return value

    return Constraint(canonical(sent(schema)), canonical(sent(trial)), _obeys(trial))


def _obeys(trial: JSON) -> Callable[[str], bool]:
    (key,) = trial["required"]

    def obeyed(text: str) -> bool:
        try:
            said: Any = json.loads(text)
        except ValueError:
            return False
        if not isinstance(said, dict) or list(said) != [key]:
            return False
        value = said[key][0] if isinstance(said[key], list) and said[key] else said[key]
        return value in _TRIED

    return obeyed
