"""A run: the results of one folder, each file read when it is first needed, and then kept.

Numbers are as the stages wrote them. Tables are pyarrow tables, arrays are numpy arrays. Nothing
here loads a model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.exemplar_files import (
    NeuronExemplars,
    read_ends,
    read_neuron_exemplars,
    read_neurons,
)
from descry.activations.store import read_column
from descry.activations.top_k import ENDS, HIGHEST
from descry.activations.truncation import Cut, read_cut
from descry.annotators.annotations import Annotations, read_annotations, read_judgements
from descry.corpus.splits import HALVES
from descry.corpus.units import POSITIONS, SAMPLED, SENTENCES, marked
from descry.errors import InputError
from descry.evaluation.confounders import told
from descry.io.csv_rows import Row, read_csv
from descry.io.hashing import JSON, sha256_file
from descry.io.json_files import read_json
from descry.io.number_format import fixed, small
from descry.io.parquet import read_table, row_count
from descry.io.read_provenance import provenance_of
from descry.io.sanitize import printable
from descry.labels.results import (
    Labels,
    Numbers,
    neuron_labels,
    read_labels,
    surest,
)
from descry.models.neurons import Neurons, same_neurons

if TYPE_CHECKING:
    from descry.n2g.search import Entry

FILES = {
    "corpus.parquet": "corpus",
    "candidates.parquet": "describe",
    "descriptors.json": "cluster",
    "activations.h5": "activations",
    "exemplars.h5": "exemplars",
    "positions.parquet": "exemplars",
    "tokens.parquet": "tokens",
    "untrained.h5": "untrained",
    "graphs.parquet": "graphs",
    "graphs.csv": "graphs",
    "annotations.h5": "annotate",
    "judgements.h5": "judge",
    "labels.parquet": "label",
    "composed.parquet": "label",
    "neurons.json": "label",
    "writes.parquet": "writes",
    "facets.parquet": "facets",
    "metrics.json": "evaluate",
    "curves.csv": "evaluate",
    "nulls.csv": "evaluate",
    "alignment.csv": "evaluate",
    "descriptors.csv": "evaluate",
    "correlation.csv": "evaluate",
    "confounders.parquet": "evaluate",
    "label_scores.parquet": "evaluate",
    "scores.json": "score",
    "scores.csv": "score",
    "interventions.json": "interventions",
    "interventions.csv": "interventions",
    "exemplar_words.parquet": "interventions",
}  # the results by their names, and the stages that make them
UNTRAINED = "untrained.h5"
_TELLING = (".parquet", ".h5", ".json")  # results that say what made them
_HASHED = 2**25  # bytes of a file that is hashed to see whether others were made of it
_TEXTS = {
    "against", "score", "end", "chosen", "descriptor", "first", "second", "layer", "predictor",
    "neuron", "scorer", "description", "other", "undefined", "intervention", "kind",
}  # fmt: skip
_SHOWN = 10  # rows of a table in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """The results of a run.

    An attribute reads its file at the first access. If the file is missing or damaged, it raises
    `InputError`, one line that names the file.

    Attributes:
        results: folder of the results.
        files: results in other places, by their names in `FILES`.
    """

    results: Path
    files: Mapping[str, Path] = field(default_factory=dict, kw_only=True)

    def path(self, name: str) -> Path:
        """Return the path of a result, present or not: `name` is a name in `FILES`."""
        return self.files.get(name, self.results / name)

    def has(self, name: str) -> bool:
        """Whether a result is present."""
        return self.path(name).is_file()

    def read(
        self, name: str, columns: list[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Read some columns, or the rows that `where` selects, of a Parquet result; not kept.

        `run.read("labels.parquet", ["neuron", "descriptor"], pc.field("assigned"))` takes little
        memory, where all of a large labels.parquet (see `labels`) would take gigabytes.
        """
        return read_table(self.path(name), FILES[name], columns, where)

    def rows(self, name: str) -> list[Row]:
        """Read the rows of a CSV result: numbers as floats (NaN where empty), names as str."""
        path, made_by = self.path(name), FILES[name]
        texts = _TEXTS | ({"null"} if name == "nulls.csv" else set())
        first = read_csv(path, made_by, [])[:1]
        return read_csv(path, made_by, [key for row in first for key in row if key not in texts])

    def provenance(self, name: str) -> JSON:
        """Return what made a result: its stage, params, hashes of inputs, versions of packages."""
        if name not in self._provenance:
            self._provenance[name] = provenance_of(self.path(name), FILES[name])
        return self._provenance[name]

    @cached_property
    def _provenance(self) -> dict[str, JSON]:
        return {}

    def check(self) -> None:
        """Refuse results that were not made from each other.

        Each result records the sha256 of its inputs. An input of up to 32 MiB is hashed; of a
        larger one, all results made from it must record the same hash.

        Raises:
            InputError: two files do not belong together; the message names the first two.
        """
        for source, made in self._inputs().items():
            path = self.path(source)
            small = path.is_file() and path.stat().st_size <= _HASHED
            found = sha256_file(path) if small else next(iter(made))
            for sha256, name in made.items():
                if sha256 != found:
                    other = "" if small else f" than {made[found]}"
                    raise InputError(
                        f"{self.path(name)}: made of another {source}{other}: run `snakemake"
                        " --cores all`, or read them with `descry.open(..., check=False)`"
                    )

    def _inputs(self) -> dict[str, dict[str, str]]:
        """For each input: the recorded hashes, and which result records each."""
        found: dict[str, dict[str, str]] = {}
        for name in FILES:
            if name.endswith(_TELLING) and name != "corpus.parquet" and self.has(name):
                for source, sha256 in self.provenance(name)["inputs"].items():
                    if (last := PurePosixPath(source).name) in FILES:
                        found.setdefault(last, {}).setdefault(sha256, name)
        return found

    @cached_property
    def units(self) -> str:
        """The table of labelled units: corpus.parquet, or (unit `token`) positions.parquet."""
        for name in ("exemplars.h5", "labels.parquet", "annotations.h5"):
            if self.has(name):
                made = self.provenance(name)
                read = {PurePosixPath(source).name for source in made["inputs"]}
                return POSITIONS if {POSITIONS, UNTRAINED} & read else SENTENCES
        return SENTENCES

    @cached_property
    def corpus(self) -> pa.Table:
        """The labelled units, one row per sentence: id, text, category, split, source, line, ...

        With unit `token` a row is a position, and `text` the words around it.
        """
        return read_table(self.path(self.units), "corpus")

    @property
    def standing(self) -> pa.Table:
        """The rows of `corpus` that represent all sentences; with unit `token` the sample."""
        if SAMPLED not in self.corpus.column_names:
            return self.corpus
        return self.corpus.filter(self.corpus[SAMPLED])

    @cached_property
    def tokens(self) -> pa.Table:
        """tokens.parquet, the words that neurons peak at: count, expected, p, q, assigned."""
        return self.read("tokens.parquet")

    @cached_property
    def candidates(self) -> pa.Table:
        """candidates.parquet, a row per mention of a raw descriptor: id, annotator, phrase, key."""
        return self.read("candidates.parquet")

    @cached_property
    def labels(self) -> pa.Table:
        """labels.parquet, a row per end, split, neuron and descriptor: f, count, lift, p, q, ...

        The whole file, about 80 bytes a row: 3 GB for 18,432 neurons and 700 descriptors. `neuron`
        and `read` read only what they need.
        """
        return self.read("labels.parquet")

    @cached_property
    def surest(self) -> pa.Table:
        """The labels of the whole corpus, the surest first: layer, neuron, descriptor, q, ...

        Labels that both halves confirm come first (column `replicated`), and of these the label
        with the lowest p within strata.
        """
        return surest(self.path("labels.parquet"))

    @property
    def strata(self) -> list[str]:
        """The covariates that sentences are matched on when labels are tested, such as words."""
        return list(self.provenance("labels.parquet")["params"]["strata"] or ())

    @property
    def fdr(self) -> float:
        """The false discovery rate at which a label is significant."""
        return float(self.provenance("labels.parquet")["params"]["fdr"])

    @cached_property
    def composed(self) -> pa.Table:
        """composed.parquet, a row per end, split and neuron: formula, length, iou, ..."""
        return self.read("composed.parquet")

    @cached_property
    def label_scores(self) -> pa.Table:
        """label_scores.parquet: how well each label predicts the activations of its neuron."""
        return self.read("label_scores.parquet")

    @cached_property
    def writes(self) -> pa.Table:
        """writes.parquet, a row per neuron: writes, score, p, q, promoted_token, promoted_z, ...

        There are no rows if neurons have no output weights or the model has no head; then
        `writes_nothing` says so.
        """
        return self.read("writes.parquet")

    @property
    def writes_nothing(self) -> str | None:
        """Why nobody can say what the neurons write; None if writes.parquet says it."""
        why = self.provenance("writes.parquet").get("undefined")
        return None if why is None else str(why)

    @cached_property
    def facets(self) -> pa.Table:
        """facets.parquet, a row per labelled neuron: facets, cover, labelled, close, breadth, ...

        There are no rows if stage facets was not enabled (`facets_nothing`). `facets_chance` is
        what chance gives.
        """
        return self.read("facets.parquet")

    @property
    def facets_nothing(self) -> str | None:
        """Why there are no facets; None if facets.parquet has them."""
        why = self.provenance("facets.parquet").get("undefined")
        return None if why is None else str(why)

    @property
    def facets_chance(self) -> dict[str, JSON]:
        """The facets by chance: neurons, parted, bound, lots_labels, random_labels, ..."""
        return dict(self.provenance("facets.parquet").get("chance", {}))

    @cached_property
    def confounders(self) -> pa.Table:
        """confounders.parquet, a row per neuron and covariate: rho, rho_chance, exemplars, ..."""
        return self.read("confounders.parquet")

    @cached_property
    def annotations(self) -> Annotations:
        """annotations.h5, the annotator's answers about sentences x descriptors.

        Answers are bits, because a table of all pairs would be too large: `.yes(descriptor)`,
        `.answered(descriptor)` and `.odds(descriptor)` are arrays in the order of `corpus`;
        `run.descriptors[name].answers` is a descriptor's table.
        """
        return read_annotations(self.path("annotations.h5"))

    @cached_property
    def judgements(self) -> Annotations | None:
        """judgements.h5, a second annotator's answers; None if there was no judge."""
        return read_judgements(self.path("judgements.h5"))

    @cached_property
    def metrics(self) -> dict[str, JSON]:
        """metrics.json as nested plain values: `run.metrics["gold"]["precision"]`."""
        whole = read_json(self.path("metrics.json"), "evaluate")
        return {key: value for key, value in whole.items() if key != "made"}

    @cached_property
    def scores(self) -> dict[str, JSON]:
        """scores.json as nested plain values: how well labels tell sentences apart."""
        whole = read_json(self.path("scores.json"), "score")
        return {key: value for key, value in whole.items() if key != "made"}

    @cached_property
    def interventions(self) -> dict[str, JSON]:
        """interventions.json as nested plain values: what labelled neurons change at the output."""
        whole = read_json(self.path("interventions.json"), "interventions")
        return {key: value for key, value in whole.items() if key != "made"}

    @cached_property
    def exemplar_words(self) -> pa.Table:
        """exemplar_words.parquet: what the words of top sentences do for labelled neurons.

        A row per end, neuron and sentence (`row` of `corpus`): the activation of the sentence, and
        start, stop (characters) and value of its words. A value is the activation at the word, or
        what the sentence's activation loses without it: `measure` of what made the file.
        """
        return self.read("exemplar_words.parquet")

    @cached_property
    def clusters(self) -> dict[str, JSON]:
        """descriptors.json: `descriptors` and `dropped`, each with its raw descriptors."""
        return dict(read_json(self.path("descriptors.json"), "cluster"))

    @cached_property
    def inverse(self) -> dict[str, dict[str, dict[str, list[str]]]]:
        """neurons.json: the names of the neurons of each end, split and descriptor."""
        whole = read_json(self.path("neurons.json"), "label")
        return {HIGHEST: whole["neurons"]} | {end: whole[end] for end in ENDS if end in whole}

    @cached_property
    def cut(self) -> Cut:
        """How many tokens of each sentence the target model has not seen."""
        found = read_cut(self.path("activations.h5"))
        if self.units == SENTENCES:
            return found
        return Cut(found.most, found.tokens[self.corpus["sentence"].to_numpy()])

    @cached_property
    def neurons(self) -> Neurons:
        """The names and number of the neurons."""
        return read_neurons(self.path("exemplars.h5"))

    @cached_property
    def ends(self) -> list[str]:
        """The ends of the activations that have labels: highest, and lowest if it was on.

        Raises:
            InputError: the exemplars were made again without one of these ends.
        """
        labels, path = self.path("labels.parquet"), self.path("exemplars.h5")
        of_a_neuron = neuron_labels(labels, self.neurons.layers[0], 0)  # every neuron has the same
        ends = [end for end in ENDS if end in of_a_neuron]
        if absent := set(ends) - set(read_ends(path)):
            raise InputError(
                f"{path}: no sets of the {min(absent)} activations, which labels.parquet has: run"
                " `descry stage label` again"
            )
        return ends

    def label_arrays(self, end: str = HIGHEST) -> Labels:
        """Read an end of labels.parquet as arrays [layers, neurons, descriptors] by split.

        Memory: 53 bytes per neuron, descriptor and split.
        """
        return read_labels(self.path("labels.parquet"), end)

    def neuron(self, name: str, end: str = HIGHEST) -> "Neuron":
        """Return a neuron, such as L5:50 (layer 5, neuron 50; both count from 0).

        Args:
            name: name of the neuron.
            end: `highest` or, if exemplars.lowest was on, `lowest` activations.

        Raises:
            InputError: there is no such neuron.
        """
        return Neuron(self, *self.neurons.find(name), end)

    @cached_property
    def dictionary(self) -> JSON | None:
        """The dictionary whose latents are the neurons; None if they are the model's own neurons.

        Keys: name, sha256, kind, latents, width, and each layer's architecture and hook.
        """
        return self.provenance("exemplars.h5").get("dictionary")

    @property
    def kind(self) -> str:
        """The kind of the neurons: neuron, or latent or direction of `dictionary`."""
        return str(self.dictionary["kind"]) if self.dictionary else "neuron"

    @cached_property
    def descriptors(self) -> dict[str, "Descriptor"]:
        """The descriptors by name, the most mentioned first."""
        return {entry["name"]: Descriptor(self, entry) for entry in self.clusters["descriptors"]}

    def sentences(self, rows: Sequence[int] | np.ndarray) -> pa.Table:
        """Return some rows of `corpus`."""
        return self.corpus.take(pa.array(rows, pa.int64()))

    def __repr__(self) -> str:
        return f"<Run {printable(str(self.results))}>"

    def _repr_html_(self) -> str:
        labels, sentences = self.surest, row_count(self.path(self.units), "corpus")
        labelled = labels.group_by(["layer", "neuron"]).aggregate([]).num_rows
        every = f"{sentences:,} sentences, {len(self.neurons):,} {self.kind}s"
        title = f"{self.results}: {every}, {labelled:,} with a label; the surest labels"
        rows = [
            (f"L{one['layer']}:{one['neuron']}", *_told(one))
            for one in labels.slice(0, _SHOWN).to_pylist()
        ]
        return _html(title, ("neuron", *_COLUMNS), rows)


