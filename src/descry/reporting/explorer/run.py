"""A run as the page has it: every result that it shows, and the packs made of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from descry.activations.exemplar_files import Shown
from descry.activations.top_k import HIGHEST
from descry.activations.truncation import Cut
from descry.annotators.annotations import Annotations
from descry.corpus.splits import HALVES
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.io.number_format import places
from descry.labels.results import Labels
from descry.n2g.tables import Record
from descry.reporting.explorer import overview
from descry.reporting.explorer.graphs import by_number, graph_packs, held_labels
from descry.reporting.explorer.labelled import table_pack
from descry.reporting.explorer.maps import layer_pack, map_pack
from descry.reporting.explorer.neurons import SIZE as NEURONS
from descry.reporting.explorer.neurons import NeuronPages, of_end, shown_pack
from descry.reporting.explorer.packs import Pack, plain
from descry.reporting.explorer.search_index import Index, index, word_packs
from descry.reporting.explorer.sentences import SIZE as SENTENCES
from descry.reporting.explorer.sentences import SentenceIndex, examples, sentence_packs
from descry.reporting.explorer.similar import by_chance, similar

SIMILAR, IN_SENTENCE, EXAMPLES = 8, 8, 10  # neurons of a neuron, of a sentence; of a descriptor


@dataclass(frozen=True)
class Run:
    """What was read.

    Attributes:
        title: heading of the page.
        made: what made each result that was read, by stage in the order of the DAG.
        corpus: of corpus.parquet.
        b, judge: answers, of the descriptors of the run alone; None where there was no judge.
        gold: int8 [sentences, descriptors], as `read_gold` gives it.
        tables: labels by end, with a column for each descriptor of the run.
        composed, scored: of composed.parquet and label_scores.parquet.
        clusters, metrics, scores: of descriptors.json, metrics.json and scores.json.
        rows: by name the rows of the CSV files, numbers as floats.
        shown: sentences and distributions of all neurons.
        number: sentences shown of a neuron and half.
        sizes: of the exemplar sets by split.
        sets: exemplars of the whole corpus and their activations, [neurons, size].
        silent: by end, why neurons have no exemplars, by their numbers.
        set_sizes: by end, of each neuron's set of the whole corpus, int [neurons].
        cut: what the target has not seen of the sentences.
        graphs: of graphs.parquet.
    """

    title: str
    made: Mapping[str, JSON]
    corpus: pa.Table
    b: Annotations
    judge: Annotations | None
    gold: np.ndarray
    tables: Mapping[str, Labels]
    composed: pa.Table
    scored: pa.Table
    clusters: JSON
    metrics: JSON
    scores: JSON
    rows: Mapping[str, Sequence[Row]]
    shown: Shown
    number: int
    sizes: Mapping[str, int]
    sets: tuple[np.ndarray, np.ndarray]
    silent: Mapping[str, Mapping[int, str]]
    set_sizes: Mapping[str, np.ndarray]
    cut: Cut
    graphs: Sequence[Record]

    def packs(self) -> Iterator[Pack]:
        """All that the page can ask for.

        Raises:
            InputError: a neuron with a graph has no labels.
        """
        words = index(self.corpus["text"].to_pylist())
        of_words = word_packs(words)
        yield Pack("run", self._overview(words, [pack.value["words"][0] for pack in of_words]))
        yield from of_words
        yield from self._of_labels()
        yield from self._of_neurons()
        yield from self._of_sentences()

    def _overview(self, words: Index, first_words: list[str]) -> JSON:
        names, size = self.b.descriptors, self.sets[0].shape[1]
        table = self.tables[HIGHEST]
        ids = self.corpus["id"].to_pylist()
        target = overview.target(self.made["activations"], table.neurons.width)
        rule = overview.rule(self.made["label"], self.made["exemplars"], self.sizes)
        value: JSON = {"title": self.title, "version": overview.descry_version()}
        value |= overview.sentences(self.corpus, self.made["corpus"])
        target |= {"most": self.cut.most, "cut": int(np.count_nonzero(self.cut.tokens))}
        value |= {"target": target, "rule": rule, "broad": table.made["dropped"]}
        value |= overview.annotators(self.made["describe"], self.b, self.judge)
        value |= {"ends": list(self.tables), "labelled": self._labelled()}
        found = overview.descriptors(names, self.tables, self.clusters, self.rows["descriptors"])
        value |= {"descriptors": found, "metrics": overview.scores(self.metrics)}
        value |= {name: plain(self.rows[name]) for name in ("curves", "nulls", "alignment")}
        value |= {"correlation": overview.correlation(self.rows["correlation"], names)}
        value |= {"scores": overview.scores(self.scores), "graphs": self._graphs()}
        value |= {"made": overview.made(self.made)}
        value |= {"similar_null": plain(by_chance(size, len(ids)))}
        value |= {"pack": {"neurons": NEURONS, "sentences": SENTENCES}}
        value |= {"first_ids": ids[::SENTENCES], "words": first_words, "common": words.common}
        return value | {"exemplars_shown": self.number}

    def _labelled(self) -> dict[str, int]:
        return {end: len(table.strongest()) for end, table in self.tables.items()}

    def _graphs(self) -> JSON:
        """How well graphs predict, and what labels say in their sentences."""
        if not self.graphs:
            return None
        table = self.tables[HIGHEST]
        drawn = by_number(self.graphs, table.neurons)
        return {
            "position": self.made["graphs"]["position"],
            "number": len(self.graphs),
            "scores": plain(self.rows["graphs"]),
            "held": held_labels(drawn, table, self.b),
        }

    def _of_labels(self) -> Iterator[Pack]:
        for end, table in self.tables.items():
            yield table_pack(end, table, self.scored)
            yield map_pack(end, table)
            for row in range(len(table.neurons.layers)):
                yield layer_pack(end, table, row)
        entries = {entry["name"]: entry["phrases"] for entry in self.clusters["descriptors"]}
        phrases = {
            str(column): [list(pair) for pair in entries[name].items()]
            for column, name in enumerate(self.b.descriptors)
        }
        yield Pack("phrases", phrases | {"examples": examples(self.b, EXAMPLES)})

    def _of_neurons(self) -> Iterator[Pack]:
        neurons = self.tables[HIGHEST].neurons
        graphs = by_number(self.graphs, neurons)
        ends = {
            end: of_end(
                end, table, self.composed, self.scored, self.silent[end], self.set_sizes[end]
            )
            for end, table in self.tables.items()
        }
        trials: dict[str, list[Row]] = {}
        for row in self.rows["trials"]:
            trials.setdefault(row["neuron"], []).append(plain(row))
        close = similar(self.sets[0], len(self.corpus), SIMILAR)
        numbers = frozenset(graphs)
        yield from NeuronPages(neurons, self.shown, ends, trials, close, numbers).packs()
        rows = {sentence: row for row, sentence in enumerate(self.corpus["id"].to_pylist())}
        yield from graph_packs(graphs, rows)
        yield shown_pack(self.shown, HALVES)

    def _of_sentences(self) -> Iterator[Pack]:
        spread = self.shown.distribution
        digits = [places(*one) for one in zip(spread["deviation"], spread["highest"], strict=True)]
        excited = SentenceIndex.by(*self.sets, len(self.corpus), digits)
        yield from sentence_packs(
            self.corpus, self.b, self.gold, excited, IN_SENTENCE, self.cut.tokens
        )
