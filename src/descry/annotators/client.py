"""Asking: prompts go through the cache to an annotator, and are counted.

Every answer is stored the moment it comes. What is no answer is counted with its reason.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from descry.annotators.base import (
    NO_FRAME,
    Adaptable,
    Annotator,
    Frame,
    Identity,
    VariantChangedError,
)
from descry.annotators.batch_job import Batching, BatchJob
from descry.annotators.chunks import part, size, starts
from descry.annotators.cost import cost, survey
from descry.annotators.counts import Counts
from descry.annotators.parsing.unwrap import UnparsableError
from descry.annotators.prompt_cache.store import PromptCache, read_only
from descry.annotators.prompts import Prompt
from descry.annotators.records import failure_of, origin_of, record_of, row_of
from descry.errors import InputError
from descry.io.hashing import JSON
from descry.io.sharding import WHOLE, Shard


class Chunk(NamedTuple):
    """A run of consecutive prompts with their keys and responses (None where it failed)."""

    start: int
    keys: list[str]
    responses: list[JSON]


_T = TypeVar("_T")
PENDING = "batches of this annotator are not taken in yet (mode: batch does): live pays twice"
Check = Callable[[JSON], object]
Progress = Callable[[str, Counts], None]


@dataclass(frozen=True)
class AskOptions:
    """How a stage asks.

    Attributes:
        stage: its name.
        cache: where answers are and go.
        max_failures: the share of prompts that may fail before the run does.
        replay: answers come from the cache alone; a missing one is an error, and one that failed
            before fails again.
        progress: is told of every slab and batch.
        shard: the slabs that are asked about.
        again: whether what failed before is asked again.
        live: whether nobody is asked in a batch: others wait for these few answers.
    """

    stage: str
    cache: PromptCache
    max_failures: float
    replay: bool
    progress: Progress
    shard: Shard = WHOLE
    again: bool = True
    live: bool = False

    def chunks(self, prompts: Sequence[Prompt]) -> Iterator[int]:
        """Where each slab of the shard begins."""
        return (start for chunk, start in enumerate(starts(prompts)) if self.shard.has(chunk))


def answer_prompts(
    how: AskOptions, annotator: Annotator, prompts: Sequence[Prompt], check: Check, tally: Counts
) -> Iterator[Chunk]:
    """Answer every prompt, from the cache if possible, and store new answers.

    Args:
        prompts: may be a lazy sequence; it is gone through once, slab by slab.
        check: raises UnparsableError for a response that is no answer.
        tally: takes the counts.

    Raises:
        InputError: more failures than allowed, or a miss in replay mode; the good answers are kept.
    """
    go_on(how.cache, annotator)
    frame = stored_frame(how.cache, annotator.identity)
    frame = frame or (NO_FRAME if how.replay else annotator.frame)
    tally.whole += len(prompts)
    tally.total += sum(size(prompts, start) for start in how.chunks(prompts))
    try:
        cached = _fill(how, annotator, frame, prompts, check, tally)
        if cached is not None:  # what failed in a batch is in the ledger
            how = replace(how, again=False)
        for start in how.chunks(prompts):

            def answered(start: int = start) -> Chunk:
                return _chunk(how, annotator, frame, prompts, start, check, tally)

            yield _in_variant(answered, tally)
        if cached is not None:
            tally.cached = cached  # and not what came from a batch now
    finally:
        if how.shard == WHOLE:
            run = f"{how.stage}:{annotator.identity.name}"
            before = how.cache.runs().get(run, {}).get("rate")
            how.cache.finish(run, tally.counts() | {"rate": tally.rate or before})


def _in_variant(ask: Callable[[], _T], tally: Counts) -> _T:
    """What asking gives, once it is known in which variant a server is to be asked."""
    while True:
        before = deepcopy(vars(tally))
        try:
            return ask()
        except VariantChangedError:  # at the first answer: nothing is stored, and all keys change
            vars(tally).update(before)


def _fill(
    how: AskOptions,
    annotator: Annotator,
    frame: Frame,
    prompts: Sequence[Prompt],
    check: Check,
    tally: Counts,
) -> int | None:
    """Fill the cache by batches, where the annotator is to be asked so.

    Returns:
        How many of the prompts had an answer before; None without batches.
    """
    if not isinstance(annotator, Batching) or how.replay or not tally.whole:
        return None

    def fault(response: JSON) -> str | None:
        return _fault(response, check)

    def told() -> None:
        how.progress(annotator.identity.name, tally)

    chunks = list(how.chunks(prompts))
    job = BatchJob(how.cache, frame, prompts, chunks, how.again, fault, tally, told)
    if how.live or not annotator.batches:
        tally.remarks.update([PENDING] if annotator.pending(job) else [])
        return None
    try:
        return _in_variant(lambda: annotator.fill(job), tally)
    finally:
        tally.done = 0


def _chunk(
    how: AskOptions,
    annotator: Annotator,
    frame: Frame,
    prompts: Sequence[Prompt],
    start: int,
    check: Check,
    tally: Counts,
) -> Chunk:
    identity = annotator.identity
    asked = part(prompts, start)
    keys = [identity.request(prompt, frame).key for prompt in asked]
    stored = how.cache.stored(keys)
    answers = {key: record["response"] for key, record in stored.items()}
    for record in stored.values():
        tally.shorten(record.get("sentence", []), record.get("cut", 0))
    distinct, often = dict(zip(keys, asked, strict=True)), Counter(keys)
    missing = {key for key in distinct if key not in answers}
    tally.cached += len(keys) - len(missing)
    tally.done += len(keys) - len(missing)
    if missing and (how.replay or not how.again):
        failed = how.cache.failed(sorted(missing))
        for key, record in failed.items():
            said = "" if record["response"] == "None" else record["response"]  # kept as repr
            tally.fail(record["reason"], often[key], distinct[key], said)
        missing -= failed.keys()
        tally.done += len(failed)
    if missing and how.cache.read_only and not how.replay:
        raise read_only(how.cache.folder)  # before anything is spent
    if missing and not tally.forecast:
        _forecast(how, annotator, frame, prompts, start, tally)
    how.progress(identity.name, tally)
    if missing:
        _ask_missing(how, annotator, frame, distinct, missing, answers, often, check, tally)
    # A stored answer may fail a check that came later: it is not asked again, nor is it data.
    unfit = {key: fault for key, r in answers.items() if (fault := _fault(r, check))}
    for key, fault in unfit.items():
        tally.fail(fault, often[key], distinct[key], _words(answers[key]))
    _stop_past(how, identity, tally)
    return Chunk(start, keys, [None if key in unfit else answers.get(key) for key in keys])


def go_on(cache: PromptCache, annotator: Annotator) -> None:
    """Let an annotator that adapts to its server ask in the way of its stored answers."""
    if isinstance(annotator, Adaptable):
        origins, counts = cache.origins(), cache.by_origin()
        # Names are hashes: of equal numbers of answers, every machine takes the same one.
        often = sorted(origins, key=lambda name: (-counts.get(name, (0,))[0], name))
        annotator.go_on([origins[name] for name in often if name in counts])


def stored_frame(cache: PromptCache, identity: Identity) -> Frame | None:
    """Return the annotator's frame from its cached answers, so that no tokenizer is loaded."""
    frames: Counter[Frame] = Counter()
    mine = {
        name: (origin["frame"][0], origin["frame"][1])
        for name, origin in cache.origins().items()
        if identity.answered(origin)
    }
    if len(set(mine.values())) > 1:  # an import brought another: the one with the most answers
        counts = cache.by_origin()
        for name, frame in mine.items():
            frames[frame] += counts.get(name, (0, 0, 0))[0]
    else:
        frames.update(mine.values())
    return frames.most_common(1)[0][0] if frames else None


