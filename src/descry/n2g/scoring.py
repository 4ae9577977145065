"""How well predicted activations are those of the neuron, beside two simple baselines.

Undefined values are NaN, and left out of every mean: precision where nothing is predicted to fire,
recall where nothing fires.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from descry.activations.nan_stats import mean, ratio
from descry.evaluation.scorers import pearson
from descry.n2g.batching import Prompt
from descry.n2g.graph import Graph

Samples = Sequence[tuple[Prompt, np.ndarray]]  # tokens of texts, and their activations
BASELINES = {"token": 0, "token and one before": 1}  # tokens looked up with each


class Score(NamedTuple):
    """How predictions hold.

    Attributes:
        number: of activations, one a token or one a text; `fires` of them at or above the
            threshold, `predicted` predicted to.
        pearson: correlation of predicted and true activations.
        r2: share of the variance that is explained; below 0 where the mean would do better.
    """

    number: int
    fires: int
    predicted: int
    precision: float
    recall: float
    f1: float
    pearson: float
    r2: float


def score(truth: np.ndarray, predicted: np.ndarray, *, firing: float) -> Score:
    """Hold predicted activations against the true ones.

    Args:
        truth, predicted: float [activations], as shares of the neuron's highest.
        firing: from which share on it fires.
    """
    fires, says = truth >= firing, predicted >= firing
    both = int((fires & says).sum())
    f1 = ratio(np.array(2 * both), np.array(fires.sum() + says.sum()))
    return Score(
        number=len(truth),
        fires=int(fires.sum()),
        predicted=int(says.sum()),
        precision=float(ratio(np.array(both), says.sum())),
        recall=float(ratio(np.array(both), fires.sum())),
        f1=float(f1),
        pearson=pearson(predicted, truth),
        r2=_explained(truth, predicted),
    )


def _explained(truth: np.ndarray, predicted: np.ndarray) -> float:
    """1 - squared errors / squared deviations; NaN where the truth does not vary."""
    if len(truth) == 0 or np.ptp(truth) == 0:
        return float("nan")
    deviations = ((truth - truth.mean()) ** 2).sum()
    return float(1 - ((truth - predicted) ** 2).sum() / deviations)


def look_up(train: Samples, held: Samples, *, prior: int) -> list[np.ndarray]:
    """What a table of the training texts predicts: the highest activation there, or 0.

    Args:
        train: texts with their activations, float [tokens] or [1].
        held: texts to predict; their activations say only how many there are.
        prior: how many tokens before a token are looked up with it. At the beginning of a text
            there are fewer.

    Returns:
        Of each text float64 [tokens]; of one with one activation [1], the highest of its tokens.
    """
    table: dict[Prompt, float] = {}
    for tokens, values in train:
        for key, value in zip(_keys(tokens, prior), _by_token(tokens, values), strict=True):
            table[key] = max(table.get(key, value), value)
    predicted = [np.array([table.get(key, 0.0) for key in _keys(t, prior)]) for t, _ in held]
    return [
        found if len(values) == len(tokens) else np.array([found.max()])
        for found, (tokens, values) in zip(predicted, held, strict=True)
    ]


def _by_token(tokens: Prompt, values: np.ndarray) -> Iterable[float]:
    found: list[float] = np.broadcast_to(values, len(tokens)).tolist()
    return found


def _keys(tokens: Prompt, prior: int) -> Iterator[Prompt]:
    return (tokens[max(0, k - prior) : k + 1] for k in range(len(tokens)))


def graph_scores(graph: Graph, train: Samples, held: Samples, *, firing: float) -> dict[str, Score]:
    """The scores of a graph and of the two look-up tables, on the same activations.

    Args:
        train: the texts that the graph was made from, with the neuron's activations.
        held: the texts that it is held against, likewise, unpruned.
    """
    known = [(tokens, graph.shares(values)) for tokens, values in train]
    truth = np.concatenate([graph.shares(values) for _, values in held] or [np.empty(0)])
    predicted = {"graph": [graph.predict(tokens) for tokens, _ in held]}
    predicted |= {name: look_up(known, held, prior=n) for name, n in BASELINES.items()}
    return {
        name: score(truth, np.concatenate(found or [np.empty(0)]), firing=firing)
        for name, found in predicted.items()
    }


def average(scores: Sequence[Score]) -> Score:
    """Means over the neurons that fire at least once, each over those where it is defined.

    The counts are sums over the same neurons.
    """
    firing = [found for found in scores if found.fires]
    columns = list(zip(*firing, strict=True)) or [()] * len(Score._fields)
    counts = [sum(column) for column in columns[:3]]
    return Score(*counts, *(mean(list(column)) for column in columns[3:]))
