"""Compiled loops: what numpy gives, to the byte, and where nothing can be kept."""

import numpy as np
from numba.core.caching import CacheImpl

from descry.compiled import compiled


def summed(values: np.ndarray, weights: np.ndarray) -> float:
    found = 0.0
    for place in range(len(values)):
        found += values[place] * weights[place]
    return found


def test_nothing_is_reordered_or_fused():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(2, 10_001))
    assert compiled(summed)(values, weights) == summed(values, weights)


def test_where_no_folder_can_be_written_to_each_process_compiles(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert compiled(summed)(np.ones(3), np.full(3, 2.0)) == 6.0
