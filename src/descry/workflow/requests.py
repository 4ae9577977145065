"""What the present params and results ask, of whom: as the stages do, but asking nothing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from descry.annotators.base import NO_FRAME, Annotator, Frame
from descry.annotators.client import go_on, stored_frame
from descry.annotators.factory import create
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import P2, SIMULATION, Prompt, Prompts, intruder, p2
from descry.evaluation.scorer_items import prompts_of
from descry.io.hashing import JSON
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.labels.results import read_labels
from descry.stages import annotate, describe, score
from descry.stages.annotate import Scoped
from descry.stages.score import Score
from descry.workflow.params import Params


@dataclass(frozen=True)
class Questions:
    """All prompts of one annotator in one stage.

    Attributes:
        known: whether these are the very prompts; else a stand-in of the same number.
    """

    stage: str
    annotator: Annotator
    frame: Frame
    prompts: Sequence[Prompt]
    known: bool = True

    def keys(self) -> Iterator[str]:
        """The cache key of every prompt."""
        identity = self.annotator.identity
        return (identity.request(prompt, self.frame).key for prompt in self.prompts)


def questions(params: Params, results: Path, cache: PromptCache) -> Iterator[Questions]:
    """What `describe`, `annotate`, `judge` and `score` would ask.

    Raises:
        InputError: there is no corpus yet.
    """
    sentences = read_table(results / "corpus.parquet", "corpus")
    ids, texts = sentences["id"].to_pylist(), sentences["text"].to_pylist()
    yield from _topics(params, texts, cache)
    yield from _verdicts(params, results, ids, texts, cache)
    yield from _scores(params, results, texts, cache)


def _frame(cache: PromptCache, annotator: Annotator) -> Frame:
    go_on(cache, annotator)
    return stored_frame(cache, annotator.identity) or NO_FRAME


def _topics(params: Params, texts: list[str], cache: PromptCache) -> Iterator[Questions]:
    section = params.describe
    limits = section.max_descriptors, section.max_words
    workers = [
        create(spec.model_dump(), "p1", max_descriptors=section.max_descriptors)
        for spec in section.annotators
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
    phrases, known = _phrases(params, results)
    for stage, section in (("annotate", params.annotate), ("judge", params.judge)):
        if section.annotator is not None:
            worker = create(section.annotator.model_dump(), "p2", descriptors=phrases, corpus=texts)
            asked, settled = _asked(section, params, results, ids, texts)
            prompts = p2(asked, list(phrases))
            yield Questions(stage, worker, _frame(cache, worker), prompts, known and settled)


def _phrases(params: Params, results: Path) -> tuple[dict[str, dict[str, int]], bool]:
    """The descriptors' phrases. Without clusters yet: as many as there may be at most; False."""
    path = results / "descriptors.json"
    if not path.is_file():
        return {f"descriptor {i}": {} for i in range(params.cluster.max_descriptors)}, False
    return {e["name"]: e["phrases"] for e in read_json(path, "cluster")["descriptors"]}, True


def _asked(
    section: Scoped, params: Params, results: Path, ids: list[str], texts: list[str]
) -> tuple[list[str], bool]:
    """The sentences asked about. Without exemplars yet: as many as there may be at most; False."""
    exemplars = results / "exemplars.h5"
    if section.scope == "exemplars" and not exemplars.is_file():
        return texts[: _most(section, params, len(texts))], False
    which = annotate.scope_of(section, ids, exemplars)
    return [text for text, asked in zip(texts, which.asked, strict=True) if asked], True


def _most(section: Scoped, params: Params, sentences: int) -> int:
    if section.neurons is None:
        return sentences
    neurons = section.neurons if isinstance(section.neurons, int) else len(section.neurons)
    size = math.ceil(sentences * params.exemplars.top_percent / 100)
    ends = 2 if params.exemplars.lowest else 1
    # A neuron has at each end a set of the whole corpus and one of each half.
    return min(sentences, neurons * ends * (2 * size + 1) + section.sample)


MANY = 9_216  # neurons of a model whose number is not known yet: those of BERT-base


def _scores(
    params: Params, results: Path, texts: list[str], cache: PromptCache
) -> Iterator[Questions]:
    section = params.score
    if section.annotator is None:
        return
    phrases, known = _phrases(params, results)
    labels, exemplars = results / "labels.parquet", results / "exemplars.h5"
    known = known and labels.is_file() and exemplars.is_file()
    # Without a matrix nothing is simulated.
    kept = params.activations.store == "matrix"
    asked = [name for name in section.scorers if kept or name != "simulation"]
    workers = score.annotators(section.annotator, asked, phrases, texts)
    tried = (
        score.tried_out(section, results / "corpus.parquet", read_labels(labels), exemplars)
        if known
        else []
    )
    for name, worker in workers.items():
        prompts: Sequence[Prompt] = prompts_of(name, tried, texts)
        prompts = prompts if known else _stand_ins(name, section, texts)
        if prompts:
            yield Questions(f"score {name}", worker, _frame(cache, worker), prompts, known)


def _stand_ins(scorer: str, section: Score, texts: list[str]) -> Sequence[Prompt]:
    """As many prompts as there may be at most, of about their length."""
    neurons = section.neurons if section.neurons is not None else MANY
    number = len(neurons) if isinstance(neurons, list) else neurons
    text = sorted(texts, key=len)[len(texts) // 2]
    if scorer == "intruder":
        list_of = intruder([text] * (section.distractors + 1))
        names = [f"descriptor {i}" for i in range(number * section.sentences)]
        return Prompts(list_of.task, list_of.template, [list_of.sentence], names)
    # Of two kinds, each with two descriptions.
    names = [f"descriptor {i}" for i in range(number * section.sentences * 4)]
    task = score.TASKS[scorer]
    return Prompts(task, P2 if task == "p2" else SIMULATION, [text], names)
