"""Outlines: lines of words with lines below them."""

from dataclasses import dataclass, field


@dataclass
class Node:
    """A line of words, not yet made harmless for a terminal, and the lines below it."""

    text: str
    children: list["Node"] = field(default_factory=list)

    def add(self, text: str) -> "Node":
        """Add a line below this one."""
        self.children.append(Node(text))
        return self.children[-1]
