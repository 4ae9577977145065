"""label -> exemplars -> activations and answers -> cluster -> reviews -> params, code and files.

Nothing here goes through all answers or activations: what is read is a neuron's rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.exemplar_files import SPREAD, read_neuron_exemplars, read_neurons
from descry.activations.top_k import ENDS
from descry.activations.truncation import Cut, read_cut
from descry.annotators.annotations import read_annotations
from descry.corpus.splits import SPLITS
from descry.io.hashing import JSON
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.provenance.audit.answers import Asked, Topics, Verdicts, answers
from descry.provenance.audit.evidence import (
    Answer,
    Audit,
    Cluster,
    Exemplar,
    Label,
    Mention,
    Numbers,
    Phrase,
    Review,
)
from descry.provenance.audit.files import steps
from descry.provenance.audit.project import Project

ALL = 2**31  # rows


def audit(project: Project, neuron: str, rows: int, given: int) -> Audit:
    """The evidence for a neuron's labels.

    Args:
        neuron: such as L5:24.
        rows: how many exemplars and raw descriptors to follow; the exemplars that the annotator
            said Yes of come first, unless there is room for ALL.
        given: how many mentions of each raw descriptor.

    Raises:
        InputError: no such neuron, or a result is missing or damaged.
    """
    return _Evidence(project, neuron, rows, given).audit()


class Corpus:
    """The sentences, and the files that they were read from."""

    def __init__(self, project: Project) -> None:
        self._sha256 = project.made["corpus"]["inputs"]
        self.table = read_table(project.result("corpus"), "corpus")

    def __len__(self) -> int:
        return len(self.table)

    def reviews(self, rows: Sequence[int]) -> list[Review]:
        """Some rows."""
        names = ("id", "text", "category", "split", "source", "line", "asin", "reviewer", "overall")
        found = self.table.select(names).take(pa.array(rows, pa.int64())).to_pylist()
        return [Review(**row, sha256=self._sha256.get(row["source"])) for row in found]

    def of(self, ids: Sequence[str]) -> list[Review]:
        """The sentences with these ids, which it has."""
        wanted = pa.array(ids, pa.string())
        return self.reviews(pc.index_in(wanted, value_set=self.table["id"]).to_pylist())


LabelTable = dict[str, dict[str, dict[str, Numbers]]]  # by end, descriptor and split


def label_table(path: Path, layer: int, index: int) -> LabelTable:
    """A neuron's rows of labels.parquet.

    Args:
        layer: its number in the model.
    """
    only = (pc.field("layer") == layer) & (pc.field("neuron") == index)
    names = [field.name for field in fields(Numbers)]
    found: LabelTable = {}
    for row in read_table(path, "label", None, only).to_pylist():
        splits = found.setdefault(row["end"], {}).setdefault(row["descriptor"], {})
        splits[row["split"]] = Numbers(**{name: row[name] for name in names})
    return found


class _Shown(NamedTuple):
    """An exemplar that is to be shown: its rank (from 0), row and activation."""

    rank: int
    row: int
    activation: float


class _Evidence:
    """What is read for one neuron."""

    def __init__(self, project: Project, neuron: str, rows: int, given: int) -> None:
        self.project, self.rows, self.given = project, rows, given
        self.corpus = Corpus(project)
        path = project.result("exemplars")
        neurons = read_neurons(path)
        layer, self.index = neurons.find(neuron)
        self.name, self.layer = neurons.name(layer, self.index), neurons.layers[layer]
        ends = [end for end in ENDS if end in self._numbers]
        self.found = read_neuron_exemplars(path, layer, self.index, ends)
        self.b = read_annotations(project.result("annotate"))
        self.verdicts = Verdicts(self.b)

    @cached_property
    def _numbers(self) -> LabelTable:
        return label_table(self.project.result("label"), self.layer, self.index)

    def audit(self) -> Audit:
        made = self.project.made["activations"]
        target = made["params"]["target"] | {n: made[n] for n in ("weights", "site", "position")}
        head = self.project.head
        labels = [
            self._label(end, descriptor)
            for end, descriptors in self._numbers.items()
            for descriptor in _strongest_first(descriptors)
            if descriptors[descriptor]["all"].assigned
        ]
        return Audit(
            self.name,
            target,
            len(self.corpus),
            {name: _number(self.found.distribution[name]) for name in SPREAD},
            labels,
            {
                end: _nearest(descriptors)
                for end, descriptors in self._numbers.items()
                if end not in self.found.silent
                and not any(numbers["all"].assigned for numbers in descriptors.values())
            },
            self.found.silent,
            self.project.made["label"].get("warnings", []),
            self.project.made["label"].get("dropped", []),
            steps(self.project),
            head.sha,
            head.changed,
            head.unknown,
        )

    def _label(self, end: str, descriptor: str) -> Label:
        rows, values = self.found.sets[end]
        column = self.b.descriptors.index(descriptor)
        yes = self.b.answer[rows, column] == 1
        ranks = range(len(rows)) if self.rows >= len(rows) else np.flatnonzero(yes)[: self.rows]
        shown = [_Shown(int(rank), int(rows[rank]), float(values[rank])) for rank in ranks]
        return Label(
            descriptor,
            end,
            rule_in_words(self.project.made["label"]["params"]),
            {split: self._numbers[end][descriptor][split] for split in SPLITS},
            int(yes.sum()),
            len(rows),
            list(self._exemplars(shown, column)),
            self._clusters[descriptor],
        )

    def _exemplars(self, shown: Sequence[_Shown], column: int) -> Iterator[Exemplar]:
        reviews = self.corpus.reviews([it.row for it in shown])
        asked = [
            self.verdicts.asked(review.text, it.row, column)
            for it, review in zip(shown, reviews, strict=True)
        ]
        found = zip(shown, reviews, answers(self.project, asked), strict=True)
        for it, review, answer in found:
            yield Exemplar(it.rank + 1, it.activation, review, answer, self._cut.mark(it.row))

    @cached_property
    def _cut(self) -> Cut:
        return read_cut(self.project.result("activations"))

    @cached_property
    def _clusters(self) -> dict[str, Cluster]:
        """The clusters of the neuron's labels."""
        wanted = {
            descriptor
            for descriptors in self._numbers.values()
            for descriptor, splits in descriptors.items()
            if splits["all"].assigned
        }
        return clusters(self.project, self.corpus, wanted, self.rows, self.given)


