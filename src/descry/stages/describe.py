"""Stage describe: corpus -> candidates.parquet (prompt p1, section 3.1)."""

from collections.abc import Callable, Iterator, Sequence
from heapq import nsmallest
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from descry.annotators.base import NO_FRAME, Annotator, Identity
from descry.annotators.client import AskOptions, Progress, answer_prompts, stored_frame
from descry.annotators.copied import Copied
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.parsing.topics import Topics, clean_concept, read_topics
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.jsonl import opened
from descry.annotators.prompts import Prompts, p1
from descry.annotators.spec import DescriberSpec
from descry.annotators.templates import Shot, p1_template
from descry.corpus.splits import corpus_id, draw
from descry.corpus.units import stand_for_all
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.json_files import write_json
from descry.io.parquet import ROW_GROUP, Chosen, Texts, regrouped, write_batches
from descry.io.provenance import provenance
from descry.io.section import Count, Place, Section, Seed, Share
from descry.io.sharding import WHOLE, Shard

PACKAGES = ["keybert", "pyarrow"]


def _concept(text: str) -> str:
    if not clean_concept(text):
        raise PydanticCustomError("topic", "not a topic: words alone, without marks or commas")
    return text


class Example(Section):
    """An example of p1, written by hand."""

    sentence: Annotated[str, Field(pattern=r"\S")]
    concepts: Annotated[list[Annotated[str, AfterValidator(_concept)]], Field(min_length=1)]


# Which of the two a value is to be, so that an error is of that one alone; no key has brackets.
_Number = Annotated[int, Field(ge=0, le=20), Tag("[number]")]
_Listed = Annotated[list[Example], Field(min_length=1), Tag("[list]")]
_Examples = Annotated[
    _Number | _Listed, Discriminator(lambda it: "[list]" if isinstance(it, list) else "[number]")
]


class Describe(Section):
    """Prompt p1 to every annotator (section 3.1)."""

    annotators: Annotated[list[DescriberSpec], Field(min_length=1)]
    max_descriptors: Count
    max_words: Count
    examples: _Examples
    template: Place | None
    seed: Seed
    max_failures: Share


def describe_sentences(
    params: Describe,
    *,
    corpus: Path,
    template: Path | None = None,
    candidates: Path,
    parts: Sequence[Path] = (),
    cache_folder: Path,
    journals: Path | None = None,
    replay: bool = False,
    shard: Shard = WHOLE,
    progress: Progress,
) -> dict[str, object]:
    """Write the raw descriptors: a row per sentence, annotator and phrase.

    With several annotators the rows are the union of their answers. An answer without topics gives
    no row, and is counted; so are phrases that were left out, most of them too long, and those that
    an annotator copied from the examples.

    Args:
        template: of the prompts, in place of the paper's.
        parts, journals, shard: as in stage annotate; the preparing shard asks only for the
        examples.
    """
    limit = params.max_descriptors
    ids, texts = _standing(corpus)
    read = [corpus, *([template] if template else [])]
    made = provenance("describe", params.model_dump(), read, PACKAGES)
    specs = [spec.model_dump() for spec in params.annotators]
    workers = [create(spec, "p1", max_descriptors=limit) for spec in specs]

    def topics(response: JSON) -> Topics:
        return read_topics(response, limit, params.max_words)

    with TemporaryFile() as spilled:
        rows = _Rows(spilled)
        with opened(cache_folder, journals) as cache:
            given = params.model_dump()["examples"]
            examples = by_hand(given)
            if examples is None:
                once = AskOptions("examples", cache, 1, replay, progress, live=True)
                asked = p1(drawn(texts, given, params.seed), p1_template(limit, (), template))
                examples = ask_examples(once, workers[0], asked, topics)
            shape = p1_template(limit, examples, template)
            prompts, shown = p1(texts, shape), Copied(examples)

            def own_topics(response: JSON) -> Topics:
                try:
                    return topics(response)
                except UnparsableError as reason:
                    if shown.repeats(response["text"]):
                        raise UnparsableError("repeats an example of p1") from reason
                    raise

            again = not parts or shard != WHOLE
            how = AskOptions("describe", cache, params.max_failures, replay, progress, shard, again)
            identities, tallies, copied = list[Identity](), list[Counts](), list[Copied]()
            while workers:  # each is let go when it has answered: two large models need not fit
                worker = workers.pop(0)
                copied.append(Copied(examples))
                tallies.append(_ask(how, worker, prompts, own_topics, ids, rows, copied[-1]))
                identities.append(worker.identity)  # the way of asking may be another now
                del worker
            frames = [stored_frame(cache, identity) or NO_FRAME for identity in identities]
        counts = {name: sum(tally.brief[name] for tally in tallies) for name in Counts().brief}
        if shard != WHOLE:
            write_json(candidates, {"annotators": [tally.counts() for tally in tallies]})
            return dict(counts)
        who = zip(identities, frames, strict=True)
        made |= {
            "annotators": [identity.as_json() | {"frame": [*frame]} for identity, frame in who]
        }
        named = list(zip([identity.name for identity in identities], copied, strict=True))
        made |= {"examples": examples, "template": [*shape]}
        made |= {"copied": {name: of.counts() for name, of in named}}
        made |= {"failed": counts["failed"], "cut": counts["cut"], "corpus_id": corpus_id(ids)}
        write_batches(candidates, _Rows.SCHEMA, rows.tables(), made)
        found = {"no topics": rows.empty, "phrases left out": rows.left_out}
        found |= {"answers with copied phrases": sum(of.answers for of in copied)}
        found |= {"descriptors": rows.number, "distinct": len(rows.distinct)}
        told: dict[str, object] = {"sentences": len(ids), **counts, **found}
        warnings = [warning for name, of in named if (warning := of.warning(name))]
        return told | ({"warnings": warnings} if warnings else {})


