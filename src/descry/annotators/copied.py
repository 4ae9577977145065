"""Detects annotators that copy the examples of p1 into their answers, as small models do."""

import re
from collections.abc import Iterable, Iterator, Sequence

from descry.annotators.templates import Shot
from descry.annotators.yes_share import in_percent

RUN = 5  # words in a row of an example's sentence that no answer has by itself
# Share of answers with such a phrase beyond which an annotator copies: people who know few topics,
# and so use those of an example again, reach .24 (docs/benchmarks.md).
MANY = 0.3
_LEAST = 20  # answers, below which a share says nothing


class Copied:
    """Counts phrases of answers that are in the examples and not in the sentence.

    Attributes:
        asked: answers that were looked at.
        answers: answers with such a phrase.
        phrases: such phrases.
    """

    def __init__(self, examples: Sequence[Shot]) -> None:
        self._number = len(examples)
        self._concepts = {_words(concept) for shot in examples for concept in shot["concepts"]}
        self._runs = {run for shot in examples for run in _runs(shot["sentence"])}
        self.asked = self.answers = self.phrases = 0

    def add(self, sentence: str, phrases: Iterable[str]) -> None:
        """Count the phrases of an answer."""
        own = _words(sentence)
        number = sum(words in self._concepts and words not in own for words in map(_words, phrases))
        self.asked += 1
        self.answers += number > 0
        self.phrases += number

    def repeats(self, text: str) -> bool:
        """Whether an answer repeats the sentence of an example, or a part of it."""
        words = f" {_words(text)} "
        return any(f" {run} " in words for run in self._runs)

    def counts(self) -> dict[str, int]:
        """For the record of a run."""
        return {"asked": self.asked, "answers": self.answers, "phrases": self.phrases}

    def warning(self, who: str) -> str | None:
        """Return a warning if many answers of `who` copy."""
        if self.asked < _LEAST or self.answers <= MANY * self.asked:
            return None
        advice = "try describe.examples: 3" if self._number < 3 else "write other examples"
        return (
            f"{who} copies: {in_percent(self.answers / self.asked)} of its answers to p1 have a"
            f" phrase of the examples that is not in the sentence: {advice}"
        )


def _runs(sentence: str) -> Iterator[str]:
    words = _words(sentence).split()
    return (" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1))


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
