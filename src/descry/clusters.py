"""Raw descriptors to descriptors: clustering, representatives and hand edits (section 3.1)."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from descry.errors import InputError

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Descriptor:
    """A cluster of raw descriptors under one name."""

    name: str
    phrases: tuple[tuple[str, int], ...]  # raw descriptor and its mentions, most frequent first
    edits: tuple[str, ...] = ()

    @property
    def mentions(self) -> int:
        """How often its raw descriptors were given."""
        return sum(n for _, n in self.phrases)


@dataclass
class Edits:
    """What people change by hand (data/descriptors.yaml); any phrase of a cluster names it."""

    rename: dict[str, str] = field(default_factory=dict)
    merge: dict[str, list[str]] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)


def cluster(
    vectors: np.ndarray, method: Literal["community", "agglomerative"], threshold: float
) -> list[list[int]]:
    """Groups of rows whose vectors are alike.

    Args:
        vectors: unit vectors, float32 [phrases, dimension].
        method: fast community detection (section 3.1) or agglomerative with average linkage
            (Table 5).
        threshold: cosine similarity within a group.
    """
    if len(vectors) < 2:
        return [[row] for row in range(len(vectors))]
    if method == "community":
        import torch
        from sentence_transformers.util import community_detection

        groups = community_detection(
            torch.from_numpy(vectors), threshold=threshold, min_community_size=1, batch_size=2048
        )
        return [sorted(group) for group in groups]
    from sklearn.cluster import AgglomerativeClustering

    model = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - threshold, metric="cosine", linkage="average"
    )
    found = model.fit_predict(vectors)
    return [np.flatnonzero(found == label).tolist() for label in range(found.max() + 1)]


def medoid(vectors: np.ndarray, weights: np.ndarray) -> int:
    """The row most similar to the others, each weighted by how often it was mentioned."""
    return int(np.argmax(np.round(vectors @ (weights @ vectors), 5)))


def describe(
    phrases: Sequence[str], counts: Mapping[str, int], vectors: np.ndarray, groups: list[list[int]]
) -> list[Descriptor]:
    """A descriptor per group, named by its medoid, the most mentioned first."""
    found = []
    for rows in groups:
        weights = np.array([counts[phrases[row]] for row in rows], dtype=np.float32)
        name = phrases[rows[medoid(vectors[rows], weights)]]
        members = sorted(((phrases[r], counts[phrases[r]]) for r in rows), key=_frequent_first)
        found.append(Descriptor(name, tuple(members)))
    return sorted(found, key=lambda d: (-d.mentions, d.name))


def _frequent_first(member: tuple[str, int]) -> tuple[int, str]:
    return -member[1], member[0]


@dataclass(frozen=True)
class Edited:
    """What became of the descriptors, and which edits came to nothing.

    Attributes:
        kept: the descriptors that stay, the most mentioned first.
        dropped: those dropped by hand.
        unknown: phrases in the edits that are in no cluster.
        overruled: phrases whose cluster an earlier line of the edits had sent elsewhere. No error:
            edits outlive a threshold or a corpus, and clusters run together.
    """

    kept: list[Descriptor]
    dropped: list[Descriptor]
    unknown: list[str]
    overruled: list[str]


def apply_edits(descriptors: Sequence[Descriptor], edits: Edits) -> Edited:
    """Rename, merge and drop by hand, in this order; the first edit of a cluster counts.

    Raises:
        InputError: a name or phrase has characters that are no text: results cannot hold them.
    """
    merged = [phrase for phrases in edits.merge.values() for phrase in phrases]
    for word in (*edits.rename, *edits.rename.values(), *edits.merge, *merged, *edits.drop):
        if _NO_TEXT.search(word):
            raise InputError(f"edits by hand: {word[:40]!a} has control characters")
    owner = {phrase: i for i, d in enumerate(descriptors) for phrase, _ in d.phrases}
    wishes: list[tuple[str, str | None]] = [(phrase, name) for phrase, name in edits.rename.items()]
    wishes += [(phrase, name) for name, phrases in edits.merge.items() for phrase in phrases]
    wishes += [(phrase, None) for phrase in edits.drop]
    fate: dict[int, str | None] = {}
    unknown, overruled = [], []
    for phrase, name in wishes:
        row = owner.get(phrase)
        if row is None:
            unknown.append(phrase)
        elif fate.setdefault(row, name) != name:
            overruled.append(phrase)
    dropped = [descriptors[row] for row, name in sorted(fate.items()) if name is None]
    kept = _merge(
        [
            d if fate.get(i, d.name) == d.name else replace(d, name=fate[i] or "", edits=(d.name,))
            for i, d in enumerate(descriptors)
            if fate.get(i, "") is not None
        ]
    )
    return Edited(kept, dropped, unknown, overruled)


def _merge(descriptors: Sequence[Descriptor]) -> list[Descriptor]:
    """Join the descriptors that have the same name."""
    by_name: dict[str, list[Descriptor]] = {}
    for descriptor in descriptors:
        by_name.setdefault(descriptor.name, []).append(descriptor)
    merged = []
    for name, parts in by_name.items():
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(dict(part.phrases))
        phrases = tuple(sorted(counts.items(), key=_frequent_first))
        merged.append(Descriptor(name, phrases, tuple(e for part in parts for e in part.edits)))
    return sorted(merged, key=lambda d: (-d.mentions, d.name))
