"""All graphs of a run, and searches among them.

Which neurons does a token activate, and in which contexts; which respond to it in the context of
others; which graphs are alike, and which are part of another (Foote et al. 2023, the preprint).

A node of a graph is an activating token with the context up to there, which says the same in every
graph of a run: graphs are compared by the nodes that they have in common.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.parquet import read_table
from descry.io.readable import unreadable
from descry.n2g.graph import Drawn, Graph
from descry.n2g.render import Context, Phrase, contexts, phrase
from descry.n2g.tables import graph_and_words, neuron_name
from descry.n2g.token_words import bare

_FEW = 5  # neurons that an error names
_NEEDED = ("layer", "neuron", "graph", "words")
_NO_SCORES = (*_NEEDED, "highest", "learnt", "positive", "negative")
_NAME = re.compile(r"[Ll](\d{1,9}):(\d{1,9})")
_ID = re.compile(r"id:(\d{1,9})")


class Entry(NamedTuple):
    """A neuron's graph, the string of each of its token ids, and scores by name where asked for."""

    graph: Graph
    words: Mapping[int, str]
    scores: Mapping[str, float | None]


def read_graphs(path: Path, only: str | None = None) -> dict[str, Entry]:
    """The graphs of graphs.parquet by neuron, in its order; without their scores.

    Args:
        only: the one neuron to read, such as L5:24, with its scores.

    Raises:
        InputError: the file is missing or damaged, or has no such neuron.
    """
    if only is None:
        table = read_table(path, "graphs", list(_NEEDED))
    else:
        table = read_table(path, "graphs", only=_rows(only))
        if absent := set(_NEEDED) - set(table.column_names):
            raise unreadable(path, "graphs", f"no column {min(absent)}")
        if not len(table):
            raise InputError(f"{only}: no such neuron in {path}: {_there(path)}")
    rows = table.to_pylist()
    return {neuron_name(row["layer"], row["neuron"]): _entry(row, path) for row in rows}


def _there(path: Path) -> str:
    """Which graphs there are, and how to have others."""
    table = read_table(path, "graphs", ["layer", "neuron"])
    names = [neuron_name(**row) for row in table.slice(0, _FEW).to_pylist()]
    some = f"{len(table)} have a graph, such as {', '.join(names)}" if names else "none has a graph"
    return f"{some}; graphs.neurons in params.yaml says which"


def _rows(name: str) -> list[tuple[str, str, int]]:
    """The rows of a neuron, as a filter of Parquet files."""
    match = _NAME.fullmatch(name)
    if not match:
        raise InputError(f"{name}: not a neuron: write it as L5:24")
    return [("layer", "==", int(match[1])), ("neuron", "==", int(match[2]))]


def _entry(row: JSON, path: Path) -> Entry:
    scores = {
        name: value
        for name, value in row.items()
        if name not in _NO_SCORES and (value is None or isinstance(value, int | float))
    }
    return Entry(*graph_and_words(row, path), scores)


@dataclass(frozen=True)
class Index:
    """An index of all graphs, so that a search reads only matching graphs.

    Attributes:
        nodes: of each neuron, in the order given.
        having: the neurons that have a node.
        activating: the neurons that each token id activates.
        around: those in whose contexts it is.
        words: the string of each token id.
        spelled: the token ids that read so, without word marks, in small letters.
    """

    nodes: Mapping[str, Mapping[Context, Drawn]]
    having: Mapping[Context, list[str]]
    activating: Mapping[int, list[str]]
    around: Mapping[int, list[str]]
    words: Mapping[int, str]
    spelled: Mapping[str, list[int]]


def index_of(entries: Mapping[str, Entry]) -> Index:
    """Index graphs by their nodes and tokens."""
    nodes = {name: contexts(entry.graph) for name, entry in entries.items()}
    having: dict[Context, list[str]] = defaultdict(list)
    activating: dict[int, list[str]] = defaultdict(list)
    around: dict[int, list[str]] = defaultdict(list)
    words: dict[int, str] = {}
    for name, found in nodes.items():
        words.update(entries[name].words)
        for context in found:
            having[context].append(name)
        for first, token in {(n.side == "activating", n.token) for n in found.values()}:
            (activating if first else around)[token].append(name)
    spelled: dict[str, list[int]] = defaultdict(list)
    for token, word in sorted(words.items()):
        spelled[bare(word).casefold()].append(token)
    return Index(nodes, having, activating, around, words, spelled)


