"""Stage score: an annotator puts the neurons' descriptions to use -> scores.json, scores.csv.

What is asked and scored is said in scorers.py, of which sentences in trials.py.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from descry.activations.exemplar_files import read_exemplars
from descry.activations.store import DATA
from descry.annotators.base import Annotator
from descry.annotators.client import AskOptions, Progress, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.parsing.answers import parse_intruder, parse_rating, parse_verdict
from descry.annotators.prompt_cache.jsonl import opened
from descry.annotators.prompts import Prompt, Task
from descry.annotators.spec import AnnotatorSpec
from descry.corpus.splits import CALIBRATION, VALIDATION, split_rows
from descry.errors import InputError
from descry.evaluation.scorer_items import (
    CLOSE,
    ScorerItem,
    Sentences,
    descriptions,
    prompts_of,
    trials,
)
from descry.evaluation.scorers import Found, detected, intruded, simulated, summary
from descry.io.csv_rows import Row, defined, write_csv
from descry.io.hashing import JSON, sha256_file
from descry.io.hdf5 import hdf5_provenance, reading_hdf5
from descry.io.json_files import read_json, write_json
from descry.io.parquet import Texts, read_table, table_provenance
from descry.io.provenance import provenance, recorded
from descry.io.section import Count, Section, Seed, Share
from descry.labels.results import Labels, read_labels
from descry.models.spec import NeuronNames

PACKAGES = ["h5py", "numpy", "pyarrow", "scipy"]
# Detection is p2 with a description in the descriptor's place: where that is one descriptor, stage
# annotate has asked it already, and the cache answers.
TASKS: dict[str, Task] = {
    "detection": "p2",
    CLOSE: "p2",
    "intruder": "intruder",
    "simulation": "simulation",
}
NAMES = {
    "detection": ("balanced_accuracy", "auroc"),
    CLOSE: ("balanced_accuracy", "auroc"),
    "intruder": ("accuracy",),
    "simulation": ("pearson", "spearman"),
}
NO_ANNOTATOR = "no annotator (score.annotator)"
NO_MATRIX = "activations of other sentences than the highest are not kept (activations.store)"
NO_LABEL = "no label in the calibration half"
NO_CLOSE = "no close negatives (facets.enabled, facets.neurons, activations.store)"
WHY_NOT = {
    CLOSE: "no usable answer about one of the two kinds of sentences",
    "detection": "no usable answer about one of the two kinds of sentences",
    "intruder": "no usable answer",
    "simulation": "fewer than three usable ratings, or all the same, or the activations are",
}
NAMED = ("neuron", "scorer", "description", "other", "answers")
SCORES = ("value", "null", "ranked", "ranked_null")
COLUMNS = [*NAMED, *SCORES, "undefined"]


class Score(Section):
    """How well an annotator can use the neurons' descriptions (scorers.py)."""

    annotator: AnnotatorSpec | None
    scorers: Annotated[
        list[Literal["detection", "detection_close", "intruder", "simulation"]], Field(min_length=1)
    ]
    neurons: NeuronNames | Count | None
    sentences: Annotated[int, Field(ge=2)]
    distractors: Annotated[int, Field(ge=2)]
    seed: Seed
    min_mass: Share
    max_failures: Share


def score_descriptions(
    params: Score,
    *,
    corpus: Path,
    descriptors: Path,
    labels: Path,
    exemplars: Path,
    activations: Path,
    facets: Path,
    metrics: Path,
    scores: Path,
    cache_folder: Path,
    journals: Path | None = None,
    replay: bool = False,
    progress: Progress,
) -> dict[str, object]:
    """Write the means of every scorer beside their nulls, and a row per neuron and scorer.

    Columns: neuron, scorer, description, other (the neuron whose description the nulls have),
    answers, value, null, ranked, ranked_null (as in `scorers.Found`), undefined (why there is no
    value). Without an annotator, empty files that say so.

    Args:
        activations: read for simulation only.
        facets: read for detection_close only.
        journals: as `prompt_cache.journal.opened` takes them.

    Raises:
        InputError: files of different runs, a neuron that there is not, or too many failures.
    """
    if params.annotator is None:
        made = provenance("score", params.model_dump(), [], PACKAGES)
        write_json(metrics, {"made": made, "undefined": NO_ANNOTATOR})
        write_csv(scores, [], COLUMNS)
        return {"score": 0}
    scorers = list[str](dict.fromkeys(params.scorers))
    simulating = "simulation" in scorers
    read = [corpus, descriptors, labels, exemplars, *([activations] if simulating else [])]
    read += [facets] if CLOSE in scorers else []
    made, table = provenance("score", params.model_dump(), read, PACKAGES), read_labels(labels)
    _check(made["inputs"], corpus, labels, table, exemplars, activations)
    phrases = {e["name"]: e["phrases"] for e in read_json(descriptors, "cluster")["descriptors"]}
    if strange := set(table.descriptors) - phrases.keys():
        raise InputError(
            f"{labels}: has {min(strange)!r}, not of {descriptors}: run `descry stage label`"
        )
    close = close_negatives(facets, corpus, exemplars) if CLOSE in scorers else {}
    tried = tried_out(params, corpus, table, exemplars, close)
    truth = activations_of(activations, tried) if simulating else None
    without = {"simulation": truth is None, CLOSE: not any(trial.close for trial in tried)}
    asked = [name for name in scorers if not without.get(name)]
    texts = Texts(corpus, "corpus", "text")
    workers = annotators(params.annotator, asked, phrases, texts)
    made["annotators"] = {}
    found: dict[str, list[Found]] = {}
    tallies = {name: Counts() for name in asked}
    with opened(cache_folder, journals) as cache:
        for name in asked:
            how = AskOptions(f"score {name}", cache, params.max_failures, replay, progress)
            prompts = prompts_of(name, tried, texts)
            # Let go when it has answered: two large models need not fit.
            worker = workers.pop(name)
            said = _said(how, worker, prompts, name, params.min_mass, tallies[name])
            found[name] = [_score(name, trial, said, truth, i) for i, trial in enumerate(tried)]
            made["annotators"][name] = worker.identity.as_json()
            del worker, said
    means: dict[str, Any] = {name: {"undefined": _absent(name)} for name in scorers}
    for name in asked:
        failed = {"failed": tallies[name].failed}
        means[name] = failed | summary(found[name], NAMES[name], _chance(name, tried))
    write_json(metrics, defined({"made": made, "neurons": len(tried)} | means))
    write_csv(scores, list(_rows(tried, found, scorers)), COLUMNS)
    return _counts(tried, tallies, means)


