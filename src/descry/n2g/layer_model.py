"""The neurons of one layer of a target model, as prompts excite them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from descry.errors import InputError
from descry.models.batching import in_parallel, plan_batches, within_memory
from descry.models.hooked_model import HookedModel, around
from descry.models.special_tokens import vocabulary_size
from descry.n2g.batching import Prompt

_PROBE = 8  # tokens by which it is seen whether what follows counts
_NOISE = 1e-5  # of the largest value: what another order of additions changes


class LayerNeurons:
    """The neurons of a target model's one layer, at its site and position."""

    def __init__(self, target: HookedModel, *, bos: bool, batch_tokens: int) -> None:
        """Look at the model and its tokenizer.

        Args:
            target: of one layer. With position `tokens` a prompt has an activation a token, else
                one.
            bos: put the start token before a prompt where the tokenizer itself does not, as the
                paper does. A decoder such as GPT-2 treats the first token of all like no other;
                without a start token that would be the first one of every part of a text.
            batch_tokens: padded tokens of a batch.

        Raises:
            InputError: it has several layers, no start token, or none that could stand for a mask.
        """
        if len(target.layers) != 1:
            raise InputError(f"n2g: {target.name}: one layer at a time, not {target.layers}")
        self.target, self.batch_tokens = target, batch_tokens
        self.before, self.behind = _around(target.tokenizer, bos)
        self.limit = target.max_tokens - len(self.before) - len(self.behind)
        if self.limit < 1:
            raise InputError(f"n2g: max_tokens {target.max_tokens} leaves no token of a text")
        self.mask = mask_of(target.tokenizer)
        self.whole = target.position != "tokens"
        self.both_sides = self.whole or self._reads_on()

    def __call__(
        self, prompts: Sequence[Prompt], neurons: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        """The activations of each prompt at its neurons: float32 [tokens, neurons] or [1, neurons].

        Raises:
            InputError: an activation is not finite, or memory is short.
        """
        around = [[*self.before, *prompt, *self.behind] for prompt in prompts]
        plan = plan_batches([len(ids) for ids in around], self.batch_tokens)
        batches = ([around[row] for row in rows] for rows in plan)
        found: list[np.ndarray] = [np.empty(0)] * len(prompts)
        computed = in_parallel(self.target.activations, batches, self.target.device, together=2)
        advice = f"halve activations.batch_tokens ({self.batch_tokens}), or else graphs.together"
        with within_memory(self.target.name, advice):
            for rows, values in zip(plan, computed, strict=True):
                if not np.isfinite(values).all():
                    raise InputError(f"{self.target.name}: activations are not finite")
                lengths = [1 if self.whole else len(around[row]) for row in rows]
                parts = np.split(values[:, 0], np.cumsum(lengths)[:-1])
                for row, part in zip(rows, parts, strict=True):
                    found[row] = self._own(part)[:, neurons[row]]
        return found

    def _own(self, values: np.ndarray) -> np.ndarray:
        """Without the rows of special tokens."""
        if self.whole:
            return values
        return values[len(self.before) : len(values) - len(self.behind)]

    def _reads_on(self) -> bool:
        """Whether the last token of a prompt changes the activations of those before it."""
        special = set(self.target.tokenizer.all_special_ids)
        size = vocabulary_size(self.target.tokenizer)
        words = [token for token in range(size) if token not in special]
        pair = words[len(words) // 2 :][:2]  # at both ends a vocabulary has tokens never trained
        size = min(_PROBE, self.limit)
        one, other = ((*[pair[0]] * (size - 1), last) for last in pair)
        every = range(self.target.neurons)
        first, second = (values[:-1] for values in self([one, other], [every, every]))
        return bool(np.abs(first - second).max(initial=0) > _NOISE * np.abs(first).max(initial=0))


def _around(tokenizer: Any, bos: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that stand before and behind a prompt."""
    before, behind = around(tokenizer)
    if before or not bos:
        return before, behind
    named = (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id)
    start = next((token for token in named if token is not None), None)
    if start is None:
        raise InputError(f"n2g: {tokenizer.name_or_path} has no start token: set bos to false")
    return (start,), behind


def mask_of(tokenizer: Any) -> int:
    """The token that stands for a masked one.

    The tokenizer's own mask; where it has none its padding, else the unknown token, else the one
    that ends a text. GPT-2's only special token is the last two of these: it carries no word, and
    its training put it between texts.

    Raises:
        InputError: it has none of them.
    """
    named = ("mask", "pad", "unk", "eos")
    ids = (getattr(tokenizer, f"{name}_token_id") for name in named)
    found = next((int(token) for token in ids if token is not None), None)
    if found is None:
        raise InputError(f"n2g: {tokenizer.name_or_path} has no token that could mask another")
    return found
