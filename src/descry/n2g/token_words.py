"""Tokens in words, as people read them."""

import re
from collections.abc import Mapping

from descry.io.sanitize import printable

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
