"""Sentences exchanged within strata: margins stay, every exchange is as likely, and none else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from descry.labels.shuffles import Shuffles


@st.composite
def cases(draw):
    sentences, descriptors = draw(st.integers(2, 14)), draw(st.integers(1, 4))
    answers = draw(hnp.arrays(np.int8, (sentences, descriptors), elements=st.integers(-1, 1)))
    size = draw(st.integers(1, sentences))
    rows = st.permutations(range(sentences)).map(lambda order: order[:size])
    members = np.array(draw(st.lists(rows, min_size=1, max_size=4)))
    members[:, -1] = draw(st.sampled_from([-1, int(members[0, -1])])) if len(members) == 1 else -1
    strata = draw(hnp.arrays(np.int64, sentences, elements=st.integers(0, 2)))
    return members, answers, strata, draw(st.integers(0, 99))


def drawn(case):
    members, answers, strata, seed = case
    rng = np.random.default_rng(seed)
    keys, starts = rng.random(len(answers)), rng.random((len(members), int(strata.max()) + 1))
    return Shuffles(members, answers, strata), keys, starts


@given(cases())
def test_permuted_answers_are_those_of_a_plain_loop(case):
    members, answers, strata, _ = case
    shuffles, keys, _ = drawn(case)
    shuffled = answers.copy()
    for column, said in enumerate(answers.T):
        for stratum in set(strata):
            home = np.flatnonzero((strata == stratum) & (said >= 0))
            shuffled[home, column] = said[home[np.argsort(keys[home])]]
    expected = [(shuffled[rows[rows >= 0]] == 1).sum(axis=0).tolist() for rows in members]
    assert shuffles.permuted(keys).tolist() == expected


@given(cases())
def test_random_sets_are_those_of_a_plain_loop(case):
    members, answers, strata, _ = case
    shuffles, keys, starts = drawn(case)
    expected = np.zeros((len(members), answers.shape[1]), dtype=int)
    for neuron, rows in enumerate(members):
        for column, said in enumerate(answers.T):
            for stratum in set(strata):
                pool = np.flatnonzero((strata == stratum) & (said >= 0))
                pool = pool[np.argsort(keys[pool])]
                own = rows[rows >= 0]
                number = np.count_nonzero((strata[own] == stratum) & (said[own] >= 0))
                first = int(starts[neuron, stratum] * len(pool))
                taken = [pool[(first + place) % len(pool)] for place in range(number)]
                expected[neuron, column] += (said[taken] == 1).sum() if taken else 0
    np.testing.assert_array_equal(shuffles.random(keys, starts), expected)


@given(cases())
def test_sets_of_all_sentences_have_as_many_yes_after_every_exchange(case):
    _, answers, strata, seed = case
    every = np.arange(len(answers))[None]
    shuffles, keys, starts = drawn((every, answers, strata, seed))
    own = (answers == 1).sum(axis=0)
    np.testing.assert_array_equal(shuffles.permuted(keys)[0], own)
    np.testing.assert_array_equal(shuffles.random(keys, starts)[0], own)


@pytest.mark.parametrize("how", ["permuted", "random"])
def test_every_sentence_of_a_stratum_is_drawn_as_often_and_no_other(how):
    answers = np.eye(7, dtype=np.int8)  # a descriptor a sentence: Yes tells which was drawn
    strata, members = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([[0, 1, 4]])
    shuffles, rng = Shuffles(members, answers, strata), np.random.default_rng(0)
    total = np.zeros(7)
    for _ in range(4000):
        keys, starts = rng.random(7), rng.random((1, 2))
        one = shuffles.permuted(keys) if how == "permuted" else shuffles.random(keys, starts)
        assert one.max() == 1
        total += one[0]
    np.testing.assert_allclose(total / 4000, [0.5] * 4 + [1 / 3] * 3, atol=0.03)


def test_descriptors_about_the_same_sentences_keep_what_they_have_in_common():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 2, 200)
    answers = np.stack([one, 1 - one, rng.integers(0, 2, 200)], axis=1).astype(np.int8)
    shuffles = Shuffles(rng.integers(0, 200, (30, 12)), answers, np.zeros(200, int))
    for found in (
        shuffles.permuted(rng.random(200)),
        shuffles.random(rng.random(200), rng.random((30, 1))),
    ):
        assert (found[:, 0] + found[:, 1] == 12).all()
        assert len(set(found[:, 0].tolist())) > 2
