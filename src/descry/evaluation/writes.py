"""What directions of the residual stream write: the tokens that they promote and suppress.

Each direction's logits (models/unembedding.py) are divided by their deviation over the tokens. Its
score is the largest of them, either way, and it is compared with two nulls of the same layer:

- *permuted*: the same numbers over other dimensions of the residual stream. What is left then comes
  from the sizes of its weights and from the vocabulary, such as tokens with long vectors.
- *mixed*: random mixtures of the layer's directions, which lie where the layer writes at all, but
  are nobody's. What any direction there would seem to write, a neuron does not write by itself.

p is the share of a null's scores, pooled over the layer, that reach the score; q over all neurons
(Benjamini & Hochberg). The kurtosis of the logits is told beside it (Gurnee et al. 2024, Universal
Neurons in GPT2 Language Models): high where few tokens have much of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from descry.labels.enrichment import false_discovery_rates
from descry.models.batching import in_parallel
from descry.models.unembedding import Unembedding

if TYPE_CHECKING:
    import pyarrow
    import torch

_LOGITS = 2**22  # that a thread holds at a time: 16 MiB
_TOKENS = 4096  # whose products are summed at a time: part of the last digits
LEAST_MIXED = 64  # directions of a layer: a mixture of fewer is too like each of them
_ANY = 0.05  # share of the permuted directions that have any token as far out as those told


class Told(NamedTuple):
    """Of some directions.

    Attributes:
        promoted, suppressed: places of the tokens that are furthest out, int32 [directions, top].
        up, down: how far, in deviations of the direction's logits: float32, as above.
    """

    promoted: np.ndarray
    suppressed: np.ndarray
    up: np.ndarray
    down: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """How far the furthest token is, either way: float32 [directions], NaN of weights of 0."""
        return np.asarray(np.maximum(self.up[:, 0], -self.down[:, 0]))


class Lens:
    """An unembedding on its device.

    Args:
        unembedding: float32 [tokens, width], centred over the tokens.
    """

    def __init__(self, unembedding: np.ndarray, device: str = "cpu") -> None:
        import torch

        self.device = device
        self._matrix = torch.from_numpy(unembedding).to(device)
        parts = torch.split(self._matrix, _TOKENS)
        products = in_parallel(lambda part: part.T @ part, parts, device)
        # Of the logits: their mean square is that of the direction in this form.
        self._square = sum(products, torch.zeros(1, device=device)) / len(unembedding)

    def furthest(self, vectors: np.ndarray, top: int) -> Told:
        """The tokens that some directions promote and suppress most.

        Args:
            vectors: float32 [directions, width].
            top: tokens each way.
        """
        number = min(top, len(self._matrix))

        def some(logits: "torch.Tensor", deviation: "torch.Tensor") -> "list[torch.Tensor]":
            if number > 1:
                up, promoted = logits.topk(number)
                down, suppressed = logits.topk(number, largest=False)
            else:  # several times as fast
                up, promoted = logits.max(dim=1, keepdim=True)
                down, suppressed = logits.min(dim=1, keepdim=True)
            return [promoted.int(), suppressed.int(), up / deviation, down / deviation]

        return Told(*self._of(vectors, some))

    def kurtosis(self, vectors: np.ndarray) -> np.ndarray:
        """The excess kurtosis of each direction's logits over all tokens: float32 [directions]."""

        def some(logits: "torch.Tensor", deviation: "torch.Tensor") -> "list[torch.Tensor]":
            return [(logits / deviation).square_().square_().mean(dim=1) - 3]

        return self._of(vectors, some)[0]

    def _of(
        self,
        vectors: np.ndarray,
        of_logits: "Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]]",
    ) -> list[np.ndarray]:
        """What is made of the logits of some directions, and of the logits' deviations."""
        import torch

        step = max(1, _LOGITS // len(self._matrix))

        def some(start: int) -> "list[torch.Tensor]":
            part = torch.from_numpy(vectors[start : start + step]).to(self.device)
            deviation = ((part @ self._square) * part).sum(dim=1, keepdim=True).sqrt()
            return [one.cpu() for one in of_logits(part @ self._matrix.T, deviation)]

        parts = list(in_parallel(some, range(0, len(vectors), step), self.device))
        return [torch.cat(column).numpy() for column in zip(*parts, strict=True)]


@dataclass(frozen=True, eq=False)
class LayerWrites:
    """What the directions of a layer write, and what chance would.

    Attributes:
        told: of each.
        p, p_mixed: against either null: float64 [directions]; NaN where undefined.
        score_null: the mean of a direction's own permutations, float32 [directions].
        kurtosis, kurtosis_null: of its logits, and of one permutation's: float32, as above.
        bound: what 95% of the permuted directions have no token beyond.
    """

    told: Told
    p: np.ndarray
    p_mixed: np.ndarray
    score_null: np.ndarray
    kurtosis: np.ndarray
    kurtosis_null: np.ndarray
    bound: float


def layer_writes(
    vectors: np.ndarray, lens: Lens, *, top: int, draws: int, seed: Sequence[int]
) -> LayerWrites:
    """The tokens that a layer's directions promote and suppress, beside two nulls.

    Args:
        vectors: float32 [directions, width].
        top: tokens each way.
        draws: of each null, for every direction.
        seed: draws them.
    """
    rng = np.random.default_rng(seed)
    told, kurtosis = lens.furthest(vectors, top), lens.kurtosis(vectors)
    permuted = (rng.permuted(vectors, axis=1) for _ in range(draws))
    first = next(permuted)
    scores = np.stack([lens.furthest(one, 1).score for one in (first, *permuted)])
    mixed = np.empty(0, dtype=np.float32)
    if len(vectors) >= LEAST_MIXED:
        size = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.where(size > 0, size, 1)
        lots = (rng.normal(size=(len(unit), len(unit))).astype(np.float32) for _ in range(draws))
        mixed = np.concatenate([lens.furthest(some @ unit, 1).score for some in lots])
    null = scores[~np.isnan(scores)]
    return LayerWrites(
        told,
        _reached(told.score, null),
        _reached(told.score, mixed[~np.isnan(mixed)]),
        scores.mean(axis=0),
        kurtosis,
        lens.kurtosis(first),
        float(np.quantile(null, 1 - _ANY)) if null.size else float("nan"),
    )


def rates(layers: Sequence[LayerWrites]) -> tuple[np.ndarray, np.ndarray]:
    """q over the directions of all layers, against either null: float64 [all directions]."""
    every = [np.concatenate([getattr(one, name) for one in layers]) for name in ("p", "p_mixed")]
    return false_discovery_rates(every[0]), false_discovery_rates(every[1])


def writes_table(
    layers: Mapping[int, LayerWrites], unembedding: Unembedding, fdr: float
) -> "pyarrow.Table":
    """A row a direction; of their tokens those that are beyond the layer's bound.

    Columns: layer, neuron; writes, whether q and q_mixed are at most fdr (q_mixed where there is
    one); score, score_null, kurtosis, kurtosis_null, p, q, p_mixed, q_mixed; promoted_token (as the
    vocabulary writes them), promoted_id, promoted_z, and the same with suppressed_.
    """
    import pyarrow as pa

    q, q_mixed = rates([*layers.values()])
    number = [len(one.p) for one in layers.values()]
    columns: dict[str, Any] = {
        "layer": np.repeat([*layers], number),
        "neuron": np.concatenate([np.arange(n) for n in number]),
        "writes": (q <= fdr) & ~(q_mixed > fdr),
        "score": np.concatenate([one.told.score for one in layers.values()]),
        "q": q,
        "q_mixed": q_mixed,
    }
    for name in ("score_null", "kurtosis", "kurtosis_null", "p", "p_mixed"):
        columns[name] = np.concatenate([getattr(one, name) for one in layers.values()])
    kinds: dict[str, Any] = {"layer": pa.int16(), "neuron": pa.int32(), "writes": pa.bool_()}
    kinds |= dict.fromkeys(("score", "score_null", "kurtosis", "kurtosis_null"), pa.float32())
    kinds |= dict.fromkeys(("p", "q", "p_mixed", "q_mixed"), pa.float64())
    for way, far in (("promoted", "up"), ("suppressed", "down")):
        found = [
            (places[beyond], z[beyond])
            for one in layers.values()
            for places, z in zip(getattr(one.told, way), getattr(one.told, far), strict=True)
            for beyond in [np.abs(z) > one.bound]
        ]
        columns[f"{way}_token"] = [[unembedding.tokens[i] for i in own] for own, _ in found]
        columns[f"{way}_id"] = [unembedding.ids[own] for own, _ in found]
        columns[f"{way}_z"] = [z for _, z in found]
        kinds[f"{way}_token"] = pa.list_(pa.string())
        kinds[f"{way}_id"] = pa.list_(pa.int32())
        kinds[f"{way}_z"] = pa.list_(pa.float32())
    return pa.table(
        {name: pa.array(columns[name], kind, from_pandas=True) for name, kind in kinds.items()}
    )


def _reached(score: np.ndarray, null: np.ndarray) -> np.ndarray:
    """The chance of a score as high, by a pooled null: float64, NaN where there is none."""
    if not null.size:
        return np.full(score.shape, np.nan)
    above = null.size - np.searchsorted(np.sort(null), score, side="left")
    return np.where(np.isnan(score), np.nan, (1 + above) / (1 + null.size))
