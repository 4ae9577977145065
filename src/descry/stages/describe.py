"""Stage describe: corpus -> candidates.parquet (prompt p1, section 3.1)."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pyarrow as pa

from descry.asking import Asking, Progress, Tally, ask, stored_frame
from descry.columns import Texts
from descry.journals import opened
from descry.labellers import JSON, NO_FRAME, Labeller, create
from descry.prompts import Prompts, p1, p1_template, parse_topics
from descry.shard import WHOLE, Shard
from descry.splits import draw
from descry.storage import ROW_GROUP, provenance, regrouped, write_batches, write_json

PACKAGES = ["keybert", "pyarrow"]
Example = dict[str, Any]


def run(
    corpus: Path,
    output: Path,
    cache_folder: Path,
    *,
    section: dict[str, Any],
    labellers: list[JSON],
    max_descriptors: int,
    max_words: int,
    example: Example | None,
    seed: int,
    max_failures: float,
    replay: bool,
    progress: Progress,
    journals: Path | None = None,
    shard: Shard = WHOLE,
    again: bool = True,
) -> dict[str, int]:
    """Write the raw descriptors: a row per sentence, labeller and phrase.

    With several labellers the rows are the union of their answers.

    Args:
        journals, shard, again: as stage annotate takes them; the shard before the first asks for
            the 1-shot example alone.
    """
    ids, texts = (Texts(corpus, "corpus", name) for name in ("id", "text"))
    made = provenance("describe", section, [corpus], PACKAGES)
    workers = [create(spec, "p1", max_descriptors=max_descriptors) for spec in labellers]

    def topics(response: JSON) -> list[str]:
        return parse_topics(response, max_descriptors, max_words)

    with TemporaryFile() as spilled:
        rows = _Rows(spilled)
        with opened(cache_folder, journals) as cache:
            if example is None:
                once = Asking("example", cache, 0, replay, progress)
                example = ask_example(
                    once, workers[0], zero_shot(texts, seed, max_descriptors), topics
                )
            prompts = with_example(texts, max_descriptors, example)
            how = Asking("describe", cache, max_failures, replay, progress, shard, again)
            identities, tallies = [worker.identity for worker in workers], []
            while workers:  # each is let go when it has answered: two large models need not fit
                tallies.append(_ask(how, workers.pop(0), prompts, topics, ids, rows))
            frames = [stored_frame(cache, identity) or NO_FRAME for identity in identities]
        counts = {name: sum(tally.brief[name] for tally in tallies) for name in Tally().brief}
        if shard != WHOLE:
            write_json(output, {"labellers": [tally.counts() for tally in tallies]})
            return counts
        who = zip(identities, frames, strict=True)
        made |= {"labellers": [identity.as_json() | {"frame": [*frame]} for identity, frame in who]}
        made |= {"example": example, "failed": counts["failed"], "cut": counts["cut"]}
        write_batches(output, _Rows.SCHEMA, rows.tables(), made)
        found = {"descriptors": rows.number, "distinct": len(rows.distinct)}
        return {"sentences": len(ids)} | counts | found


class _Rows:
    """The rows of candidates.parquet, in a temporary file until it is known what made them.

    Args:
        file: is empty, and stays open as long as this is used.

    Attributes:
        number: of rows so far.
        distinct: raw descriptors in them.
    """

    SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "labeller", "phrase", "key")])

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stream = pa.ipc.new_stream(self._file, self.SCHEMA)
        self.number, self.distinct = 0, set[str]()

    def add(self, rows: list[dict[str, str]]) -> None:
        """Append some."""
        self._stream.write_table(pa.Table.from_pylist(rows, schema=self.SCHEMA))
        self.number += len(rows)
        self.distinct.update(row["phrase"] for row in rows)

    def tables(self) -> Iterator[pa.Table]:
        """All of them, in row groups; none can be added any more."""
        self._stream.close()
        self._file.seek(0)
        with pa.ipc.open_stream(self._file) as stream:
            yield from regrouped(stream, ROW_GROUP)


def _ask(
    how: Asking,
    worker: Labeller,
    prompts: Prompts,
    topics: Callable[[JSON], list[str]],
    ids: Sequence[str],
    rows: _Rows,
) -> Tally:
    """Add a row for every phrase that a labeller answers."""
    tally, name = Tally(), worker.identity.name
    for slab in ask(how, worker, prompts, topics, tally):
        rows.add(
            [
                {"id": ids[row], "labeller": name, "phrase": phrase, "key": key}
                for row, (key, response) in enumerate(
                    zip(slab.keys, slab.responses, strict=True), slab.start
                )
                if response is not None
                for phrase in topics(response)
            ]
        )
    return tally


def zero_shot(texts: Sequence[str], seed: int, max_descriptors: int) -> Prompts:
    """The question about the sentence of the 1-shot example (section 3.1).

    It is of middle length, drawn by seed.
    """

    def lot(text: str) -> bytes:
        return draw(seed, "example:" + text)

    middle = (text for text in texts if 20 <= len(text.split()) <= 60)
    drawn = min(middle, key=lot, default=None) or min(texts, key=lot)
    return p1([drawn], p1_template(max_descriptors, None, None))


def ask_example(
    how: Asking, worker: Labeller, prompts: Prompts, topics: Callable[[JSON], list[str]]
) -> Example:
    """The 1-shot example: a sentence of the corpus, and what the first labeller says of it."""
    (slab,) = ask(how, worker, prompts, topics, Tally())
    return {"sentence": prompts[0].sentence, "concepts": topics(slab.responses[0])}


def with_example(texts: Sequence[str], max_descriptors: int, example: Example) -> Prompts:
    """The questions about all sentences."""
    shot = example["sentence"], example["concepts"]
    return p1(texts, p1_template(max_descriptors, *shot))
