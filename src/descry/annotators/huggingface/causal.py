"""p2 by a causal model: a review's states are computed once for all of its descriptors.

The prompts of one sentence are alike up to the descriptor. They go through the model as one row:
the common beginning, and behind it the different ends side by side. A mask lets each end see the
beginning and itself only, and its positions count on from the beginning, so every end gets the
logits that it would get alone. (Encoder-decoders cannot do this: their encoder sees both ways.)
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from inspect import signature
from itertools import groupby
from math import inf
from os.path import commonprefix  # of any sequences
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from descry.annotators.huggingface.model import Loaded, verdicts
from descry.annotators.prompts import Prompt
from descry.io.hashing import JSON
from descry.models.batching import in_parallel, lacks_memory, plan_batches

if TYPE_CHECKING:
    import torch

PACK = 32  # ends of one row: attention over more would cost what sharing saves
# Relative error of the logits up to which sharing counts as the same (bfloat16 is coarse).
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}


class Row(NamedTuple):
    """Prompts that share their beginning, as token ids."""

    beginning: list[int]
    ends: list[list[int]]
    prompts: list[int]  # which ones

    @property
    def length(self) -> int:
        """Tokens of the row."""
        return len(self.beginning) + sum(map(len, self.ends))

    @property
    def reach(self) -> int:
        """Tokens of its longest prompt."""
        return len(self.beginning) + max(map(len, self.ends))


class Packed(NamedTuple):
    """Rows as arrays.

    Attributes:
        ids, positions: int64 [rows, columns].
        allowed: bool [rows, columns, columns], which column sees which.
        answers: the columns whose logits are the answers, one an end.
    """

    ids: np.ndarray
    positions: np.ndarray
    allowed: np.ndarray
    answers: list[int]


# What models say to a mask of another shape, or to positions, that they do not take (Falcon).
_NOT_TAKEN = (RuntimeError, ValueError, IndexError)


class Causal:
    """Scores Yes and No with a causal model.

    Attributes:
        remark: why prompts that could share their beginning do not; None where they do.
    """

    def __init__(self, loaded: Loaded, words: tuple[int, int], share: bool = True) -> None:
        self.loaded, self.words = loaded, words
        self._may_share = share
        self.remark: str | None = None

    def score(
        self, prompts: Sequence[Prompt], ids: list[list[int]], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, JSON]]]:
        """Responses to the wanted ones of the prompts, batch by batch."""
        rows = share(prompts, ids) if self._may_share else []
        several = any(len(row.ends) > 1 for row in rows)
        rows = [row for row in rows if row.reach <= self._window]
        reason = self._unshared(rows)
        slow = f"prompts go one by one, which is slower: {reason}"
        self.remark = slow if several and reason else None
        rows = [] if reason else rows
        plan = plan_batches([row.length for row in rows], self.loaded.batch_tokens)
        batches = ([only(rows[i], wanted) for i in batch] for batch in plan)
        kept = ([row for row in batch if row.prompts] for batch in batches)
        yield from in_parallel(self._together, filter(None, kept), self.loaded.device)
        together = {i for row in rows for i in row.prompts}
        yield from self._one_by_one(ids, [i for i in range(len(ids)) if i not in together], wanted)

    def _one_by_one(
        self, ids: list[list[int]], alone: list[int], wanted: Collection[int]
    ) -> Iterator[list[tuple[int, JSON]]]:
        """Prompts as rows of their own, in the way that any causal model understands."""

        def batch(kept: list[int]) -> list[tuple[int, JSON]]:
            padded = self.loaded.pad([ids[i] for i in kept], "left")
            if "position_ids" in self._takes:  # GPT-2 would count the padding
                padded["position_ids"] = (padded["attention_mask"].cumsum(1) - 1).clamp(min=0)
            if "logits_to_keep" in self._takes:
                padded["logits_to_keep"] = 1
            logits = self.loaded.model(**padded, use_cache=False).logits[:, -1]
            return list(zip(kept, verdicts(logits, self.words, self.loaded.tokenizer), strict=True))

        chosen = {j for j, i in enumerate(alone) if i in wanted}
        plan = self.loaded.plan([len(ids[i]) for i in alone], chosen)
        batches = ([alone[j] for j in rows] for rows in plan)
        return in_parallel(batch, batches, self.loaded.device)

    def _together(self, rows: list[Row]) -> list[tuple[int, JSON]]:
        logits, answers = self._logits(rows), list[tuple[int, JSON]]()
        for i, row in enumerate(rows):
            found = verdicts(logits[i, : len(row.ends)], self.words, self.loaded.tokenizer)
            answers += zip(row.prompts, found, strict=True)
        return answers

    def _logits(self, rows: list[Row]) -> "torch.Tensor":
        """Logits of the next token behind every end: float [rows, ends, vocabulary]."""
        return self._run(*self._inputs(rows))

    def _inputs(self, rows: list[Row]) -> "tuple[dict[str, Any], torch.Tensor]":
        """What the model is given for rows, and the columns of the answers."""
        import torch

        model = self.loaded.model
        packed = pack(rows, self.loaded.tokenizer.pad_token_id)
        device, lowest = model.device, torch.finfo(model.dtype).min
        allowed = torch.from_numpy(packed.allowed).to(device)[:, None]
        mask = torch.zeros(allowed.shape, dtype=model.dtype, device=device)
        options: dict[str, Any] = {"attention_mask": mask.masked_fill_(~allowed, lowest)}
        options["position_ids"] = torch.from_numpy(packed.positions).to(device)
        answers = torch.tensor(packed.answers, device=device)
        if "logits_to_keep" in self._takes:  # the vocabulary's matrix for the answers alone
            options["logits_to_keep"] = answers
        options["input_ids"] = torch.from_numpy(packed.ids).to(device)
        return options, answers

    def _run(self, options: dict[str, Any], answers: "torch.Tensor") -> "torch.Tensor":
        logits = self.loaded.model(use_cache=False, **options).logits
        kept: torch.Tensor = logits if "logits_to_keep" in self._takes else logits[:, answers]
        return kept

    @cached_property
    def _takes(self) -> set[str]:
        return set(signature(self.loaded.model.forward).parameters)

    @cached_property
    def _window(self) -> float:
        """How far back every layer looks: a mask of ours would take a sliding window's place."""
        config = self.loaded.model.config.get_text_config()
        windows = (
            getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")
        )
        return min((window for window in windows if window), default=inf)

    def _unshared(self, rows: list[Row]) -> str | None:
        """Why prompts cannot share their beginning; None if they can: tried on two rows.

        Some architectures do not heed mask or positions (ALiBi, state space models).
        """
        import torch

        shared = sorted((row for row in rows if len(row.ends) > 1), key=lambda row: row.length)
        if not shared:
            return "none that are alike fit into its window"
        if "position_ids" not in self._takes:
            return "the model takes no positions"
        with torch.inference_mode():
            return self._differs(shared[0]) or self._differs(shared[-1])

    def _differs(self, row: Row) -> str | None:
        """Why the prompts of a row must not share it; None if the logits are the same."""
        import torch

        model, inputs = self.loaded.model, self._inputs([row])
        try:
            together = self._run(*inputs)[0].float()
        except _NOT_TAKEN as refusal:
            if lacks_memory(refusal):
                raise
            return f"the model does not take their mask ({type(refusal).__name__})"
        for i, end in enumerate(row.ends[:2]):
            ids = torch.tensor([row.beginning + end], device=model.device)
            alone = model(input_ids=ids, use_cache=False).logits[0, -1].float()
            error = (together[i] - alone).norm() / (alone - alone.mean()).norm()
            if error > TOLERANCE[str(model.dtype).removeprefix("torch.")]:
                return "the model does not heed their mask and positions"
        return None


def share(prompts: Sequence[Prompt], ids: list[list[int]]) -> list[Row]:
    """Rows of consecutive prompts about one sentence: their common tokens, and their ends."""
    rows = []
    for _, group in groupby(range(len(prompts)), key=lambda i: prompts[i].sentence):
        members = list(group)
        for start in range(0, len(members), PACK):
            part = members[start : start + PACK]
            # The last token of a prompt is its end's, so that every end has a column of its own.
            common = len(commonprefix([ids[i][:-1] for i in part]))  # noqa: RUF071
            rows.append(Row(ids[part[0]][:common], [ids[i][common:] for i in part], part))
    return rows


def only(row: Row, wanted: Collection[int]) -> Row:
    """The row without the ends that are not wanted."""
    kept = [(end, i) for end, i in zip(row.ends, row.prompts, strict=True) if i in wanted]
    return Row(row.beginning, [end for end, _ in kept], [i for _, i in kept])


def pack(rows: list[Row], padding: int) -> Packed:
    """Lay rows out in columns: padding on the left of every part, so that parts end together."""
    first = max(len(row.beginning) for row in rows)
    ends = max(len(row.ends) for row in rows)
    widths = [max(len(row.ends[j]) for row in rows if j < len(row.ends)) for j in range(ends)]
    stops = [first, *(first + np.cumsum(widths)).tolist()]
    shape = len(rows), stops[-1]
    ids, positions = np.full(shape, padding, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    part = np.full(shape, -1, dtype=np.int32)  # 0 the beginning, j + 1 the end j, -1 padding
    for r, row in enumerate(rows):
        for j, tokens in enumerate([row.beginning, *row.ends]):
            where = slice(stops[j] - len(tokens), stops[j])
            ids[r, where], part[r, where] = tokens, j
            offset = len(row.beginning) if j else 0
            positions[r, where] = np.arange(offset, offset + len(tokens))
    seen, seer = part[:, None, :], part[:, :, None]
    earlier = np.tri(shape[1], dtype=bool)
    allowed = earlier & (seen >= 0) & ((seen == 0) | (seen == seer))
    allowed |= np.eye(shape[1], dtype=bool)  # padding sees itself: no row of the softmax is empty
    return Packed(ids, positions, allowed, [stop - 1 for stop in stops[1:]])
