"""The first numbers of a run: the share of its labels that other data confirm.

Data that had no part in choosing a label confirm it if the test within strata gives p < .05: the
other half of the sentences (*replicated*), or people's or a judge's answers about the same
sentences (*supported*). Beside the share stands the share for the same descriptors on other
neurons: if labels said nothing about their neurons, the two would be equal.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from descry.activations.nan_stats import ratio
from descry.activations.top_k import HIGHEST
from descry.corpus.splits import HALVES, other_half
from descry.evaluation.agreement import wilson
from descry.evaluation.relabelled import Labelling
from descry.io.csv_rows import Row
from descry.labels.counting import TOO_FEW
from descry.labels.results import Labels

LEVEL = 0.05  # of p, below which a label is borne out
ANNOTATOR = "annotator"


class Tested(NamedTuple):
    """Labels, and what the data that had no part in choosing them says.

    Attributes:
        assigned: bool [tests, neurons, descriptors].
        p: float64 of the same shape; NaN where there is no test.
    """

    assigned: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class BorneOut:
    """A share of labels; NaN where there are none.

    Attributes:
        labels: that could be tested.
        value: the share of them that are borne out; `low` and `high` its 95% interval.
        base: the same on average over all ways to deal each descriptor's labels to other neurons.
        every: the share of all pairs of neuron and descriptor, labels or not.
    """

    labels: int
    value: float
    low: float
    high: float
    base: float
    every: float


def borne_out(assigned: np.ndarray, p: np.ndarray) -> BorneOut:
    """The share of labels with p < `LEVEL`.

    The interval is Wilson's, for the number of labels that has the same variance if they were
    independent (Korn & Graubard 1998). The variance is that of a share with two kinds of clusters,
    neurons and descriptors (Cameron, Gelbach & Miller 2011). What it covers: the share if neurons,
    descriptors and sentences were drawn again.

    Args:
        assigned: bool [tests, neurons, descriptors]: labels that are tested at once, such as those
            of both halves.
        p: float64 of the same shape, of the data that had no part in choosing them; NaN where there
            is no test.
    """
    tested = ~np.isnan(p)
    reached = tested & (np.nan_to_num(p, nan=1.0) < LEVEL)
    labels = assigned & tested
    where = np.nonzero(labels)
    hits = reached[where].astype(np.float64)
    number, value = len(hits), ratio(hits.sum(), np.array(len(hits)))
    others = (reached.sum(axis=1) - np.moveaxis(reached, 1, 0)) / np.maximum(
        1, tested.sum(axis=1) - np.moveaxis(tested, 1, 0)
    )
    of_labels = np.moveaxis(others, 0, 1)[where]
    effective = _effective(hits, where[1], where[2])
    _, low, high = wilson(np.array(value * effective), np.array(effective))
    return BorneOut(
        labels=number,
        value=float(value),
        low=float(low),
        high=float(high),
        base=float(ratio(of_labels.sum(), np.array(number))),
        every=float(ratio(reached.sum(), tested.sum())),
    )


def _effective(hits: np.ndarray, neurons: np.ndarray, descriptors: np.ndarray) -> float:
    """How many independent labels would have a share of the same variance, at most all of them."""
    number = len(hits)
    if not number:
        return 0.0
    share = hits.mean()
    keys = neurons, descriptors, neurons * (int(descriptors.max()) + 1) + descriptors
    of_neurons, of_descriptors, of_both = (_clustered(hits - share, key) for key in keys)
    variance = max(of_neurons, of_descriptors, of_neurons + of_descriptors - of_both)
    if variance > 0:
        return float(min(number, share * (1 - share) / variance))
    return float(len(np.unique(neurons)))  # all or none are borne out


def _clustered(away: np.ndarray, clusters: np.ndarray) -> float:
    """Variance of a mean whose deviations are independent between clusters alone."""
    distinct, member = np.unique(clusters, return_inverse=True)
    sums = np.bincount(member, weights=away)
    few = len(distinct) / max(1, len(distinct) - 1)
    return float((sums**2).sum()) / len(away) ** 2 * few


def halves_tested(labels: Labels) -> Tested:
    """The labels of each half, by the other half."""
    assigned, p = (
        np.stack([_flat(getattr(labels.splits[half], name)) for half in halves])
        for name, halves in (("assigned", HALVES), ("p", [other_half(half) for half in HALVES]))
    )
    return Tested(assigned, p)


def truth_tested(
    labels: Labels, labelling: Labelling, sets: np.ndarray, truth: np.ndarray
) -> Tested:
    """The labels of the whole corpus, by a truth about the descriptors that it knows.

    Args:
        labelling: of the sentences that the truth is about.
        sets: int [neurons, size], rows of `truth`, -1 behind the end of a smaller set.
        truth: int8 [sentences, descriptors], 1 Yes, 0 No, -1 not judged.
    """
    known = (truth >= 0).any(axis=0)
    p = labelling.numbers(sets, truth[:, known])["p"]
    return Tested(_flat(labels.splits["all"].assigned)[None][..., known], p[None])


def by_layer(labels: Labels, tests: Mapping[str, Tested]) -> dict[str, Row]:
    """The labels of each layer, and what share of them each test bears out, by layer."""
    whole, width = labels.splits["all"].assigned, labels.neurons.width
    found: dict[str, Row] = {}
    for place, layer in enumerate(labels.neurons.layers):
        own = slice(place * width, (place + 1) * width)
        number = {"labels": int(whole[place].sum()), "labelled": int(whole[place].any(1).sum())}
        shares = {
            name: asdict(borne_out(test.assigned[:, own], test.p[:, own]))
            for name, test in tests.items()
        }
        found[str(layer)] = number | shares
    return found


def headline(
    labels: Labels,
    chance: Any,
    by: Mapping[str, Labelling],
    said: Mapping[str, np.ndarray],
    sets: np.ndarray,
    copies: np.ndarray | None,
) -> Row:
    """The first numbers of one end: labels that are replicated, supported, and false.

    Args:
        chance: the labels of random sets, as stage label counts them.
        by: how sentences are labelled by the annotator, and by each truth.
        said: the answers of each, int8 [sentences, descriptors].
        sets, copies: exemplars of the target, and of its copy with random weights: int [neurons,
            size], rows of the answers.
    """
    false: Row = {"labels": int(labels.splits["all"].assigned.sum()), "random_sets": chance}
    if copies is not None:
        found = by[ANNOTATOR].labels(copies, said[ANNOTATOR])
        false["random_weights"] = int(found.sum())
    halves = halves_tested(labels)
    truths = {
        name: truth_tested(labels, by[name], sets, answers)
        for name, answers in said.items()
        if name != ANNOTATOR
    }
    each = {
        f"chosen by {half}": asdict(borne_out(halves.assigned[[place]], halves.p[[place]]))
        for place, half in enumerate(HALVES)
    }
    return {
        "replicated": asdict(borne_out(*halves)) | each,
        "supported": {name: asdict(borne_out(*test)) for name, test in truths.items()},
        "false_labels": false,
        "layers": by_layer(labels, {"replicated": halves} | truths),
    }


def first_words(headlines: Mapping[str, Row]) -> dict[str, object]:
    """What the terminal shows first.

    Args:
        headlines: by end.
    """
    told: dict[str, object] = {}
    for end, found in headlines.items():
        of = "" if end == HIGHEST else f"{end}: "
        rows = {"replicated in the other half": found["replicated"]}
        rows |= {f"supported by {name}": row for name, row in found["supported"].items()}
        for name, row in rows.items():
            told[f"{of}{name}"] = (
                f"{row['value']:.3f} of {row['labels']:,} labels, 95% {row['low']:.3f} to"
                f" {row['high']:.3f}, the same on other neurons {row['base']:.3f}"
            )
        false = found["false_labels"]
        if random := false["random_sets"]:
            told[f"{of}labels of random sets of the same strata"] = (
                f"{random['random_labels']:.2f} a draw, any in {random['random_any']:.0%} of draws"
            )
        else:
            told[f"{of}labels of random sets"] = f"none: {TOO_FEW}"
        if "random_weights" in false:
            told[f"{of}labels of random weights"] = (
                f"{false['random_weights']:,}, of the target {false['labels']:,}"
            )
    return told


def _flat(values: np.ndarray) -> np.ndarray:
    """[layers, neurons, any] as [neurons of all layers, any]."""
    return values.reshape(-1, values.shape[2])
