"""The labels of random sets of sentences: what a rule finds where there is nothing to find.

Every neuron gets random sentences in place of its exemplars, as many of each stratum. Every
label is then false.
"""

from collections.abc import Iterator

import numpy as np

from descry.labels.assignment import SetCounter, assign
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
    sets: np.ndarray,
    counter: SetCounter,
    strata: Strata,
    base: np.ndarray,
    rule: Rule,
    top_k: int | None,
) -> Iterator[np.ndarray]:
    """The labels of every draw: bool [neurons, descriptors].

    None where a stratum has too few sentences to draw from.

    Args:
        sets: the neurons' own, int [neurons, size], rows of the sentences, -1 behind the end of a
            smaller set.
        counter: of the answers.
        base: bool [sentences], those that represent the split.
        top_k: labels of a neuron, at most; None for all.
    """
    number = len(strata.names)
    marked, whole = counter.base_by_stratum(base, strata.of, number)
    descriptors = marked.shape[1]
    draws = max(1, min(DRAWS, _HELD // max(1, len(sets) * descriptors)))
    found = np.empty((draws, len(sets), descriptors), dtype=np.float32)
    step = max(1, _CELLS // (descriptors * (sets.shape[1] + 1)))
    for start in range(0, len(sets), step):
        block = slice(start, start + step)
        source = MatchedDraws(sets[block], strata.of, base)
        if not source.possible:
            return
        tails = None
        if rule.name == "enrichment":
            drawn = counter.by_stratum(sets[block], strata.of, number)[1]
            tails = matched_tails(drawn, marked, whole)
        for draw in range(draws):
            members = source.draw(np.random.default_rng([_SEED, draw, start]))
            counts = counter.tally([members], base)
            if tails is None:
                f, of_split = counts.f(rule.frequency), counts.base(rule.frequency)
                found[draw, block] = above_base(f, f, of_split)
            else:
                reached = np.minimum(counts.count, tails.shape[2] - 1)[:, :, None]
                found[draw, block] = np.take_along_axis(tails, reached, axis=2)[:, :, 0]
    for values in found:
        strong = values if rule.name == "composition" else strength(false_discovery_rates(values))
        yield assign(strong, rule.bound(rule.cut), top_k)
