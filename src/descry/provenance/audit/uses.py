"""The other way round: which labels a review, a descriptor or an answer went into."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from descry.activations.exemplar_files import (
    SPREAD,
    activation_places,
    exemplar_group,
    read_neurons,
)
from descry.activations.top_k import HIGHEST
from descry.annotators.annotations import read_annotations
from descry.annotators.prompt_cache.check import request_of, shown
from descry.corpus.splits import SPLITS
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.labels.results import labelled_ends
from descry.provenance.audit.answers import Topics, Verdicts, answers
from descry.provenance.audit.chain import Corpus, clusters
from descry.provenance.audit.evidence import Answer, Cluster, Review
from descry.provenance.audit.project import Project


@dataclass(frozen=True)
class Support:
    """A label that counts a review among the exemplars that the annotator said Yes of.

    Attributes:
        digits: behind the point of the neuron's activations.
    """

    neuron: str
    end: str
    descriptor: str
    rank: int
    activation: float
    answer: Answer
    digits: int


@dataclass(frozen=True)
class Given:
    """A raw descriptor that an annotator found in a review.

    Attributes:
        descriptor: of the cluster that it went into; None where the cluster was dropped or is
            too small.
    """

    phrase: str
    descriptor: str | None
    answer: Answer


@dataclass(frozen=True)
class ReviewUse:
    """What a review did.

    Attributes:
        exemplar_of: neurons that it is an exemplar of, whatever the annotator said of it.
        base_rate_of: sentences that stand for the corpus with it; 0 where it is none of them.
    """

    review: Review
    given: list[Given]
    labels: list[Support]
    exemplar_of: int
    base_rate_of: int


@dataclass(frozen=True)
class DescriptorUse:
    """What a descriptor did.

    Attributes:
        fate: why it is no label of any neuron; None where nothing keeps it from being one.
        yes, answered: sentences that the annotator said Yes of, and gave an answer about.
        neurons: that have it as a label: by end and split.
    """

    descriptor: str
    fate: str | None
    cluster: Cluster | None
    yes: int
    answered: int
    neurons: dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class PromptUse:
    """What an answer did: in the raw descriptors, or in the labels of neurons.

    Attributes:
        prompt: None where neither cache nor results tell.
    """

    key: str
    task: str
    prompt: str | None
    record: JSON
    descriptor: str | None
    reviews: list[Review]
    given: list[Given]
    labels: list[Support]


def of_review(project: Project, sentence: str, descriptor: str | None = None) -> ReviewUse:
    """The labels that a review went into, or those of one descriptor.

    Args:
        sentence: its id.

    Raises:
        InputError: the corpus has no such sentence.
    """
    corpus = Corpus(project)
    row = pc.index(corpus.table["id"], sentence).as_py()
    if row < 0:
        raise InputError(f"{sentence}: no sentence of {project.result('corpus')} has this id")
    (review,) = corpus.reviews([row])
    b = read_annotations(project.result("annotate"))
    places = list(_places(project, row))
    return ReviewUse(
        review,
        _given(project, review),
        _supported(project, Verdicts(b), review, row, places, descriptor),
        len({place.neuron for place in places}),
        int(b.sampled.sum()) if b.sampled[row] else 0,
    )


class _Place(NamedTuple):
    """Where a sentence is an exemplar: of which neuron and end, rank and activation.

    Attributes:
        digits: behind the point of the neuron's activations.
    """

    neuron: str
    end: str
    rank: int
    activation: float
    digits: int


def _supported(
    project: Project,
    verdicts: Verdicts,
    review: Review,
    row: int,
    places: Sequence[_Place],
    descriptor: str | None,
) -> list[Support]:
    """The labels that count a sentence, which is in the corpus's row."""
    names = verdicts.b.descriptors
    tagged = {names[c]: int(c) for c in np.flatnonzero(verdicts.b.answer[row] == 1)}
    if descriptor is not None:
        tagged = {name: c for name, c in tagged.items() if name == descriptor}
    assigned = _assigned(project)
    counted = [
        (place, label)
        for place in places
        for label in assigned.get((place.neuron, place.end), ())
        if label in tagged
    ]
    said = [verdicts.asked(review.text, row, tagged[label]) for _, label in counted]
    return [
        Support(place.neuron, place.end, label, place.rank, place.activation, answer, place.digits)
        for (place, label), answer in zip(counted, answers(project, said), strict=True)
    ]


