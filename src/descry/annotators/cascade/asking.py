"""The proxy and the oracle of a cascade, asked through the prompt cache."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from descry.annotators.annotations import MISSING, AnnotationsWriter
from descry.annotators.base import HUMAN_DTYPE, NO_FRAME, Annotator
from descry.annotators.cascade.decide import Decided, decide, foresee, strengths
from descry.annotators.cascade.search import UNASKED
from descry.annotators.cascade.spec import Cascade
from descry.annotators.chunks import CHUNK
from descry.annotators.client import AskOptions, go_on, stored_frame
from descry.annotators.cost import cost, survey
from descry.annotators.counts import Counts
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import Prompt, Prompts
from descry.annotators.verdicts import verdicts
from descry.errors import InputError
from descry.io.hashing import JSON


class Cells(Sequence[Prompt]):
    """Some prompts, each made when it is needed.

    Attributes:
        places: of them among `prompts`, int64 ascending.
    """

    def __init__(self, prompts: Prompts, places: np.ndarray) -> None:
        self.prompts, self.places = prompts, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        return self.prompts[int(self.places[index])]


class WantedError(InputError):
    """People have not answered what a cascade asks them next.

    Attributes:
        cells: that are wanted: places of their prompts, int64.
        descriptors: how many there are of each sentence.
    """

    def __init__(self, name: str, cells: np.ndarray, descriptors: int) -> None:
        super().__init__(
            f"annotate: {len(cells):,} answers of {name} are wanted next: `descry annotate-sheet"
            " FILE --cascade` writes a sheet of them"
        )
        self.cells, self.descriptors = cells, descriptors


@dataclass
class Said:
    """An annotator's answers; none at first.

    Attributes:
        answer: int8 [sentences, descriptors], as B has it, but -2 where nobody was asked.
        odds: float32 of the same shape; NaN where there are words or nothing.
        others: answers of which another word is likelier.
    """

    shape: tuple[int, int]
    answer: np.ndarray = field(init=False)
    odds: np.ndarray = field(init=False)
    others: int = 0

    def __post_init__(self) -> None:
        self.answer = np.full(self.shape, UNASKED, dtype=np.int8)
        self.odds = np.full(self.shape, np.nan, dtype=np.float32)

    @property
    def strength(self) -> np.ndarray:
        """The numbers by which a proxy's cells are ordered."""
        return strengths(self.answer, self.odds)

    def ask(
        self,
        how: AskOptions,
        who: Annotator,
        prompts: Prompts,
        cells: np.ndarray,
        min_mass: float,
        tally: Counts,
    ) -> np.ndarray:
        """Ask about some cells; their answers, int8."""
        answer, odds = self.answer.reshape(-1), self.odds.reshape(-1)
        answer[cells] = MISSING
        asked = Cells(prompts, cells)
        for found in verdicts(how, who, asked, min_mass, tally, in_words=True):
            places = cells[found.places]
            answer[places], odds[places] = found.yes, found.odds
            self.others += int((~found.greedy).sum())
        return np.asarray(answer[cells])


def ask_in_cascade(
    params: Cascade,
    how: AskOptions,
    who: tuple[Annotator, Annotator],
    prompts: Prompts,
    lots: np.ndarray,
    min_mass: float,
    tallies: tuple[Counts, Counts],
) -> tuple[Said, Said, Decided]:
    """Ask proxy and oracle, and decide whose answer counts.

    Args:
        who: the proxy and the oracle.
        prompts: every sentence with every descriptor.
        lots: as `decide` takes them.
        tallies: take the counts of the two.

    Raises:
        WantedError: the oracle are people, who have not answered all that is asked next.
    """
    proxy, oracle = Said(lots.shape), Said(lots.shape)
    proxy.ask(how, who[0], prompts, np.arange(len(prompts)), min_mass, tallies[0])
    stored = StoredAnswers(how.cache, who[1], prompts, min_mass)
    people, tally = who[1].identity.dtype == HUMAN_DTYPE, tallies[1]
    again = replace(how, again=True)  # shards have asked the proxy alone

    def ask(cells: np.ndarray) -> np.ndarray:
        if not how.replay and (people or not tally.whole):
            missing = cells[stored(cells) == UNASKED]
            if people and len(missing):
                raise WantedError(who[1].identity.name, missing, lots.shape[1])
            if len(missing):
                foreseen, _ = foresee(params, proxy.strength, lots, stored)
                tally.forecast = _price(how, who[1], Cells(prompts, foreseen))
        return oracle.ask(again, who[1], prompts, cells, min_mass, tally)

    return proxy, oracle, decide(params, proxy.strength, lots, ask)


