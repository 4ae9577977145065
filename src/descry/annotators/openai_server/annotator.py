"""A model behind any OpenAI-compatible server (vLLM, llama.cpp, Ollama, a provider's own).

Here is what the openai client does not know: which answers are data, when to stop, and that nothing
paid is lost.

The cache's key is wanted before a server is asked, so for p2 it says "log-probabilities where
given": either kind is the answer of this model to this prompt, and is stored as what it is. The
variant in which a server is asked is part of the key. The first response that speaks against one is
only a suspicion: a fixed question then finds the variant that this server allows, whichever prompt
came first. From the first answer on, the variant is settled: it stands in the origin of every
answer, so that the next session, and a replay without a server, begin with it.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from queue import Empty, SimpleQueue
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING

from descry.annotators.base import NO_FRAME, Answer, Frame, Identity, Price, VariantChangedError
from descry.annotators.batch_job import BatchJob
from descry.annotators.cost import halved
from descry.annotators.openai_server.batch.lines import Refused, RequestLines
from descry.annotators.openai_server.batch.run import BatchRun
from descry.annotators.openai_server.chat import TOPS, Chat, LostAnswer
from descry.annotators.openai_server.connection import Connection, StoppedError
from descry.annotators.openai_server.constraints import constraints
from descry.annotators.openai_server.log_probabilities import NEITHER, QUOTED, likeliest, scored
from descry.annotators.openai_server.refusal import TOO_LONG, Refusal, about_prompt
from descry.annotators.openai_server.request_variant import RequestVariant, variant_of
from descry.annotators.openai_server.schema import Choice, Completion, Token
from descry.annotators.prompts import NO, WORDS, YES, Prompt, Task
from descry.annotators.thoughts import opens_thought
from descry.errors import InputError
from descry.io.hashing import JSON, canonical

if TYPE_CHECKING:
    from openai import OpenAI

_Outcome = tuple[int, Answer | BaseException]  # of a prompt, by its row
_MOMENT = 0.2  # seconds to gather answers that are stored together
ONLY_THOUGHTS = "thoughts and no answer (write, or raise, `thinking`: tokens for thoughts)"
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


class EndpointAnnotator:
    """Answers in words, and p2 by log-probabilities where the server gives them."""

    frame: Frame = NO_FRAME
    quantization = None
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
        mode: str = "live",
        batch_price: Sequence[float] | None = None,
        constrain: bool | None = None,
        max_descriptors: int | None = None,
    ) -> None:
        self.task = task
        self.model, self.revision, self.dtype = model, revision, dtype
        self.connection = Connection(base_url, api_key_env, timeout, retries)
        self.host = self.connection.host
        self.max_new_tokens, self.concurrency, self.thinking = max_new_tokens, concurrency, thinking
        self.batches = mode == "batch"
        self.live_price: Price | None = None if price is None else (price[0], price[1])
        self.batch_price = self.live_price and halved(self.live_price)
        if batch_price is not None:
            self.batch_price = batch_price[0], batch_price[1]
        words = max_new_tokens if task == "p1" else WORDS
        top = TOPS[0] if task == "p2" and not thinking else 0
        self._chat = Chat(self.connection, model, tokens=words + (thinking or 0), top=top)
        self._constraints = constraints(task, max_descriptors) if constrain else []
        # Learnt from the server.
        self._tried = not self._constraints  # to constrain answers
        self._variant = RequestVariant()
        self._settled = False  # there are answers that were got in this variant
        self._finding = Lock()  # of the variant
        self._counting = Lock()
        self._lost = 0  # prompts in a row without any answer
        self._too_long = set[str]()  # sentences, while nothing else was answered

    @property
    def identity(self) -> Identity:
        """Who answers, wherever the server stands, and in which variant it is asked.

        Its revision is the model that the server reports: the nearest to a commit that there is.
        """
        return Identity(
            name=f"{self.model} at {self.host}",
            model=self.model,
            revision=self.revision,
            dtype=self.dtype,
            decoding=self._decoding(self._variant),
        )

    def _decoding(self, variant: RequestVariant) -> str:
        decoding: JSON = {"endpoint": "chat.completions", "temperature": 0}
        if self.task == "p2":
            words = f"{WORDS} tokens of words"
            how = f"log-probabilities of the first token where given, else {words}"
            decoding |= {"answers": [YES, NO], "scoring": words if self.thinking else how}
        else:
            decoding["max_new_tokens"] = self.max_new_tokens if self.task == "p1" else WORDS
        if self.thinking:
            decoding["thinking"] = self.thinking  # tokens besides
        if "temperature" in variant.without:
            del decoding["temperature"]
        return canonical(decoding | variant.as_json())

    def go_on(self, stored: Sequence[JSON]) -> None:
        """Ask in the variant in which most of the stored answers of this annotator were got."""
        mine, plain = self.identity, list[RequestVariant]()
        for origin in stored:
            same = all(origin[name] == getattr(mine, name) for name in _SAME)
            variant = variant_of(origin["decoding"]) if same else None
            if variant is None or self._decoding(variant) != origin["decoding"]:
                continue
            if variant.constraint:
                if any(variant.constraint == one.sent for one in self._constraints):
                    self._variant, self._settled, self._tried = variant, True, True
                    self._chat.top = 0  # constrained answers are words
                    return
            elif not plain:
                plain.append(variant)
        if plain:  # where a constraint is wanted, the server may have become able to obey one
            self._variant, self._settled = plain[0], self._tried

    @property
    def server(self) -> JSON:
        """The address of the server, and the model that the server reports."""
        return {"base_url": self.connection.base_url, "model": self.revision}

    @property
    def price(self) -> Price | None:
        """The price of tokens in the mode of the requests (live or batch)."""
        return self.batch_price if self.batches else self.live_price

    # In batches

    def fill(self, job: BatchJob) -> int:
        """Give each prompt of a job an answer or a failure in the cache (`Batching`)."""
        self._check_pinned()
        with self._run(job) as run:
            return run.run()

    def pending(self, job: BatchJob) -> int:
        """How many prompts are in batches that are not imported (`Batching`)."""
        with self._run(job) as run:
            return run.pending()

    def _run(self, job: BatchJob) -> BatchRun:
        client = partial(self.connection.open, Event(), hurry=False)
        return BatchRun(self, job, client, self.connection.retries)

    def batch_requests(self, client: "OpenAI") -> tuple[RequestLines, int]:
        """Requests in the variant that one short question finds, and how they are scored.

        Raises:
            VariantChangedError: it is another one than so far; the next call finds no other.
            InputError: the server refuses, is another model, or will not be asked as for the
                answers that are kept.
        """
        if self._settled:
            found = self._chat.allowed(client, self._variant)
            if isinstance(found, Refusal):
                raise self._chat.refused(found)
            if lost := sorted({*found[0].without} - {*self._variant.without}):
                raise InputError(f"{self._chat.where}: refuses {lost[0]}{_bound(lost[0])}")
        else:
            found = self._found(client)
        variant, completion = found
        if completion.model != self.revision:
            raise self._another(completion.model)
        if variant != self._variant:
            self._variant = variant
            raise VariantChangedError
        return RequestLines(self.model, self._chat.options(variant)), self._chat.top

    def batch_answer(self, came: Completion | Refused | str, top: int) -> Answer:
        """The answer in what came of a request of a batch; nothing in it ends the run."""
        line = self.connection.line
        if isinstance(came, str):
            return Answer(None, fault=came)
        if isinstance(came, Refused):
            return self._not_answered(came)
        if came.model != self.revision:
            return Answer(None, _spent(came), fault=f"answered by the model {line(came.model)!r}")
        choice = came.choices[0]
        listed = choice.listed() if top else None
        if (answer := self._filtered(choice)) is None:
            try:
                answer = self._read(choice, listed, top)
            except InputError:  # live, this ends the run before more is spent
                answer = Answer(None, fault="log-probabilities are of numbers of tokens")
            # The likeliest token is Yes or No where there is no other one instead.
            greedy = listed and answer.fault is None and "instead" not in answer.response
            if not greedy and self._thinks(choice, listed):
                answer = Answer(answer.response, fault=ONLY_THOUGHTS)
        return answer._replace(tokens=_spent(came))

    def remark_on(self, prompt: Prompt) -> str | None:
        """That a prompt holds control tokens."""
        return CONTROL if any(map(_CONTROL.search, prompt.shown)) else None

    def _not_answered(self, came: Refused) -> Answer:
        line = self.connection.line
        said = Refusal(came.status or HTTPStatus.BAD_REQUEST, came.said, came.complaint, 1)
        code = line(came.code).replace("_", " ")
        fault = f"HTTP {came.status}" if came.status else code or "not sent by the server"
        return about_prompt(said) or Answer({"said": line(came.said)}, fault=fault)

    # Live

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, as the answers come.

        Raises:
            InputError: the server refuses, is another model, or is gone; what it had answered has
                been yielded before.
        """
        self._check_pinned()
        outcomes: SimpleQueue[_Outcome] = SimpleQueue()
        stop = Event()
        with self.connection.open(stop) as client:
            self._constrain(client)

            def work(row: int) -> None:
                try:
                    if not stop.is_set():
                        answer = self._answer(client, prompts[row])
                        outcomes.put((row, answer))
                        self._count(prompts[row], answer)
                except StoppedError:
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
                    group, errors = _parted(came)
                    if group:
                        yield group
                pool.shutdown(cancel_futures=True)  # waits for what is in flight
                late, more = _parted([outcomes.get() for _ in range(outcomes.qsize())])
                if late:
                    yield late
                for error in errors + more:
                    raise error
            finally:
                stop.set()
                # A caller that stops reading does not wait.
                pool.shutdown(wait=False, cancel_futures=True)

    def _check_pinned(self) -> None:
        if self.revision == "unpinned":
            raise InputError(f"{self.model}: revision unpinned: run `descry pin`")

    def _count(self, prompt: Prompt, answer: Answer) -> None:
        """Stop when too many prompts in a row were lost, or nothing at all is short enough."""
        url, said = self.connection.base_url, self._chat.said
        with self._counting:
            most = max(3 * self.concurrency, 10)
            self._lost = self._lost + 1 if isinstance(answer, LostAnswer) else 0
            if self._lost > most:
                raise InputError(
                    f"{url}: the server does not answer: {self._lost} prompts in a row came to"
                    f" nothing (the last: {said})"
                )
            if answer.fault == TOO_LONG and not self._settled:
                self._too_long.add(prompt.sentence)
                if len(self._too_long) > most:
                    raise InputError(
                        f"{url}: every prompt is too long for the server ({said}): start it with a"
                        " longer context, or lower corpus.max_words"
                    )

    def _answer(self, client: "OpenAI", prompt: Prompt) -> Answer:
        """Ask one prompt; for p2 once more where the server turns out to give words only.

        Raises:
            VariantChangedError: the server is to be asked in another variant from now on.
            InputError: a refusal that asking again will not change.
        """
        chat, variant, spent = self._chat, self._variant, (0, 0)
        while True:
            top, came = chat.complete(client, prompt.text, variant)
            if isinstance(came, Refusal):
                if came.option(variant):
                    self._suspect(client, variant)
                raise self._refused(came)
            if isinstance(came, Answer):
                return came._replace(tokens=spent)
            if came.model != self.revision:
                raise self._another(came.model)
            tokens = _spent(came)
            spent = spent[0] + tokens[0], spent[1] + tokens[1]
            choice = came.choices[0]
            if (filtered := self._filtered(choice)) is not None:
                return filtered._replace(tokens=spent)
            listed = choice.listed() if top else None
            if top and listed is None and not chat.scoring:
                chat.top = 0
                continue
            if self._thinks(choice, listed):
                self._suspect(client, variant)
            remark = self.remark_on(prompt)
            return self._read(choice, listed, top)._replace(tokens=spent, remark=remark)

    def _filtered(self, choice: Choice) -> Answer | None:
        """That the server will not answer, where it says so."""
        if not (choice.message.refusal or choice.finish_reason == "content_filter"):
            return None
        text = self.connection.clean(choice.message.refusal or choice.message.content or "")
        return Answer({"text": text, "finish": "content_filter"})

    def _thinks(self, choice: Choice, listed: list[Token] | None) -> bool:
        """Whether there are thoughts in place of an answer, and should be none."""
        opens = choice.unanswered if listed is None else opens_thought(likeliest(listed).token)
        return opens and not self.thinking

    def _suspect(self, client: "OpenAI", variant: RequestVariant) -> None:
        """Find out in which variant this server is to be asked, unless there are answers in this.

        Raises:
            VariantChangedError: it is another one than the given.
            InputError: there is none.
        """
        with self._finding:
            if not self._settled and self._variant == variant:
                self._variant, _ = self._found(client)
                self._settled = self._variant == variant  # a false alarm, and the last one
            if self._variant != variant:
                raise VariantChangedError

    def _found(self, client: "OpenAI") -> tuple[RequestVariant, Completion]:
        """The variant in which this server is to be asked, and what it answers then."""
        thinking = bool(self.thinking)
        found = self._chat.find_variant(client, thinking=thinking, constraints=self._constraints)
        self._tried = True
        return found

    def _constrain(self, client: "OpenAI") -> None:
        """Find out, before the first prompt, which constraint the server obeys.

        Raises:
            VariantChangedError: it obeys one, or is to be asked in another variant at all.
        """
        if not self._tried:
            before = self._variant
            self._variant, said = self._found(client)
            if said.model != self.revision:
                raise self._another(said.model)
            if self._variant != before:
                raise VariantChangedError

    def _read(self, choice: Choice, listed: list[Token] | None, top: int) -> Answer:
        """The answer in a choice."""
        if not top:
            answer = self._words(choice)
        elif listed is None:
            return Answer(None, fault="no log-probabilities")
        else:
            self._chat.scoring = True
            answer = scored(listed, self.connection.clean)
            if answer.fault == NEITHER and all(token.is_id for token in listed):
                raise self._ids(listed)
        self._settled = self._settled or answer.fault is None
        return answer

    def _words(self, choice: Choice) -> Answer:
        clean, line = self.connection.clean, self.connection.line
        text, finish = choice.message.content, line(choice.finish_reason or "none")
        if text is None and finish != "length":  # that is thoughts that were cut off
            return Answer(None, fault="no text")
        fault = ONLY_THOUGHTS if choice.only_thoughts else None
        return Answer({"text": clean(text or ""), "finish": finish}, fault=fault)

    def _refused(self, refusal: Refusal) -> InputError:
        option = refusal.option(self._variant) if self._settled else None
        return self._chat.refused(refusal, _bound(option) if option else "")

    def _ids(self, listed: list[Token]) -> InputError:
        came = ", ".join(repr(self.connection.line(token.token)) for token in listed[:QUOTED])
        return InputError(
            f"{self._chat.where}: its log-probabilities are of numbers of tokens ({came}), not of"
            " their texts: start the server so that it gives texts (vLLM: without"
            " --return-tokens-as-token-ids)"
        )

    def _another(self, reported: str) -> InputError:
        name = self.connection.line(reported)
        return InputError(
            f"{self._chat.where}: the server reports the model {name!r}, params.yaml has the"
            f" revision {self.revision!r}: to ask this one, write `revision: {canonical(name)}`"
        )


