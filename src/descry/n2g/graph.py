"""A neuron's graph: the trie that predicts where it fires, and the one that is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.n2g.batching import Prompt
from descry.n2g.drawn import Drawn, drawn_json, drawn_of, drawn_trie
from descry.n2g.paths import Path
from descry.n2g.trie import Trie, full_trie, predict_tokens, predict_whole, trie_json, trie_of

VERSION = 1  # of a graph as JSON


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
    """

    neuron: int
    highest: float
    max_gap: int | None
    positive: int
    negative: int
    trie: Trie
    drawn: list[Drawn]

    def predict(self, tokens: Prompt) -> np.ndarray:
        """The predicted activations of a text: float64 [tokens], or [1], as shares."""
        if self.max_gap is None:
            return predict_tokens(self.trie, tokens)
        return np.array([predict_whole(self.trie, tokens, max_gap=self.max_gap)])

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
