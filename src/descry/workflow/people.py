"""People's answers about a run's labels: the sheet of questions, and the filled sheets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from descry.activations.exemplar_files import read_exemplars, read_tokens
from descry.annotators.sheet import read_words, write_cells
from descry.corpus.covariates import TOKENS, covariates
from descry.errors import InputError
from descry.evaluation.people import Design, Verdict, design, verdict
from descry.evaluation.raters import Agreed, agreed
from descry.evaluation.relabelled import Labelling
from descry.labels.strata import Matching
from descry.run import Run


class Drawn(NamedTuple):
    """How labels and sentences are drawn: see `evaluation.people.design`."""

    labels: int
    each: int
    seed: int


class FromPeople(NamedTuple):
    """The results of filled sheets, and the questions that nobody answered."""

    agreed: Agreed
    verdict: Verdict
    unanswered: int


def design_of(run: Run, how: Drawn) -> Design:
    """Draw the questions about the labels of a run.

    Raises:
        InputError: there is no label.
    """
    labels, b = run.label_arrays(), run.annotations
    if not labels.splits["all"].assigned.any():
        raise InputError(f"{run.path('labels.parquet')}: no neuron has a label to ask people about")
    matching = Matching.of(labels.made["params"])
    exemplars = run.path("exemplars.h5")
    tokens = read_tokens(exemplars) if TOKENS in matching.names else None
    of_sentences = covariates(run.path(run.units), matching.names, tokens)
    every = np.ones(len(b.asked), dtype=bool)
    strata = Labelling.of(labels.made["params"], b, every, of_sentences).strata
    return design(labels, read_exemplars(exemplars, "all"), b, strata, *how)


def write_design(run: Run, sheet: Path, how: Drawn) -> dict[str, int]:
    """Write a sheet of the questions, the same for every rater."""
    found = design_of(run, how)
    if not found.cells:
        raise InputError("--labels: nothing was drawn: ask for more labels, or set another --seed")
    return {"labels": len(found.asked)} | write_cells(
        run.path(run.units), sheet, found.cells, how.seed
    )


def read_people(run: Run, sheets: Sequence[Path], how: Drawn) -> FromPeople:
    """Read the raters' sheets, one for each rater.

    Raises:
        InputError: a sheet is another one than these options draw from these results.
    """
    found = design_of(run, how)
    ids = run.annotations.ids
    questions = [(ids[row], name) for row, name in found.cells]
    answers = np.full((len(sheets), len(questions)), -1, dtype=np.int8)
    for rater, sheet in enumerate(sheets):
        words = read_words(sheet)
        if words.keys() != set(questions):
            raise InputError(
                f"{sheet}: not the sheet that --labels {how.labels} --each {how.each} --seed"
                f" {how.seed} draws from {run.results}: name the options it was written with, and"
                " the results"
            )
        answers[rater] = [words[question] for question in questions]
    known = answers >= 0
    number = known.sum(axis=0)
    share = np.where(known, answers, 0).sum(axis=0) / np.maximum(number, 1)
    said = {cell: float(share[i]) for i, cell in enumerate(found.cells) if number[i]}
    return FromPeople(agreed(answers), verdict(found, said), int((number == 0).sum()))


def as_json(found: FromPeople, sheets: Sequence[Path]) -> dict[str, Any]:
    """All of it."""
    from descry.evaluation.people import as_rows

    def with_interval(estimate: Any) -> dict[str, Any]:
        low, high = estimate.interval()
        return {"value": estimate.value, "low": low, "high": high, "labels": estimate.drawn}

    return {
        "agreement": {
            "questions": found.agreed.questions,
            "alpha": found.agreed.alpha._asdict(),
            "kappa": [
                {"raters": [sheets[i].name, sheets[k].name], **value._asdict()}
                for (i, k), value in found.agreed.kappas.items()
            ],
        },
        "f": with_interval(found.verdict.f),
        "supported": with_interval(found.verdict.supported),
        "unanswered": found.unanswered,
        "labels": as_rows(found.verdict),
    }
