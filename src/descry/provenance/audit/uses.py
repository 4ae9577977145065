"""The other way round: which labels a review or a descriptor went into."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from descry.activations.exemplar_files import SPREAD, activation_places, exemplar_group
from descry.corpus.splits import SPLITS
from descry.io.hdf5 import reading_hdf5
from descry.io.lookup import by_name, by_prefix
from descry.provenance.audit.answers import Topics, Verdicts, answers
from descry.provenance.audit.chain import clusters, reviews
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
    """The use of a review in labels.

    Attributes:
        exemplar_of: neurons that it is an exemplar of, whatever the annotator said of it.
        base_rate_of: sentences that represent the corpus with it; 0 where it is none of them.
    """

    review: Review
    given: list[Given]
    labels: list[Support]
    exemplar_of: int
    base_rate_of: int


@dataclass(frozen=True)
class DescriptorUse:
    """The use of a descriptor in labels.

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


def of_review(project: Project, sentence: str) -> ReviewUse:
    """The labels that a review went into.

    Args:
        sentence: its id, or the beginning of it that no other has.

    Raises:
        InputError: the corpus has no such sentence, or several.
    """
    what = f"sentence of {project.path(project.units)}"
    found = by_prefix(sentence, project.corpus["id"].to_pylist(), what)
    row = pc.index(project.corpus["id"], found).as_py()
    (review,) = reviews(project, [row])
    b, places = project.annotations, list(_places(project, row))
    return ReviewUse(
        review,
        _given(project, review),
        _supported(project, review, row, places),
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
    review: Review,
    row: int,
    places: Sequence[_Place],
) -> list[Support]:
    """The labels that count a sentence, which is in the corpus's row."""
    b, verdicts = project.annotations, Verdicts(project.annotations)
    yes = np.flatnonzero(b.at(np.array([row]))[0] == 1)
    tagged = {b.descriptors[column]: int(column) for column in yes}
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
    neurons, ends = project.neurons, project.ends
    with reading_hdf5(project.result("exemplars"), "exemplars") as file:
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
    for row in project.read("labels.parquet", names, only).to_pylist():
        neuron = f"L{row['layer']}:{row['neuron']}"
        found.setdefault((neuron, row["end"]), []).append(row["descriptor"])
    return found


def _given(project: Project, review: Review) -> list[Given]:
    """The raw descriptors found in a review."""
    rows = project.read("candidates.parquet", where=pc.field("id") == review.id).to_pylist()
    topics = Topics(project.made["describe"])
    said = [topics.asked(review.text, row["annotator"], row["phrase"], row["key"]) for row in rows]
    owner = {phrase: of.name for of in project.descriptors.values() for phrase in of.phrases}
    found = zip(rows, answers(project, said), strict=True)
    return [Given(row["phrase"], owner.get(row["phrase"]), answer) for row, answer in found]


def of_descriptor(project: Project, name: str, rows: int, given: int) -> DescriptorUse:
    """The labels that a descriptor is, and what is behind it.

    Args:
        name: of the descriptor, in whatever case.
        rows: how many raw descriptors to follow, and `given` mentions of each.

    Raises:
        InputError: there is no such descriptor.
    """
    kept, b = list(project.descriptors), project.annotations
    fates = {entry["name"]: entry["reason"] for entry in project.clusters["dropped"]}
    name = by_name(name, [*kept, *fates], f"descriptor of {project.result('cluster')}")
    asked = name in b.descriptors
    return DescriptorUse(
        name,
        fates.get(name) or (project.descriptors[name].fate if name in kept else None),
        clusters(project, {name}, rows, given).get(name),
        int(b.yes(name).sum()) if asked else 0,
        int(b.answered(name).sum()) if asked else 0,
        {
            end: {split: project.inverse[end][split].get(name, []) for split in SPLITS}
            for end in project.ends
            if end in project.inverse
        },
    )
