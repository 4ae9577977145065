"""Contents: does a result follow from its inputs? No model is needed."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.annotators.annotations import MISSING, Annotations, Proxy
from descry.annotators.bitset import BitMatrix
from descry.annotators.cascade.decide import decide, lots, strengths
from descry.annotators.cascade.spec import Cascade
from descry.annotators.offsets import Offsets
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p1
from descry.annotators.templates import p1_template, p2_template
from descry.annotators.threshold import find_offsets, typical
from descry.corpus.files import review_files
from descry.corpus.readers import read_reviews
from descry.corpus.splits import sentence_id
from descry.corpus.units import POSITIONS, SENTENCES, text_ids
from descry.evaluation.close_negatives import Close
from descry.io.hashing import JSON
from descry.labels.clustering import Edits
from descry.provenance.audit.answers import SAYS, Topics, Verdicts
from descry.provenance.audit.project import Project
from descry.provenance.diff.files import differing
from descry.provenance.verify.cached_answers import PROXY, CachedAnswers
from descry.provenance.verify.check import Link
from descry.stages import describe
from descry.stages.cluster import read_edits
from descry.stages.exemplars import select_exemplars
from descry.stages.facets import TABLE as FACETS
from descry.stages.facets import Study
from descry.stages.label import label_neurons
from descry.stages.tokens import find_tokens
from descry.workflow.params import Params

OFFSET = 1e-3  # how far what is taken off log-odds may be from what it is computed to be


def corpus(project: Project, params: Params) -> Link:
    """Every sentence stands where its row says, and its id is the hash of its text."""
    table = project.read("corpus.parquet", ["id", "text", "source", "line"])
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


def candidates(
    project: Project, topics: Topics, cache: PromptCache, answers: CachedAnswers
) -> Link:
    """Every raw descriptor is what the cached answer says, and none is left out."""
    table, texts = project.candidates, project.standing
    checked = f"{len(table)} raw descriptors by the cached answers"
    fault = _examples(project, texts["text"].to_pylist(), topics, cache)
    if fault is None:
        expected = _expected(texts["id"].to_pylist(), texts["text"].to_pylist(), topics, answers)
        pairs = zip_longest(expected, table.to_pylist())
        fault = next((_mention(want, has) for want, has in pairs if want != has), None)
    return Link("describe", checked, fault)


def _examples(project: Project, texts: list[str], topics: Topics, cache: PromptCache) -> str | None:
    """The examples are parameters, or what the first annotator said of the drawn sentences; with
    them the prompts follow from their template.
    """
    made = project.made["describe"]
    given, file = made["params"]["examples"], _template(project, made)
    shown = describe.by_hand(given)
    if shown is None:
        drawn = describe.drawn(texts, given, made["params"]["seed"])
        prompts = p1(drawn, p1_template(topics.limits[0], (), file))
        who, frame = topics.first
        keys = [who.request(prompt, frame).key for prompt in prompts]
        said = cache.answers(keys)
        shown = [
            {"sentence": prompt.sentence, "concepts": topics.phrases(said.get(key))}
            for prompt, key in zip(prompts, keys, strict=True)
        ]
    if made["examples"] != shown:
        return "candidates.parquet: the examples of p1 are others"
    if topics.template != p1_template(topics.limits[0], shown, file):
        return "candidates.parquet: its prompts do not follow from their template"
    return None


def _template(project: Project, made: JSON) -> Path | None:
    """Where the user's template of a result is now."""
    path = made["params"].get("template")
    return None if path is None else project.place(path)


def _expected(
    ids: list[str], texts: list[str], topics: Topics, answers: CachedAnswers
) -> Iterator[dict[str, str]]:
    """The rows of candidates.parquet as the cached answers have them."""
    for name in topics.who:
        for sentence, text in zip(ids, text_ids(ids, texts), strict=True):
            key, response = answers.topics.get((name, text), ("", None))
            for phrase in topics.phrases(response):
                yield {"id": sentence, "annotator": name, "phrase": phrase, "key": key}


def _mention(want: dict[str, str] | None, has: dict[str, str] | None) -> str:
    words = [f"{it['phrase']!r} of {it['id']}" if it else "nothing" for it in (has, want)]
    key = (want or has or {})["key"]
    return f"candidates.parquet: it has {words[0]} where the cache says {words[1]} (key {key})"


