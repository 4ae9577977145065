"""The files of the Batch API: requests, a line each, and what came of them.

Lines of output come in any order, and a server may repeat or leave out some: `custom_id`, which is
the cache's key, says whose answer a line has.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json

from descry.annotators.openai_server.schema import (
    Completion,
    MalformedError,
    Said,
    converted,
    read,
)
from descry.io.hashing import JSON, canonical

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
# https://developers.openai.com/api/docs/guides/batch: of one input file, at most.
MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000


class RequestLines:
    """Writes requests to one model that differ in nothing but their prompts."""

    def __init__(self, model: str, options: Mapping[str, Any]) -> None:
        """Take the options of a request as the openai client does.

        Args:
            options: with `extra_body`, as `RequestVariant.options` makes them.
        """
        extra = options.get("extra_body", {})
        body = {name: value for name, value in options.items() if name != "extra_body"} | extra
        body |= {"model": model, "messages": [{"role": "user", "content": None}]}
        line = {"custom_id": "", "method": "POST", "url": ENDPOINT, "body": body}
        self._start = '{"custom_id":"'
        rest = json.dumps(line, separators=(",", ":"))[len(self._start) :]
        # Quotes within a value are escaped, so the mark is found at the content itself.
        self._middle, _, self._end = rest.partition('"content":null')
        self._middle += '"content":'

    def line(self, key: str, prompt: str) -> bytes:
        """The line of a prompt."""
        return f"{self._start}{key}{self._middle}{canonical(prompt)}{self._end}\n".encode()


class Refused(NamedTuple):
    """A request of a batch that was not answered.

    Attributes:
        status: that of HTTP; None where the request was not sent.
        code: of the error; empty where it has none.
        said: the server's words.
        complaint: all of the error's words.
    """

    status: int | None
    code: str
    said: str
    complaint: str


class Outcome(NamedTuple):
    """A line of an output or error file: what came of a request; a text where it is malformed."""

    key: str
    came: Completion | Refused | str


class _Error(Said):
    code: str | int | None = None
    message: str | None = None


def outcomes(path: Path) -> Iterator[Outcome | None]:
    """What a file says of each request; None for a line that is of no request at all."""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield _outcome(line)


class _Response(Said):
    status_code: Literal[200]
    body: Completion


class _Answered(Said):
    custom_id: str
    response: _Response


def _outcome(line: bytes) -> Outcome | None:
    try:
        usual = read(line, _Answered)
    except MalformedError:
        return _other(line)
    return Outcome(usual.custom_id, usual.response.body)


def _other(line: bytes) -> Outcome | None:
    """What a line says that is no answer, or has an unusual form."""
    try:
        found = from_json(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("custom_id"), str):
        return None
    key, response = found["custom_id"], found.get("response")
    if not isinstance(response, dict):
        return Outcome(key, _refused(None, found.get("error")))
    status, body = response.get("status_code"), response.get("body")
    if not isinstance(status, int) or status >= 300:
        error = body.get("error", body) if isinstance(body, dict) else body
        number = status if isinstance(status, int) else None
        return Outcome(key, _refused(number, error or found.get("error")))
    try:
        return Outcome(key, converted(body, Completion))
    except MalformedError as error:
        return Outcome(key, str(error))


def _refused(status: int | None, error: JSON) -> Refused:
    try:
        told = converted(error, _Error)
    except MalformedError:
        told = _Error(message=str(error) if error else None)
    code, said = str(told.code or ""), told.message or ""
    return Refused(status, code, said or code, f"{code} {said} {error}")
