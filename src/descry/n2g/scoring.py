"""How well predicted activations match the neuron's, beside simple baselines.

Undefined values are NaN, and left out of every mean: precision where nothing is predicted to fire,
recall where nothing fires.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np

from descry.activations.nan_stats import mean, ratio
from descry.evaluation.scorers import pearson
from descry.n2g.batching import Prompt
from descry.n2g.contexts import look_up
from descry.n2g.graph import Graph
from descry.n2g.ridge import FOLDS, best_cut

Samples = Sequence[tuple[Prompt, np.ndarray]]  # tokens of texts, and their activations
_BITS = 31  # of a token id: two are one int64


class Baseline(NamedTuple):
    """A table of the training texts: which tokens before a token are looked up with it, and what.

    Attributes:
        what: the highest activation there, or the mean.
    """

    prior: int
    what: Literal["highest", "mean"]


BASELINES = {
    "token mean": Baseline(0, "mean"),
    "token highest": Baseline(0, "highest"),
    "token and one before": Baseline(1, "highest"),
}


class Score(NamedTuple):
    """Scores of predictions.

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


def score(
    truth: np.ndarray, predicted: np.ndarray, *, firing: float, cut: float | None = None
) -> Score:
    """Compare predicted activations with the true ones.

    Args:
        truth, predicted: float [activations], as shares of the neuron's highest.
        firing: from which share on it fires.
        cut: from which predicted share on it is said to; None: from the same.
    """
    fires, says = truth >= firing, predicted >= (firing if cut is None else cut)
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


class _Tokens(NamedTuple):
    """Texts as one row of tokens.

    Attributes:
        codes: int64 [tokens], of each with those before it that are looked up with it.
        values: float64 [tokens], the activation of each, or that of its text.
        text: int [tokens], the number of its text.
        whole: whether a text has one activation.
    """

    codes: np.ndarray
    values: np.ndarray
    text: np.ndarray
    whole: bool

    def of_activations(self, tokens: np.ndarray) -> np.ndarray:
        """Reduce values of tokens to the activations: the highest of each text, if it has one."""
        if not self.whole or not len(tokens):
            return tokens
        starts = np.flatnonzero(np.diff(self.text, prepend=-1))
        return np.asarray(np.maximum.reduceat(tokens, starts))


def _tokens(samples: Samples, prior: int) -> _Tokens:
    """All tokens; at the beginning of a text fewer than `prior` stand before one."""
    lengths = [len(tokens) for tokens, _ in samples]
    text = np.repeat(np.arange(len(samples)), lengths)
    own = np.fromiter(chain.from_iterable(tokens for tokens, _ in samples), dtype=np.int64)
    found = own.copy()
    for back in range(1, prior + 1):
        before = np.concatenate([np.zeros(back, dtype=np.int64), own[:-back] + 1])[: len(own)]
        inside = np.concatenate([np.full(back, -1), text[:-back]])[: len(own)] == text
        found += np.where(inside, before << _BITS * back, 0)
    values = [np.broadcast_to(one, len(tokens)) for tokens, one in samples]
    whole = any(len(one) != len(tokens) for tokens, one in samples)
    return _Tokens(found, np.concatenate([np.empty(0), *values]), text, whole)


def _looked_up(
    train: _Tokens, rows: np.ndarray, asked: np.ndarray, how: Literal["highest", "mean"]
) -> np.ndarray:
    """What a table of some training tokens predicts for codes: float64; 0 for one not in it."""
    known, place = np.unique(train.codes[rows], return_inverse=True)
    values = train.values[rows]
    if how == "mean":
        table = np.bincount(place, values, len(known)) / np.bincount(place, minlength=len(known))
    else:
        table = np.full(len(known), -np.inf)
        np.maximum.at(table, place, values)
    return look_up((known, table), asked)


def baseline(
    train: Samples, held: Samples, how: Baseline, *, firing: float
) -> tuple[np.ndarray, float]:
    """Return the predictions of a table of the training texts, and its threshold of firing.

    The cut is the one with the best F1 where each part of the training texts is predicted from the
    other parts.

    Args:
        train: texts with their activations, as shares of the highest: float [tokens] or [1].
        held: texts to predict; their activations say only how many there are.

    Returns:
        float64 [activations of all held texts]; where a text has one, the highest of its tokens.
    """
    told, asked = _tokens(train, how.prior), _tokens(held, how.prior)
    part = told.text % FOLDS
    crossed = np.zeros(len(told.codes))
    for fold in range(FOLDS):
        own = part == fold
        crossed[own] = _looked_up(told, ~own, told.codes[own], how.what)
    fires = told.of_activations(told.values) >= firing
    cut = best_cut(fires, told.of_activations(crossed))
    every = np.ones(len(told.codes), dtype=bool)
    return asked.of_activations(_looked_up(told, every, asked.codes, how.what)), cut


def graph_scores(graph: Graph, train: Samples, held: Samples, *, firing: float) -> dict[str, Score]:
    """The scores of a graph and of the look-up tables, on the same activations.

    Args:
        train: the texts that the graph was made from, with the neuron's activations.
        held: the texts that score it, of the same form, unpruned.
    """
    known, asked = (
        [(tokens, graph.shares(values)) for tokens, values in some] for some in (train, held)
    )
    truth = np.concatenate([np.empty(0), *(values for _, values in asked)])
    own = np.concatenate([np.empty(0), *(graph.predict(tokens) for tokens, _ in held)])
    found = {"graph": score(truth, own, firing=firing, cut=graph.cut)}
    for name, how in BASELINES.items():
        predicted, cut = baseline(known, asked, how, firing=firing)
        found[name] = score(truth, predicted, firing=firing, cut=cut)
    return found


def average(scores: Sequence[Score]) -> Score:
    """Means over the neurons that fire at least once, each over those where it is defined.

    The counts are sums over the same neurons.
    """
    firing = [found for found in scores if found.fires]
    columns = list(zip(*firing, strict=True)) or [()] * len(Score._fields)
    counts = [sum(column) for column in columns[:3]]
    return Score(*counts, *(mean(list(column)) for column in columns[3:]))
