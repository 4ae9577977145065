"""A model behind any OpenAI-compatible server (vLLM, llama.cpp, Ollama, a provider's own).

The openai client does the retries, with its backoff, jitter and Retry-After, and keeps the times.
Here is what it does not know: which answers are data, when to stop, and that nothing paid is lost.

p2 asks for one token and the log-probabilities of the likeliest first tokens. A server may refuse
them or leave them out, which shows only when it is asked, and the cache's key is wanted before: so
the key says "where given", and without them the words of a short answer are taken, for the rest of
the session. Either is the answer of this model to this prompt, and is stored as what it is.
"""

import ipaddress
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from http import HTTPStatus
from queue import Empty, SimpleQueue
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from descry.errors import InputError
from descry.labellers import NO_FRAME, Answer, Frame, Identity, Price
from descry.labellers.completions import (
    Choice,
    Completion,
    Token,
    Usage,
    log_sum,
    malformed,
    rounded,
)
from descry.labellers.timely import timely
from descry.prompts import NO, WORDS, YES, Prompt, Task
from descry.storage import canonical

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

JSON = Any
_Outcome = tuple[int, Answer | BaseException]  # of a prompt, by its row
# How many log-probabilities to ask for: servers allow 20 or 5 at most. With 0, words are taken.
_TOPS = (20, 5, 0)
_MOMENT = 0.2  # seconds to gather answers that are stored together
_SHOWN = 200  # characters shown of what a server says
_SECRET = 8  # characters of a key, below which it is a dummy and may be a word of an answer
# What can pass of itself: the client has retried it, and the next run asks again.
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)


