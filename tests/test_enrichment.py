"""Enrichment: as scipy has it, undefined where nothing is asked, and controlled under the null."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, fisher_exact, hypergeom

from descry.labels.enrichment import enrichment, false_discovery_rates, strength, upper_tails
from descry.labels.rules import Rule

NAN = float("nan")


@st.composite
def draws(draw):
    """Sentences of a split, those of them with Yes, those drawn, and Yes among the drawn."""
    whole = draw(st.integers(1, 60))
    marked, drawn = draw(st.integers(0, whole)), draw(st.integers(1, whole))
    found = draw(st.integers(max(0, marked + drawn - whole), min(marked, drawn)))
    return found, drawn, marked, whole


def chance(found, drawn, marked, whole, within):
    sets = np.array([[found]]), np.array([[drawn]])
    return enrichment(*sets, np.array([marked]), np.array([whole]), within).p[0, 0]


@given(draws())
def test_the_upper_tails_are_scipys(case):
    _, drawn, marked, whole = case
    expected = hypergeom.sf(np.arange(drawn + 1) - 1, whole, marked, drawn)
    np.testing.assert_allclose(upper_tails(marked, whole, drawn), expected, atol=1e-12)


def test_small_tails_keep_their_digits():
    p = upper_tails(1000, 50000, 100)[100]
    assert 0 < p < 1e-150
    assert p == pytest.approx(hypergeom.pmf(100, 50000, 1000, 100))


@settings(max_examples=60)
@given(draws())
def test_of_a_set_within_the_sentences_p_is_fishers_of_the_set_and_the_rest(case):
    found, drawn, marked, whole = case
    rest = [marked - found, whole - drawn - marked + found]
    expected = fisher_exact([[found, drawn - found], rest], alternative="greater").pvalue
    assert chance(*case, within=True) == pytest.approx(expected)


@settings(max_examples=60)
@given(draws(), st.integers(1, 30), st.data())
def test_of_a_set_beside_the_sentences_p_is_fishers_of_both(case, drawn, data):
    _, _, marked, whole = case
    found = data.draw(st.integers(0, drawn))
    both = [[found, drawn - found], [marked, whole - marked]]
    expected = fisher_exact(both, alternative="greater").pvalue
    assert chance(found, drawn, marked, whole, within=False) == pytest.approx(expected)


@given(st.lists(st.one_of(st.just(NAN), st.floats(0, 1)), min_size=1, max_size=20))
def test_q_is_benjamini_and_hochbergs_over_the_tests_there_are(p):
    p = np.array(p).reshape(1, -1)
    known = ~np.isnan(p)
    q = false_discovery_rates(p)
    np.testing.assert_array_equal(np.isnan(q), ~known)
    if known.any():
        np.testing.assert_allclose(q[known], false_discovery_control(p[known]))


def test_pairs_with_nothing_asked_or_answered_are_undefined_and_no_tests():
    count, drawn = np.array([[2, 0], [0, 0], [3, 1]]), np.array([[3, 0], [0, 0], [3, 2]])
    found = enrichment(count, drawn, np.array([5, 0]), np.array([20, 0]), True)
    np.testing.assert_array_equal(np.isnan(found.p), [[False, True], [True, True], [False, True]])
    np.testing.assert_array_equal(np.isnan(found.q), np.isnan(found.p))
    p = found.p[[0, 2], 0]
    np.testing.assert_allclose(p, [hypergeom.sf(x - 1, 20, 5, 3) for x in (2, 3)])
    np.testing.assert_allclose(found.q[[0, 2], 0], false_discovery_control(p))


@given(draws())
def test_more_yes_are_never_less_enriched(case):
    _, drawn, marked, whole = case
    for tails in (upper_tails(marked, whole, drawn),
                  [chance(x, drawn, marked, whole, False) for x in range(drawn + 1)]):  # fmt: skip
        assert (np.diff(tails) <= 1e-12).all()


def test_a_descriptor_of_every_sentence_is_never_enriched():
    assert chance(5, 5, 20, 20, within=True) == pytest.approx(1.0)
    assert chance(5, 5, 20, 20, within=False) == pytest.approx(1.0)


def planted(seed, within=True):
    """Counts of random sets of 20 sentences, with as many labels at random."""
    rng = np.random.default_rng(seed)
    answers = rng.random((400, 12)) < rng.uniform(0.05, 0.5, 12)
    sets = np.array([rng.permutation(400)[:20] for _ in range(30)])
    base = answers if within else rng.random((300, 12)) < answers.mean(axis=0)
    yes, every = answers[sets].sum(axis=1), np.full((30, 12), 20)
    return yes, every, base.sum(axis=0), np.full(12, len(base)), within


@pytest.mark.parametrize("within", [True, False])
def test_of_random_sets_at_most_so_many_studies_have_a_discovery_as_the_rate_says(within):
    found = [(enrichment(*planted(seed, within)).q <= 0.05).any() for seed in range(200)]
    assert np.mean(found) < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def test_true_labels_are_discovered_and_few_others():
    rng, wrong = np.random.default_rng(0), []
    for seed in range(40):
        yes, *others = planted(seed)
        true = np.zeros((30, 12), dtype=bool)
        true[np.arange(30), rng.integers(12, size=30)] = True
        found = enrichment(np.where(true, 18, yes), *others).q <= 0.05
        assert found[true].all()
        wrong.append((found & ~true).sum() / found.sum())
    assert np.mean(wrong) < 0.05


def test_strength_rises_as_the_rate_falls_and_is_bounded():
    q = np.array([1.0, 0.5, 0.05, 1e-12, 1e-300, 0.0])
    found = strength(q)
    assert (np.diff(found) >= 0).all()
    assert found[[0, 2, 3]] == pytest.approx([0, -np.log10(0.05), 12])
    assert found.max() == 300
    assert np.isnan(strength(np.array([NAN]))).all()


# rules


def test_a_label_is_what_is_stronger_than_the_bound():
    assert Rule("composition", "sentences", 0.5).bound(0.5) == 0.5
    assert Rule("enrichment", "sentences", 0.01).bound(0.01) == pytest.approx(2.0)


def test_only_shares_of_occurrences_do_not_look_at_how_many_have_an_answer():
    rules = [
        Rule(name, frequency, 0.1)
        for name in ("composition", "enrichment")
        for frequency in ("occurrences", "sentences")
    ]
    assert [rule.of_occurrences for rule in rules] == [True, False, False, False]
