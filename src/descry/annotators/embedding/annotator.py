"""The default annotator: no generative model, only a sentence embedder.

It takes the place of an LLM where none can be had, answers the same prompts through the same cache,
and says in its name what it is. p1: the key phrases nearest to the sentence (KeyBERT). p2: how well
the sentence's best tokens match the descriptor's own phrases (similarity.py); of a description of
several descriptors, their merged phrases. intruder: the sentence least like the others. simulation:
p2's odds on a scale.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from descry.annotators.base import NO_FRAME, Answer, Frame, Identity
from descry.annotators.fitted import Apply, Both, Fitted, Phrases, fingerprint, log_sigmoid
from descry.annotators.prompts import HIGHEST_RATING, Prompt
from descry.io.hashing import JSON, canonical
from descry.models.checkpoints import Checkpoint
from descry.models.embedder import Embedder, kept_vectors, sentence_embedder

VERSION = 6  # of the method: part of the cache key, to be raised when answers would change
_GROUP = 2048  # prompts answered together: what bounds the memory of p1


class EmbeddedAnnotator:
    """Answers p1 by key phrases and other prompts by the similarity of texts."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        max_descriptors: int | None,
        descriptors: dict[str, dict[str, int]] | None,
        corpus: Sequence[str] | None,
        free_text: bool = False,
        kept: Path | None = None,
    ) -> None:
        """Hold what to answer with; the model is loaded when the first prompt comes.

        Args:
            kept: the folder that the vectors of the corpus stay in.
        """
        self.checkpoint, self.kept = checkpoint, kept
        self.max_descriptors = max_descriptors
        self.descriptors = descriptors
        self.corpus = corpus
        self._fitted = Fitted(descriptors or {}, corpus or (), self._match, free_text)

    @cached_property
    def identity(self) -> Identity:
        """Who answers; the descriptors' phrases and the corpus that p2 is fitted to are in it."""
        decoding = {"version": VERSION, "max_descriptors": self.max_descriptors} | (
            {"fitted": fingerprint(self.descriptors, self.corpus)}
            if self.descriptors is not None
            else {}
        )
        return Identity(
            name=f"embedded ({self.checkpoint.name}, no generative model)",
            model=f"descry-embedded/{self.checkpoint.name}",
            revision=self.checkpoint.revision,
            dtype="float32",
            decoding=canonical(decoding),
        )

    frame: Frame = NO_FRAME
    server = None
    price = None
    quantization = None  # its library reads no such weights
    packages = ("keybert", "numpy", "scikit-learn", "sentence-transformers", "torch")

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Answer the wanted ones among the prompts, some hundreds at a time."""
        rows = sorted(wanted)
        answers = {"p1": self._topics, "p2": self._fitted.applies}
        answers |= {"intruder": self._intruders, "simulation": self._ratings}
        if asked := [prompts[row] for row in rows if prompts[row].descriptor]:
            self._fitted.fit(asked, prompts)
        for start in range(0, len(rows), _GROUP):
            group = rows[start : start + _GROUP]
            asked = [prompts[row] for row in group]
            found = zip(answers[asked[0].task](asked), self._cut(asked), strict=True)
            yield list(zip(group, (answer._replace(cut=cut) for answer, cut in found), strict=True))

    def _cut(self, prompts: Sequence[Prompt]) -> list[int]:
        """For each prompt: the number of tokens of its sentences that the embedder does not see."""
        texts = list(dict.fromkeys(text for prompt in prompts for text in prompt.shown))
        cut = dict(zip(texts, self._embed.cut(texts), strict=True))
        return [sum(cut[text] for text in prompt.shown) for prompt in prompts]

    @cached_property
    def _embed(self) -> Embedder:
        kept = None if self.kept is None else kept_vectors(self.checkpoint, self.kept)
        return sentence_embedder(self.checkpoint, kept)

    def _match(
        self, descriptors: Phrases, merged: Phrases, sentences: Sequence[str]
    ) -> tuple[Both, Apply]:
        from descry.annotators.embedding.similarity import match_both

        return match_both(descriptors, merged, sentences, self._embed)

    def _topics(self, prompts: Sequence[Prompt]) -> list[Answer]:
        from descry.annotators.embedding.keyphrases import key_phrases

        assert self.max_descriptors
        sentences = [prompt.sentence for prompt in prompts]
        found = key_phrases(sentences, self._embed, self.max_descriptors)
        return [_words(", ".join(phrases)) for phrases in found]

    def _ratings(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """The probability of Yes on the scale."""
        shares = (math.exp(log_sigmoid(odds)) for odds in self._fitted.odds(prompts))
        return [_words(f"{HIGHEST_RATING * share:.4f}") for share in shares]

    def _intruders(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """The sentence with the lowest mean cosine similarity to the others; of equals, one."""
        texts = list(dict.fromkeys(text for prompt in prompts for text in prompt.shown))
        vectors = dict(zip(texts, self._embed(texts), strict=True))
        found = (least_like(np.stack([vectors[text] for text in p.shown])) for p in prompts)
        return [_words(str(chosen + 1)) for chosen in found]


def least_like(vectors: np.ndarray) -> int:
    """The row with the lowest mean cosine similarity to the others, of unit vectors [rows, any]."""
    similar = vectors @ vectors.T
    return int(np.argmin(similar.sum(axis=1) - np.diagonal(similar)))


def _words(text: str) -> Answer:
    response: JSON = {"text": text, "finish": "stop"}
    return Answer(response)
