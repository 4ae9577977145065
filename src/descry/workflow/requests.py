"""The forecast: what the present params and results ask of annotators, and its cost.

The prompts are made by the stages' own code.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from descry.annotators.base import NO_FRAME, Annotator, Frame, Price
from descry.annotators.batch_job import Batching
from descry.annotators.cascade.asking import Cells, StoredAnswers
from descry.annotators.cascade.decide import foresee, lots
from descry.annotators.cascade.spec import Cascade
from descry.annotators.client import go_on, stored_frame
from descry.annotators.cost import cost, halved, survey
from descry.annotators.factory import create
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import Prompt, Prompts, p1, p2
from descry.annotators.templates import p1_template, p2_template
from descry.corpus.units import POSITIONS, SENTENCES, stand_for_all
from descry.errors import InputError
from descry.evaluation.scorer_items import CLOSE, prompts_of
from descry.io.hashing import JSON
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.labels.results import read_labels
from descry.stages import annotate, describe, score
from descry.workflow.params import Params

Counts = dict[str, tuple[int, int, int]]  # by origin: answers, tokens in and out


@dataclass(frozen=True)
class Questions:
    """All prompts of one annotator in one stage.

    Attributes:
        known: whether these are the very prompts; else stand-ins, as many as there may be at most.
        about: whether they are not as many as there may be, but as many as are expected.
        after: the stage without whose results not even their number is known: there are none here.
    """

    stage: str
    annotator: Annotator
    frame: Frame
    prompts: Sequence[Prompt]
    known: bool = True
    after: str | None = None
    about: bool = False

    def keys(self) -> Iterator[str]:
        """The cache key of every prompt."""
        identity = self.annotator.identity
        return (identity.request(prompt, self.frame).key for prompt in self.prompts)


def questions(params: Params, results: Path, cache: PromptCache) -> Iterator[Questions]:
    """Return the prompts of stages describe, annotate, judge and score.

    Raises:
        InputError: there is no corpus yet.
    """
    units = results / (POSITIONS if params.activations.unit == "token" else SENTENCES)
    sentences, sampled = read_table(units, "corpus"), stand_for_all(units)
    ids, texts = sentences["id"].to_pylist(), sentences["text"].to_pylist()
    standing = texts if sampled is None else list(compress(texts, sampled))
    yield from _topics(params, standing, cache)
    yield from _verdicts(params, results, ids, texts, cache, sampled)
    yield from _scores(params, results, units, texts, cache)


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
    given = section.model_dump()["examples"]
    examples = describe.by_hand(given)
    if examples is None:
        drawn = describe.drawn(texts, given, section.seed)
        prompts = p1(drawn, p1_template(limits[0], (), section.template))
        first = Questions("examples", workers[0], _frame(cache, workers[0]), prompts)
        yield first
        keys = list(first.keys())
        said = cache.answers(keys)
        examples = [
            {"sentence": sentence, "concepts": _said(said.get(key), limits)}
            for sentence, key in zip(prompts.sentences, keys, strict=True)
        ]
    known = all(shot["concepts"] for shot in examples)
    asked = p1(texts, p1_template(limits[0], examples, section.template))
    for worker in workers:
        yield Questions("describe", worker, _frame(cache, worker), asked, known)


def _said(response: JSON, limits: tuple[int, int]) -> list[str]:
    try:
        return parse_topics(response, *limits)
    except UnparsableError:
        return []


def _verdicts(
    params: Params,
    results: Path,
    ids: list[str],
    texts: list[str],
    cache: PromptCache,
    sampled: np.ndarray | None,
) -> Iterator[Questions]:
    phrases, known = _phrases(params, results)
    exemplars = results / "exemplars.h5"
    for stage, section in (("annotate", params.annotate), ("judge", params.judge)):
        if section.annotator is None:
            continue
        worker = create(section.annotator.model_dump(), "p2", descriptors=phrases, corpus=texts)
        frame = _frame(cache, worker)
        if section.scope == "exemplars" and not exemplars.is_file():
            yield Questions(stage, worker, frame, [], False, "exemplars")
            continue
        which = annotate.scope_of(section, ids, exemplars, sampled)
        asked = [text for text, asked in zip(texts, which.asked, strict=True) if asked]
        prompts = p2(asked, list(phrases), p2_template(section.shots, section.template))
        cascade = params.annotate.cascade if stage == "annotate" else None
        if cascade is None:
            yield Questions(stage, worker, frame, prompts, known)
        else:
            of_rows = [ids[row] for row in np.flatnonzero(which.asked).tolist()]
            proxy = create(cascade.proxy.model_dump(), "p2", descriptors=phrases, corpus=texts)
            workers = proxy, worker
            yield from _in_cascade(
                cascade, section.min_mass, workers, prompts, of_rows, cache, known
            )


def _in_cascade(
    cascade: Cascade,
    min_mass: float,
    workers: tuple[Annotator, Annotator],
    prompts: Prompts,
    ids: list[str],
    cache: PromptCache,
    known: bool,
) -> Iterator[Questions]:
    """All requests to the proxy, and those to the oracle as far as the cascade's need is known."""
    proxy, oracle = workers
    yield Questions("annotate", proxy, _frame(cache, proxy), prompts, known)
    frame, shape = _frame(cache, oracle), (len(ids), len(prompts.descriptors))
    said = StoredAnswers(cache, proxy, prompts, min_mass).strength(shape) if known else None
    if said is None:
        most = round(len(prompts) * (cascade.budget or 1))
        some = Cells(prompts, np.arange(most))
        yield Questions("annotate", oracle, frame, some, False)
        return
    stored = StoredAnswers(cache, oracle, prompts, min_mass)
    drawn = lots(ids, prompts.descriptors, cascade.seed)
    cells, sure = foresee(cascade, said, drawn, stored)
    yield Questions("annotate", oracle, frame, Cells(prompts, cells), sure, about=not sure)


