"""Counts over sets of sentences: those of a plain loop, whatever the fields hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from descry.annotators.bitset import BitMatrix
from descry.labels.counting import MatchedDraws, PackedFlags, _by_key, set_sums
from descry.labels.strata import Strata


@st.composite
def sets_and_flags(draw, elements, kind=np.int64):
    sentences, columns = draw(st.integers(1, 15)), draw(st.sampled_from([1, 2, 5, 40, 70]))
    size = draw(st.integers(1, sentences))
    rows = st.permutations(range(sentences)).map(lambda order: order[:size])
    members = np.array(draw(st.lists(rows, min_size=1, max_size=5)))
    return members, draw(hnp.arrays(kind, (sentences, columns), elements=elements))


@given(sets_and_flags(st.booleans(), bool))
def test_how_often_a_flag_is_set_is_that_of_a_plain_loop(case):
    members, flags = case
    found = set_sums(members, flags.view(np.uint8))
    assert found.tolist() == [flags[rows].sum(axis=0).tolist() for rows in members]


# Lines


@given(sets_and_flags(st.booleans(), bool))
def test_flags_beside_each_other_are_counted_as_in_a_plain_loop(case):
    members, flags = case
    found = PackedFlags(BitMatrix.of(flags)).sums(members)
    assert found.tolist() == [flags[rows].sum(axis=0).tolist() for rows in members]


@pytest.mark.parametrize("size", [1, 254, 255, 256, 510, 511, 1000])
def test_no_set_is_too_large_to_be_counted(size):
    flags = np.zeros((size, 20), dtype=bool)
    flags[:, ::3] = True
    found = PackedFlags(BitMatrix.of(flags)).sums(np.arange(size)[None])
    assert found[0].tolist() == [0 if column % 3 else size for column in range(20)]


def test_of_no_column_nothing_is_counted():
    assert PackedFlags(BitMatrix.of(np.zeros((3, 0), dtype=bool))).sums(
        np.array([[0, 2]])
    ).shape == (1, 0)


@given(sets_and_flags(st.booleans(), bool), st.data())
def test_flags_of_a_stratum_are_counted_as_in_a_plain_loop(case, data):
    members, flags = case
    strata = st.lists(st.integers(0, 2), min_size=len(flags), max_size=len(flags))
    of = np.array(data.draw(strata))
    members = np.where(np.arange(members.shape[1]) < members.shape[1] - 1, members, -1)
    found = PackedFlags(BitMatrix.of(flags)).by_stratum(members, of, 3)
    inside = [[[i for i in rows if i >= 0 and of[i] == s] for s in range(3)] for rows in members]
    assert found.tolist() == [
        [flags[part].sum(axis=0).tolist() for part in parts] for parts in inside
    ]


@pytest.mark.parametrize("size", [254, 255, 256, 1000])
def test_no_part_of_a_set_is_too_large_to_be_counted(size):
    flags = np.ones((size, 20), dtype=bool)
    flags[0, 0] = False  # else members are counted, not flags
    of = (np.arange(size) < 3).astype(int)
    packed, every = PackedFlags(BitMatrix.of(flags)), np.arange(size)[None]
    assert packed.by_stratum(every, of, 2)[0].tolist() == [[size - 3] * 20, [2, *[3] * 19]]
    assert packed.sums(every)[0].tolist() == [size - 1, *[size] * 19]


def matched_draws(sets, of, pool):
    strata = Strata(of.astype(np.int32), tuple(map(str, range(of.max() + 1))))
    return MatchedDraws(strata.count(sets), strata.of, pool)


def test_random_sets_have_the_strata_of_the_sets_and_every_sentence_is_as_likely():
    rng = np.random.default_rng(0)
    of = rng.integers(0, 4, 80)
    pool = rng.random(80) < 0.9
    sets = np.stack([rng.permutation(np.flatnonzero(pool))[:9] for _ in range(5)])
    sets[3, 6:] = -1
    draws = matched_draws(sets, of, pool)
    assert draws.possible
    found = np.stack([draws.draw(rng) for _ in range(4000)])
    for neuron, own in enumerate(sets):
        wanted = np.bincount(of[own[own >= 0]], minlength=4)
        for drawn in found[:50, neuron]:
            members = drawn[drawn >= 0]
            assert len(set(members.tolist())) == len(members) and pool[members].all()
            assert np.bincount(of[members], minlength=4).tolist() == wanted.tolist()
        share = np.bincount(found[:, neuron][found[:, neuron] >= 0], minlength=80) / 4000
        expected = (wanted / np.bincount(of[pool], minlength=4))[of] * pool
        np.testing.assert_allclose(share, expected, atol=0.04)


def test_a_stratum_with_fewer_sentences_than_a_set_takes_cannot_be_drawn_from():
    of = np.array([0, 0, 1, 1])
    pool = np.array([True, False, True, True])
    assert not matched_draws(np.array([[0, 1]]), of, pool).possible
    assert matched_draws(np.array([[0, 2]]), of, pool).possible


def test_in_one_draw_each_neuron_takes_its_run_from_a_place_of_its_own():
    sets, of = np.tile(np.arange(10), (20, 1)), np.zeros(200, int)
    drawn = matched_draws(sets, of, np.full(200, True)).draw(np.random.default_rng(0))
    assert len({frozenset(row) for row in drawn.tolist()}) > 15


def test_what_a_set_takes_is_counted_by_stratum():
    of, pool = np.array([0, 0, 1]), np.full(3, True)
    draws = matched_draws(np.array([[0, 1, 2], [2, -1, -1]]), of, pool)
    assert draws.possible
    whole, one = draws.draw(np.random.default_rng(0))
    assert sorted(whole) == [0, 1, 2]
    assert one.tolist() == [2, -1, -1]


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_flags_in_random_sets_are_counted_as_in_the_sets_themselves(share):
    rng = np.random.default_rng(0)
    of, pool = rng.integers(0, 4, 300), rng.random(300) < 0.8
    sets = np.stack([rng.permutation(np.flatnonzero(pool))[:60] for _ in range(7)])
    sets[2:4, 20:] = -1
    flags = rng.random((300, 20)) < share
    draws, packed = matched_draws(sets, of, pool), PackedFlags(BitMatrix.of(flags))
    for seed in range(5):
        (found,) = draws.count(np.random.default_rng(seed), [packed])
        members = draws.draw(np.random.default_rng(seed))
        assert found.tolist() == packed.sums(members).tolist()


def test_places_with_equal_keys_stay_in_their_order():
    keys = np.random.default_rng(0).integers(0, 9, 400).astype(float)
    places = np.arange(0, 400, 2, dtype=np.int32)
    assert _by_key(places, keys).tolist() == sorted(places.tolist(), key=lambda at: keys[at])


def test_sums_before_places_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    flags, rows = rng.random((50, 11)) < 0.4, rng.permutation(50)[:30]
    places = np.array([0, 0, 3, 29, 30])
    found = PackedFlags(BitMatrix.of(flags)).running(rows, places)
    assert found.tolist() == [flags[rows[:place]].sum(axis=0).tolist() for place in places]
