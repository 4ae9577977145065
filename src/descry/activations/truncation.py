"""What the target model has not seen of the sentences."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from descry.activations.store import TOKENS
from descry.io.hdf5 import dataset, hdf5_provenance, reading_hdf5
from descry.io.readable import MalformedError


class Cut(NamedTuple):
    """What the target model has not seen of the sentences.

    Attributes:
        most: how many tokens of a sentence the model sees.
        tokens: int [sentences], how many tokens of each the model has not seen.
    """

    most: int
    tokens: np.ndarray

    def mark(self, row: int) -> str | None:
        """Say how much of a sentence the model saw, if not all."""
        return seen(self.most, int(self.tokens[row]))


def seen(most: int, cut: int) -> str | None:
    """How much of a sentence the model saw, if not all of it."""
    return f"the model saw the first {most} of {most + cut} tokens" if cut else None


def read_cut(path: Path) -> Cut:
    """Read from activations.h5 what the model has not seen."""
    with reading_hdf5(path, "activations") as file:
        most = hdf5_provenance(file).get("max_tokens")
        if not isinstance(most, int):
            raise MalformedError("it does not say how many tokens the model sees")
        return Cut(most, np.maximum(dataset(file, TOKENS, (None,), "iu")[:] - most, 0))
