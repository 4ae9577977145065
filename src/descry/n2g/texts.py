"""Texts as a model's own tokens, with the characters and the sentence that each stands for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from descry.errors import InputError

Span = tuple[int, int]  # first, and the one behind the last

# Behind a full stop and what closes a quotation, or between lines.
_BOUNDARY = re.compile(r"""(?<=[.!?…])["'”’)\]]*\s+|\s*\n\s*""")


@dataclass(frozen=True)
class Text:
    """A text and its tokens, special ones left out.

    Attributes:
        string: all of it, also where tokens beyond a limit were cut.
        tokens: ids.
        spans: of each token, its characters in `string`, without white space around them.
        sentences: of each token, the number of its sentence.
    """

    string: str
    tokens: tuple[int, ...]
    spans: tuple[Span, ...]
    sentences: tuple[int, ...]


def make_text(string: str, tokens: Sequence[int], spans: Sequence[Span]) -> Text:
    """A text whose tokens stand at these characters."""
    trimmed = tuple(_trimmed(string, span) for span in spans)
    ends = [found.end() for found in _BOUNDARY.finditer(string)]
    sentences = tuple(sum(end <= first for end in ends) for first, _ in trimmed)
    return Text(string, tuple(tokens), trimmed, sentences)


def _trimmed(string: str, span: Span) -> Span:
    """A span without white space around it; one of nothing else stays as it is."""
    piece = string[slice(*span)]
    if not piece.strip():
        return span
    first = span[0] + len(piece) - len(piece.lstrip())
    return first, first + len(piece.strip())


def read(strings: Sequence[str], tokenizer: Any, *, limit: int) -> list[Text]:
    """Tokenise strings with a fast tokenizer of the transformers library.

    Special tokens are left out, also those that somebody wrote into a string by name.

    Args:
        limit: tokens of a text; what is beyond is cut.

    Raises:
        InputError: the tokenizer does not say which characters a token stands for.
    """
    if not tokenizer.is_fast:
        raise InputError(f"n2g: {tokenizer.name_or_path} has no fast tokenizer")
    encoded = tokenizer(
        list(strings),
        add_special_tokens=False,
        return_offsets_mapping=True,
        truncation=True,
        max_length=limit,
    )
    written, texts = set(tokenizer.all_special_tokens), []
    for string, ids, spans in zip(
        strings, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        kept = [
            (token, (first, last))
            for token, (first, last) in zip(ids, spans, strict=True)
            if string[first:last].strip() not in written
        ]
        texts.append(make_text(string, [token for token, _ in kept], [span for _, span in kept]))
    return texts
