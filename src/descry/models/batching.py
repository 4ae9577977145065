"""Batches within a budget of tokens, in parallel, within the memory."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from descry.errors import InputError
from descry.io.prefetch import map_ahead

_NO_MEMORY = re.compile(r"out of memory|can('t|not) allocate memory|alloc_failed", re.IGNORECASE)
T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def within_memory(name: str, advice: str) -> Iterator[None]:
    """Turn a lack of memory into one clear line.

    Args:
        name: of the model.
        advice: what to do, such as which parameter to lower.

    Raises:
        InputError: there was too little.
    """
    try:
        yield
    except Exception as error:
        if lacks_memory(error):
            raise InputError(f"{name}: out of memory: {advice}") from error
        raise


def lacks_memory(error: Exception) -> bool:
    """Whether an exception says that a device or this machine has no memory left."""
    from torch import OutOfMemoryError

    if isinstance(error, MemoryError | OutOfMemoryError):
        return True
    # On a CPU, in a library of CUDA's, or behind a fallen kernel, torch says so in words alone.
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def quiet() -> None:
    """Keep the model libraries' own progress bars and advice out of the log."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def in_parallel(
    run: Callable[[T], R], batches: Iterable[T], device: str, together: int = 1
) -> Iterator[R]:
    """Results of a model's batches, in order, without gradients.

    On a CPU a batch is one thread's, and as many go at a time as torch has threads: on matrices of
    a batch's size that is faster than all threads on one (measured: 1.5 times), and the last digits
    do not depend on the number of cores. On a GPU `together` batches go at a time, so that one is
    computed while another's results are fetched.
    """
    import torch

    def inferred(batch: T) -> R:
        with torch.inference_mode():
            return run(batch)

    if device != "cpu":
        yield from (
            map_ahead(inferred, batches, together) if together > 1 else map(inferred, batches)
        )
        return
    threads = torch.get_num_threads()
    try:
        yield from map_ahead(inferred, batches, threads, lambda: torch.set_num_threads(1))
    finally:
        torch.set_num_threads(threads)  # the threads' setting is partly the whole process's


def plan_batches(lengths: Sequence[int], budget: int) -> list[np.ndarray]:
    """Cut rows into batches of similar length: a pure function of the lengths and the budget.

    Rows are sorted by length, ties by row; a batch holds as many as fit `budget` tokens when
    padded to its longest, and at least one.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")[::-1]
    batches, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches
