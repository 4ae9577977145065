"""Prompts in batches: written, submitted, awaited and imported, across kills.

1. Batches in the ledger that hold prompts of this annotator are looked up.
2. All other prompts without an answer are written into input files, before anything is submitted.
3. Each file is uploaded and submitted.
4. When a batch ends, its answers go into the cache, and so does the reason of each failure. A batch
   that expired, failed or was cancelled may have answers, too; its other prompts are failures.

The memory depends on the size of one batch, not on the number of prompts.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic_core import from_json

from descry.annotators.base import Annotator, Answer
from descry.annotators.batch_job import BatchJob
from descry.annotators.chunks import part
from descry.annotators.cost import CHARACTERS, cost
from descry.annotators.openai_server.batch.ledger import (
    Entry,
    Ledger,
    State,
    Writing,
    row_line,
    row_of_line,
)
from descry.annotators.openai_server.batch.lines import (
    MAX_BYTES,
    MAX_REQUESTS,
    Outcome,
    Refused,
    RequestLines,
    outcomes,
)
from descry.annotators.openai_server.batch.service import (
    Batch,
    BatchError,
    BatchService,
    Errors,
    NothingCameError,
    RefusedError,
)
from descry.annotators.openai_server.connection import Connection
from descry.annotators.openai_server.schema import Completion
from descry.annotators.prompt_cache.store import read_only
from descry.annotators.prompts import Prompt
from descry.annotators.records import failure_of, origin_of, record_of, row_of
from descry.io.hashing import JSON

if TYPE_CHECKING:
    from openai import OpenAI

SHORTEST, LONGEST = 1.0, 60.0  # seconds between two looks at the batches; longer each time
_LONGER = 1.5
_PATIENCE = 10  # looks in a row to which nothing comes
_WRITTEN = 1_000  # lines written to disk together
_STORED = 20_000  # answers of a transaction
_DIGEST = 32  # bytes of a key
_AGAIN = "lines of a batch's output repeat a request that has an answer: the first one counts"
_STRANGE = "lines of a batch's output are of no request in it, and are passed over"


class Asker(Annotator, Protocol):
    """What an annotator knows of requests and answers, however they travel."""

    connection: Connection

    def batch_requests(self, client: "OpenAI") -> tuple[RequestLines, int]:
        """Requests as this server allows them, and how many log-probabilities they ask for.

        Raises:
            VariantChangedError: they differ from the annotator's identity so far.
            InputError: the server refuses, or is another model.
        """

    def batch_answer(self, came: Completion | Refused | str, top: int) -> Answer:
        """Return the answer to a request that asked for a number of log-probabilities."""

    def remark_on(self, prompt: Prompt) -> str | None:
        """What is worth a line about a prompt that is sent."""


class BatchRun:
    """One job in batches; use as a context manager."""

    def __init__(
        self, who: Asker, job: BatchJob, client: Callable[[], "OpenAI"], retries: int
    ) -> None:
        self._who, self._job, self._retries = who, job, retries
        self._ledger = Ledger(job.cache.batches)
        self._entries: dict[str, Entry] = {}  # those on which this process works
        self._others = set[str]()  # those on which other processes work
        self._made, self._open = client, ExitStack()
        self._lost = 0  # looks in a row to which nothing came

    def __enter__(self) -> "BatchRun":
        return self

    def __exit__(self, *_: object) -> None:
        for entry in self._entries.values():
            entry.close()
        self._open.close()

    def run(self) -> int:
        """Give each prompt an answer or a failure; the number of those that had an answer."""
        started, first = time.monotonic(), None
        while True:
            if not self._job.cache.read_only:
                self._ledger.tidy()
            self._resume()
            cached = self._write()
            first = cached if first is None else first
            if not (self._entries or self._others):
                return first
            self._submit_all()
            whole = self._wait()
            self._job.tally.asking += time.monotonic() - started
            if whole:
                return first
            started = time.monotonic()

    @cached_property
    def _server(self) -> "OpenAI":
        return self._open.enter_context(self._made())

    @cached_property
    def _service(self) -> BatchService:
        return BatchService(self._server, self._who.connection)

    # What is pending

    def pending(self) -> int:
        """How many prompts batches of this annotator hold."""
        return sum(state.requests for state in self._ledger.states() if self._is_mine(state))

    def _resume(self) -> None:
        """Look up the batches of this annotator in the ledger."""
        for name in self._ledger.names():
            state = self._ledger.state(name)
            if state is not None and self._is_mine(state) and name not in self._entries:
                if (entry := self._ledger.take(name)) is None:
                    self._others.add(name)
                else:
                    self._adopt(entry)

    def _is_mine(self, state: State) -> bool:
        same = state.base_url == self._who.connection.base_url
        task = self._job.prompts[0].task
        mine = self._who.identity.answered(state.origin)
        return same and mine and state.origin["task"] == task

    def _adopt(self, entry: Entry) -> bool:
        """Go on with a batch that an earlier run submitted; what it only wrote is dropped."""
        if entry.state.batch is None:
            try:
                found = self._service.find(entry.metadata, entry.state.refused)
            except (NothingCameError, RefusedError) as error:
                entry.close()
                raise self._service.error(str(error)) from error
            if found is None:
                entry.remove()
                return False
            entry.update(batch=found.id)
        self._entries[entry.name] = entry
        return True

    def _pending_keys(self) -> np.ndarray:
        """Keys of prompts that batches hold already, sorted: bytes [prompts]."""
        names = (*self._entries, *self._others)
        digests = [_digests(self._ledger.keys(name)) for name in names]
        return np.sort(np.concatenate([_digests([]), *digests]))

    # Writing

    def _write(self) -> int:
        """Write the prompts that are missing, and in no batch, into the ledger.

        Returns:
            How many of all prompts had an answer.
        """
        job, identity = self._job, self._who.identity
        pending, cached, characters, written = self._pending_keys(), 0, 0, 0
        writer: _Writer | None = None
        shown, remark = "", None
        new = list[Entry]()
        try:
            for start in job.chunks:
                asked = part(job.prompts, start)
                keys = [identity.request(prompt, job.frame).key for prompt in asked]
                distinct = dict(zip(keys, asked, strict=True))
                known = job.cache.known(list(distinct))
                cached += sum(key in known for key in keys)
                missing = [key for key in distinct if key not in known]
                if missing and not job.again:
                    failed = job.cache.failed(missing)
                    missing = [key for key in missing if key not in failed]
                for key in _without(missing, pending):
                    if writer is None:
                        writer = self._writer(distinct[key], new)
                    prompt = distinct[key]
                    text = job.frame[0] + prompt.text + job.frame[1]
                    writer.add(key, text, row_of(prompt))
                    characters, written = characters + len(text), written + 1
                    if prompt.sentence != shown:
                        shown, remark = prompt.sentence, self._who.remark_on(prompt)
                    job.tally.remarks.update([remark] if remark else [])
            if writer is not None:
                writer.finish()
        except BaseException:
            if writer is not None:
                writer.discard()
            for entry in new:
                entry.remove()  # nothing of it was submitted
            raise
        self._entries |= {entry.name: entry for entry in new}
        self._tell(cached, written, round(characters / CHARACTERS), len(new), len(pending))
        return cached

    def _writer(self, prompt: Prompt, new: list[Entry]) -> "_Writer":
        if self._job.cache.read_only:
            raise read_only(self._job.cache.folder)  # before anything is spent
        lines, top = self._who.batch_requests(self._server)
        origin = origin_of(self._who, self._job.frame, prompt)
        return _Writer(self._ledger, lines, top, origin, self._who.connection.base_url, new)

    def _tell(self, cached: int, written: int, tokens: int, batches: int, pending: int) -> None:
        """Say what is about to be spent, before anything is."""
        job, price = self._job, self._who.price
        if job.tally.forecast or not (written or pending):
            return
        spent = "" if price is None else f", about ${cost(tokens, 0, price):.2f}"
        told = f"{cached:,} of {job.tally.total:,} answers are cached"
        if written:
            told += f"; to ask: {written:,} (about {tokens:,} tokens{spent}) in {batches} batches"
        if pending:
            told += f"; {pending:,} are in batches that were submitted before"
        job.tally.forecast = f"{self._who.identity.name}: {told}; a stopped run resumes its batches"
        job.told()

    # Submitting

    def _submit_all(self) -> None:
        for entry in [entry for entry in self._entries.values() if entry.state.batch is None]:
            self._submit(entry)

    def _submit(self, entry: Entry) -> None:
        try:
            file = self._service.upload(entry.input, f"descry-{entry.name}.jsonl")
            found = self._service.submit(file, entry.metadata, entry.state.refused)
        except RefusedError as error:
            for unsent in [one for one in self._entries.values() if one.state.batch is None]:
                self._forget(unsent)
            raise self._service.error(str(error)) from error
        except NothingCameError as error:  # it may be submitted all the same
            raise self._service.error(str(error)) from error
        entry.update(batch=found.id)

    def _forget(self, entry: Entry) -> None:
        entry.remove()
        del self._entries[entry.name]

    # Waiting

    def _wait(self) -> bool:
        """Import each batch when it ends.

        Returns:
            Whether that is all; else another process died before it had submitted its batch.
        """
        job, pause, whole = self._job, SHORTEST, True
        before = job.tally.done
        while True:
            moved, done = False, 0
            for entry in list(self._entries.values()):
                if entry.state.batch is None:
                    continue  # waits for room
                batch = self._look(entry)
                if batch is None or not batch.ended:
                    counts = batch and batch.request_counts
                    done += counts.completed + counts.failed if counts else 0
                elif batch.no_room and self._running(entry):
                    entry.update(batch=None, refused=(*entry.state.refused, batch.id))
                else:
                    self._take_in(entry, batch)
                    self._forget(entry)
                    moved = True
            for name in sorted(self._others):
                if self._ledger.state(name) is None:
                    self._others.remove(name)
                elif freed := self._ledger.take(name):
                    self._others.remove(name)
                    whole = self._adopt(freed) and whole
            job.tally.done = before + job.tally.asked + done
            job.told()
            if moved or not self._running():
                self._submit_all()  # there is room again
            if not (self._entries or self._others):
                return whole
            if moved:
                pause = SHORTEST
            time.sleep(pause)
            pause = min(LONGEST, pause * _LONGER)

    def _running(self, but: Entry | None = None) -> bool:
        """Whether any batch has been submitted and has not ended yet, but for one."""
        others = (entry for entry in self._entries.values() if entry is not but)
        return any(entry.state.batch is not None for entry in others)

    def _look(self, entry: Entry) -> Batch | None:
        """How far a batch is; None where nothing came, as may happen."""
        name = str(entry.state.batch)
        try:
            found = self._service.batch(name)
        except NothingCameError as error:
            self._lost += 1
            if self._lost > _PATIENCE:
                raise self._service.error(str(error)) from error
            return None
        except RefusedError as error:
            if error.refusal.status != 404:
                raise self._service.error(str(error)) from error
            told = Errors(data=[BatchError(message="the server no longer knows it")])
            found = Batch(id=name, status="failed", errors=told)
        self._lost = 0
        return found

    # Taking in

    def _take_in(self, entry: Entry, batch: Batch) -> None:
        """Store the answers of a batch that has ended, and the failures of its other prompts."""
        job, tally, rows = self._job, self._job.tally, entry.rows()
        left, bad, passed_over = dict(rows), dict[str, tuple[str, Answer]](), Counter[str]()
        why = _why(batch, self._who.connection)
        counts = batch.request_counts
        wanted = (counts.completed, counts.failed) if counts else (0, 0)
        for file, lines in zip((batch.output_file_id, batch.error_file_id), wanted, strict=True):
            path = entry.folder / "output.jsonl"
            if file is None:
                continue
            if not self._downloaded(file, path, lines):
                why = f"batch {batch.status}, and its output is gone"
                continue
            taken = self._read(outcomes(path), rows, left, bad, passed_over, entry.state.top)
            while good := dict(islice(taken, _STORED)):
                # Others have an answer of an earlier run, or were asked live meanwhile.
                new = job.cache.store_missing(entry.state.origin, good)
                self._count(len(new), *(good[key].get("tokens", (0, 0)) for key in new))
        for words, number in passed_over.items():
            tally.remarks[words] += number
        self._fail(entry, left, bad, why)
        self._count(len(left), *(answer.tokens for _, answer in bad.values()))

    def _read(
        self,
        came: Iterator[Outcome | None],
        rows: dict[str, bytes],
        left: dict[str, bytes],
        bad: dict[str, tuple[str, Answer]],
        passed_over: Counter[str],
        top: int,
    ) -> Iterator[tuple[str, JSON]]:
        """The records of good answers by key, as they come; each is taken off what is left."""
        for outcome in came:
            if outcome is None or outcome.key not in rows:
                passed_over[_STRANGE] += 1
            elif outcome.key not in left:
                passed_over[_AGAIN] += 1
            else:
                answer = self._who.batch_answer(outcome.came, top)
                reason = answer.fault or self._job.fault(answer.response)
                if reason is None:
                    row = row_of_line(left.pop(outcome.key))
                    yield outcome.key, record_of(row, answer)
                else:
                    bad.setdefault(outcome.key, (reason, answer))

    def _count(self, asked: int, *tokens: Sequence[int]) -> None:
        """Take prompts into the tally that had neither an answer nor a failure yet."""
        tally = self._job.tally
        tally.asked += asked
        tally.tokens_in += sum(one[0] for one in tokens)
        tally.tokens_out += sum(one[1] for one in tokens)

    def _fail(
        self,
        entry: Entry,
        left: dict[str, bytes],
        bad: dict[str, tuple[str, Answer]],
        why: str,
    ) -> None:
        """Enter the prompts that are left in the ledger of failures, with their reasons."""
        origin, nothing = entry.state.origin, (why, Answer(None))
        model, task = origin["model"], origin["task"]
        keys = iter(left)
        while group := list(islice(keys, _STORED)):
            failures = dict[str, JSON]()
            for key in group:
                reason, answer = bad.get(key, nothing)
                row = row_of_line(left[key])
                failures[key] = failure_of(row, answer, reason, model, task)
            self._job.cache.fail(failures)

    def _downloaded(self, file: str, path: Path, lines: int) -> bool:
        """Download a file, again where it is not whole; False where it is not there.

        Args:
            lines: that it has at least.
        """
        tries = self._retries
        while True:
            try:
                self._service.download(file, path)
            except RefusedError as error:
                if error.refusal.status != 404:
                    raise self._service.error(str(error)) from error
                return False
            except NothingCameError as error:
                if tries <= 0:
                    raise self._service.error(str(error)) from error
            else:
                # What a server has cut off itself stays so: the rest are failures then.
                if tries <= 0 or _is_whole(path, lines):
                    return True
            tries -= 1
            time.sleep(SHORTEST)


class _Writer:
    """Requests into as many batches as the limits of one want.

    Attributes:
        new: takes the batches that are whole.
    """

    def __init__(
        self,
        ledger: Ledger,
        lines: RequestLines,
        top: int,
        origin: JSON,
        base_url: str,
        new: list[Entry],
    ) -> None:
        self._ledger, self._lines, self.new = ledger, lines, new
        self._common = {"base_url": base_url, "origin": origin, "top": top}
        self._batch: Writing | None = None
        self._requests, self._rows = list[bytes](), list[bytes]()
        self._number = self._size = 0
        self._hash = sha256()

    def add(self, key: str, prompt: str, row: JSON) -> None:
        """Append a request."""
        line = self._lines.line(key, prompt)
        if self._number == MAX_REQUESTS or self._size + len(line) > MAX_BYTES:
            self.finish()
        if self._batch is None:
            self._batch, self._hash = self._ledger.new(), sha256()
        self._requests.append(line)
        self._rows.append(row_line(key, row))
        self._number, self._size = self._number + 1, self._size + len(line)
        if len(self._requests) == _WRITTEN:
            self._flush(self._batch)

    def finish(self) -> None:
        """Put what was written into the ledger."""
        if self._batch is not None:
            self._flush(self._batch)
            digest = self._hash.hexdigest()
            state = State(requests=self._number, sha256=digest, **self._common)
            self.new.append(self._batch.finish(state))
            self._batch, self._number, self._size = None, 0, 0

    def discard(self) -> None:
        """Leave nothing of what is not in the ledger."""
        if self._batch is not None:
            self._batch.discard()
            self._batch = None

    def _flush(self, batch: Writing) -> None:
        requests = b"".join(self._requests)
        self._hash.update(requests)
        batch.write(requests, b"".join(self._rows))
        self._requests, self._rows = [], []


def _digests(keys: list[str]) -> np.ndarray:
    return np.array([bytes.fromhex(key) for key in keys], dtype=f"S{_DIGEST}")


def _without(keys: list[str], pending: np.ndarray) -> Iterator[str]:
    """The keys that are not pending."""
    if not (keys and len(pending)):
        yield from keys
        return
    digests = _digests(keys)
    places = np.minimum(np.searchsorted(pending, digests), len(pending) - 1)
    for key, held in zip(keys, pending[places] == digests, strict=True):
        if not held:
            yield key


def _why(batch: Batch, connection: Connection) -> str:
    """Why a prompt of a batch that has ended has no answer, where no line says so."""
    if batch.status == "completed":
        return "no line in the batch's output"
    why = connection.line(batch.why)
    return f"batch {batch.status}" + (f" ({why})" if why else "")


def _is_whole(path: Path, lines: int) -> bool:
    """Whether a downloaded file has a number of lines, and does not end within one."""
    number, last = 0, b""
    with path.open("rb") as file:
        for line in file:
            number, last = number + 1, line
    try:
        from_json(last or b"{}")
    except ValueError:
        return False
    return number >= lines
