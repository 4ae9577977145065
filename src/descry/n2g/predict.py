"""Where a neuron's graph says that it fires."""

from collections.abc import Iterable, Iterator

import numpy as np

from descry.n2g.batching import Prompt
from descry.n2g.paths import IGNORE, TURN
from descry.n2g.trie import Trie

_End = tuple[int, float]  # how long the path is that ends, and its activation


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
