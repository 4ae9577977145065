"""Raw descriptors to descriptors: clustering, representatives and hand edits (section 3.1)."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from descry.errors import InputError
from descry.labels.neighbours import Alike, alike

AGGLOMERATIVE = 18_000  # raw descriptors, whose distances the method holds twice: 2.6 GB
_HELD = 2**24  # pairs whose groups are found at a time
ANY = "any"  # edits that act on every corpus
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
    """Edits by hand (data/descriptors.yaml); any phrase of a cluster names the cluster.

    Attributes:
        corpus: the `corpus_id` of the corpus that the edits were made for, ANY, or None if the file
            does not say.
    """

    rename: dict[str, str] = field(default_factory=dict)
    merge: dict[str, list[str]] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    corpus: str | None = None

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return bool(self.rename or self.merge or self.drop)

    def are_for(self, corpus: str | None) -> bool:
        """Whether they were made for a corpus, or for any."""
        return self.corpus in (ANY, corpus)


def cluster(
    vectors: np.ndarray, method: Literal["community", "agglomerative"], threshold: float
) -> list[list[int]]:
    """Group rows with similar vectors.

    Args:
        vectors: unit vectors, float32 [phrases, dimension].
        method: fast community detection (section 3.1) or agglomerative with average linkage
            (Table 5).
        threshold: cosine similarity within a group.

    Raises:
        InputError: there are too many phrases for the method, or their pairs fill the disk.
    """
    if len(vectors) < 2:
        return [[row] for row in range(len(vectors))]
    if method == "community":
        with alike(vectors, threshold) as pairs:
            return communities(pairs)
    if len(vectors) > AGGLOMERATIVE:
        raise InputError(
            f"cluster.method agglomerative holds all distances of {len(vectors)} raw descriptors,"
            f" and is for {AGGLOMERATIVE} at most: take community"
        )
    from sklearn.cluster import AgglomerativeClustering

    model = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - threshold, metric="cosine", linkage="average"
    )
    return _members(model.fit_predict(vectors))


def communities(pairs: Alike) -> list[list[int]]:
    """Groups of rows around centres, the largest first: fast community detection.

    Rows are visited in the order of how many rows are similar to them, ties by row. A row without a
    group becomes a centre, and its group takes all similar rows without a group.
    """
    order = np.argsort(-pairs.sizes, kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    centre = np.full(len(order), -1, dtype=np.int32)  # of the row of each rank, as a rank
    for start, stop in _spans(pairs.sizes[order]):
        members, ends = _led(pairs, rank, centre, start, stop)
        for leader in range(start, stop):
            if centre[leader] < 0:
                own = members[ends[leader - start] : ends[leader - start + 1]]
                centre[own[centre[own] < 0]] = leader
                centre[leader] = leader
    return sorted(_members(centre[rank]), key=len, reverse=True)


def _spans(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cut ranks into spans whose rows have about `_HELD` pairs together, at least one rank each."""
    spans = np.cumsum(sizes) // _HELD
    cuts = np.flatnonzero(np.diff(spans)) + 1
    return pairwise([0, *cuts.tolist(), len(sizes)])


def _led(
    pairs: Alike, rank: np.ndarray, centre: np.ndarray, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ranks that the rows of a span of ranks can take, and where the ranks of each row end.

    Rows of lower ranks are in groups when a row's turn comes, so only higher ones are read.
    """
    leaders, members = [], []
    for first, second in pairs.read():
        leader, member = rank[first], rank[second]
        free = (leader >= start) & (leader < stop) & (member > leader)
        leader, member = leader[free], member[free]
        free = (centre[leader] < 0) & (centre[member] < 0)
        leaders.append(leader[free])
        members.append(member[free])
    leader = np.concatenate([np.empty(0, dtype=np.int32), *leaders])
    member = np.concatenate([np.empty(0, dtype=np.int32), *members])
    order = np.argsort(leader, kind="stable")
    return member[order], np.searchsorted(leader[order], np.arange(start, stop + 1))


def _members(labels: np.ndarray) -> list[list[int]]:
    """The rows of each label, labels in order."""
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    return [rows.tolist() for rows in np.split(order, cuts)]


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
    """The descriptors after the edits: which edits had an effect, and which had none.

    Attributes:
        kept: kept descriptors, the most mentioned first.
        dropped: descriptors dropped by hand.
        applied: for each name given by hand, the former names of its clusters.
        unknown: phrases in the edits that are in no cluster.
        overruled: phrases whose cluster an earlier line of the edits had changed. This is no error:
            with another threshold or corpus clusters can merge.
    """

    kept: list[Descriptor]
    dropped: list[Descriptor]
    applied: dict[str, list[str]]
    unknown: list[str]
    overruled: list[str]


def apply_edits(descriptors: Sequence[Descriptor], edits: Edits) -> Edited:
    """Rename, merge and drop by hand, in this order; the first edit of a cluster counts.

    Raises:
        InputError: a name or phrase has control characters, which results cannot hold.
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
    applied: dict[str, list[str]] = {}
    for row, name in sorted(fate.items()):
        if name not in (None, descriptors[row].name):
            applied.setdefault(str(name), []).append(descriptors[row].name)
    return Edited(kept, dropped, applied, unknown, overruled)


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
