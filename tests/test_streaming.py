"""What is kept while activations go by: stopped, gone on with or shared, it is the same."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.activations import top_k as exemplars
from descry.activations.histogram import Distribution
from descry.activations.streaming import StreamingStats, read_distribution, read_leaders
from descry.activations.top_k import ENDS, HIGHEST, LOWEST, NOBODY, leaders
from descry.corpus.splits import CALIBRATION, HALVES, VALIDATION

SENTENCES, NEURONS, BLOCK, KEEP = 200, 4, 16, 9
RNG = np.random.default_rng(0)
ACTIVATIONS = RNG.normal(size=(SENTENCES, NEURONS)).astype(np.float32)
ACTIVATIONS[:, 1] = RNG.integers(-2, 3, SENTENCES)  # ties
ACTIVATIONS[:, 2] = np.arange(SENTENCES)  # each block leads at one end
ACTIVATIONS[:, 3] = 0.0
SPLIT = RNG.choice(HALVES, SENTENCES)
TOKENS = RNG.integers(1, 300, SENTENCES).astype(np.int32)
BLOCKS = range(-(-SENTENCES // BLOCK))


@pytest.fixture(autouse=True, scope="module")
def small_slabs():
    """So that leaders are settled often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exemplars, "_SLAB", 5)
        yield


def fresh():
    running = StreamingStats(NEURONS, KEEP)
    running.lay_out(ACTIVATIONS[:BLOCK])
    return running


def add(running, block):
    rows = np.arange(block * BLOCK, min((block + 1) * BLOCK, SENTENCES), dtype=np.int32)
    running.add(ACTIVATIONS[rows], rows, SPLIT[rows], TOKENS[rows])
    running.next = block + 1


def run(blocks, running=None):
    running = running or fresh()
    for block in blocks:
        add(running, block)
    return running


def resumed(state):
    """Another one, which goes on from a state."""
    running = StreamingStats(NEURONS, KEEP)
    running.restore(state)
    return running


def assert_same(one, other):
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def assert_same_leaders(one, other):
    assert_same({name: one[name] for name in NAMES}, {name: other[name] for name in NAMES})


NAMES = [f"{half}/{end}/{what}" for half in HALVES for end in ENDS for what in ("row", "value")]


@pytest.fixture(scope="module")
def whole():
    """What one that has seen all has kept."""
    return run(BLOCKS).state()


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("end", ENDS)
def test_leaders_are_those_of_each_half_at_each_end(whole, half, end):
    rows = np.flatnonzero(half == SPLIT)
    part = np.ascontiguousarray(ACTIVATIONS[rows].T)
    within, values = leaders(part if end == HIGHEST else -part, KEEP + 1)
    found = read_leaders(whole, half, end)
    np.testing.assert_array_equal(found[0], rows[within])
    np.testing.assert_array_equal(found[1], values)


def test_the_lowest_of_a_rising_neuron_are_its_first_and_the_highest_its_last(whole):
    for half in HALVES:
        rows = np.flatnonzero(half == SPLIT)
        assert read_leaders(whole, half, HIGHEST)[0][2].tolist() == rows[: -KEEP - 2 : -1].tolist()
        assert read_leaders(whole, half, LOWEST)[0][2].tolist() == rows[: KEEP + 1].tolist()
        assert read_leaders(whole, half, LOWEST)[1][2].tolist() == (-rows[: KEEP + 1]).tolist()


def test_the_distribution_is_that_of_both_halves(whole):
    expected = Distribution.around(ACTIVATIONS[:BLOCK])
    for start in range(0, SENTENCES, BLOCK):
        expected.add(ACTIVATIONS[start : start + BLOCK])
    found = read_distribution(whole)
    assert found.number == expected.number == SENTENCES
    assert isinstance(found.number, int)
    assert_same(
        {name: np.asarray(values) for name, values in vars(found).items()},
        {name: np.asarray(values) for name, values in vars(expected).items()},
    )


def test_the_state_says_which_block_comes_next(whole):
    assert int(whole["next"]) == len(BLOCKS)
    assert int(StreamingStats(NEURONS, KEEP).state()["next"]) == 0


@given(st.sets(st.integers(0, len(BLOCKS)), max_size=4))
def test_stopped_and_gone_on_with_it_is_the_same_to_the_last_bit(stops):
    running = fresh()
    for block in BLOCKS:
        if block in stops:
            state = {name: values.copy() for name, values in running.state().items()}
            running = resumed(state)
        add(running, block)
    assert_same(running.state(), run(BLOCKS).state())


def test_saving_does_not_change_what_comes_after(whole):
    running = fresh()
    for block in BLOCKS:
        add(running, block)
        running.state()
    assert_same(running.state(), whole)


def test_a_state_in_a_file_is_gone_on_with(tmp_path, whole):
    with h5py.File(tmp_path / "state.h5", "w") as file:
        for name, values in run(BLOCKS[:6]).state().items():
            file.create_dataset(name, data=values)
    with h5py.File(tmp_path / "state.h5") as file:
        running = resumed(file)
    assert running.next == 6
    assert_same(run(BLOCKS[6:], running).state(), whole)


@given(st.lists(st.integers(0, 3), min_size=len(BLOCKS), max_size=len(BLOCKS)))
def test_several_that_share_the_blocks_joined_are_as_one(owner):
    parts = [run([block for block in BLOCKS if owner[block] == index]) for index in set(owner)]
    first, *others = parts
    for part in others:
        first.join(part.state())
    found, expected = first.state(), run(BLOCKS).state()
    assert_same_leaders(found, expected)
    assert int(found["next"]) == int(expected["next"]) == len(BLOCKS)
    joined, one = read_distribution(found), read_distribution(expected)
    assert joined.number == one.number
    for name in ("low", "step", "counts", "lowest", "highest"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(one, name))
    np.testing.assert_array_equal(joined.sums, one.sums)


def test_one_that_had_no_block_joins_without_a_trace(whole):
    running = run(BLOCKS)
    running.join(fresh().state())
    assert_same(running.state(), whole)


def test_shares_that_were_stopped_and_gone_on_with_join_as_well(whole):
    parts = []
    for index in range(3):
        own = [block for block in BLOCKS if block % 3 == index]
        parts.append(run(own[2:], resumed(run(own[:2]).state())))
    parts[0].join(parts[1].state())
    parts[0].join(parts[2].state())
    assert_same_leaders(parts[0].state(), whole)
    np.testing.assert_array_equal(parts[0].state()["tokens"], TOKENS)


@pytest.mark.parametrize("half", HALVES)
def test_a_half_smaller_than_what_is_kept_leaves_places_free(half):
    running = fresh()
    halves = np.full(4, half)
    running.add(ACTIVATIONS[:4], np.arange(4, dtype=np.int32), halves, TOKENS[:4])
    other = VALIDATION if half == CALIBRATION else CALIBRATION
    for end in ENDS:
        rows, values = read_leaders(running.state(), half, end)
        assert sorted(rows[0, :4].tolist()) == [0, 1, 2, 3]
        assert (rows[:, 4:] == NOBODY).all()
        assert (values[:, 4:] == -np.inf).all()
        assert (read_leaders(running.state(), other, end)[0] == NOBODY).all()
