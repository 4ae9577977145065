"""Prompts in slabs: what is looked up, and planned into batches, together."""

from collections.abc import Sequence

from descry.annotators.prompts import Prompt

# Part of the results' last digits: a batch's padding moves them, and what stands in a batch must
# not depend on where a run was killed.
CHUNK = 8192  # prompts


def starts(prompts: Sequence[Prompt]) -> range:
    """Where each slab begins."""
    return range(0, len(prompts), CHUNK)


def size(prompts: Sequence[Prompt], start: int) -> int:
    """How many prompts the slab has that starts there."""
    return min(CHUNK, len(prompts) - start)


def part(prompts: Sequence[Prompt], start: int) -> list[Prompt]:
    """The prompts of the slab that starts there."""
    return [prompts[i] for i in range(start, start + size(prompts, start))]
