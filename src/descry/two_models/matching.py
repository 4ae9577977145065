"""Which neuron of a second model is which neuron of the first.

By index where the second model was made from the first (fine-tuning moves neurons little), or by
what they do: the assignment of pairs with the highest sum of rank correlations (Li et al. 2015,
*Convergent learning*, with ranks and within strata). An assignment looks for what correlates, so it
is chosen on the calibration half of the sentences and tested on the validation half.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from descry.activations.store import DATA, neuron_blocks, read_block, transposed
from descry.errors import InputError
from descry.io.hdf5 import dataset, reading_hdf5
from descry.io.prefetch import cores, map_ahead
from descry.labels.enrichment import false_discovery_rates
from descry.models.neurons import Neurons
from descry.two_models.rank_correlation import Order, centred_ranks, correlation, to_unit

if TYPE_CHECKING:
    import h5py

How = Literal["index", "correlation"]
Among = Literal["layer", "all"]
MATCHED = 0.05  # false discovery rate at which a pair is no coincidence
NOBODY = -1  # the number of no neuron
_MEMORY = 2**29  # bytes of activations and ranks held at a time
_PAIRS = (
    2**27
)  # correlations of candidates held at a time, of 4 bytes, and 8 while they are matched


@dataclass(frozen=True)
class Matches:
    """The pair of each neuron of the first model, arrays [neurons of the first], layer by layer.

    Attributes:
        how: index or correlation.
        second: int64, the number of the neuron in the second model, counted over all layers, or
            NOBODY.
        rho: rank correlation over all sentences; NaN where activations are not stored, or do not
            change.
        rho_within: the same within strata, over the sentences that did not choose the pair.
        p, q: of `rho_within`, if sentences are exchanged within strata; q over all pairs.
        rival: the highest correlation within strata of the first model's neuron with another
            candidate than its pair, over the sentences that chose; NaN where none was computed.
        best: bool, whether no candidate had a higher one than its pair.
        sentences: of `rho_within`.
    """

    how: How
    second: np.ndarray
    rho: np.ndarray
    rho_within: np.ndarray
    p: np.ndarray
    q: np.ndarray
    rival: np.ndarray
    best: np.ndarray
    sentences: int

    @property
    def tested(self) -> bool:
        """Whether activations were there to test a pair."""
        return bool((~np.isnan(self.p)).any())

    @property
    def matched(self) -> np.ndarray:
        """Pairs that are no coincidence: q <= .05, bool [neurons of the first]."""
        return np.asarray((self.second != NOBODY) & (self.q <= MATCHED))

    @property
    def compared(self) -> np.ndarray:
        """Pairs whose labels are compared: bool [neurons of the first].

        By index all: to leave those out that changed beyond recognition would be to leave out the
        largest changes. By correlation those that are matched: others are no pairs.
        """
        return self.matched if self.how == "correlation" else np.ones(len(self.second), dtype=bool)


def match(
    paths: tuple[Path, Path] | None,
    neurons: tuple[Neurons, Neurons],
    how: How,
    among: Among,
    strata: np.ndarray,
    choosing: np.ndarray,
    memory: int = _MEMORY,
) -> Matches:
    """Match the neurons of two models.

    Memory: `memory` bytes of activations, and a number for each pair of candidates.

    Args:
        paths: activations.h5 of both, whose rows are the same sentences; None where one is not
            here or has no matrix.
        neurons: of both.
        among: candidates of the same layer, or of all layers.
        strata: int [sentences], the stratum of each.
        choosing: bool [sentences], those that an assignment by correlation is chosen on; the others
            test it.

    Raises:
        InputError: the models are of different shapes, which indices cannot match; there are no
            activations, by which correlation matches; or too many candidates.
    """
    number = len(neurons[0])
    none = np.full(number, np.nan)
    if how == "index" and neurons[0] != neurons[1]:
        raise InputError(
            f"match: the models have {_shape(neurons[0])} and {_shape(neurons[1])}: their neurons"
            " are matched by what they do, not by index (correlation)"
        )
    if paths is None:
        if how == "correlation":
            raise InputError(
                "match: both runs need the activations of all sentences (activations.h5 with"
                " activations.store: matrix) where neurons are matched by correlation"
            )
        no = np.zeros(number, dtype=bool)
        return Matches(how, np.arange(number), none, none, none, none, none, no, 0)
    every = Order.of(strata, np.ones(len(strata), dtype=bool))
    with _both(paths) as data:
        if how == "index":
            second, chosen, tested = np.arange(number), every, every
        else:
            chosen, tested = Order.of(strata, choosing), Order.of(strata, ~choosing)
            second = np.full(number, NOBODY)
        rival, best = none.copy(), np.zeros(number, dtype=bool)
        for rows in _scopes(neurons, among if how == "correlation" else "layer"):
            places = [_places(of, own) for of, own in zip(neurons, rows, strict=True)]
            if how == "index" and places[0].size * places[1].size > _PAIRS:
                continue
            found = _correlations(data, rows, chosen, memory)
            if how == "correlation":
                second[places[0]] = _assign(found, places[1])
            rival[places[0]], best[places[0]] = _rivals(found, places, second)
        rho, _ = _tested(data, neurons, second, every.whole, memory)
        rho_within, p = _tested(data, neurons, second, tested, memory)
    q = false_discovery_rates(p)
    return Matches(how, second, rho, rho_within, p, q, rival, best, len(tested.rows))


def has_matrix(path: Path) -> bool:
    """Whether activations.h5 is here and holds a row for every sentence."""
    if not path.is_file():
        return False
    with reading_hdf5(path, "activations") as file:
        return DATA in file and "sentence" not in file


def _shape(neurons: Neurons) -> str:
    return f"{len(neurons.layers)} layers of {neurons.width:,} neurons"


@contextmanager
def _both(paths: tuple[Path, Path]) -> Iterator[list["h5py.Dataset"]]:
    with ExitStack() as stack:
        files = [stack.enter_context(reading_hdf5(path, "activations")) for path in paths]
        yield [dataset(file, DATA, (None, None, None), "f") for file in files]


def _scopes(neurons: tuple[Neurons, Neurons], among: Among) -> Iterator[tuple[list[int], ...]]:
    """Rows of the layers among which neurons are matched."""
    first, second = (of.layers for of in neurons)
    if among == "all":
        yield [*range(len(first))], [*range(len(second))]
        return
    common = [layer for layer in first if layer in second]
    if not common:
        raise InputError("match: the runs have no layer in common: match among all layers")
    for layer in common:
        yield [first.index(layer)], [second.index(layer)]


def _places(neurons: Neurons, rows: list[int]) -> np.ndarray:
    """Numbers of the neurons of some layers."""
    own = np.arange(neurons.width)
    return np.concatenate([row * neurons.width + own for row in rows])


def _correlations(
    data: list["h5py.Dataset"], rows: tuple[list[int], ...], order: Order, memory: int
) -> np.ndarray:
    """Correlation of all candidates: float32 [neurons of the first, neurons of the second]."""
    sizes = [len(own) * of.shape[2] for own, of in zip(rows, data, strict=True)]
    if sizes[0] * sizes[1] > _PAIRS:
        raise InputError(
            f"match: {sizes[0]:,} x {sizes[1]:,} candidates are more than fit into memory: match"
            " within layers"
        )
    from threadpoolctl import threadpool_limits

    found = np.empty((sizes[0], sizes[1]), dtype=np.float32)
    # A value and its ranks take 4 and up to 24 bytes: of a block of each model.
    most = memory // 14
    with threadpool_limits(1):  # the last digits are not to depend on the number of threads
        for span, one in _ranked(data[0], rows[0], order, most):
            for other_span, other in _ranked(data[1], rows[1], order, most):
                found[span, other_span] = one @ other.T
    return found


def _ranked(
    data: "h5py.Dataset", rows: list[int], order: Order, most: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Some neurons after the others, their ranks with length 1: float32 [neurons, sentences]."""
    blocks = [block for block in neuron_blocks(data, most) if block[0] in rows]
    read = ((layer, columns, read_block(data, layer, columns)) for layer, columns in blocks)

    def rank(block: tuple[int, slice, np.ndarray]) -> tuple[slice, np.ndarray]:
        layer, columns, values = block
        first = rows.index(layer) * data.shape[2]
        ranks = centred_ranks(transposed(values[order.rows]), order)
        return slice(first + columns.start, first + columns.stop), to_unit(ranks)

    return map_ahead(rank, read, min(2, cores()))


