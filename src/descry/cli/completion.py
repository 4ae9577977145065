"""Names that the shell completes: neurons with a label, and descriptors, of the results at hand."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

_HARMLESS = re.compile(r"[\w :./,-]+")  # an annotator's words are a stranger's


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
