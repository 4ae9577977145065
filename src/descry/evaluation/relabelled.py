"""Labels of the whole corpus by other answers or other exemplars, with a run's own rule and strata.

What they cost where annotator and target share a model: an annotator that errs as the neurons do
agrees with them where both are wrong. The comparison: the labels of the truth, and of an annotator
that is right as often, but errs at random.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from descry.activations.nan_stats import ratio
from descry.annotators.annotations import Annotations
from descry.annotators.bitset import Answers
from descry.io.csv_rows import Row
from descry.io.prefetch import cores, map_ahead
from descry.labels.assignment import SetCounter, SetCounts, asked_sets
from descry.labels.matched import Matched, matched_enrichment
from descry.labels.rules import Rule
from descry.labels.strata import Matching, Strata

DRAWS = 20  # of an annotator that errs at random
_SEED = 0


@dataclass(frozen=True)
class Labelling:
    """How labels are made.

    Attributes:
        top_k: labels of a neuron, at most; None for all.
        asked: bool [sentences], those that are asked about.
        sampled: bool [sentences], those that represent the corpus.
        strata: of the sentences that are asked about.
    """

    rule: Rule
    top_k: int | None
    asked: np.ndarray
    sampled: np.ndarray
    strata: Strata

    @classmethod
    def of(
        cls,
        label: Mapping[str, Any],
        b: Annotations,
        about: np.ndarray,
        covariates: Mapping[str, np.ndarray],
    ) -> "Labelling":
        """As the section of stage label has it.

        Args:
            b: says which sentences were asked about, and which of them stand for the rest.
            about: bool [sentences], those that the answers are about.
            covariates: that sentences are matched on, of all sentences.
        """
        strata = Matching.of(label).strata(covariates, np.flatnonzero(about), b.sampled)
        return cls(Rule.of(label), label["top_k"], b.asked & about, b.sampled & about, strata)

    def numbers(self, exemplars: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of labels.parquet, each [neurons, descriptors].

        Args:
            exemplars: int [neurons, size], rows of `answers`, -1 behind the end of a smaller set.
            answers: int8 [sentences, descriptors], 1 Yes, 0 No, -1 none.
        """
        return self.rule.numbers(*self._tested(exemplars, answers, 1.0), self.top_k, self._within)

    def labels(self, exemplars: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Which descriptor labels which neuron: bool [neurons, descriptors]."""
        least = self.rule.cut if self.rule.name == "enrichment" else 0.0
        return self.rule.assigned(*self._tested(exemplars, answers, least), self.top_k)

    @property
    def _within(self) -> bool:
        return bool(self.sampled[self.asked].all())

    def _tested(
        self, exemplars: np.ndarray, answers: np.ndarray, least: float
    ) -> tuple[SetCounts, Matched]:
        """What the rule takes; `least` is that of `matched_enrichment`."""
        sets = np.where(asked_sets(exemplars, self.asked)[:, None], exemplars, -1)
        counter = SetCounter(Answers.of(answers), self.asked)
        matched = matched_enrichment(
            counter, [sets], self.strata, self.sampled, within=self._within, least=least
        )
        return counter.tally([sets], self.sampled), matched


def shared_errors(
    labelling: Labelling, exemplars: np.ndarray, said: np.ndarray, truth: np.ndarray
) -> Row:
    """What labels owe to errors that the annotator shares with the neurons.

    Numbers of labels over the same sentences and descriptors: by the annotator, by the truth, by
    both, and by an annotator that says Yes as often where that is true, and as often where it is
    not, descriptor by descriptor, but else at random: mean, lowest and highest of `DRAWS` draws.

    Args:
        exemplars: int [neurons, size], rows of `said`, -1 behind the end of a smaller set.
        said, truth: int8 [sentences, descriptors], 1 Yes, 0 No, -1 none.
    """
    known = (truth >= 0).any(axis=0)
    said, truth = said[:, known], truth[:, known]
    judged = (truth >= 0) & (said >= 0)
    by_annotator, by_truth = (
        labelling.labels(exemplars, np.where(judged, answers, -1)) for answers in (said, truth)
    )
    true, yes = judged & (truth == 1), judged & (said == 1)
    false = judged & ~true
    sensitivity = ratio((yes & true).sum(axis=0), true.sum(axis=0))
    mistaken = ratio((yes & false).sum(axis=0), false.sum(axis=0))
    chance = np.where(true, sensitivity, mistaken)

    def draw(number: int) -> int:
        rng = np.random.default_rng([_SEED, number, *b"errs by lot"])
        answers = np.where(judged, rng.random(truth.shape) < chance, -1).astype(np.int8)
        return int(labelling.labels(exemplars, answers).sum())

    drawn = list(map_ahead(draw, range(DRAWS), cores()))
    return {
        "neurons": len(exemplars),
        "descriptors": truth.shape[1],
        "annotator": int(by_annotator.sum()),
        "truth": int(by_truth.sum()),
        "both": int((by_annotator & by_truth).sum()),
        "errs_by_lot": float(np.mean(drawn)),
        "errs_by_lot_low": min(drawn),
        "errs_by_lot_high": max(drawn),
    }
