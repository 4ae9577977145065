"""What the present params and results ask, of whom: as the stages do, but asking nothing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from descry.asking import stored_frame
from descry.cache import PromptCache
from descry.labellers import JSON, NO_FRAME, Frame, Labeller, create
from descry.params import Params, Scoped
from descry.prompts import Prompt, UnparsableError, p2, parse_topics
from descry.stages import annotate, describe
from descry.storage import read_json, read_table


@dataclass(frozen=True)
class Questions:
    """All prompts of one labeller in one stage.

    Attributes:
        known: whether these are the very prompts; else a stand-in of the same number.
    """

    stage: str
    labeller: Labeller
    frame: Frame
    prompts: Sequence[Prompt]
    known: bool = True

    def keys(self) -> Iterator[str]:
        """The cache key of every prompt."""
        identity = self.labeller.identity
        return (identity.request(prompt, self.frame).key for prompt in self.prompts)


def questions(params: Params, results: Path, cache: PromptCache) -> Iterator[Questions]:
    """What `describe`, `annotate` and `judge` would ask.

    Raises:
        InputError: there is no corpus yet.
    """
    sentences = read_table(results / "corpus.parquet", "corpus")
    ids, texts = sentences["id"].to_pylist(), sentences["text"].to_pylist()
    yield from _topics(params, texts, cache)
    yield from _verdicts(params, results, ids, texts, cache)


def _frame(cache: PromptCache, labeller: Labeller) -> Frame:
    return stored_frame(cache, labeller.identity) or NO_FRAME


def _topics(params: Params, texts: list[str], cache: PromptCache) -> Iterator[Questions]:
    section = params.describe
    limits = section.max_descriptors, section.max_words
    workers = [
        create(spec.model_dump(), "p1", max_descriptors=section.max_descriptors)
        for spec in section.labellers
    ]
    shot = section.example.model_dump() if section.example else None
    if shot is None:
        prompts = describe.zero_shot(texts, section.seed, section.max_descriptors)
        first = Questions("example", workers[0], _frame(cache, workers[0]), prompts)
        yield first
        response = cache.answers(list(first.keys()))
        shot = {"sentence": prompts[0].sentence, "concepts": _said(response, limits)}
    asked = describe.with_example(texts, section.max_descriptors, shot)
    for worker in workers:
        known = bool(shot["concepts"])
        yield Questions("describe", worker, _frame(cache, worker), asked, known)


def _said(response: dict[str, JSON], limits: tuple[int, int]) -> list[str]:
    try:
        return [phrase for r in response.values() for phrase in parse_topics(r, *limits)]
    except UnparsableError:
        return []


def _verdicts(
    params: Params, results: Path, ids: list[str], texts: list[str], cache: PromptCache
) -> Iterator[Questions]:
    path = results / "descriptors.json"
    known = path.is_file()
    # Without clusters yet: as many descriptors as there may be at most.
    phrases: dict[str, dict[str, int]] = {
        f"descriptor {i}": {} for i in range(params.cluster.max_descriptors)
    }
    if known:
        phrases = {e["name"]: e["phrases"] for e in read_json(path, "cluster")["descriptors"]}
    for stage, section in (("annotate", params.annotate), ("judge", params.judge)):
        if section.labeller is not None:
            worker = create(section.labeller.model_dump(), "p2", descriptors=phrases, corpus=texts)
            asked, settled = _asked(section, params, results, ids, texts)
            prompts = p2(asked, list(phrases))
            yield Questions(stage, worker, _frame(cache, worker), prompts, known and settled)


def _asked(
    section: Scoped, params: Params, results: Path, ids: list[str], texts: list[str]
) -> tuple[list[str], bool]:
    """The sentences asked about. Without exemplars yet: as many as there may be at most; False."""
    exemplars = results / "exemplars.h5"
    if section.scope == "exemplars" and not exemplars.is_file():
        return texts[: _most(section, params, len(texts))], False
    scope = partial(annotate.scope_of, ids, exemplars, section.scope)
    which = scope(section.neurons, section.sample, section.seed)
    return [text for text, asked in zip(texts, which.asked, strict=True) if asked], True


def _most(section: Scoped, params: Params, sentences: int) -> int:
    if section.neurons is None:
        return sentences
    neurons = section.neurons if isinstance(section.neurons, int) else len(section.neurons)
    size = math.ceil(sentences * params.exemplars.top_percent / 100)
    ends = 2 if params.exemplars.lowest else 1
    # A neuron has at each end a set of the whole corpus and one of each half.
    return min(sentences, neurons * ends * (2 * size + 1) + section.sample)
