"""Print graphs of neurons in the terminal."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from descry.cli.console.terminal import branch, console, plain
from descry.io.hashing import JSON
from descry.io.tree import Node
from descry.n2g.graph import graph_json
from descry.n2g.render import summary, tree
from descry.n2g.search import (
    Entry,
    Response,
    activated_by,
    index_of,
    read_graphs,
    responding_to,
    similar,
    subsets_of,
)

FEW = 5  # contexts of a neuron in a list of many


def show_graph(name: str, entry: Entry) -> None:
    """Print the graph of a neuron as a tree, with scores."""
    scores = [Node(line) for line in _scores(entry.scores)]
    top = Node(f"{name}: {summary(entry.graph)}", [*scores, *tree(entry.graph, entry.words)])
    console().print(branch(top))


def _scores(scores: Mapping[str, float | None]) -> list[str]:
    """A line for each predictor: `graph_f1` is the f1 of the graph."""
    lines: dict[str, list[str]] = defaultdict(list)
    for name, value in scores.items():
        of, _, what = name.rpartition("_")
        lines[of].append(f"{what} {'undefined' if value is None else f'{value:.4g}'}")
    return [f"{of.replace('_', ' ') or 'all'}: {', '.join(found)}" for of, found in lines.items()]


def graph_rows(
    path: Path,
    neuron: str | None,
    token: str | None,
    like: str | None,
    subsets: str | None,
    rows: int,
) -> JSON:
    """The first rows of what the functions below print, as data."""
    if neuron is not None:
        (entry,) = read_graphs(path, neuron).values()
        words = {str(token): word for token, word in entry.words.items()}
        return {"graph": graph_json(entry.graph), "words": words, "scores": dict(entry.scores)}
    index = index_of(read_graphs(path))
    if token is not None:
        both = {"activated": activated_by(index, token), "around": responding_to(index, token)}
        return {
            how: [
                {
                    "neuron": one.neuron,
                    "phrases": [
                        {"activation": phrase.activation, "words": str(phrase)}
                        for phrase in one.phrases
                    ],
                }
                for one in found[:rows]
            ]
            for how, found in both.items()
        }
    if like is not None:
        return [one._asdict() for one in similar(index, like)[:rows]]
    assert subsets is not None
    return [one._asdict() for one in subsets_of(index, subsets)[:rows]]


def show_token(path: Path, token: str, rows: int) -> None:
    """Print the neurons that a token activates, and neurons that respond to tokens near it."""
    index = index_of(read_graphs(path))
    for found, verb in (
        (activated_by(index, token), "activated by"),
        (responding_to(index, token), "that respond to another token where this is around:"),
    ):
        told = [(one.neuron, *_contexts(one)) for one in found]
        _show(f"neurons {verb} {token}", ("activation", "in the context"), told, rows)


def _contexts(response: Response) -> tuple[str, Text]:
    """Activations and words of the paths of a neuron, a line for each path."""
    some, more = response.phrases[:FEW], len(response.phrases) - FEW
    words = [plain(str(phrase)) for phrase in some]
    if more > 0:
        words.append(Text(f"and {more} more"))
    return "\n".join(f"{one.activation:.2f}" for one in some), Text("\n").join(words)


def show_like(path: Path, neuron: str, rows: int) -> None:
    """Print the neurons whose graphs have most in common with the graph of a neuron."""
    found = similar(index_of(read_graphs(path)), neuron)
    told = [(one.neuron, f"{one.similarity:.3f}", str(one.shared)) for one in found]
    title = f"neurons whose graph has nodes in common with that of {neuron}"
    _show(title, ("similarity", "common nodes"), told, rows)


def show_subsets(path: Path, neuron: str, rows: int) -> None:
    """Print the neurons all of whose paths the graph of another neuron has."""
    found = subsets_of(index_of(read_graphs(path)), neuron)
    told = [(one.neuron, str(one.paths)) for one in found]
    _show(f"neurons all of whose paths are in the graph of {neuron}", ("paths",), told, rows)


def _show(
    title: str, columns: Sequence[str], told: Sequence[tuple[str | Text, ...]], rows: int
) -> None:
    console().print(plain(f"{len(told)} {title}"), soft_wrap=True)
    table = Table("neuron", *columns)
    for row in told[:rows]:
        table.add_row(*row)
    if told:
        console().print(table)
