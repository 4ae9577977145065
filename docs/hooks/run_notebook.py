"""Run the tutorial and store its output in it: `python docs/hooks/run_notebook.py`, after a run.

The cells need no kernel and no server, so that the tests can run them, too.
"""

import ast
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_output

NOTEBOOK = Path(__file__).parents[1] / "tutorial.ipynb"


def outputs(notebook: Any, folder: Path) -> Iterator[tuple[Any, list[Any]]]:
    """Each code cell with its output, as Jupyter would show it if started in a folder."""
    names: dict[str, object] = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                yield cell, _run(cell.source, names)
    finally:
        os.chdir(before)


def _run(source: str, names: dict[str, object]) -> list[Any]:
    """Run the lines of a cell; what they print, and the value of a last expression."""
    body, value, printed = ast.parse(source).body, None, StringIO()
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    found = [new_output("stream", text=printed.getvalue())] if printed.getvalue() else []
    if value is not None:
        data = {"text/plain": repr(value)}
        if html := getattr(value, "_repr_html_", None):
            data["text/html"] = html()
        found.append(new_output("execute_result", data=data))
    return found


def main() -> None:
    """Store the output of every cell, without counts, which would change with each run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell, found in outputs(notebook, NOTEBOOK.parent):
        cell.outputs, cell.execution_count = found, None
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
