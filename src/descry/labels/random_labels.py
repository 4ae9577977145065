"""The labels of random sets of sentences: what a rule finds where there is nothing to find.

Every neuron gets random sentences in place of its exemplars, as many of each stratum. Every
label is then false.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from descry.labels.assignment import SetCounter, SetCounts, assign
from descry.labels.counting import MatchedDraws
from descry.labels.enrichment import false_discovery_rates, strength
from descry.labels.matched import matched_tails
from descry.labels.rules import Rule, above_base
from descry.labels.strata import Strata

DRAWS = 100  # fewer, if that many would not fit into memory
_SEED = 0
_HELD = 2**26  # numbers of all draws held at a time, of 4 bytes
_CELLS = 2**23  # chances held at a time, of 8 bytes


def random_labels(
    sets: Callable[[], Iterable[np.ndarray]],
    counter: SetCounter,
    strata: Strata,
    base: np.ndarray,
    rule: Rule,
    top_k: int | None,
) -> Iterator[np.ndarray]:
    """The labels of every draw: bool [neurons, descriptors].

    None where a stratum has too few sentences to draw from.

    Args:
        sets: reads the neurons' own, some neurons after the others: int [neurons, size], rows of
            the sentences, -1 behind the end of a smaller set.
        counter: of the answers.
        base: bool [sentences], those that represent the split.
        top_k: labels of a neuron, at most; None for all.
    """
    marked, whole = counter.base_by_stratum(base, strata.of, len(strata.names))
    descriptors = marked.shape[1]
    none = np.zeros((0, len(strata.names)), dtype=np.int64)
    taken = np.concatenate([none, *(strata.count(block) for block in sets())])
    source = MatchedDraws(taken, strata.of, base)
    if not source.possible:
        return
    draws = max(1, min(DRAWS, _HELD // max(1, len(taken) * descriptors)))
    found = np.empty((draws, len(taken), descriptors), dtype=np.float32)
    every, of_base = np.ones(len(taken), dtype=bool), (marked.sum(axis=0), whole.sum(axis=0))
    for draw in range(draws):
        count, answered = counter.drawn(source, np.random.default_rng([_SEED, draw, 0]))
        found[draw] = count  # exact below 2**24 exemplars
        if rule.name == "composition":
            counts = SetCounts(count, answered, every, *of_base)
            f = counts.f(rule.frequency)
            found[draw] = above_base(f, f, counts.base(rule.frequency))
    if rule.name == "enrichment":
        _chances(found, sets(), counter, strata, marked, whole)
    for values in found:
        strong = values if rule.name == "composition" else strength(false_discovery_rates(values))
        yield assign(strong, rule.bound(rule.cut), top_k)


def _chances(
    found: np.ndarray,
    sets: Iterable[np.ndarray],
    counter: SetCounter,
    strata: Strata,
    marked: np.ndarray,
    whole: np.ndarray,
) -> None:
    """Put the chance of as many Yes in the place of their number, [draws, neurons, descriptors]."""
    start = 0
    for block in sets:
        step = max(1, _CELLS // (max(1, found.shape[2]) * (block.shape[1] + 1)))
        for first in range(0, len(block), step):
            own = block[first : first + step]
            drawn = counter.by_stratum(own, strata.of, len(strata.names))[1]
            tails = matched_tails(drawn, marked, whole)
            part = found[:, start : start + len(own)]
            reached = np.minimum(part.astype(np.int64), tails.shape[2] - 1)
            part[:] = np.take_along_axis(tails[None], reached[..., None], axis=3)[..., 0]
            start += len(own)
