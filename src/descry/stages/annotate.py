"""Stage annotate: corpus and descriptors -> annotations.h5 (prompt p2, section 3.2)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from descry.activations.exemplar_files import read_ends, read_exemplars, read_neurons
from descry.annotators.annotations import writing_annotations
from descry.annotators.base import NO_FRAME, Annotator
from descry.annotators.client import AskOptions, Progress, answer_prompts, stored_frame
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompt_cache.jsonl import opened
from descry.annotators.prompts import Prompt, p2
from descry.annotators.sampling import Scope, exemplar_scope, whole
from descry.annotators.spec import AnnotatorSpec
from descry.annotators.yes_share import one_sided
from descry.corpus.splits import SPLITS
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.json_files import read_json, write_json
from descry.io.parquet import Chosen, Texts
from descry.io.provenance import provenance
from descry.io.section import Count, Section, Seed, Share
from descry.io.sharding import WHOLE, Shard
from descry.models.spec import NeuronNames

PACKAGES = ["h5py", "numpy", "scikit-learn"]
NEAR_TIE = 0.1  # log-odds: within it another batching or machine may turn an answer


class Scoped(Section):
    """Which sentences an annotator is asked about with p2, and when an answer counts."""

    scope: Literal["corpus", "exemplars"]
    neurons: NeuronNames | Count | None
    sample: Seed
    seed: Seed
    min_mass: Share
    max_failures: Share


class Annotate(Scoped):
    """Prompt p2 for every sentence and descriptor (section 3.2)."""

    annotator: AnnotatorSpec


def annotate_sentences(
    params: Annotate,
    *,
    corpus: Path,
    descriptors: Path,
    exemplars: Path,
    annotations: Path,
    parts: Sequence[Path] = (),
    cache_folder: Path,
    journals: Path | None = None,
    replay: bool = False,
    shard: Shard = WHOLE,
    progress: Progress,
) -> dict[str, object]:
    """Write B and the scores behind it, as `annotators.annotations` says.

    From who answered, the frame of its chat template and the texts every prompt and key follow.

    Args:
        exemplars: read only where the scope is theirs.
        parts: what the shards wrote. What failed is not asked again behind shards: these have just
            tried.
        journals: as `prompt_cache.journal.opened` takes them.
        shard: with one of several, the answers go into the cache, and their counts into
            `annotations`.
    """
    return answer_p2(
        "annotate",
        params,
        params.annotator,
        (corpus, descriptors, exemplars, annotations),
        (cache_folder, journals),
        replay=replay,
        progress=progress,
        shard=shard,
        again=not parts,
    )


def answer_p2(
    stage: str,
    params: Scoped,
    annotator: AnnotatorSpec,
    files: tuple[Path, Path, Path, Path],
    store: tuple[Path, Path | None],
    *,
    replay: bool,
    progress: Progress,
    shard: Shard = WHOLE,
    again: bool = True,
) -> dict[str, object]:
    """Write an annotator's B, for stage annotate or judge.

    Args:
        files: corpus, descriptors, exemplars, and the file to write.
        store: folders of the prompt cache, and of its journals, where there are any.
        again: whether what failed before is asked again.
    """
    corpus, descriptors, exemplars, output = files
    ids, texts = (Texts(corpus, "corpus", name) for name in ("id", "text"))
    entries = read_json(descriptors, "cluster")["descriptors"]
    phrases = {entry["name"]: entry["phrases"] for entry in entries}
    read = [corpus, descriptors] + ([exemplars] if params.scope == "exemplars" else [])
    made = provenance(stage, params.model_dump(), read, PACKAGES)
    who = create(annotator.model_dump(), "p2", descriptors=phrases, corpus=texts)
    which = scope_of(params, ids, exemplars)
    rows, names, tally = np.flatnonzero(which.asked), list(phrases), Counts()
    with opened(*store) as cache:
        how = AskOptions(stage, cache, params.max_failures, replay, progress, shard, again)
        found = _verdicts(how, who, p2(Chosen(texts, rows), names), params.min_mass, tally)
        if shard != WHOLE:
            for _ in found:
                pass  # stored as they come
            write_json(output, tally.counts())
            return dict(tally.brief)
        said = np.zeros((2, len(names)), dtype=np.int64)
        counts = dict.fromkeys(("yes", "other word likelier", "near ties"), 0)
        with writing_annotations(output, ids, names, which.asked, which.sampled) as b:
            for positions, yes, odds, greedy in found:
                row, column = np.divmod(positions, len(names))
                b.put(rows[row], column, yes, odds)
                for total, columns in zip(said, (column[yes], column), strict=True):
                    total += np.bincount(columns, minlength=len(names))
                near = np.abs(odds) < NEAR_TIE
                for name, flags in zip(counts, (yes, ~greedy, near), strict=True):
                    counts[name] += int(flags.sum())
            frame = stored_frame(cache, who.identity) or NO_FRAME
            of_b = {name: counts[name] for name in ("other word likelier", "near ties")}
            cut = [tally.shortened.get(name, 0) for name in ids] if tally.shortened else []
            of_b |= {"cut": len(tally.shortened)}
            b.sign(made | {"failed": tally.failed} | of_b, who.identity.as_json(), frame, cut)
    warning = one_sided(who.identity.name, *said)
    told: dict[str, object] = {"sentences": len(rows), **tally.brief, **counts}
    return told | ({"warnings": [warning]} if warning else {})


def scope_of(params: Scoped, ids: Sequence[str], exemplars: Path) -> Scope:
    """The sentences that are asked about.

    Raises:
        InputError: the exemplars are of another corpus.
    """
    if params.scope == "corpus":
        return whole(len(ids))
    ends = read_ends(exemplars)
    sets = [read_exemplars(exemplars, split, end) for split in SPLITS for end in ends]
    if max(int(rows.max()) for rows in sets) >= len(ids):
        raise InputError(f"{exemplars}: not of this corpus: run `descry stage exemplars` again")
    drawn = params.neurons, params.sample, params.seed
    return exemplar_scope(ids, sets, read_neurons(exemplars), *drawn)


def _verdicts(
    how: AskOptions, who: Annotator, prompts: Sequence[Prompt], min_mass: float, tally: Counts
) -> Iterator[tuple[np.ndarray, ...]]:
    """Slab by slab, of the answers that are one: places of the prompts, and fields of `Verdict`."""

    def check(response: JSON) -> None:
        parse_verdict(response, min_mass)

    for chunk in answer_prompts(how, who, prompts, check, tally):
        said = [place for place, response in enumerate(chunk.responses) if response is not None]
        verdicts = [parse_verdict(chunk.responses[place], min_mass) for place in said]
        yield (
            chunk.start + np.array(said, dtype=np.int64),
            np.array([verdict.yes for verdict in verdicts], dtype=bool),
            np.array([verdict.odds for verdict in verdicts], dtype=np.float32),
            np.array([verdict.greedy for verdict in verdicts], dtype=bool),
        )