_COLUMNS = "label", "exemplars", "expected", "q", "q among all", "both halves confirm"


def _told(row: Row) -> tuple[str, ...]:
    """A label in the `_COLUMNS` of a notebook's table."""
    numbers = str(row["count"]), fixed(row["expected"], 1)
    q = small(row["q"]), small(row["q_unmatched"])
    return row["descriptor"], *numbers, *q, "yes" if row["replicated"] else "no"


@dataclass(frozen=True)
class NeuronLabel:
    """A descriptor that is a label of a neuron.

    Attributes:
        splits: numbers in the whole corpus (`all`), and in each half (`calibration`, `validation`).
    """

    descriptor: str
    splits: Mapping[str, Numbers]

    @property
    def f(self) -> float | None:
        """f(c) in the whole corpus, 0 to 1: share of all descriptors of the exemplars.

        With label.frequency `sentences`: the share of exemplars that have the descriptor.
        """
        return self.splits["all"].f

    @property
    def lift(self) -> float | None:
        """f(c) divided by the base rate: how many times as frequent as in the corpus."""
        return self.splits["all"].lift

    @property
    def q(self) -> float | None:
        """The false discovery rate at which the test within strata passes, 0 to 1."""
        return self.splits["all"].q

    @property
    def q_unmatched(self) -> float | None:
        """q without strata: too low if length or another covariate explains the label."""
        return self.splits["all"].q_unmatched

    @property
    def replicated(self) -> bool:
        """Whether each half of the corpus alone has p < .05 within strata."""
        return all(self.splits[half].confirmed for half in HALVES)

    @property
    def in_both_halves(self) -> bool:
        """Whether each half of the corpus alone assigns the label, too."""
        return all(self.splits[half].assigned for half in HALVES)


