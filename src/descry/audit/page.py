"""An audit as one HTML file that needs no network; texts are escaped, scripts are forbidden."""

from pathlib import Path

from descry.audit.tree import Node
from descry.hostile import printable
from descry.report import render
from descry.storage import write_text


def write_page(node: Node, path: Path) -> None:
    """Write the tree; branches open and close without a script."""
    write_text(path, render(Path(__file__).with_name("page.html"), {"top": _shown(node)}))


def _shown(node: Node) -> Node:
    return Node(printable(node.text), [_shown(child) for child in node.children])
