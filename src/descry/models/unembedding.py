"""What a direction of the residual stream does to the logits: the logit lens as one matrix.

A direction is read as if it went straight to the head (nostalgebraist 2020; Geva et al. 2022): the
weight of the final norm is folded into the unembedding, and where that norm takes the mean off, so
is it here. Not divided by the norm's scale, which depends on the text: logits are up to a positive
factor. What all tokens get alike changes no probability: it is taken off.

The head of a masked language model has a dense layer, an activation and a norm before the
unembedding: dense layer and norm are folded in, too, and the activation counts as the identity. In
an encoder the last layer's own norm stands for the final norm, and norms of layers between are left
out.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from descry.errors import InputError
from descry.models.heads import Headed, NoHeadError
from descry.models.hookpoints import FFN_HIDDEN, INPUT, find_site

if TYPE_CHECKING:
    import torch

_PROBE = 11  # tokens that go through once, to see what follows what


class Unembedding(NamedTuple):
    """The logits that a direction adds, per unit of it.

    Attributes:
        matrix: float32 [tokens, width]: `matrix @ direction` are the logits less their mean.
        tokens: as the vocabulary writes them, in the order of their ids.
        ids: int64 [tokens].
        how: what was folded, in words.
    """

    matrix: np.ndarray
    tokens: list[str]
    ids: np.ndarray
    how: str


class Writers(NamedTuple):
    """Neurons that write into the residual stream, and what reads it.

    Attributes:
        vectors: float32 [neurons, width] by layer, what a neuron adds per unit of its activation.
    """

    vectors: list[np.ndarray]
    unembedding: Unembedding


class _Call(NamedTuple):
    """A call of a module that is linear or a norm: what it was given, and what it made."""

    module: Any
    given: "torch.Tensor"
    made: "torch.Tensor"


def read_unembedding(headed: Headed) -> Unembedding:
    """The lens alone, for directions of the caller's.

    Raises:
        NoHeadError: the head is of a kind that is not known here.
    """
    return _unembedding(headed, _trace(headed))


def without_weights(site: str) -> str | None:
    """Say why a site's neurons have no output weights; None if they may have some."""
    if site == FFN_HIDDEN or site.endswith(INPUT):
        return None
    return (
        f"neurons of site {site} are coordinates of what a layer puts out, and have no output"
        f" weights of their own: those of {FFN_HIDDEN} have"
    )


def read_writers(headed: Headed, site: str) -> Writers:
    """The output weights of a site's neurons, layer by layer in the order of calls, and the lens.

    A norm right behind a feed-forward part (Gemma 2) is folded into the weights.

    Raises:
        NoHeadError: the head is of a kind that is not known here.
        InputError: no module of that name, or the site is no input of a linear layer that writes
            into the residual stream.
    """
    if why := without_weights(site):
        raise InputError(why)
    modules = dict(headed.model.base_model.named_modules())
    found = find_site(list(filter(None, modules)), site)
    for path in found.paths:
        if output_weights(modules[path]) is None:
            raise InputError(f"{site}: {path} is no linear layer: its input has no output weights")
    calls = _trace(headed)
    unembedding = _unembedding(headed, calls)
    own = {id(modules[path]) for path in found.paths}
    vectors = [_written(call, calls) for call in calls if id(call.module) in own]
    width = unembedding.matrix.shape[1]
    if wrong := {one.shape[1] for one in vectors} - {width}:
        raise InputError(
            f"{site}: it writes {wrong.pop()} numbers a token, the residual stream has {width}"
        )
    return Writers(vectors, unembedding)


