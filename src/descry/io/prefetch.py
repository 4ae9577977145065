"""Work done ahead in threads, in order, so that the next step finds its input ready."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return how many cores this process may use: a job's share of a node, not the whole node."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ahead(
    run: Callable[[T], R], items: Iterable[T], threads: int, begin: Callable[[], None] | None = None
) -> Iterator[R]:
    """Yield results in the order of the items; threads compute them while earlier ones are used.

    Args:
        threads: number of threads, and of results that may wait.
        begin: called by each thread first.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, initializer=begin) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(run, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
