"""Facets of neurons: groups of exemplars, each with labels of its own, beside nulls.

A neuron is parted where its exemplars fall apart further than random sets of the same strata do. A
facet's labels are found by the test of labels: descriptors over-represented among its sentences,
within strata. Groups of sentences that say similar things always have such descriptors. So two
nulls stand beside them: the descriptors of the groups of random sets, and the descriptors of the
exemplars dealt at random into groups of the same sizes, which have the neuron's labels whatever the
facets are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import mean
from descry.evaluation.sentence_clusters import Groups, bound, groups, padded
from descry.io.csv_rows import Row
from descry.labels.assignment import SetCounter
from descry.labels.enrichment import false_discovery_rates
from descry.labels.matched import matched_enrichment
from descry.labels.strata import Strata

SOUGHT = 0.05  # p of a descriptor among all exemplars, below which the neuron seeks it


@dataclass(frozen=True)
class SetTest:
    """The test within strata of any sets of sentences.

    Attributes:
        descriptors: how many there are.
        base: bool [sentences], those that represent all.
        within: whether sets are among those.
        fdr: the false discovery rate at which a descriptor is a label.
    """

    counter: SetCounter
    descriptors: int
    strata: Strata
    base: np.ndarray
    within: bool
    fdr: float

    def __call__(self, sets: np.ndarray) -> "Tested":
        """Test sets, int [sets, size], -1 behind the end of a smaller one."""
        if not len(sets):
            none = np.zeros((0, self.descriptors))
            return Tested(none, none, none, none, none.astype(bool))
        found = matched_enrichment(self.counter, [sets], self.strata, self.base, within=self.within)
        count = self.counter.tally([sets], self.base).count
        q = false_discovery_rates(found.p)
        return Tested(count, found.expected, found.p, q, (q < self.fdr) & (count > found.expected))


class Tested(NamedTuple):
    """Sets and descriptors: [sets, descriptors] each; `yes` are sentences with the descriptor."""

    yes: np.ndarray
    expected: np.ndarray
    p: np.ndarray
    q: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Facets:
    """The facets of some neurons.

    Attributes:
        neurons: of each neuron its groups: rows of the corpus; one group where it is not parted.
        silhouettes: of the best partition of each, NaN where there is none; float64 [neurons].
        tested: of all facets of parted neurons, one after the other.
        whole: p of each neuron's whole set, float64 [neurons, descriptors].
        chance: what stands beside: see `facets`.
    """

    neurons: list[list[np.ndarray]]
    silhouettes: np.ndarray
    tested: Tested
    whole: np.ndarray
    chance: Row


def facets(
    sets: np.ndarray,
    random: Sequence[np.ndarray],
    vectors: Callable[[np.ndarray], np.ndarray],
    test: SetTest,
    most: int,
    seed: int,
) -> Facets:
    """Part the sets of neurons, and label the parts.

    `chance` has neurons; parted; bound, the silhouette above which a set is parted; random_sets,
    how many random sets it comes from. Then, each of the facets (`facets_`), of lots (`lots_`) and
    of groups of random sets (`random_`): groups; labels, of a group on average; alone, those that
    no other group of the neuron has; sought, the share of labels that are
    over-represented (p < .05) in the neuron's whole set, too.

    Args:
        sets: int [neurons, size], rows of the corpus, -1 behind the end of a smaller set.
        random: draws of random sets, each like `sets`; none where they cannot be drawn.
        vectors: of rows, float [rows, dimension].
        most: groups of a neuron, at most.
        seed: deals exemplars into groups at random.
    """
    members = [own[own >= 0] for own in sets]
    found = [groups(vectors(own), most) for own in members]
    drawn = [[(own[own >= 0]) for own in draw] for draw in random]
    by_chance = [[groups(vectors(own), most) for own in draw] for draw in drawn]
    beyond = bound(np.array([of.silhouette for draw in by_chance for of in draw]))
    number = [of.best if of.silhouette > beyond else 1 for of in found]
    parts = [_parts(own, of, k) for own, of, k in zip(members, found, number, strict=True)]
    parted = [n for n, k in enumerate(number) if k > 1]
    rng = np.random.default_rng([seed, *b"facets"])
    lots = [_dealt(members[n], parts[n], rng) for n in parted]
    alike: list[tuple[np.ndarray, list[np.ndarray]]] = []
    for n in parted:
        of_draws = zip(drawn, by_chance, strict=True)
        some = next(((d[n], b[n]) for d, b in of_draws if number[n] in b[n].members), None)
        if some is not None:
            alike.append((some[0], _parts(*some, number[n])))
    whole = test(sets)
    tested = test(padded([part for n in parted for part in parts[n]]))
    chance: Row = {"neurons": len(sets), "parted": len(parted), "bound": beyond}
    chance["random_sets"] = sum(map(len, drawn))
    of_whole = whole.p[np.repeat(parted, [number[n] for n in parted]).astype(int)]
    chance |= _counts("facets", tested, of_whole, [len(parts[n]) for n in parted])
    of_lots = test(padded([part for own in lots for part in own]))
    chance |= _counts("lots", of_lots, of_whole, [len(own) for own in lots])
    of_random = test(padded([part for _, own in alike for part in own]))
    whole_random = test(padded([own for own, _ in alike])).p
    sizes = [len(own) for _, own in alike]
    chance |= _counts("random", of_random, np.repeat(whole_random, sizes, axis=0), sizes)
    silhouettes = np.array([of.silhouette for of in found])
    return Facets(parts, silhouettes, tested, whole.p, chance)


def _parts(rows: np.ndarray, of: Groups, number: int) -> list[np.ndarray]:
    if number == 1:
        return [rows]
    return [rows[of.members[number] == group] for group in range(number)]


def _dealt(rows: np.ndarray, parts: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Deal the rows at random into groups as large as `parts`."""
    return np.split(rng.permutation(rows), np.cumsum([len(part) for part in parts])[:-1])


def _counts(name: str, tested: Tested, whole: np.ndarray, sizes: list[int]) -> Row:
    """Labels of groups; `sizes` are the groups of each neuron."""
    labels = tested.labels
    neuron = np.repeat(np.arange(len(sizes)), sizes)
    shared = np.zeros((len(sizes), labels.shape[1]), dtype=int)
    np.add.at(shared, neuron, labels)
    alone = labels & (shared[neuron] == 1)
    return {
        f"{name}_groups": len(labels),
        f"{name}_labels": mean(labels.sum(axis=1)),
        f"{name}_alone": mean(alone.sum(axis=1)),
        f"{name}_sought": mean((whole < SOUGHT)[labels]),
    }
