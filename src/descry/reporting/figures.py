"""The paper's figures 5 to 9 and one more: rows of the result files in, a figure out.

Each score stands beside its nulls. Rows are those of `read_csv`: numbers are floats, NaN where
undefined. Nothing undefined is drawn; a figure without anything to draw says so.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from descry.activations.top_k import ENDS, HIGHEST
from descry.corpus.splits import HALVES
from descry.io.csv_rows import Row
from descry.labels.rules import Rule
from descry.reporting.ordering import alike, most_frequent
from descry.reporting.style import (
    BLUE,
    CUTS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    legend,
    null_marks,
    rates_axis,
    say_if_empty,
    shown,
    style,
)

MOST = 100  # descriptors in a figure
AGAINST = {
    "gold": "against gold labels",
    "judge": "against the judge",
    "halves": "calibration half\nagainst validation half",
}
METRICS = {
    "f1": "F1",
    "iou": "IoU",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "pearson": "Pearson",
    "cosine": "cosine",
}
# Told apart without colour by marker or dashes.
_SIDES = {"precision": (BLUE, "o"), "recall": (ORANGE, "s")}
_NULLS = {
    "shuffled neurons": (ORANGE, (0, (5, 1.5)), "s"),
    "permuted descriptors": (GREEN, (0, (1, 1.2)), "^"),
    "random sets": (PURPLE, (0, (4, 1.2, 1, 1.2)), "D"),
    "random weights": (GREY, (0, (8, 2)), "v"),
}
_OTHER_NULL = (GREY, "dotted", "x")
_IN_FORCE: Row = {"color": "0.35", "linewidth": 0.9, "linestyle": (0, (1, 2))}
_ALIGNED = ("value", "low", "high", "null")


@style()
def precision_recall(curves: Sequence[Row], rule: Rule) -> Figure:
    """Figure 5: precision and recall of the labels against the cut, and at K.

    Against gold labels and a judge, where there are any; else of the halves. Beneath each panel,
    for how many neurons a score is defined.

    Args:
        curves: rows of curves.csv.
        rule: of the labels; its cut is marked.
    """
    known = {row["against"] for row in curves}
    rows = [f"{_prefix(end)}{name}" for end in ENDS for name in compared(curves)]
    rows = [name for name in rows if name in known] or rows[:1]
    figure = Figure(figsize=(7.2, 0.6 + 3.0 * len(rows)), layout="constrained")
    grid = figure.subplots(
        2 * len(rows),
        3,
        squeeze=False,
        sharex="col",
        sharey="row",
        height_ratios=[4, 1.1] * len(rows),
    )
    for against, panels, strips in zip(rows, grid[::2], grid[1::2], strict=True):
        for column, (name, (colour, marker)) in enumerate(_SIDES.items()):
            axes, strip = panels[column], strips[column]
            _with_deviation(axes, curves, against, name, colour, marker)
            at, defined = _column(curves, against, name, "at", "defined")
            _count(strip, at, defined, colour, marker)
            _cut_axis(axes, strip, curves, against, rule)
            _at_k(panels[2], strips[2], curves, against, name)
            axes.set_title(name)
        panels[0].set(ylim=(-0.03, 1.03), ylabel=_title(against))
        panels[2].set_title("P@K, R@K")
        panels[2].set_xticks(sorted({r["at"] for r in curves if r["score"].endswith("_k")}))
        say_if_empty(panels[2])
        strips[0].set_ylabel("neurons", fontsize=8)
        strips[2].set_xlabel("K")
        strips[2].tick_params(labelbottom=True)
    figure.align_ylabels(list(grid[:, 0]))
    entries: list[Artist] = []
    for name, (colour, marker) in _SIDES.items():
        entries.append(Line2D([], [], color=colour, marker=marker, label=name))
        entries.append(Line2D([], [], color=colour, label="its null", **null_marks(marker)))
    band = Patch(color=GREY, alpha=0.2, label="± deviation over neurons")
    legend(figure, [*entries, band, _cut_entry()], columns=3)
    return figure


def compared(curves: Sequence[Row]) -> list[str]:
    """Return what figure 5 compares labels with: the truths, or without any the halves."""
    known = {row["against"] for row in curves}
    return [name for name in ("gold", "judge") if name in known] or ["halves"]


def _with_deviation(
    axes: Axes, curves: Sequence[Row], against: str, score: str, colour: str, marker: str
) -> None:
    """A score against the cut: its deviation over neurons as a band, its null dashed."""
    columns = _column(curves, against, score, "at", "value", "deviation", "null")
    at, value, deviation, null = columns
    low, high = np.clip(value - deviation, 0, 1), np.clip(value + deviation, 0, 1)
    axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    for edge in (low, high):
        axes.plot(at, edge, color=colour, linewidth=0.6, alpha=0.7)
    axes.plot(at, null, color=colour, **null_marks(marker))
    axes.plot(at, value, color=colour, marker=marker)


def _at_k(axes: Axes, strip: Axes, curves: Sequence[Row], against: str, score: str) -> None:
    """A score at K with its interval, its null dashed; the two scores beside each other."""
    colour, marker = _SIDES[score]
    names = ("at", "value", "low", "high", "null", "defined")
    at, value, low, high, null, defined = _column(curves, against, f"{score}_at_k", *names)
    _count(strip, at, defined, colour, marker)
    at = at + (-0.06 if score == "precision" else 0.06)
    axes.plot(at, null, color=colour, **null_marks(marker))
    axes.vlines(at, low, high, color=colour, linewidth=1.0)
    axes.plot(at, value, color=colour, marker=marker)


def _count(strip: Axes, at: np.ndarray, defined: np.ndarray, colour: str, marker: str) -> None:
    """How many neurons or descriptors have a defined score, on a log scale."""
    known = defined > 0
    strip.plot(at[known], defined[known], color=colour, marker=marker, linewidth=1.0, markersize=3)
    most = max([1.0, strip.get_ylim()[1], *defined])
    powers = range(0, math.ceil(math.log10(most)) + 1, 2 if most > 100 else 1)
    strip.set_yscale("log")
    strip.set_yticks([10**power for power in powers], [f"{10**power:,}" for power in powers])
    strip.minorticks_off()
    strip.set_ylim(0.6, 1.8 * most)


@style()
def jaccard(curves: Sequence[Row], nulls: Sequence[Row], score: str, rule: Rule) -> Figure:
    """Figures 6 and 7: similarity of the labels of the two halves against the cut.

    Args:
        curves: rows of curves.csv.
        nulls: rows of nulls.csv; every null is a line of its own, with the central 95% of its draws
            as a band.
        score: `jaccard`, per neuron, or `jaccard_by_descriptor`.
        rule: of the labels; its cut is marked.
    """
    known = {row["against"] for row in curves}
    ends = [end for end in ENDS if f"{_prefix(end)}halves" in known] or [HIGHEST]
    figure = Figure(figsize=(5.6 + 2.8 * (len(ends) - 1), 4.3), layout="constrained")
    grid = figure.subplots(
        2, len(ends), squeeze=False, sharex="col", sharey="row", height_ratios=[4, 1.2]
    )
    per = "descriptor" if score == "jaccard_by_descriptor" else "neuron"
    for axes, strip, end in zip(*grid, ends, strict=True):
        against = f"{_prefix(end)}halves"
        for name in dict.fromkeys(row["null"] for row in nulls):
            own = [row for row in nulls if row["null"] == name]
            colour, dashes, marker = _NULLS.get(name, _OTHER_NULL)
            at, mean, low, high = _column(own, against, score, "at", "mean", "low", "high")
            axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
            marks = {"marker": marker, "markerfacecolor": "w", "linestyle": dashes}
            axes.plot(at, mean, color=colour, linewidth=1.1, label=f"null: {shown(name)}", **marks)
        names = ("at", "value", "low", "high", "defined")
        at, value, low, high, defined = _column(curves, against, score, *names)
        axes.fill_between(at, low, high, color=BLUE, alpha=0.25, linewidth=0)
        axes.plot(at, value, color=BLUE, marker="o", label="mean, 95% interval")
        axes.set_title("" if len(ends) == 1 else f"{end} activations")
        _count(strip, at, defined, BLUE, "o")
        _cut_axis(axes, strip, curves, against, rule)
    top = min(1.0, grid[0, 0].get_ylim()[1])
    grid[0, 0].set(ylim=(-0.03 * top, top * 1.03), ylabel=f"Jaccard similarity, per {per}")
    grid[1, 0].set_ylabel(f"{per}s", fontsize=8)
    figure.align_ylabels(list(grid[:, 0]))
    legend(figure, [*grid[0, 0].get_legend_handles_labels()[0][::-1], _cut_entry()], columns=2)
    return figure


@style()
def correlation(rows: Sequence[Row], shares: dict[str, float]) -> Figure:
    """Figure 8: Pearson correlation of the descriptors, those alike beside each other.

    Args:
        rows: rows of correlation.csv.
        shares: share of sentences with each descriptor; the most frequent are drawn.
    """
    every = list(dict.fromkeys(row["first"] for row in rows))
    names = most_frequent({name: shares.get(name, np.nan) for name in every}, MOST)
    place = {name: i for i, name in enumerate(names)}
    matrix = np.full((len(names), len(names)), np.nan)
    for row in rows:
        if row["first"] in place and row["second"] in place:
            matrix[place[row["first"]], place[row["second"]]] = row["pearson"]
    order = alike(matrix)
    matrix = matrix[np.ix_(order, order)]
    figure = Figure(layout="compressed")
    axes = figure.subplots()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.patch.set(facecolor="0.93", edgecolor="0.6", hatch="//////")  # where undefined
    off = matrix[~np.eye(len(names), dtype=bool)]
    bound = np.ceil(np.nanmax(np.abs(off)) * 10) / 10 if np.isfinite(off).any() else 1.0
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(matrix), cmap="RdBu_r", vmin=-bound, vmax=bound, edgecolors="w",
        linewidth=0.4,
    )  # fmt: skip
    # In grey, too, one should see which are negative.
    for y, x in zip(*np.nonzero(matrix < -bound / 4), strict=True):
        axes.plot([x + 0.3, x + 0.7], [y + 0.5, y + 0.5], color="w", linewidth=0.9)
    labels = [shown(names[i]) for i in order]
    axes.set_xticks(np.arange(len(names)) + 0.5, labels, rotation=90)
    axes.set_yticks(np.arange(len(names)) + 0.5, labels)
    room, side = _room(figure, axes), max(2.4, 0.155 * len(names))
    figure.set_size_inches(room + side + 1.0, room + side + 0.3)
    axes.tick_params(length=0)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_title(_of(len(names), len(every)))
    figure.colorbar(
        mesh, ax=axes, shrink=0.6, aspect=30, label="Pearson correlation",
        extend="max" if bound < 1 else "neither",
    )  # fmt: skip
    return figure


@style()
def descriptor_shares(rows: Sequence[Row]) -> Figure:
    """Figure 9: share of the sentences with each descriptor, in each half and in all.

    Args:
        rows: rows of descriptors.csv.
    """
    every = {row["descriptor"]: row for row in rows}
    names = most_frequent({name: row["share_all"] for name, row in every.items()}, MOST)
    place = np.arange(len(names))
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    for half, colour, side in zip(HALVES, (BLUE, ORANGE), (-1, 1), strict=True):
        share = [every[name][f"share_{half}"] for name in names]
        axes.barh(place + 0.2 * side, share, 0.4, color=colour, label=f"{half} half")
    share = [every[name]["share_all"] for name in names]
    axes.plot(share, place, "|", color="k", markersize=9, markeredgewidth=1.3, label="all")
    axes.set_yticks(place, [shown(name) for name in names])
    figure.set_size_inches(_room(figure, axes) + 4, 1.2 + 0.2 * len(names))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, None), xlabel="share of sentences")
    axes.set_title(_of(len(names), len(every)))
    legend(figure, axes.get_legend_handles_labels()[0], columns=3)
    return figure


@style()
def alignment(rows: Sequence[Row]) -> Figure:
    """How well labels predict their neurons over all sentences of the half that did not choose.

    Args:
        rows: rows of alignment.csv.
    """
    ends = [end for end in ENDS if any(row["end"] == end for row in rows)] or [HIGHEST]
    figure = Figure(figsize=(5.2 + 2.6 * (len(ends) - 1), 3.1), layout="constrained")
    panels = figure.subplots(1, len(ends), squeeze=False, sharey=True)[0]
    for axes, end in zip(panels, ends, strict=True):
        for half, (colour, marker), side in zip(
            HALVES, _SIDES.values(), (-0.15, 0.15), strict=True
        ):
            own = {r["score"]: r for r in rows if (r["end"], r["chosen"]) == (end, half)}
            columns = [[own[m][key] if m in own else np.nan for m in METRICS] for key in _ALIGNED]
            value, low, high, null = np.array(columns, dtype=float)
            place = np.arange(len(METRICS)) + side
            marks = {"color": colour, "marker": marker, "linestyle": "none"}
            axes.hlines(place, low, high, color=colour, linewidth=1.0)
            axes.plot(value, place, label=f"labels of the {half} half", **marks)
            axes.plot(null, place, label="null: other labels", markerfacecolor="w", **marks)
        axes.set_yticks(range(len(METRICS)), METRICS.values())
        axes.set(ylim=(len(METRICS) - 0.5, -0.5), xlabel="mean over labels, on the other half")
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        axes.set_title("" if len(ends) == 1 else f"{end} activations")
        say_if_empty(axes)
    legend(figure, panels[0].get_legend_handles_labels()[0], columns=2)
    return figure


def _room(figure: Figure, axes: Axes) -> float:
    """Inches of the longest name beside an axis."""
    widths = (label.get_window_extent().width for label in axes.get_yticklabels())
    return max(widths, default=0.0) / figure.dpi


def _of(drawn: int, every: int) -> str:
    return "" if drawn == every else f"the {drawn} most frequent of {every} descriptors"


def _prefix(end: str) -> str:
    return "" if end == HIGHEST else f"{end}_"


def _title(against: str) -> str:
    """What a panel compares, in words."""
    end = next((end for end in ENDS if against.startswith(f"{end}_")), HIGHEST)
    words = AGAINST[against.removeprefix(_prefix(end))]
    return words if end == HIGHEST else f"{end} activations,\n{words}"


def _column(rows: Sequence[Row], against: str, score: str, *names: str) -> list[np.ndarray]:
    """Columns of the rows of one score, in the order of their cuts: float64 [cuts] each."""
    own = [row for row in rows if (row["against"], row["score"]) == (against, score)]
    own.sort(key=lambda row: float(row["at"]))
    return [np.array([row[name] for row in own], dtype=float) for name in names]


def _cut_axis(axes: Axes, strip: Axes, curves: Sequence[Row], against: str, rule: Rule) -> None:
    """The axis of the cut: t, or false discovery rates on a log scale; the one in force marked."""
    (at,) = _column(curves, against, "precision", "at")
    if rule.name == "enrichment":
        rates_axis(strip, at)
    strip.set_xlabel(CUTS[rule.name])
    strip.tick_params(labelbottom=True)  # in every row of panels
    for part in (axes, strip):
        part.axvline(rule.cut, zorder=0.5, **_IN_FORCE)
    say_if_empty(axes)


def _cut_entry() -> Line2D:
    return Line2D([], [], label="cut of the labels", **_IN_FORCE)
