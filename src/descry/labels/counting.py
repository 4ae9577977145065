"""Counts over many sets of sentences at once, from which frequencies and nulls are made."""

from collections.abc import Sequence

import numpy as np

from descry.annotators.bitset import BitMatrix

TOO_FEW = "a stratum has too few sentences to draw from"  # why there are no random sets


class MatchedDraws:
    """Random sets that have as many sentences of each stratum as neurons' own sets.

    In one draw the sets of different neurons are not independent, each by itself is uniform: the
    sentences of a stratum are shuffled once, and a neuron takes a run of them from a random place,
    which goes on at the beginning where it reaches the end.

    Args:
        taken: int [neurons, strata], how many sentences of each stratum a neuron's set has.
        of: int [sentences], the stratum of each; all of the pool are in one.
        pool: bool [sentences], those that may be drawn.

    Attributes:
        possible: whether every stratum has as many sentences to draw as any set takes.
    """

    def __init__(self, taken: np.ndarray, of: np.ndarray, pool: np.ndarray) -> None:
        self._taken, self._pool = taken, np.flatnonzero(pool).astype(np.int32)
        of_pool = of[self._pool]
        strata = range(taken.shape[1])
        self._places = [np.flatnonzero(of_pool == one).astype(np.int32) for one in strata]
        self._sizes = np.array([len(places) for places in self._places], dtype=np.int64)
        self.possible = bool((taken <= self._sizes).all())

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A set for every neuron: int32 [neurons, size], -1 behind the end of a smaller set."""
        shuffled, first = self._drawn(rng)
        number, sizes = self._taken.ravel(), self._taken.sum(axis=1)
        of = np.repeat(np.tile(np.arange(len(self._sizes)), len(sizes)), number)
        place = np.arange(len(of)) - np.repeat(np.cumsum(number) - number, number)
        at = (np.repeat(first.ravel(), number) + place) % self._sizes[of]
        found = np.full((len(sizes), sizes.max(initial=0)), -1, dtype=np.int32)
        starts = np.cumsum(self._sizes) - self._sizes
        whole = np.concatenate(shuffled)
        found[np.arange(found.shape[1]) < sizes[:, None]] = whole[starts[of] + at]
        return found

    def count(self, rng: np.random.Generator, flags: Sequence["PackedFlags"]) -> list[np.ndarray]:
        """How often the columns of flags are set in such sets: int64 [neurons, columns] each."""
        shuffled, first = self._drawn(rng)
        found = [np.zeros((len(first), of.columns), dtype=np.int64) for of in flags]
        for stratum, rows in enumerate(shuffled):
            begin = first[:, stratum]
            end = begin + self._taken[:, stratum]
            over = end > len(rows)
            cuts = np.concatenate([begin, np.where(over, end - len(rows), end), [len(rows)]])
            places, at = np.unique(cuts, return_inverse=True)
            for number, of in zip(found, flags, strict=True):
                sums = of.running(rows, places)[at]
                begun, ended = sums[: len(begin)], sums[len(begin) : -1]
                number += ended - begun + over[:, None] * sums[-1]
        return found

    def _drawn(self, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
        """The pool's rows, shuffled, by stratum; where in it each neuron's run begins.

        The latter is int64 [neurons, strata].
        """
        keys = rng.random(len(self._pool))
        shuffled = [self._pool[_by_key(places, keys)] for places in self._places]
        offsets = rng.random((len(self._taken), len(self._sizes)))
        return shuffled, (offsets * self._sizes).astype(np.int64)


def _by_key(places: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Places in the order of their keys; places with equal keys stay in their order."""
    own = keys[places]
    order = np.argsort(own)  # three times as fast as a stable one, which equal keys alone need
    ranked = own[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.argsort(own, kind="stable")
    return np.asarray(places[order])


class PackedFlags:
    """The flags of a sentence, eight columns to a byte, to be counted in sets of sentences.

    Attributes:
        columns: how many there are.
    """

    def __init__(self, flags: BitMatrix) -> None:
        self.columns = len(flags)
        # Of most annotators every sentence has every answer: then members are what is counted.
        self._all_set = bool((flags.totals == flags.sentences).all())
        sentences = 0 if self._all_set else flags.sentences
        self._bytes = np.zeros((sentences, -(-self.columns // 8)), dtype=np.uint8)
        for column in range(self.columns) if sentences else ():
            self._bytes[:, column // 8] |= flags.column(column).view(np.uint8) << 7 - column % 8

    def sums(self, members: np.ndarray) -> np.ndarray:
        """How often each column is set in each set: int64 [neurons, columns].

        Args:
            members: int [neurons, size], rows of the sentences, -1 where there is none.
        """
        from descry.labels.loops import add_bits

        if self._all_set:
            return self._of_each(np.count_nonzero(members >= 0, axis=1))
        found = self._zeros(len(members))
        add_bits(self._bytes, members, found)
        return found[:, : self.columns]

    def by_stratum(self, members: np.ndarray, of: np.ndarray, strata: int) -> np.ndarray:
        """How often each column is set in each set's part of a stratum.

        Args:
            members: int [neurons, size], rows of the sentences, -1 where there is none.
            of: int [sentences], the stratum of each, below `strata`.

        Returns:
            int64 [neurons, strata, columns].
        """
        from descry.labels.loops import count_bits, count_members

        if self._all_set:
            number = np.zeros((len(members), strata), dtype=np.int64)
            count_members(members, of, number)
            return self._of_each(number)
        found = self._zeros(len(members), strata)
        count_bits(self._bytes, members, of, found)
        return found[:, :, : self.columns]

    def running(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """How often each column is set before places of an order: int64 [places, columns].

        Args:
            rows: int, of the sentences, in that order.
            places: int, ascending, 0 to the number of rows.
        """
        from descry.labels.loops import running_bits

        if self._all_set:
            return self._of_each(places)
        found = self._zeros(len(places))
        running_bits(self._bytes, rows, places, found)
        return found[:, : self.columns]

    def _zeros(self, *shape: int) -> np.ndarray:
        return np.zeros((*shape, 8 * self._bytes.shape[1]), dtype=np.int64)

    def _of_each(self, number: np.ndarray) -> np.ndarray:
        """The same number for every column."""
        return np.repeat(number[..., None], self.columns, axis=-1)


def set_sums(members: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """How often each column is set in each set: int32 [neurons, columns].

    Args:
        members: int64 [neurons, size], rows of the sentences, -1 where there is none.
        flags: uint8 [sentences, columns], 0 or 1.
    """
    from descry.labels.loops import add_flags

    found = np.zeros((len(members), flags.shape[1]), dtype=np.int32)
    add_flags(flags, members, found)
    return found
