"""What is read of an OpenAI-compatible server's response.

All else in it is passed over, and no object made of it: of a batch's lines, that is the most. What
is missing is a fault.
"""

import math
import re
import unicodedata
from functools import lru_cache
from typing import Annotated, TypeVar

import msgspec
from pydantic_core import from_json

from descry.annotators.thoughts import only_thought, opens_thought

# What tokenizers write for a blank or a line end, and around a part of a word.
_MARKS = re.compile(r"[ĠĊĉč▁]|<0x(?:09|0A|0D|20)>|^##|</w>$", re.IGNORECASE)
_AROUND = " \t\r\n\"'`´“”‘’«»*_.,:;!?()[]{}\\"
_TOKEN_ID = re.compile(r"token_id:\d+")  # vLLM's --return-tokens-as-token-ids
_PLACE = re.compile(r"(?:required field `(?P<field>\w+)`)?(?: - at `\$(?P<path>.*)`)?$")
_T = TypeVar("_T")


class Said(msgspec.Struct, gc=False):
    """A part of what a server says; never part of itself, so Python's collector need not look."""


class Token(Said):
    """A token and its log-probability."""

    token: str
    logprob: float

    @property
    def word(self) -> str:
        """The text of the answer."""
        return word_of(self.token)

    def says(self, word: str) -> bool:
        """Whether the token is this word."""
        return self.word == word.casefold()

    @property
    def is_id(self) -> bool:
        """Whether the server gives a token's number in place of its text."""
        return bool(_TOKEN_ID.fullmatch(self.token))


@lru_cache(maxsize=4096)  # the same few tokens are the likeliest in millions of answers
def word_of(token: str) -> str:
    """What a token says, without its tokenizer's marks, quotes and stops: in lower case."""
    plain = unicodedata.normalize("NFKC", _MARKS.sub(" ", token))
    return plain.strip(_AROUND).casefold()


class First(Token):
    """The first token, and the likeliest ones in its place."""

    top_logprobs: list[Token] | None = None


class Logprobs(Said):
    """The log-probabilities of a choice."""

    content: list[First] | None = None


class Message(Said):
    """The text that was written, or the refusal."""

    content: str | None = None
    refusal: str | None = None
    # Thoughts that the server has taken out of the content: never read, but a sign of thinking.
    reasoning_content: object = None
    reasoning: object = None


class Choice(Said):
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


class Spent(Said):
    """How the tokens of an answer were used."""

    reasoning_tokens: int | None = None


class Usage(Said):
    """Tokens in and out."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: Spent | None = None

    @property
    def thoughts(self) -> int:
        """Tokens of thoughts, where the server counts them."""
        details = self.completion_tokens_details
        return details.reasoning_tokens or 0 if details else 0


class Completion(Said):
    """A response."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    choices: Annotated[list[Choice], msgspec.Meta(min_length=1)]
    usage: Usage | None = None


class MalformedError(Exception):
    """A response of another form; the text says where, without a word of the response."""


def read(text: bytes, form: type[_T]) -> _T:
    """A response in the form wanted.

    Raises:
        MalformedError: it is no JSON, or lacks something.
    """
    try:
        return msgspec.json.decode(text, type=form)
    except (msgspec.DecodeError, RecursionError):
        pass  # it may have what strict JSON has not: NaN, or a number in quotes
    try:
        return converted(from_json(text), form)
    except ValueError as error:
        raise MalformedError("invalid JSON") from error


def converted(value: object, form: type[_T]) -> _T:
    """What was read as JSON, in the form wanted.

    Raises:
        MalformedError: it lacks something.
    """
    try:
        return msgspec.convert(value, form, strict=False)
    except msgspec.ValidationError as error:
        raise MalformedError(_malformed(str(error))) from error


def _malformed(said: str) -> str:
    place = _PLACE.search(said)
    assert place is not None  # of nothing, at the least
    path = re.findall(r"\w+", place["path"] or "") + ([place["field"]] if place["field"] else [])
    if path == ["choices"] and "length" in said:
        return "no choices"
    return f"malformed response: {'.'.join(path)}"
