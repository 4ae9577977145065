"""Which modules a source file imports: found by parsing, remembered while the file is unchanged."""

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.io.atomic import write_text

KEPT = Path(".snakemake/imports.json")
# Where an import can stand: no expression holds one, and most nodes are expressions.
_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


class SourceImports:
    """Names of what source files import, and of what may be a module in it.

    Args:
        kept: where names are remembered, if its folder is there: by file the hash of its text, and
            the names. Every start of Snakemake asks about 200 files, which take half a second to
            parse; nothing else depends on it.
    """

    def __init__(self, kept: Path = KEPT) -> None:
        self._kept = kept
        self._new = False
        self._known: dict[str, tuple[str, list[str]]] = {}
        with suppress(OSError, ValueError, RecursionError):
            self._known = _entries(json.loads(kept.read_text(encoding="utf-8")))

    def of(self, file: Path) -> list[str]:
        """Return the names that a file imports, but for type checkers alone."""
        text = file.read_bytes()
        place, key = str(file.absolute()), sha256(text).hexdigest()
        before, names = self._known.get(place, ("", []))
        if before != key:
            names = list(_names(ast.parse(text)))
            self._known[place] = key, names
            self._new = True
        return names

    def keep(self) -> None:
        """Remember what was found since, of the files that are still there."""
        if self._new and self._kept.parent.is_dir():
            there = {place: one for place, one in self._known.items() if Path(place).is_file()}
            with suppress(InputError):  # a folder that cannot be written, or a full disk
                write_text(self._kept, json.dumps(there))
        self._new = False


def _entries(value: Any) -> dict[str, tuple[str, list[str]]]:
    """What a file of names holds; nothing of an entry in another form, or of another file."""
    found = {}
    for place, one in value.items() if isinstance(value, dict) else ():
        match one:
            case [str(key), list(names)] if all(isinstance(name, str) for name in names):
                found[place] = key, names
    return found


def _names(module: ast.Module) -> Iterator[str]:
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse  # the rest never runs
            continue
        waiting += (part for part in ast.iter_child_nodes(node) if isinstance(part, _STATEMENTS))
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
