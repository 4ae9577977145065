"""How every figure looks and is saved: the same bytes each time, names shown as text."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from descry.io.atomic import atomic
from descry.io.hashing import JSON, canonical
from descry.io.sanitize import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 32  # characters of a name in a figure
# Of Okabe and Ito's palette (2008), which colour-blind people can tell apart.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#5A5A5A"
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same glyphs everywhere
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "text.parse_math": False,  # a $ in a name is a dollar
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "descry",
}


@contextmanager
def style() -> Iterator[None]:
    """The style of every figure, whatever a matplotlibrc says; for drawing and for saving."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # The PNG shows a box in the place of such a character, and the SVG holds it.
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        yield


def shown(name: str, longest: int = LONGEST) -> str:
    """A name as one short line, without control characters: SVG forbids them."""
    text = printable(name)
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def save(figure: "Figure", path: Path, made: JSON, dpi: int) -> None:
    """Write a figure as SVG or PNG, by the name; the file says what made it.

    Args:
        dpi: pixels per inch of a PNG.
    """
    kind = path.suffix.removeprefix(".")
    # No date and no version of matplotlib, which would differ from run to run.
    silent = {"svg": ["Date", "Creator"], "png": ["Software"]}[kind]
    metadata = {"Description": canonical(made)} | dict.fromkeys(silent)
    with style(), atomic(path) as part:
        figure.savefig(part, format=kind, dpi=dpi, metadata=metadata)
