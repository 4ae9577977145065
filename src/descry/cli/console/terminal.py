"""The terminal. Reviews are printed as plain text, whatever they contain."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from descry.io.sanitize import printable
from descry.io.tree import Node

if TYPE_CHECKING:  # they import every stage, which takes longer than to show a neuron
    pass

PLAIN_WIDTH = 160  # columns where there is no terminal


def console() -> Console:
    """Standard output; without a terminal, wide enough for whole lines."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def plain(text: str) -> Text:
    """A text without control characters: a review must not steer the terminal."""
    return Text(printable(text))


def show_chain(node: Node) -> None:
    """Print an audit as a tree."""
    console().print(branch(node))


def branch(node: Node) -> Tree:
    """An outline as a tree of the terminal."""
    drawn = Tree(plain(node.text))
    drawn.children += [branch(child) for child in node.children]
    return drawn


def show_lines(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        console().print(plain(line), soft_wrap=True)
