"""Stage describe: corpus -> candidates.parquet (prompt p1, section 3.1)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from descry.asking import Asking, Progress, Tally, ask, stored_frame
from descry.journals import opened
from descry.labellers import JSON, NO_FRAME, Labeller, create
from descry.prompts import Prompts, p1, p1_template, parse_topics
from descry.shard import WHOLE, Shard
from descry.splits import draw
from descry.storage import provenance, read_table, write_json, write_table

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
    sentences = read_table(corpus, "corpus")
    ids, texts = sentences["id"].to_pylist(), sentences["text"].to_pylist()
    made = provenance("describe", section, [corpus], PACKAGES)
    workers = [create(spec, "p1", max_descriptors=max_descriptors) for spec in labellers]

    def topics(response: JSON) -> list[str]:
        return parse_topics(response, max_descriptors, max_words)

    rows: list[dict[str, str]] = []
    with opened(cache_folder, journals) as cache:
        if example is None:
            once = Asking("example", cache, 0, replay, progress)
            example = ask_example(once, workers[0], zero_shot(texts, seed, max_descriptors), topics)
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
    made |= {"example": example, "failed": counts["failed"]}
    schema = pa.schema([(name, pa.string()) for name in ("id", "labeller", "phrase", "key")])
    write_table(output, pa.Table.from_pylist(rows, schema=schema), made)
    distinct = len({row["phrase"] for row in rows})
    return {"sentences": len(ids), **counts, "descriptors": len(rows), "distinct": distinct}


def _ask(
    how: Asking,
    worker: Labeller,
    prompts: Prompts,
    topics: Callable[[JSON], list[str]],
    ids: list[str],
    rows: list[dict[str, str]],
) -> Tally:
    """Add a row for every phrase that a labeller answers."""
    tally, name = Tally(), worker.identity.name
    for slab in ask(how, worker, prompts, topics, tally):
        for row, (key, response) in enumerate(zip(slab.keys, slab.responses, strict=True)):
            if response is not None:
                rows += (
                    {"id": ids[slab.start + row], "labeller": name, "phrase": phrase, "key": key}
                    for phrase in topics(response)
                )
    return tally


def zero_shot(texts: list[str], seed: int, max_descriptors: int) -> Prompts:
    """The question about the sentence of the 1-shot example (section 3.1).

    It is of middle length, drawn by seed.
    """
    middle = [text for text in texts if 20 <= len(text.split()) <= 60]
    drawn = min(middle or texts, key=lambda text: draw(seed, "example:" + text))
    return p1([drawn], p1_template(max_descriptors, None, None))


def ask_example(
    how: Asking, worker: Labeller, prompts: Prompts, topics: Callable[[JSON], list[str]]
) -> Example:
    """The 1-shot example: a sentence of the corpus, and what the first labeller says of it."""
    (slab,) = ask(how, worker, prompts, topics, Tally())
    return {"sentence": prompts[0].sentence, "concepts": topics(slab.responses[0])}


def with_example(texts: list[str], max_descriptors: int, example: Example) -> Prompts:
    """The questions about all sentences."""
    shot = example["sentence"], example["concepts"]
    return p1(texts, p1_template(max_descriptors, *shot))
