"""The paths of a graph, from the tokens that matter in a prompt (Foote et al. 2023).

A path starts at an activating token and goes back over the tokens before it, then, where tokens
behind it matter, turns and continues with them. Tokens that do not matter are skipped, one by
one, and a side ends with its last token that does. A neuron with one activation a text has one path
a prompt: the tokens that matter, in their order.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from descry.n2g.batching import Prompt
from descry.n2g.saliency import Reading

IGNORE = -1  # one token, whichever it is
TURN = -2  # no token: what follows stands behind the activating one


class Step(NamedTuple):
    """A token on a path: its id, IGNORE or TURN, and its importance for the activating token."""

    key: int
    importance: float


class Path(NamedTuple):
    """Steps from the activating token on, and the activation, as a share of the highest."""

    steps: tuple[Step, ...]
    activation: float


def token_paths(reading: Reading, *, activation: float, importance: float) -> list[Path]:
    """The path of every token whose activation is above `activation`.

    Args:
        importance: what a token's importance is above where it matters.
    """
    found = []
    for token in np.flatnonzero(reading.activations > activation).tolist():
        matters = reading.importance[:, token]
        before = side(reading.tokens, matters, range(token - 1, -1, -1), importance)
        behind = side(reading.tokens, matters, range(token + 1, len(matters)), importance)
        turn = [Step(TURN, 0.0), *behind] if behind else []
        first = Step(reading.tokens[token], float(matters[token]))
        found.append(Path((first, *before, *turn), float(reading.activations[token])))
    return found


def side(
    tokens: Prompt,
    matters: np.ndarray | Mapping[int, float],
    places: Iterable[int],
    importance: float,
) -> list[Step]:
    """The steps over some places, up to the last that matters.

    Args:
        matters: the importance of the token at each place.
        importance: what it is above where a token matters.
    """
    steps: list[Step] = []
    passed = 0
    for place in places:
        if matters[place] > importance:
            steps += [Step(IGNORE, 0.0)] * passed
            steps.append(Step(tokens[place], float(matters[place])))
            passed = 0
        else:
            passed += 1
    return steps


def whole_path(
    reading: Reading, *, activation: float, importance: float, max_gap: int
) -> list[Path]:
    """The path of a prompt with one activation; none if that is not above `activation`.

    The token that matters most is always on it. Where more tokens than `max_gap` lie between two
    that matter, the path is cut: the part with that token stays.
    """
    value = float(reading.activations[0])
    if not value > activation:
        return []
    matters = reading.importance[:, 0]
    most = int(np.argmax(matters))
    places = np.union1d(np.flatnonzero(matters > importance), [most])
    runs = np.split(places, np.flatnonzero(np.diff(places) > max_gap + 1) + 1)
    run = next(run for run in runs if most in run)
    return [Path(tuple(Step(reading.tokens[k], float(matters[k])) for k in run.tolist()), value)]
