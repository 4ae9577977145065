"""The figure of a sweep: how similar the labels of the halves are, whatever the settings."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from descry.io.csv_rows import Row
from descry.labels.rules import Rule
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
    style,
)

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
_SWEPT = ("cluster_threshold", "top_percent", "score")
_BAND = ("at", "value", "low", "high", "null")
_PER = {"jaccard": "Jaccard per neuron", "jaccard_by_descriptor": "Jaccard per descriptor"}


@style()
def sensitivity(rows: Sequence[Row], rule: Rule) -> Figure:
    """How similar the labels of the halves are, whatever k, cut and cluster threshold are.

    Args:
        rows: of `sweep.sweep`; a row of panels per cluster threshold, a line per k.
        rule: of the labels.
    """
    thresholds = list(dict.fromkeys(row["cluster_threshold"] for row in rows)) or [None]
    percents = list(dict.fromkeys(row["top_percent"] for row in rows))
    looks = dict(zip(percents, cycle(zip(_COLOURS, "osD^v", strict=True)), strict=False))
    figure = Figure(figsize=(6.6, 0.7 + 2.5 * len(thresholds)), layout="constrained")
    grid = figure.subplots(len(thresholds), 2, squeeze=False, sharex=True)
    for panels, threshold in zip(grid, thresholds, strict=True):
        for axes, (score, title) in zip(panels, _PER.items(), strict=True):
            for percent, (colour, marker) in looks.items():
                key = threshold, percent, score
                own = [r for r in rows if key == tuple(r[name] for name in _SWEPT)]
                own.sort(key=lambda row: float(row["at"]))
                columns = [[row[name] for row in own] for name in _BAND]
                at, value, low, high, null = np.array(columns, dtype=float)
                axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
                axes.plot(at, null, color=colour, **null_marks(marker))
                axes.plot(at, value, color=colour, marker=marker)
            at_cluster = "" if threshold is None else f", clusters at {threshold:g}"
            axes.set(title=title + at_cluster, ylim=(0, None))
            if rule.name == "enrichment":
                rates_axis(axes, sorted({row["at"] for row in rows}))
            say_if_empty(axes)
    for axes in grid[-1]:
        axes.set_xlabel(CUTS[rule.name])
    entries: list[Artist] = []
    for percent, (colour, marker) in looks.items():
        entries.append(Line2D([], [], color=colour, marker=marker, label=f"k = {percent:g}%"))
        entries.append(Line2D([], [], color=colour, label="its null", **null_marks(marker)))
    legend(figure, entries, columns=3)
    return figure