@dataclass(frozen=True, eq=False, repr=False)
class Neuron:
    """A neuron at one end of its activations.

    Attributes:
        row: row of the layer in arrays [layers, neurons].
        index: index of the neuron in its layer.
        end: highest or lowest activations.
    """

    run: Run
    row: int
    index: int
    end: str = HIGHEST

    @property
    def name(self) -> str:
        """Name of the neuron, such as L5:50."""
        return self.run.neurons.name(self.row, self.index)

    @property
    def layer(self) -> int:
        """Number of the layer in the model."""
        return self.run.neurons.layers[self.row]

    @property
    def _rows(self) -> pc.Expression:
        return (pc.field("layer") == self.layer) & (pc.field("neuron") == self.index)

    @cached_property
    def numbers(self) -> dict[str, dict[str, Numbers]]:
        """Numbers of every descriptor from labels.parquet, by descriptor and split.

        The surest descriptor, with the lowest p within strata in the whole corpus, comes first.
        Only the neuron's rows are read.
        """
        found = neuron_labels(self.run.path("labels.parquet"), self.layer, self.index)
        if self.end not in found:
            raise InputError(
                f"{self.run.path('labels.parquet')}: no labels of {self.end} activations"
            )
        of_end = found[self.end]
        return {name: of_end[name] for name in sorted(of_end, key=lambda c: of_end[c]["all"].order)}

    @property
    def labels(self) -> list[NeuronLabel]:
        """Labels in the whole corpus, the surest first; a silent neuron has none."""
        every = self.numbers.items()
        return [NeuronLabel(name, splits) for name, splits in every if splits["all"].assigned]

    @property
    def explained(self) -> list[str]:
        """Descriptors that would be labels without strata: a covariate explains them."""
        every = self.numbers.items()
        return [name for name, splits in every if splits["all"].explained(self.run.fdr)]

    @cached_property
    def confounders(self) -> pa.Table:
        """What the neuron follows beside topics, a row per covariate: rho, rho_chance, ..."""
        return self.run.read("confounders.parquet", where=self._rows).drop_columns(
            ["layer", "neuron"]
        )

    @cached_property
    def tokens(self) -> pa.Table:
        """With unit `token`: the words that the neuron peaks at, the surest first.

        Columns: word, count, expected, p, q, assigned.
        """
        of = (pc.field("end") == self.end) & (pc.field("split") == "all")
        found = self.run.read("tokens.parquet", where=self._rows & of)
        return found.drop_columns(["end", "split", "layer", "neuron"])

    @cached_property
    def writes(self) -> Row | None:
        """The row of writes.parquet (writes, score, p, q, promoted_token, ...), or None."""
        rows = self.run.read("writes.parquet", where=self._rows).to_pylist()
        return rows[0] if rows else None

    @cached_property
    def facets(self) -> Row | None:
        """The neuron's row of facets.parquet (facets, cover, labelled, close, breadth), or None.

        `facets` are groups of exemplars with labels of their own. `cover` are descriptors that
        cover the exemplars. `close` are close negatives (`close_negatives` has their texts), and
        `breadth` says which labels fit them, too.
        """
        rows = self.run.read("facets.parquet", where=self._rows).to_pylist()
        return rows[0] if rows else None

    @cached_property
    def close_negatives(self) -> pa.Table:
        """The sentences most like the exemplars that do not excite the neuron, most similar first.

        Columns: row (of the corpus), id, text, split, similarity, activation, descriptors.

        Raises:
            InputError: facets.parquet has no close negatives of this neuron.
        """
        own = self.facets
        if own is None or own["close"] is None:
            raise InputError(
                f"{self.run.path('facets.parquet')}: no close negatives of {self.name}"
            )
        close = sorted(own["close"], key=lambda one: -one["similarity"])
        rows = np.array([one["row"] for one in close], dtype=np.intp)
        found, names = self.run.sentences(rows), self.run.annotations.descriptors
        yes = (self.run.annotations.at(rows) == 1) & [name in self.numbers for name in names]
        return pa.table(
            {
                "row": pa.array(rows, pa.int32()),
                **{name: found[name] for name in ("id", "text", "split")},
                "similarity": pa.array([one["similarity"] for one in close], pa.float64()),
                "activation": pa.array([one["activation"] for one in close], pa.float32()),
                "descriptors": pa.array(
                    [[names[c] for c in np.flatnonzero(one)] for one in yes], pa.list_(pa.string())
                ),
            }
        )

    @cached_property
    def interventions(self) -> list[Row]:
        """The neuron's rows of interventions.csv: descriptor, intervention, kind, distance, ..."""
        rows = self.run.rows("interventions.csv")
        return [row for row in rows if row["neuron"] == self.name]

    @cached_property
    def sets(self) -> NeuronExemplars:
        """The exemplar set (rows of the corpus, activations) and the distribution, as arrays."""
        path = self.run.path("exemplars.h5")
        return read_neuron_exemplars(path, self.row, self.index, [self.end])

    @property
    def silent(self) -> str | None:
        """Why the neuron has no exemplars; None if it has some."""
        return self.sets.silent.get(self.end)

    @property
    def distribution(self) -> dict[str, np.ndarray]:
        """Mean, deviation and so on of the activations over all sentences, and their histogram."""
        return self.sets.distribution

    @cached_property
    def exemplars(self) -> pa.Table:
        """The sentences that excite the neuron most, the strongest first.

        Columns: rank (from 1), row (of the corpus), id, text, activation (float32), descriptors (a
        list of the possible labels to which the annotator said Yes). With position `max` also
        marked: the text with the word of the highest token in « ».
        """
        rows, values = self.sets.sets[self.end]
        found, names = self.run.sentences(rows), self.run.annotations.descriptors
        yes = (self.run.annotations.at(rows) == 1) & [name in self.numbers for name in names]
        words, own = self.sets.words.get(self.end), {}
        if words is not None:
            texts = zip(found["text"].to_pylist(), words.tolist(), strict=True)
            shown = [text if at[0] < 0 else marked(text, *at) for text, at in texts]
            own["marked"] = pa.array(shown, pa.string())
        return pa.table(
            {
                "rank": pa.array(range(1, len(rows) + 1), pa.int32()),
                "row": pa.array(rows, pa.int32()),
                "id": found["id"],
                "text": found["text"],
                "activation": pa.array(values, pa.float32()),
                "descriptors": pa.array(
                    [[names[c] for c in np.flatnonzero(one)] for one in yes], pa.list_(pa.string())
                ),
            }
            | own
        )

    @cached_property
    def answers(self) -> pa.Table:
        """The annotator's answer about every exemplar and descriptor.

        Columns: rank, id, descriptor, yes (bool; null without a usable answer).
        """
        rows, _ = self.sets.sets[self.end]
        answer, names = self.run.annotations.at(rows), self.run.annotations.descriptors
        ids = self.exemplars["id"].to_pylist()
        flat = answer.ravel()
        return pa.table(
            {
                "rank": pa.array(np.repeat(np.arange(1, len(rows) + 1), len(names)), pa.int32()),
                "id": pa.array([name for name in ids for _ in names], pa.string()),
                "descriptor": pa.array(names * len(rows), pa.string()),
                "yes": pa.array(flat == 1, pa.bool_(), mask=flat < 0),
            }
        )

    @cached_property
    def composed(self) -> pa.Table:
        """The compositional labels, a row per split: split, formula, length, iou (0 to 1), ..."""
        where = self._rows & (pc.field("end") == self.end)
        whole = self.run.read("composed.parquet", where=where)
        return whole.drop_columns(["end", "layer", "neuron"])

    @cached_property
    def graph(self) -> "Entry | None":
        """The N2G graph (`.graph`, `.words` of its tokens, `.scores`); None if none was made.

        None also if the graphs are of another site than the labels; `descry graph` shows those.
        """
        from descry.n2g.search import read_graphs

        made, ours = (self.run.provenance(f) for f in ("graphs.parquet", "activations.h5"))
        if not same_neurons(made, ours):
            return None
        if not len(self.run.read("graphs.parquet", ["neuron"], self._rows)):
            return None
        return read_graphs(self.run.path("graphs.parquet"), self.name)[self.name]

    @cached_property
    def activations(self) -> np.ndarray:
        """The activation in every sentence, float32 [sentences], in the order of the corpus.

        Raises:
            InputError: activations.h5 is missing, or was made without the matrix.
        """
        return read_column(self.run.path("activations.h5"), self.row, self.index)

    def __repr__(self) -> str:
        return f"<Neuron {self._title()}>"

    def _title(self) -> str:
        said = [f"{printable(one.descriptor)} (q {small(one.q)})" for one in self.labels]
        end = "" if self.end == HIGHEST else f", {self.end} activations"
        return f"{self.name}{end}: {', '.join(said) or self.silent or 'no label'}"

    def _repr_html_(self) -> str:
        labels = [
            _told(
                {"descriptor": one.descriptor, "replicated": one.replicated}
                | vars(one.splits["all"])
            )
            for one in self.labels
        ]
        tables = [_html(self._title(), _COLUMNS, labels)]
        if self.run.has("confounders.parquet"):
            follows = [
                (row["covariate"], fixed(row["rho"], 2), fixed(row["rho_chance"], 2), *told(row))
                for row in self.confounders.to_pylist()
            ]
            columns = "covariate", "rho", "by chance", "exemplars", "matched", "corpus"
            tables.append(_html("what it follows", columns, follows))
        some = self.exemplars.slice(0, _SHOWN).to_pylist()
        rows = [
            (fixed(row["activation"]), row["text"], ", ".join(row["descriptors"])) for row in some
        ]
        shown = f"{len(rows)} of {len(self.exemplars)} exemplars"
        return "".join([*tables, _html(shown, ("activation", "sentence", "descriptors"), rows)])


