"""The default labeller: no generative model, only a sentence embedder.

It takes the place of an LLM where none can be had, answers the same prompts through the same cache,
and says in its name what it is. p1: the key phrases nearest to the sentence (KeyBERT). p2: how well
some words of the sentence match the descriptor's own phrases (matching.py).
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

from descry.labellers import JSON, Identity
from descry.models import Checkpoint, Embed, sentence_embedder
from descry.prompts import Prompt
from descry.storage import canonical, sha256_text

VERSION = 4  # of the method: part of the cache key, to be raised when answers would change
_DOCUMENTS = 2000  # sentences whose key phrases are embedded together: what bounds the memory


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

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[JSON]:
        """One response per prompt, in their order."""
        if prompts[0].task == "p1":
            return self._topics([prompt.sentence for prompt in prompts])
        return self._applies(prompts)

    @cached_property
    def _embed(self) -> Embed:
        return sentence_embedder(self.checkpoint)

    def _topics(self, sentences: list[str]) -> Iterator[JSON]:
        from descry.labellers.keyphrases import key_phrases

        assert self.max_descriptors
        for start in range(0, len(sentences), _DOCUMENTS):
            part = sentences[start : start + _DOCUMENTS]
            for phrases in key_phrases(part, self._embed, self.max_descriptors):
                yield {"text": ", ".join(phrases), "finish": "stop"}

    def _applies(self, prompts: Sequence[Prompt]) -> Iterator[JSON]:
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
        for prompt in prompts:
            log_odds = float(odds[row[prompt.sentence], column[prompt.descriptor or ""]])
            yield {"yes": _log_sigmoid(log_odds), "no": _log_sigmoid(-log_odds)}


def _log_sigmoid(x: float) -> float:
    return round(min(x, 0.0) - math.log1p(math.exp(-abs(x))), 6)
