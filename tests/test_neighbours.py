import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.errors import InputError
from descry.labels import neighbours
from descry.labels.neighbours import alike

EVERY, NONE = 10_000, 0  # rows up to which every cosine is computed
both_ways = pytest.mark.parametrize("whole", [EVERY, NONE], ids=["every cosine", "bounds"])


def unit(vectors):
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def lumpy(rows, dimension=24, seed=0):
    """Unit vectors around a few directions, most of their length in a few dimensions."""
    rng = np.random.default_rng(seed)
    spread = np.geomspace(1, 0.05, dimension)
    centres = rng.normal(size=(5, dimension))[rng.integers(5, size=rows)]
    return unit((centres + rng.normal(scale=0.7, size=(rows, dimension))) * spread)


def found(vectors, threshold, whole):
    """The pairs as a set, and the sizes."""
    with alike(vectors, threshold, whole) as pairs:
        read = [pair for some in pairs.read() for pair in tuples(some)]
    assert len(set(read)) == len(read)
    return set(read), pairs.sizes.tolist()


def plain(vectors, threshold):
    """The pairs by the square of all cosines, those too near the threshold to tell apart."""
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(cosines, -1)
    close = np.abs(cosines - threshold) < 1e-6
    return pairs_of(cosines >= threshold), pairs_of(close)


def pairs_of(matrix):
    return set(tuples(np.nonzero(matrix)))


def tuples(pairs):
    return map(tuple, np.stack(pairs, axis=1).tolist())


@both_ways
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3, 0.6, 0.9])
def test_the_pairs_are_those_of_all_cosines(whole, threshold):
    vectors = lumpy(300)
    expected, close = plain(vectors, threshold)
    pairs, _ = found(vectors, threshold, whole)
    assert pairs ^ expected <= close
    assert pairs


@both_ways
def test_a_rows_size_is_itself_and_all_that_it_is_alike_to(whole):
    pairs, sizes = found(lumpy(200), 0.5, whole)
    assert sizes == [1 + sum(first == row for first, _ in pairs) for row in range(200)]


@both_ways
def test_pairs_across_blocks_are_found(whole, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", 37)
    monkeypatch.setattr(neighbours, "_CHECKED", 11)
    monkeypatch.setattr(neighbours, "_READ", 5)
    vectors = lumpy(300)
    expected, close = plain(vectors, 0.6)
    assert found(vectors, 0.6, whole)[0] ^ expected <= close


@both_ways
def test_pairs_on_disk_are_those_in_memory(whole, monkeypatch):
    in_memory = found(lumpy(200), 0.5, whole)
    monkeypatch.setattr(neighbours, "_HELD", 1)
    assert found(lumpy(200), 0.5, whole) == in_memory


@both_ways
def test_equal_rows_are_alike_and_opposite_ones_are_not(whole):
    vectors = unit([[1, 2, 3], [1, 2, 3], [-1, -2, -3], [1, 2, 3]])
    pairs, sizes = found(vectors, 0.99, whole)
    assert pairs == {(0, 1), (1, 0), (0, 3), (3, 0), (1, 3), (3, 1)}
    assert sizes == [3, 3, 1, 3]


@settings(deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.1, 0.5, 0.8]),
)
def test_bounds_lose_no_pair_and_add_none(rows, dimension, seed, threshold):
    vectors = unit(np.random.default_rng(seed).normal(size=(rows, dimension)))
    expected, close = plain(vectors, threshold)
    assert found(vectors, threshold, NONE)[0] ^ expected <= close


def test_the_pairs_do_not_depend_on_the_number_of_threads():
    import faiss

    threads, vectors = faiss.omp_get_max_threads(), lumpy(1000)
    try:
        read = []
        for number in (1, 2):
            faiss.omp_set_num_threads(number)
            read.append(found(vectors, 0.7, NONE))
    finally:
        faiss.omp_set_num_threads(threads)
    assert read[0] == read[1]


@both_ways
def test_a_full_disk_is_told_in_one_line(whole, monkeypatch):
    def full(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(neighbours.Alike, "write", full)
    with pytest.raises(InputError, match="the disk is full"), alike(lumpy(9), 0.5, whole):
        pass


def test_many_rows_want_a_package_that_few_need(monkeypatch):
    monkeypatch.setattr(neighbours, "find_spec", lambda _: None)
    neighbours.check_rows(neighbours.WHOLE)
    with pytest.raises(InputError, match=r"faiss-cpu is not installed: .*descry\[large\]"):
        neighbours.check_rows(neighbours.WHOLE + 1)