@dataclass(frozen=True, eq=False, repr=False)
class Descriptor:
    """A descriptor: a cluster of raw descriptors, about which the annotator was asked.

    Attributes:
        cluster: entry in descriptors.json.
    """

    run: Run
    cluster: Mapping[str, JSON]

    @property
    def name(self) -> str:
        """Name of the descriptor."""
        return str(self.cluster["name"])

    @property
    def phrases(self) -> dict[str, int]:
        """The raw descriptors and how often each was mentioned, the most frequent first."""
        return dict(self.cluster["phrases"])

    @property
    def fate(self) -> str | None:
        """Why the descriptor cannot be a label; None if it can."""
        dropped = self.run.provenance("labels.parquet").get("dropped", [])
        return {it["descriptor"]: str(it["reason"]) for it in dropped}.get(self.name)

    @property
    def neurons(self) -> list[str]:
        """The neurons that it labels by their highest activations, in the whole corpus."""
        return self.neurons_in("all")

    def neurons_in(self, split: str, end: str = HIGHEST) -> list[str]:
        """Return the neurons that it labels in a split, at an end of the activations."""
        return self.run.inverse[end][split].get(self.name, [])

    @cached_property
    def base_rate(self) -> float | None:
        """f(c) in the whole corpus instead of exemplars, 0 to 1; None if it was dropped."""
        neuron = self.run.neuron(self.run.neurons.name(0, 0))
        return neuron.numbers[self.name]["all"].base_rate if self.name in neuron.numbers else None

    @property
    def sentences(self) -> pa.Table:
        """The rows of the corpus to which the annotator said Yes."""
        return self.run.sentences(np.flatnonzero(self.run.annotations.yes(self.name)))

    @property
    def answers(self) -> pa.Table:
        """The annotator's answers about the descriptor, a row per sentence.

        Columns: id, yes (bool; null without a usable answer), odds (log-odds of Yes, float32; null
        if the annotator answered in words).
        """
        b = self.run.annotations
        rows = np.flatnonzero(b.asked)
        yes, without = b.yes(self.name)[rows], ~b.answered(self.name)[rows]
        return pa.table(
            {
                "id": self.run.corpus["id"].take(pa.array(rows)),
                "yes": pa.array(yes, pa.bool_(), mask=without),
                "odds": pa.array(b.odds(self.name)[rows], pa.float32(), from_pandas=True),
            }
        )

    def __repr__(self) -> str:
        return f"<Descriptor {self._title()}>"

    def _title(self) -> str:
        of = self.fate or f"label of {len(self.neurons):,} neurons"
        return f"{printable(self.name)}: {of}"

    def _repr_html_(self) -> str:
        phrases = list(self.phrases.items())[:_SHOWN]
        title = f"{self._title()}; {len(phrases)} of {len(self.phrases)} raw descriptors"
        return _html(title, ("raw descriptor", "mentions"), phrases)


def _html(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; every text is escaped, since reviews and descriptors are strangers'."""
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><caption>{_text(title)}</caption><tr>{head}</tr>{body}</table>"


def _text(value: object) -> str:
    return escape(printable(str(value)))
