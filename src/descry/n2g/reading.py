"""A graph as people read it: its tokens in words, on the side where they stand in a text."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from descry.io.sanitize import printable
from descry.n2g.drawn import Drawn
from descry.n2g.graph import Graph

_PIECE = re.compile(r"^##(?=[^#])")  # BERT's mark of a token that goes on with a word
_SPACES = str.maketrans({" ": "␣", "\N{NO-BREAK SPACE}": "␣", "\n": "↵", "\t": "⇥"})
_NOTHING = "∅"


def _byte_alphabet() -> dict[str, int]:
    """The characters by which GPT-2's vocabulary and its like write bytes."""
    itself = [*range(ord("!"), 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in itself]
    shifted = {chr(0x100 + number): byte for number, byte in enumerate(others)}
    return {chr(byte): byte for byte in itself} | shifted


_BYTES = _byte_alphabet()


def readable(string: str) -> str:
    """A token's string as one word that steers nothing.

    A space before it, also as the mark Ġ or ▁, is ␣, and the mark ## of a token that goes on with
    a word is a hyphen: `Ġtea` is ␣tea, `##ing` is -ing. Bytes written as characters become what
    they stand for: `Ã©` is é. A line's end is ↵, a tab ⇥, an empty token ∅, and any other control
    character is replaced.
    """
    text = _PIECE.sub("-", _decoded(string))
    return printable(text.translate(_SPACES)) or _NOTHING


def bare(string: str) -> str:
    """A token's string without the mark of a word or space around it: `Ġtea`, `##tea` are tea."""
    return _PIECE.sub("", _decoded(string)).strip()


def _decoded(string: str) -> str:
    """A token's string with spaces for marks of one, and characters for bytes."""
    known = [_BYTES[c] for c in string if c in _BYTES]
    if len(known) == len(string):
        try:
            return bytes(known).decode()
        except UnicodeDecodeError:  # half a character, or a vocabulary that is not of bytes
            pass
    return string.replace("Ġ", " ").replace("▁", " ")


def word_of(token: int, words: Mapping[int, str]) -> str:
    """A token in words; by its id where it has none."""
    return readable(words[token]) if token in words else f"id:{token}"


def placed(graph: Graph) -> list[Drawn]:
    """The nodes that are drawn, each on the side where it is read.

    A path of a text that has one activation starts with its first token: the others are behind it.
    """
    if graph.max_gap is None:
        return graph.drawn
    return [
        node if node.side == "activating" else node._replace(side="behind") for node in graph.drawn
    ]


class Context(NamedTuple):
    """A node as token ids in the order of reading: an activating token, and what is around it."""

    before: tuple[int, ...]
    token: int
    behind: tuple[int, ...]

    @property
    def around(self) -> tuple[int, ...]:
        """All tokens but the activating one."""
        return self.before + self.behind


def contexts(graph: Graph) -> dict[Context, Drawn]:
    """The nodes of a graph, from the activating tokens on; a path is a node with an end."""
    found: list[Context] = []
    nodes = placed(graph)
    for node in nodes:
        if node.side == "activating":
            found.append(Context((), node.token, ()))
            continue
        before, token, behind = found[node.parent]
        if node.side == "before":
            found.append(Context((node.token, *before), token, behind))
        else:
            found.append(Context(before, token, (*behind, node.token)))
    return dict(zip(found, nodes, strict=True))


class Phrase(NamedTuple):
    """A path in words, in the order of reading.

    Attributes:
        activation: as a share of the neuron's highest: the mean of the paths that end here or go
            on from here.
    """

    before: list[str]
    token: str
    behind: list[str]
    activation: float

    def __str__(self) -> str:
        """All words, the activating one in brackets."""
        return " ".join([*self.before, f"[{self.token}]", *self.behind])


def phrase(context: Context, node: Drawn, words: Mapping[int, str]) -> Phrase:
    """A node in words, of which these are the strings of the token ids."""
    before, behind = (
        [word_of(token, words) for token in side] for side in (context.before, context.behind)
    )
    return Phrase(before, word_of(context.token, words), behind, node.activation)
