"""The default labeller: no generative model, only a sentence embedder.

It takes the place of an LLM where none can be had, answers the same prompts through the same cache,
and says in its name what it is. p1: the key phrases nearest to the sentence (KeyBERT). p2: how well
some words of the sentence match the descriptor's own phrases (matching.py).
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property

from descry.labellers import NO_FRAME, Answer, Frame, Identity
from descry.models import Checkpoint, Embed, sentence_embedder
from descry.prompts import Prompt
from descry.storage import canonical, sha256_text

VERSION = 4  # of the method: part of the cache key, to be raised when answers would change
_GROUP = 2048  # prompts answered together: what bounds the memory of p1


class EmbeddedLabeller:
    """Answers p1 by key phrases and p2 by matching clauses with a descriptor's own phrases."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        max_descriptors: int | None,
        descriptors: dict[str, dict[str, int]] | None,
        corpus: Sequence[str] | None,
    ) -> None:
        self.checkpoint = checkpoint
        self.max_descriptors = max_descriptors
        self.descriptors = descriptors
        self.corpus = corpus

    @cached_property
    def identity(self) -> Identity:
        """Who answers; the descriptors' phrases and the corpus that p2 is fitted to are in it."""
        fitted = {"descriptors": self.descriptors, "corpus": self.corpus}
        decoding = {"version": VERSION, "max_descriptors": self.max_descriptors} | (
            {"fitted": sha256_text(canonical(fitted))} if self.descriptors is not None else {}
        )
        return Identity(
            name=f"embedded ({self.checkpoint.model}, no generative model)",
            model=f"descry-embedded/{self.checkpoint.model}",
            revision=self.checkpoint.revision,
            dtype="float32",
            decoding=canonical(decoding),
        )

    frame: Frame = NO_FRAME
    server = None
    price = None
    packages = ("keybert", "numpy", "scikit-learn", "sentence-transformers", "torch")

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, some hundreds at a time."""
        rows = sorted(wanted)
        for start in range(0, len(rows), _GROUP):
            group = rows[start : start + _GROUP]
            asked = [prompts[row] for row in group]
            found = self._topics(asked) if asked[0].task == "p1" else self._applies(asked)
            yield list(zip(group, found, strict=True))

    @cached_property
    def _embed(self) -> Embed:
        return sentence_embedder(self.checkpoint)

    def _topics(self, prompts: Sequence[Prompt]) -> list[Answer]:
        from descry.labellers.keyphrases import key_phrases

        assert self.max_descriptors
        sentences = [prompt.sentence for prompt in prompts]
        found = key_phrases(sentences, self._embed, self.max_descriptors)
        return [Answer({"text": ", ".join(phrases), "finish": "stop"}) for phrases in found]

    @cached_property
    def _odds(self) -> Callable[[str, str], float]:
        """Log-odds of Yes by sentence and descriptor."""
        from descry.labellers.matching import match

        assert self.descriptors is not None and self.corpus is not None
        sentences = list(dict.fromkeys(self.corpus))
        phrases: dict[str, Sequence[str]] = {
            name: sorted(mentions, key=lambda phrase: (-mentions[phrase], phrase))
            for name, mentions in self.descriptors.items()
        }
        odds = match(phrases, sentences, self._embed)
        row = {sentence: i for i, sentence in enumerate(sentences)}
        column = {name: i for i, name in enumerate(phrases)}
        return lambda sentence, name: float(odds[row[sentence], column[name]])

    def _applies(self, prompts: Sequence[Prompt]) -> list[Answer]:
        found = [self._odds(prompt.sentence, prompt.descriptor) for prompt in prompts]
        return [Answer({"yes": _log_sigmoid(x), "no": _log_sigmoid(-x)}) for x in found]


def _log_sigmoid(x: float) -> float:
    return round(min(x, 0.0) - math.log1p(math.exp(-abs(x))), 6)
