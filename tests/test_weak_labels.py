"""From first scores to answers: rising with the score, the same every time, without a label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.annotators.weak_labels import log_odds, smooth, standard

finite = st.floats(-50, 50, width=32)


@given(st.lists(finite, min_size=2, max_size=60))
@settings(deadline=None)
def test_log_odds_rise_with_the_score(values):
    scores = np.array(values)
    found = log_odds(scores)[np.argsort(scores)]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= -1e-6 * (1 + np.abs(found[1:]))).all()


@given(st.integers(0, 2**32 - 1), st.integers(20, 100), st.floats(-5, 5))
@settings(deadline=None, max_examples=30)
def test_two_groups_are_told_apart(seed, few, shift):
    draw = np.random.default_rng(seed)
    scores = np.concatenate([draw.normal(0, 1, 300), draw.normal(8, 1, few)]) + shift
    assert ((log_odds(scores) > 0) == (scores > shift + 4)).mean() > 0.99


@given(finite, st.integers(1, 20))
def test_where_all_scores_are_equal_the_answer_is_no(value, size):
    assert (log_odds(np.full(size, value)) < 0).all()


def test_log_odds_are_the_same_every_time():
    """Nothing in the mixture's start is left to the global random state."""
    scores = np.random.default_rng(0).normal(size=500)
    np.random.seed(1)
    first = log_odds(scores)
    np.random.seed(2)
    assert np.array_equal(log_odds(scores), first)


def test_what_goes_with_clear_first_scores_is_learnt():
    """A sentence without a score of its own gets one where its vector is that of clear ones."""
    draw = np.random.default_rng(0)
    about = draw.random(400) < 0.2
    vectors = draw.normal(size=(400, 5)) + 3 * about[:, None] * np.eye(5)[0]
    seen = about & (draw.random(400) < 0.5)  # the phrases find half of them
    first = standard(seen[:, None].astype(float))
    final = smooth(first, vectors)[:, 0]
    assert np.median(final[about & ~seen]) > np.quantile(final[~about], 0.95)
    assert final.mean() == pytest.approx(0, abs=1e-9)