# What is asked, of whom


def tried_out(
    params: Score,
    corpus: Path,
    labels: Labels,
    exemplars: Path,
    close: Mapping[str, list[int]],
) -> list[ScorerItem]:
    """The neurons that are tried out: labels of the calibration half, sentences of the other.

    Args:
        close: close negatives of that half, by the neuron's name.

    Raises:
        InputError: a name is no neuron of the model.
    """
    table = read_table(corpus, "corpus", ["id", "split"])
    source = Sentences(
        ids=table["id"].to_pylist(),
        rows=split_rows(table["split"].to_pylist())[VALIDATION].tolist(),
        held=read_exemplars(exemplars, VALIDATION),
        whole=read_exemplars(exemplars, "all"),
        close=close,
    )
    half = labels.splits[CALIBRATION]
    texts = descriptions(half.assigned, half.f, labels.descriptors, labels.neurons)
    drawn = params.model_dump(include={"neurons", "sentences", "distractors", "seed"})
    return trials(texts, labels.neurons, source, **drawn)


def close_negatives(facets: Path, corpus: Path, exemplars: Path) -> dict[str, list[int]]:
    """Close negatives of the validation half by the neuron's name; none where facets has none."""
    table = read_table(facets, "facets", ["layer", "neuron", "close"])
    made = table_provenance(table)
    if "undefined" in made:
        return {}
    for path in (corpus, exemplars):
        if made["inputs"].get(recorded(path)) != sha256_file(path):
            raise InputError(f"{facets}: made of another {path.name}: run `descry stage facets`")
    half = read_table(corpus, "corpus", ["split"])["split"].to_pylist()
    return {
        f"L{row['layer']}:{row['neuron']}": [
            one["row"] for one in row["close"] or () if half[one["row"]] == VALIDATION
        ]
        for row in table.to_pylist()
    }


def annotators(
    spec: AnnotatorSpec,
    scorers: Sequence[str],
    phrases: dict[str, dict[str, int]],
    texts: Sequence[str],
) -> dict[str, Annotator]:
    """Who answers for each scorer; where the identity is the same it is one, and learns once.

    Raises:
        InputError: a person is to answer more than p2.
    """
    told = spec.model_dump()
    made = {name: create(told, TASKS[name], descriptors=phrases, corpus=texts) for name in scorers}
    same: dict[object, Annotator] = {}
    return {name: same.setdefault(worker.identity, worker) for name, worker in made.items()}


def _said(
    how: AskOptions,
    who: Annotator,
    prompts: list[Prompt],
    scorer: str,
    min_mass: float,
    tally: Counts,
) -> Iterator[Any]:
    """What each answer says, in the order of the prompts; None where there is no usable one."""
    listed = max((len(prompt.shown) for prompt in prompts), default=0)
    parsers: dict[str, Callable[[JSON], Any]] = {
        "detection": lambda response: parse_verdict(response, min_mass),
        CLOSE: lambda response: parse_verdict(response, min_mass),
        "intruder": lambda response: parse_intruder(response, listed),
        "simulation": parse_rating,
    }
    parse, found = parsers[scorer], list[Any]()
    # With nothing to ask not even a tokenizer is loaded.
    for chunk in answer_prompts(how, who, prompts, parse, tally) if prompts else ():
        found += [None if response is None else parse(response) for response in chunk.responses]
    return iter(found)


