"""Two runs that can be compared: the same sentences and descriptors, and what else differs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from descry.activations.exemplar_files import read_tokens
from descry.corpus.covariates import TOKENS, covariates
from descry.corpus.splits import CALIBRATION
from descry.corpus.units import SENTENCES
from descry.errors import InputError
from descry.io.hashing import JSON, canonical
from descry.io.nested import flat, unlike
from descry.labels.strata import Matching, Strata
from descry.models.neurons import Neurons
from descry.provenance.audit.project import open as open_run
from descry.run import FILES, Run
from descry.two_models.matching import has_matrix

Kind = Literal["model", "parameter", "versions"]
_STAGES = ("activations", "exemplars", "annotate", "label")
_RESULTS = {FILES[name]: name for name in reversed(FILES)}  # the first of each stage
_NEEDED = ("corpus.parquet", "exemplars.h5", "annotations.h5", "labels.parquet")
_FACTS = ("site", "position", "layers", "max_tokens", "sinks")
_MODEL = ("target", "weights", "tokenizer", "made_from", "quantization", "untrained")
# What changes no label, or only how it was computed.
_HARMLESS = {
    "activations": {"device", "batch_tokens", "block", "store", "store_dtype", "keep"},
    "label": {"compose", "beam", "penalty"},
}


@dataclass(frozen=True)
class Difference:
    """Something by which two runs were made differently.

    Attributes:
        kind: model, of which the comparison is; parameter, by which labels may differ as well; or
            versions of packages.
        what: a key in the stage's record.
        first, second: the two values as JSON, or `not set`.
        matters: whether labels can depend on it.
    """

    stage: str
    kind: Kind
    what: str
    first: str
    second: str
    matters: bool

    def __str__(self) -> str:
        return f"{self.stage}.{self.what}: {self.first} -> {self.second}"


@dataclass(frozen=True)
class Pair:
    """Two runs over one corpus.

    Attributes:
        differences: in how they were made.
        other_answers: of all answers of the annotators, how many are not the same.
    """

    first: Run
    second: Run
    differences: list[Difference]
    other_answers: int

    @property
    def runs(self) -> tuple[Run, Run]:
        """Both."""
        return self.first, self.second

    @property
    def names(self) -> tuple[str, str]:
        """The two models as people tell them apart."""
        models = [_model(run) for run in self.runs]
        if models[0] != models[1]:
            return models[0], models[1]
        return f"{models[0]} (first)", f"{models[1]} (second)"

    @cached_property
    def warnings(self) -> list[str]:
        """What beside the model can make the difference, a line each."""
        found = []
        if self.other_answers:
            who = [run.annotations.annotator["name"] for run in self.runs]
            by = who[0] if who[0] == who[1] else f"{who[0]} and {who[1]}"
            found.append(
                f"{self.other_answers:,} answers of the annotator differ between the runs ({by}):"
                " a difference can come from the annotator instead of the model"
            )
        if named := [one for one in self.differences if one.kind == "parameter" and one.matters]:
            found.append(
                "the runs differ in more than the model, and so may their labels:"
                f" {'; '.join(map(str, named))}"
            )
        return found

    @property
    def neurons(self) -> tuple[Neurons, Neurons]:
        """The neurons of each run."""
        return self.first.neurons, self.second.neurons

    @property
    def activations(self) -> tuple[Path, Path] | None:
        """activations.h5 of both; None where one is not here or has no matrix."""
        first, second = (run.path("activations.h5") for run in self.runs)
        return (first, second) if has_matrix(first) and has_matrix(second) else None

    @cached_property
    def strata(self) -> Strata:
        """Strata of all sentences, as the first run's labels are matched."""
        matching = Matching.of(self.first.provenance("labels.parquet")["params"])
        corpus = self.first.path("corpus.parquet")
        tokens = read_tokens(self.first.path("exemplars.h5")) if TOKENS in matching.names else None
        found = covariates(corpus, matching.names, tokens)
        sampled = self.first.annotations.sampled
        return matching.strata(found, np.arange(len(sampled)), sampled)

    @cached_property
    def calibration(self) -> np.ndarray:
        """Whether a sentence is of the calibration half: bool [sentences]."""
        return np.asarray(np.array(self.first.corpus["split"].to_pylist()) == CALIBRATION)


def pair(first: str | Path | Run, second: str | Path | Run) -> Pair:
    """Open two runs, and refuse what cannot be compared.

    Raises:
        InputError: a folder is none of results, a file is missing or damaged, or the runs are of
            another corpus or other descriptors.
    """
    runs = [run if isinstance(run, Run) else open_run(run) for run in (first, second)]
    for run in runs:
        for name in _NEEDED:
            run.provenance(name)  # is there, and whole
    one, two = runs
    hashes = [corpus_of(run) for run in runs]
    if hashes[0] != hashes[1]:
        raise InputError(
            f"{two.results}: made of another corpus ({hashes[1][:12]}) than {one.results}"
            f" ({hashes[0][:12]}): send the same corpus.parquet through both models"
        )
    names = [set(run.annotations.descriptors) for run in runs]
    if other := sorted(names[0] ^ names[1]):
        raise InputError(
            f"{two.results}: has other descriptors than {one.results}, such as {other[0]!r}: make"
            " both with the same descriptors.json"
        )
    return Pair(one, two, list(differences(one, two)), _other_answers(one, two))


def corpus_of(run: Run, result: str = "labels.parquet") -> str:
    """sha256 of the corpus that a result was made of, by its record."""
    inputs = run.provenance(result)["inputs"]
    for path, sha256 in inputs.items():
        if PurePosixPath(path).name == SENTENCES:
            return str(sha256)
    raise InputError(f"{run.path(result)}: does not say of which corpus it was made")


def _model(run: Run) -> str:
    """The name of its model; of its folder where activations.h5 was left where it was made."""
    if not run.has("activations.h5"):
        return run.results.absolute().parent.name
    model: str = run.provenance("activations.h5")["params"]["target"]["model"]
    return model.rstrip("/").rpartition("/")[2]


def differences(first: Run, second: Run) -> Iterator[Difference]:
    """In how two runs were made: parameters, the model and versions of packages."""
    for stage in _STAGES:
        name = _RESULTS[stage]
        if not (first.has(name) and second.has(name)):
            continue  # activations.h5 may have been left where it was made
        old, new = (_record(run.provenance(name), stage) for run in (first, second))
        for key in unlike(old, new):
            was, now = (canonical(side[key]) if key in side else "not set" for side in (old, new))
            head = key.partition(".")[0]
            kind: Kind = "parameter"
            if stage == "activations" and head in _MODEL:
                kind = "model"
            elif head == "versions":
                kind = "versions"
            matters = head not in _HARMLESS.get(stage, ())
            yield Difference(stage, kind, key, was, now, matters)


def _record(made: JSON, stage: str) -> dict[str, JSON]:
    """What is compared of a record: parameters, facts of the activations, versions."""
    found = dict(made["params"]) | {"versions": made["versions"]}
    if stage == "activations":
        found |= {name: made[name] for name in (*_FACTS, *_MODEL) if name in made}
    return flat(found)


def _other_answers(first: Run, second: Run) -> int:
    """Answers that are not the same of sentences that both annotators were asked about."""
    a, b = first.annotations, second.annotations
    both = a.asked & b.asked
    return sum(
        int((((a.yes(name) != b.yes(name)) | (a.answered(name) != b.answered(name))) & both).sum())
        for name in a.descriptors
    )
