"""Contents: does what a result says follow from what its inputs say? No model is needed for it."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from descry.asking import SLAB
from descry.audit.answers import SAYS
from descry.audit.project import Project
from descry.cache import PromptCache
from descry.differences import content_difference
from descry.labellers import JSON, Identity
from descry.params import Params, arguments
from descry.prompts import (
    Prompts,
    UnparsableError,
    p1,
    p1_template,
    p2,
    parse_topics,
    parse_verdict,
)
from descry.results import Annotations
from descry.reviews import read_reviews, review_files
from descry.splits import sentence_id
from descry.stages import describe, exemplars, label
from descry.stages.annotate import MISSING
from descry.stages.cluster import read_edits
from descry.storage import read_json, read_table
from descry.upkeep import verify as verify_keys
from descry.verification.link import Link


def corpus(project: Project, params: Params) -> Link:
    """Every sentence stands where its row says, and its id is the hash of its text."""
    table = read_table(project.result("corpus"), "corpus", ["id", "text", "source", "line"])
    rows = {(row["source"], row["line"]): row for row in table.to_pylist()}
    checked = f"{len(table)} sentences by the lines they were read from"
    for row in rows.values():
        if sentence_id(row["text"]) != row["id"]:
            return Link("corpus", checked, f"corpus.parquet: {row['id']} is not its text's hash")
    section = params.corpus
    files = review_files(project.place(section.reviews))
    for review in read_reviews(files, section.text_fields, section.max_invalid, Counter()):
        at = project.own(review.source), review.line
        row = rows.pop(at, None)
        if row is not None and row["text"] != review.text:
            fault = f"corpus.parquet: {row['id']} is not what stands in {at[0]} line {at[1]}"
            return Link("corpus", checked, fault)
    left = f"corpus.parquet: {len(rows)} sentences stand in no review file" if rows else None
    return Link("corpus", checked, left)


def keys(project: Project, cache: PromptCache) -> Link:
    """Every key of the cache is that of its request."""
    found = verify_keys(cache, project.results)
    checked = f"{found.checked} cache keys by their requests"
    if found.elsewhere:
        checked += f" ({found.elsewhere} of other sentences left out)"
    fault = None
    if found.wrong:
        key, reason = min(found.wrong.items())
        fault = f"{project.cache_folder}: {key}: {reason}; {len(found.wrong)} are wrong"
    return Link("prompt cache", checked, fault)


def candidates(project: Project, cache: PromptCache) -> Link:
    """Every raw descriptor is what the cached answer says, and none is left out."""
    table = read_table(project.result("describe"), "describe")
    made = project.made["describe"]
    checked = f"{len(table)} raw descriptors by the cached answers"
    texts = read_table(project.result("corpus"), "corpus", ["id", "text"])
    fault = _example(texts["text"].to_pylist(), cache, made)
    if fault is None:
        pairs = zip_longest(_expected(texts, cache, made), table.to_pylist())
        fault = next((_mention(want, has) for want, has in pairs if want != has), None)
    return Link("describe", checked, fault)


def _example(texts: list[str], cache: PromptCache, made: JSON) -> str | None:
    """The 1-shot example is a parameter, or what the first labeller said of the drawn sentence."""
    params, first = made["params"], made["labellers"][0]
    if params["example"] is not None:
        return None
    prompts = describe.zero_shot(texts, params["seed"], params["max_descriptors"])
    ((_, _, response),) = _responses(prompts, first, cache)
    said = _topics(response, params)
    shown = {"sentence": prompts[0].sentence, "concepts": said}
    return None if made["example"] == shown else "candidates.parquet: the 1-shot example is another"


def _expected(texts: Any, cache: PromptCache, made: JSON) -> Iterator[dict[str, str]]:
    """The rows of candidates.parquet as the cached answers have them."""
    ids, sentences = texts["id"].to_pylist(), texts["text"].to_pylist()
    shot, params = made["example"], made["params"]
    template = p1_template(params["max_descriptors"], shot["sentence"], shot["concepts"])
    for who in made["labellers"]:
        for row, key, response in _responses(p1(sentences, template), who, cache):
            for phrase in _topics(response, params):
                yield {"id": ids[row], "labeller": who["name"], "phrase": phrase, "key": key}


def _topics(response: JSON, params: JSON) -> list[str]:
    try:
        found = parse_topics(response, params["max_descriptors"], params["max_words"])
    except UnparsableError:
        return []
    return found


def _mention(want: dict[str, str] | None, has: dict[str, str] | None) -> str:
    words = [f"{it['phrase']!r} of {it['id']}" if it else "nothing" for it in (has, want)]
    key = (want or has or {})["key"]
    return f"candidates.parquet: it has {words[0]} where the cache says {words[1]} (key {key})"


def _responses(prompts: Prompts, who: JSON, cache: PromptCache) -> Iterator[tuple[int, str, JSON]]:
    """Number, key and cached response (None where there is none) of every prompt."""
    fields = {name: value for name, value in who.items() if name != "frame"}
    identity, frame = Identity(**fields), (who["frame"][0], who["frame"][1])
    for start in range(0, len(prompts), SLAB):
        span = range(start, min(start + SLAB, len(prompts)))
        found = [identity.request(prompts[i], frame).key for i in span]
        stored = cache.answers(found)
        yield from ((i, key, stored.get(key)) for i, key in zip(span, found, strict=True))


def clusters(project: Project) -> Link:
    """The mentions are those of the raw descriptors, and the names follow from the hand edits."""
    counts = Counter(read_table(project.result("describe"), "describe")["phrase"].to_pylist())
    whole = read_json(project.result("cluster"), "cluster")
    entries = [*whole["descriptors"], *whole["dropped"]]
    edits = read_edits(project.place(project.made["cluster"]["params"]["edits"]))
    names = {*edits.rename.values(), *edits.merge}
    faults = (
        fault
        for entry in entries
        for fault in _of_cluster(entry, counts, names | set(entry["phrases"]))
    )
    checked = f"{len(entries)} clusters by the raw descriptors and the hand edits"
    return Link("cluster", checked, next(faults, None))


def _of_cluster(entry: JSON, counts: Counter[str], names: set[str]) -> Iterator[str]:
    where = f"descriptors.json: {entry['name']!r}"
    for phrase, mentions in entry["phrases"].items():
        if counts[phrase] != mentions:
            yield f"{where}: {phrase!r} has {mentions} mentions, in the raw ones {counts[phrase]}"
    if sum(entry["phrases"].values()) != entry["mentions"]:
        yield f"{where}: its {entry['mentions']} mentions are not those of its raw descriptors"
    if entry["name"] not in names:
        yield f"{where}: neither a raw descriptor of it nor a name given by hand"


def annotations(project: Project, b: Annotations | None, cache: PromptCache, stage: str) -> Link:
    """Every cell of B is what the cached answer says; what was not asked is empty."""
    if b is None:
        return Link(stage, "nothing: nobody was asked")
    texts = read_table(project.result("corpus"), "corpus", ["text"])["text"].to_pylist()
    rows = [row for row in range(len(texts)) if b.asked[row]]
    prompts = p2([texts[row] for row in rows], b.descriptors)
    checked = f"{len(prompts)} cells of B by the cached answers"
    min_mass = b.made["params"]["min_mass"]
    for number, key, response in _responses(prompts, b.labeller | {"frame": b.frame}, cache):
        row, column = divmod(number, len(b.descriptors))
        said, score = _verdict(response, min_mass)
        has, odds = int(b.answer[rows[row], column]), float(b.score[rows[row], column])
        if said != has or not _same(score, odds):
            fault = (
                f"{stage}: of sentence {b.ids[rows[row]]} and {b.descriptors[column]!r} it has"
                f" {_words(has, odds)}, the cache {_words(said, score)} (key {key})"
            )
            return Link(stage, checked, fault)
    unasked = (b.answer[~b.asked] != MISSING).any()
    fault = f"{stage}: it has answers about sentences that were not asked about"
    return Link(stage, checked, fault if unasked else None)


def _verdict(response: JSON, min_mass: float) -> tuple[int, float]:
    """Answer and score as in B."""
    if response is None:
        return MISSING, math.nan
    try:
        verdict = parse_verdict(response, min_mass)
    except UnparsableError:
        return MISSING, math.nan
    return int(verdict.yes), verdict.odds


def _same(one: float, two: float) -> bool:
    """Whether two scores are one float32."""
    return bool(np.float32(one) == np.float32(two)) or (math.isnan(one) and math.isnan(two))


def _words(answer: int, score: float) -> str:
    odds = "" if math.isnan(score) else f" ({score:.4f})"
    return SAYS.get(answer, "no answer") + odds


def exemplar_sets(project: Project, params: Params, scratch: Path) -> Link:
    """The sets are the highest activations."""
    found = scratch / "exemplars.h5"
    inputs = project.result("corpus"), project.result("activations")
    exemplars.run(*inputs, found, **arguments(params.exemplars))
    return _recomputed("exemplars", [project.result("exemplars")], [found])


def labels(project: Project, params: Params, scratch: Path) -> Link:
    """The labels are what the rule makes of exemplars and answers."""
    expected = [
        project.results / name for name in ("labels.parquet", "composed.parquet", "neurons.json")
    ]
    found = [scratch / path.name for path in expected]
    inputs = [project.result(stage) for stage in ("corpus", "exemplars", "annotate")]
    label.run(*inputs, *found, **arguments(params.label))
    return _recomputed("label", expected, found)


def _recomputed(stage: str, expected: Sequence[Path], found: Sequence[Path]) -> Link:
    names = ", ".join(path.name for path in expected)
    for has, should in zip(expected, found, strict=True):
        if apart := content_difference(should, has):
            fault = f"{has.name} does not follow from its inputs: {apart}"
            return Link(stage, f"{names} computed anew", fault)
    return Link(stage, f"{names} computed anew")
