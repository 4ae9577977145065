"""A run: the results of one folder, each file read when it is first wanted, and then kept.

Numbers are as the stages wrote them: tables are pyarrow's (`.to_pandas()` is the reader's choice),
arrays are numpy's. Nothing here loads a model.
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

    Every attribute reads its file at the first look and raises `InputError` (one line that names
    the file) where that is missing or damaged.

    Attributes:
        results: the folder.
        files: results that lie elsewhere, by their names in `FILES`.
    """

    results: Path
    files: Mapping[str, Path] = field(default_factory=dict, kw_only=True)

    def path(self, name: str) -> Path:
        """Where a result is, or would be: `name` is a name in `FILES`."""
        return self.files.get(name, self.results / name)

    def has(self, name: str) -> bool:
        """Whether a result is here."""
        return self.path(name).is_file()

    def read(
        self, name: str, columns: list[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Read a Parquet result, which is not kept: some columns, or the rows that `where` wants.

        `run.read("labels.parquet", ["neuron", "descriptor"], pc.field("assigned"))` holds little
        where the whole of a large labels.parquet (see `labels`) would take gigabytes.
        """
        return read_table(self.path(name), FILES[name], columns, where)

    def rows(self, name: str) -> list[Row]:
        """The rows of a CSV result: numbers as floats (NaN where empty), names as str."""
        path, made_by = self.path(name), FILES[name]
        texts = _TEXTS | ({"null"} if name == "nulls.csv" else set())
        first = read_csv(path, made_by, [])[:1]
        return read_csv(path, made_by, [key for row in first for key in row if key not in texts])

    def provenance(self, name: str) -> JSON:
        """What made a result: its stage, params, hashes of inputs, versions of packages."""
        if name not in self._provenance:
            self._provenance[name] = provenance_of(self.path(name), FILES[name])
        return self._provenance[name]

    @cached_property
    def _provenance(self) -> dict[str, JSON]:
        return {}

    def check(self) -> None:
        """Refuse results that were not made of each other.

        Each result records the sha256 of its inputs. An input of up to 32 MiB is hashed; for a
        larger one, the results that were made of it must record the same hash.

        Raises:
            InputError: naming the first two files that do not belong together.
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
        """Of each result that others were made of, the hashes on record and whose record it is."""
        found: dict[str, dict[str, str]] = {}
        for name in FILES:
            if name.endswith(_TELLING) and name != "corpus.parquet" and self.has(name):
                for source, sha256 in self.provenance(name)["inputs"].items():
                    if (last := PurePosixPath(source).name) in FILES:
                        found.setdefault(last, {}).setdefault(sha256, name)
        return found

    @cached_property
    def units(self) -> str:
        """The table of what is labelled: corpus.parquet, or with unit `token` positions.parquet."""
        for name in ("exemplars.h5", "labels.parquet", "annotations.h5"):
            if self.has(name):
                made = self.provenance(name)
                read = {PurePosixPath(source).name for source in made["inputs"]}
                return POSITIONS if {POSITIONS, UNTRAINED} & read else SENTENCES
        return SENTENCES

    @cached_property
    def corpus(self) -> pa.Table:
        """What is labelled, a row a sentence: id, text, category, split, source, line, ...

        With unit `token` a row is a position: `text` are the words around it.
        """
        return read_table(self.path(self.units), "corpus")

    @property
    def standing(self) -> pa.Table:
        """The rows of `corpus` that stand for all: the sample, with unit `token`."""
        if SAMPLED not in self.corpus.column_names:
            return self.corpus
        return self.corpus.filter(self.corpus[SAMPLED])

    @cached_property
    def tokens(self) -> pa.Table:
        """tokens.parquet, the words that neurons peak at: count, expected, p, q, assigned."""
        return self.read("tokens.parquet")

    @cached_property
    def candidates(self) -> pa.Table:
        """candidates.parquet, a row a mention of a raw descriptor: id, annotator, phrase, key."""
        return self.read("candidates.parquet")

    @cached_property
    def labels(self) -> pa.Table:
        """labels.parquet, a row per end, split, neuron and descriptor: f, count, lift, p, q, ...

        All of it, about 80 bytes a row: 3 GB for 18,432 neurons and 700 descriptors. `neuron` and
        `read` take what they need out of the file instead.
        """
        return self.read("labels.parquet")

    @cached_property
    def surest(self) -> pa.Table:
        """The labels of the whole corpus, the surest first: layer, neuron, descriptor, q, ...

        Those that both halves confirm come before the others, and of these the lowest p within
        strata; the column `replicated` says which they are.
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
        """writes.parquet, a row a neuron: writes, score, p, q, promoted_token, promoted_z, ...

        No row where neurons have no output weights, or the model has no head: `writes_nothing`.
        """
        return self.read("writes.parquet")

    @property
    def writes_nothing(self) -> str | None:
        """Why nobody can say what the neurons write; None where writes.parquet does."""
        why = self.provenance("writes.parquet").get("undefined")
        return None if why is None else str(why)

    @cached_property
    def facets(self) -> pa.Table:
        """facets.parquet, a row a labelled neuron: facets, cover, labelled, close, breadth, ...

        No row where none were looked for: `facets_nothing`. What chance gives is `facets_chance`.
        """
        return self.read("facets.parquet")

    @property
    def facets_nothing(self) -> str | None:
        """Why there are no facets; None where facets.parquet has them."""
        why = self.provenance("facets.parquet").get("undefined")
        return None if why is None else str(why)

    @property
    def facets_chance(self) -> dict[str, JSON]:
        """What stands beside the facets: neurons, parted, bound, lots_labels, random_labels, ..."""
        return dict(self.provenance("facets.parquet").get("chance", {}))

    @cached_property
    def confounders(self) -> pa.Table:
        """confounders.parquet, a row a neuron and covariate: rho, rho_chance, exemplars, ..."""
        return self.read("confounders.parquet")

    @cached_property
    def annotations(self) -> Annotations:
        """annotations.h5, the annotator's answers about sentences x descriptors.

        As bits, a table of all pairs being too large: `.yes(descriptor)`, `.answered(descriptor)`
        and `.odds(descriptor)` are arrays over the sentences in the order of `corpus`;
        `run.descriptors[name].answers` is a descriptor's table.
        """
        return read_annotations(self.path("annotations.h5"))

    @cached_property
    def judgements(self) -> Annotations | None:
        """judgements.h5, a second annotator's answers; None where there was no judge."""
        return read_judgements(self.path("judgements.h5"))

    @cached_property
    def metrics(self) -> dict[str, JSON]:
        """metrics.json as nested plain values: `run.metrics["gold"]["precision"]`."""
        whole = read_json(self.path("metrics.json"), "evaluate")
        return {key: value for key, value in whole.items() if key != "made"}

    @cached_property
    def scores(self) -> dict[str, JSON]:
        """scores.json as nested plain values: how well descriptions tell a neuron's sentences."""
        whole = read_json(self.path("scores.json"), "score")
        return {key: value for key, value in whole.items() if key != "made"}

    @cached_property
    def interventions(self) -> dict[str, JSON]:
        """interventions.json as nested plain values: what labelled neurons change at the output."""
        whole = read_json(self.path("interventions.json"), "interventions")
        return {key: value for key, value in whole.items() if key != "made"}

    @cached_property
    def clusters(self) -> dict[str, JSON]:
        """descriptors.json: `descriptors` and `dropped`, each with its raw descriptors."""
        return dict(read_json(self.path("descriptors.json"), "cluster"))

    @cached_property
    def inverse(self) -> dict[str, dict[str, dict[str, list[str]]]]:
        """neurons.json: by end, split and descriptor the names of the neurons that it labels."""
        whole = read_json(self.path("neurons.json"), "label")
        return {HIGHEST: whole["neurons"]} | {end: whole[end] for end in ENDS if end in whole}

    @cached_property
    def cut(self) -> Cut:
        """Of each sentence the tokens that the target model has not seen."""
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
        """The ends of the activations that have labels: highest, and lowest where it was asked for.

        Raises:
            InputError: the exemplars were made again without one of them.
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
        """One end of labels.parquet as arrays [layers, neurons, descriptors] by split, not kept.

        53 bytes a neuron, descriptor and split.
        """
        return read_labels(self.path("labels.parquet"), end)

    def neuron(self, name: str, end: str = HIGHEST) -> "Neuron":
        """A neuron, such as L5:50 (layer 5, neuron 50; both count from 0).

        Args:
            end: `highest` for what its highest activations respond to, or `lowest` where
                exemplars.lowest was on.

        Raises:
            InputError: there is no such neuron.
        """
        return Neuron(self, *self.neurons.find(name), end)

    @cached_property
    def dictionary(self) -> JSON | None:
        """Whose latents the neurons are: name, sha256, kind, latents, width, and each layer's
        architecture and hook. None where they are the model's own.
        """
        return self.provenance("exemplars.h5").get("dictionary")

    @property
    def kind(self) -> str:
        """What its neurons are: neuron; or latent or direction, of `dictionary`."""
        return str(self.dictionary["kind"]) if self.dictionary else "neuron"

    @cached_property
    def descriptors(self) -> dict[str, "Descriptor"]:
        """The descriptors by name, those with the most mentions first."""
        return {entry["name"]: Descriptor(self, entry) for entry in self.clusters["descriptors"]}

    def sentences(self, rows: Sequence[int] | np.ndarray) -> pa.Table:
        """Some rows of `corpus`."""
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
        splits: its numbers in the whole corpus (`all`) and in each half, `calibration` and
            `validation`.
    """

    descriptor: str
    splits: Mapping[str, Numbers]

    @property
    def f(self) -> float | None:
        """f(c) in the whole corpus, 0 to 1: its share of all descriptors of the exemplars.

        Or of the exemplars themselves, where label.frequency is `sentences`.
        """
        return self.splits["all"].f

    @property
    def lift(self) -> float | None:
        """f(c) over the base rate: how many times as frequent as in the corpus."""
        return self.splits["all"].lift

    @property
    def q(self) -> float | None:
        """The false discovery rate at which the enrichment within strata is significant, 0 to 1."""
        return self.splits["all"].q

    @property
    def q_unmatched(self) -> float | None:
        """The same among all sentences: too low where length or another covariate explains it."""
        return self.splits["all"].q_unmatched

    @property
    def replicated(self) -> bool:
        """Whether each half of the corpus alone has p < .05 within strata."""
        return all(self.splits[half].confirmed for half in HALVES)

    @property
    def in_both_halves(self) -> bool:
        """Whether each half of the corpus alone assigns it, too."""
        return all(self.splits[half].assigned for half in HALVES)


@dataclass(frozen=True, eq=False, repr=False)
class Neuron:
    """A neuron at one end of its activations.

    Attributes:
        row: of its layer in arrays [layers, neurons].
        index: in its layer.
        end: highest or lowest.
    """

    run: Run
    row: int
    index: int
    end: str = HIGHEST

    @property
    def name(self) -> str:
        """Such as L5:50."""
        return self.run.neurons.name(self.row, self.index)

    @property
    def layer(self) -> int:
        """Its layer's number in the model."""
        return self.run.neurons.layers[self.row]

    @property
    def _rows(self) -> pc.Expression:
        return (pc.field("layer") == self.layer) & (pc.field("neuron") == self.index)

    @cached_property
    def numbers(self) -> dict[str, dict[str, Numbers]]:
        """Its rows of labels.parquet, by descriptor and split; the surest descriptor first.

        The surest has the lowest p within strata in the whole corpus.

        They are read by themselves, however large the file is.
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
        """Its labels in the whole corpus, the surest first; none where it is silent."""
        every = self.numbers.items()
        return [NeuronLabel(name, splits) for name, splits in every if splits["all"].assigned]

    @property
    def explained(self) -> list[str]:
        """Descriptors that are significant among all sentences alone: the strata explain them."""
        every = self.numbers.items()
        return [name for name, splits in every if splits["all"].explained(self.run.fdr)]

    @cached_property
    def confounders(self) -> pa.Table:
        """What it follows beside topics, a row a covariate: rho, rho_chance, exemplars, ..."""
        return self.run.read("confounders.parquet", where=self._rows).drop_columns(
            ["layer", "neuron"]
        )

    @cached_property
    def tokens(self) -> pa.Table:
        """With unit `token`: the words that it peaks at, the surest first; in the whole corpus.

        Columns: word, count, expected, p, q, assigned.
        """
        of = (pc.field("end") == self.end) & (pc.field("split") == "all")
        found = self.run.read("tokens.parquet", where=self._rows & of)
        return found.drop_columns(["end", "split", "layer", "neuron"])

    @cached_property
    def writes(self) -> Row | None:
        """Its row of writes.parquet: writes, score, p, q, promoted_token, ...; None without one."""
        rows = self.run.read("writes.parquet", where=self._rows).to_pylist()
        return rows[0] if rows else None

    @cached_property
    def facets(self) -> Row | None:
        """Its row of facets.parquet: facets, cover, labelled, close, breadth; None without one.

        `facets` are groups of its exemplars with labels of their own, `cover` descriptors that
        cover its exemplars, `close` sentences like those that do not excite it (`close_negatives`
        has their texts), and `breadth` says which labels fit these, too.
        """
        rows = self.run.read("facets.parquet", where=self._rows).to_pylist()
        return rows[0] if rows else None

    @cached_property
    def close_negatives(self) -> pa.Table:
        """The sentences most like its exemplars that do not excite it, the most similar first.

        Columns: row (of the corpus), id, text, split, similarity, activation, descriptors.

        Raises:
            InputError: facets.parquet has none of this neuron.
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
        """Its rows of interventions.csv: descriptor, intervention, kind, distance, towards, ..."""
        rows = self.run.rows("interventions.csv")
        return [row for row in rows if row["neuron"] == self.name]

    @cached_property
    def sets(self) -> NeuronExemplars:
        """Rows of the corpus and activations of its set, and the distribution, as arrays."""
        path = self.run.path("exemplars.h5")
        return read_neuron_exemplars(path, self.row, self.index, [self.end])

    @property
    def silent(self) -> str | None:
        """Why it has no exemplars; None where it has."""
        return self.sets.silent.get(self.end)

    @property
    def distribution(self) -> dict[str, np.ndarray]:
        """Mean, deviation and so on of its activations over all sentences, and their histogram."""
        return self.sets.distribution

    @cached_property
    def exemplars(self) -> pa.Table:
        """The sentences that excite it most, the first the most.

        Columns: rank (from 1), row (of the corpus), id, text, activation (float32), descriptors (a
        list of those that the annotator said Yes of and that can be labels). With position `max`
        also marked: the text with the word of the highest token in « ».
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
        """What the annotator said of every exemplar and descriptor.

        Columns: rank, id, descriptor, yes (bool; null where there is no usable answer).
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
        """Its compositional labels, a row a split: split, formula, length, iou (0 to 1), ..."""
        where = self._rows & (pc.field("end") == self.end)
        whole = self.run.read("composed.parquet", where=where)
        return whole.drop_columns(["end", "layer", "neuron"])

    @cached_property
    def graph(self) -> "Entry | None":
        """Its N2G graph: `.graph`, `.words` of its tokens, `.scores`; None where none was made.

        Graphs of neurons at another site than the labels' are none of this one: `descry graph`.
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
        """Its activation in every sentence, float32 [sentences], in the order of the corpus.

        Raises:
            InputError: activations.h5 is not here, or was made without the matrix.
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
    """A descriptor: a cluster of raw descriptors, which the annotator was asked about.

    Attributes:
        cluster: its entry in descriptors.json.
    """

    run: Run
    cluster: Mapping[str, JSON]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.cluster["name"])

    @property
    def phrases(self) -> dict[str, int]:
        """Its raw descriptors and the number of their mentions, the most frequent first."""
        return dict(self.cluster["phrases"])

    @property
    def fate(self) -> str | None:
        """Why it is no label of any neuron; None where nothing keeps it from being one."""
        dropped = self.run.provenance("labels.parquet").get("dropped", [])
        return {it["descriptor"]: str(it["reason"]) for it in dropped}.get(self.name)

    @property
    def neurons(self) -> list[str]:
        """The neurons whose highest activations it labels, in the whole corpus."""
        return self.neurons_in("all")

    def neurons_in(self, split: str, end: str = HIGHEST) -> list[str]:
        """The neurons that it labels in a split of the corpus, at an end of the activations."""
        return self.run.inverse[end][split].get(self.name, [])

    @cached_property
    def base_rate(self) -> float | None:
        """Its share of the sentences that stand for the corpus, 0 to 1; None if it was dropped."""
        neuron = self.run.neuron(self.run.neurons.name(0, 0))
        return neuron.numbers[self.name]["all"].base_rate if self.name in neuron.numbers else None

    @property
    def sentences(self) -> pa.Table:
        """The rows of the corpus that the annotator said Yes of."""
        return self.run.sentences(np.flatnonzero(self.run.annotations.yes(self.name)))

    @property
    def answers(self) -> pa.Table:
        """What the annotator said of it, a row a sentence that was asked about.

        Columns: id, yes (bool; null where no answer could be used), odds (log-odds of Yes, float32;
        null where the annotator answered in words).
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
