"""Which reviews stay, and in which half: the filters and the split of section 4.2."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import datasketch
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from descry.reviews import Review
from descry.splits import HALVES, draw, sentence_id

_WORD = re.compile(r"\w+")
_PERMUTATIONS = 128  # of the MinHash
_WEIGHTS = (0.1, 0.9)  # of false finds, which are checked, and of misses: at a threshold of 0.8
# the LSH misses 0.1% of the pairs at Jaccard 0.9, 3% at 0.85 (datasketch's own weights: 7%, 31%)


@dataclass(frozen=True)
class Sentence:
    """A review that stays, with its half. `id` is a hash of the text: the same in every corpus."""

    id: str
    split: str
    review: Review


def select(
    reviews: Iterable[Review],
    *,
    per_category: int,
    min_words: int,
    max_words: int,
    language: str,
    near_duplicate: float,
    seed: int,
    dropped: Counter[str],
) -> list[Review]:
    """The reviews that stay, at most `per_category` of each category, drawn by `seed`.

    Length and exact duplicates are looked at for all reviews; language and near-duplicates only
    until a category is full, in the order drawn. `dropped` counts the rest by reason.
    """
    first = _distinct(_fitting(reviews, min_words, max_words, dropped), dropped)
    first.sort(key=lambda review: draw(seed, review.text))
    speaks, near = _Language(language), _NearDuplicates(near_duplicate)
    taken: Counter[str] = Counter()
    kept = []
    for review in first:
        if taken[review.category] >= per_category:
            dropped["over the limit of its category"] += 1
        elif not speaks(review.text):
            dropped["another language"] += 1
        elif near.seen(review.text):
            dropped["near duplicate"] += 1
        else:
            taken[review.category] += 1
            kept.append(review)
    return kept


def _fitting(
    reviews: Iterable[Review], low: int, high: int, dropped: Counter[str]
) -> Iterable[Review]:
    for review in reviews:
        words = len(review.text.split())
        if words < low:
            dropped["too short"] += 1
        elif words > high:
            dropped["too long"] += 1
        else:
            yield review


def _distinct(reviews: Iterable[Review], dropped: Counter[str]) -> list[Review]:
    """The first of the reviews that have the same words in the same order."""
    seen: set[bytes] = set()
    kept = []
    for review in reviews:
        words = " ".join(_WORD.findall(review.text.lower())) or review.text
        key = hashlib.sha256(words.encode()).digest()
        if key in seen:
            dropped["exact duplicate"] += 1
        else:
            seen.add(key)
            kept.append(review)
    return kept


class _Language:
    """Whether a text is of a language, by py3langid's packaged model."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def __call__(self, text: str) -> bool:
        # Short informal English is easily taken for a neighbour: only a sure answer drops it.
        found, probability = self.identifier.classify(text.lower())
        return bool(found == self.language or probability < 0.9)


class _NearDuplicates:
    """Texts whose sets of 3-word shingles have a Jaccard similarity above a threshold."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.index = datasketch.MinHashLSH(threshold, num_perm=_PERMUTATIONS, weights=_WEIGHTS)
        self.shingles: list[frozenset[str]] = []

    def seen(self, text: str) -> bool:
        """Whether a text seen before is near; if not, this one counts as seen from now on."""
        words = _WORD.findall(text.lower())
        shingles = frozenset(" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2)))
        sketch = datasketch.MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch([shingle.encode() for shingle in sorted(shingles)])
        for other in self.index.query(sketch):
            union = len(shingles | self.shingles[other])
            if len(shingles & self.shingles[other]) > self.threshold * union:
                return True
        self.index.insert(len(self.shingles), sketch)
        self.shingles.append(shingles)
        return False


def split(reviews: Sequence[Review], seed: int, dropped: Counter[str]) -> list[Sentence]:
    """Two equal halves that keep each category's share; sentences in the order of their ids.

    Within a category the halves differ by at most one. Of an odd number one review is left out.
    """
    ordered = sorted(reviews, key=lambda r: (r.category, draw(seed, "split:" + r.text)))
    if len(ordered) % 2:
        dropped["odd one out (equal halves)"] += 1
        ordered.pop()
    sentences = [
        Sentence(sentence_id(review.text), HALVES[i % 2], review)
        for i, review in enumerate(ordered)
    ]
    return sorted(sentences, key=lambda sentence: sentence.id)
