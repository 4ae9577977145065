"""An annotator that shares no weights with the target: it has no model at all.

Where annotator and target are one model, their errors go together, and a label may be the model's
agreement with itself. This one answers p2 by the words of a descriptor's phrases (matching.py). It
is less often right than the embedded annotator (docs/benchmarks.md), but right and wrong for other
reasons: as `judge.annotator` it says which labels hold for an annotator that the target has no part
in. The phrases are still those of the descriptors, which stage cluster puts together by embeddings.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

from descry.annotators.base import NO_FRAME, Answer, Frame, Identity
from descry.annotators.fitted import Fitted, fingerprint
from descry.annotators.prompts import Prompt
from descry.annotators.words.matching import match_words
from descry.io.hashing import canonical

VERSION = 1  # of the method: part of the cache key, to be raised when answers would change


class WordsAnnotator:
    """Answers p2 by words."""

    def __init__(self, descriptors: Mapping[str, dict[str, int]], corpus: Sequence[str]) -> None:
        self.fitted = Fitted(descriptors, corpus, match_words)

    @cached_property
    def identity(self) -> Identity:
        """Who answers; the descriptors' phrases and the corpus are in it."""
        fitted = fingerprint(self.fitted.descriptors, self.fitted.corpus)
        return Identity(
            name="words (of the descriptors' phrases, no model)",
            model="descry-words",
            revision=str(VERSION),
            dtype="float64",
            decoding=canonical({"fitted": fitted}),
        )

    frame: Frame = NO_FRAME
    server = None
    price = None
    quantization = None
    packages = ("numpy", "scikit-learn", "scipy")

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, all in one group."""
        rows = sorted(wanted)
        asked = [prompts[row] for row in rows]
        self.fitted.fit(asked, prompts)
        yield list(zip(rows, self.fitted.applies(asked), strict=True))
