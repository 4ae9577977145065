"""Answers of annotators that are fitted to the corpus: log-odds of Yes, by description.

Of a corpus of more than `FITTED_TO` sentences they are fitted to so many by lot; the others get
what these have taught, a slab of prompts at a time.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256

import numpy as np

from descry.annotators.base import Answer
from descry.annotators.prompts import Prompt, descriptors_of
from descry.corpus.splits import draw
from descry.errors import InputError
from descry.io.hashing import canonical, sha256_text

Phrases = dict[str, Sequence[str]]  # of descriptors, the most mentioned first
# Of descriptors, and of descriptions of several: float64 [sentences, descriptors] and [sentences,
# descriptions].
Both = tuple[np.ndarray, np.ndarray]
# Sentences to their log-odds.
Apply = Callable[[Sequence[str]], Both]
# Descriptors, descriptions of several with their merged phrases, and the sentences to the log-odds
# of these, and to what gives those of others.
Match = Callable[[Phrases, Phrases, Sequence[str]], tuple[Both, Apply]]
_SEED = 0
FITTED_TO = 100_000  # sentences, at most: half of the sample's 1,800 cost .003 of AUROC


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
        # By description: float64 [sentences of `_row`], and [others of the slab].
        self._odds: dict[str, np.ndarray] = {}
        self._of_others: dict[str, np.ndarray] = {}
        self._others: dict[str, int] = {}
        self._apply: list[tuple[list[list[str]], Apply]] = []  # with the descriptions of both kinds

    @cached_property
    def _row(self) -> dict[str, int]:
        """The different sentences that it is fitted to, numbered."""
        return {sentence: i for i, sentence in enumerate(dict.fromkeys(self._chosen))}

    @property
    def _chosen(self) -> Iterator[str]:
        """The sentences that it is fitted to: of many, those with the lowest hashes."""
        if len(self.corpus) <= FITTED_TO:
            return iter(self.corpus)
        lots = np.fromiter(map(_lot, self.corpus), dtype=np.uint64, count=len(self.corpus))
        last = np.partition(lots, FITTED_TO - 1)[FITTED_TO - 1]
        chosen = zip(self.corpus, (lots <= last).tolist(), strict=True)
        return (sentence for sentence, is_chosen in chosen if is_chosen)

    @cached_property
    def _phrases(self) -> Phrases:
        return {name: _by_mentions(mentions) for name, mentions in self.descriptors.items()}

    def fit(self, prompts: Sequence[Prompt], slab: Sequence[Prompt]) -> None:
        """Compute the log-odds of new descriptions, all in one pass over the corpus.

        Args:
            slab: the prompts among which those stand, whose sentences are worked on together:
                whatever is asked of them, so that no last digit depends on what is known already.
        """
        self._fit(prompts)
        others = dict.fromkeys(p.sentence for p in slab if p.sentence not in self._row)
        self._others = {sentence: i for i, sentence in enumerate(others)}
        self._of_others = {}
        for kinds, apply in self._apply if others else ():
            for names, odds in zip(kinds, apply(list(others)), strict=True):
                self._of_others |= dict(zip(names, odds.T, strict=True))

    def _fit(self, prompts: Sequence[Prompt]) -> None:
        descriptions = {prompt.descriptor for prompt in prompts if prompt.descriptor}
        if descriptions <= self._odds.keys():
            return
        several = sorted(descriptions - self._phrases.keys() - self._odds.keys())
        merged: Phrases = {name: self.phrases_of(name) for name in several}
        found, apply = self._match(self._phrases, merged, list(self._row))
        kinds = [list(names) for names in (self._phrases, merged)]
        for names, odds in zip(kinds, found, strict=True):
            self._odds |= dict(zip(names, odds.T, strict=True))
        self._apply.append((kinds, apply))

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
        """Log-odds of Yes of prompts that were fitted, or are of the slab."""
        return [float(self._of(p.descriptor, p.sentence)) for p in prompts]

    def _of(self, description: str, sentence: str) -> np.floating:
        row = self._row.get(sentence)
        if row is None:
            found: np.floating = self._of_others[description][self._others[sentence]]
        else:
            found = self._odds[description][row]
        return found

    def applies(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """The answers to p2."""
        found = self.odds(prompts)
        return [Answer({"yes": log_sigmoid(x), "no": log_sigmoid(-x)}) for x in found]


def fingerprint(
    descriptors: Mapping[str, dict[str, int]] | None, corpus: Sequence[str] | None
) -> str:
    """Return the sha256 of the data that answers are fitted to: part of the identity.

    Of the corpus a sentence is held at a time.
    """
    if not corpus:
        return sha256_text(canonical({"descriptors": descriptors, "corpus": corpus}))
    # The same text, without holding it.
    found = sha256(b'{"corpus":[')
    for row, sentence in enumerate(corpus):
        found.update(("," * bool(row) + canonical(sentence)).encode())
    found.update(f'],"descriptors":{canonical(descriptors)}}}'.encode())
    if len(corpus) > FITTED_TO:
        found.update(f", of which {FITTED_TO} by lot".encode())
    return found.hexdigest()


def _lot(sentence: str) -> int:
    return int.from_bytes(draw(_SEED, f"fitted:{sentence}")[:8], "big")


def log_sigmoid(x: float) -> float:
    """The logarithm of a probability, from its log-odds, to six digits."""
    return round(min(x, 0.0) - math.log1p(math.exp(-abs(x))), 6)


def _by_mentions(mentions: Mapping[str, int]) -> list[str]:
    return sorted(mentions, key=lambda phrase: (-mentions[phrase], phrase))
