"""The cost of prompts that are not in the cache, slab by slab."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from descry.annotators.base import Frame, Identity, Price
from descry.annotators.chunks import part, starts
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import Prompt


class Survey(NamedTuple):
    """The missing prompts: how many, about how many tokens, and the text of the first."""

    missing: int
    tokens: int
    first: str


CHARACTERS = 4.0  # of English text to a token, about


def survey(
    cache: PromptCache,
    identity: Identity,
    frame: Frame,
    prompts: Sequence[Prompt],
    chunks: Iterable[int] | None = None,
    *,
    failed: bool = True,
) -> Survey:
    """Count the prompts that have no answer, without asking anything.

    Args:
        slabs: where those begin that count; None for all.
        failed: whether those count that failed before.
    """
    missing, characters, first = 0, 0, ""
    for start in starts(prompts) if chunks is None else chunks:
        distinct = {identity.request(prompt, frame).key: prompt for prompt in part(prompts, start)}
        known = cache.known(list(distinct))
        if not failed:
            known |= cache.failed(list(distinct)).keys()
        texts = [prompt.text for key, prompt in distinct.items() if key not in known]
        missing += len(texts)
        characters += sum(len(text) + len(frame[0]) + len(frame[1]) for text in texts)
        first = first or next(iter(texts), "")
    return Survey(missing, round(characters / CHARACTERS), first)


def cost(tokens_in: int, tokens_out: int, price: Price) -> float:
    """Return the dollars for a number of tokens."""
    return (tokens_in * price[0] + tokens_out * price[1]) / 1e6


def halved(price: Price) -> Price:
    """Return half a price, which most providers take for a batch."""
    return price[0] / 2, price[1] / 2
