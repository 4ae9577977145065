"""What a server means by a status that is no success: about a prompt, an option of ours, or all."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from descry.annotators.base import Answer
from descry.annotators.openai_server.request_variant import RequestVariant

if TYPE_CHECKING:
    from openai import APIStatusError

TOO_LONG = "too long for the server (shorten by corpus.max_words, or raise max_failures)"
# What can pass of itself: the client has retried it, and the next run asks again.
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
# Not about a prompt, whatever their words: a key, a permission, a name, a price.
_ABOUT_ALL = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
)
# Options that may be left out, with the names that a refusal calls them.
_OPTIONS = {"temperature": ("temperature",), "max_tokens": ("max_tokens", "max_completion_tokens")}
_TOO_MUCH = re.compile(r"too (?:large|high|big)|at most|less than|greater than|at least|must be")
_TOO_LONG = re.compile(
    r"context[_ -]?(?:length|size|window|limit)|max(?:imum)?[_ ](?:model|input|prompt|sequence)"
    r"[_ ]?(?:len|length)?\b|(?:prompt|input|message|request|text|sequence|content)s?\b[^.]{0,40}"
    r"\b(?:too (?:long|large|many tokens)|exceed)|too many (?:input |prompt )?tokens"
    r"|(?:input|prompt|total) tokens?\b[^.]{0,40}\b(?:exceed|limit|more than|must be)"
    r"|`inputs` (?:tokens|must have)|exceeds? the (?:maximum|model|token)|token limit"
    r"|string_above_max_length|request_too_large|reduce the length",
    re.IGNORECASE,
)
_MODERATED = re.compile(
    r"content[_ -]?(?:filter|policy|management|moderation)|moderation|was flagged|flagged as"
    r"|responsible[_ ]?ai|data_?inspection_?failed|prohibited_content|blocked by (?:the )?safety",
    re.IGNORECASE,
)
_REPEATED = ("input", "ctx", "body", "messages", "prompt", "url")


class Refusal(NamedTuple):
    """A status that is no success, and not about the prompt alone.

    Attributes:
        said: for an error, in one line.
        complaint: the server's words without those of the request that it repeats.
    """

    status: int
    said: str
    complaint: str
    tries: int

    @property
    def passing(self) -> bool:
        """Whether it may be another time."""
        return self.status in _PASSING or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    def option(self, variant: RequestVariant) -> str | None:
        """The option of ours that it is about; a value that is too large is for people to mend."""
        if self.status in (*_ABOUT_ALL, *_PASSING):
            return None
        for option, names in _OPTIONS.items():
            named = any(name in self.complaint.lower() for name in names)
            if named and option not in variant.without:
                mendable = option == "max_tokens" and _TOO_MUCH.search(self.complaint)
                return None if mendable else option
        return None


def about_prompt(refusal: Refusal) -> Answer | None:
    """The answer to a prompt that is itself what a server refuses; None where it is not."""
    status, complaint = refusal.status, refusal.complaint
    if status in (*_ABOUT_ALL, *_PASSING):
        return None
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or _TOO_LONG.search(complaint):
        return Answer(None, fault=TOO_LONG)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and _MODERATED.search(complaint):
        return Answer({"text": "", "finish": "content_filter"})
    return None


def complaint_of(error: "APIStatusError") -> str:
    """All that the server says, without the parts of the request that some repeat."""

    def words(part: object) -> Iterator[str]:
        if isinstance(part, dict):
            for name, value in part.items():
                if name not in _REPEATED:
                    yield from words(value)
        elif isinstance(part, list):
            for value in part:
                yield from words(value)
        else:
            yield str(part)

    known = isinstance(error.body, dict | list)
    return " ".join(words(error.body)) if known else error.response.text


def message_of(error: "APIStatusError") -> str:
    """The server's own words, where it has any."""
    body = error.body
    if isinstance(body, dict):
        named = (body.get(name) for name in ("message", "detail", "error"))
        return str(next(filter(None, named), body))
    return error.response.text.strip() or error.response.reason_phrase
