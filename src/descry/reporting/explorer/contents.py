"""What the page has of a run: the packs made of its results."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from descry.activations.exemplar_files import (
    QUANTILES,
    Shown,
    at_rows,
    has_exemplars,
    read_exemplars,
    read_quantiles,
    read_shown,
    read_silent,
)
from descry.activations.top_k import HIGHEST
from descry.annotators.annotations import Annotations
from descry.corpus.splits import HALVES, SPLITS
from descry.corpus.units import POSITIONS, of_sentences
from descry.errors import InputError
from descry.evaluation.gold import read_gold
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.io.hdf5 import reading_hdf5
from descry.io.number_format import places
from descry.io.parquet import row_count
from descry.labels.results import Labels
from descry.models.neurons import same_neurons
from descry.n2g.tables import Record, read_records
from descry.reporting.explorer import facets as of_facets
from descry.reporting.explorer import overview
from descry.reporting.explorer import writes as of_writes
from descry.reporting.explorer.by_word import numbers_by_word, word_packs_of
from descry.reporting.explorer.graphs import SHOWN as GRAPH_SHOWN
from descry.reporting.explorer.graphs import by_number, graph_packs, held_labels
from descry.reporting.explorer.held import Held, rows_of
from descry.reporting.explorer.labelled import over, table_pack
from descry.reporting.explorer.maps import layer_pack, map_pack, untrained_packs
from descry.reporting.explorer.neurons import SIZE as NEURONS
from descry.reporting.explorer.neurons import NeuronPages, of_end, shown_pack, words_of_neurons
from descry.reporting.explorer.packs import Pack, plain
from descry.reporting.explorer.search_index import Index, index, word_packs
from descry.reporting.explorer.sentences import SIZE as SENTENCES
from descry.reporting.explorer.sentences import SentenceIndex, columns, examples, sentence_packs
from descry.reporting.explorer.similar import by_chance, similar
from descry.reporting.explorer.verdicts import with_verdicts
from descry.run import UNTRAINED, Run

SIMILAR, IN_SENTENCE, EXAMPLES = 8, 8, 10  # neurons of a neuron, of a sentence; of a descriptor
_SAYS = {
    "describe": "candidates.parquet",
    "cluster": "descriptors.json",
    "activations": "activations.h5",
    "exemplars": "exemplars.h5",
    "graphs": "graphs.parquet",
    "annotate": "annotations.h5",
    "judge": "judgements.h5",
    "label": "labels.parquet",
    "writes": "writes.parquet",
    "facets": "facets.parquet",
    "evaluate": "metrics.json",
    "score": "scores.json",
    "interventions": "interventions.json",
}  # the result that says what each stage did


@dataclass(frozen=True)
class Contents:
    """What the page has of a run.

    Attributes:
        title: heading of the page; None: what the neurons of the target respond to.
        number: sentences shown of a neuron and half.
        most: sentences of the site, if no more are shown; None: all of the corpus.
        seed: draws those that are not shown.
        gold: file of the gold labels, if there are any.
    """

    run: Run
    title: str | None
    number: int
    most: int | None
    seed: int
    gold: Path | None

    @cached_property
    def made(self) -> dict[str, JSON]:
        """What made each result, by stage in the order of the DAG."""
        corpus = {"corpus": of_sentences(self.run.provenance(self.run.units))}
        return corpus | {stage: self.run.provenance(name) for stage, name in _SAYS.items()}

    @property
    def b(self) -> Annotations:
        """The answers about the descriptors of the run: those that can be labels at some end."""
        return self._labels[0]

    @property
    def tables(self) -> dict[str, Labels]:
        """Labels by end, with a column for each descriptor of the run."""
        return self._labels[1]

    @cached_property
    def _labels(self) -> tuple[Annotations, dict[str, Labels]]:
        own = {end: self.run.label_arrays(end) for end in self.run.ends}
        kept = {name for table in own.values() for name in table.descriptors}
        if {row["descriptor"] for row in self.run.rows("descriptors.csv")} != kept:
            path = self.run.path("descriptors.csv")
            raise InputError(f"{path}: not of these labels: run `descry stage evaluate` again")
        b = self.run.annotations.only(list(kept))
        return b, {end: over(table, b.descriptors) for end, table in own.items()}

    @cached_property
    def sentences(self) -> int:
        """How many there are, or positions."""
        return row_count(self._units, "corpus")

    @cached_property
    def held(self) -> Held:
        """The sentences that the site holds."""
        if self.most is None or self.sentences <= self.most:
            return Held(np.arange(self.sentences), self.sentences)
        rows = np.concatenate([of.ravel() for of in self._rows_shown()])
        return Held.of(self._units, self.sentences, rows[rows >= 0], self.most, self.seed)

    def _rows_shown(self) -> Iterator[np.ndarray]:
        """The rows of the corpus that a page other than a sentence's own may show, and -1."""
        yield from (rows for rows, _ in self._shown.sets.values())
        yield from self._examples
        if self._of_positions:
            yield read_quantiles(self.run.path("exemplars.h5"))[0]
        yield np.fromiter(of_facets.rows_shown(self.run.facets, self.number), dtype=np.int64)
        yield from (np.array(of.fires[:GRAPH_SHOWN], dtype=np.int64) for of in self._graphs)
        names = frozenset(name for of in self._graphs for name in (*of.train, *of.held))
        if names:
            yield np.fromiter(rows_of(self._units, names), dtype=np.int64)

    @property
    def _units(self) -> Path:
        return self.run.path(self.run.units)

    @cached_property
    def _corpus(self) -> pa.Table:
        """The sentences of the site."""
        return self.held.read(self._units, columns(self._units))

    @cached_property
    def _examples(self) -> list[np.ndarray]:
        return examples(self.b, EXAMPLES)

    def packs(self) -> Iterator[Pack]:
        """All that the page can ask for.

        Raises:
            InputError: a result is missing or damaged, or not of these labels.
        """
        words = index(self._corpus["text"].to_pylist())
        of_words = word_packs(words)
        yield Pack("run", self._overview(words, [pack.value["words"][0] for pack in of_words]))
        yield from of_words
        yield from self._of_labels()
        yield from self._of_neurons()
        yield from self._of_sentences()

    def _overview(self, words: Index, first_words: list[str]) -> JSON:
        run, names, size = self.run, self.b.descriptors, self._sets[0].shape[1]
        table, made = self.tables[HIGHEST], self.made
        ids = self._corpus["id"].to_pylist()
        target = overview.target(made["activations"], table.neurons.width)
        target |= {"most": run.cut.most, "cut": int(np.count_nonzero(run.cut.tokens))}
        value: JSON = {"title": self._title(), "version": overview.descry_version()}
        value |= overview.sentences(self._units, made["corpus"])
        rule = overview.rule(made["label"], made["exemplars"], self._sizes())
        value |= {"target": target, "rule": rule, "broad": table.made["dropped"]}
        value |= overview.annotators(made["describe"], self.b, run.judgements)
        # Only a generative model's own numbers are probabilities: others' scores are for ordering.
        kind = made["annotate"]["params"]["annotator"]["kind"]
        own = kind in ("transformers", "openai", "llama_cpp", "vllm", "ctranslate2")
        value["probabilities"] = own and self.b.proxy is None
        value |= {"ends": list(self.tables), "labelled": self._labelled()}
        rated = run.rows("descriptors.csv")
        found = overview.descriptors(names, self.tables, run.clusters, rated)
        value |= {"descriptors": found, "metrics": plain(with_verdicts(run.metrics, run.fdr))}
        value |= {name: plain(run.rows(f"{name}.csv")) for name in ("curves", "nulls", "alignment")}
        value |= {"correlation": overview.correlation(run.rows("correlation.csv"), names)}
        value |= {"scores": plain(run.scores), "graphs": self._of_graphs()}
        value |= {"writes": plain(of_writes.whole(run.writes, made["writes"]))}
        value |= {"facets": of_facets.whole(run.facets, run.provenance("facets.parquet"))}
        value |= {"interventions": plain(run.interventions), "word_measure": self._word_measure}
        value |= {"made": overview.made(made)}
        value |= {"followed": self._followed[0], "copy": self._has_copy}
        value |= {"unit": "token" if self._of_positions else "sentence"}
        value |= {"words_at_peaks": self._words_at_peaks() if self._of_positions else None}
        value |= {"similar_null": plain(by_chance(size, self.sentences))}
        value |= {"pack": {"neurons": NEURONS, "sentences": SENTENCES}}
        value |= {"first_ids": ids[::SENTENCES], "words": first_words, "common": words.common}
        if not self.held.whole:
            value |= {"held": len(ids)}
        return value | {"exemplars_shown": self.number}

    @property
    def _of_positions(self) -> bool:
        return self.run.units == POSITIONS

    @property
    def _word_measure(self) -> str | None:
        """What the number of a word in exemplar_words.parquet is; None: it has no row."""
        measure = self.run.provenance("exemplar_words.parquet").get("measure")
        return None if measure is None else str(measure)

    @property
    def _has_copy(self) -> bool:
        """Whether exemplars of a copy with random weights stand beside the target's."""
        return has_exemplars(self.run.path(UNTRAINED))

    def _words_at_peaks(self) -> JSON:
        """How many words neurons surely peak at, and those of the copy with random weights."""
        rows = self.run.tokens
        whole = pc.and_(pc.equal(rows["split"], "all"), pc.equal(rows["end"], HIGHEST))
        sure = pc.sum(pc.and_(whole, rows["assigned"])).as_py() or 0
        copy = self.run.provenance("tokens.parquet").get("untrained", {})
        return {"sure": sure, "untrained": copy.get("words")}

    def _peaks(self) -> dict[int, JSON]:
        """The words that neurons peak at and their positions at quantiles, by their numbers."""
        if not self._of_positions:
            return {}
        neurons = self.tables[HIGHEST].neurons
        rows, values = read_quantiles(self.run.path("exemplars.h5"))
        rows = self.held.place(rows)
        words = words_of_neurons(self.run.tokens, neurons)
        return {
            n: {
                "tokens": plain(words.get(n, [])),
                "quantiles": plain([list(one) for one in zip(QUANTILES, *of, strict=True)]),
            }
            for n, of in enumerate(zip(rows.tolist(), values.tolist(), strict=True))
        }

    def _title(self) -> str:
        if self.title is not None:
            return self.title
        model = self.made["activations"]["params"]["target"]["model"].rstrip("/")
        return f"What the {self.run.kind}s of {model.rpartition('/')[2]} respond to"

    def _sizes(self) -> dict[str, int]:
        """Of the exemplar sets by split."""
        with reading_hdf5(self.run.path("exemplars.h5"), "exemplars") as file:
            return {split: int(file[split]["row"].shape[2]) for split in SPLITS}

    def _labelled(self) -> dict[str, int]:
        every = self.tables.items()
        return {end: int(of.splits["all"].assigned.any(axis=2).sum()) for end, of in every}

    @cached_property
    def _followed(self) -> tuple[list[JSON], list[JSON]]:
        return overview.followed(self.run.confounders, self.tables[HIGHEST].neurons)

    def _of_graphs(self) -> JSON:
        """How well graphs predict, and what labels say in their sentences."""
        if not self._graphs:
            return None
        made, table = self.made["graphs"], self.tables[HIGHEST]
        value: dict[str, JSON] = {"position": made["position"], "number": len(self._graphs)}
        value |= {"site": made.get("site"), "method": made.get("method", "published")}
        value |= {"scores": plain(self.run.rows("graphs.csv"))}
        if self._graphs_apart:
            pages = [[one.name, one.scores["graph"].f1] for one in self._graphs]
            return value | {"held": None, "pages": plain(pages)}
        drawn = by_number(self._graphs, table.neurons)
        return value | {"held": held_labels(drawn, table, self.b), "pages": None}

    @property
    def _graphs_apart(self) -> bool:
        """Whether graphs are of neurons at another site than labels, with pages of their own."""
        made, ours = self.made["graphs"], self.made["activations"]
        return bool(self._graphs) and not same_neurons(made, ours)

    def _of_labels(self) -> Iterator[Pack]:
        for end, table in self.tables.items():
            silent, taken = self._silent(end), self._taken(end)
            yield table_pack(end, table, self.run.label_scores, silent, taken)
            yield map_pack(end, table)
            for row in range(len(table.neurons.layers)):
                yield layer_pack(end, table, row)
        if self._has_copy:
            frequency = self.tables[HIGHEST].made["params"]["frequency"]
            with at_rows(self.run.path(UNTRAINED), self._units) as copy:
                yield from untrained_packs(read_exemplars(copy, "all"), self.b, frequency)
        phrases = {
            str(column): [list(pair) for pair in self.run.descriptors[name].phrases.items()]
            for column, name in enumerate(self.b.descriptors)
        }
        shown = {str(c): self.held.place(of).tolist() for c, of in enumerate(self._examples)}
        yield Pack("phrases", phrases | {"examples": shown})

    def _of_neurons(self) -> Iterator[Pack]:
        run, neurons = self.run, self.tables[HIGHEST].neurons
        apart = self._graphs_apart
        graphs = dict(enumerate(self._graphs)) if apart else by_number(self._graphs, neurons)
        ends = {
            end: of_end(
                end, table, run.composed, run.label_scores, self._silent(end), self._taken(end)
            )
            for end, table in self.tables.items()
        }
        trials, changes = (self._by_name(name) for name in ("scores.csv", "interventions.csv"))
        close = similar(self._sets[0], self.sentences, SIMILAR)
        numbers = frozenset[int]() if apart else frozenset(graphs)
        written = of_writes.by_neuron(run.writes, neurons)
        parted = of_facets.by_neuron(run.facets, neurons, self._sets, self.number, self.held.place)
        read, how = run.exemplar_words, self._word_measure
        drawn = numbers, numbers_by_word(read, neurons)
        known = trials, close, *drawn, self._followed[1], written, parted, changes, run.fdr
        shown = self._shown_on_site
        yield from NeuronPages(neurons, shown, ends, *known, self._peaks()).packs()
        ids = self._corpus["id"].to_pylist()
        # Graphs are of sentences: of a sentence's positions any leads there.
        rows = {sentence.partition(":")[0]: row for row, sentence in enumerate(ids)}
        yield from graph_packs(graphs, rows, self.held.place, partly=self._of_positions)
        yield from word_packs_of(read, how, neurons, shown.distribution, self.held.place)
        yield shown_pack(shown, HALVES)

    def _by_name(self, table: str) -> dict[str, list[Row]]:
        """The rows of a CSV by the neuron's name."""
        found: dict[str, list[Row]] = {}
        for row in self.run.rows(table):
            found.setdefault(row["neuron"], []).append(plain(row))
        return found

    def _of_sentences(self) -> Iterator[Pack]:
        run, spread = self.run, self._shown.distribution
        digits = [places(*one) for one in zip(spread["deviation"], spread["highest"], strict=True)]
        sets, activations = self._sets
        held, corpus = self.held, self._corpus
        excited = SentenceIndex.by(held.place(sets), activations, len(corpus), digits)
        gold = read_gold(self.gold, corpus["id"].to_pylist(), self.b.descriptors)
        of_all = excited, IN_SENTENCE, run.cut.tokens
        yield from sentence_packs(corpus, held.rows, self.b, gold, *of_all)

    @cached_property
    def _shown(self) -> Shown:
        return read_shown(self.run.path("exemplars.h5"), self.number)

    @property
    def _shown_on_site(self) -> Shown:
        """The same with the numbers of sentences on the site."""
        placed = {
            name: (self.held.place(rows), values)
            for name, (rows, values) in self._shown.sets.items()
        }
        return replace(self._shown, sets=placed)

    @cached_property
    def _graphs(self) -> list[Record]:
        return read_records(self.run.path("graphs.parquet"))[0]

    @cached_property
    def _sets(self) -> tuple[np.ndarray, np.ndarray]:
        """Exemplars of the whole corpus and their activations, [neurons, size]."""
        with reading_hdf5(self.run.path("exemplars.h5"), "exemplars") as file:
            rows, values = (file["all"][name][:] for name in ("row", "activation"))
        return rows.reshape(-1, rows.shape[2]), values.reshape(-1, rows.shape[2])

    def _silent(self, end: str) -> dict[int, str]:
        """Why neurons have no exemplars, by their numbers."""
        return read_silent(self.run.path("exemplars.h5"), end).words

    def _taken(self, end: str) -> np.ndarray:
        """The size of each neuron's set of the whole corpus, int [neurons]."""
        sets = read_exemplars(self.run.path("exemplars.h5"), "all", end)
        return np.asarray(np.count_nonzero(sets >= 0, axis=2)).ravel()
