"""Sets of sentences in groups by their embeddings: Ward's method, and the silhouette of the groups.

Any set of sentences falls into groups, and groups found by what sentences say have topics of their
own. So a set is parted only where its groups are further apart than those of random sets of the
same strata (`split`), and whatever is said of groups stands beside the same of such sets.
"""

from typing import NamedTuple

import numpy as np

SMALLEST = 5  # sentences of a group, below which it says nothing
QUANTILE = 0.95  # of the silhouettes of random sets, above which a set is parted


class Groups(NamedTuple):
    """The ways to part a set.

    Attributes:
        members: by number of groups, from 2 on, the group of each sentence, int [sentences], the
            largest group first; without those that have a group below `SMALLEST`.
        silhouettes: of the same.
    """

    members: dict[int, np.ndarray]
    silhouettes: dict[int, float]

    @property
    def best(self) -> int:
        """The number of groups with the highest silhouette, of equals the fewest; 1 without any."""
        return max(self.silhouettes, key=lambda k: (self.silhouettes[k], -k), default=1)

    @property
    def silhouette(self) -> float:
        """The highest; NaN where the set cannot be parted."""
        return self.silhouettes.get(self.best, float("nan"))


def groups(vectors: np.ndarray, most: int) -> Groups:
    """Part a set of sentences into 2 to `most` groups by Ward's method.

    Args:
        vectors: unit vectors, float [sentences, dimension].
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist, squareform
    from sklearn.metrics import silhouette_score

    members: dict[int, np.ndarray] = {}
    found: dict[int, float] = {}
    if len(vectors) < 2 * SMALLEST or most < 2:
        return Groups(members, found)
    apart = pdist(vectors.astype(np.float64))
    tree, square = linkage(apart, "ward"), squareform(apart)
    for number in range(2, most + 1):
        of = fcluster(tree, number, "maxclust") - 1
        sizes = np.bincount(of)
        if len(sizes) == number and sizes.min() >= SMALLEST:
            rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
            members[number] = rank[of]
            found[number] = float(silhouette_score(square, of, metric="precomputed"))
    return Groups(members, found)


def bound(silhouettes: np.ndarray) -> float:
    """The silhouette above which a set is parted, from those of random sets; NaN without any.

    Args:
        silhouettes: float [sets], NaN of a set that cannot be parted: below any.
    """
    known = np.sort(np.nan_to_num(silhouettes, nan=-1.0))
    if not len(known):
        return float("nan")
    place = int(np.ceil(QUANTILE * (len(known) + 1))) - 1  # so that one more set is above in 5%
    return float(known[place]) if place < len(known) else 1.0


def padded(sets: list[np.ndarray]) -> np.ndarray:
    """Sets of different sizes as int32 [sets, size], -1 behind the end of a smaller one."""
    found = np.full((len(sets), max(map(len, sets), default=0)), -1, dtype=np.int32)
    for place, members in enumerate(sets):
        found[place, : len(members)] = members
    return found
