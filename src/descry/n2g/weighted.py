"""Graphs of weighted paths: what tokens and their contexts add to a neuron's activation (ours).

The graphs of Foote et al. are made of the few texts that excite a neuron most, and list the
contexts there. These are made of all texts that they are given, so that they also know where the
neuron does not fire: a context has a weight, shrunk towards 0 the more, the less often it was seen,
and what is predicted at a token is the sum over all contexts that stand there. The graph is as
before: activating tokens, and the tokens around them that matter.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from descry.n2g.batching import Prompt
from descry.n2g.contexts import PENALTIES, Offsets, design, kinds, path_of, weighted_trie
from descry.n2g.graph import Graph, drawn_trie
from descry.n2g.paths import TURN, Path, Step, side
from descry.n2g.ridge import FOLDS, best_cut, crossed, ridge
from descry.n2g.trie import Keys

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_DIGITS = 4  # of a weight, in shares of the highest activation
_LEAST = 2  # times that a context has to be seen
_DRAWN = 30  # paths that are drawn, at most
_LOOKED_AT = 500  # tokens that these are sought at
_MATTERS = 0.2  # share of a predicted activation that a token has to add to be drawn


class _Place(NamedTuple):
    """A token of a text, what is predicted there, and the weights of the contexts that stand there.

    Attributes:
        activation: as a share of the highest.
    """

    prompt: Prompt
    token: int
    activation: float
    predicted: float
    weights: list[tuple[Offsets, float]]


def weighted_graphs(
    neurons: Sequence[int],
    prompts: Sequence[Prompt],
    values: np.ndarray,
    used: np.ndarray,
    *,
    paths: int,
    firing: float,
    both_sides: bool,
) -> list[Graph]:
    """The graphs of some neurons.

    Args:
        neurons: their indices.
        prompts: the texts.
        values: float32 [tokens of all texts, neurons], activations.
        used: bool [texts, neurons], the texts that each neuron's graph is made from.
        paths: of a graph, at most: those whose weights and numbers explain most.
        firing: share of the highest activation from which on a neuron fires.
        both_sides: what follows a token can change its activation.
    """
    lengths = [len(prompt) for prompt in prompts]
    text = np.repeat(np.arange(len(prompts)), lengths)
    known = used[text]
    highest = np.max(values, axis=0, initial=0, where=known)
    shares = values * np.divide(1, highest, out=np.zeros_like(highest), where=highest > 0)
    contexts, codes = design(prompts, kinds(both_sides=both_sides), least=_LEAST)
    penalties = np.repeat(
        [PENALTIES[offsets] for offsets in codes], [len(some) for some in codes.values()]
    )
    expected = crossed(contexts, shares, known, penalties, text % FOLDS)
    weights, bias = ridge(contexts, shares, known, penalties)
    counts = contexts.T.tocsr() @ known.astype(np.float32)
    if paths < len(weights):
        worth = np.abs(weights) * np.sqrt(counts)
        kept = worth >= np.partition(worth, -paths, axis=0)[-paths]
        # Once more: those that stay then also say what they shared with the others.
        weights, bias = ridge(contexts, shares, known, penalties, kept)
    weights = np.round(weights, _DIGITS)
    predicted = contexts @ weights + bias
    described = [(offsets, code) for offsets, some in codes.items() for code in some.tolist()]
    return [
        _graph(
            neuron,
            float(highest[k]),
            {described[row]: _plain(weights[row, k]) for row in np.flatnonzero(weights[:, k])},
            _plain(bias[k]),
            best_cut(shares[known[:, k], k] >= firing, expected[known[:, k], k]),
            _Leading(prompts, contexts, described, weights[:, k]).places(
                np.where(known[:, k], predicted[:, k], -np.inf), shares[:, k]
            ),
            firing,
        )
        for k, neuron in enumerate(neurons)
    ]


def _plain(value: np.float32) -> float:
    return round(float(value), _DIGITS)


class _Leading(NamedTuple):
    """The tokens at which most is predicted of a neuron."""

    prompts: Sequence[Prompt]
    contexts: "csr_array"
    described: Sequence[tuple[Offsets, int]]
    weights: np.ndarray

    def places(self, predicted: np.ndarray, shares: np.ndarray) -> Iterator[_Place]:
        """The highest first, ties by the earlier."""
        ends = np.cumsum([len(prompt) for prompt in self.prompts])
        for place in np.argsort(-predicted, kind="stable")[:_LOOKED_AT].tolist():
            text = int(np.searchsorted(ends, place, side="right"))
            prompt = self.prompts[text]
            columns = self.contexts.indices[slice(*self.contexts.indptr[place : place + 2])]
            there = [(self.described[c][0], float(self.weights[c])) for c in columns.tolist()]
            token = place - int(ends[text]) + len(prompt)
            yield _Place(prompt, token, float(shares[place]), float(predicted[place]), there)


def _graph(
    neuron: int,
    highest: float,
    weights: dict[tuple[Offsets, int], float],
    bias: float,
    cut: float,
    places: Iterator[_Place],
    firing: float,
) -> Graph:
    ends = {path_of(code, offsets): weight for (offsets, code), weight in weights.items()}
    cut = cut if math.isfinite(cut) else firing
    found: dict[Keys, list[Path]] = {}
    for place in places:
        if place.predicted < cut or len(found) == _DRAWN:
            break
        if place.activation >= firing:
            path = _path(place)
            found.setdefault(tuple(step.key for step in path.steps), []).append(path)
    drawn = drawn_trie([path for some in found.values() for path in some])
    return Graph(neuron, highest, None, 0, 0, weighted_trie(ends), drawn, bias, cut)


def _path(place: _Place) -> Path:
    """The path from a token over those around it that matter.

    A token's importance is the share of what is predicted that the contexts with it add.
    """

    def importance(offset: int) -> float:
        own = [weight for offsets, weight in place.weights if offset in offsets]
        return math.fsum(own) / place.predicted

    prompt, token = place.prompt, place.token
    matters = {token + k: importance(k) for k in range(-3, 4) if 0 <= token + k < len(prompt)}
    before = side(
        prompt, matters, [k for k in sorted(matters, reverse=True) if k < token], _MATTERS
    )
    behind = side(prompt, matters, [k for k in sorted(matters) if k > token], _MATTERS)
    turn = [Step(TURN, 0.0), *behind] if behind else []
    first = Step(prompt[token], matters[token])
    return Path((first, *before, *turn), place.activation)
