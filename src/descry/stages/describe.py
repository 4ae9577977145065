"""Stage describe: corpus -> candidates.parquet (prompt p1, section 3.1)."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from descry.cache import PromptCache
from descry.labellers import JSON, Labeller, Outcome, Progress, ask, create
from descry.prompts import Prompt, p1, parse_topics
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

    def check(response: JSON) -> None:
        parse_topics(response["text"], max_descriptors, max_words)

    workers = [
        create(spec, max_descriptors=max_descriptors, descriptors=None, corpus=None)
        for spec in labellers
    ]
    rows: list[dict[str, str]] = []
    totals = {"cached": 0, "asked": 0, "failed": 0}
    with PromptCache(cache_folder) as cache:

        def answers(worker: Labeller, prompts: list[Prompt], allowed: float) -> Outcome:
            return ask(
                cache,
                worker,
                prompts,
                check=check,
                max_failures=allowed,
                progress=progress,
                versions=made["versions"],
            )

        if example is None:
            drawn = draw_example(texts, seed)
            response = answers(workers[0], [p1(drawn, max_descriptors, None, None)], 0).responses[0]
            topics = parse_topics(response["text"], max_descriptors, max_words)
            example = {"sentence": drawn, "concepts": topics}
        shot = example["sentence"], example["concepts"]
        prompts = [p1(text, max_descriptors, *shot) for text in texts]
        for worker in workers:
            outcome = answers(worker, prompts, max_failures)
            for sentence, key, response in zip(ids, outcome.keys, outcome.responses, strict=True):
                if response is None:
                    continue
                for phrase in parse_topics(response["text"], max_descriptors, max_words):
                    name = worker.identity.name
                    rows.append({"id": sentence, "labeller": name, "phrase": phrase, "key": key})
            totals["cached"] += outcome.cached
            totals["asked"] += outcome.asked
            totals["failed"] += outcome.failures.total()
    made |= {"example": example, "labellers": [worker.identity.as_json() for worker in workers]}
    made["failed"] = totals["failed"]
    schema = pa.schema([(name, pa.string()) for name in ("id", "labeller", "phrase", "key")])
    write_table(output, pa.Table.from_pylist(rows, schema=schema), made)
    distinct = len({row["phrase"] for row in rows})
    return {"sentences": len(ids), **totals, "descriptors": len(rows), "distinct": distinct}


def draw_example(texts: list[str], seed: int) -> str:
    """The sentence of the 1-shot example: of middle length, drawn by seed (section 3.1)."""
    middle = [text for text in texts if 20 <= len(text.split()) <= 60]
    return min(middle or texts, key=lambda text: draw(seed, "example:" + text))