def _ask_missing(
    how: AskOptions,
    annotator: Annotator,
    frame: Frame,
    distinct: dict[str, Prompt],
    missing: set[str],
    answers: dict[str, JSON],
    often: Counter[str],
    check: Check,
    tally: Counts,
) -> None:
    """Ask what is missing of a slab; the good answers are stored and added to `answers`.

    Args:
        often: how many times a key stands in the slab; a failure counts as often.
    """
    keys, prompts = list(distinct), list(distinct.values())
    wanted = [i for i, key in enumerate(keys) if key in missing]
    origin = origin_of(annotator, frame, prompts[0])
    left, started = set(wanted), time.monotonic()
    for group in annotator.answer(prompts, set(wanted)):
        good: dict[str, JSON] = {}
        bad: dict[str, JSON] = {}
        for i, answer in group:
            row = row_of(prompts[i])
            reason = answer.fault or _fault(answer.response, check)
            if reason is None:
                good[keys[i]] = record_of(row, answer)
                tally.shorten(row["sentence"], answer.cut)
            else:
                model, task = annotator.identity.model, prompts[i].task
                bad[keys[i]] = failure_of(row, answer, reason, model, task)
                tally.fail(reason, often[keys[i]], prompts[i], _words(answer.response))
            tally.tokens_in += answer.tokens[0]
            tally.tokens_out += answer.tokens[1]
            tally.cut += answer.cut > 0
            tally.remarks.update([answer.remark] if answer.remark else [])
        how.cache.store(origin, good)
        how.cache.fail(bad)
        answers |= {key: record["response"] for key, record in good.items()}
        left -= {i for i, _ in group}
        tally.asked += len(group)
        tally.done += len(group)
        tally.asking += time.monotonic() - started
        started = time.monotonic()
        how.progress(annotator.identity.name, tally)
        _stop_past(how, annotator.identity, tally)
    if left:
        raise RuntimeError(f"{annotator.identity.name} left {len(left)} prompts out")