def _bound(option: str) -> str:
    return (
        f"; answers that are kept were asked with {option}, which must stay so: to ask without it,"
        " give the model another `revision`, or use another cache"
    )


def _spent(completion: Completion) -> tuple[int, int]:
    usage = completion.usage
    return (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)


def reported_model(spec: JSON) -> str:
    """The model that a spec's server reports, by one short question: what to write as its revision.

    Raises:
        InputError: the server cannot be reached, refuses, or reports no usable name.
    """
    connection = Connection(*(spec[k] for k in ("base_url", "api_key_env", "timeout", "retries")))
    chat = Chat(connection, spec["model"], tokens=WORDS + (spec.get("thinking") or 0), top=0)
    with connection.open(Event()) as client:
        found = chat.allowed(client, RequestVariant())
    if isinstance(found, Refusal):
        raise chat.refused(found)
    name = connection.line(found[1].model)
    if not name or not found[1].model.isprintable():
        raise InputError(f"{chat.where}: reports no model name ({name!r})")
    return name


def _gathered(outcomes: SimpleQueue[_Outcome], most: int) -> Iterator[_Outcome]:
    """Waits for one, and a moment more for others."""
    yield outcomes.get()
    until = monotonic() + _MOMENT
    while (most := most - 1) and (left := until - monotonic()) > 0:
        try:
            yield outcomes.get(timeout=left)
        except Empty:
            return


def _parted(came: Sequence[_Outcome]) -> tuple[list[tuple[int, Answer]], list[BaseException]]:
    """Answers with the rows of their prompts, and errors."""
    answers = [(row, outcome) for row, outcome in came if isinstance(outcome, Answer)]
    return answers, [outcome for _, outcome in came if isinstance(outcome, BaseException)]
