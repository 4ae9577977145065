"""The two rules by which a neuron gets its labels: the strength of a descriptor, and its limit.

composition: f(c), the paper's (section 3.3). enrichment: -log10 of the false discovery rate at
which a descriptor is over-represented among the exemplars, within strata.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from descry.activations.nan_stats import ratio
from descry.labels.assignment import Frequency, SetCounts, assign, broad_descriptors
from descry.labels.enrichment import enrichment, strength
from descry.labels.matched import Matched

_NEAR = 1.25  # times the average share: a cut below it tells little
RuleName = Literal["composition", "enrichment"]


@dataclass(frozen=True)
class Rule:
    """A labelling rule.

    Attributes:
        frequency: how f is counted, for composition.
        cut: t, or the false discovery rate.
    """

    name: RuleName
    frequency: Frequency
    cut: float

    @classmethod
    def of(cls, label: Mapping[str, Any]) -> "Rule":
        """The rule that the section of stage label names."""
        cut = label["threshold" if label["rule"] == "composition" else "fdr"]
        return cls(label["rule"], label["frequency"], float(cut))

    @property
    def of_occurrences(self) -> bool:
        """Whether f is a share of occurrences: then it does not matter how many have an answer."""
        return self.name == "composition" and self.frequency == "occurrences"

    def bound(self, cut: float) -> float:
        """The strength above which a descriptor is assigned at a cut."""
        return cut if self.name == "composition" else -math.log10(cut)

    def numbers(
        self, sets: SetCounts, matched: Matched, top_k: int | None, within: bool
    ) -> dict[str, np.ndarray]:
        """A split's labels by column of labels.parquet, each [neurons, descriptors].

        Args:
            matched: the test of the same pairs within strata.
            top_k: labels of a neuron, at most; None for all.
            within: whether the exemplars are among the sentences that represent the split.
        """
        f, base = sets.f(self.frequency), sets.base(self.frequency)
        of_split = sets.base_count, sets.base_answered, within
        unmatched = enrichment(sets.count, sets.answered, *of_split)
        return {
            "f": f,
            "count": sets.count,
            "base_rate": np.broadcast_to(base, f.shape),
            "lift": sets.lift(self.frequency),
            "expected": matched.expected,
            "p": matched.p,
            "q": matched.q,
            "p_unmatched": unmatched.p,
            "q_unmatched": unmatched.q,
            "assigned": self.assigned(sets, matched, top_k),
        }

    def assigned(self, sets: SetCounts, matched: Matched, top_k: int | None) -> np.ndarray:
        """Which descriptor labels which neuron: bool [neurons, descriptors].

        Args:
            matched: as in `numbers`; for enrichment, q need be known up to `cut` alone.
        """
        if self.name == "composition":
            f = sets.f(self.frequency)
            strong = above_base(f, f, sets.base(self.frequency))
        else:
            strong = np.where(sets.count > matched.expected, strength(matched.q), 0.0)
        return assign(strong, self.bound(self.cut), top_k)

    def broad(self, sets: SetCounts, silent: int, share: float) -> list[tuple[int, float]]:
        """Descriptors that are dropped, as `broad_descriptors` gives them.

        Enrichment has none: what is common everywhere is not enriched. Of a few chosen neurons
        nearly every label is on most: breadth is judged over all that have a set, if all of those
        were asked about.

        Args:
            silent: how many neurons have no set.
            share: of all neurons, above which a descriptor is broad.
        """
        of_sets = sets.asked.sum()
        if self.name == "enrichment" or not of_sets or of_sets + silent < len(sets.asked):
            return []
        return broad_descriptors(sets, self.frequency, self.cut, share)

    def low_cut(self, descriptors: int) -> str | None:
        """A warning where the cut is about what each of so few descriptors has on average."""
        if not self.of_occurrences or self.cut >= _NEAR / descriptors:
            return None
        return (
            f"with {descriptors} descriptors each has a share of {1 / descriptors:.2g} on average:"
            f" label.threshold {self.cut:g} is no threshold for so few (raise it, or use rule:"
            " enrichment)"
        )


def above_base(strong: np.ndarray, f: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Strengths, but 0 where the lift f / base is not above 1; all [neurons, descriptors]."""
    return np.where(ratio(f, base) <= 1, 0.0, strong)
