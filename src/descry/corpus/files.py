"""Which files of a folder are reviews, and which are skipped."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from descry.errors import InputError
from descry.io.sanitize import printable

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
FORMATS = f"{', '.join(SUFFIXES)}, .gz allowed"
_PACKED = (".bz2", ".zst", ".xz", ".zip", ".7z", ".lz4", ".rar", ".tar", ".tgz")
_NAMED = 10  # names shown of files that are passed over


def suffix(path: Path) -> str:
    """Return the suffix that names the format, in lower case and without .gz."""
    name = Path(path.name.lower())
    return Path(name.stem).suffix if name.suffix == ".gz" else name.suffix


def packed(path: Path) -> bool:
    """Whether the file is gzipped, by its name."""
    return path.suffix.lower() == ".gz"


def review_files(path: Path) -> list[Path]:
    """Return the review files that a path names: the file, or the folder's files by name.

    Hidden files and files in subfolders do not count.

    Raises:
        InputError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        what = "neither a file nor a folder" if path.exists() else "no such file or folder"
        raise InputError(f"{path}: {what}: set corpus.reviews in params.yaml")
    files = _reviews_in(path)
    if not files:
        others = _shown(_others_in(path))
        raise InputError(
            f"{path}: no review files ({FORMATS}) in it"
            + (f"; passed over: {others}" if others else "")
        )
    return files


def passed_over(given: Iterable[Path], files: Sequence[Path]) -> dict[str, str]:
    """Return what folders hold besides review files, as {"passed over": names}; {} if nothing.

    Args:
        given: files and folders; only folders all of whose review files are read count.
        files: the review files that are read.
    """
    folders = [path for path in dict.fromkeys(given) if path.is_dir()]
    read = [path for path in folders if set(_reviews_in(path)) <= set(files)]
    names = _shown([name for path in read for name in _others_in(path)])
    return {"passed over": names} if names else {}


def unknown_format(path: Path) -> str:
    """Say why a file is not read, and what to do."""
    last = path.suffix.lower()
    if last in _PACKED:
        return f"{path}: packed as {last}, which is not read: unpack it, or pack it as .gz"
    return f"{path}: unknown format: use {FORMATS}"


def _reviews_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_review(path))


def _is_review(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and suffix(path) in SUFFIXES


def _others_in(folder: Path) -> list[str]:
    return [_named(path) for path in sorted(folder.iterdir()) if not _is_review(path)]


def _named(path: Path) -> str:
    name = printable(path.name)
    if not path.is_dir():
        return name
    inside = sum(other.is_file() for other in path.rglob("*"))
    return f"{name}/ ({inside} file{'s' * (inside != 1)})"


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
