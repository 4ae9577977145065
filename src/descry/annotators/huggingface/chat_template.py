"""What a tokenizer's chat template puts around a prompt."""

import re
from datetime import date
from textwrap import shorten
from typing import Any

from descry.annotators.base import NO_FRAME, Frame
from descry.errors import InputError
from descry.io.sanitize import printable

_HOLE = "<<the prompt>>"  # stands for it while a chat template is rendered
_TODAY = date(2024, 7, 26)  # for templates that write the date: a prompt must not change overnight
# Takes the place of the function that gives templates the date; a function cannot be handed in.
_CLOCK = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f"|replace('%{code}','{_TODAY.strftime('%' + code)}')" for code in "aAbBdmyYjHMS")
    + f"|replace('%-d','{_TODAY.day}')|replace('%-m','{_TODAY.month}')"
    + " }}{%- endmacro %}\n"
)
_OPEN_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>\s*$")  # by the template itself


def chat_frame(tokenizer: Any, model: str, *, thinking: bool) -> Frame:
    """The chat template around a prompt; nothing where the tokenizer has none.

    Args:
        model: its name, for errors.
        thinking: whether the model may think before it answers.

    Raises:
        InputError: the template fails, or has no place for a prompt.
    """
    if not tokenizer.chat_template:
        return NO_FRAME
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": _HOLE}],
            chat_template=_CLOCK + tokenizer.get_chat_template(),
            tokenize=False,
            add_generation_prompt=True,
            # Else the answer comes first, not behind a monologue.
            enable_thinking=thinking,  # Qwen and others
            thinking=thinking,  # DeepSeek, Granite
            date_string=_TODAY.strftime("%d %b %Y"),
        )
    except Exception as error:  # a template is code: it fails by whatever Python raises
        reason = printable(shorten(str(error), 300, placeholder="...")) or type(error).__name__
        raise InputError(f"{model}: its chat template fails: {reason}") from error
    before, *behind = text.split(_HOLE)
    if len(behind) != 1:
        fault = "repeats the prompt" if behind else "leaves the prompt out"
        raise InputError(f"{model}: its chat template {fault}")
    opened = _OPEN_THOUGHT.search(behind[0])
    closed = f"</{opened[1]}>\n\n" if opened and not thinking else ""
    return before, behind[0] + closed
