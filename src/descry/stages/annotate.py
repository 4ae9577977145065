"""Stage annotate: corpus and descriptors -> annotations.h5 (prompt p2, section 3.2)."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from descry.cache import PromptCache
from descry.labellers import JSON, Progress, ask, create
from descry.prompts import UnparsableError, p2
from descry.storage import canonical, provenance, read_json, read_table, writing_hdf5

PACKAGES = ["h5py", "numpy", "scikit-learn"]
MISSING = -1  # in B: the labeller gave no usable answer


def run(
    corpus: Path,
    descriptors: Path,
    output: Path,
    cache_folder: Path,
    *,
    section: dict[str, Any],
    labeller: dict[str, str],
    max_failures: float,
    progress: Progress,
) -> dict[str, int]:
    """Write B and the scores behind it.

    Datasets: `answer` int8 [sentence, descriptor] (1 Yes, 0 No, -1 no answer), `score` float32
    (log-odds of Yes), `id` and `descriptor`. Attribute `labeller` says who answered.
    """
    sentences = read_table(corpus, "corpus")
    ids, texts = sentences["id"].to_pylist(), sentences["text"].to_pylist()
    entries = read_json(descriptors, "cluster")["descriptors"]
    phrases = {entry["name"]: entry["phrases"] for entry in entries}
    made = provenance("annotate", section, [corpus, descriptors], PACKAGES)
    who = create(labeller, max_descriptors=None, descriptors=phrases, corpus=texts)
    prompts = [p2(text, name) for text in texts for name in phrases]
    with PromptCache(cache_folder) as cache:
        outcome = ask(
            cache,
            who,
            prompts,
            check=log_odds,
            max_failures=max_failures,
            progress=progress,
            versions=made["versions"],
        )
    odds = [math.nan if r is None else log_odds(r) for r in outcome.responses]
    score = np.array(odds, dtype=np.float32).reshape(len(ids), len(phrases))
    answer = np.where(np.isnan(score), MISSING, score > 0).astype(np.int8)
    with writing_hdf5(output, made) as file:
        file.attrs["labeller"] = canonical(who.identity.as_json())
        file.create_dataset("id", data=np.array(ids, dtype="S16"))
        names = np.array([name.encode() for name in phrases], dtype=object)
        file.create_dataset("descriptor", data=names, dtype=_utf8())
        file.create_dataset("answer", data=answer)
        file.create_dataset("score", data=score)
    failed = outcome.failures.total()
    yes = int((answer == 1).sum())
    return {"cached": outcome.cached, "asked": outcome.asked, "failed": failed, "yes": yes}


def _utf8() -> np.dtype[Any]:
    import h5py

    return h5py.string_dtype("utf-8")  # type: ignore[no-any-return]


def log_odds(response: JSON) -> float:
    """Log-odds of Yes in a response.

    Raises:
        UnparsableError: the log-probabilities are not there or not finite.
    """
    try:
        odds = float(response["yes"]) - float(response["no"])
    except (KeyError, TypeError, ValueError):
        raise UnparsableError("no log-probabilities") from None
    if not math.isfinite(odds):
        raise UnparsableError("log-probabilities are not finite")
    return odds
