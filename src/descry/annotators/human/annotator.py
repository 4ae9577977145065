"""The annotator that is a person: its answers come from a sheet (sheet.py), by way of the cache.

So `answer` is reached only for what that person has not answered, and that is a failure to be
counted, never a No.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from descry.annotators.base import HUMAN_DTYPE, NO_FRAME, Answer, Frame, Identity
from descry.annotators.prompts import NO, YES, Prompt
from descry.io.hashing import canonical

HUMAN = "human/"  # before the name of a person among models
_GROUP = 2048  # prompts entered in the ledger of failures together


class HumanAnnotator:
    """A person, who answers p2 in rounds: a changed mind is another round."""

    def __init__(self, model: str, revision: str) -> None:
        """Take the person's name, and a label of the round."""
        self.model = model
        self.revision = revision

    @cached_property
    def identity(self) -> Identity:
        """Who answers."""
        return Identity(
            name=f"{self.model}, {self.revision} (human)",
            model=f"{HUMAN}{self.model}",
            revision=self.revision,
            dtype=HUMAN_DTYPE,
            decoding=canonical({"answers": [YES, NO]}),
        )

    frame: Frame = NO_FRAME
    server = None
    price = None
    quantization = None
    packages = ()

    def answer(
        self, prompts: Sequence[Prompt], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Say of each of the wanted prompts that there is no answer to it."""
        rows = sorted(wanted)
        missing = Answer(None, fault="not answered by a person")
        for start in range(0, len(rows), _GROUP):
            yield [(row, missing) for row in rows[start : start + _GROUP]]
