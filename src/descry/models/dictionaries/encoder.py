"""The arithmetic of a dictionary: values of a site to latents."""

from typing import TYPE_CHECKING

import numpy as np

from descry.errors import InputError
from descry.models.dictionaries.coder import Coder
from descry.models.dictionaries.formats import THRESHOLD_OF_ALL, opened

if TYPE_CHECKING:
    import torch

_EPSILON = 1e-5  # of SAELens' layer norm, added to the deviation
_GROUP = 32  # latents whose highest is looked at first, for the highest k of all
_BIAS = {"SAELens": "b_enc", "sparsify": "encoder.bias"}


class Encoder:
    """Computes latents of values at a site, in float32 for any type of saved weights."""

    def __init__(self, coder: Coder, device: str) -> None:
        """Read the weights.

        Raises:
            InputError: a tensor is missing, of another shape, or not finite.
        """
        self.coder, self._device = coder, device
        with opened(coder.file) as tensors:
            self._tensors, self._names = tensors, set(tensors.keys())
            weight = self._read(coder.weight)
            self.weight = weight.T.contiguous() if coder.latents_first else weight
            self.bias = self._bias()
            self.centre = self._read("b_dec", coder.width) if coder.centred else None
            self.norms = self._norms() if coder.rescaled else None
            self.threshold = self._threshold() if coder.activation == "jumprelu" else None
            self.gates = self._gates() if coder.activation == "gated" else None
        del self._tensors

    def __call__(self, values: "torch.Tensor") -> "torch.Tensor":
        """Latents of values float [*, width]: float32 [*, latents]."""
        found = self._rectified(values.reshape(-1, self.coder.width))
        if self.coder.activation == "topk":
            assert self.coder.k
            most, places = highest(found, self.coder.k)
            found = found.new_zeros(found.shape).scatter_(1, places, most)
        return found.reshape(*values.shape[:-1], self.coder.latents)

    def firings(self, values: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """The latents above 0 of values float [rows, width], row by row.

        Returns:
            row, latent: int64 [firings]; value: float32 [firings].
        """
        found = self._rectified(values)
        if self.coder.activation != "topk":
            row, latent = found.nonzero(as_tuple=True)
            return row, latent, found[row, latent]
        assert self.coder.k
        most, places = highest(found, self.coder.k)
        row, place = (most > 0).nonzero(as_tuple=True)
        return row, places[row, place], most[row, place]

    def _rectified(self, values: "torch.Tensor") -> "torch.Tensor":
        """Latents of values [rows, width] before all but the k highest are dropped."""
        given = self._normalized(values.float())
        if self.centre is not None:
            given = given - self.centre
        found = given @ self.weight
        if self.gates:
            gate, scale = self.gates
            shut = found + gate <= 0
            found.mul_(scale)
        if self.bias is not None:
            found.add_(self.bias)
        if self.norms is not None:
            found.mul_(self.norms)
        found = self._activated(found)
        if self.gates:
            found.masked_fill_(shut, 0)
        return found

    def _activated(self, found: "torch.Tensor") -> "torch.Tensor":
        """The activation function of products [rows, latents], which are lost."""
        coder = self.coder
        if coder.activation == "linear":
            return found
        if self.threshold is not None:
            found.masked_fill_(found <= self.threshold, 0)
        found.relu_()
        if coder.activation == "groupmax":
            assert coder.k
            groups = found.view(len(found), coder.k, -1)
            groups.masked_fill_(groups < groups.amax(2, keepdim=True), 0)
        return found

    def _normalized(self, values: "torch.Tensor") -> "torch.Tensor":
        match self.coder.normalization:
            case "constant_norm_rescale":
                norms: torch.Tensor = values.norm(dim=1, keepdim=True)
                return values.mul(self.coder.width**0.5).div(norms)
            case "layer_norm":
                values = values - values.mean(1, keepdim=True)
                deviation: torch.Tensor = values.std(1, keepdim=True)
                return values / (deviation + _EPSILON)
        return values

    def _bias(self) -> "torch.Tensor | None":
        if self.coder.activation == "linear":
            return None
        gated = self.coder.activation == "gated"
        return self._read("b_mag" if gated else _BIAS[self.coder.format], self.coder.latents)

    def _gates(self) -> "tuple[torch.Tensor, torch.Tensor]":
        """What opens a latent, and by which factors its products are larger."""
        gate, log_scale = (self._read(name, self.coder.latents) for name in ("b_gate", "r_mag"))
        return gate, log_scale.exp()

    def _norms(self) -> "torch.Tensor":
        rows = self._read("W_dec")
        if rows.ndim != 2 or len(rows) != self.coder.latents:
            raise InputError(f"{self.coder.file}: W_dec: of shape {list(rows.shape)}")
        norms: torch.Tensor = rows.norm(dim=1)
        return norms

    def _threshold(self) -> "torch.Tensor":
        if THRESHOLD_OF_ALL in self._names:
            return self._read(THRESHOLD_OF_ALL)
        return self._read("threshold", self.coder.latents)

    def _read(self, name: str, *shape: int) -> "torch.Tensor":
        coder = self.coder
        if name not in self._names:
            raise InputError(f"{coder.file}: {name}: no such tensor")
        found: torch.Tensor = self._tensors.get_tensor(name).float()
        if shape and found.shape != shape:
            raise InputError(
                f"{coder.file}: {name}: of shape {list(found.shape)}, not {list(shape)}"
            )
        if not found.isfinite().all():
            raise InputError(f"{coder.file}: {name}: NaN or infinite somewhere")
        return found.to(self._device)


def written(coder: Coder) -> np.ndarray:
    """What each latent or direction adds to the values: float32 [latents, width].

    The rows of the decoder; a direction is its own. But for the scale of a normalisation.

    Raises:
        InputError: the file has no decoder, or one of another shape.
    """
    name = coder.weight if coder.format == "directions" else "W_dec"
    with opened(coder.file) as tensors:
        if name not in set(tensors.keys()):
            raise InputError(f"{coder.file}: {name}: no such tensor, which says what latents write")
        found = tensors.get_tensor(name).float()
    if coder.format == "directions" and not coder.latents_first:
        found = found.T
    if found.ndim != 2 or len(found) != coder.latents:
        raise InputError(f"{coder.file}: {name}: of shape {[*found.shape]}")
    return np.ascontiguousarray(found.numpy())


def highest(values: "torch.Tensor", k: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """The k highest of each row [rows, any] and their places, [rows, k], in no order.

    The highest k are in the k groups with the highest maxima: where k is small only those are
    looked through, which takes half the time (measured: 16,384 latents, k 32).
    """
    number = values.shape[1]
    if number % _GROUP or number < 4 * k * _GROUP:
        most, places = values.topk(k, dim=1, sorted=False)
        return most, places
    groups = values.view(len(values), -1, _GROUP)
    best = groups.amax(2).topk(k, dim=1, sorted=False).indices
    found = groups.gather(1, best[:, :, None].expand(-1, -1, _GROUP)).flatten(1)
    most, places = found.topk(k, dim=1, sorted=False)
    return most, best.gather(1, places // _GROUP) * _GROUP + places % _GROUP