def clusters(
    project: Project, corpus: Corpus, wanted: set[str], rows: int, most: int
) -> dict[str, Cluster]:
    """What is behind some descriptors."""
    entries = read_json(project.result("cluster"), "cluster")["descriptors"]
    chosen = {entry["name"]: entry for entry in entries if entry["name"] in wanted}
    shown = {name: list(islice(entry["phrases"].items(), rows)) for name, entry in chosen.items()}
    given = mentions(project, corpus, [p for found in shown.values() for p, _ in found], most)
    inputs = project.made["cluster"]["inputs"]
    edits = next((path for path in inputs if path.endswith((".yaml", ".yml"))), None)
    return {
        name: Cluster(
            name,
            entry["mentions"],
            len(entry["phrases"]),
            entry["edited_from"],
            edits,
            [Phrase(phrase, count, given[phrase]) for phrase, count in shown[name]],
        )
        for name, entry in chosen.items()
    }


def mentions(
    project: Project, corpus: Corpus, phrases: Sequence[str], rows: int
) -> dict[str, list[Mention]]:
    """The first mentions of each raw descriptor."""
    topics = Topics(project.made["describe"])
    only = pc.field("phrase").isin(pa.array(phrases, pa.string()))
    table = read_table(project.result("describe"), "describe", None, only)
    chosen: dict[str, list[dict[str, Any]]] = {phrase: [] for phrase in phrases}
    for row in table.to_pylist():
        if len(chosen[row["phrase"]]) < rows:
            chosen[row["phrase"]].append(row)
    flat = [row for found in chosen.values() for row in found]
    reviews = corpus.of([row["id"] for row in flat])
    asked: list[Asked] = [
        topics.asked(review.text, row["annotator"], row["phrase"], row["key"])
        for row, review in zip(flat, reviews, strict=True)
    ]
    found: list[Answer] = answers(project, asked)
    each = iter([Mention(review, answer) for review, answer in zip(reviews, found, strict=True)])
    return {phrase: list(islice(each, len(rows))) for phrase, rows in chosen.items()}


def rule_in_words(params: JSON) -> str:
    """What makes a descriptor a label."""
    if params["rule"] == "composition":
        rule = f"f > {params['threshold']}, by {params['frequency']}"
    else:
        rule = f"q < {params['fdr']} (enrichment)"
    return rule if params.get("top_k") is None else f"{rule}, the {params['top_k']} strongest"


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _strongest_first(descriptors: dict[str, dict[str, Numbers]]) -> list[str]:
    return sorted(descriptors, key=lambda name: -(descriptors[name]["all"].f or 0.0))


def _nearest(descriptors: dict[str, dict[str, Numbers]]) -> JSON:
    """The most frequent descriptor of a neuron without label."""
    name = _strongest_first(descriptors)[0]
    return {"descriptor": name, "f": descriptors[name]["all"].f, "q": descriptors[name]["all"].q}
