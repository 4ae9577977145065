"""The compiled loops of counts and of tests within strata.

What calls them imports this module at the call: numba takes a third of a second to import, and most
commands count nothing.
"""

import numpy as np

from descry.compiled import compiled


@compiled
def add_flags(flags: np.ndarray, members: np.ndarray, found: np.ndarray) -> None:
    """Add the flags of each set's members to `found`, [sets, columns]."""
    for neuron in range(members.shape[0]):
        for place in range(members.shape[1]):
            row = members[neuron, place]
            if row >= 0:
                for column in range(flags.shape[1]):
                    found[neuron, column] += flags[row, column]


@compiled
def count_members(members: np.ndarray, of: np.ndarray, found: np.ndarray) -> None:
    """Add to `found`, [sets, strata], the members of each set in each stratum."""
    for neuron in range(members.shape[0]):
        for place in range(members.shape[1]):
            row = members[neuron, place]
            if row >= 0:
                found[neuron, of[row]] += 1


@compiled
def count_bits(packed: np.ndarray, members: np.ndarray, of: np.ndarray, found: np.ndarray) -> None:
    """Add packed flags of each set's members to `found`, [sets, strata, columns]."""
    for neuron in range(members.shape[0]):
        for place in range(members.shape[1]):
            row = members[neuron, place]
            if row >= 0:
                own = found[neuron, of[row]]
                for plane in range(packed.shape[1]):
                    byte = packed[row, plane]
                    for bit in range(8):
                        own[8 * plane + bit] += (byte >> (7 - bit)) & 1


@compiled
def _convolved(
    chances: np.ndarray,
    lengths: np.ndarray,
    places: np.ndarray,
    far: int,
    found: np.ndarray,
    before: np.ndarray,
) -> None:
    """Write P(X = x) of one pair, x = 0 ... far, into `found`; `before` is room to work."""
    found[: far + 1] = 0.0
    found[0] = 1.0
    reach = 0  # the largest number that is possible so far
    for row in places:
        alone, length = chances[row], min(lengths[row], far + 1)
        if length == 1:
            for x in range(reach + 1):
                found[x] *= alone[0]
            continue
        had, reach = reach + 1, min(far, reach + length - 1)
        for x in range(had):
            before[x] = found[x]
            found[x] *= alone[0]
        for number in range(1, length):
            for x in range(min(had, reach + 1 - number)):
                found[number + x] += before[x] * alone[number]


@compiled
def mid_p(
    chances: np.ndarray,
    lengths: np.ndarray,
    places: np.ndarray,
    far: np.ndarray,
    reached: np.ndarray,
    found: np.ndarray,
) -> None:
    """Write the mid-p of the number that each pair reached."""
    chance, room = np.empty(far.max() + 1), np.empty(far.max() + 1)
    for pair in range(len(far)):
        _convolved(chances, lengths, places[pair], far[pair], chance, room)
        own, tail = reached[pair], 0.0
        for x in range(own, far[pair] + 1):  # of positive parts: small ones keep digits
            tail += chance[x]
        found[pair] = min(tail - chance[own] / 2, 1.0)


@compiled
def every_mid_p(
    chances: np.ndarray, lengths: np.ndarray, places: np.ndarray, far: np.ndarray, found: np.ndarray
) -> None:
    """Write the mid-p of every number, [pairs, numbers]."""
    chance, room = np.empty(far.max() + 1), np.empty(far.max() + 1)
    for pair in range(len(far)):
        _convolved(chances, lengths, places[pair], far[pair], chance, room)
        tail = 0.0
        for x in range(far[pair], -1, -1):
            tail += chance[x]
            if x < found.shape[1]:
                found[pair, x] = min(tail - chance[x] / 2, 1.0)
