"""How a model's thoughts before an answer begin and end, in the forms of the common families."""

import re

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
