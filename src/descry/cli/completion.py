"""Names that the shell completes: neurons with a label, and descriptors, of the results at hand."""

import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import typer

_HARMLESS = re.compile(r"[\w :./,-]+")  # an annotator's words are a stranger's

_ASKED = "_DESCRY_COMPLETE"  # set by the script that --install-completion installs


@contextmanager
def whole_words() -> Iterator[None]:
    """Let bash complete a word with a colon, such as L5:50.

    Bash takes a colon for the end of a word, and replaces what is behind the last one. So its words
    are joined again before the completion is looked for, and what bash has already is left off.
    """
    if os.environ.get(_ASKED) != "complete_bash":
        yield
        return
    words, place = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
    words, place, had = joined(words, place)
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(place)}
    found = io.StringIO()
    try:
        with redirect_stdout(found):
            yield
    finally:
        print("\n".join(line.removeprefix(had) for line in found.getvalue().splitlines()))


def joined(words: Sequence[str], place: int) -> tuple[list[str], int, str]:
    """Words that bash parted at colons as one each.

    Args:
        place: of the word to complete.

    Returns:
        the words, the new place, and what bash keeps of that word: all up to its last colon.
    """
    found: list[str] = []
    new, had, open_end = place, "", False
    for number, word in enumerate([*words, ""] if place == len(words) else words):
        colon = bool(word) and not word.strip(":")
        if found and (colon or open_end):
            if number == place:
                had = found[-1] + (word if colon else "")
            found[-1] += word
        else:
            found.append(word)
        open_end = colon
        if number == place:
            new = len(found) - 1
    return found, new, had


def neurons_with(ctx: typer.Context, incomplete: str) -> list[str]:
    """The neurons with a label in the whole corpus whose names begin so, in the case typed."""
    of = _read(ctx, "neurons.json").get("neurons", {}).get("all", {})
    names = {name for some in of.values() for name in some}
    return _begin(incomplete, sorted(names, key=_place))


def descriptors_with(ctx: typer.Context, incomplete: str) -> list[str]:
    """The descriptors whose names begin so, the most mentioned first."""
    names = [entry["name"] for entry in _read(ctx, "descriptors.json").get("descriptors", ())]
    return _begin(incomplete, names)


def _read(ctx: typer.Context, name: str) -> Any:
    """A result; nothing where it is missing or damaged: completion must not fail."""
    try:
        path = Path(ctx.params.get("results") or "results") / name
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _begin(incomplete: str, names: Iterable[str]) -> list[str]:
    """Names that begin so, in whatever case: what was typed stays, as shells want it.

    None that a shell would take for more than a name.
    """
    return [
        incomplete + name[len(incomplete) :]
        for name in names
        if _HARMLESS.fullmatch(name) and name.lower().startswith(incomplete.lower())
    ]


def _place(name: str) -> tuple[int, int]:
    layer, _, index = name[1:].partition(":")
    return int(layer), int(index)
