"""Packs of exemplars word by word, each word as strong as what it does for the neuron."""

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

import numpy as np
import pyarrow as pa

from descry.activations.top_k import HIGHEST, LOWEST
from descry.io.csv_rows import Row
from descry.io.hashing import JSON
from descry.models.neurons import Neurons
from descry.reporting.explorer.neurons import SIZE
from descry.reporting.explorer.packs import Pack, whole_numbers

_PART = 1024  # rows of the table that are Python's at a time
_EXTREME = {HIGHEST: "highest", LOWEST: "lowest"}


def word_packs_of(
    table: pa.Table,
    how: str | None,
    neurons: Neurons,
    spread: Mapping[str, np.ndarray],
    place: Callable[[np.ndarray], np.ndarray],
) -> Iterator[Pack]:
    """The exemplars that are known word by word, of the same neurons as in a pack of neurons.

    A pack has `spans`, by number of the sentence the first character of each word and the one
    behind its last, and `neurons`, by number and end a list of rows with the strengths of their
    words in hundredths, null where unknown. Of the way from the neuron's mean over the corpus to
    the activation of the sentence, a strength is the part that is lost without the word; if numbers
    of words are activations, it is where the word is on the way from the mean to the neuron's
    extreme activation.

    Args:
        table: exemplar_words.parquet.
        how: its `measure`; None: it has no row.
        spread: mean, highest and lowest activation, [neurons].
        place: gives the numbers of sentences on the site for rows of the corpus.
    """
    rows_of_corpus = np.unique(table["row"].to_numpy())
    on_site = dict(zip(rows_of_corpus.tolist(), place(rows_of_corpus).tolist(), strict=True))
    order = np.lexsort([table[name].to_numpy() for name in ("neuron", "layer")])  # a stable sort
    every = _rows(table.take(order), neurons)
    for part, rows in groupby(every, key=lambda one: one[0] // SIZE):
        spans: dict[str, JSON] = {}
        found: dict[str, dict[str, JSON]] = {}
        for number, one in rows:
            pairs = zip(one["start"], one["stop"], strict=True)
            sentence = on_site[one["row"]]
            spans.setdefault(str(sentence), [edge for pair in pairs for edge in pair])
            mean = spread["mean"][number]
            value = np.array(one["value"])
            if how == "activation":
                strength = (value - mean) / (spread[_EXTREME[one["end"]]][number] - mean)
            else:
                strength = value / (one["activation"] - mean)
            ends = found.setdefault(str(number), {})
            ends.setdefault(one["end"], []).append([sentence, whole_numbers(strength, 100)])
        yield Pack(f"effects-{part}", {"spans": spans, "neurons": found})


def numbers_by_word(table: pa.Table, neurons: Neurons) -> frozenset[int]:
    """The numbers of the neurons that have an exemplar word by word."""
    keys = table.select(["layer", "neuron"]).group_by(["layer", "neuron"]).aggregate([])
    return frozenset(_number(one, neurons) for one in keys.to_pylist())


def _rows(table: pa.Table, neurons: Neurons) -> Iterator[tuple[int, Row]]:
    """The rows, each with the number of its neuron."""
    for batch in table.to_batches(max_chunksize=_PART):
        yield from ((_number(one, neurons), one) for one in batch.to_pylist())


def _number(row: Row, neurons: Neurons) -> int:
    return neurons.layers.index(row["layer"]) * neurons.width + int(row["neuron"])
