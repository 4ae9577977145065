"""How a server is asked, where it will not be asked as others are.

A server may refuse the temperature or a limit of tokens, think before it answers, or know how to
constrain an answer. That changes its answers, so the variant belongs into the identity, and so into
every key of the cache.
"""

import json
from collections import ChainMap
from typing import Any, NamedTuple

from descry.annotators.openai_server.constraints import JSON_TOKENS, is_json
from descry.io.hashing import JSON, canonical

# What turns thoughts off, tried in turn: vLLM, SGLang and llama.cpp; OpenAI and Ollama; others.
SWITCHES: tuple[JSON, ...] = (
    {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    {"reasoning_effort": "none"},
    {"reasoning_effort": "minimal"},
    {"thinking": {"type": "disabled"}},
    {"reasoning": {"enabled": False}},
)


class RequestVariant(NamedTuple):
    """What is left out of a request, and what is added.

    Attributes:
        without: the options that are left out.
        switch: what is sent so that the model does not think, as canonical JSON; empty for nothing.
        constraint: what is sent so that an answer has the requested form.
    """

    without: tuple[str, ...] = ()
    switch: str = ""
    constraint: str = ""

    def as_json(self) -> dict[str, JSON]:
        """For the key; nothing where a server is asked as others are."""
        found: dict[str, JSON] = {"without": list(self.without)} if self.without else {}
        if self.switch:
            found["no_thinking"] = json.loads(self.switch)
        if self.constraint:
            found["constrained"] = json.loads(self.constraint)
            found |= {"more_tokens": self._more} if self._more else {}
        return found

    @property
    def _more(self) -> int:
        """New tokens besides those of an answer in words."""
        return JSON_TOKENS if self.constraint and is_json(self.constraint) else 0

    def lacking(self, option: str) -> "RequestVariant":
        """Return this variant without an option."""
        return self._replace(without=tuple(sorted({*self.without, option})))

    def options(self, *, limit: str, tokens: int, top: int) -> dict[str, Any]:
        """The options of a request.

        Args:
            limit: the server's name for the option that limits new tokens.
            tokens: of an answer in words, at most.
            top: how many log-probabilities to ask for, of one token; 0 for an answer in words.
        """
        options: dict[str, Any] = {} if "temperature" in self.without else {"temperature": 0}
        if "max_tokens" not in self.without:
            options[limit] = 1 if top else tokens + self._more
        if top:
            options |= {"logprobs": True, "top_logprobs": top}
        sent = [json.loads(part) for part in (self.switch, self.constraint) if part]
        return options | ({"extra_body": dict(ChainMap(*sent))} if sent else {})


def variant_of(decoding: str) -> RequestVariant | None:
    """The variant in an identity's decoding; None in that of another kind of annotator."""
    try:
        found = json.loads(decoding)
        added = (found.get("no_thinking"), found.get("constrained"))
        without = tuple(found.get("without", ()))
        return RequestVariant(without, *(canonical(part) if part else "" for part in added))
    except (ValueError, TypeError, AttributeError):  # of another annotator, or of nobody
        return None
