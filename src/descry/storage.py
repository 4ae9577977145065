"""Files: atomic writes, canonical bytes, hashes, and the provenance that each result carries.

The same inputs give the same bytes: no time stamps, no paths outside the project, sorted keys.
"""

import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from descry.errors import InputError
from descry.hostile import printable

if TYPE_CHECKING:
    import h5py
    import pyarrow

JSON = Any
_SHOWN = 200  # characters shown of why a file cannot be read
_BLOCK = 2**22  # bytes read at a time
ROW_GROUP = 2**16  # rows of a Parquet file that are held in memory together
_HEAP = b"GCOL\x01\0\0\0"  # how HDF5 begins a heap of texts
_HEAPS = 2**24  # bytes of a file's beginning that they are looked for in: they come before the data
_HDF5_READING = re.compile(r"\W?(Can't|Unable to) (synchronously )?(?!write|create|set|flush)")
PROVENANCE = "descry"  # the attribute or metadata key that says what made a file
ANY = "STAGE"  # for `made_by`: a file of whatever stage, or of none
# How files of a kind begin; one that does not was never a result.
_BEGINS = {"Parquet": b"PAR1", "HDF5": b"\x89HDF\r\n\x1a\n", "JSON": b"{"}
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
            raise InputError(f"{path}: the disk is full: free some space and run again") from error
        if error.errno in _UNWRITABLE:
            raise InputError(f"{path}: cannot be written ({os.strerror(error.errno)})") from error
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


class MalformedError(Exception):
    """What a file holds is not of the form that its reader looks for."""


@contextmanager
def _readable(path: Path, made_by: str, kind: str = "JSON") -> Iterator[None]:
    """Name the file where a library cannot read it: around the library's calls, nothing of ours.

    Raises:
        InputError: it is missing, of another kind, or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: make it with `descry {made_by}`")
    try:
        if made_by != ANY:
            _refuse_another_kind(path, made_by, kind)
        yield
    except Exception as error:
        if not _is_library_s(error):
            raise
        raise unreadable(path, made_by, error) from error


def _is_library_s(error: Exception) -> bool:
    """Whether a library throws such an exception at a damaged file, as far as known."""
    arrow = type(error).__module__.partition(".")[0] == "pyarrow"
    return arrow or isinstance(
        error, (MalformedError, OSError, LookupError, ValueError, RuntimeError)
    )


def unreadable(path: Path, made_by: str, why: Exception | str) -> InputError:
    """That a result is damaged or not of its form, and what to do."""
    lines = printable(str(why).partition("\n")[0])
    reason = lines[:_SHOWN] or type(why).__name__
    advice = f"make it again: `descry {made_by}`"
    if _is_unfinished(path):
        advice = "remove it and run the stage again"
    if made_by == ANY:
        advice = "it is damaged"
    return InputError(f"{path}: cannot be read ({reason}): {advice}")


def _another(path: Path, made_by: str, what: str) -> InputError:
    reviews = "; reviews are named by corpus.reviews in params.yaml" if made_by == "corpus" else ""
    return InputError(f"{path}: {what}: expected is what `descry {made_by}` writes{reviews}")


def _refuse_another_kind(path: Path, made_by: str, kind: str) -> None:
    beginning = _BEGINS[kind]
    with path.open("rb") as file:
        found = file.read(len(beginning))
    if not beginning.startswith(found) and not _is_unfinished(path):
        raise _another(path, made_by, f"not {kind}")


def _is_unfinished(path: Path) -> bool:
    """Whether a killed run left it, as the name of it or of its folder says (`part_of`)."""
    return any(name.startswith(".") and name.endswith(".part") for name in path.parts)


def _made(path: Path, made_by: str, text: str | bytes | None) -> JSON:
    """What made a file, as it says itself.

    Raises:
        InputError: it does not say so: descry did not write it.
        MalformedError: that is damaged.
    """
    if text is None:
        raise _another(path, made_by, "no file of descry's, which would say what made it")
    made = json.loads(text)
    if not isinstance(made, dict):
        raise MalformedError("it does not say what made it")
    return made


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
        InputError: the file is missing, not JSON, or does not say what made it.
    """
    with _readable(path, made_by):
        value = json.loads(path.read_text(encoding="utf-8"))
    if made_by != ANY and not (isinstance(value, dict) and isinstance(value.get("made"), dict)):
        raise _another(path, made_by, "no file of descry's, which would say what made it")
    return value


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

    _check_columns(path, made_by, columns)
    with _readable(path, made_by, "Parquet"):
        return pq.read_table(path, columns=columns, filters=only, use_threads=False)


