"""Whether labels are better than those that random sets of sentences would get.

A rule may give every neuron labels: with few descriptors, a threshold below their mean share does.
Two numbers tell whether labels mean anything: how many neurons have a label that is
over-represented at a false discovery rate of 5% over all pairs, and how many would have a label if
their sets were random ones of the same size and strata.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FDR = 0.05


@dataclass(frozen=True)
class Chance:
    """Labels beside those of random sets of sentences.

    Attributes:
        neurons: that have a set, all of which was asked about.
        labelled: of them, those with a label.
        significant: of those, the ones with a label of q <= FDR.
        labels: how many labels there are.
        draws: how often every neuron got a random set.
        random_labelled, random_labels: neurons with a label and labels in a draw, on average.
        random_any: share of the draws with any label.
    """

    neurons: int
    labelled: int
    significant: int
    labels: int
    draws: int
    random_labelled: float
    random_labels: float
    random_any: float

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


def by_chance(assigned: np.ndarray, q: np.ndarray, random: Iterable[np.ndarray]) -> Chance | None:
    """Compare labels with those of random sets; None where there is no draw.

    Args:
        assigned, q: [neurons, descriptors], of the neurons with a set.
        random: the labels of each draw, bool [neurons, descriptors].
    """
    counts = [(found.any(axis=1).sum(), found.sum()) for found in random]
    if not counts or not len(assigned):
        return None
    labelled, labels = np.array(counts).T
    return Chance(
        neurons=len(assigned),
        labelled=int(assigned.any(axis=1).sum()),
        significant=int((assigned & (q <= FDR)).any(axis=1).sum()),
        labels=int(assigned.sum()),
        draws=len(counts),
        random_labelled=float(labelled.mean()),
        random_labels=float(labels.mean()),
        random_any=float((labels > 0).mean()),
    )
