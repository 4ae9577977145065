"""The names of a model's neurons, and the choice of some."""

import re
from dataclasses import dataclass

import numpy as np

from descry.corpus.splits import draw
from descry.errors import InputError
from descry.io.hashing import JSON

_NUMBER = "0|[1-9][0-9]{0,8}"


@dataclass(frozen=True)
class Neurons:
    """The neurons that there are. L5:24 is neuron 24 of layer 5 of the model; both count from 0.

    Attributes:
        layers: of the model, in the order of the arrays' rows.
        width: neurons of a layer.
    """

    layers: tuple[int, ...]
    width: int

    def __len__(self) -> int:
        return len(self.layers) * self.width

    def name(self, row: int, index: int) -> str:
        """The name of a neuron of the layer in an array's row."""
        return f"L{self.layers[row]}:{index}"

    @property
    def names(self) -> list[str]:
        """All names, layer by layer."""
        return [self.name(row, i) for row in range(len(self.layers)) for i in range(self.width)]

    def find(self, name: str) -> tuple[int, int]:
        """The row and index of a neuron: L5:24 is (5, 24) where all layers are there.

        Raises:
            InputError: there is no such neuron.
        """
        match = re.fullmatch(rf"[Ll]({_NUMBER}):({_NUMBER})", name)
        first, last = self.name(0, 0), self.name(len(self.layers) - 1, self.width - 1)
        known = f"the neurons are {first} to {last}"
        if len(self.layers) <= self.layers[-1] - self.layers[0]:
            known += f", of the layers {', '.join(map(str, self.layers))}"
        if not match:
            raise InputError(f"{name}: not a neuron: write it as {first}; {known}")
        layer, index = int(match[1]), int(match[2])
        if layer not in self.layers or index >= self.width:
            raise InputError(f"{name}: no such neuron: {known}")
        return self.layers.index(layer), index


def same_neurons(one: JSON, other: JSON) -> bool:
    """Whether two results are of neurons at one site, or of one dictionary's latents there.

    Args:
        one, other: what made each; a site that is not said is taken to be the same.
    """
    sites = one.get("site"), other.get("site")
    dictionaries = [(made.get("dictionary") or {}).get("sha256") for made in (one, other)]
    return (None in sites or sites[0] == sites[1]) and dictionaries[0] == dictionaries[1]


def whose(dictionary: JSON) -> str:
    """A dictionary in words, from its record: "sae (SAELens topk, sha256 0a1b2c3d4e5f)"."""
    said = {f"{one['format']} {one['architecture']}" for one in dictionary["layers"].values()}
    return f"{dictionary['name']} ({', '.join(sorted(said))}, sha256 {dictionary['sha256'][:12]})"


Choice = list[str] | int | None


def choose(neurons: Choice, every: Neurons, seed: int) -> list[tuple[int, int]]:
    """The neurons (row of the layer, index) that are meant.

    Raises:
        InputError: a name is no neuron of the model.
    """
    if isinstance(neurons, list):
        return [every.find(name) for name in neurons]
    names = every.names
    if neurons is not None:
        names = sorted(names, key=lambda name: draw(seed, f"neuron:{name}"))[:neurons]
    return sorted(every.find(name) for name in names)


def chosen_places(neurons: Choice, every: Neurons, seed: int) -> np.ndarray:
    """The neurons that are meant, as places among those of all layers, ascending: int [neurons].

    Raises:
        InputError: as `choose`.
    """
    chosen = choose(neurons, every, seed)
    return np.array([row * every.width + index for row, index in chosen], dtype=np.intp)
