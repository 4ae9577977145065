"""Stage annotate: corpus and descriptors -> annotations.h5 (prompt p2, section 3.2)."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from descry.asking import Asking, Progress, Tally, ask, stored_frame
from descry.errors import InputError
from descry.journals import opened
from descry.labellers import JSON, NO_FRAME, Labeller, create
from descry.prompts import p2, parse_verdict
from descry.results import read_ends, read_exemplars, read_neurons
from descry.scope import Choice, Scope, exemplar_scope, whole
from descry.shard import WHOLE, Shard
from descry.splits import SPLITS
from descry.storage import canonical, provenance, read_json, read_table, write_json, writing_hdf5

PACKAGES = ["h5py", "numpy", "scikit-learn"]
MISSING = -1  # in B: not asked, or no usable answer
NEAR_TIE = 0.1  # log-odds: within it another batching or machine may turn an answer


def run(
    corpus: Path,
    descriptors: Path,
    exemplars: Path,
    output: Path,
    cache_folder: Path,
    *,
    section: dict[str, Any],
    labeller: JSON,
    scope: Literal["corpus", "exemplars"],
    neurons: Choice,
    sample: int,
    seed: int,
    min_mass: float,
    max_failures: float,
    replay: bool,
    progress: Progress,
    stage: str = "annotate",
    journals: Path | None = None,
    shard: Shard = WHOLE,
    again: bool = True,
) -> dict[str, int]:
    """Write B and the scores behind it.

    Datasets: `answer` int8 [sentence, descriptor] (1 Yes, 0 No, -1 no answer), `score` float32
    (log-odds of Yes; NaN where the labeller gave words only, or nothing), `id` and `descriptor`,
    `asked` and `sampled` bool [sentence]. Attribute `labeller` says who answered, `frame` what its
    chat template put around the prompts: from these and the texts every prompt and key follow.

    Args:
        exemplars: read only where the scope is theirs.
        journals: as `journals.opened` takes them.
        shard: with one of several, the answers go into the cache, and their counts into `output`.
        again: whether what failed before is asked again: not behind shards, which have just tried.
    """
    sentences = read_table(corpus, "corpus")
    ids, texts = sentences["id"].to_pylist(), sentences["text"].to_pylist()
    entries = read_json(descriptors, "cluster")["descriptors"]
    phrases = {entry["name"]: entry["phrases"] for entry in entries}
    read = [corpus, descriptors] + ([exemplars] if scope == "exemplars" else [])
    made = provenance(stage, section, read, PACKAGES)
    who = create(labeller, "p2", descriptors=phrases, corpus=texts)
    which = scope_of(ids, exemplars, scope, neurons, sample, seed)
    tally = Tally()
    with opened(cache_folder, journals) as cache:
        how = Asking(stage, cache, max_failures, replay, progress, shard, again)
        b = _answers(how, who, texts, list(phrases), which, min_mass, tally)
        if shard != WHOLE:
            write_json(output, tally.counts())
            return tally.brief
        frame = stored_frame(cache, who.identity) or NO_FRAME
    made |= {"failed": tally.failed} | b.counts
    with writing_hdf5(output, made) as file:
        file.attrs["labeller"] = canonical(who.identity.as_json())
        file.attrs["frame"] = canonical(list(frame))
        file.create_dataset("id", data=np.array(ids, dtype="S16"))
        names = np.array([name.encode() for name in phrases], dtype=object)
        file.create_dataset("descriptor", data=names, dtype=_utf8())
        file.create_dataset("answer", data=b.answer)
        file.create_dataset("score", data=b.score)
        file.create_dataset("asked", data=which.asked)
        file.create_dataset("sampled", data=which.sampled)
    counts = {"sentences": int(which.asked.sum())} | tally.brief
    return counts | {"yes": int((b.answer == 1).sum())} | b.counts


def scope_of(
    ids: list[str],
    exemplars: Path,
    scope: Literal["corpus", "exemplars"],
    neurons: Choice,
    sample: int,
    seed: int,
) -> Scope:
    """The sentences that are asked about.

    Raises:
        InputError: the exemplars are of another corpus.
    """
    if scope == "corpus":
        return whole(len(ids))
    ends = read_ends(exemplars)
    sets = [read_exemplars(exemplars, split, end) for split in SPLITS for end in ends]
    if max(int(rows.max()) for rows in sets) >= len(ids):
        raise InputError(f"{exemplars}: not of this corpus: run `descry exemplars` again")
    return exemplar_scope(ids, sets, read_neurons(exemplars), neurons, sample, seed)


class _B:
    """B as it fills: answer and score by sentence and descriptor."""

    def __init__(self, sentences: int, descriptors: int) -> None:
        self.answer = np.full((sentences, descriptors), MISSING, dtype=np.int8)
        self.score = np.full((sentences, descriptors), np.nan, dtype=np.float32)
        self.other_word = 0

    @property
    def counts(self) -> dict[str, int]:
        """Answers that the labeller would have worded otherwise, and those on the edge."""
        near = int((np.abs(self.score) < NEAR_TIE).sum())
        return {"other word likelier": self.other_word, "near ties": near}


def _answers(
    how: Asking,
    who: Labeller,
    texts: list[str],
    names: list[str],
    which: Scope,
    min_mass: float,
    tally: Tally,
) -> _B:
    rows = np.flatnonzero(which.asked)
    prompts = p2([texts[row] for row in rows], names)
    b = _B(len(texts), len(names))

    def check(response: JSON) -> None:
        parse_verdict(response, min_mass)

    for slab in ask(how, who, prompts, check, tally):
        for position, response in enumerate(slab.responses, slab.start):
            if response is not None:
                row, column = divmod(position, len(names))
                verdict = parse_verdict(response, min_mass)
                b.answer[rows[row], column] = verdict.yes
                b.score[rows[row], column] = verdict.odds
                b.other_word += not verdict.greedy
    return b


def _utf8() -> np.dtype[Any]:
    import h5py

    return h5py.string_dtype("utf-8")  # type: ignore[no-any-return]