def _phrases(params: Params, results: Path) -> tuple[dict[str, dict[str, int]], bool]:
    """The descriptors' phrases. Without clusters yet: as many as there may be at most; False."""
    path = results / "descriptors.json"
    if not path.is_file():
        return {f"descriptor {i}": {} for i in range(params.cluster.max_descriptors)}, False
    return {e["name"]: e["phrases"] for e in read_json(path, "cluster")["descriptors"]}, True


def _scores(
    params: Params, results: Path, units: Path, texts: list[str], cache: PromptCache
) -> Iterator[Questions]:
    section = params.score
    if section.annotator is None:
        return
    phrases, known = _phrases(params, results)
    labels, exemplars = results / "labels.parquet", results / "exemplars.h5"
    # Without a matrix nothing is simulated, and nobody knows what does not excite a neuron.
    kept = params.activations.store == "matrix"
    near = kept and params.facets.enabled and units.name == SENTENCES
    without = {"simulation": not kept, CLOSE: not near}
    asked = [name for name in section.scorers if not without.get(name)]
    workers = score.annotators(section.annotator, asked, phrases, texts)
    facets = results / "facets.parquet"
    if not (known and labels.is_file() and exemplars.is_file()):
        for name, worker in workers.items():
            yield Questions(f"score {name}", worker, _frame(cache, worker), [], False, "label")
        return
    if CLOSE in workers and not facets.is_file():
        worker = workers.pop(CLOSE)
        yield Questions(f"score {CLOSE}", worker, _frame(cache, worker), [], False, "facets")
    close = score.close_negatives(facets, units, exemplars) if CLOSE in workers else {}
    tried = score.tried_out(section, units, read_labels(labels), exemplars, close)
    for name, worker in workers.items():
        if prompts := prompts_of(name, tried, texts):
            yield Questions(f"score {name}", worker, _frame(cache, worker), prompts)


