"""Files: atomic writes, canonical bytes, hashes, and the provenance that each result carries.

The same inputs give the same bytes: no time stamps, no paths outside the project, sorted keys.
"""

import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import yaml

from descry.errors import InputError
from descry.hostile import printable

if TYPE_CHECKING:
    import h5py
    import pyarrow

JSON = Any
_P = ParamSpec("_P")
_T = TypeVar("_T")
_Read = Callable[Concatenate[Path, _P], _T]
_SHOWN = 200  # characters shown of why a file cannot be read
_BLOCK = 2**22  # bytes read at a time
ROW_GROUP = 2**16  # rows of a Parquet file that are held in memory together
_HEAP = b"GCOL\x01\0\0\0"  # how HDF5 begins a heap of texts
_HEAPS = 2**24  # bytes of a file's beginning that they are looked for in: they come before the data
_HDF5_READING = re.compile(r"\W?(Can't|Unable to) (synchronously )?(?!write|create|set|flush)")
PROVENANCE = "descry"  # the attribute or metadata key that says what made a file
_UNWRITABLE = (errno.EACCES, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)


def canonical(value: JSON) -> str:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


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
    """A file's hashes: DVC names files by the one, results name their inputs by the other."""

    md5: str
    sha256: str


def digests(path: Path) -> Digests:
    """Both hashes of a file, which is read once."""
    both = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file, ThreadPoolExecutor(1) as other:
        while block := file.read(_BLOCK):
            sha256 = other.submit(both[1].update, block)  # hashing lets other threads run
            both[0].update(block)
            sha256.result()
    return Digests(both[0].hexdigest(), both[1].hexdigest())


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn a full disk and a folder that cannot be written into one clear line.

    Raises:
        InputError: either of them.
    """
    try:
        yield
    except OSError as error:
        if (
            error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            or "no space" in str(error).lower()
        ):
            raise InputError(f"{path}: the disk is full: free some space and run again") from None
        if error.errno in _UNWRITABLE:
            raise InputError(f"{path}: cannot be written ({os.strerror(error.errno)})") from None
        raise


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes its place when whole, else it goes.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with guarded(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        if part.exists():
            part.unlink()


def part_of(path: Path) -> Path:
    """Where a file is until it is whole, when a killed run is to go on with it."""
    return path.with_name(f".{path.name}.part")


def provenance(stage: str, params: JSON, inputs: list[Path], packages: list[str]) -> JSON:
    """What made a file: stage, params section, input hashes and package versions."""
    return {
        "stage": stage,
        "params": without_places(params),
        "inputs": {recorded(path): sha256_file(path) for path in inputs},
        "versions": versions(packages),
    }


def recorded(path: Path) -> str:
    """A path as it stands in records: within the project, or else its last part alone."""
    if path.is_absolute():
        here = Path.cwd()
        return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
    return path.as_posix()


def without_places(value: JSON) -> JSON:
    """A value with its absolute paths as `recorded`: where they lie is nobody's affair."""
    if isinstance(value, dict):
        return {key: without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_places(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return recorded(Path(value))
    return value


def flat(value: JSON, key: str = "") -> dict[str, JSON]:
    """The leaves of nested objects by dotted key: {a: {b: 1}} is {a.b: 1}."""
    if not isinstance(value, dict):
        return {key: value}
    inner = (flat(item, f"{key}.{name}" if key else name) for name, item in value.items())
    return {name: leaf for leaves in inner for name, leaf in leaves.items()}


def unlike(old: Mapping[str, JSON], new: Mapping[str, JSON]) -> list[str]:
    """The keys at which two mappings differ, those of the first one first; nothing is as null."""
    return [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed versions of descry and of some packages."""
    return {name: version(name) for name in ["descry", *packages]}


@contextmanager
def _readable(path: Path, made_by: str) -> Iterator[None]:
    if not path.is_file():
        raise InputError(f"{path}: no such file: make it with `descry {made_by}`")
    try:
        yield
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    lines = printable(str(error).partition("\n")[0])
    reason = lines[:_SHOWN] or type(error).__name__
    return InputError(f"{path}: cannot be read ({reason}): remove it and run the stage again")


def formed(made_by: str) -> Callable[[_Read[_P, _T]], _Read[_P, _T]]:
    """A reader of a result, which refuses a file that is not of the form it looks for.

    Args:
        made_by: the command that makes it.
    """

    def decorate(read: _Read[_P, _T]) -> _Read[_P, _T]:
        @wraps(read)
        def checked(path: Path, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
            with _readable(path, made_by):
                return read(path, *args, **kwargs)

        return checked

    return decorate


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: JSON) -> None:
    """Write JSON atomically: indented, keys in the order given, one final newline."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    write_text(path, text + "\n")


def read_json(path: Path, made_by: str) -> JSON:
    """Read JSON.

    Raises:
        InputError: the file is missing or not JSON.
    """
    with _readable(path, made_by):
        return json.loads(path.read_text(encoding="utf-8"))


def write_table(path: Path, table: "pyarrow.Table", made: JSON) -> None:
    """Write a Parquet file whose schema metadata says what made it."""
    import pyarrow.parquet as pq

    metadata = {PROVENANCE: canonical(made)}
    with atomic(path) as part:
        pq.write_table(table.replace_schema_metadata(metadata), part, compression="zstd")


def write_batches(
    path: Path, schema: "pyarrow.Schema", batches: Iterable["pyarrow.Table"], made: JSON
) -> None:
    """Write a Parquet file as `write_table` does, a row group a batch: it holds one at a time."""
    import pyarrow.parquet as pq

    whole = schema.with_metadata({PROVENANCE: canonical(made)})
    with atomic(path) as part, pq.ParquetWriter(part, whole, compression="zstd") as file:
        for batch in batches:
            file.write_table(batch.replace_schema_metadata(whole.metadata))


def read_table(
    path: Path, made_by: str, columns: list[str] | None = None, only: Any = None
) -> "pyarrow.Table":
    """Read a Parquet file, or some columns of it, or the rows that an expression is true of.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with _readable(path, made_by):
        return pq.read_table(path, columns=columns, filters=only, use_threads=False)


def row_count(path: Path, made_by: str) -> int:
    """How many rows a Parquet file has.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with _readable(path, made_by):
        return int(pq.read_metadata(path).num_rows)


def row_groups(path: Path, made_by: str) -> list[int]:
    """How many rows each row group of a Parquet file has.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with _readable(path, made_by):
        found = pq.read_metadata(path)
        return [found.row_group(group).num_rows for group in range(found.num_row_groups)]


def read_group(path: Path, made_by: str, column: str, group: int) -> "pyarrow.ChunkedArray":
    """A column of one row group of a Parquet file.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with _readable(path, made_by), pq.ParquetFile(path, pre_buffer=False) as file:
        return file.read_row_group(group, columns=[column], use_threads=False)[column]


def read_blocks(
    path: Path, made_by: str, columns: list[str], rows: int
) -> Iterator["pyarrow.Table"]:
    """Some columns of a Parquet file, so many rows at a time; the last block may be shorter.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with _readable(path, made_by), pq.ParquetFile(path, pre_buffer=False) as file:
        yield from regrouped(file.iter_batches(rows, columns=columns, use_threads=False), rows)


def regrouped(batches: Iterable["pyarrow.RecordBatch"], rows: int) -> Iterator["pyarrow.Table"]:
    """Batches of any size as tables of so many rows; the last one may be shorter."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        while sum(map(len, held)) >= rows:
            whole = pa.Table.from_batches(held)
            yield whole.slice(0, rows)
            held = whole.slice(rows).to_batches()
    if held:
        yield pa.Table.from_batches(held)


def table_provenance(table: "pyarrow.Table") -> JSON:
    """What made a Parquet file."""
    return json.loads((table.schema.metadata or {})[PROVENANCE.encode()])


def provenance_of(path: Path, made_by: str) -> JSON:
    """What made a result: Parquet, HDF5 or JSON, of which no more than that is read.

    Raises:
        InputError: the file is missing or damaged.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with _readable(path, made_by):
            return json.loads((pq.read_schema(path).metadata or {})[PROVENANCE.encode()])
    if path.suffix == ".h5":
        with reading_hdf5(path, made_by) as file, _readable(path, made_by):
            return hdf5_provenance(file)
    with _readable(path, made_by):
        return read_json(path, made_by)["made"]


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
    """A new HDF5 file, without time stamps; its attribute `descry` says what made it."""
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
    """An existing HDF5 file.

    Raises:
        InputError: the file is missing or damaged, which may come out while it is read.
    """
    import h5py

    with _readable(path, made_by):
        _refuse_endless(path)
        file = h5py.File(path, "r")
    with file:
        try:
            yield file
        except (OSError, LookupError, ValueError, RuntimeError) as error:
            if _HDF5_READING.match(str(error)):
                raise _unreadable(path, error) from error
            raise


def _refuse_endless(path: Path) -> None:
    """Refuse texts in whose heap the HDF5 library would go round for ever.

    It goes from object to object by their sizes; one spoilt bit, and it comes to one of no size.
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
                raise ValueError("its texts are damaged")
            place += step
        heap = data.find(_HEAP, heap + len(_HEAP))


def hdf5_provenance(file: "h5py.File") -> JSON:
    """What made an HDF5 file.

    Raises:
        InputError: the file does not say so.
    """
    try:
        made = json.loads(file.attrs[PROVENANCE])
        if not isinstance(made, dict):
            raise ValueError("it does not say what made it")
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        raise _unreadable(Path(file.filename), error) from error
    return made


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the second would hide the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# 1e-05 is a number, as in YAML 1.2, which DVC reads and writes; PyYAML takes it for a text.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> JSON:
    """Parse a YAML file.

    Raises:
        InputError: the file is missing, not UTF-8, no YAML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    return yaml_value(text, str(path))


def yaml_value(text: str, where: str) -> JSON:
    """Parse a YAML text; `where` it stands.

    Raises:
        InputError: it is no YAML, or has a key twice.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # nosec B506 # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        reason = f"line {mark.line + 1}: " if mark else ""
        reason += f"not valid YAML ({problem})"
        raise InputError(f"{where}: {' '.join(reason.split())}") from None