def _forecast(
    how: AskOptions,
    annotator: Annotator,
    frame: Frame,
    prompts: Sequence[Prompt],
    start: int,
    tally: Counts,
) -> None:
    """Say what is about to be spent, before anything is; in replay mode that is an error."""
    left = [chunk for chunk in how.chunks(prompts) if chunk >= start]
    found = survey(how.cache, annotator.identity, frame, prompts, left, failed=not how.replay)
    name, task = annotator.identity.name, prompts[0].task
    if how.replay:
        raise InputError(
            f"{name}: replay: {found.missing} of {tally.total} answers to {task} are not in"
            f" {how.cache.folder} (model {annotator.identity.model}); the first prompt without one:"
            f" {found.first[:200]!r}"
        )
    spent = (
        "" if annotator.price is None else f", about ${cost(found.tokens, 0, annotator.price):.2f}"
    )
    tally.forecast = (
        f"{name}: {tally.total - found.missing:,} of {tally.total:,} answers are cached; to ask:"
        f" {found.missing:,} (about {found.tokens:,} tokens{spent})"
    )


def _stop_past(how: AskOptions, identity: Identity, tally: Counts) -> None:
    """Stop as soon as the failures can no longer be borne: nothing more is spent."""
    if tally.failed > how.max_failures * tally.whole:  # of all shards: their number decides nothing
        raise InputError(
            f"{identity.name}: {tally.failed} of {tally.whole} answers failed ({tally.why}): more"
            f" than max_failures allows ({how.max_failures:.1%}); good answers are kept in"
            f" {how.cache.folder}"
        )


def _words(response: JSON) -> str:
    """What was said, to be shown."""
    match response:
        case {"text": str(text)}:
            return text
    return "" if response is None else repr(response)


def _fault(response: JSON, check: Check) -> str | None:
    """Why a response is no answer; None if it is one."""
    try:
        check(response)
    except UnparsableError as reason:
        return str(reason)
    return None
