"""A model behind any OpenAI-compatible server (vLLM, llama.cpp, Ollama, a provider's own).

The openai client does the retries, with its backoff, jitter and Retry-After, and keeps the times.
Here is what it does not know: which answers are data, when to stop, and that nothing paid is lost.

p2 asks for one token and the log-probabilities of the likeliest first tokens. A server may refuse
them or leave them out, which shows only when it is asked, and the cache's key is wanted before: so
the key says "where given", and without them the words of a short answer are taken, for the rest of
the session. Either is the answer of this model to this prompt, and is stored as what it is.

A server may also refuse the temperature, or think before it answers. That changes its answers, so
it belongs into the key (Way). The first such response is only a suspicion: one fixed question then
finds the way that this server allows, whichever prompt came first. From the first answer on, the
way is settled: it stands in the origin of every answer, so that the next session, and a replay
without a server, begin with it.
"""

import ipaddress
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from queue import Empty, SimpleQueue
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError

from descry.annotators.base import NO_FRAME, Answer, Frame, Identity, Price, VariantChangedError
from descry.annotators.openai_server.read_timeout import timely
from descry.annotators.openai_server.schema import (
    Choice,
    Completion,
    Token,
    Usage,
    log_sum,
    malformed,
    opens_thought,
    rounded,
)
from descry.annotators.prompts import NO, WORDS, YES, Prompt, Task
from descry.errors import InputError
from descry.io.hashing import JSON, canonical

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