class Response(NamedTuple):
    """A neuron, and those of its paths that were asked about, the highest activation first."""

    neuron: str
    phrases: list[Phrase]


def activated_by(index: Index, token: str | int) -> list[Response]:
    """The neurons that a token activates, the highest activation first, and in which contexts.

    Args:
        token: an id, also as `id:1234`; or a word, which is every token that reads so, whatever its
            case and its word mark: tea is `tea`, `Tea`, `Ġtea`, `##tea`.
    """
    wanted = tokens_of(index, token)
    return _responses(index, wanted, index.activating, lambda context: {context.token})


def responding_to(index: Index, token: str | int) -> list[Response]:
    """The neurons that respond to another token where this one is around, and their paths with it.

    Args:
        token: as in `activated_by`.
    """
    wanted = tokens_of(index, token)
    return _responses(index, wanted, index.around, lambda context: set(context.around))


def tokens_of(index: Index, token: str | int) -> set[int]:
    """The token ids that a word or an id names, of those in the graphs."""
    if isinstance(token, str):
        if not (match := _ID.fullmatch(token)):
            return set(index.spelled.get(bare(token).casefold(), []))
        token = int(match[1])
    return {token}


def _responses(
    index: Index,
    tokens: set[int],
    neurons: Mapping[int, list[str]],
    of: Callable[[Context], set[int]],
) -> list[Response]:
    """The neurons of some tokens, and their paths in which one of these is where it should be."""
    found = {name for token in tokens for name in neurons.get(token, [])}
    responses = []
    for name in filter(found.__contains__, index.nodes):
        paths = [(c, n) for c, n in index.nodes[name].items() if n.end and tokens & of(c)]
        paths.sort(key=lambda path: -path[1].activation)
        responses.append(Response(name, [phrase(c, n, index.words) for c, n in paths]))
    return sorted(responses, key=lambda response: -response.phrases[0].activation)


class Similar(NamedTuple):
    """A neuron, how similar its graph is, from 0 to 1, and how many nodes both have."""

    neuron: str
    similarity: float
    shared: int


def similar(index: Index, neuron: str) -> list[Similar]:
    """The other neurons whose graphs have nodes in common with a neuron's, the most similar first.

    The similarity is the weighted Jaccard index of the nodes: over all nodes of either graph, the
    sum of the lower activations divided by that of the higher, 0 where a graph lacks the node. It
    is 1 for equal graphs and 0 without a common activating token; the contexts raise it as far as
    they agree from the activating token on.

    Raises:
        InputError: there is no such neuron.
    """
    name = _known(index, neuron)
    own = index.nodes[name]
    common: dict[str, list[float]] = defaultdict(list)
    for context, node in own.items():
        for other in index.having[context]:
            common[other].append(min(node.activation, index.nodes[other][context].activation))
    total = _weight(own)
    found = []
    for other in index.nodes:
        if other == name or other not in common:
            continue
        # Exactly rounded sums, so that either neuron finds the same of the other.
        lower = math.fsum(common[other])
        higher = total + _weight(index.nodes[other]) - lower
        found.append(Similar(other, lower / higher, len(common[other])))
    return sorted(found, key=lambda one: -one.similarity)


def _weight(nodes: Mapping[Context, Drawn]) -> float:
    return math.fsum(node.activation for node in nodes.values())


class Subset(NamedTuple):
    """A neuron all of whose paths occur in another's graph, and how many it has."""

    neuron: str
    paths: int


def subsets_of(index: Index, neuron: str) -> list[Subset]:
    """The other neurons all of whose paths are a neuron's, too; those with the most paths first.

    Equal sets of paths are subsets of each other; a neuron without a path is nobody's.

    Raises:
        InputError: there is no such neuron.
    """
    name = _known(index, neuron)
    common = Counter(
        other
        for context, node in index.nodes[name].items()
        if node.end
        for other in index.having[context]
        if index.nodes[other][context].end
    )
    paths = {other: sum(n.end for n in index.nodes[other].values()) for other in common}
    found = [
        Subset(other, paths[other])
        for other in index.nodes
        if other != name and other in common and common[other] == paths[other]
    ]
    return sorted(found, key=lambda one: -one.paths)


def _known(index: Index, neuron: str) -> str:
    name = neuron.upper()
    if name not in index.nodes:
        raise InputError(f"{neuron}: no such neuron among the {len(index.nodes)} with a graph")
    return name
