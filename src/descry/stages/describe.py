"""Stage describe: corpus -> candidates.parquet (prompt p1, section 3.1)."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from descry.annotators.base import NO_FRAME, Annotator, Identity
from descry.annotators.client import AskOptions, Progress, answer_prompts, stored_frame
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.parsing.topics import Topics, clean_concept, read_topics
from descry.annotators.prompt_cache.jsonl import opened
from descry.annotators.prompts import Prompts, p1, p1_template
from descry.annotators.spec import DescriberSpec
from descry.corpus.splits import corpus_id, draw
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.json_files import write_json
from descry.io.parquet import ROW_GROUP, Texts, regrouped, write_batches
from descry.io.provenance import provenance
from descry.io.section import Count, Section, Seed, Share
from descry.io.sharding import WHOLE, Shard

PACKAGES = ["keybert", "pyarrow"]
Shot = dict[str, Any]  # the 1-shot example: its sentence and concepts


def _concept(text: str) -> str:
    if not clean_concept(text):
        raise PydanticCustomError("topic", "not a topic: words alone, without marks or commas")
    return text


class Example(Section):
    """The 1-shot example of p1, written by hand."""

    sentence: Annotated[str, Field(pattern=r"\S")]
    concepts: Annotated[list[Annotated[str, AfterValidator(_concept)]], Field(min_length=1)]


class Describe(Section):
    """Prompt p1 to every annotator (section 3.1)."""

    annotators: Annotated[list[DescriberSpec], Field(min_length=1)]
    max_descriptors: Count
    max_words: Count
    example: Example | None
    seed: Seed
    max_failures: Share


def describe_sentences(
    params: Describe,
    *,
    corpus: Path,
    candidates: Path,
    parts: Sequence[Path] = (),
    cache_folder: Path,
    journals: Path | None = None,
    replay: bool = False,
    shard: Shard = WHOLE,
    progress: Progress,
) -> dict[str, int]:
    """Write the raw descriptors: a row per sentence, annotator and phrase.

    With several annotators the rows are the union of their answers. An answer without topics gives
    no row, and is counted; so are phrases that were left out, most of them too long.

    Args:
        parts, journals, shard: as stage annotate takes them; the shard before the first asks for
            the 1-shot example alone.
    """
    limit = params.max_descriptors
    ids, texts = (Texts(corpus, "corpus", name) for name in ("id", "text"))
    made = provenance("describe", params.model_dump(), [corpus], PACKAGES)
    specs = [spec.model_dump() for spec in params.annotators]
    workers = [create(spec, "p1", max_descriptors=limit) for spec in specs]

    def topics(response: JSON) -> Topics:
        return read_topics(response, limit, params.max_words)

    with TemporaryFile() as spilled:
        rows = _Rows(spilled)
        with opened(cache_folder, journals) as cache:
            example = params.example.model_dump() if params.example else None
            if example is None:
                once = AskOptions("example", cache, 1, replay, progress)
                asked = zero_shot(texts, params.seed, limit)
                example = ask_example(once, workers[0], asked, topics)
            prompts = with_example(texts, limit, example)
            again = not parts or shard != WHOLE
            how = AskOptions("describe", cache, params.max_failures, replay, progress, shard, again)
            identities, tallies = list[Identity](), list[Counts]()
            while workers:  # each is let go when it has answered: two large models need not fit
                worker = workers.pop(0)
                tallies.append(_ask(how, worker, prompts, topics, ids, rows))
                identities.append(worker.identity)  # the way of asking may be another now
                del worker
            frames = [stored_frame(cache, identity) or NO_FRAME for identity in identities]
        counts = {name: sum(tally.brief[name] for tally in tallies) for name in Counts().brief}
        if shard != WHOLE:
            write_json(candidates, {"annotators": [tally.counts() for tally in tallies]})
            return counts
        who = zip(identities, frames, strict=True)
        made |= {
            "annotators": [identity.as_json() | {"frame": [*frame]} for identity, frame in who]
        }
        made |= {"example": example, "failed": counts["failed"], "cut": counts["cut"]}
        made |= {"corpus_id": corpus_id(ids)}
        write_batches(candidates, _Rows.SCHEMA, rows.tables(), made)
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
) -> Shot:
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


def with_example(texts: Sequence[str], max_descriptors: int, example: Shot) -> Prompts:
    """The questions about all sentences."""
    shot = example["sentence"], example["concepts"]
    return p1(texts, p1_template(max_descriptors, *shot))
