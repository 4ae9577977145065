"""The texts of the prompts p1 and p2 with their named places, the built-in ones or a user's file.

A place is a name in braces, such as {sentence}; all else is text, other braces too. What is put
into a place is not searched for places again: braces in a review are text.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.io.sanitize import printable

# What stands before the sentence, between it and the descriptor, and behind that.
Template = tuple[str, str, str]
Shot = Mapping[str, Any]  # an example: {sentence, concepts} of p1, {sentence, descriptor, answer}

P1_TEXT = """\
Identify at most {max_descriptors} salient topics being discussed in a sentence.
{examples}
Sentence:
{sentence}"""
P2_TEXT = """\
{examples}
Q: Does the Review: "{sentence}" talk about "{descriptor}"? Answer in Yes/No A:"""

_PLACE = re.compile(r"\{([^\W\d]\w*)\}")
_EXAMPLES = re.compile(r"\{examples\}\n?")  # each example has a line break of its own
_NEEDED = {"p1": ("sentence",), "p2": ("sentence", "descriptor")}  # once each, in this order
_ALLOWED = {"p1": ("max_descriptors", "examples"), "p2": ("examples",)}


def p1_template(
    max_descriptors: int, examples: Sequence[Shot] = (), file: Path | str | None = None
) -> Template:
    """Prompt p1 asks for the topics of a sentence; without examples it is zero-shot.

    Args:
        examples: of sentences and their `concepts`; the paper has one.
        file: a template of the user's, in place of the paper's.

    Raises:
        InputError: the file is missing, or its places are not in order.
    """
    text = _text("p1", P1_TEXT, file, examples)
    shown = "".join(
        f"For example, {shot['sentence']}\nExpected Concepts: [{', '.join(shot['concepts'])}].\n"
        for shot in examples
    )
    head, tail = text.split("{sentence}")
    filled = {"max_descriptors": str(max_descriptors)}
    return _filled(head, shown, filled), _filled(tail, shown, filled), ""


def p2_template(examples: Sequence[Shot] = (), file: Path | str | None = None) -> Template:
    """Prompt p2 asks whether a sentence talks about a descriptor; the paper has no examples.

    Args:
        examples: of sentences, with a `descriptor` and its `answer`; each is shown as the question
            itself, which is what stands behind {examples}.
        file: as `p1_template` takes it.

    Raises:
        InputError: the file is missing, or its places are not in order.
    """
    text = _text("p2", P2_TEXT, file, examples)
    question = _EXAMPLES.split(text)[-1]
    gap = "" if question[-1:].isspace() else " "
    shown = "".join(
        f"{_filled(question, '', shot)}{gap}{shot['answer'].capitalize()}\n" for shot in examples
    )
    head, rest = text.split("{sentence}")
    middle, tail = rest.split("{descriptor}")
    return _filled(head, shown, {}), _filled(middle, "", {}), _filled(tail, "", {})


def _filled(text: str, examples: str, values: Mapping[str, str]) -> str:
    """A text with something in each place, in one go."""
    parts = _EXAMPLES.split(text)
    return examples.join(_PLACE.sub(lambda place: values[place[1]], part) for part in parts)


def _text(task: str, builtin: str, file: Path | str | None, examples: Collection[Shot]) -> str:
    """A template with its places, which are in order."""
    if file is None:
        return builtin
    text = _read(Path(file))
    needed, allowed = _NEEDED[task], (*_NEEDED[task], *_ALLOWED[task])
    found = [place[1] for place in _PLACE.finditer(text)]
    names = ", ".join(f"{{{name}}}" for name in allowed)
    for name in found:
        if name not in allowed:
            raise _fault(file, f"no place is called {{{name[:40]}}}: there are {names}")
    for name in needed:
        if found.count(name) != 1:
            raise _fault(file, f"{{{name}}} must stand in it once, not {found.count(name)} times")
    if found.count("examples") > 1:
        raise _fault(file, "{examples} must stand in it once at most")
    if examples and "examples" not in found:
        raise _fault(file, f"has no {{examples}}, where the {len(examples)} examples would stand")
    order = [name for name in found if name in needed]
    if order != [*needed]:
        raise _fault(
            file,
            "{sentence} must stand before {descriptor}: a model reads a sentence once for all"
            " descriptors",
        )
    if task == "p2" and "examples" in found and found[0] != "examples":
        raise _fault(file, "{examples} must stand before {sentence}")
    return text


def _read(file: Path) -> str:
    """The text of a file, without the line break that an editor puts at its end."""
    try:
        return file.read_text(encoding="utf-8-sig").removesuffix("\n")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{file}: no such file: name the template in params.yaml") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 text (byte {error.start})") from error


def _fault(file: Path | str, words: str) -> InputError:
    return InputError(printable(f"{file}: {words}"))


P2: Template = p2_template()
