"""The tutorial's notebook as a page of the site: its cells, and the output that is stored in it."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

NOTEBOOK = Path(__file__).parents[1] / "tutorial.ipynb"


def page(notebook: Path) -> str:
    """A notebook in Markdown; its output is HTML where the notebook has that, else text."""
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n\n".join(text for cell in cells for text in _cell(cell)) + "\n"


def _cell(cell: Any) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source
        return
    yield f"```python\n{cell.source}\n```"
    for output in cell.outputs:
        data = output.get("data", {"text/plain": output.get("text", "")})
        shown = data.get("text/html") or f"<pre>{escape(data['text/plain'].rstrip())}</pre>"
        # Markdown takes a blank line for the end of a block of HTML.
        yield f'<div class="output">{shown}</div>'.replace("\n\n", "\n&#8203;\n")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page; the notebook itself is there to be downloaded."""
    files.append(File.generated(config, "tutorial.md", content=page(NOTEBOOK)))
    return files
