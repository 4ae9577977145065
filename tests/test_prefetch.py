"""Work done ahead: results in the order of the items, never far ahead, and no failure is lost."""

import threading
import time
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descry.io.prefetch
from descry.io.prefetch import map_ahead


def slow(item):
    time.sleep(0.0005 * (item % 4))
    return item * item


@settings(max_examples=40)
@given(st.integers(0, 25), st.integers(1, 6))
def test_results_come_in_the_order_of_the_items(number, threads):
    assert list(map_ahead(slow, range(number), threads)) == [i * i for i in range(number)]


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_a_result_a_thread_waits_while_one_is_used(threads):
    taken = 0

    def items():
        nonlocal taken
        for item in range(20):
            taken += 1
            yield item

    results = map_ahead(slow, items(), threads)
    assert taken == 0
    for used, _ in enumerate(results):
        # The one that is used now, and one a thread behind it.
        assert taken == min(used + 1 + threads, 20)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_so_many_are_worked_on_at_a_time(threads):
    # Each waits until as many are under way as there are threads: it would be for ever with fewer.
    together = threading.Barrier(threads, timeout=10)
    number = 3 * threads
    assert (
        list(map_ahead(lambda _: together.wait() >= 0, range(number), threads)) == [True] * number
    )


def test_every_thread_is_begun_once_before_its_first_item():
    begun = []

    def begin():
        begun.append(threading.get_ident())

    def run(_):
        time.sleep(0.002)
        return threading.get_ident()

    workers = set(map_ahead(run, range(12), 3, begin))
    assert len(begun) == len(set(begun)) <= 3
    assert workers <= set(begun)
    assert threading.get_ident() not in begun


def fails_at(item):
    def run(given):
        if given == item:
            raise ValueError(f"item {given}")
        return given

    return run


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("bad", [0, 3, 9])
def test_a_failure_comes_in_its_item_s_place(threads, bad):
    seen = []
    results = map_ahead(fails_at(bad), range(10), threads)
    with pytest.raises(ValueError, match=f"item {bad}"):
        for result in results:
            seen.append(result)
    assert seen == list(range(bad))
    assert list(results) == []


def test_a_failure_of_the_items_is_not_lost():
    def items():
        yield from range(4)
        raise OSError("no more items")

    seen = []
    with pytest.raises(OSError, match="no more items"):
        for result in map_ahead(slow, items(), 2):
            seen.append(result)
    assert seen == [i * i for i in range(len(seen))]


@pytest.fixture
def futures(monkeypatch):
    """Every future that `ahead` had from its pool."""
    made = []

    class Pool(descry.io.prefetch.ThreadPoolExecutor):
        def submit(self, *given) -> Future:
            made.append(super().submit(*given))
            return made[-1]

    monkeypatch.setattr(descry.io.prefetch, "ThreadPoolExecutor", Pool)
    return made


def test_after_a_failure_what_waits_is_not_begun(futures):
    run = []

    def fail(item):
        run.append(item)
        time.sleep(0.05)
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        list(map_ahead(fail, range(50), 2))
    assert len(run) <= 4  # with each of the threads, at most one that it took up meanwhile
    assert all(future.done() for future in futures)


def test_closed_early_it_takes_no_more_items_and_leaves_no_thread(futures):
    before, taken = set(threading.enumerate()), []

    def items():
        for item in range(1000):
            taken.append(item)
            yield item

    results = map_ahead(slow, items(), 2)
    assert [next(results), next(results)] == [0, 1]
    results.close()
    assert len(taken) == 4
    assert all(future.done() for future in futures)
    assert set(threading.enumerate()) == before


def test_it_can_be_chained():
    halves = map_ahead(lambda item: item + 1, range(10), 1)
    wholes = map_ahead(lambda item: item * 2, halves, 2)
    assert list(map_ahead(slow, wholes, 1)) == [(2 * (i + 1)) ** 2 for i in range(10)]
    seen = []
    with pytest.raises(ValueError, match="item 5"):
        for result in map_ahead(slow, map_ahead(fails_at(5), range(10), 2), 1):
            seen.append(result)
    assert seen == [i * i for i in range(len(seen))]
