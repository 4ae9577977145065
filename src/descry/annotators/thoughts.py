"""Thoughts before an answer: how many are allowed, and how families of models mark them."""

import re
from typing import Annotated

from pydantic import Field

# Tokens that a model may spend on thoughts before an answer, which is then read from its words.
# A permission: left out, thoughts are turned off where that can be done.
Thinking = Annotated[
    Annotated[int, Field(ge=1)] | None, Field(exclude_if=lambda given: given is None)
]

_THINK = (
    r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|scratchpad|(?:begin|start)_of_thought)"
)
_OPENS = re.compile(
    rf"\s*(?:<\|?(?:\w+:)?{_THINK}\b|<\|channel\|?|\[think\b|◁think▷)", re.IGNORECASE
)
_CLOSES = re.compile(
    rf"</(?:\w+:)?{_THINK}>|<\|end_of_thought\|>|<\|channel\|>final|\[/think\]|◁/think▷",
    re.IGNORECASE,
)


def opens_thought(text: str) -> bool:
    """Whether a text, or a first token, begins with thoughts instead of an answer."""
    return bool(_OPENS.match(text))


def only_thought(text: str) -> bool:
    """Whether a text is thoughts that do not end."""
    return opens_thought(text) and not _CLOSES.search(text)
