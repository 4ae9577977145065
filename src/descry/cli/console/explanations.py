"""Print scores of explanations from elsewhere beside the labels of the run."""

import sys

from rich.table import Table

from descry.cli.console.terminal import console, plain
from descry.explanations.comparison import SCORES
from descry.explanations.score import Compared
from descry.io.csv_rows import Row
from descry.io.number_format import fixed
from descry.io.sanitize import printable

_TOLD = {
    "theirs": "their explanations",
    "theirs_other": "theirs of another neuron",
    "theirs_over_other": "difference",
    "ours": "our labels",
    "ours_other": "ours of another neuron",
    "ours_over_other": "difference",
    "theirs_minus_ours": "theirs less ours",
    "length": "length alone",
    "frequency": "frequency of words alone",
}

_LAST = ("ours_over_other", "theirs_minus_ours")  # rows of a section


def show_compared_explanations(found: Compared) -> None:
    """Print means with intervals; what was passed over goes to stderr, a line for each kind."""
    for line in found.foreign.lines():
        print(printable(line), file=sys.stderr)
    told = f"{len(found.rows)} neurons, by {found.annotator['name']}"
    console().print(plain(told), soft_wrap=True)
    table = Table("", *(f"{score.replace('_', ' ')} (95% interval)" for score in SCORES), "neurons")
    for name, words in _TOLD.items():
        cells = [_cell(found.means[score].get(name)) for score in SCORES]
        number = found.means["auroc"][name]["neurons"]
        table.add_row(words, *cells, str(number), end_section=name in _LAST)
    console().print(table)


def _cell(one: Row | None) -> str:
    if one is None:
        return ""
    return f"{fixed(one['value'])} ({fixed(one['low'])} to {fixed(one['high'])})"
