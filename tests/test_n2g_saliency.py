"""How much each token of a prompt matters: what is lost where it is masked."""

import neurons
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from neurons import QUIET, Neurons, tokens_of

from descry.n2g.batching import together
from descry.n2g.saliency import importance, last_active, read_prompt

NEAR = 1e-12


def reading(rule, string, upto=None, unit=0.5, **how):
    subject, prompt = Neurons({0: rule}, **how), tokens_of(string)
    upto = len(prompt) if upto is None else upto
    values = subject.excited(0, prompt)
    plan = read_prompt(prompt, values, unit=unit, mask=subject.mask, upto=upto)
    [found] = together([(0, plan)], subject)
    return found, subject


def test_importance_is_what_a_token_loses_by_the_masking_of_another():
    activations = np.array([4.0, 2.0])
    masked = np.array([[0.0, 2.0], [1.0, -1.0]])
    assert importance(activations, masked).tolist() == [[1.0, 0.0], [0.75, 1.5]]


@given(
    hnp.arrays(np.float32, 4, elements=st.floats(-3, 3, width=32)),
    hnp.arrays(np.float32, (3, 4), elements=st.floats(-3, 3, width=32)),
)
def test_importance_is_the_formula_where_a_token_is_active_and_0_where_it_is_not(a, masked):
    found = importance(a, masked)
    for j, value in enumerate(a):
        expected = 1 - masked[:, j].astype(float) / float(value) if value > 0 else np.zeros(3)
        assert found[:, j] == pytest.approx(expected, rel=NEAR, abs=NEAR)


@pytest.mark.parametrize("value", [0.0, -0.0, -2.0])
def test_a_token_that_is_not_active_divides_by_nothing(value):
    with np.errstate(all="raise"):
        found = importance(np.array([value, 1.0]), np.array([[5.0, 0.5]]))
    assert found.tolist() == [[0.0, 0.5]]


def test_each_token_is_masked_once_by_the_models_own_mask():
    _, subject = reading(neurons.bigram_with_gap, "not so good")
    assert subject.asked == ["[mask] so good", "not [mask] good", "not so [mask]"]


def test_another_mask_is_used_where_a_model_has_another():
    prompt = tokens_of("not so good")
    plan = read_prompt(prompt, np.ones(3), unit=1.0, mask=77, upto=3)
    for k, masked in enumerate(next(plan)):
        assert masked == (*prompt[:k], 77, *prompt[k + 1 :])


def test_what_a_token_needs_is_important_and_nothing_else_is():
    found, _ = reading(neurons.bigram_with_gap, "it not so good on")
    lost = 1 - QUIET / 2.0
    assert found.importance[:, 3].tolist() == pytest.approx([0, lost, 0, lost, 0])
    assert found.importance[:, :3].tolist() == [[0] * 3] * 5
    assert found.activations.tolist() == pytest.approx([QUIET / 2] * 3 + [1.0, QUIET / 2])


def test_tokens_from_some_place_on_are_not_masked():
    found, subject = reading(neurons.bigram_with_gap, "not so good on it", upto=3)
    assert subject.asked == ["[mask] so good on it", "not [mask] good on it", "not so [mask] on it"]
    full, _ = reading(neurons.bigram_with_gap, "not so good on it")
    assert found.importance.tolist() == full.importance.tolist()


def test_where_nothing_is_masked_nothing_matters():
    found, subject = reading(neurons.a_word, "so it", upto=0)
    assert found.importance.tolist() == [[0, 0], [0, 0]]
    assert subject.asked == []


def test_of_a_whole_text_the_words_matter_to_its_one_activation():
    found, _ = reading(neurons.pair, "so cheap it broken", whole=True)
    lost = 1 - QUIET / 2.0
    assert found.importance[:, 0].tolist() == pytest.approx([0, lost, 0, lost])
    assert found.activations.tolist() == [1.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 3.0, 1.0], 2), ([3.0], 1), ([2.0], 0), ([-1.0, 0.5], 0), ([2.5, 0.0, 2.5, 2.0], 3)],
)
def test_the_last_active_token_is_above_the_threshold(values, expected):
    assert last_active(np.array(values), unit=0.25, threshold=0.5) == expected
