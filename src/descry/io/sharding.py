"""A shard: one of several jobs that share a stage's work.

The work lies in numbered pieces: chunks of prompts, blocks of sentences, groups of neurons. Each
piece is computed by itself, whichever shard has it, so any number of shards gives the same bytes.
"""

import re
from dataclasses import dataclass
from typing import Self

from descry.errors import InputError

_FORM = re.compile(r"(0|[1-9]\d{0,5})-of-([1-9]\d{0,5})")


@dataclass(frozen=True)
class Shard:
    """Every `number`th piece of the work, from `index`.

    The shard before the first (0-of-8 in words, -1 here) has no piece: it makes what all need.
    """

    index: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that people call 3-of-8: they count from 1.

        Raises:
            InputError: it is not of that form.
        """
        match = _FORM.fullmatch(text)
        if not match or int(match[1]) > int(match[2]):
            raise InputError(f"--shard {text}: not of the form 3-of-8")
        return cls(int(match[1]) - 1, int(match[2]))

    @property
    def first(self) -> bool:
        """Whether it is the one before the first."""
        return self.index < 0

    def has(self, piece: int) -> bool:
        """Whether a piece of the work is this shard's."""
        return piece % self.number == self.index


WHOLE = Shard(0, 1)
