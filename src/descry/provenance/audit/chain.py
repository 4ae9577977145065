"""label -> exemplars -> activations and answers -> cluster -> reviews -> params, code and files.

Nothing here goes through all answers or activations: what is read is a neuron's rows.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.exemplar_files import SPREAD
from descry.corpus.covariates import in_words
from descry.corpus.splits import SPLITS
from descry.io.hashing import JSON
from descry.labels.results import Numbers, verdict
from descry.provenance.audit.answers import Topics, Verdicts, answers
from descry.provenance.audit.evidence import (
    Audit,
    Cluster,
    Exemplar,
    Label,
    Mention,
    Phrase,
    Review,
)
from descry.provenance.audit.files import steps
from descry.provenance.audit.project import Project
from descry.run import Neuron

ALL = 2**31  # rows


def audit(project: Project, name: str, rows: int, given: int) -> Audit:
    """The evidence for a neuron's labels.

    Args:
        name: of the neuron, such as L5:24.
        rows: how many exemplars and raw descriptors to follow; the exemplars that the annotator
            said Yes of come first, unless there is room for ALL.
        given: how many mentions of each raw descriptor.

    Raises:
        InputError: no such neuron, or a result is missing or damaged.
    """
    neurons = [project.neuron(name, end) for end in project.ends]
    wanted = {label.descriptor for neuron in neurons for label in neuron.labels}
    found = clusters(project, wanted, rows, given)
    made, head = project.made, project.head
    told = ("weights", "quantization", "site", "position", "sinks", "dictionary")
    of_model = {key: made["activations"][key] for key in told if key in made["activations"]}
    spread = neurons[0].distribution
    return Audit(
        neurons[0].name,
        made["activations"]["params"]["target"] | of_model,
        len(project.corpus),
        {key: None if np.isnan(spread[key]) else float(spread[key]) for key in SPREAD},
        [label for neuron in neurons for label in _labels(project, neuron, found, rows)],
        {it.end: _nearest(it.numbers) for it in neurons if not it.silent and not it.labels},
        {it.end: {name: it.numbers[name]["all"] for name in it.explained} for it in neurons},
        project.strata,
        neurons[0].confounders.to_pylist() if project.has("confounders.parquet") else [],
        {neuron.end: neuron.silent for neuron in neurons if neuron.silent},
        made["label"].get("warnings", []),
        made["label"].get("dropped", []),
        steps(project),
        head.sha,
        head.changed,
        head.unknown,
    )


def _labels(
    project: Project, neuron: Neuron, found: dict[str, Cluster], number: int
) -> Iterator[Label]:
    rows, values = neuron.sets.sets[neuron.end]
    b, verdicts = project.annotations, Verdicts(project.annotations)
    for label in neuron.labels:
        column = b.descriptors.index(label.descriptor)
        yes = b.at(rows)[:, column] == 1
        ranks = range(len(rows)) if number >= len(rows) else np.flatnonzero(yes)[:number]
        shown = [_Shown(int(rank), int(rows[rank]), float(values[rank])) for rank in ranks]
        yield Label(
            label.descriptor,
            neuron.end,
            rule_in_words(project.made["label"]["params"]),
            {split: label.splits[split] for split in SPLITS},
            {
                split: verdict(split, label.splits[split], project.fdr, project.strata)
                for split in SPLITS
            },
            int(yes.sum()),
            len(rows),
            list(_exemplars(project, verdicts, shown, column)),
            found[label.descriptor],
        )


class _Shown(NamedTuple):
    """An exemplar that is to be shown: its rank (from 0), row and activation."""

    rank: int
    row: int
    activation: float


def _exemplars(
    project: Project, verdicts: Verdicts, shown: Sequence[_Shown], column: int
) -> Iterator[Exemplar]:
    sentences = reviews(project, [it.row for it in shown])
    pairs = zip(shown, sentences, strict=True)
    said = answers(project, [verdicts.asked(one.text, it.row, column) for it, one in pairs])
    for it, review, answer in zip(shown, sentences, said, strict=True):
        yield Exemplar(it.rank + 1, it.activation, review, answer, project.cut.mark(it.row))


def reviews(project: Project, rows: Sequence[int]) -> list[Review]:
    """Some rows of the corpus, and the files that they were read from."""
    sha256 = project.made["corpus"]["inputs"]
    names = ("id", "text", "category", "split", "source", "line", "asin", "reviewer", "overall")
    found = project.sentences(rows).select(names).to_pylist()
    return [Review(**row, sha256=sha256.get(row["source"])) for row in found]


def reviews_of(project: Project, ids: Sequence[str]) -> list[Review]:
    """The sentences with these ids, which the corpus has."""
    wanted = pa.array(ids, pa.string())
    return reviews(project, pc.index_in(wanted, value_set=project.corpus["id"]).to_pylist())


def clusters(project: Project, wanted: set[str], rows: int, most: int) -> dict[str, Cluster]:
    """Return the raw descriptors behind some descriptors."""
    entries = project.clusters["descriptors"]
    chosen = {entry["name"]: entry for entry in entries if entry["name"] in wanted}
    shown = {name: list(islice(entry["phrases"].items(), rows)) for name, entry in chosen.items()}
    given = mentions(project, [p for found in shown.values() for p, _ in found], most)
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


def mentions(project: Project, phrases: Sequence[str], rows: int) -> dict[str, list[Mention]]:
    """The first mentions of each raw descriptor."""
    topics = Topics(project.made["describe"])
    only = pc.field("phrase").isin(pa.array(phrases, pa.string()))
    table = project.read("candidates.parquet", where=only)
    chosen: dict[str, list[dict[str, Any]]] = {phrase: [] for phrase in phrases}
    for row in table.to_pylist():
        if len(chosen[row["phrase"]]) < rows:
            chosen[row["phrase"]].append(row)
    flat = [row for found in chosen.values() for row in found]
    found = reviews_of(project, [row["id"] for row in flat])
    asked = [
        topics.asked(review.text, row["annotator"], row["phrase"], row["key"])
        for row, review in zip(flat, found, strict=True)
    ]
    each = iter([Mention(*pair) for pair in zip(found, answers(project, asked), strict=True)])
    return {phrase: list(islice(each, len(rows))) for phrase, rows in chosen.items()}


def rule_in_words(params: JSON) -> str:
    """Return the rule of labels in words."""
    if params["rule"] == "composition":
        rule = f"f > {params['threshold']}, by {params['frequency']}"
    else:
        strata = params["strata"]
        within = f" among sentences of the same {in_words(strata)}" if strata else ""
        rule = f"q < {params['fdr']} (enrichment{within})"
    return rule if params.get("top_k") is None else f"{rule}, the {params['top_k']} strongest"


def _nearest(descriptors: dict[str, dict[str, Numbers]]) -> JSON:
    """The descriptor of a neuron without label for which there is most evidence."""
    name, splits = next(iter(descriptors.items()))
    return {"descriptor": name, "f": splits["all"].f, "q": splits["all"].q}
