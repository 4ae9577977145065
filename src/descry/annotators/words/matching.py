"""How well a sentence talks about a descriptor, by words alone.

1. The first score of a sentence counts the words that it shares with a descriptor's name and
   phrases: a rare word counts more (inverse document frequency), one of several descriptors less.
   The sum is over the root of the sentence's number of words: a long one hits a phrase more often.
2. A sentence is a vector of its words' frequencies, reduced by latent semantic analysis (Deerwester
   et al. 1990) to what occurs together in this corpus. From there the corpus teaches the wording
   that the phrases lack, and where Yes begins (weak_labels.py).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from descry.annotators.fitted import Apply, Both, Phrases
from descry.annotators.weak_labels import Weak, learn

PHRASES = 30  # of a descriptor's own, the most mentioned
DIMENSION = 100  # of a sentence's vector
_WORD = re.compile(r"[^\W\d_]{2,}")
_ENDINGS = ("ing", "ed", "es", "s", "ly", "e")
_SHORTEST = 3  # letters of a stem


def stems(text: str) -> list[str]:
    """The content words of a text, lower case, without English endings."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = _WORD.findall(text.lower())
    return [_stem(word) for word in words if word not in ENGLISH_STOP_WORDS]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST:
            return word.removesuffix(ending)
    return word


def match_words(
    descriptors: Phrases, merged: Phrases, sentences: Sequence[str]
) -> tuple[Both, Apply]:
    """Log-odds of Yes: float64 [sentences, descriptors] and [sentences, merged]; and others'.

    Each column depends on its own phrases, the descriptors and the sentences alone.

    Args:
        descriptors: each with its own phrases (none is allowed).
        merged: descriptions of several descriptors with the phrases of all.
        sentences: the corpus, to which the scores are fitted.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    groups = descriptors, merged
    if not any(map(stems, sentences)):  # scikit-learn wants a word

        def nothing(others: Sequence[str]) -> Both:
            first, second = (np.full((len(others), len(part)), -1.0) for part in groups)
            return first, second

        return nothing(sentences), nothing
    vectorizer = TfidfVectorizer(analyzer=stems, sublinear_tf=True).fit(sentences)
    frequencies = vectorizer.transform(sentences)
    owned = [_owned(vectorizer, group) for group in groups]
    weights = vectorizer.idf_ / np.sqrt(np.maximum(owned[0].sum(axis=0), 1))
    vectors, reduce = _reduced(frequencies)
    taught: list[list[Weak]] = []
    found: list[np.ndarray] = []
    first = _First(frequencies, weights)
    for group in owned:
        learnt = [learn(first.of(own), vectors) for own in group]
        found.append(_beside([odds for odds, _ in learnt], len(sentences)))
        taught.append([of for _, of in learnt])

    def apply(others: Sequence[str]) -> Both:
        frequencies = vectorizer.transform(others)
        first, vectors = _First(frequencies, weights), reduce(frequencies)
        one, other = (
            _beside(
                [weak(first.of(o), vectors) for o, weak in zip(group, of, strict=True)], len(others)
            )
            for group, of in zip(owned, taught, strict=True)
        )
        return one, other

    return (found[0], found[1]), apply


class _First:
    """First scores of sentences.

    Args:
        frequencies: sparse [sentences, words].
        weights: of the words.
    """

    def __init__(self, frequencies: Any, weights: np.ndarray) -> None:
        self._present, self._weights = (frequencies > 0).astype(np.float64), weights
        number = np.asarray(self._present.sum(axis=1)).ravel()
        self._root = np.sqrt(np.maximum(number, 1))

    def of(self, own: np.ndarray) -> np.ndarray:
        """Those of a descriptor that owns these words: float64 [sentences, 1]."""
        return np.asarray(np.sqrt(self._present @ (own * self._weights) / self._root)[:, None])


def _beside(columns: list[np.ndarray], sentences: int) -> np.ndarray:
    return np.concatenate(columns, axis=1) if columns else np.empty((sentences, 0))


def _text(name: str, phrases: Sequence[str]) -> str:
    return " ".join([name.replace("_", " "), *phrases[:PHRASES]])


def _owned(vectorizer: Any, descriptors: Phrases) -> np.ndarray:
    """Which words of the corpus stand in a descriptor's name or phrases: [descriptors, words]."""
    places = vectorizer.vocabulary_
    owned = np.zeros((len(descriptors), len(places)))
    for row, (name, phrases) in enumerate(descriptors.items()):
        owned[row, [places[word] for word in stems(_text(name, phrases)) if word in places]] = 1
    return owned


def _reduced(frequencies: Any) -> tuple[np.ndarray, Callable[[Any], np.ndarray]]:
    """Vectors of sentences, float64 [sentences, dimension], and what gives those of others."""
    from sklearn.decomposition import TruncatedSVD

    dimension = min(DIMENSION, *(size - 1 for size in frequencies.shape))
    if dimension < 1:
        return np.zeros((frequencies.shape[0], 1)), lambda others: np.zeros((others.shape[0], 1))
    reduction = TruncatedSVD(dimension, random_state=0)
    with np.errstate(invalid="ignore"):  # texts without variance: it divides 0 by 0, for a share
        found = np.asarray(reduction.fit_transform(frequencies))
    return found, lambda others: np.asarray(reduction.transform(others))
