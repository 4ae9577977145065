"""How well a sentence talks about a descriptor, by words alone.

1. The first score of a sentence counts the words that it shares with a descriptor's name and
   phrases: a rare word counts more (inverse document frequency), one of several descriptors less.
   The sum is over the root of the sentence's number of words: a long one hits a phrase more often.
2. A sentence is a vector of its words' frequencies, reduced by latent semantic analysis (Deerwester
   et al. 1990) to what occurs together in this corpus. From there the corpus teaches the wording
   that the phrases lack, and where Yes begins (weak_labels.py).
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from descry.annotators.fitted import Phrases
from descry.annotators.weak_labels import log_odds, smooth, standard

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
) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of Yes: float64 [sentences, descriptors] and [sentences, merged].

    Each column depends on its own phrases, the descriptors and the sentences alone.

    Args:
        descriptors: each with its own phrases (none is allowed).
        merged: descriptions of several descriptors with the phrases of all.
        sentences: the corpus, to which the scores are fitted.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(map(stems, sentences)):  # scikit-learn wants a word
        nothing = (np.full((len(sentences), len(part)), -1.0) for part in (descriptors, merged))
        return next(nothing), next(nothing)
    vectorizer = TfidfVectorizer(analyzer=stems, sublinear_tf=True).fit(sentences)
    frequencies = vectorizer.transform(sentences)
    present, idf = (frequencies > 0).astype(np.float64), vectorizer.idf_
    owned = _owned(vectorizer, descriptors)
    weights = idf / np.sqrt(np.maximum(owned.sum(axis=0), 1))
    root = np.sqrt(np.maximum(np.asarray(present.sum(axis=1)).ravel(), 1))
    vectors = _reduced(frequencies)

    def odds(own: np.ndarray) -> np.ndarray:
        first = standard(np.sqrt(present @ (own * weights) / root)[:, None])
        return log_odds(smooth(first, vectors)[:, 0])

    found = []
    for group in (owned, _owned(vectorizer, merged)):
        columns = [odds(own) for own in group]
        found.append(np.stack(columns, axis=1) if columns else np.empty((len(sentences), 0)))
    return found[0], found[1]


def _text(name: str, phrases: Sequence[str]) -> str:
    return " ".join([name.replace("_", " "), *phrases[:PHRASES]])


def _owned(vectorizer: Any, descriptors: Phrases) -> np.ndarray:
    """Which words of the corpus stand in a descriptor's name or phrases: [descriptors, words]."""
    places = vectorizer.vocabulary_
    owned = np.zeros((len(descriptors), len(places)))
    for row, (name, phrases) in enumerate(descriptors.items()):
        owned[row, [places[word] for word in stems(_text(name, phrases)) if word in places]] = 1
    return owned


def _reduced(frequencies: Any) -> np.ndarray:
    """Vectors of sentences: float64 [sentences, dimension]."""
    from sklearn.decomposition import TruncatedSVD

    dimension = min(DIMENSION, *(size - 1 for size in frequencies.shape))
    if dimension < 1:
        return np.zeros((frequencies.shape[0], 1))
    with np.errstate(invalid="ignore"):  # texts without variance: it divides 0 by 0, for a share
        return np.asarray(TruncatedSVD(dimension, random_state=0).fit_transform(frequencies))
