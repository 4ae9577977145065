"""Contexts with weights: a token, a token near it, and both together.

A context is a path of the trie: from the activating token, or from IGNORE where that may be any,
over the tokens before it, and behind a TURN over those that follow. A trie with a weight at the end
of each path predicts the sum of the weights of all paths that are found at a token.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from descry.n2g.batching import Prompt
from descry.n2g.paths import IGNORE, TURN
from descry.n2g.trie import ROOT, Keys, Trie, make_trie

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Offsets = tuple[int, ...]  # places of a context's tokens, ascending, from the activating one's
Table = tuple[np.ndarray, np.ndarray]  # ascending codes of contexts, and a value of each

# Each kind of context, and the penalty on the squares of its weights: the number of times that one
# has to be seen for half of what it says to be believed. Chosen on neurons of MiniLM that no figure
# is of; twice as much changes the mean correlation by .001.
PENALTIES: Mapping[Offsets, float] = {
    (0,): 0.3,
    (-1,): 10,
    (1,): 10,
    (-2,): 20,
    (2,): 20,
    (-3,): 30,
    (3,): 30,
    (-1, 0): 3,
    (0, 1): 3,
    (-1, 0, 1): 3,
    (-2, -1, 0): 3,
    (0, 1, 2): 3,
}
_BITS = 21  # of a token id: three are one int64


def kinds(*, both_sides: bool) -> list[Offsets]:
    """The kinds of contexts; without those that follow where these cannot count."""
    return [offsets for offsets in PENALTIES if both_sides or offsets[-1] <= 0]


def codes(prompts: Sequence[Prompt], offsets: Offsets) -> np.ndarray:
    """The context of this kind at each token: int64 [tokens of all texts], -1 beyond an end."""
    tokens = np.fromiter(chain.from_iterable(prompts), dtype=np.int64)
    text = np.repeat(np.arange(len(prompts)), [len(prompt) for prompt in prompts])
    places = np.arange(len(tokens))
    found, inside = np.zeros(len(tokens), dtype=np.int64), np.ones(len(tokens), dtype=bool)
    for offset in offsets:
        there = np.clip(places + offset, 0, len(tokens) - 1)
        inside &= (there == places + offset) & (text[there] == text)
        found = found << _BITS | tokens[there]
    return np.where(inside, found, -1)


def tokens_of(code: int, offsets: Offsets) -> Prompt:
    """The tokens of a context."""
    last = len(offsets) - 1
    return tuple(code >> _BITS * (last - k) & (1 << _BITS) - 1 for k in range(len(offsets)))


def design(
    prompts: Sequence[Prompt], some: Iterable[Offsets], *, least: int
) -> "tuple[csr_array, dict[Offsets, np.ndarray]]":
    """Return which contexts apply at each token of texts.

    Args:
        least: times that a context is to be seen.

    Returns:
        float32 [tokens, contexts] of 0 and 1; and of each kind, in the order of the columns, the
        ascending codes of its contexts.
    """
    columns, every, first = [], {}, 0
    for offsets in some:
        found = codes(prompts, offsets)
        known, counts = np.unique(found[found >= 0], return_counts=True)
        every[offsets] = known[counts >= least]
        columns.append(_column(found, every[offsets], first))
        first += len(every[offsets])
    places = np.stack(columns, axis=1)
    there = places >= 0
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    chosen = places[there]
    ones = np.ones(len(chosen), dtype=np.float32)
    from scipy.sparse import csr_array

    return csr_array((ones, chosen, ends), shape=(len(places), first)), every


def _column(found: np.ndarray, known: np.ndarray, first: int) -> np.ndarray:
    place = _place(found, known)
    return np.where(place >= 0, place + first, -1)


def _place(found: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The place of each code among those known, -1 where it is not."""
    if not len(known):
        return np.full(len(found), -1)
    place = np.minimum(np.searchsorted(known, found), len(known) - 1)
    return np.where(known[place] == found, place, -1)


def look_up(table: Table, found: np.ndarray, absent: float = 0.0) -> np.ndarray:
    """The value of each code: float64; that of one that is not in the table is `absent`."""
    known, values = table
    place = _place(found, known)
    return (
        np.where(place >= 0, values[place], absent) if len(known) else np.full(len(found), absent)
    )


def path_of(code: int, offsets: Offsets) -> Keys:
    """The keys of a context's path."""
    there = dict(zip(offsets, tokens_of(code, offsets), strict=True))
    keys = [there.get(-k, IGNORE) for k in range(max(0, -offsets[0]) + 1)]
    if offsets[-1] > 0:
        keys += [TURN, *(there.get(k, IGNORE) for k in range(1, offsets[-1] + 1))]
    return tuple(keys)


def weighted_trie(weights: Mapping[Keys, float]) -> Trie:
    """The trie in which each path ends with its weight."""
    nodes: list[tuple[int, int, float | None]] = [(-1, ROOT, None)]
    level: dict[Keys, int] = {(): 0}
    for length in range(1, 1 + max(map(len, weights), default=0)):
        parents, level = level, {}
        for keys in sorted({keys[:length] for keys in weights if len(keys) >= length}):
            level[keys] = len(nodes)
            nodes.append((parents[keys[:-1]], keys[-1], weights.get(keys)))
    return make_trie(nodes)


def tables(trie: Trie) -> dict[Offsets, Table]:
    """The weights of a trie by kind of context and code."""
    found: dict[Offsets, dict[int, float]] = defaultdict(dict)
    paths: list[Keys] = [()]
    for parent, key, end in zip(trie.parents[1:], trie.keys[1:], trie.ends[1:], strict=True):
        paths.append((*paths[parent], key))
        if end is not None:
            offsets, code = _context(paths[-1])
            found[offsets][code] = end
    return {offsets: _table(some) for offsets, some in found.items()}


def _context(path: Keys) -> tuple[Offsets, int]:
    turn = path.index(TURN) if TURN in path else len(path)
    placed = {-k: key for k, key in enumerate(path[:turn])}
    placed |= dict(enumerate(path[turn + 1 :], 1))
    offsets = tuple(sorted(k for k, key in placed.items() if key != IGNORE))
    code = 0
    for offset in offsets:
        code = code << _BITS | placed[offset]
    return offsets, code


def _table(values: Mapping[int, float]) -> Table:
    known = sorted(values)
    return np.array(known, dtype=np.int64), np.array([values[code] for code in known])


def coded(prompts: Sequence[Prompt]) -> dict[Offsets, np.ndarray]:
    """The codes of every kind of context at each token of texts."""
    return {offsets: codes(prompts, offsets) for offsets in PENALTIES}


def predict_sums(
    weights: Mapping[Offsets, Table], found: Mapping[Offsets, np.ndarray]
) -> np.ndarray:
    """The sum of the weights of all contexts at each token: float64 [tokens of all texts].

    Args:
        found: the codes of the contexts there, as `coded` gives them.
    """
    summed = np.zeros(len(found[(0,)]))
    for offsets, table in weights.items():
        summed += look_up(table, found[offsets])
    return summed
