"""Answers of annotators that are fitted to the whole corpus: log-odds of Yes, by description."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from descry.annotators.base import Answer
from descry.annotators.prompts import Prompt, descriptors_of
from descry.errors import InputError
from descry.io.hashing import canonical, sha256_text

Phrases = dict[str, Sequence[str]]  # of descriptors, the most mentioned first
# Descriptors, descriptions of several with their merged phrases, and the sentences to the log-odds
# of both: float64 [sentences, descriptors] and [sentences, descriptions].
Match = Callable[[Phrases, Phrases, Sequence[str]], tuple[np.ndarray, np.ndarray]]


class Fitted:
    """Log-odds of Yes of descriptors, and of descriptions of several of them."""

    def __init__(
        self,
        descriptors: Mapping[str, dict[str, int]],
        corpus: Sequence[str],
        match: Match,
        free_text: bool = False,
    ) -> None:
        """Nothing is computed before it is asked for.

        Args:
            descriptors: with the mentions of each one's phrases.
            match: may be called several times; a column must not depend on the other columns.
            free_text: whether a description may be of other words than descriptors; it then has no
                phrases.
        """
        self._free_text = free_text
        self.descriptors = descriptors
        self.corpus = corpus
        self._match = match
        self._odds: dict[str, np.ndarray] = {}  # by description: float64 [different sentences]

    @cached_property
    def _row(self) -> dict[str, int]:
        """The different sentences of the corpus, numbered."""
        return {sentence: i for i, sentence in enumerate(dict.fromkeys(self.corpus))}

    @cached_property
    def _phrases(self) -> Phrases:
        return {name: _by_mentions(mentions) for name, mentions in self.descriptors.items()}

    def fit(self, prompts: Sequence[Prompt]) -> None:
        """Compute the log-odds of new descriptions, all in one pass over the corpus."""
        descriptions = {prompt.descriptor for prompt in prompts if prompt.descriptor}
        if descriptions <= self._odds.keys():
            return
        several = sorted(descriptions - self._phrases.keys() - self._odds.keys())
        merged: Phrases = {name: self.phrases_of(name) for name in several}
        found = self._match(self._phrases, merged, list(self._row))
        for names, odds in zip((self._phrases, merged), found, strict=True):
            self._odds |= dict(zip(names, odds.T, strict=True))

    def phrases_of(self, description: str) -> list[str]:
        """The merged phrases of a description's descriptors."""
        parts = descriptors_of(description, self.descriptors)
        if not parts and self._free_text:
            return []
        if not parts:
            raise InputError(f"{description[:80]!r}: not made of the descriptors there are")
        together = Counter[str]()
        for name in parts:
            together.update(self.descriptors[name])
        return _by_mentions(together)

    def odds(self, prompts: Sequence[Prompt]) -> list[float]:
        """Log-odds of Yes of prompts that were fitted."""
        return [float(self._odds[p.descriptor][self._row[p.sentence]]) for p in prompts]

    def applies(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """The answers to p2."""
        found = self.odds(prompts)
        return [Answer({"yes": log_sigmoid(x), "no": log_sigmoid(-x)}) for x in found]


def fingerprint(
    descriptors: Mapping[str, dict[str, int]] | None, corpus: Sequence[str] | None
) -> str:
    """Return the sha256 of the data that answers are fitted to: part of the identity."""
    fitted = {"descriptors": descriptors, "corpus": corpus and list(corpus)}
    return sha256_text(canonical(fitted))


def log_sigmoid(x: float) -> float:
    """The logarithm of a probability, from its log-odds, to six digits."""
    return round(min(x, 0.0) - math.log1p(math.exp(-abs(x))), 6)


def _by_mentions(mentions: Mapping[str, int]) -> list[str]:
    return sorted(mentions, key=lambda phrase: (-mentions[phrase], phrase))
