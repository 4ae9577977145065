"""A run as it lies in a folder: made here or elsewhere, with or without its cache and its git."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from descry.annotators.prompt_cache.store import PromptCache
from descry.io.dvc_lock import Locked, read_lock
from descry.io.git import Head, head
from descry.io.hashing import JSON
from descry.io.nested import flat
from descry.io.provenance import recorded
from descry.io.read_provenance import provenance_of
from descry.io.yaml_files import read_yaml

# The stages on the way to the labels, each behind those that it reads, and their results.
STAGES = {
    "corpus": "corpus.parquet",
    "describe": "candidates.parquet",
    "cluster": "descriptors.json",
    "activations": "activations.h5",
    "exemplars": "exemplars.h5",
    "annotate": "annotations.h5",
    "label": "labels.parquet",
}


@dataclass(frozen=True)
class Project:
    """Where a run's results are, and the prompt cache that goes with them.

    Recorded paths are relative to the project's folder, which is the one around the results.
    """

    results: Path
    cache_folder: Path

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.results.parent

    def result(self, stage: str) -> Path:
        """The result of a stage on the way to the labels."""
        return self.results / STAGES[stage]

    def place(self, recorded: str) -> Path:
        """Where a recorded path is now; results may have been moved as a whole."""
        if recorded in self._outside:
            return self._outside[recorded]
        first, _, rest = recorded.partition("/")
        return self.results / rest if first == "results" and rest else self.root / recorded

    @cached_property
    def _outside(self) -> dict[str, Path]:
        """Inputs that params.yaml has outside of the project, by what records call them."""
        params = self.root / "params.yaml"
        named = flat(read_yaml(params)).values() if params.is_file() else ()
        places = [
            Path(text) for text in named if isinstance(text, str) and Path(text).is_absolute()
        ]
        files = [file for place in places if place.exists() for file in _files(place)]
        return {recorded(file): file for file in files}

    def own(self, path: str) -> str:
        """A path of now as it is recorded."""
        place = Path(path)
        inside = place.is_relative_to(self.root)
        return place.relative_to(self.root).as_posix() if inside else path

    @cached_property
    def made(self) -> dict[str, JSON]:
        """What made each result: by stage.

        Raises:
            InputError: a result is missing or damaged.
        """
        return {stage: provenance_of(self.result(stage), stage) for stage in STAGES}

    @cached_property
    def locked(self) -> dict[str, Locked]:
        """What dvc.lock records; nothing where there is none."""
        return read_lock(self.root / "dvc.lock")

    @cached_property
    def head(self) -> Head:
        """What is checked out."""
        return head(self.root)

    def records(self, keys: list[str]) -> dict[str, JSON]:
        """The cache's records of those keys that it has; a cache that is not here has none."""
        if not (self.cache_folder / "cache.db").is_file():
            return {}  # opening would make one
        with PromptCache(self.cache_folder) as cache:
            return cache.recorded(keys)


def _files(place: Path) -> list[Path]:
    return (
        [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
    )
