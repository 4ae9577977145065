"""The texts of a corpus that excite neurons most."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from descry.activations.top_k import TopK
from descry.errors import InputError
from descry.models.batching import in_parallel, plan_batches, within_memory
from descry.models.hooked_model import HookedModel
from descry.n2g.batching import Prompt

Around = tuple[Sequence[int], Sequence[int]]  # special tokens before a prompt, and behind it


def leading_rows(
    target: HookedModel,
    blocks: Iterable[Sequence[Prompt]],
    around: Around,
    chosen: Sequence[tuple[int, int]],
    *,
    size: int,
    batch_tokens: int,
    kept: dict[Prompt, np.ndarray] | None = None,
) -> np.ndarray:
    """The texts with a neuron's highest activation, at any token that is not a special one.

    The texts come block by block, and no more than the activations of some batches are ever held.

    Args:
        target: with position `tokens`, or with one activation a text.
        blocks: the tokens of all texts, special ones left out; a text without any never leads.
        chosen: the neurons (row of the layer in `target.layers`, index).
        size: texts of a neuron.
        batch_tokens: padded tokens of a batch.
        kept: takes what `token_activations` would say of each text, with position `tokens`.

    Returns:
        int32 [neurons, size], the highest first, ties by the lower row; -1 where the texts are out.

    Raises:
        InputError: an activation is not finite, or memory is short.
    """
    leaders = TopK(len(chosen), size)
    first = 0
    for prompts in blocks:
        values = _highest(target, prompts, around, chosen, batch_tokens, kept)
        leaders.add(values, first + np.arange(len(prompts)))
        first += len(prompts)
    return leaders.finalize()[0]


def _highest(
    target: HookedModel,
    prompts: Sequence[Prompt],
    around: Around,
    chosen: Sequence[tuple[int, int]],
    batch_tokens: int,
    kept: dict[Prompt, np.ndarray] | None,
) -> np.ndarray:
    """The highest activation of each text: float32 [texts, neurons]; -inf of one without tokens."""
    found = np.full((len(prompts), len(chosen)), -np.inf, dtype=np.float32)
    for rows, values in _batches(target, prompts, around, chosen, batch_tokens):
        if target.position != "tokens":
            found[rows] = values
            continue
        lengths = [len(prompts[row]) for row in rows.tolist()]
        own = _own(values, lengths, around)
        found[rows] = _by_text(own, lengths)
        if kept is not None:
            parts = np.split(own, np.cumsum(lengths)[:-1])
            kept |= zip((prompts[row] for row in rows.tolist()), parts, strict=True)
    return found


def token_activations(
    target: HookedModel,
    prompts: Sequence[Prompt],
    around: Around,
    chosen: Sequence[tuple[int, int]],
    *,
    batch_tokens: int,
) -> np.ndarray:
    """The activations of neurons at all tokens but the special ones: float32 [tokens, neurons].

    Args:
        target, around, chosen, batch_tokens: as `leading_rows` takes them.

    Raises:
        InputError: an activation is not finite, or memory is short.
    """
    ends = np.cumsum([0, *map(len, prompts)])
    found = np.empty((ends[-1], len(chosen)), dtype=np.float32)
    for rows, values in _batches(target, prompts, around, chosen, batch_tokens):
        lengths = [len(prompts[row]) for row in rows.tolist()]
        parts = np.split(_own(values, lengths, around), np.cumsum(lengths)[:-1])
        for row, part in zip(rows.tolist(), parts, strict=True):
            found[ends[row] : ends[row + 1]] = part
    return found


def _batches(
    target: HookedModel,
    prompts: Sequence[Prompt],
    around: Around,
    chosen: Sequence[tuple[int, int]],
    batch_tokens: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of prompts that have tokens, and what the model puts out, special tokens included."""
    layers, indices = (list(places) for places in zip(*chosen, strict=True))

    def compute(rows: np.ndarray) -> np.ndarray:
        batch = [[*around[0], *prompts[row], *around[1]] for row in rows.tolist()]
        values = target.activations(batch)[:, layers, indices]
        if not np.isfinite(values).all():
            raise InputError(f"{target.name}: activations are not finite")
        return np.asarray(values)

    some = np.flatnonzero([len(prompt) for prompt in prompts])
    special = sum(map(len, around))
    plan = plan_batches([len(prompts[row]) + special for row in some.tolist()], batch_tokens)
    batches = [some[rows] for rows in plan]
    computed = in_parallel(compute, batches, target.device, together=2)
    with within_memory(target.name, f"halve activations.batch_tokens ({batch_tokens})"):
        yield from zip(batches, computed, strict=True)


def _own(values: np.ndarray, lengths: Sequence[int], around: Around) -> np.ndarray:
    """The rows of tokens that are not special ones."""
    before, behind = map(len, around)
    spans = np.array([(before, length, behind) for length in lengths]).ravel()
    return np.asarray(values[np.repeat(np.tile([False, True, False], len(lengths)), spans)])


def _by_text(values: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """The highest row of each text: [texts, neurons]."""
    starts = np.cumsum([0, *lengths[:-1]])
    return np.asarray(np.maximum.reduceat(values, starts, axis=0))