class EndpointLabeller:
    """Answers in words, and p2 by log-probabilities where the server gives them."""

    frame: Frame = NO_FRAME
    packages = ("openai",)

    def __init__(
        self,
        task: Task,
        *,
        model: str,
        revision: str,
        dtype: str,
        base_url: str,
        api_key_env: str | None,
        max_new_tokens: int,
        concurrency: int,
        timeout: float,
        retries: int,
        price: Sequence[float] | None,
    ) -> None:
        self.task = task
        self.model, self.revision, self.dtype = model, revision, dtype
        self.base_url, self.host = base_url, _host(base_url)
        self.api_key_env = api_key_env
        self.max_new_tokens = max_new_tokens
        self.concurrency, self.timeout, self.retries = concurrency, timeout, retries
        self.price: Price | None = None if price is None else (price[0], price[1])
        # Learnt from the server.
        self._top = _TOPS[0] if task == "p2" else 0
        self._scoring = False  # it has given log-probabilities
        self._limit = "max_tokens"  # OpenAI's newer models want max_completion_tokens
        self._counting = Lock()
        self._lost = 0  # prompts in a row without any answer
        self._said = ""  # with the last of those

    @cached_property
    def identity(self) -> Identity:
        """Who answers, wherever the server stands.

        Its revision is the model that the server reports: the nearest to a commit that there is.
        """
        decoding: JSON = {"endpoint": "chat.completions", "temperature": 0}
        if self.task == "p2":
            how = f"log-probabilities of the first token where given, else {WORDS} tokens of words"
            decoding |= {"answers": [YES, NO], "scoring": how}
        else:
            decoding["max_new_tokens"] = self._budget
        return Identity(
            name=f"{self.model} at {self.host}",
            model=self.model,
            revision=self.revision,
            dtype=self.dtype,
            decoding=canonical(decoding),
        )

    @property
    def _budget(self) -> int:
        """New tokens of an answer in words, at most."""
        return self.max_new_tokens if self.task == "p1" else WORDS

    @property
    def server(self) -> JSON:
        """Where, and the model that it reports."""
        return {"base_url": self.base_url, "model": self.revision}

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, as the answers come.

        Raises:
            InputError: the server refuses, is another model, or is gone; what it had answered has
                been yielded before.
        """
        if self.revision == "unpinned":
            raise InputError(f"{self.model}: revision unpinned: run `descry pin`")
        outcomes: SimpleQueue[_Outcome] = SimpleQueue()
        stop = Event()
        with self._open(stop) as client:

            def work(row: int) -> None:
                try:
                    if not stop.is_set():
                        answer = self._answer(client, prompts[row])
                        outcomes.put((row, answer))
                        self._count(answer)
                except _StoppedError:
                    pass
                except BaseException as error:
                    stop.set()  # here, so that no other thread sends one more
                    outcomes.put((row, error))

            pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="endpoint")
            try:
                for row in sorted(wanted):
                    pool.submit(work, row)
                left, errors = len(wanted), list[BaseException]()
                while left and not errors:
                    came = list(_gathered(outcomes, left))
                    left -= len(came)
                    errors += _errors(came)
                    if group := _answers(came):
                        yield group
                pool.shutdown(cancel_futures=True)  # waits for what is in flight
                came = list(_rest(outcomes))
                if late := _answers(came):
                    yield late
                for error in errors + _errors(came):
                    raise error
            finally:
                stop.set()
                # Whoever stops listening does not wait.
                pool.shutdown(wait=False, cancel_futures=True)

    def _count(self, answer: Answer) -> None:
        """Stop when too many prompts in a row were lost."""
        with self._counting:
            self._lost = self._lost + 1 if isinstance(answer, _Lost) else 0
            if self._lost > max(3 * self.concurrency, 10):
                raise InputError(
                    f"{self.base_url}: the server does not answer: {self._lost} prompts in a row"
                    f" came to nothing (the last: {self._said})"
                )

    def _open(self, stop: Event) -> "OpenAI":
        """A client; once `stop` is set it sends nothing more, retries included."""
        import openai

        def check(_: object) -> None:
            if stop.is_set():
                raise _StoppedError

        def hurry(response: Any) -> None:
            response.stream = timely(response.stream, self.timeout)

        key = self._key() or "none"
        client = openai.OpenAI(
            api_key=key,
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=self.retries,
            default_headers={"Authorization": f"Bearer {key}"},  # over OPENAI_CUSTOM_HEADERS
            http_client=openai.DefaultHttpxClient(
                event_hooks={"request": [check], "response": [hurry]},
                follow_redirects=False,  # what params.yaml names is asked, and nobody else
                trust_env=not _is_loopback(self.host),  # a proxy does not know our loopback
            ),
        )
        # From the environment, too: not what params.yaml says.
        client.organization = client.project = client.admin_api_key = None
        return client

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

    def _clean(self, text: str) -> str:
        """A server's text without our key in it."""
        key = self._key() or ""
        return text if len(key) < _SECRET else text.replace(key, "***")

    def _line(self, text: str) -> str:
        """A server's text for an error: one short line."""
        plain = "".join(c if c.isprintable() else " " for c in self._clean(text))
        return " ".join(plain.split())[:_SHOWN]

    def _answer(self, client: "OpenAI", prompt: Prompt) -> Answer:
        """Ask one prompt; for p2 once more where the server turns out to give words only."""
        tokens = (0, 0)
        while True:
            top = self._top
            completion = self._complete(client, prompt.text, top)
            if completion is None:
                continue  # asked for less from now on
            if isinstance(completion, Answer):
                return completion._replace(tokens=tokens)
            if completion.model != self.revision:
                raise self._another(completion.model)
            tokens = _sum(tokens, completion.usage)
            choice = completion.choices[0]
            if choice.message.refusal or choice.finish_reason == "content_filter":
                text = choice.message.refusal or choice.message.content or ""
                return Answer({"text": self._clean(text), "finish": "content_filter"}, tokens)
            if not top:
                return self._words(choice)._replace(tokens=tokens)
            listed = choice.listed()
            if listed is not None:
                self._scoring = True
                return self._scored(listed)._replace(tokens=tokens)
            if self._scoring:
                return Answer(None, tokens, fault="no log-probabilities")
            self._top = 0

    def _words(self, choice: "Choice") -> Answer:
        if choice.message.content is None:
            return Answer(None, fault="no text")
        finish = self._line(choice.finish_reason or "none")
        return Answer({"text": self._clean(choice.message.content), "finish": finish})

    def _scored(self, listed: list["Token"]) -> Answer:
        """Log-probabilities of Yes, No and the rest, from those of the likeliest first tokens.

        A word that is not listed is less likely than any that is: that is its bound.
        """
        if not all(math.isfinite(token.logprob) and token.logprob < 0.01 for token in listed):
            return Answer(None, fault="log-probabilities are not finite")
        found = {
            word.casefold(): log_sum(t.logprob for t in listed if t.says(word))
            for word in (YES, NO)
        }
        first = max(listed, key=lambda token: token.logprob)
        greedy = first.says(YES) or first.says(NO)
        instead = {} if greedy else {"instead": self._clean(first.token)[:_SHOWN]}
        unlisted = [word for word, mass in found.items() if mass is None]
        if len(unlisted) == len(found):
            return Answer(instead, fault="neither Yes nor No")
        known = sum(math.exp(mass) for mass in found.values() if mass is not None)
        bound = min(token.logprob for token in listed) - 1e-6  # less likely, so never a tie
        response: JSON = {w: rounded(bound if m is None else m) for w, m in found.items()}
        response["rest"] = rounded(math.log(max(1 - known, 1e-9)))
        return Answer(response | ({"bound": unlisted[0]} if unlisted else {}) | instead)

    def _another(self, reported: str) -> InputError:
        name = self._line(reported)
        return InputError(
            f"{self.model} at {self.base_url}: the server reports the model {name!r}, params.yaml"
            f" has the revision {self.revision!r}: to ask this one, write"
            f" `revision: {canonical(name)}`"
        )

    def _complete(self, client: "OpenAI", text: str, top: int) -> "Completion | Answer | None":
        """One request: what came, why nothing did, or None where less has to be asked for.

        Raises:
            InputError: a refusal that asking again will not change.
        """
        import openai

        limit = self._limit
        options: dict[str, Any] = {limit: 1 if top else self._budget}
        if top:
            options |= {"logprobs": True, "top_logprobs": top}
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=[{"role": "user", "content": text}],
                temperature=0,
                **options,
            )
            return Completion.model_validate_json(raw.http_response.content)
        except openai.APIStatusError as error:
            status = error.status_code
            # Whatever the status: OpenAI says 400 or 403 to log-probabilities, llama.cpp 500.
            if self._asks_less(error.response.text, limit, top):
                return None
            if error.code == "content_filter":  # Azure refuses the prompt, and only this one
                return Answer({"text": "", "finish": "content_filter"})
            said = f"HTTP {status}: {self._line(_message(error))}"
            if status not in _PASSING and status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise InputError(f"{self.model} at {self.base_url}: {said}") from None
            tries = int(error.request.headers.get("x-stainless-retry-count", 0)) + 1
            return self._nothing(f"HTTP {status} after {_tries(tries)}", said)
        except openai.APITimeoutError:
            return self._nothing("time-out", f"time-out after {self.timeout:g} s")
        except openai.APIConnectionError as error:
            why = f"connection lost: {self._line(str(error.__cause__))}"
            return self._nothing("connection lost", why)
        except ValidationError as error:
            return Answer(None, fault=malformed(error))

    def _nothing(self, fault: str, said: str) -> Answer:
        self._said = said
        return _Lost(None, fault=fault)

    def _asks_less(self, complaint: str, limit: str, top: int) -> bool:
        """Whether the server will not have an option of ours, and there is another to try."""
        if top and not self._scoring and "logprob" in complaint.lower():
            self._top = min(self._top, next(less for less in _TOPS if less < top))
            return True
        if limit == "max_tokens" and "max_completion_tokens" in complaint:
            self._limit = "max_completion_tokens"
            return True
        return False

    def reported(self) -> str:
        """The model that the server reports, by one short question.

        Raises:
            InputError: there is no answer, or no usable name in it.
        """
        with self._open(Event()) as client:
            answer = None
            while answer is None:
                answer = self._complete(client, "Is water wet? Answer in Yes/No A:", 0)
        if isinstance(answer, Answer):
            reason = self._said or answer.fault or "content filter"
            raise InputError(f"{self.model} at {self.base_url}: no answer ({reason})")
        name = self._line(answer.model)
        if not name or not answer.model.isprintable():
            raise InputError(f"{self.model} at {self.base_url}: reports no model name ({name!r})")
        return name


