"""What took long to compute, kept in files for another run; all may be removed at any time.

A value is found by the hash of all that it depends on, the code of the package included: it is the
bytes that computing it again here would give. So a change of params that leaves a stage's work as
it was does not have it done again. Results say what made them as if nothing had been kept.
"""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from descry.errors import InputError
from descry.io.atomic import atomic
from descry.io.hashing import JSON, canonical
from descry.io.provenance import versions

FOLDER = "kept"  # beside the prompt cache
MOST = 2**28  # bytes of a value: larger ones are computed again
TOGETHER = 2**30  # bytes of all: the ones used longest ago go first
_SEAL = sha256().digest_size
Arrays = dict[str, np.ndarray]


class Kept:
    """Values in a folder.

    Args:
        folder: None: nothing is kept.
        packages: whose versions, with descry's, the values depend on.
        maker: what else all values depend on.
    """

    def __init__(
        self,
        folder: Path | None,
        packages: Sequence[str],
        maker: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._folder, self._maker = folder, ""
        if folder:
            of = {"code": _code(), "processor": _processor()} | versions(packages) | dict(maker)
            self._maker = canonical(of)

    def get(self, *of: Any) -> bytes | None:
        """The value of what it depends on; None if it is not here, or damaged.

        Args:
            of: bytes, arrays, and what JSON can say.
        """
        if self._folder is None:
            return None
        place = self._place(of)
        try:
            found = place.read_bytes()
        except OSError:
            return None
        seal, value = found[:_SEAL], found[_SEAL:]
        if sha256(value).digest() != seal:
            return None
        with suppress(OSError):
            place.touch()
        return value

    def put(self, value: bytes, *of: Any) -> None:
        """Keep a value, unless it is too large."""
        if self._folder is None or len(value) > MOST:
            return
        # A full disk, or a folder that cannot be written, costs time alone.
        with suppress(InputError, OSError):
            with atomic(self._place(of)) as part:
                part.write_bytes(sha256(value).digest() + value)
            self._make_room(self._folder)

    def arrays(self, compute: Callable[[], Arrays], *of: Any) -> Arrays:
        """Arrays by their names, kept or computed."""
        value = self.get(*of)
        if value is not None:
            return dict(np.load(BytesIO(value), allow_pickle=False))
        found, file = compute(), BytesIO()
        np.savez(file, allow_pickle=False, **found)
        self.put(file.getvalue(), *of)
        return found

    def value(self, compute: Callable[[], JSON], *of: Any) -> JSON:
        """What JSON can say (NaN included), kept or computed."""
        value = self.get(*of)
        if value is not None:
            return json.loads(value)
        found = compute()
        self.put(json.dumps(found).encode(), *of)
        return found

    def table(self, compute: Callable[[], pa.Table], *of: Any) -> pa.Table:
        """A table, kept or computed."""
        value = self.get(*of)
        if value is not None:
            return pa.ipc.open_stream(value).read_all()
        found, sink = compute(), pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, found.schema) as stream:
            stream.write_table(found)
        self.put(sink.getvalue().to_pybytes(), *of)
        return found

    def _place(self, of: Sequence[Any]) -> Path:
        key = sha256()
        for part in (self._maker, *of):
            if isinstance(part, np.ndarray):
                said = f"{part.dtype.str} {part.shape}".encode(), np.ascontiguousarray(part).data
            elif isinstance(part, bytes):
                said = b"bytes", memoryview(part)
            else:
                said = b"JSON", memoryview(canonical(part).encode("utf-8", "surrogatepass"))
            for one in said:
                key.update(memoryview(one).nbytes.to_bytes(8, "big"))
                key.update(one)
        assert self._folder
        return self._folder / key.hexdigest()

    @staticmethod
    def _make_room(folder: Path) -> None:
        sizes = [(file, file.stat()) for file in folder.iterdir()]
        left = sum(of.st_size for _, of in sizes)
        for file, of in sorted(sizes, key=lambda one: one[1].st_mtime_ns):
            if left <= TOGETHER:
                break
            file.unlink()
            left -= of.st_size


def content(path: Path) -> bytes:
    """The hash of a Parquet file's columns, whatever its metadata say of what made it."""
    key = sha256()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            plain = batch.replace_schema_metadata(None)
            key.update(plain.schema.serialize())
            key.update(plain.serialize())
    return key.digest()


@cache
def _code() -> str:
    """The hash of the package's code: of all of it, so that nothing can be forgotten."""
    key, package = sha256(), Path(__file__).parents[1]
    for file in sorted(package.rglob("*.py")):
        key.update(sha256(file.read_bytes()).digest())
    return key.hexdigest()


@cache
def _processor() -> str:
    """What arithmetic libraries know the processor by, as far as that can be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(dict.fromkeys(ln for ln in lines if ln.startswith(("flags", "model name"))))
