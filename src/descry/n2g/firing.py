"""In which texts of a corpus neurons fire, by their graphs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

from descry.n2g.batching import Prompt
from descry.n2g.graph import Graph


def firing_rows(
    graphs: Sequence[Graph], blocks: Iterable[Sequence[Prompt]], *, firing: float
) -> list[list[int]]:
    """The texts in which each graph predicts its neuron to fire at any token.

    A text is held against those graphs alone that have a path from one of its tokens.

    Args:
        blocks: the tokens of all texts, special ones left out.
        firing: share of a neuron's highest activation from which on it fires.

    Returns:
        Of each graph, ascending rows.
    """
    starting: dict[int, list[int]] = defaultdict(list)
    for place, graph in enumerate(graphs):
        for token in graph.trie.children[0]:
            starting[token].append(place)
    found: list[list[int]] = [[] for _ in graphs]
    for row, tokens in enumerate(chain.from_iterable(blocks)):
        places = {place for token in tokens for place in starting.get(token, ())}
        for place in places:
            if (graphs[place].predict(tokens) >= firing).any():
                found[place].append(row)
    return found
