"""Whether labels are better than those that random sets of sentences would get.

A rule may give every neuron labels: a threshold below what each of a few descriptors has on average
does. Two things tell whether they mean anything: how many neurons have a label that is
over-represented at a false discovery rate of 5% over all pairs, and how many would have a label if
their sets were random ones of the same size.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from descry.labels.counting import random_pools

FDR = 0.05
_POOL = 1000  # random sets: what the average of labels is taken over
_SEED = 0

Label = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Chance:
    """Labels beside those of random sets of sentences.

    Attributes:
        neurons: that have a set, all of which was asked about.
        labelled: of them, those with a label.
        significant: of those, the ones with a label of q <= FDR.
        random_labelled: how many of as many random sets have a label, on average.
        labels, random_labels: how many labels there are.
    """

    neurons: int
    labelled: int
    significant: int
    random_labelled: float
    labels: int
    random_labels: float

    @property
    def no_better(self) -> bool:
        """Whether most labelled neurons would be so by chance: by number, and each by itself."""
        return 2 * self.significant < self.labelled <= 2 * self.random_labelled

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self) | {"no_better": self.no_better}

    def words(self, what: str) -> str | None:
        """A warning, where they are no better.

        Args:
            what: whose labels, such as "neurons".
        """
        if not self.no_better:
            return None
        return (
            f"{self.labelled:,} of {self.neurons:,} {what} have a label, and of random sets of"
            f" sentences {round(self.random_labelled):,} would; {self.significant:,} have one with"
            f" q at most {FDR:g}: most of these labels are no better than chance"
        )


def by_chance(
    assigned: np.ndarray, q: np.ndarray, sizes: np.ndarray, sentences: np.ndarray, label: Label
) -> Chance | None:
    """Compare labels with those of random sets; None where there are too few sentences to draw.

    Args:
        assigned, q: [neurons, descriptors], of the neurons with a set.
        sizes: int [neurons], of their sets.
        sentences: rows of the corpus that stand for it.
        label: which labels sets have, int [sets, size] to bool [sets, descriptors].
    """
    if not len(sizes) or int(sizes.max()) > len(sentences):
        return None
    rng, expected = np.random.default_rng([_SEED, *b"chance"]), np.zeros(2)
    for neurons, places in random_pools(len(sentences), sizes, _POOL, 0, rng):
        found = label(np.where(places >= 0, sentences[places], places))
        expected += len(neurons) * np.array([found.any(axis=1).mean(), found.sum(axis=1).mean()])
    return Chance(
        neurons=len(sizes),
        labelled=int(assigned.any(axis=1).sum()),
        significant=int((assigned & (q <= FDR)).any(axis=1).sum()),
        random_labelled=float(expected[0]),
        labels=int(assigned.sum()),
        random_labels=float(expected[1]),
    )
