"""Sentences, their ids, and the two halves of the corpus (paper, section 4.2).

Everything random is decided by a hash of seed and text, never by a stream of random numbers, so
that one review more does not reshuffle the others.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

CALIBRATION, VALIDATION = "calibration", "validation"
HALVES = (CALIBRATION, VALIDATION)
SPLITS = ("all", *HALVES)


def sentence_id(text: str) -> str:
    """The id of a sentence: the first 16 hex digits of the sha256 of its text.

    So gold labels, ties and draws depend neither on the order of files nor on other reviews.
    """
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def corpus_id(ids: Iterable[str]) -> str:
    """Return the id of a corpus: a hash of its sentences' ids, in their order (16 hex digits)."""
    found = hashlib.sha256()
    for sentence in ids:
        found.update(sentence.encode() + b"\n")
    return found.hexdigest()[:16]


def draw(seed: int, name: str) -> bytes:
    """Return a random number for a name: the smallest are drawn, whatever the other names."""
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def split_rows(splits: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the row numbers of the corpus and of each half: {split: int64 [its sentences]}."""
    halves = np.asarray(splits)
    return {
        "all": np.arange(len(halves)),
        CALIBRATION: np.flatnonzero(halves == CALIBRATION),
        VALIDATION: np.flatnonzero(halves == VALIDATION),
    }


def other_half(half: str) -> str:
    """Return the opposite half."""
    return VALIDATION if half == CALIBRATION else CALIBRATION
