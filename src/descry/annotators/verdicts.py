"""The answers to p2, slab by slab, as the arrays that B is made of."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from descry.annotators.base import Annotator
from descry.annotators.client import AskOptions, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompts import Prompt
from descry.errors import InputError
from descry.io.hashing import JSON

IN_WORDS = "answers in words have no log-odds"


class Verdicts(NamedTuple):
    """Answers that are one.

    Attributes:
        places: of their prompts, int64 [answers].
        yes, odds, greedy: fields of `parsing.answers.Verdict`: bool, float32 and bool [answers].
    """

    places: np.ndarray
    yes: np.ndarray
    odds: np.ndarray
    greedy: np.ndarray


def verdicts(
    how: AskOptions,
    who: Annotator,
    prompts: Sequence[Prompt],
    min_mass: float,
    tally: Counts,
    *,
    in_words: bool,
) -> Iterator[Verdicts]:
    """Ask, and parse: a slab's answers at a time, without those that are none.

    Args:
        min_mass: as `parse_verdict` takes it.
        in_words: whether answers in words will do.

    Raises:
        InputError: there is an answer in words, which are not `in_words`.
    """

    def check(response: JSON) -> None:
        parse_verdict(response, min_mass)

    for chunk in answer_prompts(how, who, prompts, check, tally):
        said = [place for place, response in enumerate(chunk.responses) if response is not None]
        found = [parse_verdict(chunk.responses[place], min_mass) for place in said]
        if not in_words and any(math.isnan(verdict.odds) for verdict in found):
            raise InputError(
                f"{who.identity.name}: {IN_WORDS}: set {how.stage}.centre to null and"
                f" {how.stage}.threshold to 0 in params.yaml; the answers are kept"
            )
        yield Verdicts(
            chunk.start + np.array(said, dtype=np.int64),
            np.array([verdict.yes for verdict in found], dtype=bool),
            np.array([verdict.odds for verdict in found], dtype=np.float32),
            np.array([verdict.greedy for verdict in found], dtype=bool),
        )
