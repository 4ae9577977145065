"""What is read of an OpenAI-compatible server's response.

All else in it is passed over; what is missing is a fault.
"""

import math
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError


class Token(BaseModel):
    """A token and its log-probability."""

    token: str
    logprob: float

    def says(self, word: str) -> bool:
        """Whether the token is this word."""
        return self.token.strip().casefold() == word.casefold()


class First(Token):
    """The first token, and the likeliest ones in its place."""

    top_logprobs: list[Token] | None = None


class Logprobs(BaseModel):
    """The log-probabilities of a choice."""

    content: list[First] | None = None


class Message(BaseModel):
    """What was written, or refused."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One way in which the model went on."""

    message: Message
    finish_reason: str | None = None
    logprobs: Logprobs | None = None

    def listed(self) -> list[Token] | None:
        """The likeliest first tokens; None where the server gives none."""
        if self.logprobs is None or not self.logprobs.content:
            return None
        first = self.logprobs.content[0]
        listed = [token for token in first.top_logprobs or [] if token.logprob != -math.inf]
        return listed if len(listed) > 1 else None


class Usage(BaseModel):
    """Tokens in and out."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Completion(BaseModel):
    """A response."""

    model: Annotated[str, Field(min_length=1)]
    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: Usage | None = None


def malformed(error: ValidationError) -> str:
    """What is wrong with a response, without a word of it."""
    first = error.errors(include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return "invalid JSON"
    return "no choices" if first["type"] == "too_short" else f"malformed response: {where}"


def log_sum(logs: Iterable[float]) -> float | None:
    """The logarithm of a sum of probabilities; None of nothing."""
    masses = sorted(logs, reverse=True)
    if not masses:
        return None
    return min(0.0, masses[0] + math.log(sum(math.exp(mass - masses[0]) for mass in masses)))


def rounded(x: float) -> float:
    """Six digits, and no -0.0."""
    return round(x, 6) + 0.0