def _assign(found: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The pairs with the highest sum: numbers of the second's neurons, else NOBODY."""
    from scipy.optimize import linear_sum_assignment

    first, second = linear_sum_assignment(found, maximize=True)
    chosen = np.full(len(found), NOBODY)
    chosen[first] = places[second]
    return chosen


def _rivals(
    found: np.ndarray, places: list[np.ndarray], second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each neuron: the highest correlation outside its pair, and if it beats the pair's."""
    rows, pair = np.arange(len(found)), second[places[0]]
    there = pair != NOBODY
    column = np.where(there, pair - places[1][0], 0)
    own = np.where(there, found[rows, column], -np.inf)
    others = found.copy()
    others[rows[there], column[there]] = -np.inf
    rival = others.max(axis=1).astype(np.float64)
    return np.where(np.isfinite(rival), rival, np.nan), there & (own >= rival)


def _tested(
    data: list["h5py.Dataset"],
    neurons: tuple[Neurons, Neurons],
    second: np.ndarray,
    order: Order,
    memory: int,
) -> tuple[np.ndarray, np.ndarray]:
    """rho and p of the pairs: float64 [neurons of the first]."""
    rho, p = (np.full(len(second), np.nan) for _ in range(2))
    # Both models' values and ranks of a block.
    for layer, columns in neuron_blocks(data[0], memory // 28):
        numbers = layer * neurons[0].width + np.arange(columns.start, columns.stop)
        numbers = numbers[second[numbers] != NOBODY]
        if not len(numbers):
            continue
        own = read_block(data[0], layer, columns)[
            :, numbers - layer * neurons[0].width - columns.start
        ]
        sides = [own, _columns(data[1], second[numbers], neurons[1].width)]
        first, other = (centred_ranks(transposed(side[order.rows]), order) for side in sides)
        rho[numbers], p[numbers] = correlation(first, other, order)
    return rho, p


def _columns(data: "h5py.Dataset", numbers: np.ndarray, width: int) -> np.ndarray:
    """The activations of some neurons, which may lie anywhere: float [sentences, neurons]."""
    found = np.empty((len(data), len(numbers)), dtype=data.dtype)
    layers, columns = np.divmod(numbers, width)
    step = data.chunks[0] if data.chunks else len(data)
    for layer in np.unique(layers).tolist():
        own = np.flatnonzero(layers == layer)
        low, high = int(columns[own].min()), int(columns[own].max()) + 1
        for start in range(0, len(data), step):
            block = data[start : start + step, layer, low:high]
            found[start : start + step, own] = block[:, columns[own] - low]
    return found
