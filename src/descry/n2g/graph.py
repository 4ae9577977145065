"""A neuron's graph: the trie that predicts where it fires, and the one that is drawn."""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.n2g.batching import Prompt
from descry.n2g.contexts import Offsets, Table, coded, predict_sums, tables
from descry.n2g.paths import IGNORE, TURN, Path, Step
from descry.n2g.trie import Trie, full_trie, predict_tokens, predict_whole, trie_json, trie_of

VERSION = 2  # of a graph as JSON
Side = Literal["activating", "before", "behind"]
_SIDES: tuple[Side, ...] = ("activating", "before", "behind")


class Drawn(NamedTuple):
    """A node of the trie that is drawn: a token that matters.

    Attributes:
        parent: the node before it on the way from the activating token, -1 for none.
        side: of the activating token.
        token: id.
        importance: for the activating token, from 0 to 1: the mean of its paths. (What turns an
            activation negative has an importance above 1, which counts as 1.)
        activation: of the activating token, as a share of the neuron's highest: as above.
        end: whether a path ends here.
    """

    parent: int
    side: Side
    token: int
    importance: float
    activation: float
    end: bool


class _Tail(NamedTuple):
    """What is left of a path: its steps, each with its side, and its activation."""

    steps: tuple[tuple[int, Step], ...]
    activation: float


def drawn_trie(paths: Iterable[Path]) -> list[Drawn]:
    """The nodes, breadth first, those of one parent by side and token."""
    found: list[Drawn] = []
    waiting = deque([(-1, [_visible(path) for path in paths])])
    while waiting:
        parent, tails = waiting.popleft()
        for (side, token), branch in sorted(_branches(tails).items()):
            importance = _mean([min(max(tail.steps[0][1].importance, 0), 1) for tail in branch])
            activation = _mean([tail.activation for tail in branch])
            rest = [_Tail(tail.steps[1:], tail.activation) for tail in branch]
            waiting.append((len(found), rest))
            ends = not all(tail.steps for tail in rest)
            found.append(Drawn(parent, _SIDES[side], token, importance, activation, ends))
    return found


def _visible(path: Path) -> _Tail:
    """A path without what is passed over; where it turns, its steps have the other side."""
    keys = [step.key for step in path.steps]
    turn = keys.index(TURN) if TURN in keys else len(keys)
    sided = [
        (0 if place == 0 else 1 if place < turn else 2, step)
        for place, step in enumerate(path.steps)
    ]
    return _Tail(tuple(one for one in sided if one[1].key not in (IGNORE, TURN)), path.activation)


def _branches(tails: Iterable[_Tail]) -> dict[tuple[int, int], list[_Tail]]:
    found: dict[tuple[int, int], list[_Tail]] = defaultdict(list)
    for tail in tails:
        if tail.steps:
            side, step = tail.steps[0]
            found[side, step.key].append(tail)
    return found


def _mean(values: Sequence[float]) -> float:
    # Exactly rounded, so that the order of the paths does not matter.
    return math.fsum(values) / len(values)


def drawn_json(nodes: Iterable[Drawn]) -> JSON:
    """The nodes as objects, in their order."""
    return [node._asdict() for node in nodes]


def drawn_of(value: JSON) -> list[Drawn]:
    """The nodes that `drawn_json` wrote.

    Raises:
        InputError: they are none.
    """
    fields = set(Drawn._fields)
    if not isinstance(value, list) or not all(
        isinstance(node, dict) and node.keys() == fields for node in value
    ):
        raise InputError("n2g: not the nodes of a picture")
    return [Drawn(**node) for node in value]


@dataclass(frozen=True)
class Graph:
    """A neuron's graph.

    Attributes:
        neuron: index in its layer.
        highest: its highest activation on the training texts, the unit of all others; 0 where it
            was never active.
        max_gap: where a text has one activation, most tokens between two of a path; None where each
            token has its own.
        positive, negative: augmented prompts that kept enough of the activation, and the others.
        trie: the one that predicts.
        drawn: the one that is drawn.
        bias: where the ends of the trie are weights, what is predicted without any of them; None
            where the longest path says the activation.
        cut: the predicted share from which on the neuron is said to fire; None: the one from which
            on it does.
    """

    neuron: int
    highest: float
    max_gap: int | None
    positive: int
    negative: int
    trie: Trie
    drawn: list[Drawn]
    bias: float | None = None
    cut: float | None = None

    @cached_property
    def weights(self) -> dict[Offsets, Table]:
        """The ends of a trie of weights, by kind of context."""
        return tables(self.trie)

    def predict(self, tokens: Prompt) -> np.ndarray:
        """The predicted activations of a text: float64 [tokens], or [1], as shares."""
        if self.bias is not None:
            return self.sums(coded([tokens]))
        if self.max_gap is None:
            return predict_tokens(self.trie, tokens)
        return np.array([predict_whole(self.trie, tokens, max_gap=self.max_gap)])

    def sums(self, contexts: Mapping[Offsets, np.ndarray]) -> np.ndarray:
        """What a graph of weights predicts: float64 [tokens], as shares.

        Args:
            contexts: at each token, as `coded` gives them.
        """
        assert self.bias is not None
        return self.bias + predict_sums(self.weights, contexts)

    def shares(self, activations: np.ndarray) -> np.ndarray:
        """Activations as shares of the highest: float64; 0 where the neuron was never active."""
        if self.highest > 0:
            return np.asarray(activations, dtype=np.float64) / self.highest
        return np.zeros(len(activations))


def make_graph(
    neuron: int,
    highest: float,
    paths: Sequence[Path],
    positive: Sequence[bool],
    *,
    max_gap: int | None,
) -> Graph:
    """The graph of a neuron's paths; their order does not matter.

    Args:
        positive: of each augmented prompt, whether it kept enough of the activation.
    """
    kept = sum(positive)
    tries = full_trie(paths), drawn_trie(paths)
    return Graph(neuron, highest, max_gap, kept, len(positive) - kept, *tries)


def graph_json(graph: Graph) -> JSON:
    """A graph as plain JSON values: the same for the same paths."""
    return {
        "version": VERSION,
        "neuron": graph.neuron,
        "highest": graph.highest,
        "max_gap": graph.max_gap,
        "positive": graph.positive,
        "negative": graph.negative,
        "trie": trie_json(graph.trie),
        "drawn": drawn_json(graph.drawn),
        "bias": graph.bias,
        "cut": graph.cut,
    }


def graph_of(value: JSON) -> Graph:
    """The graph that `graph_json` wrote.

    Raises:
        InputError: it is none, or of another version.
    """
    if not isinstance(value, dict) or "version" not in value:
        raise InputError("n2g: not a graph (no version)")
    if value["version"] != VERSION:
        raise InputError(f"n2g: a graph of version {value['version']}, not {VERSION}")
    told = {name: part for name, part in value.items() if name != "version"}
    if strange := told.keys() ^ set(Graph.__dataclass_fields__):
        raise InputError(f"n2g: not a graph ({min(strange)})")
    return Graph(**told | {"trie": trie_of(told["trie"]), "drawn": drawn_of(told["drawn"])})
