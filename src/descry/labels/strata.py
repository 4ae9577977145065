"""Strata of sentences: groups that are alike in what may explain a label, such as length.

An enrichment within strata asks whether a descriptor is more frequent among a neuron's exemplars
than among other sentences *of the same strata*. A neuron that follows a covariate, and a descriptor
that follows the same covariate, are then no discovery (goseq does the same for gene length).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

LEAST = 8  # sentences of a stratum: with 30 two covariates are matched too coarsely


@dataclass(frozen=True)
class Strata:
    """A partition of sentences.

    Attributes:
        of: the stratum of each sentence, int32 [sentences], from 0; -1 outside of all.
        names: what the sentences of each stratum have in common, such as `words 12-17`.
    """

    of: np.ndarray
    names: tuple[str, ...]

    @property
    def sizes(self) -> np.ndarray:
        """How many sentences each stratum has: int64 [strata]."""
        return np.bincount(self.of[self.of >= 0], minlength=len(self.names))

    def count(self, sets: np.ndarray) -> np.ndarray:
        """How many members of each stratum sets have: int64 [neurons, strata].

        Args:
            sets: int [neurons, size], rows of sentences, -1 behind the end of a smaller set.
        """
        number = len(self.names)
        cells = np.arange(len(sets))[:, None] * number + self.of[sets]
        counts = np.bincount(cells[sets >= 0], minlength=len(sets) * number)
        return counts.reshape(len(sets), number)


@dataclass(frozen=True)
class Matching:
    """What sentences are matched on.

    Attributes:
        names: of covariates; none for one stratum.
        parts: of a number, at most.
    """

    names: tuple[str, ...]
    parts: int

    @classmethod
    def of(cls, label: Mapping[str, Any]) -> "Matching":
        """What the section of stage label names."""
        return cls(tuple(label["strata"] or ()), label["strata_parts"])

    def strata(
        self, covariates: Mapping[str, np.ndarray], rows: np.ndarray, sampled: np.ndarray
    ) -> Strata:
        """The strata of some of the sentences.

        Sentences are parted by texts first; numbers then share the parts that there are sentences
        for, as many each.

        Args:
            covariates: of all sentences, by name.
            rows: the sentences to part, int [rows].
            sampled: bool [sentences], those that stand for the rest: each part has about `LEAST`
                of them.

        Returns:
            strata whose `of` is int32 [sentences], -1 for all but `rows`.
        """
        standing = int(sampled[rows].sum())
        values = {name: covariates[name][rows] for name in self.names}
        values = dict(sorted(values.items(), key=lambda item: _is_number(item[1])))
        numbers = sum(map(_is_number, values.values()))
        texts = prod(len(np.unique(of)) for of in values.values() if not _is_number(of))
        each = int((standing / LEAST / texts) ** (1 / max(1, numbers)) + 1e-9)
        found = Strata(np.zeros(len(rows), dtype=np.int32), ("all",))
        if values and standing:
            least = -(-LEAST * len(rows) // standing)
            found = stratify(values, min(self.parts, max(2, each)), least)
        of = np.full(len(sampled), -1, dtype=np.int32)
        of[rows] = found.of
        return Strata(of, found.names)


def _is_number(values: np.ndarray) -> bool:
    return values.dtype.kind in "fiub"


def stratify(covariates: Mapping[str, np.ndarray], parts: int, least: int = LEAST) -> Strata:
    """Part sentences by one covariate after the other.

    A stratum of the covariates before is parted by quantiles of a number, or by the values of a
    text. Equal values stay together. No part has fewer than `least` sentences: a number has fewer
    parts then, and rare texts are one part together (`other`), or join the largest part.

    Args:
        covariates: by name, [sentences]: numbers (NaN is a value of its own), or texts.
        parts: into which a stratum is parted by quantiles, at most.
        least: sentences of a stratum.
    """
    sentences = len(next(iter(covariates.values()))) if covariates else 0
    cells = [(np.arange(sentences, dtype=np.int32), "")]
    for name, values in covariates.items():
        cells = [
            (part, f"{before}, {name} {words}" if before else f"{name} {words}")
            for rows, before in cells
            for part, words in _parted(rows, values[rows], parts, least)
        ]
    of = np.zeros(sentences, dtype=np.int32)
    for number, (rows, _) in enumerate(cells):
        of[rows] = number
    return Strata(of, tuple(name or "all" for _, name in cells))


def _parted(
    rows: np.ndarray, values: np.ndarray, parts: int, least: int
) -> Iterator[tuple[np.ndarray, str]]:
    """The rows of each part, and the part's values in words."""
    if _is_number(values):
        code, words = _by_quantile(values, parts, least)
    else:
        code, words = _by_value(values, least)
    return ((rows[code == part], said) for part, said in enumerate(words))


def _by_quantile(values: np.ndarray, parts: int, least: int) -> tuple[np.ndarray, list[str]]:
    """The part of each number, int [sentences], and the parts in words."""
    known = ~np.isnan(values.astype(float, copy=False))
    number = int(np.count_nonzero(known))
    distinct, counts = np.unique(values[known], return_counts=True)
    below = np.cumsum(counts) - counts
    quantiles = max(1, min(parts, number // max(1, least)))
    firsts: list[int] = []  # of the parts, among the distinct numbers
    for quantile in range(quantiles) if number else ():
        # A cut moves up to where the value changes, so that equal values stay together.
        first = int(np.searchsorted(below, number * quantile // quantiles, "right")) - 1
        left, right = below[first] - below[firsts[-1]] if firsts else 0, number - below[first]
        if not firsts or (left >= least and right >= least):
            firsts.append(first)
    bounds = [(distinct[i], distinct[j - 1]) for i, j in pairwise([*firsts, len(distinct)])]
    words = [f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in bounds]
    code = np.searchsorted(distinct[firsts[1:]], values, "right")
    if number < len(values):
        alone = len(values) - number >= least or not words
        code[~known] = len(words) if alone else 0
        words += ["unknown"] if alone else []
    return code, words


def _by_value(values: np.ndarray, least: int) -> tuple[np.ndarray, list[str]]:
    """The part of each text, int [sentences], and the parts in words."""
    names, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    rare = counts < least
    if counts[rare].sum() < least and not rare.all():  # too few together: with the most frequent
        code[rare[code]] = int(np.argmax(counts))
    elif rare.any():
        code[rare[code]] = len(names)
    found = np.flatnonzero(np.bincount(code))
    words = [*map(str, names), "other"]
    return np.searchsorted(found, code), [words[part] for part in found]
