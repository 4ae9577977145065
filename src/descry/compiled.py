"""Loops over numbers, compiled by numba: as operations on whole arrays they take 5 to 10 times.

The first call in a fresh installation compiles (a second or so a function); later ones, and other
processes, read the result from the folder __pycache__ beside the source, or where that cannot be
written to, from the user's cache; where there is neither, each process compiles. Arithmetic is
what the source says: nothing is reordered or fused, so a compiled loop gives the bytes of numpy.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of arrays and numbers at its first call; threads run it side by side."""
    made: Callable[P, R]
    try:
        made = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder can be written to
        made = njit(nogil=True)(function)
    return made
