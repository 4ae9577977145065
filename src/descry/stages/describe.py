"""Stage describe: corpus -> candidates.parquet (prompt p1, section 3.1)."""

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from descry.cache import PromptCache
from descry.labellers import JSON, Progress, ask, create
from descry.prompts import p1, parse_topics
from descry.splits import draw
from descry.storage import provenance, read_table, write_table

PACKAGES = ["keybert", "pyarrow"]


def run(
    corpus: Path,
    output: Path,
    cache_folder: Path,
    *,
    section: dict[str, Any],
    labellers: list[dict[str, str]],
    max_descriptors: int,
    max_words: int,
    example: dict[str, Any] | None,
    seed: int,
    max_failures: float,
    progress: Progress,
) -> dict[str, int]:
    """Write the raw descriptors: a row per sentence, labeller and phrase.

    With several labellers the rows are the union of their answers.
    """
    sentences = read_table(corpus, "corpus")
    ids, texts = sentences["id"].to_pylist(), sentences["text"].to_pylist()
    made = provenance("describe", section, [corpus], PACKAGES)

    workers = [
        create(spec, max_descriptors=max_descriptors, descriptors=None, corpus=None)
        for spec in labellers
    ]

    def topics(response: JSON) -> list[str]:
        return parse_topics(response["text"], max_descriptors, max_words)

    with PromptCache(cache_folder) as cache:
        answers = partial(ask, cache, check=topics, progress=progress, versions=made["versions"])
        if example is None:
            drawn = draw_example(texts, seed)
            zero_shot = [p1(drawn, max_descriptors, None, None)]
            (response,) = answers(workers[0], zero_shot, max_failures=0).responses
            example = {"sentence": drawn, "concepts": topics(response)}
        shot = example["sentence"], example["concepts"]
        prompts = [p1(text, max_descriptors, *shot) for text in texts]
        outcomes = [answers(worker, prompts, max_failures=max_failures) for worker in workers]
    rows = [
        {"id": sentence, "labeller": worker.identity.name, "phrase": phrase, "key": key}
        for worker, outcome in zip(workers, outcomes, strict=True)
        for sentence, key, response in zip(ids, outcome.keys, outcome.responses, strict=True)
        if response is not None
        for phrase in topics(response)
    ]
    failed = sum(outcome.failures.total() for outcome in outcomes)
    made |= {"labellers": [worker.identity.as_json() for worker in workers]}
    made |= {"example": example, "failed": failed}
    schema = pa.schema([(name, pa.string()) for name in ("id", "labeller", "phrase", "key")])
    write_table(output, pa.Table.from_pylist(rows, schema=schema), made)
    return {
        "sentences": len(ids),
        "cached": sum(outcome.cached for outcome in outcomes),
        "asked": sum(outcome.asked for outcome in outcomes),
        "failed": failed,
        "descriptors": len(rows),
        "distinct": len({row["phrase"] for row in rows}),
    }


def draw_example(texts: list[str], seed: int) -> str:
    """The sentence of the 1-shot example: of middle length, drawn by seed (section 3.1)."""
    middle = [text for text in texts if 20 <= len(text.split()) <= 60]
    return min(middle or texts, key=lambda text: draw(seed, "example:" + text))
