"""Print the neurons that fire on a text of the user."""

from textwrap import shorten

import numpy as np
from rich.table import Column, Table
from rich.text import Text

from descry.cli.console.terminal import console, plain
from descry.io.number_format import fixed
from descry.try_text import Firing, Trial

_LONGEST = 500  # characters of the text that are shown
_WORDS = 3  # of a neuron, in the table of all
_COLUMNS = 6  # neurons side by side, word by word
_MEASURES = {
    "activation": "activation of its highest token",
    "lost without it": "activation that is lost without it",
}


def show_trial(trial: Trial, rows: int, *, by_word: bool) -> None:
    """Print the labels whose neurons fire, and the neurons that the text excites most.

    Args:
        by_word: print every word of the text for the first neurons.
    """
    out = console()
    out.print(plain(shorten(trial.text, _LONGEST, placeholder=" ...")), soft_wrap=True)
    if trial.seen:
        out.print(trial.seen)
    if trial.in_corpus:
        out.print(f"sentence {trial.id} of the corpus")
    out.print(
        f"{trial.firing:,} of {len(trial.firings):,} {trial.kind}s fire: the text would be one of"
        f" their exemplars; of a sentence of the corpus {fixed(trial.expected, 1)} on average",
        soft_wrap=True,
    )
    if trial.labels and not by_word:
        out.print(_labels(trial, rows))
    out.print(_neurons(trial, rows))
    if by_word:
        out.print(f"word by word: {_MEASURES[trial.measure]}")
        for first in range(0, min(rows, len(trial.firings)), _COLUMNS):
            out.print(_by_word(trial, trial.firings[first : first + _COLUMNS]))


def _labels(trial: Trial, rows: int) -> Table:
    some = trial.labels[:rows]
    title = f"labels whose {trial.kind}s fire: {len(some)} of {len(trial.labels)}"
    table = Table(title=title, title_justify="left")
    for column in ("label", "fire", "have it", "expected to fire"):
        table.add_column(column, justify="left" if column == "label" else "right")
    for row in some:
        counts = (f"{row[name]:,}" for name in ("firing", "neurons"))
        table.add_row(plain(row["label"]), *counts, fixed(row["expected"], 1))
    return table


def _neurons(trial: Trial, rows: int) -> Table:
    some = trial.firings[:rows]
    title = f"{trial.kind}s that it excites most: {len(some):,} of {len(trial.firings):,}"
    table = Table(title=title, title_justify="left")
    about = "" if trial.exact else "about "
    for column in (trial.kind, "activation", f"{about}% of corpus not above", "as exemplar"):
        table.add_column(column, justify="left" if column == trial.kind else "right")
    table.add_column(f"words ({trial.measure})")
    table.add_column("labels")
    for one in some:
        place = f"{one.place:,} of {one.size:,}" if one.place else "no"
        table.add_row(
            one.neuron,
            fixed(one.activation, one.digits),
            fixed(one.percent, 1),
            place,
            _strongest(trial, one),
            plain(", ".join(one.labels)),
        )
    return table


def _strongest(trial: Trial, one: Firing) -> Text:
    """The words with the highest numbers, the highest first."""
    known = np.nan_to_num(one.words, nan=-np.inf)
    places = [place for place in np.argsort(-known, kind="stable") if np.isfinite(known[place])]
    told = (
        f"{trial.words[place].text} {fixed(one.words[place], one.digits)}"
        for place in places[:_WORDS]
    )
    return plain(", ".join(told))


def _by_word(trial: Trial, some: list[Firing]) -> Table:
    table = Table("word", *(Column(one.neuron, justify="right") for one in some))
    for place, word in enumerate(trial.words):
        values = [(float(one.words[place]), one.digits) for one in some]
        cells = ("" if np.isnan(value) else fixed(value, digits) for value, digits in values)
        table.add_row(plain(word.text), *cells)
    return table
