"""Labellers answer the prompts p1 and p2; all of them through the prompt cache.

A labeller says who it is (model, revision, dtype, decoding): that and the prompt make the cache
key. It is loaded only when an answer is missing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from descry.cache import PromptCache, Request
from descry.errors import InputError
from descry.prompts import Prompt, UnparsableError

JSON = Any


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

    def request(self, prompt: Prompt) -> Request:
        """The cache's request for a prompt."""
        return Request(
            prompt.task, self.model, self.revision, self.dtype, prompt.text, self.decoding
        )


class Labeller(Protocol):
    """Answers prompts. The order of answers is the order of prompts."""

    @property
    def identity(self) -> Identity:
        """Who answers."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[JSON]:
        """One response per prompt: {"text": ...} for p1, {"yes": ..., "no": ...} for p2.

        yes and no are log-probabilities.
        """


@dataclass
class Outcome:
    """The responses by position (None where it failed), and the counts of a run."""

    responses: list[JSON]
    keys: list[str]
    cached: int = 0
    asked: int = 0
    failures: Counter[str] = field(default_factory=Counter)


Check = Callable[[JSON], object]
Progress = Callable[[str, int, int], None]  # what, done, total


def ask(
    cache: PromptCache,
    labeller: Labeller,
    prompts: Sequence[Prompt],
    *,
    check: Check,
    max_failures: float,
    progress: Progress,
    batch: int = 512,
    versions: dict[str, str],
) -> Outcome:
    """Answer every prompt, from the cache where it is there, and store what is new.

    Args:
        check: raises UnparsableError for a response that must not be stored.
        max_failures: the share of prompts that may fail before the run does.
        progress: is told how many prompts are done.

    Raises:
        InputError: more failures than allowed; the good answers are kept.
    """
    identity = labeller.identity
    keys = [identity.request(prompt).key for prompt in prompts]
    known = cache.answers(keys)
    missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
    outcome = Outcome([], keys, cached=len(keys) - len(missing), asked=len(missing))
    done = outcome.cached
    progress(identity.name, done, len(keys))
    queue = list(missing.items())
    answers = labeller.answer([prompt for _, prompt in queue]) if queue else iter(())
    for start in range(0, len(queue), batch):
        part = queue[start : start + batch]
        good: dict[str, JSON] = {}
        bad: dict[str, JSON] = {}
        for (key, prompt), response in zip(part, answers, strict=False):
            record = {"request": asdict(identity) | {"task": prompt.task}, "versions": versions}
            reason = _fault(response, check)
            if reason is None:
                good[key] = record | {"response": response}
            else:
                # As repr: what failed need not be JSON (a NaN is not).
                bad[key] = record | {"response": repr(response), "reason": reason}
        if len(good) + len(bad) < len(part):
            raise RuntimeError(
                f"{identity.name} left {len(part) - len(good) - len(bad)} prompts out"
            )
        cache.store(good)
        cache.fail(bad)
        outcome.failures.update(record["reason"] for record in bad.values())
        known |= {key: record["response"] for key, record in good.items()}
        done += len(part)
        progress(identity.name, done, len(keys))
    outcome.responses = [known.get(key) for key in keys]
    failed = sum(outcome.failures.values())
    if failed > max_failures * len(prompts):
        reasons = ", ".join(f"{n} {reason}" for reason, n in outcome.failures.most_common())
        raise InputError(
            f"{identity.name}: {failed} of {len(prompts)} answers failed ({reasons}): more than"
            f" max_failures allows ({max_failures:.1%}); good answers are kept in {cache.folder}"
        )
    return outcome


def _fault(response: JSON, check: Check) -> str | None:
    """Why a response must not be stored; None if it may."""
    try:
        check(response)
    except UnparsableError as reason:
        return str(reason)
    return None


def create(
    spec: dict[str, str],
    *,
    max_descriptors: int | None,
    descriptors: dict[str, dict[str, int]] | None,
    corpus: Sequence[str] | None,
) -> Labeller:
    """The labeller that a spec {kind, model, revision} of params.yaml names.

    Args:
        max_descriptors: for p1, how many descriptors a sentence may get.
        descriptors: for p2, the raw descriptors (and their mentions) of every descriptor.
        corpus: for p2, the sentences that will be asked about.

    Raises:
        InputError: the kind cannot be had here.
    """
    from descry.labellers.embedded import EmbeddedLabeller
    from descry.models import Checkpoint

    if spec["kind"] != "embedded":
        raise InputError(
            f"labeller {spec['kind']} ({spec['model']}): only `embedded` is built in yet"
        )
    checkpoint = Checkpoint(spec["model"], spec["revision"])
    return EmbeddedLabeller(checkpoint, max_descriptors, descriptors, corpus)
