"""Vectors of a whole corpus that a later stage takes up: each sentence is embedded once.

Which batches texts come in, and so the last digits of their vectors, follows from all texts
together: so what is kept is the vectors of a list of texts, by a hash of the list and of all else
that they depend on. They are the bytes that embedding the same list again would give.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np

from descry.errors import InputError
from descry.io.atomic import atomic
from descry.io.hashing import canonical

FOLDER = "vectors"  # beside the prompt cache
LEAST = 256  # texts: fewer are embedded as fast as they are found
MOST = 2**28  # bytes of the vectors of a list: longer ones are embedded again
LISTS = 4  # that are kept, the newest
_SEAL = sha256().digest_size


class KeptVectors:
    """Vectors of lists of texts in a folder, which may be removed at any time.

    Args:
        maker: all that the vectors depend on beside the texts.
    """

    def __init__(self, folder: Path, maker: Mapping[str, str]) -> None:
        self._folder, self._maker = folder, canonical(dict(maker))

    def get(self, texts: Sequence[str]) -> np.ndarray | None:
        """The vectors of a list, float32 [texts, dimension]; None if not here, or damaged."""
        if len(texts) < LEAST:
            return None
        try:
            found = self._place(texts).read_bytes()
        except OSError:
            return None
        seal, values = found[:_SEAL], found[_SEAL:]
        if sha256(values).digest() != seal:
            return None
        return np.frombuffer(values, dtype="<f4").reshape(len(texts), -1).astype(np.float32)

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep the vectors of a list, unless it is too short or too long."""
        if len(texts) < LEAST or vectors.nbytes > MOST:
            return
        values = vectors.astype("<f4").tobytes()
        # A full disk, or a folder that cannot be written, costs time alone.
        with suppress(InputError, OSError):
            with atomic(self._place(texts)) as part:
                part.write_bytes(sha256(values).digest() + values)
            every = self._folder.glob("*.vectors")
            for old in sorted(every, key=lambda file: -file.stat().st_mtime_ns)[LISTS:]:
                old.unlink()

    def _place(self, texts: Sequence[str]) -> Path:
        key = sha256(self._maker.encode())
        for text in texts:
            coded = text.encode("utf-8", "surrogatepass")
            key.update(len(coded).to_bytes(8, "big") + coded)
        return self._folder / f"{key.hexdigest()}.vectors"
