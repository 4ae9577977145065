"""Whether an annotator tells sentences apart at all, by how often it says Yes."""

import numpy as np

MOST, FEWEST = 0.9, 0.02  # share of Yes beyond which hardly anything is told apart
_LEAST = 20  # answers, below which a share says nothing
_EACH = 10  # answers about a descriptor, at least


def one_sided(
    who: str, yes: np.ndarray, answered: np.ndarray, section: str = "annotate"
) -> str | None:
    """A warning in words where an annotator says Yes to nearly everything, or to nearly nothing.

    Or where it answers the same of every sentence, whatever the descriptor.

    Args:
        who: its name.
        yes, answered: int [descriptors], how often it said Yes, and how many answers there are.
        section: of params.yaml, which has the annotator.
    """
    advice = f"try {section}.threshold: fitted, and {section}.centre: sentence"
    number = int(answered.sum())
    if number < _LEAST:
        return None
    share = int(yes.sum()) / number
    if share > MOST or share < FEWEST:
        return f"{who} says Yes to {in_percent(share)} of what it is asked: {advice}"
    asked = answered > 0
    if number >= _EACH * int(asked.sum()) and ((yes == 0) | (yes == answered))[asked].all():
        return f"{who} gives every sentence the same answers: {advice}"
    return None


def in_percent(share: float) -> str:
    """A share in percent; only none is 0% and only all is 100%."""
    digits = 0 if share in (0, 1) or 0.1 <= share <= 0.99 else 1
    shown = f"{share:.{digits}%}"
    if shown in ("0.0%", "100.0%"):
        return "under 0.1%" if share < 0.5 else "over 99.9%"
    return shown