def _trace(headed: Headed) -> list[_Call]:
    """The calls of linear layers and norms for some tokens, in order."""
    import torch

    calls: list[_Call] = []

    def take(module: Any, given: Any, made: Any) -> None:
        calls.append(_Call(module, given[0], made))

    ids = torch.tensor([range(1, _PROBE + 1)], device=headed.model.device)
    ids %= headed.model.get_input_embeddings().weight.shape[0]
    hooks = []
    for module in headed.model.modules():
        if output_weights(module) is not None or _is_norm(module):
            hooks.append(module.register_forward_hook(take))
    try:
        with torch.inference_mode():
            headed.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _unembedding(headed: Headed, calls: list[_Call]) -> Unembedding:
    """Fold, from the logits back to the residual stream, all that is linear but for a scale."""
    inside = {id(module) for module in headed.model.base_model.modules()}
    head = [call for call in calls if id(call.module) not in inside]
    output = headed.model.get_output_embeddings()
    kinds = ["norm" if _is_norm(call.module) else "linear" for call in head]
    known = [["linear"], ["linear", "norm", "linear"]]
    if kinds not in known or head[-1].module is not output:
        raise NoHeadError(
            f"{type(headed.model).__name__}: a language-model head of an unknown kind"
        )
    size, ids = len(output.weight), headed.tokenizer.get_vocab().values()
    kept = np.array(sorted(i for i in set(ids) if i < size), dtype=np.int64)
    matrix, told = _array(output.weight)[kept], list[str]()
    for call in reversed(head[:-1]):
        matrix = _before(call, matrix)
    if len(head) > 1:
        told.append("the head's dense layer and norm folded in, its activation left out")
    # Back from what the head is given: a norm, perhaps with a projection behind it (OPT).
    state, norm = head[0].given, None
    for call in reversed([call for call in calls if id(call.module) in inside]):
        if _same(call.made, state):
            matrix = _before(call, matrix)
            if _is_norm(call.module):
                norm = call
                break
            state = call.given
            told.append("the projection behind it folded in")
    centred = norm is not None and _gain(norm)[1]
    what = "no final norm" if norm is None else "the final norm's weight folded in"
    told.insert(0, what + (", centred as the norm does" if centred else ""))
    matrix -= matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
    tokens = headed.tokenizer.convert_ids_to_tokens(kept.tolist())
    return Unembedding(matrix, tokens, kept, "logit lens: " + "; ".join(told))


def _before(call: _Call, rows: np.ndarray) -> np.ndarray:
    """Rows over what a call makes, as rows over what it is given: float32 [rows, width]."""
    weights = output_weights(call.module)
    if weights is not None:
        return np.asarray(rows @ weights.T)
    gain, centres = _gain(call)
    rows = rows * gain
    return rows - rows.mean(axis=1, keepdims=True) if centres else rows


def _written(call: _Call, calls: Sequence[_Call]) -> np.ndarray:
    """What the input neurons of a linear layer write: float32 [neurons, width]."""
    weights = output_weights(call.module)
    assert weights is not None
    for behind in calls:
        if _is_norm(behind.module) and behind.given is call.made:
            gain, centres = _gain(behind)
            if centres:
                weights = weights - weights.mean(axis=1, keepdims=True)
            weights = weights * gain
    return np.ascontiguousarray(weights, dtype=np.float32)


def output_weights(module: Any) -> np.ndarray | None:
    """Return the output weights of a linear layer: float32 [in, out]; None for another module."""
    import torch

    if isinstance(module, torch.nn.Linear):
        return _array(module.weight).T
    if type(module).__name__ == "Conv1D":  # GPT-2's
        return _array(module.weight)
    return None


def _is_norm(module: Any) -> bool:
    return "norm" in type(module).__name__.lower() and not any(module.children())


def _gain(call: _Call) -> tuple[np.ndarray, bool]:
    """The factor of a norm on each dimension, float32 [width], and whether it takes the mean off.

    By trial, in float64: families keep the factor in several ways (Gemma as 1 + weight).
    """
    import torch

    tried = deepcopy(call.module).double().cpu()
    x = torch.ones(1, call.made.shape[-1], dtype=torch.float64)
    x[:, 1::2] = -1
    with torch.inference_mode():
        made, turned, moved = tried(x)[0], tried(-x)[0], tried(x + 3)[0]
    centres = bool(torch.allclose(made, moved, rtol=1e-3, atol=1e-4))
    unit = (x - x.mean()) / x.std(correction=0) if centres else x
    return ((made - turned) / 2 / unit[0]).float().numpy(), centres


def _same(one: "torch.Tensor", two: "torch.Tensor") -> bool:
    """Whether two tensors hold the same numbers, in whatever shape."""
    import torch

    return one.numel() == two.numel() and bool(torch.equal(one.reshape(-1), two.reshape(-1)))


def _array(weights: "torch.Tensor") -> np.ndarray:
    return np.asarray(weights.detach().float().cpu().numpy())
