"""What a word of a text is, by its language."""

import re
from collections.abc import Callable

WORD = re.compile(r"\w+")
_CHARACTER = re.compile(r"\w")
WITHOUT_BLANKS = frozenset({"zh", "ja", "th", "lo", "km", "my", "dz"})  # languages


def words_of(language: str) -> Callable[[str], list[str]]:
    """What takes a text apart into words, or into characters where no blanks part the words."""
    return (_CHARACTER if language in WITHOUT_BLANKS else WORD).findall


def length_of(language: str) -> Callable[[str], int]:
    """What counts a text's words between blanks, or its characters where there are no blanks."""
    split = words_of(language) if language in WITHOUT_BLANKS else str.split
    return lambda text: len(split(text))