_Outcome = tuple[int, Answer | BaseException]  # of a prompt, by its row
# How many log-probabilities to ask for: servers allow 20 or 5 at most. With 0, words are taken.
_TOPS = (20, 5, 0)
_MOMENT = 0.2  # seconds to gather answers that are stored together
_QUOTED = 5  # tokens of an answer that is none
_SHOWN = 200  # characters shown of what a server says
_SECRET = 8  # characters of a key, below which it is a dummy and may be a word of an answer
# What can pass of itself: the client has retried it, and the next run asks again.
_TOO_MUCH = re.compile(r"too (?:large|high|big)|at most|less than|greater than|at least|must be")
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
# Not about a prompt, whatever their words: a key, a permission, a name, a price.
_ABOUT_ALL = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
)
_QUESTION = "Is water wet? Answer in Yes/No A:"
# Options that may be left out, with the names that a refusal calls them.
_OPTIONS = {"temperature": ("temperature",), "max_tokens": ("max_tokens", "max_completion_tokens")}
# What turns thoughts off, tried in turn: vLLM, SGLang and llama.cpp; OpenAI and Ollama; others.
_SWITCHES: tuple[JSON, ...] = (
    {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    {"reasoning_effort": "none"},
    {"reasoning_effort": "minimal"},
    {"thinking": {"type": "disabled"}},
    {"reasoning": {"enabled": False}},
)
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
ONLY_THOUGHTS = "thoughts and no answer (write, or raise, `thinking`: tokens for thoughts)"
TOO_LONG = "too long for the server (shorten by corpus.max_words, or raise max_failures)"
_SAME = ("model", "revision", "dtype")  # besides the decoding
# Strings that chat templates write as control tokens, in the forms of the common families.
_CONTROL = re.compile(
    r"<\|[^\s|<>]{1,40}\|>|<｜[^\s<>]{1,40}｜>|</?s>|\[/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|MASK|SEP|CLS)\]"
    r"|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask)>|</?(?:think|tool_call)>"
)
CONTROL = (
    "sentences that hold control tokens (such as <|im_end|>) are sent as they are: the server's"
    " tokenizer decides what it makes of them (SECURITY.md)"
)


class RequestVariant(NamedTuple):
    """How a server is asked, where it will not be asked as others are.

    Attributes:
        without: the options that are left out.
        switch: what is sent so that the model does not think, as canonical JSON; empty for nothing.
    """

    without: tuple[str, ...] = ()
    switch: str = ""

    def as_json(self) -> dict[str, JSON]:
        """For the key; nothing where a server is asked as others are."""
        left_out = {"without": list(self.without)} if self.without else {}
        return left_out | ({"no_thinking": json.loads(self.switch)} if self.switch else {})

    def lacking(self, option: str) -> "RequestVariant":
        """The same without an option."""
        return self._replace(without=tuple(sorted({*self.without, option})))


class EndpointAnnotator:
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
        thinking: int | None = None,
    ) -> None:
        self.task = task
        self.model, self.revision, self.dtype = model, revision, dtype
        self.base_url, self.host = base_url, _host(base_url)
        self.api_key_env = api_key_env
        self.max_new_tokens = max_new_tokens
        self.concurrency, self.timeout, self.retries = concurrency, timeout, retries
        self.price: Price | None = None if price is None else (price[0], price[1])
        self.thinking = thinking
        # Learnt from the server.
        self._top = _TOPS[0] if task == "p2" and not thinking else 0
        self._scoring = False  # it has given log-probabilities
        self._way = RequestVariant()
        self._settled = False  # there are answers that were got in this way
        self._finding = Lock()  # of the way
        self._limit = "max_tokens"  # OpenAI's newer models want max_completion_tokens
        self._counting = Lock()
        self._lost = 0  # prompts in a row without any answer
        self._said = ""  # with the last of those
        self._too_long = set[str]()  # sentences, while nothing else was answered

    @property
    def identity(self) -> Identity:
        """Who answers, wherever the server stands, and in which way it is asked.

        Its revision is the model that the server reports: the nearest to a commit that there is.
        """
        return Identity(
            name=f"{self.model} at {self.host}",
            model=self.model,
            revision=self.revision,
            dtype=self.dtype,
            decoding=self._decoding(self._way),
        )

    def _decoding(self, way: RequestVariant) -> str:
        decoding: JSON = {"endpoint": "chat.completions", "temperature": 0}
        if self.task == "p2":
            words = f"{WORDS} tokens of words"
            how = f"log-probabilities of the first token where given, else {words}"
            decoding |= {"answers": [YES, NO], "scoring": words if self.thinking else how}
        else:
            decoding["max_new_tokens"] = self.max_new_tokens if self.task == "p1" else WORDS
        if self.thinking:
            decoding["thinking"] = self.thinking  # tokens besides
        if "temperature" in way.without:
            del decoding["temperature"]
        return canonical(decoding | way.as_json())

    def go_on(self, stored: Sequence[JSON]) -> None:
        """Ask in the way in which most of the stored answers of this annotator were got."""
        mine = self.identity
        for origin in stored:
            same = all(origin[name] == getattr(mine, name) for name in _SAME)
            way = _way_of(origin["decoding"]) if same else None
            if way is not None and self._decoding(way) == origin["decoding"]:
                self._way, self._settled = way, True
                return

    @property
    def _budget(self) -> int:
        """New tokens of an answer in words, at most."""
        words = self.max_new_tokens if self.task == "p1" else WORDS
        return words + (self.thinking or 0)

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
                        self._count(prompts[row], answer)
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

    def _count(self, prompt: Prompt, answer: Answer) -> None:
        """Stop when too many prompts in a row were lost, or nothing at all is short enough."""
        with self._counting:
            most = max(3 * self.concurrency, 10)
            self._lost = self._lost + 1 if isinstance(answer, _Lost) else 0
            if self._lost > most:
                raise InputError(
                    f"{self.base_url}: the server does not answer: {self._lost} prompts in a row"
                    f" came to nothing (the last: {self._said})"
                )
            if answer.fault == TOO_LONG and not self._settled:
                self._too_long.add(prompt.sentence)
                if len(self._too_long) > most:
                    raise InputError(
                        f"{self.base_url}: every prompt is too long for the server"
                        f" ({self._said}): start it with a longer context, or lower"
                        " corpus.max_words"
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
        """Ask one prompt; for p2 once more where the server turns out to give words only.

        Raises:
            OtherWayError: the server is to be asked in another way from now on.
            InputError: a refusal that asking again will not change.
        """
        way, tokens = self._way, (0, 0)
        while True:
            top, came = self._complete(client, prompt.text, way)
            if isinstance(came, _Refusal):
                if came.option(way):
                    self._suspect(client, way)
                raise self._refused(came)
            if isinstance(came, Answer):
                return came._replace(tokens=tokens)
            if came.model != self.revision:
                raise self._another(came.model)
            tokens = _sum(tokens, came.usage)
            choice = came.choices[0]
            if choice.message.refusal or choice.finish_reason == "content_filter":
                text = choice.message.refusal or choice.message.content or ""
                return Answer({"text": self._clean(text), "finish": "content_filter"}, tokens)
            listed = choice.listed() if top else None
            if top and listed is None and not self._scoring:
                self._top = 0
                continue
            if not self.thinking and _only_thinks(choice, listed):
                self._suspect(client, way)
            remark = CONTROL if any(map(_CONTROL.search, prompt.shown)) else None
            return self._read(choice, listed, top)._replace(tokens=tokens, remark=remark)

    def _read(self, choice: Choice, listed: list[Token] | None, top: int) -> Answer:
        """The answer in a choice."""
        if not top:
            answer = self._words(choice)
        elif listed is None:
            return Answer(None, fault="no log-probabilities")
        else:
            self._scoring = True
            answer = self._scored(listed)
        self._settled = self._settled or answer.fault is None
        return answer

    # The way of asking

    def _suspect(self, client: "OpenAI", way: RequestVariant) -> None:
        """Find out in which way this server is to be asked, unless there are answers in this one.

        Raises:
            OtherWayError: it is another one than the given.
            InputError: there is none.
        """
        with self._finding:
            if not self._settled and self._way == way:
                self._way, _ = self._found(client)
                self._settled = self._way == way  # a false alarm, and the last one
            if self._way != way:
                raise VariantChangedError

    def _found(self, client: "OpenAI") -> tuple[RequestVariant, Completion]:
        """The way that this server allows, and its answer to one short question.

        Raises:
            InputError: it refuses every way, or thinks in every one.
        """
        found = self._allowed(client, RequestVariant())
        if isinstance(found, _Refusal):
            raise self._refused(found)
        thought = _thought(found[1])
        if self.thinking or not thought:
            return found
        for switch in _SWITCHES:
            tried = self._allowed(client, found[0]._replace(switch=canonical(switch)))
            if not isinstance(tried, _Refusal) and not _thought(tried[1]):
                return tried
        raise InputError(
            f"{self.model} at {self.base_url}: it thinks before it answers (it began with"
            f" {self._line(thought)!r}), and nothing that other servers know turns that off: write"
            " `thinking: 1024` below its model, the tokens that it may spend on that (its answers"
            " are then taken from its words), or name another model"
        )

    def _allowed(
        self, client: "OpenAI", way: RequestVariant
    ) -> "tuple[RequestVariant, Completion] | _Refusal":
        """A way without the options that the server refuses, and what it answers then."""
        while True:
            top, came = self._complete(client, _QUESTION, way)
            if isinstance(came, Answer):
                reason = self._said or came.fault or "content filter"
                raise InputError(f"{self.model} at {self.base_url}: no answer ({reason})")
            if isinstance(came, _Refusal):
                option = came.option(way)
                if option is None:
                    return came
                way = way.lacking(option)
            elif top and came.choices[0].listed() is None and not self._scoring:
                self._top = 0
            else:
                return way, came

    def _refused(self, refusal: "_Refusal") -> InputError:
        option = refusal.option(self._way) if self._settled else None
        advice = (
            f"; answers that are kept were asked with {option}, which must stay so: to ask without"
            " it, give the model another `revision`, or use another cache"
            if option
            else ""
        )
        return InputError(f"{self.model} at {self.base_url}: {refusal.said}{advice}")

    def _words(self, choice: Choice) -> Answer:
        text, finish = choice.message.content, self._line(choice.finish_reason or "none")
        if text is None and finish != "length":  # that is thoughts that were cut off
            return Answer(None, fault="no text")
        fault = ONLY_THOUGHTS if choice.only_thoughts else None
        return Answer({"text": self._clean(text or ""), "finish": finish}, fault=fault)

    def _scored(self, listed: list[Token]) -> Answer:
        """Log-probabilities of Yes, No and the rest, from those of the likeliest first tokens.

        A word that is not listed is less likely than any that is: that is its bound.
        """
        if not all(math.isfinite(token.logprob) and token.logprob < 0.01 for token in listed):
            return Answer(None, fault="log-probabilities are not finite")
        found = {
            word.casefold(): log_sum(t.logprob for t in listed if t.says(word))
            for word in (YES, NO)
        }
        first = _first(listed)
        greedy = first.says(YES) or first.says(NO)
        instead = {} if greedy else {"instead": self._clean(first.token)[:_SHOWN]}
        unlisted = [word for word, mass in found.items() if mass is None]
        if len(unlisted) == len(found):
            if all(token.is_id for token in listed):
                raise self._ids(listed)
            likeliest = sorted(listed, key=lambda token: -token.logprob)[:_QUOTED]
            came = [self._clean(token.token)[:_SHOWN] for token in likeliest]
            return Answer(instead | {"likeliest": came}, fault="neither Yes nor No")
        known = sum(math.exp(mass) for mass in found.values() if mass is not None)
        bound = min(token.logprob for token in listed) - 1e-6  # less likely, so never a tie
        response: JSON = {w: rounded(bound if m is None else m) for w, m in found.items()}
        response["rest"] = rounded(math.log(max(1 - known, 1e-9)))
        return Answer(response | ({"bound": unlisted[0]} if unlisted else {}) | instead)

    def _ids(self, listed: list[Token]) -> InputError:
        came = ", ".join(repr(self._line(token.token)) for token in listed[:_QUOTED])
        return InputError(
            f"{self.model} at {self.base_url}: its log-probabilities are of numbers of tokens"
            f" ({came}), not of their texts: start the server so that it gives texts (vLLM: without"
            " --return-tokens-as-token-ids)"
        )

    def _another(self, reported: str) -> InputError:
        name = self._line(reported)
        return InputError(
            f"{self.model} at {self.base_url}: the server reports the model {name!r}, params.yaml"
            f" has the revision {self.revision!r}: to ask this one, write"
            f" `revision: {canonical(name)}`"
        )

    def _complete(
        self, client: "OpenAI", text: str, way: RequestVariant
    ) -> "tuple[int, Completion | Answer | _Refusal]":
        """Ask for one completion, for less where the server gives no more.

        Returns:
            How many log-probabilities were asked for, and what came, or why nothing did.
        """
        while True:
            top, limit = self._top, self._limit
            came = self._sent(client, text, self._asked(way, top, limit))
            if not (isinstance(came, _Refusal) and self._asks_less(came.complaint, limit, top)):
                break
        if isinstance(came, _Refusal) and came.passing and not came.option(way):
            return top, self._nothing(f"HTTP {came.status} after {_tries(came.tries)}", came.said)
        return top, came

    def _asked(self, way: RequestVariant, top: int, limit: str) -> dict[str, Any]:
        """The options of a request."""
        options: dict[str, Any] = {} if "temperature" in way.without else {"temperature": 0}
        if "max_tokens" not in way.without:
            options[limit] = 1 if top else self._budget
        if top:
            options |= {"logprobs": True, "top_logprobs": top}
        return options | ({"extra_body": json.loads(way.switch)} if way.switch else {})

    def _sent(
        self, client: "OpenAI", text: str, options: dict[str, Any]
    ) -> "Completion | Answer | _Refusal":
        """One request: what came, or why nothing did."""
        import openai

        try:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model, messages=[{"role": "user", "content": text}], **options
            )
            return Completion.model_validate_json(raw.http_response.content)
        except openai.APIStatusError as error:
            return self._not_done(error)
        except openai.APITimeoutError:
            return self._nothing("time-out", f"time-out after {self.timeout:g} s")
        except openai.APIConnectionError as error:
            why = f"connection lost: {self._line(str(error.__cause__))}"
            return self._nothing("connection lost", why)
        except ValidationError as error:
            return Answer(None, fault=malformed(error))

    def _not_done(self, error: "APIStatusError") -> "Answer | _Refusal":
        """What a status that is no success means: for this prompt alone, or for all."""
        status, complaint = error.status_code, _complaint(error)
        said = f"HTTP {status}: {self._line(_message(error))}"
        if status not in (*_ABOUT_ALL, *_PASSING):
            if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or _TOO_LONG.search(complaint):
                self._said = said
                return Answer(None, fault=TOO_LONG)
            if status < HTTPStatus.INTERNAL_SERVER_ERROR and _MODERATED.search(complaint):
                return Answer({"text": "", "finish": "content_filter"})
        tries = int(error.request.headers.get("x-stainless-retry-count", 0)) + 1
        return _Refusal(status, said, complaint, tries)

    def _nothing(self, fault: str, said: str) -> Answer:
        self._said = said
        return _Lost(None, fault=fault)

    def _asks_less(self, complaint: str, limit: str, top: int) -> bool:
        """Whether the server will not have an option of ours, and there is another to try.

        Whatever the status: OpenAI says 400 or 403 to log-probabilities, llama.cpp 500.
        """
        if top and not self._scoring and "logprob" in complaint.lower():
            self._top = min(self._top, next(less for less in _TOPS if less < top))
            return True
        if limit == "max_tokens" and re.search("max_(completion_)?tokens", complaint):
            self._limit = "max_completion_tokens"
            return True
        return False

    def reported(self) -> str:
        """The model that the server reports, by one short question.

        Raises:
            InputError: there is no answer, or no usable name in it.
        """
        self._top = 0
        with self._open(Event()) as client:
            found = self._allowed(client, RequestVariant())
        if isinstance(found, _Refusal):
            raise self._refused(found)
        name = self._line(found[1].model)
        if not name or not found[1].model.isprintable():
            raise InputError(f"{self.model} at {self.base_url}: reports no model name ({name!r})")
        return name


