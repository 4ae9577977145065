"""Two runs of one model over other sentences, and what else differs between them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from descry.activations.exemplar_files import read_ends, read_tokens
from descry.corpus.covariates import TOKENS, covariates
from descry.corpus.units import SENTENCES
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.labels.strata import Matching
from descry.models.neurons import Neurons, same_neurons
from descry.provenance.audit.project import open as open_run
from descry.run import Run
from descry.two_models.pair import Difference, corpus_of, differences

_FIRST = ("activations.h5", "exemplars.h5", "annotations.h5", "labels.parquet")
_OTHER = ("activations.h5", "exemplars.h5", "annotations.h5")
_MODEL = ("weights", "tokenizer", "untrained", "quantization")  # that make neurons what they are
# What differs where nothing but the reviews does: each corpus has its own k and draws.
_OF_CORPUS = {"device", "batch_tokens", "block", "store", "store_dtype", "keep", "seed", "sample"}


@dataclass(frozen=True)
class CorpusPair:
    """A run whose labels are tested, and another of the same neurons over other sentences.

    Attributes:
        again: bool [sentences of the other], those that the first has, too: no other data.
        differences: in how the two were made, of stages that labels depend on.
    """

    first: Run
    other: Run
    again: np.ndarray
    differences: list[Difference]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of the model that both runs have."""
        return tuple(layer for layer in self.neurons.layers if layer in self.other.neurons.layers)

    @property
    def neurons(self) -> Neurons:
        """The neurons of the first."""
        return self.first.neurons

    @cached_property
    def warnings(self) -> list[str]:
        """What beside the sentences can make a difference, a line each."""
        found = []
        if number := int(self.again.sum()):
            found.append(
                f"{number:,} of the {len(self.again):,} {self.unit}s there are in the first corpus,"
                " too: they are left out"
            )
        who = [run.annotations.annotator["name"] for run in (self.first, self.other)]
        if who[0] != who[1]:
            found.append(
                f"other annotators, {who[0]} and {who[1]}: a label can fail for that reason alone"
            )
        if named := [one for one in self.differences if one.matters]:
            found.append(f"the runs differ in more than the corpus: {'; '.join(map(str, named))}")
        return found

    @property
    def unit(self) -> str:
        """What is labelled: sentence or position."""
        return "sentence" if self.first.units == SENTENCES else "position"

    @cached_property
    def covariates(self) -> dict[str, np.ndarray]:
        """That the other's sentences are matched on, as the first's labels are.

        Raises:
            InputError: the other corpus has no such column.
        """
        corpus = self.other.path(self.other.units)
        names = self.matching.names
        tokens = read_tokens(self.other.path("exemplars.h5")) if TOKENS in names else None
        try:
            return covariates(corpus, names, tokens)
        except InputError as error:
            raise InputError(f"{corpus}: {error}") from error

    @property
    def matching(self) -> Matching:
        """What the labels of the first are matched on."""
        return Matching.of(self.first.provenance("labels.parquet")["params"])


def corpus_pair(first: str | Path | Run, other: str | Path | Run, end: str) -> CorpusPair:
    """Open two runs, and refuse what cannot be compared.

    Raises:
        InputError: a folder is none of results, a file is missing or damaged, or the runs are of
            another model, of other neurons, of another unit, or of the same corpus.
    """
    one, two = (run if isinstance(run, Run) else open_run(run) for run in (first, other))
    for run, needed in ((one, (one.units, *_FIRST)), (two, (two.units, *_OTHER))):
        for name in needed:
            run.provenance(name)  # is there, and whole
    made, there = (run.provenance("activations.h5") for run in (one, two))
    _same_model(one, two, made, there)
    if one.units != two.units:
        units = [run.units.partition(".")[0] for run in (two, one)]
        raise InputError(
            f"{two.results}: its labels are of {units[0]}, those of {one.results} of {units[1]}"
            " (activations.unit)"
        )
    if corpus_of(one, "exemplars.h5") == corpus_of(two, "exemplars.h5"):
        raise InputError(
            f"{two.results}: made of the same corpus as {one.results}: labels hold on other data or"
            " not at all (`descry diff` compares two models on one corpus)"
        )
    for run in (one, two):
        if end not in read_ends(run.path("exemplars.h5")):
            raise InputError(f"{run.path('exemplars.h5')}: no sets of the {end} activations")
    ids = [run.corpus["id"].to_pylist() for run in (one, two)]
    known = set(ids[0])
    again = np.array([name in known for name in ids[1]], dtype=bool)
    if again.all():
        raise InputError(f"{two.results}: all its sentences are in the corpus of {one.results}")
    found = [d for d in differences(one, two) if d.kind == "parameter"]
    telling = [d for d in found if d.what.partition(".")[0] not in _OF_CORPUS]
    return CorpusPair(one, two, again, [d for d in telling if d.stage != "label"])


def _same_model(one: Run, two: Run, made: JSON, there: JSON) -> None:
    """Refuse neurons that are not the same: of other weights, another site or dictionary."""
    for key in _MODEL:
        if made.get(key) != there.get(key):
            was, now = (str(of.get(key) or "none")[:12] for of in (made, there))
            raise InputError(
                f"{two.results}: of another model ({key} {now}) than {one.results} ({was}): a label"
                " can only be tested on its own neuron"
            )
    if not same_neurons(made, there) or one.neurons.width != two.neurons.width:
        sites = [str(of.get("site")) for of in (there, made)]
        raise InputError(
            f"{two.results}: of other neurons ({sites[0]}) than {one.results} ({sites[1]}): a label"
            " can only be tested on its own neuron"
        )
    if not set(one.neurons.layers) & set(two.neurons.layers):
        raise InputError(f"{two.results}: has no layer in common with {one.results}")
