"""The page as one file: its data are base64 of gzipped JSON, which is parsed and never run."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

from descry.io.atomic import atomic_folder, write_text
from descry.io.csv_rows import Row, write_csv
from descry.io.hashing import JSON
from descry.io.json_files import write_json
from descry.reporting.explorer import APP
from descry.reporting.explorer.packs import packed

Kind = Literal["two_models", "two_corpora"]  # each has a script of its own
_PAGE = "index.html"
_HERE = Path(__file__).parent
_SCRIPTS = (  # of the explorer, then of both pages
    *(APP / name for name in ("packs.js", "elements.js", "csv.js", "table.js", "pieces.js")),
    _HERE / "page.js",
)
_STYLES = APP / "explorer.css", _HERE / "page.css"


class Compared(Protocol):
    """What two runs say, held against each other; its tables are attributes."""

    @property
    def summary(self) -> Row:
        """The numbers in a line."""

    def as_json(self) -> JSON:
        """All of it as plain values."""


def page_value(found: Compared, sides: Sequence[str]) -> JSON:
    """All of a comparison but the folders of its results, which the page does not tell.

    Args:
        sides: keys of the folders.
    """
    value = {key: one for key, one in found.as_json().items() if key not in sides}
    return value | {"version": version("descry")}


def write_comparison(
    path: Path, kind: Kind, found: Compared, name: str, tables: Sequence[str], value: JSON
) -> dict[str, int]:
    """Write the page to a file .html; or to any other name, as a folder with the tables beside it.

    A folder has index.html, NAME.json, summary.csv, and a CSV file of each table.

    Args:
        name: of the JSON file.
        tables: names of the tables.
        value: all that the page shows.
    """
    if path.suffix == ".html":
        write_page(path, kind, value)
        return {"pages": 1}
    with atomic_folder(path) as folder:
        write_page(folder / _PAGE, kind, value)
        write_json(folder / f"{name}.json", found.as_json())
        write_csv(folder / "summary.csv", [found.summary])
        for table in tables:
            rows = getattr(found, table)
            write_csv(folder / f"{table}.csv", rows.to_pylist(), rows.column_names)
    return {"pages": 1, "tables": 1 + len(tables)}


def write_page(path: Path, kind: Kind, value: JSON) -> None:
    """Write the page: the same bytes for the same value.

    Its security policy allows the one script and the one style in it, by their hashes.

    Args:
        value: all that the page shows.
    """
    scripts = (*_SCRIPTS, _HERE / f"{kind}.js")
    script = "\n".join(file.read_text(encoding="utf-8") for file in scripts)
    style = "".join(file.read_text(encoding="utf-8") for file in _STYLES)
    parts = {
        "title": kind.replace("_", " "),
        "script_hash": _hash(script),
        "style_hash": _hash(style),
        "style": style,
        "script": script,
        "data": packed(value),
    }
    # One pass over the template: what is put in is not looked at again.
    pieces = (_HERE / "page.html").read_text(encoding="utf-8").split("{")
    text = pieces[0]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}")
        text += parts[name] + rest
    write_text(path, text)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