def reported_model(spec: JSON) -> str:
    """The model that a spec's server reports: what to write as its revision.

    Raises:
        InputError: the server cannot be reached, refuses, or reports none.
    """
    options = {key: value for key, value in spec.items() if key != "kind"}
    return EndpointAnnotator("p2", **options).reported()


class _StoppedError(Exception):
    """A request that was not sent, because the annotator has stopped."""


class _Lost(Answer):
    """No answer came, however often it was tried."""


class _Refusal(NamedTuple):
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

    def option(self, way: RequestVariant) -> str | None:
        """The option of ours that it is about; a value that is too large is for people to mend."""
        if self.status in (*_ABOUT_ALL, *_PASSING):
            return None
        for option, names in _OPTIONS.items():
            named = any(name in self.complaint.lower() for name in names)
            if named and option not in way.without:
                mendable = option == "max_tokens" and _TOO_MUCH.search(self.complaint)
                return None if mendable else option
        return None


def _first(listed: list[Token]) -> Token:
    return max(listed, key=lambda token: token.logprob)


def _only_thinks(choice: Choice, listed: list[Token] | None) -> bool:
    """Whether thoughts came where an answer was wanted."""
    return choice.unanswered if listed is None else opens_thought(_first(listed).token)


def _thought(completion: Completion) -> str:
    """How a completion's thoughts begin; empty where there is no sign of any."""
    choice = completion.choices[0]
    listed = choice.listed()
    if listed is not None:
        first = _first(listed).token
        return first if opens_thought(first) else ""
    if choice.thinks or (completion.usage and completion.usage.thoughts):
        said = choice.message.content or choice.message.reasoning_content
        return str(said or choice.message.reasoning or "no word of an answer")
    return ""


def _way_of(decoding: str) -> RequestVariant | None:
    """The way in an identity's decoding."""
    try:
        found = json.loads(decoding)
        switch = found.get("no_thinking")
        return RequestVariant(tuple(found.get("without", ())), canonical(switch) if switch else "")
    except (ValueError, TypeError, AttributeError):  # of another annotator, or of nobody
        return None


_REPEATED = ("input", "ctx", "body", "messages", "prompt", "url")


def _complaint(error: "APIStatusError") -> str:
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
