"""Samples: some activations from the model and some answers from the annotator, computed again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descry.activations.store import DATA
from descry.annotators.base import Annotator, Frame
from descry.annotators.client import go_on
from descry.annotators.factory import create
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.parsing.topics import parse_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import Prompt, p2
from descry.corpus.splits import draw
from descry.corpus.units import POSITIONS
from descry.evaluation.writes import Lens
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5
from descry.io.parquet import table_provenance, write_table
from descry.models.checkpoints import Checkpoint
from descry.models.heads import load_headed
from descry.provenance.audit.answers import Topics
from descry.provenance.audit.project import Project
from descry.provenance.verify.check import Link
from descry.stages.activations import extract_activations
from descry.stages.annotate import NEAR_TIE
from descry.stages.writes import writers_of
from descry.workflow.params import Params

# How far an activation may be from the recorded one, in deviations of its neuron: last digits
# depend on the batch, and in bfloat16 those are the third.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
LOGITS = 1e-3  # how far a token's deviations may be, of the recorded ones
ODDS = 0.25  # how far log-odds may be from those recorded


def drawn(names: Sequence[str], number: int, seed: int) -> list[int]:
    """Draw some of the names at random: their places, in order."""
    lots = sorted(range(len(names)), key=lambda i: draw(seed, f"verify:{names[i]}"))
    return sorted(lots[:number])


def weights(project: Project, params: Params) -> Link:
    """The target model's weights are those that the activations recorded.

    Raises:
        InputError: the model is not the one of its revision, or cannot be had.
    """
    target, made = params.activations.target, project.made["activations"]
    now = Checkpoint(target.model, target.revision, pickled=True).weights
    checked, then = "the target model's weights by their hash", made["weights"]
    fault = f"the weights of {target.model} have sha256 {now}, activations.h5 records {then}"
    return Link("activations", checked, None if now == then else fault)


def some_activations(
    project: Project, params: Params, scratch: Path, number: int, seed: int
) -> Link:
    """The activations of some sentences, by the stage itself on these alone."""
    table = project.read("corpus.parquet")
    rows = drawn(table["id"].to_pylist(), number, seed)
    few, found = scratch / "few.parquet", scratch / "few.h5"
    write_table(few, table.take(rows), table_provenance(table))
    section = params.activations.model_copy(update={"store": "matrix", "unit": "sentence"})
    extract_activations(section, corpus=few, activations=found, progress=lambda *_: None)
    checked = f"activations of {len(rows)} sentences, by the model"
    with reading_hdf5(found, "activations") as file:
        values = file[DATA][:].astype(np.float64)
        if project.units == POSITIONS:
            rows, places = _positions(project, rows, file["start"][:])
            values = values[places]
            checked = f"{checked}: {len(rows)} positions"
    bound = TOLERANCE[params.activations.dtype]
    return Link("activations", checked, _apart(project, rows, values, bound))


def _positions(
    project: Project, sentences: Sequence[int], start: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """The rows of positions in some sentences, and their places among those sentences' tokens.

    Args:
        start: int [sentences], where the tokens of each begin.
    """
    of, token = (project.corpus[name].to_numpy() for name in ("sentence", "token"))
    rows = np.flatnonzero(np.isin(of, sentences))
    return rows.tolist(), start[np.searchsorted(sentences, of[rows])] + token[rows]


def _apart(project: Project, rows: Sequence[int], values: np.ndarray, bound: float) -> str | None:
    """Where recorded activations are too far from the computed ones.

    Args:
        values: float64 [rows, layers, neurons], computed.
    """
    neurons = project.neurons
    with reading_hdf5(project.result("exemplars"), "exemplars") as file:
        deviation = np.maximum(file["distribution/deviation"][:], np.finfo(np.float32).tiny)
    recorded = _recorded(project, rows)
    far = np.abs(recorded - values) / deviation
    far[np.isnan(recorded)] = 0
    if not (far > bound).any():
        return None
    i, layer, index = np.unravel_index(int(np.argmax(far)), far.shape)
    return (
        f"activations.h5: {neurons.name(int(layer), int(index))} of row {rows[int(i)]} is recorded"
        f" as {recorded[i, layer, index]:.6g}, the model gives {values[i, layer, index]:.6g}"
    )


def _recorded(project: Project, rows: Sequence[int]) -> np.ndarray:
    """Recorded activations of some rows: float64 [rows, layers, neurons], NaN where not kept."""
    with reading_hdf5(project.result("activations"), "activations") as file:
        if DATA in file:
            return np.asarray(file[DATA][list(rows)], dtype=np.float64)
    with reading_hdf5(project.result("exemplars"), "exemplars") as file:
        kept, values = file["all/row"][:], file["all/activation"][:]
    found = np.full((len(rows), *kept.shape[:2]), np.nan)
    for i, row in enumerate(rows):
        layer, index, rank = np.nonzero(kept == row)
        found[i, layer, index] = values[layer, index, rank]
    return found


def some_writes(project: Project, params: Params, number: int, seed: int) -> Link:
    """The tokens that some neurons promote and suppress, by the model's weights."""
    table = project.read("writes.parquet")
    if why := project.writes_nothing:
        return Link("writes", f"nothing: {why}")
    rows = table.to_pylist()
    chosen = drawn([f"L{one['layer']}:{one['neuron']}" for one in rows], number, seed)
    target = Checkpoint(**params.activations.target.model_dump())
    writers = writers_of(load_headed(target, "float32", "cpu"), target, params.activations)
    some = [rows[place] for place in chosen]
    layers = list(range(len(writers.vectors)))
    if params.activations.dictionary is not None:
        layers = list(project.neurons.layers)
    places = [(layers.index(one["layer"]), one["neuron"]) for one in some]
    vectors = np.stack([writers.vectors[row][neuron] for row, neuron in places])
    told = Lens(writers.unembedding.matrix).furthest(vectors, params.writes.top)
    checked = f"what {len(some)} neurons write, by the model's weights"
    bounds = project.provenance("writes.parquet")["bounds"]
    for one, score, up, down in zip(some, told.score, told.up, told.down, strict=True):
        bound = bounds[str(one["layer"])]
        for name, has, now in (
            ("its furthest token", [one["score"]], [score]),
            ("what it promotes", one["promoted_z"], up[up > bound]),
            ("what it suppresses", one["suppressed_z"], down[down < -bound]),
        ):
            if len(has) != len(now) or not np.allclose(has, now, rtol=LOGITS, equal_nan=True):
                fault = f"writes.parquet: {name} of L{one['layer']}:{one['neuron']} is another"
                return Link("writes", checked, fault)
    return Link("writes", checked)


