"""Enrichment within strata: the exact test, calibrated where the plain one follows length."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from descry.annotators.bitset import Answers
from descry.labels.assignment import SetCounter
from descry.labels.enrichment import false_discovery_rates, upper_tails
from descry.labels.matched import matched_enrichment, matched_p, matched_tails
from descry.labels.strata import Strata, stratify


def by_enumeration(flags, strata, chosen):
    """Mid-p by going through every set with as many sentences of each stratum."""
    counts = [int((strata[chosen] == s).sum()) for s in range(strata.max() + 1)]
    choices = [
        list(combinations(np.flatnonzero(strata == s), number)) for s, number in enumerate(counts)
    ]
    found = [sum(flags[list(sum(rows, ()))]) for rows in product(*choices)]
    own = int(flags[chosen].sum())
    return np.mean([(other > own) + 0.5 * (other == own) for other in found])


def counted(flags, strata, sets):
    """What the test takes, of flags [sentences, descriptors] and sets [neurons, size]."""
    number = int(strata.max()) + 1
    member = (strata[sets][:, :, None] == np.arange(number)).astype(int)  # [neurons, size, strata]
    found = np.einsum("nis,nid->nsd", member, flags[sets].astype(int))
    drawn = np.broadcast_to(member.sum(axis=1)[:, :, None], found.shape)
    marked = np.array([flags[strata == s].sum(axis=0) for s in range(number)])
    whole = np.array([np.full(flags.shape[1], (strata == s).sum()) for s in range(number)])
    return found, drawn, marked, whole


@st.composite
def small_cases(draw):
    sentences = draw(st.integers(2, 9))
    flags = np.array(draw(st.lists(st.booleans(), min_size=sentences, max_size=sentences)))
    strata = np.array(draw(st.lists(st.integers(0, 2), min_size=sentences, max_size=sentences)))
    strata = np.unique(strata, return_inverse=True)[1]
    size = draw(st.integers(1, sentences))
    chosen = draw(st.permutations(range(sentences)))[:size]
    return flags, strata, np.array(chosen)


@settings(max_examples=150, deadline=None)
@given(small_cases())
def test_p_is_that_of_all_sets_with_as_many_sentences_of_each_stratum(case):
    flags, strata, chosen = case
    p = matched_p(*counted(flags[:, None], strata, chosen[None]))
    assert p[0, 0] == pytest.approx(by_enumeration(flags, strata, chosen))


def test_with_one_stratum_it_is_the_plain_test_with_half_of_the_observed_number():
    drawn, marked, whole = 30, 120, 1000
    found = np.arange(drawn + 1)[:, None, None]
    same = np.full_like(found, drawn)
    p = matched_p(found, same, np.array([[marked]]), np.array([[whole]]))[:, 0]
    own = hypergeom.pmf(np.arange(drawn + 1), whole, marked, drawn)
    np.testing.assert_allclose(p, upper_tails(marked, whole, drawn) - own / 2, rtol=1e-9)


def test_small_tails_keep_their_digits():
    found, drawn = np.array([[[50], [50]]]), np.array([[[50], [50]]])
    p = matched_p(found, drawn, np.array([[500], [500]]), np.array([[25_000], [25_000]]))[0, 0]
    own = (comb(500, 50) / comb(25_000, 50)) ** 2
    assert p == pytest.approx(own / 2, rel=1e-6)
    assert p < 1e-150


def test_a_set_beside_the_sentences_is_pooled_with_them():
    found, drawn = np.array([[[3], [1]]]), np.array([[[5], [4]]])
    marked, whole = np.array([[10], [2]]), np.array([[40], [30]])
    p = matched_p(found, drawn, marked, whole, within=False)
    same = matched_p(found, drawn, marked + found[0], whole + drawn[0])
    np.testing.assert_allclose(p, same)


def test_missing_answers_are_not_drawn_and_a_set_without_any_is_not_tested():
    found, drawn = np.zeros((2, 1, 1), int), np.array([[[0]], [[3]]])
    p = matched_p(found, drawn, np.array([[4]]), np.array([[10]]))
    assert np.isnan(p[0, 0])
    assert 0 < p[1, 0] <= 1


def test_a_pair_has_the_same_p_to_the_last_digit_whatever_else_is_tested():
    rng = np.random.default_rng(0)
    flags, strata = rng.random((300, 4)) < 0.2, rng.integers(0, 5, 300)
    found, drawn, marked, whole = counted(flags, strata, rng.integers(0, 300, (40, 20)))
    together = matched_p(found, drawn, marked, whole)
    for neuron, descriptor in product(range(0, 40, 7), range(4)):
        one = [part[[neuron], :, [descriptor]][..., None] for part in (found, drawn)]
        alone = matched_p(*one, marked[:, [descriptor]], whole[:, [descriptor]])
        assert alone[0, 0] == together[neuron, descriptor]


def test_tails_are_the_p_of_every_number():
    rng = np.random.default_rng(3)
    flags, strata = rng.random((400, 5)) < rng.uniform(0.02, 0.6, 5), rng.integers(0, 6, 400)
    found, *others = counted(flags, strata, rng.integers(0, 400, (30, 40)))
    p, total = matched_p(found, *others), found.sum(axis=1)
    tails = matched_tails(*others)
    np.testing.assert_allclose(np.take_along_axis(tails, total[:, :, None], 2)[:, :, 0], p, 1e-12)
    assert (np.diff(tails, axis=2) <= 0).all()
    short = matched_tails(*others, far=5)
    np.testing.assert_allclose(short, tails[:, :, :6], rtol=1e-12)


@pytest.mark.parametrize("within", [True, False])
def test_counting_within_strata_is_that_of_a_plain_loop_however_many_neurons_at_a_time(
    within, monkeypatch
):
    rng = np.random.default_rng(4)
    answers = rng.integers(-1, 2, (300, 9)).astype(np.int8)
    base = np.ones(300, bool) if within else rng.random(300) < 0.7
    asked = base | (rng.random(300) < 0.99)
    asked[:2] = False
    sets = np.array([rng.permutation(300)[:25] for _ in range(40)])
    sets[:, 20:][rng.random((40, 5)) < 0.5] = -1
    strata = Strata(rng.integers(0, 4, 300).astype(np.int32), ("a", "b", "c", "d"))
    counter = SetCounter(Answers.of(answers), asked)
    found = np.zeros((40, 4, 9), int)
    drawn = found.copy()
    for neuron, rows in enumerate(sets):
        for row in rows[rows >= 0] if asked[rows[rows >= 0]].all() else []:
            found[neuron, strata.of[row]] += answers[row] == 1
            drawn[neuron, strata.of[row]] += answers[row] >= 0
    marked = np.array([(answers[base & (strata.of == s)] == 1).sum(axis=0) for s in range(4)])
    whole = np.array([(answers[base & (strata.of == s)] >= 0).sum(axis=0) for s in range(4)])
    every = matched_enrichment(counter, [sets], strata, base, within=within)
    np.testing.assert_allclose(every.p, matched_p(found, drawn, marked, whole, within=within))
    expected = (drawn * (marked / whole)).sum(axis=1)
    np.testing.assert_allclose(every.expected, np.where(np.isnan(every.p), np.nan, expected))
    assert 0 < np.isnan(every.p).mean() < 1
    monkeypatch.setattr("descry.labels.matched._COUNTS", 1)
    one = matched_enrichment(counter, [sets], strata, base, within=within)
    np.testing.assert_allclose(one.p, every.p, rtol=1e-12)


def confounded(rng, sentences=1200, neurons=150, descriptors=20, size=40):
    """Descriptors and neurons that both follow length, and nothing else."""
    length = np.exp(rng.normal(3, 0.8, sentences))
    rate = np.clip(rng.uniform(0.02, 0.12, descriptors) * (length[:, None] / 20), 0, 0.9)
    flags = rng.random((sentences, descriptors)) < rate
    pull = rng.uniform(-1.5, 1.5, neurons)
    activation = pull * np.log(length)[:, None] + rng.normal(0, 1, (sentences, neurons))
    return length, flags, np.argsort(-activation, axis=0)[:size].T


def test_neurons_that_follow_length_get_no_label_within_strata_and_many_without():
    rng = np.random.default_rng(1)
    length, flags, sets = confounded(rng)
    plain = matched_p(*counted(flags, np.zeros(len(length), int), sets))
    strata = stratify({"words": length}, 30)  # ten are too few: the longest differ within one
    p = matched_p(*counted(flags, strata.of, sets))
    assert (false_discovery_rates(plain) <= 0.01).sum() > 100
    assert (false_discovery_rates(p) <= 0.01).sum() == 0
    assert (plain <= 0.01).mean() > 0.1
    assert 0.005 < (p <= 0.01).mean() < 0.02
    assert 0.04 < (p <= 0.05).mean() < 0.065


def test_a_topic_beside_length_is_found_within_strata():
    rng = np.random.default_rng(2)
    length, flags, sets = confounded(rng)
    topic = rng.random(len(length)) < 0.08
    flags[:, 0] = topic
    chosen = np.concatenate([rng.permutation(np.flatnonzero(topic))[:15], sets[0][:25]])
    p = matched_p(*counted(flags, stratify({"words": length}, 30).of, chosen[None]))
    assert p[0, 0] < 1e-6


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=200),
    st.integers(1, 8),
    st.integers(1, 40),
)
def test_strata_keep_equal_values_together_and_have_their_least(values, parts, least):
    found = stratify({"x": np.array(values)}, parts, least)
    for value in set(values):
        assert len(set(found.of[np.array(values) == value])) == 1
    assert len(found.names) <= parts
    assert len(found.names) == 1 or found.sizes.min() >= least
    np.testing.assert_array_equal(np.unique(found.of), np.arange(len(found.names)))


def test_several_covariates_part_one_after_the_other():
    words = np.tile(np.arange(100.0), 4)
    category = np.repeat(["Books", "Music"], 200)
    found = stratify({"words": words, "category": category}, 2, 50)
    assert found.names == (
        "words 0-49, category Books",
        "words 0-49, category Music",
        "words 50-99, category Books",
        "words 50-99, category Music",
    )
    assert found.sizes.tolist() == [100] * 4


def test_rare_texts_are_one_part_and_too_few_of_them_join_the_largest():
    category = np.array(["a"] * 50 + ["b"] * 40 + ["c"] * 20 + ["d"] * 15)
    assert stratify({"category": category}, 9, 30).names == (
        "category a",
        "category b",
        "category other",
    )
    assert stratify({"category": category[:110]}, 9, 30).sizes.tolist() == [70, 40]


def test_unknown_numbers_are_a_part_of_their_own_if_they_are_many():
    stars = np.array([1.0] * 40 + [5.0] * 60 + [np.nan] * 50)
    assert stratify({"stars": stars}, 9, 30).names == ("stars 1", "stars 5", "stars unknown")
    assert stratify({"stars": stars[:110]}, 9, 30).sizes.tolist() == [50, 60]


def test_where_all_numbers_of_a_part_are_unknown_it_stays_whole():
    category = np.repeat(["a", "b"], 20)
    stars = np.where(category == "a", np.arange(40.0), np.nan)
    found = stratify({"category": category, "stars": stars}, 2, 8)
    assert found.names == (
        "category a, stars 0-9",
        "category a, stars 10-19",
        "category b, stars unknown",
    )
    assert found.sizes.tolist() == [10, 10, 20]


def test_without_a_covariate_there_is_one_stratum():
    assert stratify({"words": np.arange(10)}, 1) == Strata(
        pytest.approx(np.zeros(10)), ("words 0-9",)
    )


@pytest.mark.parametrize("least", [0.001, 0.05, 0.2])
def test_what_is_surely_above_a_bound_is_left_out_and_nothing_else(least):
    rng = np.random.default_rng(0)
    strata = rng.integers(0, 5, size=300)
    lift = 1 + 2 * rng.random(12)
    flags = rng.random((300, 12)) < np.array([0.02, 0.1, 0.3, 0.5] * 3)
    flags[:60] |= rng.random((60, 12)) < 0.1 * lift
    sets = np.stack([rng.permutation(300 if i % 2 else 120)[:40] for i in range(60)])
    case = counted(flags, strata, sets)
    p, bounded = matched_p(*case), matched_p(*case, least=least)
    known = bounded < 1
    np.testing.assert_array_equal(bounded[known], p[known])
    assert (p[~known] > least).all()
    assert (~known).mean() > 0.4
    assert (p[known] <= least).any()


@settings(max_examples=100, deadline=None)
@given(small_cases(), st.sampled_from([0.01, 0.1, 0.23, 0.4, 0.6]))
def test_nothing_at_or_below_the_bound_is_left_out_of_small_sets(case, least):
    flags, strata, chosen = case
    one = counted(flags[:, None], strata, chosen[None])
    p, bounded = matched_p(*one), matched_p(*one, least=least)
    assert bounded == p or (bounded == 1 and p > least)