def clusters(project: Project) -> Link:
    """The mentions are those of the raw descriptors, and the names follow from the hand edits."""
    counts = Counter(project.candidates["phrase"].to_pylist())
    entries = [*project.clusters["descriptors"], *project.clusters["dropped"]]
    path = project.made["cluster"]["params"]["edits"]
    edits = Edits() if path is None else read_edits(project.place(path))
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


def annotations(
    project: Project, b: Annotations | None, answers: CachedAnswers, stage: str
) -> Link:
    """Every cell of B is what the cached answer says; what was not asked is empty."""
    if b is None:
        return Link(stage, "nothing: nobody was asked")
    answer, score = answers.verdicts(stage)
    checked = f"{answer.size} cells of B by the cached answers"
    section = b.made["params"]
    shots, file = section.get("examples") or (), _template(project, b.made)
    if b.template != p2_template(shots, file):
        return Link(stage, checked, f"{stage}: its prompts do not follow from their template")
    if b.proxy:
        answer, score, fault = _in_cascade(b, b.proxy, (answer, score), answers.verdicts(PROXY))
        if fault:
            return Link(stage, checked, f"{stage}: {fault}")
    if b.offsets:
        settled = section["centre"], section["threshold"]
        found = find_offsets(
            lambda i: score[:, i], len(b.descriptors), typical(b.asked, b.sampled), *settled
        )
        if not _same_offsets(b.offsets, found):
            fault = f"{stage}: what it takes off the log-odds does not follow from the answers"
            return Link(stage, checked, fault)
        for column in range(len(b.descriptors)):
            score[:, column] = b.offsets.left(score[:, column], column)
        answer[answer >= 0] = score[answer >= 0] > 0
    same = (answer == b.answer) & np.isclose(score, b.score, rtol=0, atol=0, equal_nan=True)
    if same.all():
        return Link(stage, checked)
    row, column = np.argwhere(~same)[0]
    name = b.descriptors[column]
    place = pc.index(project.corpus["id"], b.ids[row]).as_py()
    text = project.corpus["text"][place].as_py()
    key = Verdicts(b).asked(text, int(row), int(column)).request.key
    return Link(
        stage,
        checked,
        f"{stage}: of sentence {b.ids[row]} and {name!r} it has"
        f" {_words(int(b.answer[row, column]), float(b.score[row, column]))}, the cache"
        f" {_words(int(answer[row, column]), float(score[row, column]))} (key {key})",
    )


