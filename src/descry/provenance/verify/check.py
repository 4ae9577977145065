"""The result of checking one link of the chain."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A link of the chain that was checked.

    Attributes:
        stage: that makes what was checked.
        checked: what was compared with what, and how much of it.
        fault: the first thing that does not follow from its inputs; None where all does.
    """

    stage: str
    checked: str
    fault: str | None = None


Check = Callable[[], Link]
