"""Interventions: single neurons set to a value, or raised, while texts go through a model.

The rows of a batch are one text again and again, each with an edit of its own; a row without one
shows the model as it is, computed in the same batch: what differs between the two is the edit's.
Below the first edit all rows are the same: the text may go in once, and become the rows there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from descry.errors import InputError
from descry.models.hooked_model import HookedModel

if TYPE_CHECKING:
    import torch


class Edit(NamedTuple):
    """An edit of a neuron at every token after the first `sinks` tokens.

    Attributes:
        layer, neuron: its place; layers are calls of the site, as HookedModel counts them.
        keep, add: its activation x becomes keep * x + add: (0, m) sets it to m, (1, d) raises it.
    """

    layer: int
    neuron: int
    keep: float
    add: float


class _Pass:
    """One forward pass: the edits of each row, and how many calls of the site were made."""

    def __init__(self, edits: Sequence[Edit | None], tokens: int, once: bool) -> None:
        self.shape = len(edits), tokens
        self.once = once
        self.calls = 0
        self.of_layer: dict[int, list[tuple[int, Edit]]] = {}
        for row, edit in enumerate(edits):
            if edit is not None:
                self.of_layer.setdefault(edit.layer, []).append((row, edit))


# The pass that the present thread is in: batches go through one model in several threads.
_PASS: ContextVar[_Pass | None] = ContextVar("edited pass", default=None)


@contextmanager
def editable(hooked: HookedModel) -> Iterator[None]:
    """Make the neurons of a hooked model editable; restores the model afterwards."""
    found = hooked.found_site
    modules = dict(hooked.model.named_modules())

    def changed(value: Any) -> Any:
        """Return the new value of a call; None: unchanged."""
        one = _PASS.get()
        if one is None:
            return None
        edits = one.of_layer.get(one.calls, ())
        one.calls += 1
        tensor = value if hasattr(value, "shape") else value[0]
        if not edits:
            return None
        if one.once:
            tensor, one.once = _as_rows(tensor, one.shape, hooked), False
        new = _edited(tensor, edits, one.shape, hooked)
        return new if hasattr(value, "shape") else (new, *value[1:])

    def of_input(_: Any, given: Any, named: Any) -> Any:
        key = None if given else next(iter(named))
        new = changed(given[0] if key is None else named[key])
        if new is None:
            return None
        return ((new, *given[1:]), named) if key is None else (given, named | {key: new})

    hooks = [
        modules[path].register_forward_pre_hook(of_input, with_kwargs=True)
        if found.input
        else modules[path].register_forward_hook(lambda _, __, made: changed(made))
        for path in found.paths
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def edited(edits: Sequence[Edit | None], tokens: int, *, once: bool = False) -> Iterator[None]:
    """Apply edits to the forward passes of an `editable` model inside the context.

    Args:
        edits: of each row of the batch; None leaves it as it is.
        tokens: of each row: all have as many.
        once: whether the batch is one row, the text, which becomes the rows at the first layer
            that is edited. Not every model can go on with more rows than it began with.

    Raises:
        InputError: the model has no such layer.
        ValueError: `once`, and the model lays the tokens of all rows in one.
    """
    one = _Pass(edits, tokens, once)
    token = _PASS.set(one)
    try:
        yield
    finally:
        _PASS.reset(token)
    if beyond := [layer for layer in one.of_layer if not 0 <= layer < one.calls]:
        raise InputError(f"layer {beyond[0]}: the model has layers 0 to {one.calls - 1}")


def _as_rows(value: "torch.Tensor", shape: tuple[int, int], hooked: HookedModel) -> "torch.Tensor":
    """A call's value for one row, as many times as there are rows."""
    rows, tokens = shape
    if value.shape[:2] != ((tokens, 1) if hooked.tokens_first else (1, tokens)):
        raise ValueError("no axis of rows")
    return value.expand(*((tokens, rows) if hooked.tokens_first else (rows, tokens)), -1)


def _edited(
    value: "torch.Tensor",
    edits: Sequence[tuple[int, Edit]],
    shape: tuple[int, int],
    hooked: HookedModel,
) -> "torch.Tensor":
    """A call's value with the edits of its layer."""
    new = value.clone()
    by_row = new.transpose(0, 1) if hooked.tokens_first else new.view(*shape, -1)
    first = hooked.sinks if hooked.sinks < shape[1] else 0
    for row, edit in edits:
        if not 0 <= edit.neuron < by_row.shape[2]:
            last = by_row.shape[2] - 1
            raise InputError(f"neuron {edit.neuron}: a layer has neurons 0 to {last}")
        by_row[row, first:, edit.neuron] *= edit.keep
        by_row[row, first:, edit.neuron] += edit.add
    return new