def _in_cascade(
    b: Annotations,
    proxy: Proxy,
    oracles: tuple[np.ndarray, np.ndarray],
    proxies: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Answer and score of a cascade, decided again by the cached answers of both; and a fault.

    Args:
        oracles, proxies: answer and score of each [sentences, descriptors].
    """
    rows = np.flatnonzero(b.asked)
    params = Cascade.model_validate(b.made["params"]["cascade"])
    said, odds = (part[rows] for part in proxies)
    strength = strengths(said, odds)
    drawn = lots([b.ids[row] for row in rows.tolist()], b.descriptors, params.seed)
    known = oracles[0][rows].ravel()
    decided = decide(params, strength, drawn, lambda cells: known[cells])
    answer, score = (np.array(part) for part in oracles)
    answer[rows] = np.where(decided.by_proxy, MISSING, answer[rows])
    score[answer < 0] = np.nan
    row, column = np.nonzero(decided.by_proxy & (said >= 0))
    answer[rows[row], column] = strength[row, column] > decided.cut[column]
    score[rows[row], column] = odds[row, column]
    cells = np.zeros_like(answer, dtype=bool)
    cells[rows[row], column] = True
    same = np.array_equal(BitMatrix.of(cells).packed, proxy.cells.packed)
    if not (same and np.array_equal(decided.cut, proxy.cut)):
        return answer, score, "whom its cascade asked does not follow from the answers"
    return answer, score, None


def _same_offsets(one: Offsets, two: Offsets) -> bool:
    """Whether they are the same but for the last digits, which another machine may have."""
    pairs = ((one.sentence, two.sentence), (one.descriptor, two.descriptor))
    return all(a.shape == b.shape and np.allclose(a, b, rtol=0, atol=OFFSET) for a, b in pairs)


def _words(answer: int, score: float) -> str:
    odds = "" if math.isnan(score) else f" ({score:.4f})"
    return SAYS.get(answer, "no answer") + odds


def exemplar_sets(project: Project, params: Params, scratch: Path) -> Link:
    """The sets are the highest activations."""
    found = scratch / "exemplars.h5"
    inputs = {stage: project.result(stage) for stage in ("corpus", "activations")}
    results = [project.result("exemplars")]
    how = partial(select_exemplars, params.exemplars, params.activations, exemplars=found)
    if project.units == SENTENCES:
        how(**inputs)
        return _recomputed("exemplars", results, [found])
    positions, copy = scratch / POSITIONS, project.path("untrained.h5")
    how(**inputs, untrained=copy, positions=positions)
    return _recomputed("exemplars", [*results, project.path(POSITIONS)], [found, positions])


def tokens(project: Project, params: Params, scratch: Path) -> Link:
    """The words at peaks are what positions and their sets make them."""
    found = scratch / "tokens.parquet"
    inputs = {stage: project.result(stage) for stage in ("corpus", "exemplars")}
    inputs |= {"positions": project.path(POSITIONS), "untrained": project.path("untrained.h5")}
    find_tokens(params.tokens, **inputs, tokens=found)
    return _recomputed("tokens", [project.path(found.name)], [found])


def labels(project: Project, params: Params, scratch: Path) -> Link:
    """The labels are what the rule makes of exemplars and answers."""
    names = ("labels.parquet", "composed.parquet", "neurons.json")
    expected = [project.path(name) for name in names]
    found = [scratch / path.name for path in expected]
    inputs = {"corpus": project.path(project.units), "exemplars": project.result("exemplars")}
    outputs = dict(zip(("labels", "composed", "neurons"), found, strict=True))
    answers = project.result("annotate")
    label_neurons(params.label, **inputs, annotations=answers, **outputs)
    return _recomputed("label", expected, found)


def facets(project: Project, params: Params) -> Link:
    """Labels of facets, sets that cover and close negatives follow from the answers.

    Which sentences are alike is the embedder's to say: groups and close negatives are taken as they
    are recorded, as long as they are the neuron's exemplars, and sentences that do not excite it.
    """
    table = project.facets
    if why := project.facets_nothing:
        return Link("facets", f"nothing: {why}")
    files = [project.path(project.units), *map(project.result, ("activations", "exemplars"))]
    files += map(project.result, ("annotate", "label"))
    study, rows = Study.of(params.facets, params.cluster, None, *files), table.to_pylist()
    checked = f"facets and close negatives of {len(rows)} neurons by the answers"
    if len(rows) != len(study.places):
        fault = f"facets.parquet: it has {len(rows)} neurons, {len(study.places)} have a label"
        return Link("facets", checked, fault)
    parts = [[np.array(part["rows"]) for part in row["facets"]] for row in rows]
    close = [_close(row["close"]) for row in rows]
    for n, row in enumerate(rows):
        name = f"facets.parquet: L{row['layer']}:{row['neuron']}"
        own = study.sets["all"][n]
        if sorted(np.concatenate(parts[n]).tolist()) != sorted(own[own >= 0].tolist()):
            return Link("facets", checked, f"{name}: its groups are not its exemplars")
        quiet = study.quiet and np.concatenate(study.quiet[n])
        if quiet is not None and not np.isin(close[n].rows, quiet).all():
            return Link("facets", checked, f"{name}: a close negative of it excites it")
    silhouettes = [row["silhouette"] for row in rows]
    again = study.told_of(parts, silhouettes, None if study.quiet is None else close)
    for row, should in zip(rows, pa.Table.from_pylist(again, FACETS).to_pylist(), strict=True):
        if apart := [name for name in row if row[name] != should[name]]:
            name = f"facets.parquet: L{row['layer']}:{row['neuron']}"
            return Link("facets", checked, f"{name}: {apart[0]} does not follow from its inputs")
    return Link("facets", checked)


def _close(rows: Sequence[JSON] | None) -> Close:
    """Recorded close negatives; none where there are none."""
    return Close(
        np.array([one["row"] for one in rows or ()], dtype=np.intp),
        np.array([one["similarity"] for one in rows or ()], dtype=np.float64),
    )


def _recomputed(stage: str, expected: Sequence[Path], found: Sequence[Path]) -> Link:
    names = ", ".join(path.name for path in expected)
    for has, should in zip(expected, found, strict=True):
        if apart := differing(should, has):
            more = f"; {len(apart) - 1} more parts differ" if len(apart) > 1 else ""
            fault = f"{has.name} does not follow from its inputs: {apart[0]}{more}"
            return Link(stage, f"{names} computed anew", fault)
    return Link(stage, f"{names} computed anew")
