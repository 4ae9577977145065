"""HDF5 files, each with its provenance; a missing part is an `InputError`."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.io.atomic import atomic
from descry.io.hashing import JSON, canonical
from descry.io.provenance import PROVENANCE
from descry.io.readable import ANY, MalformedError, not_ours, readable, unreadable

if TYPE_CHECKING:
    import h5py

_HEAP = b"GCOL\x01\0\0\0"  # how HDF5 begins a heap of texts
_HEAPS = 2**24  # bytes of a file's beginning that they are looked for in: they come before the data
_HDF5_READING = re.compile(r"\W?(Can't|Unable to) (synchronously )?(?!write|create|set|flush)")


class _Unfailing(io.FileIO):
    """A file that keeps its first failure for later: the HDF5 library crashes on a full disk."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        view, done = memoryview(data).cast("B"), 0
        try:
            while done < len(view) and not self.failure:
                done += super().write(view[done:])
        except OSError as error:
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return self.tell()


@contextmanager
def writing_hdf5(path: Path, made: JSON) -> Iterator["h5py.File"]:
    """Open a new HDF5 file, without time stamps; its attribute `descry` records what made it."""
    import h5py

    with atomic(path) as part, _Unfailing(part, "w+") as disk:
        try:
            with h5py.File(disk, "w", libver="v110") as file:
                file.attrs[PROVENANCE] = canonical(made)
                yield file
        finally:
            if disk.failure:
                raise disk.failure


@contextmanager
def reading_hdf5(path: Path, made_by: str) -> Iterator["h5py.File"]:
    """Open an existing HDF5 file.

    Raises:
        InputError: the file is missing, damaged or of another form, even if that shows only while
            it is read. The library's errors are known by their words, errors of `dataset` and
            similar functions by their type; other errors are not blamed on the file.
    """
    import h5py

    with readable(path, made_by, "HDF5"):
        now = path.stat()
        _refuse_endless(path.absolute(), now.st_size, now.st_mtime_ns)
        file = h5py.File(path, "r")
        foreign = made_by != ANY and PROVENANCE not in file.attrs
    with file:
        if foreign:
            raise not_ours(path, made_by, "no file of descry's, which would say what made it")
        try:
            yield file
        except MalformedError as error:
            raise unreadable(path, made_by, error) from error
        except (OSError, LookupError, ValueError, RuntimeError) as error:
            if _HDF5_READING.match(str(error)):
                raise unreadable(path, made_by, error) from error
            raise


def dataset(
    file: "h5py.Group", name: str, shape: tuple[int | None, ...], kinds: str = "biuf"
) -> "h5py.Dataset":
    """Return a dataset of numbers.

    Args:
        shape: None stands for any size.
        kinds: allowed kinds of numbers, as in numpy's dtypes.

    Raises:
        MalformedError: there is none of this shape and kind.
    """
    import h5py

    with _told(f"dataset {name}"):
        found = file[name]
        sizes, kind = found.shape, found.dtype.kind
    fits = len(sizes) == len(shape) and all(
        want is None or size == want for size, want in zip(sizes, shape, strict=True)
    )
    if not isinstance(found, h5py.Dataset) or kind not in kinds or not fits:
        raise MalformedError(f"dataset {name} is of another shape or type")
    return found


def texts(file: "h5py.Group", name: str, start: int = 0, stop: int | None = None) -> list[str]:
    """Read a one-dimensional dataset of texts, or some of them.

    Raises:
        MalformedError: there is none, or a text is damaged.
    """
    with _told(f"dataset {name}"):
        found: list[str] = file[name].asstr()[start:stop].tolist()
    if not all(isinstance(text, str) for text in found):
        raise MalformedError(f"dataset {name} is of another shape or type")
    return found


def names(file: "h5py.Group", group: str) -> list[str]:
    """Return the names in a group.

    Raises:
        MalformedError: there is no such group.
    """
    with _told(f"group {group}"):
        return list(file[group].keys())


def attribute(file: "h5py.Group", name: str) -> JSON:
    """Read an attribute that holds JSON.

    Raises:
        MalformedError: there is none.
    """
    with _told(f"attribute {name}"):
        return json.loads(file.attrs[name])


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Name the part of a file at which a library's call fails; wraps only library calls."""
    try:
        yield
    except Exception as error:
        raise MalformedError(f"{what}: {error}") from error


@lru_cache(maxsize=64)  # a stage opens its files again and again
def _refuse_endless(path: Path, size: int, changed: int) -> None:
    """Refuse texts in whose heap the HDF5 library would loop forever.

    The library walks the heap by the sizes of its objects; one damaged bit can make a size 0.
    """
    with path.open("rb") as file:
        data = file.read(_HEAPS)
    heap = data.find(_HEAP)
    while heap >= 0:
        end = heap + int.from_bytes(data[heap + 8 : heap + 16], "little")
        place = heap + 16
        while place + 16 <= min(end, len(data)):
            used = data[place] | data[place + 1]
            size = int.from_bytes(data[place + 8 : place + 16], "little")
            step = 16 + (size + 7) // 8 * 8 if used else size
            if not step:
                raise MalformedError("its texts are damaged")
            place += step
        heap = data.find(_HEAP, heap + len(_HEAP))


def hdf5_provenance(file: "h5py.File") -> JSON:
    """Read what made an HDF5 file.

    Raises:
        MalformedError: the file does not say so.
    """
    made = attribute(file, PROVENANCE)
    if not isinstance(made, dict):
        raise MalformedError("it does not say what made it")
    return made
