"""Hashes of files and texts, and the canonical JSON text of a value."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

JSON = Any
_BLOCK = 2**22  # bytes read at a time
# Made once: json.dumps makes one for each of millions of texts.
_ENCODER = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
)


def canonical(value: JSON) -> str:
    """Return the canonical JSON text of a value: sorted keys, no spaces, UTF-8, no NaN."""
    return _ENCODER.encode(value)


def sha256_text(text: str) -> str:
    """Hex sha256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_file(path: Path) -> str:
    """Hex md5 of a file's bytes, by which DVC knows it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


class Digests(NamedTuple):
    """Both hashes of a file: DVC uses md5, results record the sha256 of their inputs."""

    md5: str
    sha256: str


def digests(path: Path) -> Digests:
    """Compute both hashes of a file in one pass."""
    both = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file, ThreadPoolExecutor(1) as other:
        while block := file.read(_BLOCK):
            sha256 = other.submit(both[1].update, block)  # hashing lets other threads run
            both[0].update(block)
            sha256.result()
    return Digests(both[0].hexdigest(), both[1].hexdigest())
