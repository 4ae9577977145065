"""Vectors of a whole corpus that a later stage takes up: each sentence is embedded once.

Which batches texts come in, and so the last digits of their vectors, follows from all texts
together: so what is kept is the vectors of a list of texts. They are the bytes that embedding the
same list again would give.
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from descry.io.kept import Kept

LEAST = 256  # texts: fewer are embedded as fast as they are found


class KeptVectors:
    """Vectors of lists of texts.

    Args:
        kept: the folder, and all that the vectors depend on beside the texts.
    """

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def get(self, texts: Sequence[str]) -> np.ndarray | None:
        """The vectors of a list, float32 [texts, dimension]; None if not here, or damaged."""
        if len(texts) < LEAST:
            return None
        values = self._kept.get(_key(texts))
        if values is None:
            return None
        return np.frombuffer(values, dtype="<f4").reshape(len(texts), -1).astype(np.float32)

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep the vectors of a list, unless it is too short or too long."""
        if len(texts) >= LEAST:
            self._kept.put(vectors.astype("<f4").tobytes(), _key(texts))


def _key(texts: Sequence[str]) -> bytes:
    """The hash of a list, of which one text is held at a time."""
    key = sha256(b"vectors")
    for text in texts:
        coded = text.encode("utf-8", "surrogatepass")
        key.update(len(coded).to_bytes(8, "big") + coded)
    return key.digest()
