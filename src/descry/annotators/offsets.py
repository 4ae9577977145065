"""What is subtracted from an annotator's log-odds of Yes before the threshold (threshold.py)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Offsets:
    """What is taken off; both are empty where nothing is.

    Attributes:
        sentence: float64 [sentences].
        descriptor: float64 [descriptors].
    """

    sentence: np.ndarray
    descriptor: np.ndarray

    def __bool__(self) -> bool:
        return bool(self.descriptor.size)

    def of(self, column: int) -> np.ndarray:
        """What is taken off a descriptor's log-odds: float64 [sentences]."""
        return np.asarray(self.sentence + self.descriptor[column])

    def left(self, odds: np.ndarray, column: int) -> np.ndarray:
        """What is left of a descriptor's log-odds, float32 [sentences]: Yes is above 0."""
        return np.asarray(odds.astype(np.float64) - self.of(column), dtype=np.float32)


NO_OFFSETS = Offsets(np.empty(0), np.empty(0))
