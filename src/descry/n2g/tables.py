"""graphs.parquet: neurons with their graphs, a row per neuron; graphs.csv: means.

The means are computed as in the paper's table (Foote et al. 2023).
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from descry.errors import InputError
from descry.io.csv_rows import Row
from descry.io.hashing import JSON, canonical
from descry.io.parquet import read_table, table_provenance, write_table
from descry.io.readable import unreadable
from descry.n2g.graph import Graph, graph_json, graph_of
from descry.n2g.scoring import BASELINES, Score, average

if TYPE_CHECKING:
    import pyarrow


PREDICTORS = ("graph", *BASELINES)
EVERY = "all"  # the row of all layers
MEANS = ("precision", "recall", "f1", "pearson", "r2")  # of a `Score`, in graphs.csv
COLUMNS = ["layer", "predictor", "neurons", "firing", *MEANS]
_OF_PREDICTOR = Score._fields[1:]  # `number` is the same for all


class Tokens(NamedTuple):
    """A text as a model reads it, and a neuron's activation at each of its tokens.

    Attributes:
        words: the vocabulary's strings, marks of word parts and spaces kept; special tokens, and
            what is beyond the longest text, are left out.
        activations: as shares of the neuron's highest, which may be negative, to three digits.
    """

    words: list[str]
    activations: list[float]


@dataclass(frozen=True)
class Record:
    """A neuron's graph, and how well it holds.

    Attributes:
        layer: of the model.
        words: by token id the vocabulary's string of each token in the graph.
        train, held: ids of the leading sentences that the graph was made from, and that scored it.
        learnt: how many sentences it was made from in all.
        tokens: of each sentence of `train`, in its order; empty where a sentence has one
            activation.
        scores: of the graph and of the baselines, on the held sentences.
        fires: rows of the corpus: the sentences in which the graph predicts it to fire.
    """

    layer: int
    graph: Graph
    words: dict[int, str]
    train: list[str]
    held: list[str]
    learnt: int
    tokens: list[Tokens]
    scores: dict[str, Score]
    fires: list[int]

    @property
    def name(self) -> str:
        """Such as L5:24."""
        return neuron_name(self.layer, self.graph.neuron)


def neuron_name(layer: int, neuron: int) -> str:
    """Such as L5:24."""
    return f"L{layer}:{neuron}"


def write_records(path: Path, records: Iterable[Record], made: JSON) -> None:
    """Write graphs.parquet, in the order of layers and neurons; what is undefined is null."""
    import pyarrow as pa

    ordered = sorted(records, key=lambda record: (record.layer, record.graph.neuron))
    write_table(path, pa.Table.from_pylist([_row(record) for record in ordered], _schema()), made)


def read_records(path: Path) -> tuple[list[Record], JSON]:
    """Read graphs.parquet, and what made it. It has no row where stage graphs is off.

    Raises:
        InputError: the file is missing, damaged, or of another version.
    """
    table = read_table(path, "graphs", _schema().names)
    if not table.schema.equals(_schema()):
        raise unreadable(path, "graphs", "its columns are of other types")
    return [_record(row, path) for row in table.to_pylist()], table_provenance(table)


def _schema() -> "pyarrow.Schema":
    import pyarrow as pa

    whole, real, text = pa.int32(), pa.float64(), pa.string()
    columns = {"layer": whole, "neuron": whole, "highest": real, "graph": text, "words": text}
    columns |= {"train": pa.list_(text), "held": pa.list_(text), "learnt": whole}
    tokens = {"words": pa.list_(text), "activations": pa.list_(real)}
    columns["tokens"] = pa.list_(pa.struct(tokens))
    columns |= {"positive": whole, "negative": whole, "nodes": whole, "number": whole}
    for name in PREDICTORS:
        for field in _OF_PREDICTOR:
            columns[_column(name, field)] = whole if field in ("fires", "predicted") else real
    return pa.schema(columns | {"fires": pa.list_(whole)})


def _column(predictor: str, field: str) -> str:
    return f"{predictor}_{field}".replace(" ", "_")


def _row(record: Record) -> dict[str, Any]:
    graph = record.graph
    row = {
        "layer": record.layer,
        "neuron": graph.neuron,
        "highest": graph.highest,
        "graph": canonical(graph_json(graph)),
        "words": canonical({str(token): word for token, word in record.words.items()}),
        "train": record.train,
        "held": record.held,
        "learnt": record.learnt,
        "tokens": [text._asdict() for text in record.tokens],
        "positive": graph.positive,
        "negative": graph.negative,
        "nodes": len(graph.trie.keys) - 1,  # without the root
        "number": record.scores["graph"].number,
        "fires": record.fires,
    }
    for name in PREDICTORS:
        for field in _OF_PREDICTOR:
            value = getattr(record.scores[name], field)
            row[_column(name, field)] = None if math.isnan(value) else value
    return row


def _record(row: dict[str, Any], path: Path) -> Record:
    graph, words = graph_and_words(row, path)
    tokens = [Tokens(**text) for text in row["tokens"]]
    scores = {name: Score(row["number"], *_defined(row, name)) for name in PREDICTORS}
    train, held, learnt, fires = (row[name] for name in ("train", "held", "learnt", "fires"))
    return Record(row["layer"], graph, words, train, held, learnt, tokens, scores, fires)


def graph_and_words(row: dict[str, Any], path: Path) -> tuple[Graph, dict[int, str]]:
    """The graph in a row of graphs.parquet, and the string of each of its token ids.

    Args:
        path: of the file, for the error.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        words = json.loads(row["words"] or "null")
        if not isinstance(words, dict):
            raise InputError("no words of its tokens")
        found = {int(token): str(word) for token, word in words.items()}
        return graph_of(json.loads(row["graph"] or "null")), found
    except (ValueError, InputError) as error:
        where = f"{path}: {neuron_name(row['layer'], row['neuron'])}"
        raise InputError(
            f"{where}: not a graph ({error}): run `descry stage graphs` again"
        ) from error


def _defined(row: dict[str, Any], predictor: str) -> list[Any]:
    values = [row[_column(predictor, field)] for field in _OF_PREDICTOR]
    return [math.nan if value is None else value for value in values]


def layer_rows(records: Sequence[Record]) -> list[Row]:
    """Means over the neurons of each layer, and of all, that fire at least once.

    Returns:
        A row a layer and predictor, with `COLUMNS`: neurons counts all, firing those averaged.
    """
    if not records:
        return []
    layers = sorted({record.layer for record in records})
    parts: dict[int | str, list[Record]] = {
        layer: [record for record in records if record.layer == layer] for layer in layers
    }
    parts[EVERY] = list(records)
    return [_means(layer, name, some) for layer, some in parts.items() for name in PREDICTORS]


def _means(layer: int | str, predictor: str, records: Sequence[Record]) -> Row:
    scores = [record.scores[predictor] for record in records]
    firing = sum(score.fires > 0 for score in scores)
    found = average(scores)
    row = {"layer": layer, "predictor": predictor, "neurons": len(records), "firing": firing}
    return row | {name: getattr(found, name) for name in MEANS}
