"""A neuron's graph to look at: lines for a terminal, DOT, SVG, and JSON.

As in the paper (Foote et al. 2023) an activating token is the redder the higher its activation, a
token of its context the bluer the more it matters, and a bold border says that a path ends. The
order from left to right is that of reading. Where a token behind the activating one matters only
together with one before it, a dashed line joins the two.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from descry.errors import InputError
from descry.io.atomic import write_text
from descry.io.json_files import write_json
from descry.io.tree import Node
from descry.n2g.graph import Drawn, Graph, Side, graph_json
from descry.n2g.token_words import word_of

if TYPE_CHECKING:
    import graphviz


SUFFIXES = (".svg", ".dot", ".json")
_SIGNS: dict[Side, str] = {"activating": "", "before": "← ", "behind": "→ "}
_ORDER = list(_SIGNS)
_RED, _BLUE = (255, 92, 92), (102, 163, 255)  # black letters are legible on both
_LONGEST = 32  # characters of a token in a picture
_CAPTION = "red: activation · blue: importance · bold: a path ends · dashed: only together"
_CANVAS = {
    "rankdir": "LR",
    "nodesep": "0.12",
    "ranksep": "0.45",
    "fontname": "Helvetica,Arial,sans-serif",
    "fontsize": "10",
    "fontcolor": "#5a5a5a",
}
_NODE = {
    "shape": "box",
    "style": "rounded,filled",
    "fontname": "Helvetica,Arial,sans-serif",
    "fontsize": "13",
    "height": "0.32",
    "width": "0.5",
    "margin": "0.12,0.05",
}
_EDGE = {"color": "#5a5a5a", "arrowsize": "0.6"}
_TIE = {"style": "dashed", "dir": "none", "color": "#a0a0a0"}


def placed(graph: Graph) -> list[Drawn]:
    """The nodes that are drawn, each on the side where it is read.

    A path of a text that has one activation starts with its first token: the others are behind it.
    """
    if graph.max_gap is None:
        return graph.drawn
    return [
        node if node.side == "activating" else node._replace(side="behind") for node in graph.drawn
    ]


class Context(NamedTuple):
    """A node as token ids in the order of reading: an activating token, and what is around it."""

    before: tuple[int, ...]
    token: int
    behind: tuple[int, ...]

    @property
    def around(self) -> tuple[int, ...]:
        """All tokens but the activating one."""
        return self.before + self.behind


def contexts(graph: Graph) -> dict[Context, Drawn]:
    """The nodes of a graph, from the activating tokens on; a path is a node with an end."""
    found: list[Context] = []
    nodes = placed(graph)
    for node in nodes:
        if node.side == "activating":
            found.append(Context((), node.token, ()))
            continue
        before, token, behind = found[node.parent]
        if node.side == "before":
            found.append(Context((node.token, *before), token, behind))
        else:
            found.append(Context(before, token, (*behind, node.token)))
    return dict(zip(found, nodes, strict=True))


class Phrase(NamedTuple):
    """A path in words, in the order of reading.

    Attributes:
        activation: as a share of the neuron's highest: the mean of the paths that end here or go
            on from here.
    """

    before: list[str]
    token: str
    behind: list[str]
    activation: float

    def __str__(self) -> str:
        """All words, the activating one in brackets."""
        return " ".join([*self.before, f"[{self.token}]", *self.behind])


def phrase(context: Context, node: Drawn, words: Mapping[int, str]) -> Phrase:
    """A node in words, of which these are the strings of the token ids."""
    before, behind = (
        [word_of(token, words) for token in side] for side in (context.before, context.behind)
    )
    return Phrase(before, word_of(context.token, words), behind, node.activation)


def summary(graph: Graph) -> str:
    """Return a line about a graph as a whole."""
    if not graph.highest > 0:
        return "never active on its training texts"
    ends = sum(node.end for node in graph.drawn)
    every = sum(end is not None for end in graph.trie.ends)
    told = f"{ends}" if graph.bias is None else f"{ends} of {every:,}"
    found = f"highest activation {graph.highest:.4g}, {told} paths"
    if tried := graph.positive + graph.negative:
        found += f", {graph.positive} of {tried} augmented prompts kept it up"
    return found


def tree(graph: Graph, words: Mapping[int, str]) -> list[Node]:
    """The activating tokens, those of the highest activation first, and their contexts below.

    Args:
        words: the string of each token id.
    """
    nodes = placed(graph)
    lines = [Node(_line(node, words)) for node in nodes]
    top: list[Node] = []
    for row in sorted(range(len(nodes)), key=lambda row: _rank(nodes[row])):
        parent = nodes[row].parent
        (top if parent < 0 else lines[parent].children).append(lines[row])
    return top


def _rank(node: Drawn) -> tuple[int, float, int]:
    return _ORDER.index(node.side), -node.activation, node.token


def _line(node: Drawn, words: Mapping[int, str]) -> str:
    return f"{_SIGNS[node.side]}{word_of(node.token, words)}  {_numbers(node)}"


def _numbers(node: Drawn) -> str:
    end = ", end" if node.end else ""
    return f"activation {node.activation:.2f}, importance {node.importance:.2f}{end}"


def dot(graph: Graph, words: Mapping[int, str]) -> str:
    """A graph in graphviz's language DOT, for its program `dot`: the same bytes each time.

    Args:
        words: the string of each token id.
    """
    return str(_digraph(graph, words).source)


def svg(graph: Graph, words: Mapping[int, str]) -> str:
    """A graph as an SVG element: no script, no link, nothing from elsewhere.

    The same bytes each time with one version of graphviz and the same fonts.

    Args:
        words: the string of each token id.

    Raises:
        InputError: graphviz is not installed.
    """
    import graphviz

    try:
        drawn = _digraph(graph, words).pipe(format="svg", encoding="utf-8", quiet=True)
    except graphviz.ExecutableNotFound as error:
        raise InputError(
            "a graph is drawn by the program `dot`: install graphviz, or write .dot or .json"
        ) from error
    # What stands before it names a document type elsewhere, and the version of graphviz.
    return str(drawn[drawn.index("<svg") :])


def _digraph(graph: Graph, words: Mapping[int, str]) -> "graphviz.Digraph":
    import graphviz

    nodes = placed(graph)
    caption = _CAPTION if nodes else summary(graph)
    found = graphviz.Digraph(
        f"neuron {graph.neuron}",
        graph_attr=_CANVAS | {"label": caption},
        node_attr=_NODE,
        edge_attr=_EDGE,
    )
    with found.subgraph(graph_attr={"rank": "same"}) as column:
        for row, node in enumerate(nodes):
            part = column if node.side == "activating" else found
            label = _label(word_of(node.token, words))
            part.node(f"n{row}", label=label, _attributes=_look(node))
    _join(found, nodes)
    return found


def _label(word: str) -> str:
    """A word as a label in which nothing has a meaning of its own."""
    import graphviz

    short = word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
    # DOT reads entities of HTML in any label.
    label: str = graphviz.escape(short.replace("&", "&amp;"))
    return label


def _look(node: Drawn) -> dict[str, str]:
    activating = node.side == "activating"
    fill = _tint(_RED, node.activation) if activating else _tint(_BLUE, node.importance)
    return {
        "fillcolor": fill,
        "penwidth": "2.6" if node.end else "0.8",
        "tooltip": _numbers(node),
    }


def _tint(colour: tuple[int, int, int], share: float) -> str:
    """A colour from white at 0 to the full one at 1."""
    share = min(max(share, 0.0), 1.0)
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in colour)


def _join(found: "graphviz.Digraph", nodes: Sequence[Drawn]) -> None:
    """Draw the edges, from left to right."""
    tops: list[int] = []
    for row, node in enumerate(nodes):
        tops.append(row if node.parent < 0 else tops[node.parent])
        if node.side == "before":
            found.edge(f"n{row}", f"n{node.parent}")
        elif node.side == "behind" and nodes[node.parent].side == "before":
            found.edge(f"n{tops[row]}", f"n{row}")
            found.edge(f"n{node.parent}", f"n{row}", _attributes=_TIE)
        elif node.side == "behind":
            found.edge(f"n{node.parent}", f"n{row}")


def write_picture(graph: Graph, words: Mapping[int, str], path: Path) -> None:
    """Write a graph as .svg, .dot or .json, by the name.

    Args:
        words: the string of each token id.

    Raises:
        InputError: another name, a file that cannot be written, or no graphviz for an SVG.
    """
    match path.suffix:
        case ".svg":
            write_text(path, svg(graph, words))
        case ".dot":
            write_text(path, dot(graph, words))
        case ".json":
            strings = {str(token): words[token] for token in sorted(words)}
            write_json(path, {"graph": graph_json(graph), "words": strings})
        case _:
            raise InputError(f"{path}: a graph is written as {', '.join(SUFFIXES)}")
