"""The interface between a stage and an annotator that answers in batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from descry.annotators.base import Frame, Price
from descry.annotators.counts import Counts
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import Prompt
from descry.io.hashing import JSON


@dataclass(frozen=True)
class BatchJob:
    """Prompts whose missing answers the cache needs.

    Attributes:
        cache: where answers are and go; pending batches are recorded in `cache.batches`.
        chunks: where each slab of `prompts` begins that counts.
        again: whether prompts that failed before are asked again.
        fault: why a response is no answer; None if it is one.
        tally: takes the counts, except for failures: these are in the cache's ledger.
        told: is called after each change of the tally.
    """

    cache: PromptCache
    frame: Frame
    prompts: Sequence[Prompt]
    chunks: Sequence[int]
    again: bool
    fault: Callable[[JSON], str | None]
    tally: Counts
    told: Callable[[], None]


@runtime_checkable
class Batching(Protocol):
    """An annotator that can answer many prompts together, hours later, at another price."""

    @property
    def batches(self) -> bool:
        """Whether prompts are asked in batches."""

    @property
    def batch_price(self) -> Price | None:
        """Dollars per million tokens in a batch; None if unknown."""

    @property
    def live_price(self) -> Price | None:
        """Dollars per million tokens of single prompts; None if unknown."""

    def fill(self, job: BatchJob) -> int:
        """Store an answer or a failure for each prompt of a job; may wait for hours.

        Returns:
            How many of the prompts had an answer before.

        Raises:
            VariantChangedError: before anything was submitted, as `Adaptable` says.
            InputError: the server refuses or is gone; the next call resumes the submitted batches.
        """

    def pending(self, job: BatchJob) -> int:
        """How many prompts of this annotator are in batches that are not imported yet."""
