"""Which files of a run a crate holds, and why others are only described."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from descry.errors import InputError
from descry.io.dvc_files import files_of
from descry.io.dvc_lock import md5
from descry.io.hashing import digests
from descry.provenance.rocrate.sources import BUILD, WORKFLOW, CrateSources, is_code

# Results that quote reviews.
TEXTS = ("results/corpus.parquet", "results/tables/table1.csv", "results/report")
ACTIVATIONS = "results/activations.h5"
ANSWERS = "data/answers"
BESIDE = ("dvc.yaml", "LICENSE", "pyproject.toml", "requirements.lock", f"{ANSWERS}/*.jsonl")
CODE = ("src/**/*.py", "src/**/*.html")
_OF_TEXTS = "it holds texts of reviews, which may not be anybody's to pass on"
_TOO_LARGE = "it is large, and made again from the rest"
_NAMES_A_PLACE = "a place on the machine that made it, or a password, stands in it"

Role = Literal["input", "result", "beside"]


@dataclass(frozen=True)
class Content:
    """A file of a run.

    Attributes:
        place: on this machine.
        size: bytes.
        role: an input or a result of a stage, or what stands beside them: code, answers.
        quotes: whether it holds texts of reviews.
        absent: why it is only described; None where it is in the crate.
    """

    place: Path
    md5: str
    sha256: str
    size: int
    role: Role
    quotes: bool
    absent: str | None


@dataclass(frozen=True)
class Folder:
    """A folder of a run.

    Attributes:
        parts: the paths of its files; none of a result that is only described, as a whole.
        count: how many files it has.
        quotes: whether it holds texts of reviews.
        absent: why it is only described, as a whole; None where its files are looked at one by one.
    """

    md5: str
    parts: list[str]
    count: int
    quotes: bool
    absent: str | None


@dataclass(frozen=True)
class Contents:
    """The files and folders of a run by the paths that a crate gives them."""

    files: Mapping[str, Content]
    folders: Mapping[str, Folder]


def contents(sources: CrateSources, *, reviews: bool, activations: bool) -> Contents:
    """Find and hash the files of a run.

    Args:
        reviews: whether files that hold texts of reviews go into the crate.
        activations: whether the activation matrix does.

    Raises:
        InputError: a file is missing, is not as dvc.lock records it, or is code in which something
            private stands.
    """
    locked = {path: of for s in sources.stages for path, of in {**s.deps, **s.outs}.items()}
    of_reviews = {path for s in sources.stages if s.name == "corpus" for path in s.deps}
    files = _code(sources, locked)
    folders: dict[str, Folder] = {}
    for path in (path for path in locked if not is_code(path)):
        place = sources.places[path]
        role: Role = "input" if path in sources.inputs else "result"
        quotes, absent = path in TEXTS or path in of_reviews, None
        if path == ACTIVATIONS and not activations:
            absent = _TOO_LARGE
        elif quotes and not reviews:
            absent = _OF_TEXTS
        inside = files_of(place, sources.root)
        as_a_whole = place.is_dir() and role == "result" and absent is not None
        found = {
            f"{path}/{name}" if name else path: _content(sources, file, role, quotes, absent)
            for name, file in ({} if as_a_whole else inside).items()
        }
        if place.is_dir():
            whole = absent if as_a_whole else None
            folders[path] = Folder(locked[path], [*found], len(inside), quotes, whole)
        if (md5(place, sources.root) if place.is_dir() else found[path].md5) != locked[path]:
            raise InputError(f"{place}: not as dvc.lock records it: {BUILD}")
        files |= found
    beside = (place for kind in BESIDE for place in sorted(sources.root.glob(kind)))
    for place in filter(Path.is_file, beside):
        files[place.relative_to(sources.root).as_posix()] = _content(sources, place)
    return Contents(files, folders)


def _code(sources: CrateSources, locked: Mapping[str, str]) -> dict[str, Content]:
    """The workflow and its source; what made results is checked to be the same still."""
    found = {place for kind in CODE for place in sources.root.glob(kind) if place.is_file()}
    source = {place.relative_to(sources.root).as_posix() for place in found}
    files = {}
    for path in sorted({WORKFLOW, *source, *filter(is_code, locked)}):
        files[path] = content = _content(sources, sources.root / path)
        if content.md5 != locked.get(path, content.md5):
            raise InputError(f"{content.place}: not as dvc.lock records it: {BUILD}")
        if content.absent:
            raise InputError(f"{content.place}: {content.absent}: take it out")
    return files


def _content(
    sources: CrateSources,
    place: Path,
    role: Role = "beside",
    quotes: bool = False,
    absent: str | None = None,
) -> Content:
    if absent is None and sources.private.is_in(place):
        absent = _NAMES_A_PLACE
    return Content(place, *digests(place), place.stat().st_size, role, quotes, absent)
