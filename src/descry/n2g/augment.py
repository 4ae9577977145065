"""Prompts in which other words replace the words that matter (Foote et al. 2023).

Where the words come from is told from outside: a masked language model or the nearest words of the
model's own vocabulary (substitutes.py). An augmented prompt is the old one's tokens with those of
one word exchanged, so that every other token stays what it was.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descry.corpus.words import Span
from descry.n2g.batching import Plan, Prompt
from descry.n2g.prune import Pruned

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
Spell = Callable[[str, str], Prompt]


class Gap(NamedTuple):
    """A word between what stands before it and after it."""

    before: str
    word: str
    after: str


@dataclass(frozen=True)
class Augmenter:
    """Where substitutes come from.

    Attributes:
        propose: for each gap the words for it, the best first, none of them the one that was there.
        spell: tokens of a word as it stands behind a character, or behind none; no tokens where it
            cannot stand there.
    """

    propose: Callable[[Sequence[Gap]], list[list[str]]]
    spell: Spell


class Word(NamedTuple):
    """A word of a part.

    Attributes:
        places: of its tokens in the part.
        gap: that it would leave there.
        behind: the character before it in the whole text, if any.
    """

    places: Span
    gap: Gap
    behind: str


class Variant(NamedTuple):
    """An augmented prompt.

    Attributes:
        places: of the key token; of all tokens of the new word where the key token was in the old.
    """

    prompt: Prompt
    places: Span


class Measured(NamedTuple):
    """A variant's activations, float [tokens] or [1], and whether they dropped by no more."""

    variant: Variant
    activations: np.ndarray
    positive: bool


def important_words(pruned: Pruned, matters: np.ndarray, *, threshold: float) -> list[Word]:
    """The alphabetic words of a part that matter to its key token.

    Args:
        matters: float [tokens], the importance of the part's tokens.
        threshold: what that of one of a word's tokens is at least.
    """
    return [
        word
        for word in _words(pruned)
        if word.gap.word.isalpha() and matters[slice(*word.places)].max() >= threshold
    ]


def _words(pruned: Pruned) -> Iterator[Word]:
    """The words of a part that are made up of whole tokens of it."""
    string, spans = pruned.text.string, pruned.text.spans[slice(*pruned.span)]
    first, last = spans[0][0], spans[-1][1]
    for found in _WORD.finditer(string):
        start, end = found.span()
        inside = [k for k, (one, other) in enumerate(spans) if one < end and other > start]
        if inside and spans[inside[0]][0] == start and spans[inside[-1]][1] == end:
            gap = Gap(string[first:start], found.group(), string[end:last])
            yield Word((inside[0], inside[-1] + 1), gap, string[:start][-1:])


def variants(
    pruned: Pruned,
    words: Sequence[Word],
    proposed: Sequence[Sequence[str]],
    spell: Spell,
    limit: int,
) -> list[Variant]:
    """The prompts in which one word of a part is another, each once.

    Args:
        proposed: for each word the others.
        limit: tokens of a prompt; longer ones are left out.
    """
    found: dict[Prompt, Variant] = {}
    for word, others in zip(words, proposed, strict=True):
        for other in others:
            tokens = spell(word.behind, other)
            variant = _exchanged(pruned, word.places, tokens)
            if tokens and len(variant.prompt) <= limit and variant.prompt != pruned.prompt:
                found.setdefault(variant.prompt, variant)
    return list(found.values())


def _exchanged(pruned: Pruned, places: Span, tokens: Prompt) -> Variant:
    """The prompt with other tokens at some places."""
    first, last = places
    prompt = (*pruned.prompt[:first], *tokens, *pruned.prompt[last:])
    longer = len(tokens) - (last - first)
    if first <= pruned.key < last:
        return Variant(prompt, (first, last + longer))
    key = pruned.key + (longer if pruned.key >= last else 0)
    return Variant(prompt, (key, key + 1))


def measure(pruned: Pruned, tried: Sequence[Variant], *, drop: float) -> Plan[list[Measured]]:
    """Plan the activations of variants.

    Args:
        drop: share of the part's activation at the key token that a positive one may lose.
    """
    found = yield [variant.prompt for variant in tried]
    least = (1 - drop) * float(pruned.activations[pruned.key])
    return [
        Measured(variant, values, bool(_at(values, variant.places) >= least))
        for variant, values in zip(tried, found, strict=True)
    ]


def _at(values: np.ndarray, places: Span) -> float:
    return float(values[slice(*places)].max() if len(values) > 1 else values[0])


def suitable(word: str, ranked: Iterable[str], *, number: int) -> list[str]:
    """Return the first of ranked candidates that can replace a word, in its case.

    They are alphabetic, and neither the word itself nor each other in another case.
    """
    found: dict[str, str] = {}
    for candidate in ranked:
        folded = candidate.casefold()
        if len(found) == number:
            break
        if candidate.isalpha() and folded != word.casefold() and folded not in found:
            found[folded] = in_case(candidate, word)
    return list(found.values())


def in_case(candidate: str, word: str) -> str:
    """A candidate in the case of a word: with a capital, or all capitals, where that has them."""
    if word.isupper() and len(word) > 1:
        return candidate.upper()
    return candidate[:1].upper() + candidate[1:] if word[:1].isupper() else candidate
