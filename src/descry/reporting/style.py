"""How every figure looks and is saved: the same bytes each time, names shown as text."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from descry.io.atomic import atomic
from descry.io.csv_rows import Row
from descry.io.hashing import JSON, canonical
from descry.io.sanitize import printable

LONGEST = 32  # characters of a name in a figure
# Of Okabe and Ito's palette (2008), which colour-blind people can tell apart.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#5A5A5A"
# What the cut of the labels is, by their rule.
CUTS = {"composition": "threshold t", "enrichment": "false discovery rate"}
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
    """The style of every figure, whatever a matplotlibrc says; for drawing and for saving.

    Artists take their style when they are made: a function that draws has `@style()` above it.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # The PNG shows a box in place of such a character, and the SVG holds it.
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        yield


def shown(name: str, longest: int = LONGEST) -> str:
    """A name as one short line, without control characters: SVG forbids them."""
    text = printable(name)
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def save(figure: Figure, path: Path, made: JSON, dpi: int) -> None:
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


def null_marks(marker: str) -> Row:
    """How the null of a score is drawn: dashed, with the score's marker left empty."""
    return {"linestyle": (0, (4, 2)), "linewidth": 1.1, "marker": marker, "markerfacecolor": "w"}


def rates_axis(axes: Axes, at: Sequence[float] | np.ndarray) -> None:
    """Give an axis of false discovery rates a log scale, and a tick at each of the rates."""
    axes.set_xscale("log")
    axes.set_xticks(at, [f"{rate:g}" for rate in at])
    axes.minorticks_off()


def say_if_empty(axes: Axes) -> None:
    """Write "undefined" into a panel in which no point is drawn."""
    points = [line.get_xydata() for line in axes.lines if line.get_marker() != "None"]
    if not any(np.isfinite(np.asarray(part, dtype=float)).all(axis=1).any() for part in points):
        axes.text(
            0.5, 0.5, "undefined", color="0.35", ha="center", va="center", transform=axes.transAxes
        )


def legend(figure: Figure, entries: Sequence[Artist], columns: int) -> None:
    """Draw one legend beneath all panels."""
    figure.legend(handles=entries, loc="outside lower center", ncols=columns)
