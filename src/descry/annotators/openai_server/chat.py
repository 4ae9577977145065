"""Chat completions of one model on one server: what came, or why nothing did.

p2 asks for one token and the log-probabilities of the likeliest first tokens. A server may refuse
them or leave them out, which shows only when it is asked: then less is asked for, and at last the
words of a short answer are taken, for the rest of the session.

A server may also refuse the temperature, or think before it answers. One fixed question finds the
variant of a request that it allows.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from descry.annotators.base import Answer
from descry.annotators.openai_server.connection import Connection
from descry.annotators.openai_server.constraints import Constraint
from descry.annotators.openai_server.log_probabilities import likeliest
from descry.annotators.openai_server.refusal import (
    Refusal,
    about_prompt,
    complaint_of,
    message_of,
)
from descry.annotators.openai_server.request_variant import SWITCHES, RequestVariant
from descry.annotators.openai_server.schema import Completion, MalformedError, read
from descry.annotators.thoughts import opens_thought
from descry.errors import InputError
from descry.io.hashing import canonical

if TYPE_CHECKING:
    from openai import OpenAI

# How many log-probabilities to ask for: servers allow 20 or 5 at most. With 0, words are taken.
TOPS = (20, 5, 0)
_QUESTION = "Is water wet? Answer in Yes/No A:"


class LostAnswer(Answer):
    """No answer came, however often it was tried."""


class Chat:
    """Asks a model, for less where its server gives no more. Threads share it.

    Attributes:
        where: the model and its server, for errors.
        top: how many log-probabilities are asked for; with 0 the words of an answer are taken.
        scoring: whether the server has given log-probabilities.
        said: what it said with the last prompt to which no answer came.
    """

    def __init__(self, connection: Connection, model: str, *, tokens: int, top: int) -> None:
        self.connection, self.model, self.tokens, self.top = connection, model, tokens, top
        self.where = f"{model} at {connection.base_url}"
        self.scoring = False
        self.said = ""
        self._limit = "max_tokens"  # OpenAI's newer models want max_completion_tokens

    def complete(
        self, client: "OpenAI", text: str, variant: RequestVariant
    ) -> tuple[int, Completion | Answer | Refusal]:
        """Ask for one completion, for less where the server gives no more.

        Returns:
            How many log-probabilities were asked for, and what came, or why nothing did.
        """
        while True:
            top, limit = self.top, self._limit
            options = variant.options(limit=limit, tokens=self.tokens, top=top)
            came = self._sent(client, text, options)
            if not (isinstance(came, Refusal) and self._asks_less(came.complaint, limit, top)):
                break
        if isinstance(came, Refusal) and came.passing and not came.option(variant):
            tries = f"{came.tries} tries" if came.tries > 1 else "1 try"
            return top, self._nothing(f"HTTP {came.status} after {tries}", came.said)
        return top, came

    def options(self, variant: RequestVariant) -> dict[str, Any]:
        """The options of a request, as far as this server is known."""
        return variant.options(limit=self._limit, tokens=self.tokens, top=self.top)

    def _sent(
        self, client: "OpenAI", text: str, options: dict[str, Any]
    ) -> Completion | Answer | Refusal:
        """One request: what came, or why nothing did."""
        import openai

        line = self.connection.line
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model, messages=[{"role": "user", "content": text}], **options
            )
            return read(raw.http_response.content, Completion)
        except openai.APIStatusError as error:
            said = f"HTTP {error.status_code}: {line(message_of(error))}"
            tries = int(error.request.headers.get("x-stainless-retry-count", 0)) + 1
            refusal = Refusal(error.status_code, said, complaint_of(error), tries)
            answer = about_prompt(refusal)
            if answer and answer.fault:
                self.said = said
            return answer or refusal
        except openai.APITimeoutError:
            return self._nothing("time-out", f"time-out after {self.connection.timeout:g} s")
        except openai.APIConnectionError as error:
            why = f"connection lost: {line(str(error.__cause__))}"
            return self._nothing("connection lost", why)
        except MalformedError as error:
            return Answer(None, fault=str(error))

    def _nothing(self, fault: str, said: str) -> Answer:
        self.said = said
        return LostAnswer(None, fault=fault)

    def _asks_less(self, complaint: str, limit: str, top: int) -> bool:
        """Whether the server will not have an option of ours, and there is another to try.

        Whatever the status: OpenAI says 400 or 403 to log-probabilities, llama.cpp 500.
        """
        if top and not self.scoring and "logprob" in complaint.lower():
            self.top = min(self.top, next(less for less in TOPS if less < top))
            return True
        if limit == "max_tokens" and re.search("max_(completion_)?tokens", complaint):
            self._limit = "max_completion_tokens"
            return True
        return False

    def find_variant(
        self, client: "OpenAI", *, thinking: bool, constraints: Sequence[Constraint] = ()
    ) -> tuple[RequestVariant, Completion]:
        """The variant that this server allows, and its answer to one short question.

        Args:
            thinking: whether the model may think before it answers.
            constraints: of which the first that the server obeys is wanted, where answers are in
                words: log-probabilities of Yes and No need none, and none is hidden by them.

        Raises:
            InputError: it refuses every variant, or thinks in every one.
        """
        variant, said = self._thoughtless(client, thinking=thinking)
        for one in () if self.top else constraints:
            _, came = self.complete(client, _QUESTION, variant._replace(constraint=one.trial))
            if isinstance(came, Completion) and one.obeyed(came.choices[0].message.content or ""):
                return variant._replace(constraint=one.sent), said
        return variant, said

    def _thoughtless(
        self, client: "OpenAI", *, thinking: bool
    ) -> tuple[RequestVariant, Completion]:
        """The variant in which this server answers at once, or may think first."""
        found = self.allowed(client, RequestVariant())
        if isinstance(found, Refusal):
            raise self.refused(found)
        thought = _thought(found[1])
        if thinking or not thought:
            return found
        for switch in SWITCHES:
            tried = self.allowed(client, found[0]._replace(switch=canonical(switch)))
            if not isinstance(tried, Refusal) and not _thought(tried[1]):
                return tried
        raise InputError(
            f"{self.where}: it thinks before it answers (it began with"
            f" {self.connection.line(thought)!r}), and no known option turns that off: write"
            " `thinking: 1024` below its model, the tokens that it may spend on thoughts (its"
            " answers are then read from its words), or name another model"
        )

    def allowed(
        self, client: "OpenAI", variant: RequestVariant
    ) -> tuple[RequestVariant, Completion] | Refusal:
        """A variant without the options that the server refuses, and what it answers then.

        Raises:
            InputError: no answer comes.
        """
        while True:
            top, came = self.complete(client, _QUESTION, variant)
            if isinstance(came, Answer):
                reason = self.said or came.fault or "content filter"
                raise InputError(f"{self.where}: no answer ({reason})")
            if isinstance(came, Refusal):
                option = came.option(variant)
                if option is None:
                    return came
                variant = variant.lacking(option)
            elif top and came.choices[0].listed() is None and not self.scoring:
                self.top = 0
            else:
                return variant, came

    def refused(self, refusal: Refusal, advice: str = "") -> InputError:
        """That the server refuses, in its own words."""
        return InputError(f"{self.where}: {refusal.said}{advice}")


def _thought(completion: Completion) -> str:
    """How a completion's thoughts begin; empty where there is no sign of any."""
    choice = completion.choices[0]
    listed = choice.listed()
    if listed is not None:
        first = likeliest(listed).token
        return first if opens_thought(first) else ""
    if choice.thinks or (completion.usage and completion.usage.thoughts):
        said = choice.message.content or choice.message.reasoning_content
        return str(said or choice.message.reasoning or "no word of an answer")
    return ""