# What is made of it


def _score(
    scorer: str, trial: ScorerItem, said: Iterator[Any], truth: list[np.ndarray] | None, number: int
) -> Found:
    """The score of a trial, which takes its answers from all that was said."""
    if scorer == "intruder":
        chosen = _numbers(islice(said, len(trial.lineups)))
        return intruded(chosen, np.array([lineup.right for lineup in trial.lineups]))
    shape = len(trial.shown_to(scorer)), len(trial.descriptions)
    answers = list(islice(said, shape[0] * shape[1]))
    if scorer in ("detection", CLOSE):
        yes = _numbers(verdict and verdict.yes for verdict in answers).reshape(shape)
        odds = _numbers(verdict and verdict.odds for verdict in answers).reshape(shape)
        return detected(yes, odds, np.arange(shape[0]) < len(trial.active))
    assert truth is not None
    return simulated(_numbers(answers).reshape(shape), truth[number])


def _numbers(answers: Iterator[Any] | list[Any]) -> np.ndarray:
    return np.array([math.nan if answer is None else answer for answer in answers], np.float64)


def _chance(scorer: str, tried: Sequence[ScorerItem]) -> float:
    if scorer == "intruder":
        return next((1 / len(lineup.rows) for trial in tried for lineup in trial.lineups), math.nan)
    return 0.0 if scorer == "simulation" else 0.5


# Files


def activations_of(path: Path, tried: Sequence[ScorerItem]) -> list[np.ndarray] | None:
    """The activations of each trial's sentences: float64 [sentences]; None where none are kept."""
    found = [np.empty(len(trial.rows)) for trial in tried]
    with reading_hdf5(path, "activations") as file:
        if DATA not in file:
            return None
        data, step = file[DATA], file[DATA].chunks[0]
        for layer in sorted({trial.place[0] for trial in tried}):
            members = [i for i, trial in enumerate(tried) if trial.place[0] == layer]
            # A slab of a layer at a time, and each once: its chunks would be read whole anyway.
            for start in range(0, len(data), step):
                chunk = data[start : start + step, layer]
                for i in members:
                    rows = np.array(tried[i].rows, dtype=np.int64) - start
                    within = (rows >= 0) & (rows < step)
                    found[i][within] = chunk[rows[within], tried[i].place[1]]
    return found


def _check(
    inputs: dict[str, str],
    corpus: Path,
    labels: Path,
    table: Labels,
    exemplars: Path,
    activations: Path,
) -> None:
    """Refuse files that were not made of each other."""
    with reading_hdf5(exemplars, "exemplars") as file:
        sources = {exemplars: hdf5_provenance(file)["inputs"], labels: table.made["inputs"]}
    for path, of, stage in (
        (exemplars, corpus, "exemplars"),
        (exemplars, activations, "exemplars"),
        (labels, corpus, "label"),
        (labels, exemplars, "label"),
    ):
        read = inputs.get(recorded(of))
        if read and read not in sources[path].values():
            raise InputError(f"{path}: made of another {of.name}: run `descry stage {stage}` again")


def _rows(
    tried: Sequence[ScorerItem], found: dict[str, list[Found]], scorers: Sequence[str]
) -> Iterator[Row]:
    for i, trial in enumerate(tried):
        for name in scorers:
            score = found[name][i] if name in found else Found()
            # What intruder asks has no description in it.
            own = (*trial.descriptions, "")[0] if name != "intruder" else ""
            other = trial.other if len(trial.descriptions) > 1 and own else ""
            row = dict(zip(NAMED, (trial.neuron, name, own, other, score.answers), strict=True))
            why = "" if not math.isnan(score.value) else _why_not(name, trial, name in found)
            yield row | {key: getattr(score, key) for key in SCORES} | {"undefined": why}


def _why_not(scorer: str, trial: ScorerItem, asked: bool) -> str:
    if not asked or (scorer == CLOSE and trial.descriptions and not trial.close):
        return _absent(scorer)
    return NO_LABEL if scorer != "intruder" and not trial.descriptions else WHY_NOT[scorer]


def _absent(scorer: str) -> str:
    """Why a scorer is asked nothing."""
    return NO_CLOSE if scorer == CLOSE else NO_MATRIX


def _counts(
    tried: Sequence[ScorerItem], tallies: dict[str, Counts], means: Row
) -> dict[str, object]:
    """What the terminal shows."""
    counts: dict[str, object] = {"neurons": len(tried)}
    for key in ("cached", "asked", "failed", "cut"):
        counts[key] = sum(getattr(tally, key) for tally in tallies.values())
    for scorer in tallies:
        beside = "chance" if scorer == "intruder" else "null"
        for name in NAMES[scorer]:
            score = means[scorer][name]
            shown = f"{score['value']:.3f} ({score[beside]:.3f})"
            counts[f"{scorer}: {name.replace('_', ' ')} ({beside})"] = shown
    return counts
