"""What is read of an OpenAI-compatible server's response.

All else in it is passed over; what is missing is a fault.
"""

import math
import re
import unicodedata
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from descry.annotators.thoughts import only_thought, opens_thought

# What tokenizers write for a blank or a line end, and around a part of a word.
_MARKS = re.compile(r"[ĠĊĉč▁]|<0x(?:09|0A|0D|20)>|^##|</w>$", re.IGNORECASE)
_AROUND = " \t\r\n\"'`´“”‘’«»*_.,:;!?()[]{}\\"
_TOKEN_ID = re.compile(r"token_id:\d+")  # vLLM's --return-tokens-as-token-ids


class Token(BaseModel):
    """A token and its log-probability."""

    token: str
    logprob: float

    @property
    def word(self) -> str:
        """What it says, without its tokenizer's marks, quotes and stops: in lower case."""
        return _word(self.token)

    def says(self, word: str) -> bool:
        """Whether the token is this word."""
        return self.word == word.casefold()

    @property
    def is_id(self) -> bool:
        """Whether the server gives a token's number in place of its text."""
        return bool(_TOKEN_ID.fullmatch(self.token))


@lru_cache(maxsize=4096)  # the same few tokens are the likeliest in millions of answers
def _word(token: str) -> str:
    plain = unicodedata.normalize("NFKC", _MARKS.sub(" ", token))
    return plain.strip(_AROUND).casefold()


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
    # Thoughts that the server has taken out of the content: never read, but a sign of thinking.
    reasoning_content: object = None
    reasoning: object = None


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

    @property
    def only_thoughts(self) -> bool:
        """Whether there are thoughts and no answer."""
        text = (self.message.content or "").strip()
        return only_thought(text) if text else self._reasoned

    @property
    def unanswered(self) -> bool:
        """Whether there are only thoughts, or nothing at all before the tokens came to an end."""
        text = (self.message.content or "").strip()
        return self.only_thoughts or (not text and self.finish_reason == "length")

    @property
    def thinks(self) -> bool:
        """Whether there is any sign of thoughts before an answer."""
        return self.unanswered or self._reasoned or opens_thought(self.message.content or "")

    @property
    def _reasoned(self) -> bool:
        return bool(self.message.reasoning_content or self.message.reasoning)


class Spent(BaseModel):
    """What the tokens of an answer went into."""

    reasoning_tokens: int | None = None


class Usage(BaseModel):
    """Tokens in and out."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: Spent | None = None

    @property
    def thoughts(self) -> int:
        """Tokens of thoughts, where the server counts them."""
        details = self.completion_tokens_details
        return details.reasoning_tokens or 0 if details else 0


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
