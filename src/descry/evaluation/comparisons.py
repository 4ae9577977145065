"""Which labels of a run are compared, and the tables of what is found."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from descry.activations.exemplar_files import read_exemplars
from descry.annotators.annotations import Annotations
from descry.corpus.splits import HALVES, SPLITS
from descry.evaluation.metrics import Cuts
from descry.evaluation.null_models import Scores
from descry.evaluation.sides import Comparison, Side
from descry.io.csv_rows import Row
from descry.labels.assignment import asked_sets
from descry.labels.rules import Rule
from descry.labels.strata import Matching

UNTRAINED = "random weights"


@dataclass(frozen=True)
class Comparisons:
    """What the labels of one end are made from, for the exemplars of any model.

    Attributes:
        rows: of each split, int [sentences].
        asked: by name of a truth, bool [sentences], those that it is about.
        matching: what labels are matched on.
        of_sentences: the covariates that it names, of all sentences.
        chosen: the neurons that are compared, int, places among those of all layers.
    """

    b: Annotations
    rows: dict[str, np.ndarray]
    asked: dict[str, np.ndarray]
    rule: Rule
    matching: Matching
    of_sentences: Mapping[str, np.ndarray]
    chosen: np.ndarray

    def comparisons(
        self, exemplars: Path, end: str, truths: dict[str, np.ndarray]
    ) -> dict[str, Comparison]:
        """The comparisons by name: `halves`, and the truths that are known of asked sentences.

        Args:
            truths: int8 [sentences, descriptors] by name, 1 Yes, 0 No, -1 not judged.
        """
        sets = {name: read_exemplars(exemplars, name, end) for name in SPLITS}
        flat = {
            name: found.reshape(-1, found.shape[2])[self.chosen] for name, found in sets.items()
        }
        usable = asked_sets(flat["calibration"], self.b.asked)
        usable &= asked_sets(flat["validation"], self.b.asked)
        pairs = {}
        if usable.any():
            sides = [self.side(flat[half][usable], half) for half in HALVES]
            pairs["halves"] = Comparison(sides[0], sides[1], same=False)
        for name, truth in truths.items():
            columns = (truth >= 0).any(axis=0)
            usable = asked_sets(flat["all"], self.asked[name] & self.b.asked)
            if columns.any() and usable.any():
                true = truth[:, columns]
                said = np.where(true >= 0, self.b.answer[:, columns], -1)  # on the same sentences
                members, about = flat["all"][usable], self.asked[name]
                sides = [self.side(members, "all", part, about) for part in (said, true)]
                pairs[name] = Comparison(sides[0], sides[1], same=True)
        return pairs

    def side(
        self,
        exemplars: np.ndarray,
        split: str,
        answers: np.ndarray | None = None,
        about: np.ndarray | None = None,
    ) -> Side:
        """One side, of the sentences of a split that were asked about alone.

        Args:
            exemplars: int [neurons, size], rows of the corpus, -1 behind the end of a smaller set.
            answers: others than the annotator's.
            about: bool [sentences], those that they are about.
        """
        answers = self.b.answer if answers is None else answers
        part = np.zeros(len(answers), dtype=bool)
        part[self.rows[split]] = True
        if about is not None:
            part &= about
        within = np.flatnonzero(part & self.b.asked)
        members = np.where(exemplars >= 0, np.searchsorted(within, exemplars), exemplars)
        strata = self.matching.strata(self.of_sentences, np.flatnonzero(part), self.b.sampled)
        own = answers[within], self.b.sampled[within], self.rule, strata.of[within]
        return Side(members, *own)


@dataclass(frozen=True)
class ThresholdGrid:
    """Where labels are cut, and the tables of what is found there."""

    rule: Rule
    steps: list[float]
    max_k: int
    truth_top: int

    @property
    def cuts(self) -> Cuts:
        """Where the strength of labels is cut for the scores."""
        bounds = tuple(self.rule.bound(step) for step in self.steps)
        return Cuts(bounds, self.max_k, self.truth_top)

    def _places(self) -> Iterator[tuple[int, str, float]]:
        """Each score's place, name and cut as it is shown."""
        shown = dict(zip(self.cuts.thresholds, self.steps, strict=True))
        for place, (name, at) in enumerate(self.cuts.scores):
            yield place, name, at if name.endswith("_k") else shown[at]

    def rows(self, against: str, found: Scores, chance: np.ndarray | None) -> list[Row]:
        """A row a score."""
        null, corrected = found.null(chance), found.corrected(chance)
        return [
            {
                "against": against,
                "score": name,
                "at": at,
                "value": found.value[place],
                "low": found.low[place],
                "high": found.high[place],
                "null": null[place],
                "corrected": corrected[place],
                "p": found.p[place],
                "deviation": found.deviation[place],
                "defined": int(found.defined[place]),
            }
            for place, name, at in self._places()
        ]

    def nulls(self, against: str, found: Scores, chance: np.ndarray | None) -> list[Row]:
        """A row a score and null."""
        rows = [
            {"against": against, "score": name, "at": at, "null": null}
            | {key: values[place] for key, values in asdict(by_chance).items()}
            for place, name, at in self._places()
            for null, by_chance in found.nulls.items()
        ]
        if chance is not None:
            rows += [
                {"against": against, "score": name, "at": at, "null": UNTRAINED}
                | {"mean": chance[place], "low": math.nan, "high": math.nan, "p": math.nan}
                for place, name, at in self._places()
            ]
        return rows
