"""The answers that labels rest on: their prompts and keys, and what the cache has of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from descry.annotators.annotations import Annotations
from descry.annotators.base import Frame, Identity
from descry.annotators.cascade.decide import strength
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import Request
from descry.annotators.prompts import NO, YES, Prompt, p1, p2
from descry.annotators.templates import Template
from descry.io.hashing import JSON
from descry.provenance.audit.evidence import Answer
from descry.provenance.audit.project import Project

SAYS = {1: YES, 0: NO}  # in B


class Asked(NamedTuple):
    """A prompt to an annotator, and what the result says that it answered.

    Attributes:
        key: as the result recorded it; None where it records none, and it follows from the rest.
        agrees: whether a response is the one that the result has.
        taken_off: as `evidence.Answer` has it; `cut` is its `yes_above`.
    """

    prompt: Prompt
    who: Identity
    frame: Frame
    says: str | None
    score: float | None
    key: str | None
    agrees: Callable[[JSON], bool]
    taken_off: float | None = None
    cut: float | None = None

    @property
    def request(self) -> Request:
        """The request that the annotator was sent."""
        return self.who.request(self.prompt, self.frame)


class Verdicts:
    """The answers behind B."""

    def __init__(self, annotations: Annotations) -> None:
        self.b = annotations
        self._odds: dict[int, np.ndarray] = {}
        self.min_mass = float(annotations.made["params"].get("min_mass", 0))

    def asked(self, text: str, row: int, column: int) -> Asked:
        """The prompt behind a cell of B, about the sentence of that row."""
        if column not in self._odds:
            self._odds[column] = self.b.odds(self.b.descriptors[column])
        answer, score = int(self.b.at(np.array([row]))[0, column]), float(self._odds[column][row])

        off = float(self.b.offsets.of(column)[row]) if self.b.offsets else None
        who, frame, cut = self.b.annotator, self.b.frame, None
        if (proxy := self.b.proxy) and proxy.cells.at(np.array([row]))[column, 0]:
            who, frame, cut = proxy.annotator, proxy.frame, float(proxy.cut[column])

        def agrees(response: JSON) -> bool:
            try:
                verdict = parse_verdict(response, self.min_mass)
            except UnparsableError:
                return False
            if cut is not None:
                return int(np.float32(strength(verdict)) > cut) == answer
            return int(verdict.yes if off is None else verdict.odds > off) == answer

        prompt = p2([text], [self.b.descriptors[column]], self.b.template)[0]
        says, known = SAYS.get(answer), None if np.isnan(score) else score
        return Asked(prompt, Identity(**who), frame, says, known, None, agrees, off, cut)


class Topics:
    """The answers behind the raw descriptors.

    Attributes:
        limits: descriptors of a sentence and words of a descriptor, at the most.
        template: of the prompts.
        who: the annotators and their frames, by name.
        first: that of them who is asked for the examples where none are given.
    """

    def __init__(self, made: JSON) -> None:
        """Add what made candidates.parquet."""
        params, (head, middle, tail) = made["params"], made["template"]
        self.limits = params["max_descriptors"], params["max_words"]
        self.template: Template = head, middle, tail
        self.who: dict[str, tuple[Identity, Frame]] = {}
        for spec in made["annotators"]:
            who = {name: value for name, value in spec.items() if name != "frame"}
            self.who[spec["name"]] = Identity(**who), (spec["frame"][0], spec["frame"][1])
        self.first = self.who[made["annotators"][0]["name"]]

    def prompt(self, text: str) -> Prompt:
        """The question about a sentence."""
        asked: Prompt = p1([text], self.template)[0]
        return asked

    def phrases(self, response: JSON) -> list[str]:
        """The raw descriptors that a response names; none where it cannot be used."""
        try:
            return parse_topics(response, *self.limits)
        except UnparsableError:
            return []

    def asked(self, text: str, annotator: str, phrase: str, key: str) -> Asked:
        """The prompt of which an annotator answered a phrase, with the key that was recorded."""

        def agrees(response: JSON) -> bool:
            return phrase in self.phrases(response)

        return Asked(self.prompt(text), *self.who[annotator], phrase, None, key, agrees)


def answers(project: Project, asked: Sequence[Asked]) -> list[Answer]:
    """The evidence for each; the cache is looked into once."""
    requests = [it.request for it in asked]
    keys = [it.key or request.key for it, request in zip(asked, requests, strict=True)]
    stored = project.records(sorted(set(keys)))
    each = zip(asked, requests, keys, strict=True)
    return [_answer(it, request, key, stored.get(key)) for it, request, key in each]


def _answer(asked: Asked, request: Request, key: str, record: JSON | None) -> Answer:
    """The evidence, with what the cache's record has where there is one."""
    known = record or {"response": None, "made": None, "origin": {}}
    return Answer(
        says=asked.says,
        score=asked.score,
        taken_off=asked.taken_off,
        yes_above=asked.cut,
        prompt=request.prompt,
        key=key,
        annotator=asked.who.as_json(),
        in_cache=record is not None,
        follows=request.key == key,
        agrees=None if record is None else asked.agrees(record["response"]),
        response=known["response"],
        made=known["made"],
        versions=known["origin"].get("versions"),
        server=known["origin"].get("server"),
        cut=known.get("cut", 0),
    )
