"""Stage describe: corpus -> candidates.parquet (prompt p1, section 3.1)."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pyarrow as pa

from descry.annotators.base import NO_FRAME, Annotator, Identity
from descry.annotators.client import AskOptions, Progress, answer_prompts, stored_frame
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.parsing.topics import Topics, read_topics
from descry.annotators.prompt_cache.jsonl import opened
from descry.annotators.prompts import Prompts, p1, p1_template
from descry.corpus.splits import corpus_id, draw
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.json_files import write_json
from descry.io.parquet import ROW_GROUP, Texts, regrouped, write_batches
from descry.io.provenance import provenance
from descry.io.sharding import WHOLE, Shard

PACKAGES = ["keybert", "pyarrow"]
Example = dict[str, Any]


def run(
    corpus: Path,
    output: Path,
    cache_folder: Path,
    *,
    section: dict[str, Any],
    annotators: list[JSON],
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
    """Write the raw descriptors: a row per sentence, annotator and phrase.

    With several annotators the rows are the union of their answers. An answer without topics gives
    no row, and is counted; so are phrases that were left out, most of them too long.

    Args:
        journals, shard, again: as stage annotate takes them; the shard before the first asks for
            the 1-shot example alone.
    """
    ids, texts = (Texts(corpus, "corpus", name) for name in ("id", "text"))
    made = provenance("describe", section, [corpus], PACKAGES)
    workers = [create(spec, "p1", max_descriptors=max_descriptors) for spec in annotators]

    def topics(response: JSON) -> Topics:
        return read_topics(response, max_descriptors, max_words)

    with TemporaryFile() as spilled:
        rows = _Rows(spilled)
        with opened(cache_folder, journals) as cache:
            if example is None:
                once = AskOptions("example", cache, 1, replay, progress)
                example = ask_example(
                    once, workers[0], zero_shot(texts, seed, max_descriptors), topics
                )
            prompts = with_example(texts, max_descriptors, example)
            how = AskOptions("describe", cache, max_failures, replay, progress, shard, again)
            identities, tallies = list[Identity](), list[Counts]()
            while workers:  # each is let go when it has answered: two large models need not fit
                worker = workers.pop(0)
                tallies.append(_ask(how, worker, prompts, topics, ids, rows))
                identities.append(worker.identity)  # the way of asking may be another now
                del worker
            frames = [stored_frame(cache, identity) or NO_FRAME for identity in identities]
        counts = {name: sum(tally.brief[name] for tally in tallies) for name in Counts().brief}
        if shard != WHOLE:
            write_json(output, {"annotators": [tally.counts() for tally in tallies]})
            return counts
        who = zip(identities, frames, strict=True)
        made |= {
            "annotators": [identity.as_json() | {"frame": [*frame]} for identity, frame in who]
        }
        made |= {"example": example, "failed": counts["failed"], "cut": counts["cut"]}
        made |= {"corpus_id": corpus_id(ids)}
        write_batches(output, _Rows.SCHEMA, rows.tables(), made)
        found = {"no topics": rows.empty, "phrases left out": rows.left_out}
        found |= {"descriptors": rows.number, "distinct": len(rows.distinct)}
        return {"sentences": len(ids)} | counts | found


class _Rows:
    """The rows of candidates.parquet, in a temporary file until it is known what made them.

    Args:
        file: is empty, and stays open as long as this is used.

    Attributes:
        number: of rows so far.
        distinct: raw descriptors in them.
        empty: answers without topics.
        left_out: phrases that were not taken.
    """

    SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "annotator", "phrase", "key")])

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stream = pa.ipc.new_stream(self._file, self.SCHEMA)
        self.number, self.distinct = 0, set[str]()
        self.empty = self.left_out = 0

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
    how: AskOptions,
    worker: Annotator,
    prompts: Prompts,
    topics: Callable[[JSON], Topics],
    ids: Sequence[str],
    rows: _Rows,
) -> Counts:
    """Add a row for every phrase that an annotator answers."""
    tally, name = Counts(), worker.identity.name
    for chunk in answer_prompts(how, worker, prompts, topics, tally):
        found: list[dict[str, str]] = []
        answers = zip(chunk.keys, chunk.responses, strict=True)
        for row, (key, response) in enumerate(answers, chunk.start):
            if response is None:
                continue
            said = topics(response)
            rows.empty += not said.phrases
            rows.left_out += said.left_out
            one = {"id": ids[row], "annotator": name, "key": key}
            found += [one | {"phrase": phrase} for phrase in said.phrases]
        rows.add(found)
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
    how: AskOptions, worker: Annotator, prompts: Prompts, topics: Callable[[JSON], Topics]
) -> Example:
    """The 1-shot example: a sentence of the corpus, and what the first annotator says of it.

    Raises:
        InputError: that is no list of topics, or an empty one; every prompt would show it.
    """
    tally = Counts()
    (chunk,) = answer_prompts(how, worker, prompts, topics, tally)
    (response,) = chunk.responses
    concepts = [] if response is None else topics(response).phrases
    if not concepts:
        why = tally.why or f"no topics, such as {response['text'][:80]!r}"
        raise InputError(
            f"{worker.identity.name}: the answer that was to be the 1-shot example of p1 failed"
            f" ({why}): write describe.example in params.yaml by hand, its sentence and concepts"
        )
    return {"sentence": prompts[0].sentence, "concepts": concepts}


def with_example(texts: Sequence[str], max_descriptors: int, example: Example) -> Prompts:
    """The questions about all sentences."""
    shot = example["sentence"], example["concepts"]
    return p1(texts, p1_template(max_descriptors, *shot))
