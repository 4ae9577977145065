"""What each word of a text does for the activations of neurons.

With position `max` and unit `token` a neuron has an activation at each token, and a word has the
highest of its tokens. With `cls`, `last` and `mean` a neuron has one activation for a text, and a
word has what the activation loses when the text goes through the model without the word. (The
neuron's activation at the place of the word is no guide to that: docs/writes.md.)
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from descry.activations.extraction import Block, extract
from descry.corpus.words import CHARACTER, WHOLE_WORD, WITHOUT_BLANKS, Span, trimmed
from descry.errors import InputError
from descry.models.hooked_model import HookedModel, Maxima, Position

Measure = Literal["activation", "lost without it"]


class Word(NamedTuple):
    """A word of a text: its characters from `start` to `stop`."""

    text: str
    start: int
    stop: int


class Asked(NamedTuple):
    """A text, its words, and the neurons meant, by the row of their layer and their number."""

    text: str
    words: Sequence[Word]
    chosen: Sequence[tuple[int, int]]


class Effects(NamedTuple):
    """What a text and its words do.

    Attributes:
        values: activations of the text, float32 [layers, neurons].
        parts: of each word and chosen neuron, float32 [words, chosen]; NaN where that cannot be
            told.
    """

    values: np.ndarray
    parts: np.ndarray


def measure(position: Position, of_positions: bool = False) -> Measure:
    """What the number of a word is; `of_positions`: with unit `token`."""
    return "activation" if of_positions or position == "max" else "lost without it"


def words_in(model: HookedModel, text: str, written: str, how: Measure) -> list[Word]:
    """The words of a text; where no blanks part them, its tokens, or else its characters.

    Args:
        written: the language, as a two-letter code.
    """
    spans: list[Span]
    if written not in WITHOUT_BLANKS:
        spans = [found.span() for found in WHOLE_WORD.finditer(text)]
    elif how == "activation" and model.tokenizer.is_fast:
        spans = [trimmed(text, span) for span in _spans(model, text)]
    else:
        spans = [found.span() for found in CHARACTER.finditer(text)]
    return [Word(text[slice(*span)], *span) for span in dict.fromkeys(spans)]


def _spans(model: HookedModel, text: str) -> list[Span]:
    """The characters of each token of a text, without the special tokens around it."""
    encoded = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return [(first, stop) for first, stop in encoded["offset_mapping"]]


def at_words(model: HookedModel, asked: Asked, of_positions: bool = False) -> Effects:
    """Activations of a text, and of neurons at each word: NaN where no token of it counts."""
    text, words, chosen = asked
    (tokens,) = model.tokenize([text])
    at = model.by_token(tokens)
    own = model.own_places(tokens)
    if of_positions and not own:
        raise InputError(f"{text[:80]!r}: {model.name} has no token for it")
    values = at[list(own)].max(axis=0) if of_positions else model.maxima([tokens]).value[0]
    found = np.full((len(words), len(chosen)), np.nan, dtype=np.float32)
    if model.tokenizer.is_fast:
        rows, indices = _places(chosen)
        some = at[:, rows, indices]
        spans = _spans(model, text)
        for number, word in enumerate(words):
            touched = [
                place + len(model.before)
                for place, (first, stop) in enumerate(spans)
                if first < word.stop and word.start < stop
            ]
            if places := [place for place in touched if place in own]:
                found[number] = some[places].max(axis=0)
    return Effects(values, found)


def without_words(
    model: HookedModel, texts: Iterable[Asked], batch_tokens: int
) -> Iterator[Effects]:
    """Activations of texts, and what neurons lose without each word.

    A word that the model has not seen has NaN, and so has the only word of a text.

    Args:
        batch_tokens: padded tokens of a batch.
    """
    waiting: deque[tuple[Asked, list[int]]] = deque()

    def blocks() -> Iterator[Block]:
        for asked in texts:
            stop = _seen_to(model, asked.text)
            rest = {n: _left(asked.text, word) for n, word in enumerate(asked.words)}
            left = [n for n, other in rest.items() if other and asked.words[n].start < stop]
            waiting.append((asked, left))
            tokens, length = model.fit([asked.text, *(rest[n] for n in left)])
            rows = np.arange(len(tokens))
            yield Block(0, tokens, rows, len(tokens), np.empty(0), length)

    for _, found in extract(model, blocks(), batch_tokens, "float32"):
        values = found.value if isinstance(found, Maxima) else found
        asked, left = waiting.popleft()
        rows, indices = _places(asked.chosen)
        some = values[:, rows, indices]
        parts = np.full((len(asked.words), len(asked.chosen)), np.nan, dtype=np.float32)
        parts[left] = some[0] - some[1:]
        yield Effects(values[0], parts)


def _left(text: str, word: Word) -> str:
    """A text without a word."""
    return " ".join((text[: word.start] + text[word.stop :]).split())


def _seen_to(model: HookedModel, text: str) -> int:
    """The character that the part of a text that the model sees ends before."""
    (tokens,) = model.tokenize([text])
    number = len(tokens) - len(model.before) - len(model.behind)
    spans = _spans(model, text) if model.tokenizer.is_fast else []
    return spans[number - 1][1] if 0 < number < len(spans) else len(text)


def _places(chosen: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of layers, and numbers of neurons."""
    rows, indices = np.array(chosen, dtype=np.intp).reshape(-1, 2).T
    return rows, indices
