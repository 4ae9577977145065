"""The trie of a neuron's paths that is drawn: tokens that matter, and nothing else."""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from descry.errors import InputError
from descry.io.hashing import JSON
from descry.n2g.paths import IGNORE, TURN, Path, Step

Side = Literal["activating", "before", "behind"]
_SIDES: tuple[Side, ...] = ("activating", "before", "behind")


class Drawn(NamedTuple):
    """A node.

    Attributes:
        parent: the node before it on the way from the activating token, -1 for none.
        side: of the activating token.
        token: id.
        importance: for the activating token, from 0 to 1: the mean of its paths. (What turns an
            activation negative has an importance above 1, which counts as 1.)
        activation: of the activating token, as a share of the neuron's highest: likewise.
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