def _standing(corpus: Path) -> tuple[Sequence[str], Sequence[str]]:
    """Ids and texts of the sentences that represent the corpus."""
    ids, texts = (Texts(corpus, "corpus", name) for name in ("id", "text"))
    sampled = stand_for_all(corpus)
    if sampled is None:
        return ids, texts
    rows = np.flatnonzero(sampled)
    return Chosen(ids, rows), Chosen(texts, rows)


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
    copied: Copied,
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
            copied.add(prompts.sentences[row], said.phrases)
            rows.empty += not said.phrases
            rows.left_out += said.left_out
            one = {"id": ids[row], "annotator": name, "key": key}
            found += [one | {"phrase": phrase} for phrase in said.phrases]
        rows.add(found)
    return tally


def by_hand(examples: int | list[Shot]) -> list[Shot] | None:
    """Return the examples of p1 from params.yaml, possibly none; None: draw them."""
    if isinstance(examples, int):
        return None if examples else []
    return examples


def drawn(texts: Sequence[str], number: int, seed: int) -> list[str]:
    """The sentences of the examples of p1 (section 3.1), by seed; those of middle length first."""

    def lot(text: str) -> tuple[bool, bytes]:
        middle = 20 <= len(text.split()) <= 60
        return not middle, draw(seed, "example:" + text)

    return nsmallest(number, texts, key=lot)


def ask_examples(
    how: AskOptions, worker: Annotator, prompts: Prompts, topics: Callable[[JSON], Topics]
) -> list[Shot]:
    """Return the examples of p1: sentences of the corpus, and the first annotator's answers.

    Raises:
        InputError: an answer is no list of topics, or an empty one; every prompt would show it.
    """
    tally = Counts()
    (chunk,) = answer_prompts(how, worker, prompts, topics, tally)
    found: list[Shot] = []
    for sentence, response in zip(prompts.sentences, chunk.responses, strict=True):
        concepts = [] if response is None else topics(response).phrases
        if not concepts:
            see = "see that it answers, and run the same command again; or " if tally.silent else ""
            why = tally.why or f"no topics, such as {response['text'][:80]!r}"
            raise InputError(
                f"{worker.identity.name}: an answer that was to be an example of p1 failed"
                f" ({why}): {see}write describe.examples in params.yaml by hand, each with its"
                " sentence and concepts, or draw others by another describe.seed"
            )
        found.append({"sentence": sentence, "concepts": concepts})
    return found
