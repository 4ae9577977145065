"""A run with its surroundings: the prompt cache, dvc.lock, params.yaml and git.

Imports that `open` does not need wait until they are needed, so that a notebook opens at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from descry.io.hashing import JSON
from descry.io.nested import flat
from descry.io.provenance import recorded
from descry.run import FILES, Run

if TYPE_CHECKING:
    from descry.io.dvc_lock import Locked
    from descry.io.git import Head
    from descry.provenance.audit.evidence import Audit
    from descry.provenance.audit.uses import DescriptorUse, ReviewUse
    from descry.provenance.verify.check import Link
    from descry.try_text import Trial

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


def open(
    path: str | Path = "results", *, cache: str | Path | None = None, check: bool = True
) -> "Project":
    """Open the results of a run, made here or elsewhere.

    Args:
        path: folder of the results, or the project's folder around it.
        cache: folder of the prompt cache; None: cache/prompts of the project's folder. Only
            audits of answers and `verify` need it.
        check: whether to refuse results that were not made from each other (`Run.check`).

    Raises:
        InputError: there are no results, one is damaged, or they do not belong together.
    """
    results = Path(path)
    if not any((results / name).is_file() for name in FILES):
        results = results / "results"
    run = Project(results, results.parent / "cache/prompts" if cache is None else Path(cache))
    if not any(run.has(name) for name in FILES):
        from descry.workflow.preflight import check_made

        check_made(Path(path), "labels.parquet")
    if check:
        run.check()
    return run


@dataclass(frozen=True, eq=False, repr=False)
class Project(Run):
    """A run with its prompt cache, git and dvc.lock, as far as they are present.

    Recorded paths are relative to the project's folder, the parent of the results.
    """

    cache_folder: Path

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.results.parent

    def result(self, stage: str) -> Path:
        """Return the path of the result of a stage on the way to the labels."""
        return self.path(STAGES[stage])

    def place(self, recorded: str) -> Path:
        """Return the present place of a recorded path; results may have been moved as a whole."""
        if recorded in self._outside:
            return self._outside[recorded]
        first, _, rest = recorded.partition("/")
        return self.results / rest if first == "results" and rest else self.root / recorded

    @cached_property
    def _outside(self) -> dict[str, Path]:
        """Inputs that params.yaml has outside of the project, by what records call them."""
        from descry.io.yaml_files import read_yaml

        params = self.root / "params.yaml"
        named = flat(read_yaml(params)).values() if params.is_file() else ()
        places = [
            Path(text) for text in named if isinstance(text, str) and Path(text).is_absolute()
        ]
        files = [file for place in places if place.exists() for file in _files(place)]
        return {recorded(file): file for file in files}

    def own(self, path: str) -> str:
        """Return a present path as records have it."""
        place = Path(path)
        inside = place.is_relative_to(self.root)
        return place.relative_to(self.root).as_posix() if inside else path

    @cached_property
    def made(self) -> dict[str, JSON]:
        """What made each result on the way to the labels: by stage.

        Raises:
            InputError: a result is missing or damaged.
        """
        return {stage: self.provenance(name) for stage, name in STAGES.items()}

    @cached_property
    def locked(self) -> "dict[str, Locked]":
        """What dvc.lock records, by stage; empty without a dvc.lock."""
        from descry.io.dvc_lock import read_lock

        return read_lock(self.root / "dvc.lock")

    @cached_property
    def head(self) -> "Head":
        """The git commit that is checked out."""
        from descry.io.git import head

        return head(self.root)

    def records(self, keys: list[str]) -> dict[str, JSON]:
        """Return the cache's records of the keys that it has; none without a cache."""
        if not (self.cache_folder / "cache.db").is_file():
            return {}  # opening would make one
        from descry.annotators.prompt_cache.store import PromptCache

        with PromptCache(self.cache_folder) as cache:
            return cache.recorded(keys)

    def audit(self, neuron: str, rows: int = 3) -> "Audit":
        """Return the evidence for a neuron's labels, as `descry audit L5:50` shows it.

        Args:
            neuron: name of the neuron, such as L5:50.
            rows: how many exemplars, raw descriptors and mentions of each to follow.

        Raises:
            InputError: no such neuron, or a result on the way to the labels is missing.
        """
        from descry.provenance.audit.chain import audit

        return audit(self, neuron, rows, rows)

    def audit_review(self, sentence: str) -> "ReviewUse":
        """Return the labels that a sentence is part of, as `descry audit --review` shows them."""
        from descry.provenance.audit.uses import of_review

        return of_review(self, sentence)

    def audit_descriptor(self, name: str, rows: int = 3) -> "DescriptorUse":
        """Return what a descriptor is and labels, as `descry audit --descriptor` shows it."""
        from descry.provenance.audit.uses import of_descriptor

        return of_descriptor(self, name, rows, rows)

    def try_text(
        self, text: str, neurons: Sequence[str] | None = None, *, every: bool = False
    ) -> "Trial":
        """Which neurons fire on a text of one's own, and at which words, as `descry try` shows it.

        Loads the model of the run. `descry.try_text.try_text` says what is what.

        Args:
            neurons: names such as L5:50; None: those with a label, or with `every` all.

        Raises:
            InputError: no text, no such neuron, or the model is not here.
        """
        from descry.try_text import try_text

        return try_text(self, text, neurons, every=every)

    def verify(self, *, sample: int = 20, seed: int = 0, hashes: bool = False) -> "Iterator[Link]":
        """Check that every result follows from its inputs, as `descry verify` does.

        Args:
            sample: how many sentences, and answers to each prompt, the models compute again; 0
            loads
                no model.
            seed: draws them.
            hashes: whether to compare only the files with the recorded hashes.

        Yields:
            Link: one link of the chain, with its `fault`, or None where all follows.

        Raises:
            InputError: a result, params.yaml or (without `hashes`) the prompt cache is missing.
        """
        from descry.provenance.verify.chain import verify
        from descry.workflow.params import load

        params = load(self.root / "params.yaml")
        return verify(self, params, sample=sample, seed=seed, hashes=hashes)


def _files(place: Path) -> list[Path]:
    return (
        [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
    )
