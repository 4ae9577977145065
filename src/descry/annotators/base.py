"""Annotators: what answers the prompts.

An annotator has an identity (model, revision, dtype, decoding): that and the rendered prompt make
the cache key. It is loaded only when an answer is missing.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from descry.annotators.prompt_cache.store import Request
from descry.annotators.prompts import Prompt
from descry.io.hashing import JSON

Frame = tuple[str, str]  # what a chat template puts before and behind a prompt
NO_FRAME: Frame = ("", "")
HUMAN_DTYPE = "human"  # in place of a model's number format; no model has this one
Price = tuple[float, float]  # dollars per million tokens, in and out


@dataclass(frozen=True)
class Identity:
    """Everything that decides an annotator's answers: part of every key of the cache."""

    name: str  # as shown to people: says whether a generative model stood behind it
    model: str
    revision: str
    dtype: str
    decoding: str

    def as_json(self) -> dict[str, str]:
        """Return the identity for files that hold this annotator's answers."""
        return asdict(self)

    def request(self, prompt: Prompt, frame: Frame = NO_FRAME) -> Request:
        """Return the cache's request for a prompt."""
        text = frame[0] + prompt.text + frame[1]
        return Request(prompt.task, self.model, self.revision, self.dtype, text, self.decoding)

    def answered(self, origin: JSON) -> bool:
        """Whether the answers of an origin of the cache belong to this annotator."""
        return all(origin[name] == value for name, value in self.as_json().items())


class Answer(NamedTuple):
    """What an annotator answered to one prompt.

    Attributes:
        response: {"text", "finish"}, or for p2 {"yes", "no"} as log-probabilities; None where there
            is only a fault.
        tokens: in and out.
        cut: tokens by which the sentence was shortened to fit.
        fault: why there is no response.
        remark: what is worth a line about the way in which it was got; few different ones.
    """

    response: JSON
    tokens: tuple[int, int] = (0, 0)
    cut: int = 0
    fault: str | None = None
    remark: str | None = None


class VariantChangedError(Exception):
    """An annotator had to change how it asks: its identity, and so every key, changes."""


class Annotator(Protocol):
    """Answers prompts."""

    @property
    def identity(self) -> Identity:
        """The identity of the annotator, known without loading anything."""

    @property
    def frame(self) -> Frame:
        """What its chat template puts around a prompt. May load the tokenizer."""

    @property
    def server(self) -> JSON:
        """Address of a remote annotator, for the record; None for a local one."""

    @property
    def price(self) -> Price | None:
        """Price of its tokens; None if they are free."""

    @property
    def quantization(self) -> str | None:
        """Format of quantised weights; None if they are not quantised, or nobody knows."""

    @property
    def packages(self) -> Sequence[str]:
        """The packages whose versions the record of an answer has."""

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, in groups that are stored together.

        All prompts are given, so that the plan of batches does not depend on which are wanted.
        """


@runtime_checkable
class Adaptable(Protocol):
    """An annotator whose way of asking, a part of its identity, depends on what a server refuses.

    `answer` raises VariantChangedError when that shows, before there is an answer in the old way.
    """

    def go_on(self, stored: Sequence[JSON]) -> None:
        """Ask in the same way as for the stored answers, if there are any.

        Args:
            stored: origins of answers, those with the most answers first.
        """
