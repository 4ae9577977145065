"""The compiled loops of counts and of tests within strata.

What calls them imports this module at the call: numba takes a third of a second to import, and most
commands count nothing.
"""

import numpy as np

from descry.compiled import compiled

# The bits of each byte, the highest first, as the bytes of a word, the lowest first.
_SPREAD = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).view("<u8")[:, 0]


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
def add_bits(packed: np.ndarray, members: np.ndarray, found: np.ndarray) -> None:
    """Add packed flags of each set's members to `found`, [sets, columns]."""
    for neuron in range(members.shape[0]):
        _add_rows(packed, members[neuron], found[neuron])


@compiled
def running_bits(
    packed: np.ndarray, rows: np.ndarray, places: np.ndarray, found: np.ndarray
) -> None:
    """Write the sums of packed flags of all rows before each place, [places, columns]."""
    sums = np.zeros(found.shape[1], dtype=found.dtype)
    done = 0
    for number in range(len(places)):
        _add_rows(packed, rows[done : places[number]], sums)
        done = places[number]
        found[number] = sums


@compiled
def _add_rows(packed: np.ndarray, rows: np.ndarray, sums: np.ndarray) -> None:
    """Add packed flags of rows to `sums`, [columns]; -1 is no row.

    Eight columns are added at once, each in a byte of its own, which holds 255 rows.
    """
    held = np.zeros(packed.shape[1], dtype=np.uint64)
    for start in range(0, len(rows), 255):
        held[:] = 0
        for row in rows[start : start + 255]:
            if row >= 0:
                for plane in range(packed.shape[1]):
                    held[plane] += _SPREAD[packed[row, plane]]
        for plane in range(packed.shape[1]):
            for bit in range(8):
                byte = (held[plane] >> np.uint64(8 * bit)) & np.uint64(255)
                sums[8 * plane + bit] += np.int64(byte)


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
    low, reach = 0, 0  # from and to which numbers are not surely 0: others add nothing
    for row in places:
        alone, length = chances[row], min(lengths[row], far + 1)
        if length == 1:
            for x in range(low, reach + 1):
                found[x] *= alone[0]
            continue
        least, most = 0, length - 1
        while least < most and alone[least] == 0.0:
            least += 1
        while most > least and alone[most] == 0.0:
            most -= 1
        had, reach = reach, min(far, reach + most)
        for x in range(low, had + 1):
            before[x] = found[x]
            found[x] *= alone[0]
        for number in range(max(1, least), most + 1):
            for x in range(low, min(had, reach - number) + 1):
                found[number + x] += before[x] * alone[number]
        while low < reach and found[low] == 0.0:
            low += 1
        while reach > low and found[reach] == 0.0:
            reach -= 1


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
