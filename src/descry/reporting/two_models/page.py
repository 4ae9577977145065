"""The page as one file: its data are base64 of gzipped JSON, which is parsed and never run."""

import base64
import hashlib
from pathlib import Path

from descry.io.atomic import write_text
from descry.io.hashing import JSON
from descry.reporting.explorer import APP
from descry.reporting.explorer.packs import packed

_HERE = Path(__file__).parent
_SCRIPTS = (  # of the explorer, then the page's own
    *(APP / name for name in ("packs.js", "elements.js", "table.js", "pieces.js")),
    _HERE / "page.js",
)
_STYLES = APP / "explorer.css", _HERE / "page.css"


def write_page(path: Path, value: JSON) -> None:
    """Write the page: the same bytes for the same value.

    Its security policy allows the one script and the one style in it, by their hashes.

    Args:
        value: all that the page shows.
    """
    script = "\n".join(file.read_text(encoding="utf-8") for file in _SCRIPTS)
    style = "".join(file.read_text(encoding="utf-8") for file in _STYLES)
    parts = {
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