def _places(project: Project, row: int) -> Iterator[_Place]:
    """Wherever a sentence is an exemplar, at the ends that have labels."""
    path = project.result("exemplars")
    neurons, ends = read_neurons(path), labelled_ends(project.result("label"))
    with reading_hdf5(path, "exemplars") as file:
        for end, layer in product(ends, range(len(neurons.layers))):
            group = file[exemplar_group("all", end)]
            for index, rank in np.argwhere(group["row"][layer] == row):
                value = float(group["activation"][layer, index, rank])
                of = {k: v[layer, index] for k, v in file["distribution"].items() if k in SPREAD}
                name, digits = neurons.name(layer, int(index)), activation_places(of)
                yield _Place(name, end, int(rank) + 1, value, digits)


def _assigned(project: Project) -> dict[tuple[str, str], list[str]]:
    """The labels of the whole corpus: by neuron and end."""
    only = pc.field("assigned") & (pc.field("split") == "all")
    names = ["end", "layer", "neuron", "descriptor"]
    found: dict[tuple[str, str], list[str]] = {}
    for row in read_table(project.result("label"), "label", names, only).to_pylist():
        neuron = f"L{row['layer']}:{row['neuron']}"
        found.setdefault((neuron, row["end"]), []).append(row["descriptor"])
    return found


def _given(project: Project, review: Review) -> list[Given]:
    """The raw descriptors found in a review."""
    only = pc.field("id") == review.id
    rows = read_table(project.result("describe"), "describe", None, only).to_pylist()
    topics = Topics(project.made["describe"])
    said = [topics.asked(review.text, row["annotator"], row["phrase"], row["key"]) for row in rows]
    entries = read_json(project.result("cluster"), "cluster")["descriptors"]
    owner = {phrase: entry["name"] for entry in entries for phrase in entry["phrases"]}
    found = zip(rows, answers(project, said), strict=True)
    return [Given(row["phrase"], owner.get(row["phrase"]), answer) for row, answer in found]


def of_descriptor(project: Project, name: str, rows: int, given: int) -> DescriptorUse:
    """The labels that a descriptor is, and what is behind it.

    Args:
        rows: how many raw descriptors to follow, and `given` mentions of each.

    Raises:
        InputError: there is no such descriptor.
    """
    path = project.result("cluster")
    whole = read_json(path, "cluster")
    kept = [entry["name"] for entry in whole["descriptors"]]
    fates = {entry["name"]: entry["reason"] for entry in whole["dropped"]}
    if name not in kept and name not in fates:
        raise InputError(f"{name}: no descriptor of {path}: it has {', '.join(kept)}"[:300])
    dropped = {it["descriptor"]: it["reason"] for it in project.made["label"].get("dropped", [])}
    found = clusters(project, Corpus(project), {name}, rows, given)
    b = read_annotations(project.result("annotate"))
    column = b.answer[:, b.descriptors.index(name)] if name in b.descriptors else np.array([])
    inverse = read_json(project.results / "neurons.json", "label")
    ends = {HIGHEST: inverse["neurons"]} | {
        end: inverse[end] for end in labelled_ends(project.result("label")) if end in inverse
    }
    return DescriptorUse(
        name,
        fates.get(name) or dropped.get(name),
        found.get(name),
        int((column == 1).sum()),
        int((column >= 0).sum()),
        {end: {s: splits[s].get(name, []) for s in SPLITS} for end, splits in ends.items()},
    )


def of_prompt(project: Project, key: str) -> PromptUse:
    """The labels that an answer went into.

    Raises:
        InputError: neither the cache nor the results know the key.
    """
    record = project.records([key]).get(key)
    only = pc.field("key") == key
    rows = read_table(project.result("describe"), "describe", None, only).to_pylist()
    if record is None and not rows:
        raise InputError(
            f"{key}: no answer of this key in {project.cache_folder} or"
            f" {project.result('describe')}: give all 64 digits"
        )
    asked = record["sentence"] if record else rows[0]["id"]
    ids = [asked] if isinstance(asked, str) else list(asked)
    corpus = Corpus(project)
    known = set(corpus.table["id"].to_pylist())
    reviews = corpus.of([name for name in ids if name in known])
    task = record["origin"]["task"] if record else "p1"
    use = of_review(project, ids[0], record and record.get("descriptor")) if reviews else None
    texts = {review.id: review.text for review in reviews}
    sentence = shown(asked, texts)
    prompt = None
    if record and sentence is not None:
        prompt = request_of(record["origin"], sentence, record.get("descriptor", "")).prompt
    return PromptUse(
        key,
        task,
        prompt,
        record,
        record.get("descriptor") if record else None,
        reviews,
        [it for it in use.given if it.answer.key == key] if use else [],
        [it for it in use.labels if it.answer.key == key] if use else [],
    )
