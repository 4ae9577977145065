"""Verdicts in a word on scores: yes, barely, or no better than chance."""

from collections.abc import Mapping
from typing import Any, Literal

from descry.io.hashing import JSON

Verdict = Literal["yes", "barely", "no"]
_WORSE: tuple[Verdict, ...] = ("yes", "barely", "no")
# A clear result goes this share of the way from chance to the best score (1), and a copy with
# random weights has at most this share of the labels.
CLEAR = 0.1


def verdict(value: float, low: float | None, chance: float) -> Verdict:
    """Return whether a score of at most 1 is better than chance.

    `no` where the interval reaches down to chance; `barely` where its lower end is less than
    `CLEAR` of the way from chance to 1, or where there is no interval; else `yes`.

    Args:
        low: lower end of the 95% interval, if there is one.
        chance: the highest null.
    """
    least = value if low is None else min(value, low)
    if least <= chance:
        return "no"
    if low is None or least - chance < CLEAR * (1 - chance):
        return "barely"
    return "yes"


def beside_random(labels: float, random: float, few: float) -> Verdict:
    """Return whether neurons have more labels than others that should have none.

    Args:
        few: `yes` where the others have at most this share of the neurons' number.
    """
    if random >= labels:
        return "no"
    return "yes" if random <= few * labels else "barely"


def with_verdicts(metrics: JSON, fdr: float) -> JSON:
    """Return metrics with a `verdict` in each score that has a null, at any depth.

    Args:
        metrics: of metrics.json.
        fdr: false discovery rate of a label.
    """
    if not isinstance(metrics, Mapping):
        return metrics
    found: dict[str, Any] = {name: with_verdicts(one, fdr) for name, one in metrics.items()}
    value, low, chance, base, labels, random, copy = (
        _number(metrics, name)
        for name in ("value", "low", "null", "base", "labels", "random_labels", "random_weights")
    )
    chance = base if chance is None else chance
    if value is not None and chance is not None:
        found["verdict"] = verdict(value, low, chance)
    elif labels is not None and random is not None:
        of_sets, of_copy = (
            beside_random(labels, random, fdr),
            beside_random(labels, copy or 0, CLEAR),
        )
        worse = metrics.get("no_better") is True
        found["verdict"] = "no" if worse else max(of_sets, of_copy, key=_WORSE.index)
    return found


def _number(metrics: Mapping[str, Any], name: str) -> float | None:
    number = metrics.get(name)
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        return float(number)
    return None