class StoredAnswers:
    """An oracle that answers only from the cache."""

    def __init__(
        self, cache: PromptCache, who: Annotator, prompts: Prompts, min_mass: float
    ) -> None:
        go_on(cache, who)
        self._cache, self._prompts, self._min_mass = cache, prompts, min_mass
        self._who, self._frame = who.identity, stored_frame(cache, who.identity) or NO_FRAME

    def __call__(self, cells: np.ndarray) -> np.ndarray:
        """int8 [cells]: as B has it, -2 where there is nothing."""
        found = np.full(len(cells), UNASKED, dtype=np.int8)
        for start in range(0, len(cells), CHUNK):
            part = cells[start : start + CHUNK]
            keys = [self._who.request(p, self._frame).key for p in Cells(self._prompts, part)]
            answers = self._cache.answers(keys)
            for place, key in enumerate(keys, start):
                if key in answers:
                    found[place] = self._word(answers[key])
        return found

    def strength(self, shape: tuple[int, int]) -> np.ndarray | None:
        """What a cascade orders cells by, if all answers are there: float32 of that shape."""
        said = Said(shape)
        answer, odds = said.answer.reshape(-1), said.odds.reshape(-1)
        for start in range(0, answer.size, CHUNK):
            part = np.arange(start, min(start + CHUNK, answer.size))
            keys = [self._who.request(p, self._frame).key for p in Cells(self._prompts, part)]
            answers = self._cache.answers(keys)
            if len(answers) < len(set(keys)):
                return None
            for place, key in zip(part.tolist(), keys, strict=True):
                try:
                    verdict = parse_verdict(answers[key], self._min_mass)
                except UnparsableError:
                    answer[place] = MISSING
                    continue
                answer[place], odds[place] = verdict.yes, verdict.odds
        return said.strength

    def _word(self, response: JSON) -> int:
        try:
            return int(parse_verdict(response, self._min_mass).yes)
        except UnparsableError:
            return MISSING


def _price(how: AskOptions, who: Annotator, asked: Cells) -> str:
    """What the oracle is about to be asked, in words."""
    frame = stored_frame(how.cache, who.identity) or NO_FRAME
    found, whole = survey(how.cache, who.identity, frame, asked), len(asked.prompts)
    spent = "" if who.price is None else f", about ${cost(found.tokens, 0, who.price):.2f}"
    return (
        f"{who.identity.name}: oracle of a cascade: about {len(asked):,} of {whole:,} answers"
        f" ({len(asked) / whole:.0%}); to ask: about {found.missing:,} (about {found.tokens:,}"
        f" tokens{spent})"
    )


def put(b: AnnotationsWriter, rows: np.ndarray, said: tuple[Said, Said], decided: Decided) -> None:
    """Put the answers of a cascade into B.

    Args:
        rows: of the sentences that were asked about.
        said: by the proxy and by the oracle.
    """
    proxy, oracle = said
    mine, strength = decided.by_proxy, proxy.strength
    for start in range(0, len(rows), CHUNK):
        here = slice(start, start + CHUNK)
        by_proxy = mine[here] & (proxy.answer[here] >= 0)
        row, column = np.nonzero(by_proxy | (oracle.answer[here] >= 0))
        at = row + start, column
        guessed = strength[at] > decided.cut[column]
        theirs = mine[at]
        yes = np.where(theirs, guessed, oracle.answer[at] == 1)
        odds = np.where(theirs, proxy.odds[at], oracle.odds[at])
        b.put(rows[at[0]], column, yes, odds)


def by_proxy(sentences: int, rows: np.ndarray, proxy: Said, decided: Decided) -> np.ndarray:
    """The cells of B that the proxy answered: bool [sentences of the corpus, descriptors]."""
    found = np.zeros((sentences, decided.known.shape[1]), dtype=bool)
    found[rows] = decided.by_proxy & (proxy.answer >= 0)
    return found
