"""The way to an OpenAI-compatible server: its address, our key, and the client that asks it.

The openai client does the retries, with its backoff, jitter and Retry-After, and keeps the times.
"""

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from descry.errors import InputError

if TYPE_CHECKING:
    from openai import OpenAI

SHOWN = 200  # characters shown of what a server says
_SECRET = 8  # characters of a key, below which it is a dummy and may be a word of an answer


class StoppedError(Exception):
    """A request that was not sent, because the annotator has stopped."""


@dataclass(frozen=True)
class Connection:
    """Where a server is, and how it is reached.

    Attributes:
        api_key_env: the variable of the environment that holds the API key; None: it needs none.
        timeout: seconds that a response may take.
        retries: how often the client asks again where nothing came.
    """

    base_url: str
    api_key_env: str | None
    timeout: float
    retries: int

    @property
    def host(self) -> str:
        """The server's name or address.

        Raises:
            InputError: the URL has none.
        """
        try:
            parts = urlsplit(self.base_url)
            if parts.port != 0 and parts.hostname:
                return parts.hostname
        except ValueError:  # a port or an address that is none
            pass
        raise InputError(
            f"base_url {self.base_url}: not an address such as https://api.openai.com/v1"
        )

    def open(self, stop: Event, *, hurry: bool = True) -> "OpenAI":
        """A client; once `stop` is set it sends nothing more, retries included.

        Args:
            hurry: whether a response must be whole within `timeout`, as a large file cannot.

        Raises:
            InputError: there is no key, or none that can be one.
        """
        import openai

        def check(_: object) -> None:
            if stop.is_set():
                raise StoppedError

        key = self._key() or "none"
        client = openai.OpenAI(
            api_key=key,
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=self.retries,
            default_headers={"Authorization": f"Bearer {key}"},  # over OPENAI_CUSTOM_HEADERS
            http_client=openai.DefaultHttpxClient(
                event_hooks={"request": [check], "response": [self._hurry] if hurry else []},
                follow_redirects=False,  # what params.yaml names is asked, and nobody else
                trust_env=not _is_loopback(self.host),  # a proxy does not know our loopback
            ),
        )
        # From the environment, too: not what params.yaml says.
        client.organization = client.project = client.admin_api_key = None
        return client

    def _hurry(self, response: Any) -> None:
        """Give up a response that drips: the client's own time-out begins again with every byte."""
        library: Any = import_module(type(response).__module__.partition(".")[0])  # httpx, httpx2
        body, until = response.iter_raw(), monotonic() + self.timeout

        def in_time(chunk_size: int | None = None) -> Iterator[bytes]:
            for part in body:
                if monotonic() > until:
                    raise library.ReadTimeout(f"not whole after {self.timeout:g} s")
                yield part

        response.iter_raw = in_time

    def _key(self) -> str | None:
        """The API key, from the environment; kept nowhere."""
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise InputError(
                f"{self.api_key_env}: not in the environment: export it with the API key for"
                f" {self.base_url}, or write `api_key_env: null` if it needs none"
            )
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"{self.api_key_env}: no API key: it has characters no key can have")
        return key

    def clean(self, text: str) -> str:
        """A server's text without our key in it."""
        key = self._key() or ""
        return text if len(key) < _SECRET else text.replace(key, "***")

    def line(self, text: str) -> str:
        """A server's text for an error: one short line."""
        plain = "".join(c if c.isprintable() else " " for c in self.clean(text))
        return " ".join(plain.split())[:SHOWN]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
