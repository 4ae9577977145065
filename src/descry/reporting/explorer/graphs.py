"""Packs of graphs (N2G), and what labels say in their sentences."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from descry.annotators.annotations import Annotations
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.labels.results import Labels
from descry.models.neurons import Neurons
from descry.n2g.label_overlap import held, talk
from descry.n2g.render import placed
from descry.n2g.tables import Record, Tokens
from descry.n2g.token_words import readable, word_of
from descry.reporting.explorer.neurons import SIZE
from descry.reporting.explorer.packs import Pack, plain

SHOWN = 10  # sentences shown of those in which a graph predicts its neuron to fire


def by_number(records: Sequence[Record], neurons: Neurons) -> dict[int, Record]:
    """The records by the number of the neuron.

    Raises:
        InputError: a neuron with a graph has no labels.
    """
    places = [neurons.find(record.name) for record in records]
    numbers = [row * neurons.width + index for row, index in places]
    return dict(zip(numbers, records, strict=True))


def graph_packs(
    records: Mapping[int, Record],
    rows: Mapping[str, int],
    place: Callable[[np.ndarray], np.ndarray],
    *,
    partly: bool = False,
) -> Iterator[Pack]:
    """The graphs of the same neurons as in a pack of neurons.

    Args:
        records: by the number of the neuron; where graphs have pages of their own, of the page.
        rows: the numbers of sentences on the site, by their ids.
        place: what gives those of rows of the corpus.
        partly: sentences that have no row are left out.

    Raises:
        InputError: a graph was made of a sentence that is not in the corpus.
    """
    parts: dict[int, dict[str, JSON]] = defaultdict(dict)
    for number, record in sorted(records.items()):
        parts[number // SIZE][str(number)] = _graph(record, rows, place, partly)
    return (Pack(f"graphs-{part}", value) for part, value in parts.items())


def _graph(
    record: Record,
    rows: Mapping[str, int],
    place: Callable[[np.ndarray], np.ndarray],
    partly: bool,
) -> JSON:
    nodes = [
        {"parent": node.parent, "side": node.side, "text": word_of(node.token, record.words)}
        | {"importance": node.importance, "activation": node.activation, "end": node.end}
        for node in placed(record.graph)
    ]
    absent = {*record.train, *record.held} - rows.keys()
    if absent and not partly:
        raise InputError(
            f"{record.name}: its graph is of sentence {min(absent)}, which is not in the corpus:"
            " run `descry stage graphs` again"
        )
    train = [rows.get(sentence) for sentence in record.train]
    scores = {name: score._asdict() for name, score in record.scores.items()}
    number = record.scores["graph"].number
    value = {"nodes": nodes, "highest": record.graph.highest, "number": number, "scores": scores}
    value |= {"learnt": record.learnt}
    held = [rows[sentence] for sentence in record.held if sentence in rows]
    value |= {"train": [row for row in train if row is not None], "held": held}
    shown = place(np.array(record.fires[:SHOWN], dtype=np.int64)).tolist()
    value |= {"fires": len(record.fires), "shown": shown}
    texts = zip(train, record.tokens, strict=False)  # none where a sentence has one activation
    read = [_read(row, tokens) for row, tokens in texts if row is not None]
    return plain(value | {"tokens": read})


def _read(row: int, tokens: Tokens) -> JSON:
    """A text token by token, each with the space before it that the page shows it with."""
    words = [readable(word) for word in tokens.words]
    if any(word.startswith("␣") for word in words):
        words = [word.replace("␣", " ") for word in words]
    else:  # marks say which tokens go on with a word
        pairs = zip(words, tokens.words, strict=True)
        words = [word[1:] if _goes_on(raw, word) else f" {word}" for word, raw in pairs]
    return {"row": row, "words": words, "activations": tokens.activations}


def _goes_on(raw: str, word: str) -> bool:
    return raw.startswith("##") and word.startswith("-")


def held_labels(records: Mapping[int, Record], labels: Labels, b: Annotations) -> dict[str, int]:
    """In how many sentences of graphs their neurons' labels have a lift above 1, and others.

    Args:
        labels: with the descriptors of `b`.
    """
    drawn = {n: record for n, record in records.items() if record.graph.drawn}
    fires = [np.array(record.fires, dtype=np.int64) for record in drawn.values()]
    talks = [talk(rows, b.bits, b.sampled) for rows in fires]
    assigned = labels.splits["all"].assigned.reshape(-1, len(labels.descriptors))
    return held(talks, [assigned[n] for n in drawn])._asdict()
