"""What counts as a word of a text, by its language."""

import re
from collections.abc import Callable

Span = tuple[int, int]  # of a text: the first character, and the one behind the last
WORD = re.compile(r"\w+")
WHOLE_WORD = re.compile(r"\w+(?:['’\-]\w+)*")  # with what joins its parts
CHARACTER = re.compile(r"\w")
WITHOUT_BLANKS = frozenset({"zh", "ja", "th", "lo", "km", "my", "dz"})  # languages


def words_of(language: str) -> Callable[[str], list[str]]:
    """Return what splits a text into words, or into characters if there are no blanks."""
    return (CHARACTER if language in WITHOUT_BLANKS else WORD).findall


def length_of(language: str) -> Callable[[str], int]:
    """Return what counts a text's words, or its characters if there are no blanks."""
    split = words_of(language) if language in WITHOUT_BLANKS else str.split
    return lambda text: len(split(text))


def trimmed(text: str, span: Span) -> Span:
    """Return a span without the white space around it; a span of only white space stays."""
    piece = text[slice(*span)]
    if not piece.strip():
        return span
    first = span[0] + len(piece) - len(piece.lstrip())
    return first, first + len(piece.strip())
