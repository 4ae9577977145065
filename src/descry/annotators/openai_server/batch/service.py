"""The Batch API of an OpenAI-compatible server, through the openai client.

A request that only asks is sent again by the client when nothing comes. A submission is not: a
server may have taken it before the connection was lost, so its list of batches is looked at first.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from descry.annotators.openai_server.batch.lines import ENDPOINT
from descry.annotators.openai_server.connection import Connection
from descry.annotators.openai_server.refusal import Refusal, complaint_of, message_of
from descry.annotators.openai_server.schema import MalformedError, Said, read
from descry.errors import InputError
from descry.io.atomic import guarded

if TYPE_CHECKING:
    from openai import OpenAI

_T = TypeVar("_T", bound=Said)
ENDED = ("completed", "failed", "expired", "cancelled")
NO_ROOM = "token_limit_exceeded"  # tokens of all batches together; one that ends makes room
_FILES = 600.0  # seconds in which a server may stay silent while it takes or finds a file
_PAGE = 100  # batches of a list, at most
_LONGEST = 60.0  # seconds between two tries


class File(Said):
    """A file on the server."""

    id: str


class BatchError(Said):
    """Why a batch failed."""

    code: str | None = None
    message: str | None = None


class Errors(Said):
    """Why a batch failed, several times over."""

    data: list[BatchError] | None = None


class RequestCounts(Said):
    """How far a batch is."""

    completed: int = 0
    failed: int = 0
    total: int = 0


class Batch(Said):
    """A batch on the server."""

    id: str
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: Errors | None = None
    request_counts: RequestCounts | None = None
    metadata: dict[str, str] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in ENDED

    @property
    def no_room(self) -> bool:
        """Whether it failed because others have to end before it."""
        return self.status == "failed" and any(error.code == NO_ROOM for error in self._told)

    @property
    def why(self) -> str:
        """Why it failed, in the server's words; empty where it does not say."""
        first = next(iter(self._told), None)
        return "" if first is None else first.message or first.code or ""

    @property
    def _told(self) -> list[BatchError]:
        return (self.errors.data if self.errors else None) or []


class _Page(Said):
    data: list[Batch]
    has_more: bool = False


class NothingCameError(Exception):
    """No answer, or one that passes: the same may succeed another time.

    Attributes:
        sure: whether the server has not taken what was sent.
        after: seconds to wait for, as the server says; None where it does not.
    """

    def __init__(self, said: str, *, sure: bool = False, after: float | None = None) -> None:
        super().__init__(said)
        self.sure, self.after = sure, after


class RefusedError(Exception):
    """The server refuses; the same will be refused another time.

    Attributes:
        refusal: its words.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.said)
        self.refusal = refusal


class BatchService:
    """The batches of one server."""

    def __init__(self, client: "OpenAI", connection: Connection) -> None:
        self._client, self._connection = client, connection
        silent = max(_FILES, connection.timeout)
        self._files = client.with_options(timeout=silent).files
        self._once = client.with_options(max_retries=0).batches

    def upload(self, path: Path, name: str) -> str:
        """Upload an input file, which is not held in memory; its id on the server."""
        with path.open("rb") as file:
            create = self._files.with_raw_response.create
            given: Any = (name, file, "application/jsonl")
            return self._said(lambda: create(file=given, purpose="batch"), File).id

    def submit(self, file: str, metadata: Mapping[str, str], refused: tuple[str, ...]) -> Batch:
        """Submit an uploaded file as a batch, once, whatever becomes of the connection.

        Args:
            metadata: by which the batch is found again.
            refused: batches with these metadata that were dropped by the server.
        """
        create, tries = self._once.with_raw_response.create, self._connection.retries
        while True:
            try:
                return self._said(
                    lambda: create(
                        input_file_id=file,
                        endpoint=ENDPOINT,
                        completion_window="24h",
                        metadata=dict(metadata),
                    ),
                    Batch,
                )
            except NothingCameError as error:
                if not error.sure and (found := self.find(metadata, refused)):
                    return found
                if tries <= 0:
                    raise
                self._pause(self._connection.retries - tries, error.after)
                tries -= 1

    def find(self, metadata: Mapping[str, str], refused: tuple[str, ...]) -> Batch | None:
        """The batch with these metadata; None where the server has none.

        Args:
            refused: ids of batches that are not meant.
        """
        listed, after = self._client.batches.with_raw_response.list, dict[str, Any]()
        while True:
            page = self._said(partial(listed, limit=_PAGE, **after), _Page)
            for batch in page.data:
                told = batch.metadata or {}
                if metadata.items() <= told.items() and batch.id not in refused:
                    return batch
            if not (page.has_more and page.data) or after == {"after": page.data[-1].id}:
                return None
            after = {"after": page.data[-1].id}

    def batch(self, name: str) -> Batch:
        """How far a batch is."""
        retrieve = self._client.batches.with_raw_response.retrieve
        return self._said(lambda: retrieve(name), Batch)

    def download(self, file: str, path: Path) -> None:
        """Write a file of the server's to disk, piece by piece."""
        with guarded(path), path.open("wb") as out:
            self._asked(lambda: self._streamed(file, out))

    def _streamed(self, file: str, out: Any) -> None:
        with self._files.with_streaming_response.content(file) as response:
            for part in response.iter_bytes():
                out.write(part)

    def _said(self, call: Callable[[], Any], form: type[_T]) -> _T:
        response = self._asked(call)
        try:
            return read(response.http_response.content, form)
        except MalformedError as error:
            raise NothingCameError(str(error)) from error

    def _asked(self, call: Callable[[], Any]) -> Any:
        """What a call to the server gives.

        Raises:
            NothingCameError: nothing, or what may be another time.
            RefusedError: a refusal that stays one.
        """
        import openai

        line = self._connection.line
        try:
            return call()
        except openai.APIStatusError as error:
            said = f"HTTP {error.status_code}: {line(message_of(error))}"
            refusal = Refusal(error.status_code, said, complaint_of(error), 1)
            if not refusal.passing:
                raise RefusedError(refusal) from error
            busy = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
            after = _seconds(error.response.headers)
            raise NothingCameError(said, sure=busy, after=after) from error
        except openai.APITimeoutError as error:
            raise NothingCameError(f"time-out after {self._connection.timeout:g} s") from error
        except openai.APIConnectionError as error:
            raise NothingCameError(f"connection lost: {line(str(error.__cause__))}") from error
        except Exception as error:
            # While a body is streamed, the HTTP library's own errors come through.
            if not type(error).__module__.startswith(("httpx", "httpcore")):
                raise
            raise NothingCameError(f"connection lost: {line(str(error))}") from error

    def _pause(self, tried: int, after: float | None) -> None:
        time.sleep(min(_LONGEST, 0.5 * 2**tried if after is None else after))

    def error(self, said: str) -> InputError:
        """That the server does not do what is asked."""
        return InputError(
            f"{self._connection.base_url}: batches: {said}; submitted batches are recorded: the"
            " next run resumes them"
        )


def _seconds(headers: Mapping[str, str]) -> float | None:
    """How long a server wants us to wait."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) / unit)
        except (KeyError, ValueError):
            continue
    return None