def _check_columns(path: Path, made_by: str, columns: list[str] | None) -> None:
    """Refuse a Parquet file that another stage or program wrote, or without one of the columns."""
    import pyarrow.parquet as pq

    with _readable(path, made_by, "Parquet"):
        schema = pq.read_schema(path)
        if made_by == ANY:
            return
        made = _made(path, made_by, (schema.metadata or {}).get(PROVENANCE.encode()))
    if absent := set(columns or ()) - set(schema.names):
        raise unreadable(path, made_by, f"no column {min(absent)}")
    if columns is None and (stage := made.get("stage", made_by)) != made_by:
        raise _another(path, made_by, f"made by `descry {stage}`")


def row_count(path: Path, made_by: str) -> int:
    """How many rows a Parquet file has.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with _readable(path, made_by, "Parquet"):
        return int(pq.read_metadata(path).num_rows)


def row_groups(path: Path, made_by: str) -> list[int]:
    """How many rows each row group of a Parquet file has.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    with _readable(path, made_by, "Parquet"):
        found = pq.read_metadata(path)
        return [found.row_group(group).num_rows for group in range(found.num_row_groups)]


def read_group(path: Path, made_by: str, column: str, group: int) -> "pyarrow.ChunkedArray":
    """A column of one row group of a Parquet file.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    _check_columns(path, made_by, [column])
    with (
        _readable(path, made_by, "Parquet"),
        pq.ParquetFile(path, pre_buffer=False) as file,
    ):
        return file.read_row_group(group, columns=[column], use_threads=False)[column]


def read_blocks(
    path: Path, made_by: str, columns: list[str], rows: int
) -> Iterator["pyarrow.Table"]:
    """Some columns of a Parquet file, so many rows at a time; the last block may be shorter.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow.parquet as pq

    _check_columns(path, made_by, columns)

    def batches() -> Iterator["pyarrow.RecordBatch"]:
        with (
            _readable(path, made_by, "Parquet"),
            pq.ParquetFile(path, pre_buffer=False) as file,
        ):
            yield from file.iter_batches(rows, columns=columns, use_threads=False)

    yield from regrouped(batches(), rows)


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

        with _readable(path, made_by, "Parquet"):
            metadata = pq.read_schema(path).metadata or {}
            return _made(path, made_by, metadata.get(PROVENANCE.encode()))
    if path.suffix == ".h5":
        with reading_hdf5(path, made_by) as file:
            return hdf5_provenance(file)
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
        InputError: the file is missing, of another form or damaged, which may come out while it is
            read: the library's errors are known by their words, those of `dataset` and its like by
            their type; others are not laid to the file.
    """
    import h5py

    with _readable(path, made_by, "HDF5"):
        _refuse_endless(path)
        file = h5py.File(path, "r")
        foreign = made_by != ANY and PROVENANCE not in file.attrs
    with file:
        if foreign:
            raise _another(path, made_by, "no file of descry's, which would say what made it")
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
    """A dataset of numbers.

    Args:
        shape: None stands for any size.
        kinds: of numbers, as numpy's dtypes call them.

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
    """A dataset of texts in one row, or some of them.

    Raises:
        MalformedError: there is none, or a text is damaged.
    """
    with _told(f"dataset {name}"):
        found: list[str] = file[name].asstr()[start:stop].tolist()
    if not all(isinstance(text, str) for text in found):
        raise MalformedError(f"dataset {name} is of another shape or type")
    return found


def names(file: "h5py.Group", group: str) -> list[str]:
    """What there is in a group.

    Raises:
        MalformedError: there is no such group.
    """
    with _told(f"group {group}"):
        return list(file[group].keys())


def attribute(file: "h5py.Group", name: str) -> JSON:
    """An attribute that holds JSON.

    Raises:
        MalformedError: there is none.
    """
    with _told(f"attribute {name}"):
        return json.loads(file.attrs[name])


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Name the part of a file at which a library stumbles: around the library's calls alone."""
    try:
        yield
    except Exception as error:
        raise MalformedError(f"{what}: {error}") from error


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
                raise MalformedError("its texts are damaged")
            place += step
        heap = data.find(_HEAP, heap + len(_HEAP))


def hdf5_provenance(file: "h5py.File") -> JSON:
    """What made an HDF5 file.

    Raises:
        MalformedError: the file does not say so.
    """
    made = attribute(file, PROVENANCE)
    if not isinstance(made, dict):
        raise MalformedError("it does not say what made it")
    return made


class RepeatedKeyError(ValueError):
    """Which of the values is meant is not known."""


def _distinct(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RepeatedKeyError("two values of one name in an object")
    return found


# JSON in which a key that stands twice is an error (RepeatedKeyError), for what strangers write.
strict_json = json.JSONDecoder(object_pairs_hook=_distinct).decode


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the second would hide the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key is a list or a mapping", problem_mark=key.start_mark
                )
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
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error
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
        raise InputError(f"{where}: {' '.join(reason.split())}") from error
