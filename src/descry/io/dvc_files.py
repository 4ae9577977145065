"""Inputs and outputs as DVC versions them: the files that count, and their hashes.

In a folder not every file counts: notes that results must not depend on stand in .dvcignore.
"""

from collections.abc import Mapping
from pathlib import Path

from pathspec import GitIgnoreSpec

from descry.io.hashing import md5_file

Files = Mapping[str, Path]  # by their path in a folder; a file alone is under ""
IGNORE = Path(".dvcignore")
_NEVER = (".git", ".hg/", ".dvc/")  # whatever .dvcignore says


def files_of(place: Path, root: Path) -> dict[str, Path]:
    """The files of an input or output that DVC versions, in DVC's order.

    Args:
        place: a file or a folder; where there is neither, there are no files.
        root: the project, whose .dvcignore says what in its folders does not count.
    """
    if place.is_file():
        return {"": place}
    files = {
        path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()
    }
    if place.absolute().is_relative_to(root.absolute()):
        inside, ignored = place.absolute().relative_to(root.absolute()), _ignored(root)
        files = {n: p for n, p in files.items() if not ignored.match_file(inside / n)}
    return dict(sorted(files.items()))


def hashes_of(place: Path, root: Path) -> dict[str, str]:
    """The md5 of each of those files."""
    return {name: md5_file(path) for name, path in files_of(place, root).items()}


def _ignored(root: Path) -> GitIgnoreSpec:
    file = root / IGNORE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return GitIgnoreSpec.from_lines([*_NEVER, *map(str.strip, lines)])
