"""Exemplars of neurons word by word: which are tried, and the table of what their words do."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from descry.activations.word_effects import (
    Asked,
    Effects,
    at_words,
    measure,
    without_words,
    words_in,
)
from descry.models.hooked_model import HookedModel

TABLE = pa.schema(
    {
        "end": pa.string(),
        "layer": pa.int16(),
        "neuron": pa.int32(),
        "row": pa.int32(),
        "activation": pa.float32(),
        "start": pa.list_(pa.int32()),
        "stop": pa.list_(pa.int32()),
        "value": pa.list_(pa.float32()),
    }
)


class Exemplars(NamedTuple):
    """The first exemplars of a neuron at an end.

    Attributes:
        layer: row of the neuron's layer in the layers of the model.
        neuron: number in its layer.
        rows: of the corpus.
    """

    end: str
    layer: int
    neuron: int
    rows: Sequence[int]


def cover(
    sets: Sequence[Sequence[int]], number: int, cost: Callable[[int], float]
) -> dict[int, list[int]]:
    """A cheap choice of rows such that each set has `number` of them, or all that it has.

    Greedy: the row is next that the most sets still want for its cost, ties by row. (The cost is
    at most ln(sets) times that of the cheapest choice: Chvatal 1979.)

    Args:
        sets: rows, each once in a set.
        cost: of a row, above 0.

    Returns:
        by chosen row, ascending, the places of all sets that have it.
    """
    of: dict[int, list[int]] = {}
    for place, rows in enumerate(sets):
        for row in rows:
            of.setdefault(row, []).append(place)
    wanted = [min(number, len(rows)) for rows in sets]

    def worth(row: int) -> float:
        return sum(wanted[place] > 0 for place in of[row]) / cost(row)

    chosen: list[int] = []
    heap = [(-worth(row), row) for row in of]
    heapq.heapify(heap)
    while heap:
        before, row = heapq.heappop(heap)
        now = -worth(row)  # it can only have fallen
        if now == 0:
            continue
        if now > before:
            heapq.heappush(heap, (now, row))
            continue
        chosen.append(row)
        for place in of[row]:
            wanted[place] -= 1
    return {row: of[row] for row in sorted(chosen)}


def exemplar_words(
    model: HookedModel,
    texts: Sequence[str],
    written: str,
    sets: Sequence[Exemplars],
    number: int,
    batch_tokens: int,
    progress: Callable[[int, int], None],
) -> pa.Table:
    """Try the words of `number` exemplars of each neuron, or of all that it has.

    All neurons of an exemplar are looked at together. A word that is left out costs a pass through
    the model: so exemplars are taken that many neurons share, and short ones.

    Args:
        texts: of the corpus, by row.
        written: their language, as a two-letter code.
        batch_tokens: padded tokens of a batch.

    Returns:
        a row per exemplar and neuron, with `TABLE`'s columns: the activation of the text, and of
        each word its first character, the character behind its last one, and its number (see
        `measure`), NaN where that cannot be told.
    """
    how = measure(model.position)

    def cost(row: int) -> float:
        length = 1 + len(texts[row])
        return float(length if how == "activation" else length**2)

    chosen = cover([one.rows for one in sets], number, cost)
    asked = {
        row: Asked(
            texts[row],
            words_in(model, texts[row], written, how),
            [(sets[place].layer, sets[place].neuron) for place in places],
        )
        for row, places in chosen.items()
    }
    found: dict[tuple[int, int], dict[str, object]] = {}
    for done, (row, effects) in enumerate(_effects(model, asked, batch_tokens), start=1):
        for column, place in enumerate(chosen[row]):
            found[place, row] = _row(model, sets[place], row, asked[row], effects, column)
        progress(done, len(chosen))
    order = [(place, row) for place, one in enumerate(sets) for row in one.rows]
    return pa.Table.from_pylist([found[key] for key in order if key in found], TABLE)


def _effects(
    model: HookedModel, asked: Mapping[int, Asked], batch_tokens: int
) -> Iterator[tuple[int, Effects]]:
    if measure(model.position) == "activation":
        return ((row, at_words(model, one)) for row, one in asked.items())
    return zip(asked, without_words(model, asked.values(), batch_tokens), strict=True)


def _row(
    model: HookedModel, one: Exemplars, row: int, asked: Asked, effects: Effects, column: int
) -> dict[str, object]:
    return {
        "end": one.end,
        "layer": model.layers[one.layer],
        "neuron": one.neuron,
        "row": row,
        "activation": effects.values[one.layer, one.neuron],
        "start": [word.start for word in asked.words],
        "stop": [word.stop for word in asked.words],
        "value": effects.parts[:, column],
    }
