"""Which modules a source file imports: found by parsing, remembered by the contents of the file."""

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from descry.errors import InputError
from descry.io.atomic import write_text

KEPT = Path(".snakemake/imports.json")
# Where an import can stand: no expression holds one, and most nodes are expressions.
_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


class SourceImports:
    """Names of what source files import, and of what may be a module in it.

    Args:
        kept: where names are remembered, if its folder is there. Every start of Snakemake asks
            about 200 files, which take half a second to parse; nothing else depends on it.
    """

    def __init__(self, kept: Path = KEPT) -> None:
        self._kept = kept
        self._new = False
        self._known: dict[str, list[str]] = {}
        with suppress(OSError, ValueError):
            self._known = json.loads(kept.read_text(encoding="utf-8"))

    def of(self, file: Path) -> list[str]:
        """Return the names that a file imports, but for type checkers alone."""
        text = file.read_bytes()
        key = sha256(text).hexdigest()
        if key not in self._known:
            self._known[key] = list(_names(ast.parse(text)))
            self._new = True
        return self._known[key]

    def keep(self) -> None:
        """Remember what was found since."""
        if self._new and self._kept.parent.is_dir():
            with suppress(InputError):  # a folder that cannot be written, or a full disk
                write_text(self._kept, json.dumps(self._known))
        self._new = False


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
