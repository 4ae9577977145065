"""The trie of a neuron's paths, and where it says that the neuron fires.

Where one path passes over a place and others have a token there, the others' tokens do not matter
either: what they go on with is merged into what follows the place that is passed over. A token
stays beside it only where a side of a path ends with it. So a walk never has a choice to make.

Paths that are equal end in one END, with the mean of their activations. (The paper does not say
which; its code keeps the first that comes.) No trie depends on the order of its paths.
"""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.n2g.batching import Prompt
from descry.n2g.paths import IGNORE, TURN, Path

ROOT = -3  # the key of the node that every path starts from
Keys = tuple[int, ...]
_Tail = tuple[Keys, float]  # what is left of a path, and its activation
_End = tuple[int, float]  # how long the path is that ends, and its activation


@dataclass(frozen=True)
class Trie:
    """Nodes, breadth first, the children of one by ascending key; node 0 is the root.

    Attributes:
        parents: of each node, -1 of the root.
        keys: the token id, IGNORE or TURN that leads to each node.
        ends: the mean activation of the paths that end in each node; None where none does.
        children: of each node, by key.
    """

    parents: tuple[int, ...]
    keys: Keys
    ends: tuple[float | None, ...]
    children: tuple[dict[int, int], ...]


def full_trie(paths: Iterable[Path]) -> Trie:
    """The trie of all steps, merged where places are passed over."""
    tails = [(tuple(step.key for step in path.steps), path.activation) for path in paths]
    nodes: list[tuple[int, int, float | None]] = []
    waiting = deque([(-1, ROOT, tails)])
    while waiting:
        parent, key, tails = waiting.popleft()
        ends = [activation for keys, activation in tails if not keys]
        waiting += [(len(nodes), child, rest) for child, rest in _branches(tails)]
        nodes.append((parent, key, math.fsum(ends) / len(ends) if ends else None))
    return make_trie(nodes)


def _branches(tails: Iterable[_Tail]) -> list[tuple[int, list[_Tail]]]:
    """The next steps of paths, by key."""
    found: dict[int, list[_Tail]] = defaultdict(list)
    for keys, activation in tails:
        if keys:
            found[keys[0]].append((keys[1:], activation))
    if IGNORE in found:
        for key in found.keys() - {IGNORE, TURN}:
            found[IGNORE] += [tail for tail in found[key] if not _ends(tail)]
            found[key] = [tail for tail in found[key] if _ends(tail)]
    return sorted((key, rest) for key, rest in found.items() if rest)


def _ends(tail: _Tail) -> bool:
    """Whether nothing more comes on this side."""
    return not tail[0] or tail[0][0] == TURN


def make_trie(nodes: Sequence[tuple[int, int, float | None]]) -> Trie:
    """The trie of (parent, key, end), each behind its parent."""
    children: list[dict[int, int]] = [{} for _ in nodes]
    for node, (parent, key, _) in enumerate(nodes[1:], 1):
        children[parent][key] = node
    parents, keys, ends = zip(*nodes, strict=True)
    return Trie(parents, keys, ends, tuple(children))


def trie_json(trie: Trie) -> JSON:
    """The nodes as [parent, key, end], in their order."""
    return [list(node) for node in zip(trie.parents, trie.keys, trie.ends, strict=True)]


def trie_of(value: JSON) -> Trie:
    """The trie that `trie_json` wrote.

    Raises:
        InputError: it is none.
    """
    try:
        nodes = [(int(parent), int(key), end) for parent, key, end in value]
        root, *others = nodes
    except (TypeError, ValueError) as error:  # of unpacking and int() alone
        raise InputError("n2g: not the nodes of a trie") from error
    placed = all(-1 < parent < node for node, (parent, _, _) in enumerate(others, 1))
    numbers = all(end is None or isinstance(end, float | int) for _, _, end in nodes)
    if root[:2] != (-1, ROOT) or not placed or not numbers:
        raise InputError("n2g: not the nodes of a trie")
    return make_trie(nodes)


def predict_tokens(trie: Trie, tokens: Prompt) -> np.ndarray:
    """The predicted activation of each token, as a share of the neuron's highest.

    From the token the trie is walked back, at each TURN also on from the token. The longest path
    that ends says the activation, of equally long ones the highest; without any it is 0.

    Returns:
        Float64 [tokens].
    """
    return np.array(
        [max(_token_ends(trie, tokens, k), default=(0, 0.0))[1] for k in range(len(tokens))]
    )


def _token_ends(trie: Trie, tokens: Prompt, place: int) -> Iterator[_End]:
    """The paths that end when walked from a token."""
    start = trie.children[0].get(tokens[place])
    if start is None:
        return
    before = (tokens[k] for k in range(place - 1, -1, -1))
    for node, back in _walk(trie, start, before):
        yield from _end(trie, node, back)
        turn = trie.children[node].get(TURN)
        if turn is not None:
            behind = (tokens[k] for k in range(place + 1, len(tokens)))
            for other, on in _walk(trie, turn, behind):
                yield from _end(trie, other, back + on)


def _walk(trie: Trie, node: int, tokens: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The nodes on a walk over tokens, each with the number of tokens up to it.

    Beside a place that is passed over, a token leads to a node where sides end, and no further.
    """
    yield node, 0
    for number, token in enumerate(tokens, 1):
        exact, passed = (trie.children[node].get(key) for key in (token, IGNORE))
        if exact is not None:
            yield exact, number
        if passed is not None:
            yield passed, number
        following = exact if passed is None else passed
        if following is None:
            return
        node = following


def _end(trie: Trie, node: int, length: int) -> Iterator[_End]:
    end = trie.ends[node]
    if end is not None:
        yield length, end


def predict_whole(trie: Trie, tokens: Prompt, *, max_gap: int) -> float:
    """The predicted activation of a text that has one, as a share of the neuron's highest.

    A path is found where its tokens stand in their order, with at most `max_gap` others between
    one and the next. The longest that is found says the activation, of equally long ones the
    highest; without any it is 0.
    """
    waiting = [(trie.children[0][t], k, 1) for k, t in enumerate(tokens) if t in trie.children[0]]
    seen = set(waiting)
    best = 0, 0.0
    while waiting:
        node, place, length = waiting.pop()
        best = max([best, *_end(trie, node, length)])
        for k in range(place + 1, min(place + max_gap + 2, len(tokens))):
            child = trie.children[node].get(tokens[k])
            if child is not None and (child, k, length + 1) not in seen:
                seen.add((child, k, length + 1))
                waiting.append((child, k, length + 1))
    return best[1]
