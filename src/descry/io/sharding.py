"""A shard: one of several jobs that share a stage's work.

The work consists of numbered pieces: chunks of prompts, blocks of sentences, groups of neurons.
Each piece is computed by itself, so any number of shards gives the same bytes.
"""

import re
from dataclasses import dataclass
from typing import Self

from descry.errors import InputError

_FORM = re.compile(r"(0|[1-9]\d{0,5})-of-([1-9]\d{0,5})")


@dataclass(frozen=True)
class Shard:
    """Every `number`th piece of the work, from `index`.

    The preparing shard (0-of-8 in words, -1 here) has no piece: it makes what all shards need.
    """

    index: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a shard such as 3-of-8, counted from 1.

        Raises:
            InputError: it is not of that form.
        """
        match = _FORM.fullmatch(text)
        if not match or int(match[1]) > int(match[2]):
            raise InputError(f"--shard {text}: not of the form 3-of-8")
        return cls(int(match[1]) - 1, int(match[2]))

    @property
    def first(self) -> bool:
        """Whether this is the preparing shard."""
        return self.index < 0

    def has(self, piece: int) -> bool:
        """Whether a piece of the work belongs to this shard."""
        return piece % self.number == self.index


WHOLE = Shard(0, 1)
