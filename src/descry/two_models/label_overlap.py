"""How many labels two models share, beside what two halves of the sentences share of one model.

A label of the whole corpus rests on twice the sentences of a half, and two models that saw the same
sentences share what is peculiar to these. So like is compared with like: labels of one half and
one model with those of the other half, of the other model (`other half`) and of the same model
(`halves`). Both pairs differ by the sentences; only the first by the model as well. What the
second share more than the first is `beyond`: 0 is expected where the models are the same to labels.

In numbers of labels that difference is a sum over neurons and descriptors of the change in one half
times the change in the other: a label that went in both halves, or came in both, counts 1, one that
went in the one and came in the other counts -1. Noise of the two halves being independent, its mean
is 0 where nothing has changed (a cross-validated distance, as Walther et al. 2016 have it).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import ratio
from descry.corpus.splits import CALIBRATION, VALIDATION

WHOLE, SAME_HALF, OTHER_HALF = "whole", "same_half", "other_half"
HALVES_FIRST, HALVES_SECOND = "halves_first", "halves_second"
COMPARISONS = (WHOLE, SAME_HALF, OTHER_HALF, HALVES_FIRST, HALVES_SECOND)
BEYOND = "beyond"
_HELD = 2**24  # numbers of a resampling held at a time
Tables = Mapping[str, np.ndarray]  # by split, whether a label: bool [pairs, descriptors]


class Counted(NamedTuple):
    """Labels of both sides and of each, of one comparison."""

    kept: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def jaccard(self) -> np.ndarray:
        """Of all labels that either has, the share that both have; NaN where there are none."""
        return ratio(self.kept, self.first + self.second - self.kept)


@dataclass(frozen=True)
class Overlap:
    """The labels of pairs of neurons, one of each model, compared in all ways.

    Attributes:
        first, second: labels of each pair's neuron of the first and of the second model.
    """

    first: Tables
    second: Tables

    def sides(self, comparison: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """The tables that a comparison compares."""
        a, b = self.first, self.second
        one, other = CALIBRATION, VALIDATION
        return {
            WHOLE: [(a["all"], b["all"])],
            SAME_HALF: [(a[one], b[one]), (a[other], b[other])],
            OTHER_HALF: [(a[one], b[other]), (a[other], b[one])],
            HALVES_FIRST: [(a[one], a[other])],
            HALVES_SECOND: [(b[one], b[other])],
        }[comparison]

    def by_pair(self, comparison: str) -> Counted:
        """Counts of every pair, over the descriptors: int64 [pairs]."""
        return self._counted(comparison, axis=1)

    def by_descriptor(self, comparison: str) -> Counted:
        """Counts of every descriptor, over the pairs: int64 [descriptors]."""
        return self._counted(comparison, axis=0)

    def _counted(self, comparison: str, axis: int) -> Counted:
        parts = [
            [np.count_nonzero(of, axis=axis) for of in (one & other, one, other)]
            for one, other in self.sides(comparison)
        ]
        return Counted(*(np.sum(part, axis=0) for part in zip(*parts, strict=True)))

    @property
    def change(self) -> np.ndarray:
        """Change in the one half times change in the other: int8 [pairs, descriptors]."""
        one, other = (
            self.first[half].astype(np.int8) - self.second[half].astype(np.int8)
            for half in (CALIBRATION, VALIDATION)
        )
        return np.asarray(one * other)

    def chance(self, layers: np.ndarray, draws: int, seed: int) -> "Chance":
        """What labels share if neurons are exchanged within the layer.

        Args:
            layers: int [pairs], the layer of each pair's second neuron.
        """
        descriptors = self.first["all"].shape[1]
        by_pair = {name: np.zeros(len(layers)) for name in COMPARISONS}
        by_descriptor = {name: np.zeros(descriptors) for name in COMPARISONS}
        whole = np.zeros(draws)
        order = np.argsort(layers, kind="stable")
        places = {name: [np.nonzero(one) for one, _ in self.sides(name)] for name in COMPARISONS}
        for draw in range(draws):
            rng = np.random.default_rng([seed, draw])
            other = np.empty(len(layers), dtype=np.intp)
            other[order] = np.lexsort((rng.random(len(layers)), layers))
            for name in COMPARISONS:
                for (_, second), (pair, column) in zip(self.sides(name), places[name], strict=True):
                    hit = second[other[pair], column]
                    by_pair[name] += np.bincount(pair[hit], minlength=len(layers))
                    by_descriptor[name] += np.bincount(column[hit], minlength=descriptors)
                    if name == WHOLE:
                        whole[draw] = np.count_nonzero(hit)
        for found in (*by_pair.values(), *by_descriptor.values()):
            found /= max(1, draws)
        return Chance(by_pair, by_descriptor, whole)


class Chance(NamedTuple):
    """Kept labels if neurons are exchanged within the layer, mean of the draws.

    Attributes:
        by_pair: by comparison, float64 [pairs].
        by_descriptor: by comparison, float64 [descriptors].
        whole: of the whole corpus, kept labels of each draw.
    """

    by_pair: dict[str, np.ndarray]
    by_descriptor: dict[str, np.ndarray]
    whole: np.ndarray


def resampled(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Sums over pairs drawn with replacement, as many as there are: float64 [draws, columns].

    Args:
        values: small whole numbers [pairs, columns]: their sums are exact, in whatever order.
    """
    pairs = len(values)
    found = np.zeros((draws, values.shape[1]))
    if not pairs:
        return found
    numbers, step = values.astype(np.float32), max(1, _HELD // pairs)
    for start, rng in _generators(draws, step, seed):
        drawn = min(step, draws - start)
        weights = rng.multinomial(pairs, np.full(pairs, 1 / pairs), size=drawn)
        found[start : start + drawn] = weights.astype(np.float32) @ numbers
    return found


def _generators(draws: int, step: int, seed: int) -> Iterator[tuple[int, np.random.Generator]]:
    for start in range(0, draws, step):
        yield start, np.random.default_rng([seed, start])


def interval(values: np.ndarray) -> tuple[float, float]:
    """The central 95% of draws, NaN where none is defined."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def signs_p(values: np.ndarray, draws: int, seed: int) -> float:
    """p of a sum as high or higher if the sign of each value is drawn at random.

    Exchanging the two models in one half of the sentences changes the sign of a neuron's change.

    Args:
        values: int [pairs].
    """
    known = values[values != 0].astype(np.float64)
    if not len(known):
        return 1.0
    total, reached = known.sum(), 0
    step = max(1, _HELD // len(known))
    for start, rng in _generators(draws, step, seed):
        lots = rng.integers(0, 2, size=(min(step, draws - start), len(known))) * 2 - 1
        reached += int(np.count_nonzero(lots @ known >= total))
    return (1 + reached) / (1 + draws)


def label_row(
    counts: Mapping[str, Counted], drawn: Mapping[str, Counted], chance: Mapping[str, float]
) -> dict[str, float | int]:
    """The columns of a table's row that are about labels.

    Args:
        counts: by comparison, of all pairs: single numbers.
        drawn: by comparison, of resampled pairs: [draws].
        chance: by comparison, kept labels if neurons are exchanged within the layer.
    """
    whole = counts[WHOLE]
    row: dict[str, float | int] = {
        "first": int(whole.first),
        "second": int(whole.second),
        "kept": int(whole.kept),
        "kept_chance": float(chance[WHOLE]),
        "lost": int(whole.first - whole.kept),
        "gained": int(whole.second - whole.kept),
    }
    for name in COMPARISONS:
        of = counts[name]
        row[name] = float(of.jaccard)
        row[f"{name}_low"], row[f"{name}_high"] = interval(drawn[name].jaccard)
        row[f"{name}_chance"] = float(of._replace(kept=np.array(chance[name])).jaccard)
    row[BEYOND] = float(_beyond(counts))
    row[f"{BEYOND}_low"], row[f"{BEYOND}_high"] = interval(_beyond(drawn))
    return row


def _beyond(counts: Mapping[str, Counted]) -> np.ndarray:
    halves = (counts[HALVES_FIRST].jaccard + counts[HALVES_SECOND].jaccard) / 2
    return np.asarray(halves - counts[OTHER_HALF].jaccard)