def some_topics(
    project: Project, params: Params, topics: Topics, cache: PromptCache, number: int, seed: int
) -> Link:
    """Some answers to p1, asked again of the first annotator."""
    table = project.standing
    texts = table.take(drawn(table["id"].to_pylist(), number, seed))["text"].to_pylist()
    spec = params.describe.annotators[0].model_dump()
    worker = create(spec, "p1", max_descriptors=topics.limits[0])

    def apart(stored: JSON, now: JSON) -> bool:
        return parse_topics(stored, *topics.limits) != parse_topics(now, *topics.limits)

    prompts = [topics.prompt(text) for text in texts]
    return _again("describe", worker, prompts, cache, topics.first[1], apart)


def some_verdicts(
    project: Project, params: Params, cache: PromptCache, number: int, seed: int
) -> Link:
    """Some answers to p2, asked again; in a cascade, of the annotator that gave each."""
    b, section = project.annotations, params.annotate
    theirs = np.zeros_like(b.answer, dtype=bool)
    if b.proxy:
        theirs = np.stack([b.proxy.cells.column(i) for i in range(theirs.shape[1])], axis=1)
    asked = [(section.annotator, b.frame, ~theirs)]
    if b.proxy and section.cascade:
        asked.append((section.cascade.proxy, b.proxy.frame, theirs))
    links = [
        _some_verdicts(project, params, cache, (number, seed), spec.model_dump(), frame, cells)
        for spec, frame, cells in asked
    ]
    fault = next((link.fault for link in links if link.fault), None)
    return Link("annotate", "; ".join(link.checked for link in links), fault)


def _some_verdicts(
    project: Project,
    params: Params,
    cache: PromptCache,
    how_many: tuple[int, int],
    spec: JSON,
    frame: Frame,
    among: np.ndarray,
) -> Link:
    b, texts = project.annotations, project.corpus["text"].to_pylist()
    every = np.argwhere((b.answer >= 0) & among)
    cells = [f"{b.ids[row]}:{column}" for row, column in every]
    places = every[drawn(cells, *how_many)]
    phrases = {name: of.phrases for name, of in project.descriptors.items()}
    worker = create(spec, "p2", descriptors=phrases, corpus=texts)
    min_mass = params.annotate.min_mass

    def apart(stored: JSON, now: JSON) -> bool:
        one, two = parse_verdict(stored, min_mass), parse_verdict(now, min_mass)
        if abs(one.odds) < NEAR_TIE and abs(two.odds) < NEAR_TIE:
            return False  # another batch may turn it
        return one.yes != two.yes or abs(one.odds - two.odds) > ODDS

    prompts = [p2([texts[row]], [b.descriptors[column]], b.template)[0] for row, column in places]
    return _again("annotate", worker, prompts, cache, frame, apart)


def _again(
    stage: str,
    worker: Annotator,
    prompts: Sequence[Prompt],
    cache: PromptCache,
    frame: Frame,
    apart: Callable[[Any, Any], bool],
) -> Link:
    """Ask again, and hold what comes against what is stored."""
    go_on(cache, worker)
    who = worker.identity
    keys = [who.request(prompt, frame).key for prompt in prompts]
    stored = cache.answers(keys)
    wanted = [i for i, key in enumerate(keys) if key in stored]
    checked = f"{len(wanted)} answers, by {who.name}"
    for group in worker.answer(prompts, wanted):
        for i, answer in group:
            if _differs(stored[keys[i]], answer.response, apart):
                fault = f"the cached answer {keys[i]} is not what {who.name} says when asked again"
                return Link(stage, checked, fault)
    return Link(stage, checked)


def _differs(stored: JSON, now: JSON, apart: Callable[[Any, Any], bool]) -> bool:
    try:
        return apart(stored, now)
    except UnparsableError:
        return True
