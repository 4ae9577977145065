"""Somebody's explanations of a run's neurons, scored beside the run's labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descry.activations.exemplar_files import read_exemplars
from descry.annotators.base import Annotator
from descry.annotators.client import AskOptions, Progress, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompt_cache.store import PromptCache
from descry.corpus.splits import CALIBRATION, VALIDATION, split_rows
from descry.corpus.units import language
from descry.errors import InputError
from descry.evaluation.scorer_items import Sentences, descriptions
from descry.explanations.comparison import prompts_of, scored, summary, tried
from descry.explanations.readers import Foreign, read_explanations
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.io.parquet import table_provenance
from descry.run import Run

STAGE = "score explanations"  # as runs of it are known to the cache


@dataclass(frozen=True)
class Settings:
    """How explanations are scored.

    Attributes:
        sentences: exemplars of a neuron, and as many others, at most.
        seed: draws them.
        min_mass: probability that Yes and No must have together, else it is no answer.
        max_failures: share of unusable answers above which it fails.
    """

    sentences: int = 10
    seed: int = 0
    min_mass: float = 0.1
    max_failures: float = 0.05


@dataclass(frozen=True)
class Compared:
    """Explanations beside labels.

    Attributes:
        rows: a row a neuron: explanation, labels, and the scores of each.
        means: of the scores and their differences over neurons, with intervals.
        foreign: the explanations, and what was passed over.
        annotator: who answered.
        counts: of the answers.
    """

    rows: list[Row]
    means: dict[str, Row]
    foreign: Foreign
    annotator: dict[str, str]
    counts: Counts


def score_explanations(
    run: Run,
    path: str | Path,
    spec: JSON,
    *,
    cache: PromptCache,
    settings: Settings | None = None,
    replay: bool = False,
    progress: Progress = lambda *_: None,
) -> Compared:
    """Ask an annotator whether explanations apply, as stage score asks about labels.

    The labels come from the calibration half, the sentences from the other half. Nobody knows
    which sentences the explanations were made from: where they were of that half, too, they have
    an advantage.

    Args:
        path: a file or folder, as `readers` knows them.
        spec: the annotator, as in params.yaml.
        replay: answers come from the cache alone.

    Raises:
        InputError: no explanation of any neuron, none that has exemplars, or too many failures.
    """
    how = settings or Settings()
    foreign = read_explanations(Path(path), run.neurons)
    labels = run.label_arrays()
    half = labels.splits[CALIBRATION]
    ours = descriptions(half.assigned, half.f, labels.descriptors, labels.neurons)
    texts, source = run.corpus["text"].to_pylist(), _sentences(run)
    found = tried(foreign.texts, ours, run.neurons, source, sentences=how.sentences, seed=how.seed)
    if not found:
        raise InputError(f"{path}: no neuron of it has held-out exemplars")
    who, tally = _annotator(run, spec, texts), Counts()
    options = AskOptions(STAGE, cache, how.max_failures, replay, progress)
    prompts = prompts_of(found, texts)

    def parse(response: JSON) -> Any:
        return parse_verdict(response, how.min_mass)

    said = [
        None if response is None else parse(response)
        for chunk in answer_prompts(options, who, prompts, parse, tally)
        for response in chunk.responses
    ]
    written = language(table_provenance(run.corpus))
    rows = scored(found, iter(said), texts, written)
    return Compared(rows, summary(rows), foreign, who.identity.as_json(), tally)


def _sentences(run: Run) -> Sentences:
    """The sentences of the half that chose no label."""
    exemplars = run.path("exemplars.h5")
    return Sentences(
        ids=run.corpus["id"].to_pylist(),
        rows=split_rows(run.corpus["split"].to_pylist())[VALIDATION].tolist(),
        held=read_exemplars(exemplars, VALIDATION),
        whole=read_exemplars(exemplars, "all"),
        close={},  # for detection alone
    )


def _annotator(run: Run, spec: JSON, texts: Sequence[str]) -> Annotator:
    phrases: Mapping[str, Any] = {name: of.phrases for name, of in run.descriptors.items()}
    return create(spec, "p2", descriptors=dict(phrases), corpus=texts, free_text=True)
