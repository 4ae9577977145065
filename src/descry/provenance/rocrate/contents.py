"""Which files of a run a crate holds, and why others are only described."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from descry.errors import InputError
from descry.io.dvc_files import files_of, md5
from descry.io.hashing import digests
from descry.provenance.rocrate.run import BUILD, WORKFLOW, Run, is_code

# Results that quote reviews.
TEXTS = ("results/corpus.parquet", "results/tables/table1.csv", "results/report")
ACTIVATIONS = "results/activations.h5"
ANSWERS = "data/answers"
BESIDE = ("dvc.yaml", "LICENSE", "pyproject.toml", "requirements.lock")
CODE = ("*.py", "*.html")
_OF_TEXTS = "it holds texts of reviews, which may not be anybody's to pass on"
_TOO_LARGE = "it is large, and made again from the rest"
_NAMES_A_PLACE = "a place on the machine that made it, or a password, stands in it"

Role = Literal["input", "result", "beside"]


@dataclass(frozen=True)
class Content:
    """A file of a run.

    Attributes:
        path: as the crate names it.
        place: on this machine.
        size: bytes.
        role: an input or a result of a stage, or what stands beside them: code, answers.
        quotes: whether it holds texts of reviews.
        absent: why it is only described; None where it is in the crate.
    """

    path: str
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
        path: as the crate names it.
        parts: the paths of its files; none of a result that is only described, as a whole.
        count: how many files it has.
        quotes: whether it holds texts of reviews.
        absent: why it is only described, as a whole; None where its files are looked at one by one.
    """

    path: str
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

    @property
    def absent(self) -> int:
        """How many are only described: files, and folders as a whole."""
        reasons = [file.absent for file in self.files.values()]
        reasons += [folder.absent for folder in self.folders.values()]
        return sum(reason is not None for reason in reasons)


def contents(run: Run, *, reviews: bool, activations: bool) -> Contents:
    """Find and hash the files of a run.

    Args:
        reviews: whether files that hold texts of reviews go into the crate.
        activations: whether the activation matrix does.

    Raises:
        InputError: a file is missing, is not as dvc.lock records it, or is code in which something
            private stands.
    """
    files: dict[str, Content] = {}
    folders: dict[str, Folder] = {}
    for path, locked in _locked(run).items():
        quotes, absent = _left_out(run, path, reviews, activations)
        is_folder = run.places[path].is_dir()
        whole = is_folder and absent is not None and _role(run, path) == "result"
        found = {} if whole else dict(_looked(run, path, quotes, absent))
        _check(run, path, locked, found)
        if is_folder:
            count = len(files_of(run.places[path], run.root))
            folders[path] = Folder(path, locked, [*found], count, quotes, absent if whole else None)
        files |= found
    beside = {path: _content(run, path, run.root / path) for path in _beside(run)}
    return Contents({**dict(_code(run)), **files, **beside}, folders)


def _locked(run: Run) -> dict[str, str]:
    """The md5 of every input and output but code, as dvc.lock has it."""
    every = ((path, md5) for s in run.stages for path, md5 in {**s.deps, **s.outs}.items())
    return {path: md5 for path, md5 in every if not is_code(path)}


def _left_out(run: Run, path: str, reviews: bool, activations: bool) -> tuple[bool, str | None]:
    """Whether a file or folder quotes reviews, and why it is left out; None if it is not."""
    quotes = path in TEXTS or path in _reviews(run)
    if path == ACTIVATIONS and not activations:
        return quotes, _TOO_LARGE
    return quotes, _OF_TEXTS if quotes and not reviews else None


def _looked(run: Run, path: str, quotes: bool, absent: str | None) -> Iterator[tuple[str, Content]]:
    """A file, or those in a folder."""
    for inside, place in files_of(run.places[path], run.root).items():
        name = f"{path}/{inside}" if inside else path
        yield name, _content(run, name, place, _role(run, path), quotes, absent)


def _role(run: Run, path: str) -> Role:
    return "result" if any(path in stage.outs for stage in run.stages) else "input"


def _reviews(run: Run) -> set[str]:
    return {path for stage in run.stages if stage.name == "corpus" for path in run.inputs(stage)}


def _check(run: Run, path: str, locked: str, found: Mapping[str, Content]) -> None:
    place = run.places[path]
    if (md5(place, run.root) if place.is_dir() else found[path].md5) != locked:
        raise InputError(f"{place}: not as dvc.lock records it: {BUILD}")


def _content(
    run: Run,
    path: str,
    place: Path,
    role: Role = "beside",
    quotes: bool = False,
    absent: str | None = None,
) -> Content:
    if absent is None and run.private.is_in(place):
        absent = _NAMES_A_PLACE
    return Content(path, place, *digests(place), place.stat().st_size, role, quotes, absent)


def _code(run: Run) -> Iterator[tuple[str, Content]]:
    """The workflow and its source; what made results is checked to be the same still."""
    locked = {path: md5 for s in run.stages for path, md5 in s.deps.items() if is_code(path)}
    found = (file for kind in CODE for file in (run.root / "src").rglob(kind))
    source = {file.relative_to(run.root).as_posix() for file in found if file.is_file()}
    for path in sorted({WORKFLOW, *source, *locked}):
        content = _content(run, path, run.root / path)
        if content.md5 != locked.get(path, content.md5):
            raise InputError(f"{content.place}: not as dvc.lock records it: {BUILD}")
        if content.absent:
            raise InputError(f"{content.place}: {content.absent}: take it out")
        yield path, content


def _beside(run: Run) -> list[str]:
    answers = [f"{ANSWERS}/{path.name}" for path in sorted((run.root / ANSWERS).glob("*.jsonl"))]
    return [*(path for path in BESIDE if (run.root / path).is_file()), *answers]