@dataclass(frozen=True)
class Forecast:
    """The forecast for one annotator in one stage.

    Attributes:
        tokens_in, tokens_out: of what is to be asked, by the average of its answers so far, else
            estimated from the characters (in) and unknown (out: None).
        seconds: at the rate of its last run; None where none was measured.
        dollars: of single prompts; None where no price is known.
        batch_dollars: of the same in batches; None where there are none, or no price is known.
        known: whether the prompts are known already; else their number is the most there may be,
            or `about` what is expected.
        after: the stage without whose results not even that is known.
    """

    stage: str
    annotator: str
    cached: int
    to_ask: int
    tokens_in: int
    tokens_out: int | None
    seconds: float | None
    dollars: float | None
    batch_dollars: float | None
    known: bool
    after: str | None
    about: bool = False


def forecast(
    params: Params, results: Path, cache: PromptCache, price: Price | None
) -> list[Forecast]:
    """Return what the present params would ask of every annotator.

    Args:
        price: in place of the annotators' own.
    """
    counts = cache.by_origin()  # goes through all answers: once
    return [_forecast(asked, cache, counts, price) for asked in questions(params, results, cache)]


def _forecast(
    asked: Questions, cache: PromptCache, counts: Counts, price: Price | None
) -> Forecast:
    identity = asked.annotator.identity
    found = survey(cache, identity, asked.frame, asked.prompts)
    rate = cache.runs().get(f"{asked.stage}:{identity.name}", {}).get("rate")
    tokens_in, tokens_out = found.tokens, None
    if mean := _mean_tokens(cache, counts, asked):
        tokens_in, tokens_out = round(found.missing * mean[0]), round(found.missing * mean[1])
    live, batch = _prices(asked, price)
    return Forecast(
        stage=asked.stage,
        annotator=identity.name,
        cached=len(asked.prompts) - found.missing,
        to_ask=found.missing,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=found.missing / rate if rate else None,
        dollars=cost(tokens_in, tokens_out or 0, live) if live else None,
        batch_dollars=cost(tokens_in, tokens_out or 0, batch) if batch else None,
        known=asked.known,
        after=asked.after,
        about=asked.about,
    )


def _prices(asked: Questions, price: Price | None) -> tuple[Price | None, Price | None]:
    """Of single prompts, and of the same in batches."""
    who = asked.annotator
    if not isinstance(who, Batching):
        return price or who.price, None
    batch = halved(price) if price else who.batch_price
    # The examples of p1 are asked one by one: all else waits for them.
    return price or who.live_price, None if asked.stage == "examples" else batch


def _mean_tokens(
    cache: PromptCache, counts: Counts, asked: Questions
) -> tuple[float, float] | None:
    """Tokens in and out of the annotator's answers to this task so far, on average."""
    if not asked.prompts:
        return None
    model, task = asked.annotator.identity.model, asked.prompts[0].task
    mine = [
        counts[name]
        for name, origin in cache.origins().items()
        if name in counts and origin["task"] == task and origin["model"] == model
    ]
    answers, tokens_in, tokens_out = map(sum, zip((0, 0, 0), *mine, strict=True))
    return (tokens_in / answers, tokens_out / answers) if tokens_in else None


def wanted_of_people(params: Params, results: Path, cache: Path) -> list[tuple[int, str]]:
    """Return what the cascade asks people next: rows of the corpus, and descriptors.

    Raises:
        InputError: there is no such cascade, or nothing is left to be asked.
    """
    section = params.annotate
    if section.cascade is None or section.annotator.kind != "human":
        raise InputError(
            "--cascade: annotate.cascade is null, or its oracle (annotate.annotator) is no person"
        )
    units = POSITIONS if params.activations.unit == "token" else SENTENCES
    files = {"corpus": results / units, "descriptors": results / "descriptors.json"}
    files |= {"exemplars": results / "exemplars.h5", "cache_folder": cache}
    if section.template is not None:
        files["template"] = Path(section.template)
    cells = annotate.wanted_next(section, **files, progress=lambda *_: None)
    if not cells:
        raise InputError("--cascade: every answer that it asks for is there: run the stages")
    return cells
