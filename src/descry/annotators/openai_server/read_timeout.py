"""Responses that are whole in time: a client's own time-out begins anew with every byte."""

from collections.abc import Iterator
from importlib import import_module
from time import monotonic
from typing import Any


def timely(body: Any, seconds: float) -> Any:
    """The body of a response, which is given up where it drips.

    Args:
        body: a stream of bytes, of httpx or of what has taken its place in the openai client: it
            gets one of its own kind back, and its own time-out.
        seconds: that it may take.
    """
    library: Any = import_module(type(body).__module__.partition(".")[0])

    class Timely(type(body)):  # type: ignore[misc]
        def __init__(self) -> None:
            self._until = monotonic() + seconds

        def __iter__(self) -> Iterator[bytes]:
            for part in body:
                if monotonic() > self._until:
                    raise library.ReadTimeout(f"not whole after {seconds:g} s")
                yield part

        def close(self) -> None:
            body.close()

    return Timely()
