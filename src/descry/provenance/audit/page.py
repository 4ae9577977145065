"""An audit as one HTML file that needs no network; texts are escaped, scripts are forbidden."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from descry.io.atomic import write_text
from descry.io.sanitize import printable
from descry.io.tree import Node


def write_page(node: Node, path: Path) -> None:
    """Write the tree; branches open and close without a script."""
    write_text(path, render(Path(__file__).with_name("page.html"), {"top": _shown(node)}))


def render(template: Path, values: dict[str, Any]) -> str:
    """A page. Every value is escaped: reviews are hostile input."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values)


def _shown(node: Node) -> Node:
    return Node(printable(node.text), [_shown(child) for child in node.children])
