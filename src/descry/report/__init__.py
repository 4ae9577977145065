"""HTML pages: files that need no network; texts are escaped, scripts are forbidden."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

PAGE = Path(__file__).with_name("page.html")


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
