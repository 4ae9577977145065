"""The shortest part of a text that still excites a neuron (Foote et al. 2023).

Lengths are tried from the shortest on, and the first part is taken in which the key token, the one
with the highest activation in the whole text, is still the highest and has dropped by no more than
a given share. (A key token that is not the highest must still be at least as high as all that were
no higher than it.) In a decoder a part ends with the key token. In an encoder what follows counts,
too: parts grow on both sides of it until one is found, which is then shortened before the key token
and behind it. Of a neuron that has one activation a text, the shortest end of the text is taken,
and the shortest beginning of that.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from descry.corpus.words import Span
from descry.n2g.batching import Plan, Prompt
from descry.n2g.texts import Text

Holds = Callable[[Span, np.ndarray], bool]
_Found = tuple[Span, np.ndarray]


class Pruned(NamedTuple):
    """The part of a text that is kept.

    Attributes:
        text: the whole.
        span: its tokens that are kept.
        key: place of the key token in the part; 0 where a prompt has one activation.
        activations: float [tokens], or [1], of the part.
        before: as above, what they were in the whole text.
        scale: by which they are to be multiplied, so that the key token has what it had before.
    """

    text: Text
    span: Span
    key: int
    activations: np.ndarray
    before: np.ndarray
    scale: float

    @property
    def prompt(self) -> Prompt:
        """Its tokens."""
        return self.text.tokens[slice(*self.span)]


def lengths(longest: int, *, step: int, until: int | None) -> list[int]:
    """The lengths that are tried: every `step`-th up to `until`, then the longest."""
    last = longest if until is None else min(until, longest)
    return [*(n for n in range(step, last + 1, step) if n < longest), longest]


def prune_token(
    text: Text,
    values: np.ndarray,
    key: int,
    *,
    both_sides: bool,
    drop: float,
    step: int,
    until: int | None,
    following: int,
) -> Plan[Pruned]:
    """Plan the part around a key token of a text.

    Args:
        values: float [tokens] of the whole text; that of the key token is above 0.
        key: its place.
        both_sides: what follows a token can change its activation.
        drop: share of its activation that the key token may lose, below 1.
        step, until: which lengths are tried, in tokens.
        following: tokens of its sentence behind the key token that are kept besides, if it still
            has not dropped by more.
    """
    initial = float(values[key])
    lower = values <= initial

    def enough(span: Span, found: np.ndarray) -> bool:
        return bool(found[key - span[0]] >= (1 - drop) * initial)

    def holds(span: Span, found: np.ndarray) -> bool:
        rivals = found[lower[slice(*span)]]
        return enough(span, found) and bool(found[key - span[0]] >= rivals.max())

    def reaches(longest: int) -> list[int]:
        return lengths(longest, step=step, until=until)

    search = _around if both_sides else _before
    span, found = yield from search(text, values, key, reaches, holds)
    longer = span[0], max(span[1], _sentence_end(text, key, following))
    if longer != span:
        [more] = yield [text.tokens[slice(*longer)]]
        if enough(longer, more):
            span, found = longer, more
    place = key - span[0]
    scale = initial / float(found[place])
    return Pruned(text, span, place, found, values[slice(*span)], scale)


def _sentence_end(text: Text, key: int, following: int) -> int:
    """The place behind the last token that is to follow the key token."""
    end = key + 1
    while end < min(len(text.tokens), key + 1 + following):
        if text.sentences[end] != text.sentences[key]:
            break
        end += 1
    return end


def _before(
    text: Text, values: np.ndarray, key: int, reaches: Callable[[int], list[int]], holds: Holds
) -> Plan[_Found]:
    """The shortest part that ends with the key token."""
    spans = [(key + 1 - reach, key + 1) for reach in reaches(key + 1)]
    # Nothing that follows counts here: the activations of the longest are those of the text.
    return (yield from _first(text, spans, values[: key + 1], holds))


def _around(
    text: Text, values: np.ndarray, key: int, reaches: Callable[[int], list[int]], holds: Holds
) -> Plan[_Found]:
    """The shortest part on both sides of the key token, shortened before it, then behind it."""
    end = len(text.tokens)
    spans = [
        (max(0, key + 1 - reach), min(end, key + reach))
        for reach in reaches(max(key + 1, end - key))
    ]
    (first, last), found = yield from _first(text, spans, values, holds)
    spans = [(key + 1 - reach, last) for reach in reaches(key + 1 - first)]
    (first, last), found = yield from _first(text, spans, found, holds)
    spans = [(first, key + reach) for reach in reaches(last - key)]
    return (yield from _first(text, spans, found, holds))


def _first(text: Text, spans: Sequence[Span], last: np.ndarray, holds: Holds) -> Plan[_Found]:
    """The first span that holds; else the last one, whose activations are known."""
    for span in spans[:-1]:
        [found] = yield [text.tokens[slice(*span)]]
        if holds(span, found):
            return span, found
    return spans[-1], last


def prune_whole(
    text: Text, values: np.ndarray, *, drop: float, step: int, until: int | None
) -> Plan[Pruned]:
    """Plan the part of a text that has one activation.

    Args:
        values: float [1] of the whole text, above 0.
        drop: share of it that may be lost, below 1.
        step, until: which lengths are tried, in tokens.
    """
    initial, end = float(values[0]), len(text.tokens)

    def holds(_: Span, found: np.ndarray) -> bool:
        return bool(found[0] >= (1 - drop) * initial)

    spans = [(end - length, end) for length in lengths(end, step=step, until=until)]
    (first, _), found = yield from _first(text, spans, values, holds)
    shorter = lengths(end - first, step=step, until=until)
    spans = [(first, first + length) for length in shorter]
    span, found = yield from _first(text, spans, found, holds)
    return Pruned(text, span, 0, found, values, initial / float(found[0]))
