"""The HTML page: one file that needs no network; texts are escaped, scripts are forbidden."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(page: dict[str, Any]) -> str:
    """The page of a run. Every value is escaped: reviews are hostile input."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(page)
