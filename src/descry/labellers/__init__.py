"""Labellers: whoever answers the prompts.

A labeller says who it is (model, revision, dtype, decoding): that and the rendered prompt make the
cache key. It is loaded only when an answer is missing.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from descry.cache import Request
from descry.errors import InputError
from descry.prompts import Prompt, Task

JSON = Any
Frame = tuple[str, str]  # what a chat template puts before and behind a prompt
NO_FRAME: Frame = ("", "")
Price = tuple[float, float]  # dollars per million tokens, in and out


@dataclass(frozen=True)
class Identity:
    """What makes a labeller's answers its own."""

    name: str  # as shown to people: says whether a generative model stood behind it
    model: str
    revision: str
    dtype: str
    decoding: str

    def as_json(self) -> dict[str, str]:
        """For the files that hold this labeller's answers."""
        return asdict(self)

    def request(self, prompt: Prompt, frame: Frame = NO_FRAME) -> Request:
        """The cache's request for a prompt."""
        text = frame[0] + prompt.text + frame[1]
        return Request(prompt.task, self.model, self.revision, self.dtype, text, self.decoding)

    def answered(self, origin: JSON) -> bool:
        """Whether the answers of an origin of the cache are this labeller's."""
        return all(origin[name] == value for name, value in self.as_json().items())


class Answer(NamedTuple):
    """What a labeller answered to one prompt.

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


class OtherWayError(Exception):
    """A labeller has had to change how it asks: its identity, and so every key, is another now."""


class Labeller(Protocol):
    """Answers prompts."""

    @property
    def identity(self) -> Identity:
        """Who answers. Known without loading anything."""

    @property
    def frame(self) -> Frame:
        """What its chat template puts around a prompt. May load the tokenizer."""

    @property
    def server(self) -> JSON:
        """Where a remote labeller answered, for the record; None for a local one."""

    @property
    def price(self) -> Price | None:
        """What its tokens cost; None where nothing is paid."""

    @property
    def packages(self) -> Sequence[str]:
        """The packages whose versions belong into the record of an answer."""

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, in groups that are stored together.

        All prompts are given, so that the plan of batches does not depend on which are wanted.
        """


@runtime_checkable
class Adaptable(Protocol):
    """A labeller whose way of asking, a part of its identity, depends on what a server refuses.

    `answer` raises OtherWayError when that shows, before there is an answer in the old way.
    """

    def go_on(self, stored: Sequence[JSON]) -> None:
        """Ask as for the stored answers, where there are any of its own.

        Args:
            stored: origins of answers, those with the most answers first.
        """


def create(
    spec: JSON,
    task: Task,
    *,
    max_descriptors: int | None = None,
    descriptors: dict[str, dict[str, int]] | None = None,
    corpus: Sequence[str] | None = None,
) -> Labeller:
    """The labeller that a spec of params.yaml names, for one of the tasks.

    Args:
        max_descriptors: for p1, how many descriptors a sentence may get.
        descriptors: for all but p1, the raw descriptors (and their mentions) of every descriptor.
        corpus: for all but p1, the sentences that the embedded labeller is fitted to.

    Raises:
        InputError: a person is to answer another question than those of the sheet.
    """
    match spec["kind"]:
        case "embedded":
            from descry.labellers.embedded import EmbeddedLabeller
            from descry.models import Checkpoint

            checkpoint = Checkpoint(spec["model"], spec["revision"], spec.get("pickled", False))
            return EmbeddedLabeller(checkpoint, max_descriptors, descriptors, corpus)
        case "transformers":
            from descry.labellers.generative import GenerativeLabeller

            return GenerativeLabeller(task, **_options(spec))
        case "openai":
            from descry.labellers.endpoint import EndpointLabeller

            return EndpointLabeller(task, **_options(spec))
        case "human":
            from descry.labellers.human import HumanLabeller

            if task in ("intruder", "simulation"):
                raise InputError(
                    f"{spec['model']} (human): people answer p2 alone, through the sheet: name"
                    f" another labeller for {task}, or leave it out (score.scorers)"
                )
            return HumanLabeller(**_options(spec))
    raise AssertionError(spec["kind"])


def _options(spec: JSON) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "kind"}
