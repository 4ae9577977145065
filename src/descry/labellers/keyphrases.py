"""Key phrases of sentences by KeyBERT (Grootendorst 2020): what stands in for a generated list."""

import re
from collections.abc import Sequence

import numpy as np
from keybert import KeyBERT
from keybert.backend import BaseEmbedder
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from descry.models import Embed

DIVERSITY = 0.6  # of maximal marginal relevance: else all phrases name the product
_WORD = re.compile(r"[^\W\d_]{3,}(?:['’][^\W\d_]+)?")
_ANY = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")


class _Embedder(BaseEmbedder):  # type: ignore[misc]
    """Our sentence embedder in KeyBERT's terms."""

    def __init__(self, embed: Embed) -> None:
        super().__init__()
        self._embed = embed

    def embed(self, documents: Sequence[str], verbose: bool = False) -> np.ndarray:
        return self._embed(documents)


def candidate_words(sentence: str) -> list[str]:
    """The content words of a sentence, lower case.

    Words alone: pairs of them are mostly accidents of one sentence, which no other shares, and
    cost five times as much to embed (measured on the sample).
    """
    words = _ANY.findall(sentence.lower())
    return [w for w in words if _WORD.fullmatch(w) and w not in ENGLISH_STOP_WORDS]


def key_phrases(sentences: list[str], embed: Embed, top_n: int) -> list[list[str]]:
    """At most `top_n` phrases of each sentence, the nearest to the whole sentence first."""
    if not any(candidate_words(sentence) for sentence in sentences):
        return [[] for _ in sentences]  # KeyBERT fails where there is no word at all
    found = KeyBERT(_Embedder(embed)).extract_keywords(
        # KeyBERT answers one document with a flat list: a blank one keeps the shape.
        [*sentences, ""],
        vectorizer=CountVectorizer(analyzer=candidate_words),
        top_n=top_n,
        use_mmr=True,
        diversity=DIVERSITY,
    )
    return [[phrase for phrase, _ in phrases] for phrases in found[: len(sentences)]]
