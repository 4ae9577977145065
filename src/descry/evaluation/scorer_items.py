"""What neurons' descriptions are tried out on: sentences drawn by seed, and prompts of them.

The labels of one half of the corpus are tried out on sentences of the other, which had no part in
choosing them. Beside each description stands the description of another neuron, as a null.
"""

from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from descry.annotators.prompts import Prompt, described, detection, intruder, simulation
from descry.corpus.splits import draw
from descry.models.neurons import Neurons

CLOSE = "detection_close"  # the scorer that is shown close negatives


class Lineup(NamedTuple):
    """The rows of some exemplars and one other sentence, shuffled; `right` is the other's place."""

    rows: list[int]
    right: int


class ScorerItem(NamedTuple):
    """A neuron that is tried out.

    Attributes:
        neuron: its name.
        place: row of the layer, index.
        descriptions: its own and that of another neuron; () where it has no label, its own alone
            where no other neuron has one.
        other: the other neuron's name, or "".
        active: rows of the corpus, held-out exemplars.
        quiet: rows of the same half outside its exemplar sets, as many if there are that many.
        lineups: one for every quiet row.
        close: rows of the same half that are most like its exemplars and do not excite it, as many
            as are active at most.
    """

    neuron: str
    place: tuple[int, int]
    descriptions: tuple[str, ...]
    other: str
    active: list[int]
    quiet: list[int]
    lineups: list[Lineup]
    close: list[int]

    def shown_to(self, scorer: str) -> list[int]:
        """The sentences that a scorer asks about, active ones first."""
        return self.active + (self.close if scorer == CLOSE else self.quiet)

    @property
    def rows(self) -> list[int]:
        """All its sentences."""
        return self.active + self.quiet


class Sentences(NamedTuple):
    """Where sentences are drawn from.

    Attributes:
        ids: of the whole corpus.
        rows: of the half that had no part in choosing the labels.
        held: its exemplar sets, int [layers, neurons, size], rows of the corpus, -1 behind the end
            of a smaller set.
        whole: the exemplar sets of the whole corpus, int [layers, neurons, size].
        close: close negatives of that half by the neuron's name, the closest first.
    """

    ids: list[str]
    rows: list[int]
    held: np.ndarray
    whole: np.ndarray
    close: Mapping[str, list[int]]

    def sets(self, place: tuple[int, int]) -> list[list[int]]:
        """A neuron's sets of both kinds."""
        return [sets[place][sets[place] >= 0].tolist() for sets in (self.held, self.whole)]


def descriptions(
    assigned: np.ndarray, f: np.ndarray, descriptors: list[str], neurons: Neurons
) -> dict[str, str]:
    """The description of every neuron with a label: its descriptors, the most frequent first.

    Args:
        assigned, f: of one half, [layers, neurons, descriptors].
    """
    found = {}
    for row, index in np.argwhere(assigned.any(axis=2)).tolist():
        columns = np.flatnonzero(assigned[row, index])
        order = columns[np.argsort(-f[row, index, columns], kind="stable")]
        found[neurons.name(row, index)] = described([descriptors[column] for column in order])
    return found


def trials(
    texts: dict[str, str],
    every: Neurons,
    source: Sentences,
    *,
    neurons: list[str] | int | None,
    sentences: int,
    distractors: int,
    seed: int,
) -> list[ScorerItem]:
    """The neurons that are tried out, layer by layer.

    Args:
        texts: the descriptions of those that have one.
        neurons: names, how many of the described to draw, or None for all of those.
        sentences: of each kind, at most.
        distractors: exemplars in a line-up, at most.

    Raises:
        InputError: a name is no neuron of the model.
    """
    around = sorted(texts, key=lambda name: draw(seed, f"description:{name}"))
    following = dict(zip(around, around[1:] + around[:1], strict=True))
    ring, found = _DistractorRing(source, seed), []
    if not isinstance(neurons, list):
        neurons = sorted(texts, key=lambda name: draw(seed, f"neuron:{name}"))[:neurons]
    for place in sorted({every.find(name) for name in neurons}):
        name, held, whole = every.name(*place), *source.sets(place)
        active = sorted(held, key=lambda row: draw(seed, f"{name}:{source.ids[row]}"))[:sentences]
        quiet = ring.some(name, len(active), {*held, *whole})
        other = following.get(name, name)
        names = [name] if other == name else [name, other]
        own = tuple(texts[described] for described in names if described in texts)
        lineups = [_lineup(name, active, row, source.ids, distractors, seed) for row in quiet]
        shown = "" if other == name else other
        close = source.close.get(name, [])[: len(active)]
        found.append(ScorerItem(name, place, own, shown, active, quiet, lineups, close))
    return found


class _DistractorRing:
    """Sentences in the order of their lots, in a circle: a neuron takes those from its own lot on.

    So a draw costs no lot for every neuron and sentence, and one review more hardly changes it.
    """

    def __init__(self, source: Sentences, seed: int) -> None:
        lots = sorted((draw(seed, f"quiet:{source.ids[row]}"), row) for row in source.rows)
        self.lots, self.rows = [lot for lot, _ in lots], [row for _, row in lots]
        self.seed = seed

    def some(self, neuron: str, number: int, without: set[int]) -> list[int]:
        """Draw `number` sentences for a neuron, or all if there are fewer."""
        start = bisect(self.lots, draw(self.seed, f"quiet of:{neuron}"))
        around = (self.rows[i - len(self.rows)] for i in range(start, start + len(self.rows)))
        return list(islice((row for row in around if row not in without), number))


def _lineup(
    neuron: str, active: list[int], quiet: int, ids: list[str], distractors: int, seed: int
) -> Lineup:
    def lot(what: str, row: int) -> bytes:
        return draw(seed, f"{what}:{neuron}:{ids[quiet]}:{ids[row]}")

    others = sorted(active, key=lambda row: lot("company", row))[:distractors]
    rows = sorted([*others, quiet], key=lambda row: lot("order", row))
    return Lineup(rows, rows.index(quiet))


def prompts_of(scorer: str, tried: Sequence[ScorerItem], corpus: Sequence[str]) -> list[Prompt]:
    """All that a scorer asks, neuron by neuron; `corpus` has the texts."""
    rows = {row for trial in tried for row in (*trial.rows, *trial.close)}
    texts = {row: corpus[row] for row in sorted(rows)}  # neighbours are read from a file together
    if scorer == "intruder":
        lineups = [lineup for trial in tried for lineup in trial.lineups]
        return [intruder([texts[row] for row in lineup.rows]) for lineup in lineups]
    make = simulation if scorer == "simulation" else detection
    # Both descriptions one after the other: a causal model computes their sentence's states once.
    return [
        make(texts[row], description)
        for trial in tried
        for row in trial.shown_to(scorer)
        for description in trial.descriptions
    ]