def reported_model(spec: JSON) -> str:
    """The model that a spec's server reports: what to write as its revision.

    Raises:
        InputError: the server cannot be reached, refuses, or reports none.
    """
    options = {key: value for key, value in spec.items() if key != "kind"}
    return EndpointLabeller("p2", **options).reported()


class _StoppedError(Exception):
    """A request that was not sent, because the labeller has stopped."""


class _Lost(Answer):
    """No answer came, however often it was tried."""


def _message(error: "APIStatusError") -> str:
    """The server's own words, where it has any."""
    body = error.body
    if isinstance(body, dict):
        named = (body.get(name) for name in ("message", "detail", "error"))
        return str(next(filter(None, named), body))
    return error.response.text.strip() or error.response.reason_phrase


def _gathered(outcomes: SimpleQueue[_Outcome], most: int) -> Iterator[_Outcome]:
    """Waits for one, and a moment more for others."""
    yield outcomes.get()
    until = monotonic() + _MOMENT
    while (most := most - 1) and (left := until - monotonic()) > 0:
        try:
            yield outcomes.get(timeout=left)
        except Empty:
            return


def _rest(outcomes: SimpleQueue[_Outcome]) -> Iterator[_Outcome]:
    while not outcomes.empty():
        yield outcomes.get()


def _answers(came: Iterable[_Outcome]) -> list[tuple[int, Answer]]:
    return [(row, outcome) for row, outcome in came if isinstance(outcome, Answer)]


def _errors(came: Iterable[_Outcome]) -> list[BaseException]:
    return [outcome for _, outcome in came if isinstance(outcome, BaseException)]


def _sum(tokens: tuple[int, int], usage: Usage | None) -> tuple[int, int]:
    if usage is None:
        return tokens
    return tokens[0] + (usage.prompt_tokens or 0), tokens[1] + (usage.completion_tokens or 0)


def _tries(n: int) -> str:
    return f"{n} tries" if n > 1 else "1 try"


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.port != 0 and parts.hostname:
            return parts.hostname
    except ValueError:  # a port or an address that is none
        pass
    raise InputError(f"base_url {url}: not an address such as https://api.openai.com/v1")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
